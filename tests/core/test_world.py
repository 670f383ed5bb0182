from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.faults.plan import Plan, WorldError
from bench.faults.plans import CALM, DEATHS, ROUGH
from bench.faults.swarm import plan_of
from bench.faults.teeth import TEETH, Bug
from bench.faults.world import World
from lbnet import limits
from lbnet.core.recovery import Recovery
from lbnet.strategies import registry

SEEDS = 16

STRATEGIES = [name for name in registry.BUILT_IN if name != "sb"]

STORMS = [
    pytest.param(plan, registry.BUILT_IN[(number + other) % len(registry.BUILT_IN)], id=f"{name}-{other}")
    for number, (name, plan) in enumerate((CALM | ROUGH | DEATHS).items())
    for other in (0, 3)
]
"""Every plan with two of the strategies, every strategy with some of the plans."""


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("plan", CALM.values(), ids=CALM.keys())
def test_with_every_strategy_nothing_is_done_twice_when_nothing_breaks(plan: Plan, strategy: str) -> None:
    for seed in range(1):
        outcome = World(replace(plan, strategy=strategy), seed).run()
        assert outcome.state == "done"
        assert (outcome.duplicates, outcome.orphans, outcome.requeued) == (0, 0, 0), seed


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("plan", ROUGH.values(), ids=ROUGH.keys())
def test_with_every_strategy_every_unit_is_counted_once(plan: Plan, strategy: str) -> None:
    for seed in range(2):
        assert World(replace(plan, strategy=strategy), seed).run().state in {"done", "cancelled"}


@pytest.mark.parametrize("plan", CALM.values(), ids=CALM.keys())
def test_when_nothing_breaks_every_unit_is_counted_once_and_nothing_is_done_twice(plan: Plan) -> None:
    for seed in range(SEEDS):
        outcome = World(plan, seed).run()
        assert outcome.state == "done"
        assert (outcome.duplicates, outcome.orphans, outcome.requeued) == (0, 0, 0), seed


@pytest.mark.parametrize("plan", ROUGH.values(), ids=ROUGH.keys())
def test_whatever_breaks_every_unit_is_counted_once(plan: Plan) -> None:
    states = {World(plan, seed).run().state for seed in range(SEEDS)}
    assert states == ({"done", "cancelled"} if plan.cancels else {"done"})


