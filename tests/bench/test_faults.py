"""The simulated faults as a command, and what a seed means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.faults import __main__ as command
from bench.faults import runs, swarm
from bench.faults.plan import Plan
from bench.faults.world import World
from lbnet.core.job import Job


@pytest.mark.parametrize("mode", swarm.MODES)
@pytest.mark.parametrize("first", range(0, 60, 30))
def test_every_rule_holds_for_some_seeds(mode: str, first: int) -> None:
    tally = runs.run_several(range(first, first + 30), mode, "")
    assert tally.broken == []
    assert tally.runs == 30
    assert tally.faults > 30


@pytest.mark.parametrize("mode", swarm.MODES)
def test_seeds_differ_in_all_that_may_break(mode: str) -> None:
    plans = [swarm.plan_of(seed, mode) for seed in range(300)]
    constant = {"harsh", *({"client_crashes"} if mode == "harsh" else ())}
    assert {name for name in Plan.__dataclass_fields__ if len({getattr(plan, name) for plan in plans}) == 1} == constant
    assert swarm.plan_of(3, mode) == plans[3]
    assert {swarm.plan_of(seed, mode, "rp").strategy for seed in range(9)} == {"rp"}


def test_a_seed_is_one_run_and_its_last_events_can_be_seen() -> None:
    plan = swarm.plan_of(5, "faithful")
    first, again = (World(plan, 5, traced=True, told=3) for _ in range(2))
    assert first.run() == again.run()
    assert list(first.told) == list(again.told)
    assert len(first.told) == 3


def test_what_is_broken_is_told_with_the_command_that_shows_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Job, "complete", property(lambda job: job.total is not None and not job.backlog))
    tally = runs.run_several(range(30), "faithful", "sb")
    assert tally.broken
    first, again = tally.broken[0].splitlines()
    assert "a job was declared done too early" in first
    told = again.split("python -m bench.faults ")[1].split()
    assert command.main(told) == 1
    shown = capsys.readouterr().out
    assert "strategy             sb" in shown
    assert "the last events:\nstep " in shown
    assert "broken: " in shown


def test_the_command_counts_what_happened(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--seeds", "4", "--jobs", "1", "--mode", "faithful", "--json"]) == 0
    facts: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert facts["modes"]["faithful"]["runs"] == 4
    assert facts["modes"]["faithful"]["events"] > 100
    assert command.main(["--seeds", "1", "--jobs", "2"]) == 0
    assert "seeds 0 to 0, " in capsys.readouterr().out
    assert command.main(["--replay", "2", "--mode", "harsh"]) == 0
    assert "every rule held" in capsys.readouterr().out


def test_planted_bugs_are_told_with_the_seeds_that_they_took(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command.teeth, "TEETH", command.teeth.TEETH[1:3])
    assert command.main(["--teeth"]) == 0
    assert "2 planted bugs, 2 caught" in capsys.readouterr().out
    harmless = command.teeth.Bug(lambda _: None, "trees")
    monkeypatch.setattr(command.teeth, "TEETH", (harmless,))
    assert command.main(["--teeth", "--seeds", "3"]) == 1
    assert "NOT CAUGHT by 3 seeds" in capsys.readouterr().out