@pytest.fixture(params=[limits.SNAPSHOT_MIN_BYTES, 500], ids=["one log", "snapshots"])
def _snapshots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Journals of these small jobs are never worth a snapshot."""
    monkeypatch.setattr(limits, "SNAPSHOT_MIN_BYTES", request.param)


@pytest.mark.usefixtures("_snapshots")
@pytest.mark.parametrize("plan", DEATHS.values(), ids=DEATHS.keys())
def test_whoever_dies_every_unit_is_counted_once(plan: Plan) -> None:
    outcomes = [World(plan, seed).run() for seed in range(5)]
    assert {outcome.state for outcome in outcomes} <= {"done", "cancelled"}
    assert not plan.controller_crashes or sum(outcome.crashes for outcome in outcomes) > 0


@pytest.mark.usefixtures("_snapshots")
@pytest.mark.parametrize("plan", [plan for plan in DEATHS.values() if plan.journal])
def test_at_every_moment_the_journal_holds_the_job_and_its_safe_part_what_was_promised(plan: Plan) -> None:
    for seed in range(2):
        World(plan, seed, replayed=True).run()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("plan", DEATHS.values(), ids=DEATHS.keys())
def test_with_every_strategy_whoever_dies_every_unit_is_counted_once(plan: Plan, strategy: str) -> None:
    for seed in range(2):
        assert World(replace(plan, strategy=strategy), seed).run().state in {"done", "cancelled"}


@pytest.mark.parametrize("strategy", registry.BUILT_IN)
@pytest.mark.parametrize("plan", CALM.values(), ids=CALM.keys())
def test_when_workers_take_leave_nothing_is_done_twice(plan: Plan, strategy: str) -> None:
    outcome = World(replace(plan, strategy=strategy, leaves=3), 1).run()
    assert (outcome.state, outcome.duplicates, outcome.orphans, outcome.requeued) == ("done", 0, 0, 0)


@pytest.mark.parametrize("strategy", registry.BUILT_IN)
@pytest.mark.parametrize("plan", CALM.values(), ids=CALM.keys())
def test_when_workers_in_a_hurry_take_leave_nobody_is_blamed_and_nothing_is_lost(plan: Plan, strategy: str) -> None:
    outcome = World(replace(plan, strategy=strategy, leaves=3, grace_s=0.0), 2).run()
    assert (outcome.state, outcome.duplicates, outcome.requeued) == ("done", 0, 0)


@pytest.mark.parametrize("grace_s", [0.0, 0.05, 1e9])
@pytest.mark.parametrize("plan", (ROUGH | DEATHS).values(), ids=(ROUGH | DEATHS).keys())
def test_when_workers_take_leave_while_others_die_every_unit_is_counted_once(plan: Plan, grace_s: float) -> None:
    for seed in range(2):
        assert World(replace(plan, leaves=3, grace_s=grace_s), seed).run().state in {"done", "cancelled"}


@pytest.mark.parametrize(("plan", "strategy"), STORMS)
def test_in_a_storm_of_cancels_nothing_comes_of_what_was_cancelled_and_all_of_the_rest(
    plan: Plan, strategy: str
) -> None:
    outcome = World(replace(plan, strategy=strategy, withdrawals=4), 1, replayed=plan.journal).run()
    assert outcome.state in {"done", "cancelled"}


def test_the_world_reaches_the_places_where_it_can_go_wrong() -> None:
    outcomes = [World(ROUGH["everything"], seed).run() for seed in range(4 * SEEDS)]
    for reached in ("duplicates", "orphans", "requeued", "spawned", "relays"):
        assert sum(getattr(outcome, reached) for outcome in outcomes) > 0, reached


# --- seeds that found something


def test_seed_16_a_link_broke_and_its_requester_waited_for_ever_for_an_answer() -> None:
    World(ROUGH["everything"], 16).run()


def test_seed_79_a_peer_that_had_not_heard_of_the_end_of_a_job_was_disconnected() -> None:
    World(ROUGH["cancelled"], 79).run()


def test_seed_821_a_late_function_cost_two_workers_their_link() -> None:
    World(ROUGH["links break, combined"], 821).run()


def test_seed_202_a_job_that_had_ended_came_back_without_a_function_that_its_old_tasks_needed() -> None:
    World(ROUGH["cancelled"], 202).run()


def test_seed_399_a_job_that_had_ended_came_back_without_what_combines_its_values() -> None:
    World(ROUGH["cancelled"], 399).run()


def test_seed_1287_a_tail_came_back_after_the_end_of_its_job() -> None:
    World(ROUGH["everything, small tasks"], 1287).run()


def test_seed_3059_whoever_asked_in_vain_through_the_controller_got_no_new_work_any_more() -> None:
    World(replace(ROUGH["everything"], strategy="arr"), 3059).run()


def test_seed_259_results_came_of_a_job_that_another_controller_was_told_of_anew() -> None:
    World(replace(DEATHS["the controller dies"], strategy="rp"), 259).run()


def test_seed_232_work_was_sent_through_a_controller_that_was_away() -> None:
    World(DEATHS["all die, small tasks"], 232).run()


@pytest.mark.parametrize("seed", [11982, 15673, 16398])
def test_a_function_was_said_between_two_lives_of_a_job_and_never_again(seed: int) -> None:
    World(plan_of(seed, "faithful"), seed).run()


def test_seed_104_a_worker_that_had_to_wait_for_a_word_only_never_left() -> None:
    World(replace(ROUGH["workers crash, combined"], leaves=3, grace_s=0.0), 104).run()


def test_seed_246_work_of_a_job_that_had_ended_was_sent_through_a_controller_that_was_away() -> None:
    World(DEATHS["all die, cancelled"], 246).run()


# --- determinism


def digests(seeds: range) -> list[str]:
    return [World(ROUGH["everything"], seed, traced=True).run().digest for seed in seeds]


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    first = digests(range(6))
    assert digests(range(6)) == first
    assert len(set(first)) == 6


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_no_run_depends_on_the_order_of_sets_or_the_hashes_of_texts(hash_seed: str) -> None:
    code = "from tests.core.test_world import digests; print(*digests(range(3)))"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
        cwd=Path(__file__).parent.parent.parent,
    )
    assert done.stdout.split() == digests(range(3))


# --- teeth: the world catches what is planted


@pytest.mark.parametrize("bug", TEETH, ids=[bug.name for bug in TEETH])
def test_planted_bugs_are_caught(bug: Bug) -> None:
    assert bug.caught_after(200) is not None


def test_a_failure_says_how_to_see_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recovery, "ask", lambda *_: None)
    plan = ROUGH["the last worker crashes"]
    with pytest.raises(WorldError) as caught:
        for seed in range(200):
            World(plan, seed).run()
    command = str(caught.value).partition(" of ")[2].rstrip(")") + ")"
    with pytest.raises(WorldError) as again:
        eval(command, {"World": World, "Plan": Plan})
    assert str(again.value) == str(caught.value)
