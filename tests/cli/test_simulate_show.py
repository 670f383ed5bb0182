"""What is said of simulations: sums, requests, and comparisons with what was recorded."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from lbnet.cli import simulate_show as show
from lbnet.cli.simulate_points import Outcome, Point, Recording, Setting, Source, run
from lbnet.strategies import registry
from lbnet.version import VERSION

DIVISIBLE = Source("divisible:2000:1ms")


@pytest.fixture(scope="module")
def one() -> Outcome:
    return run(Point(DIVISIBLE, "sb", 3, 0, Setting()))


def changed(outcome: Outcome, **result: Any) -> Outcome:
    return replace(outcome, result=replace(outcome.result, **result))


@pytest.mark.parametrize("strategy", registry.BUILT_IN)
def test_every_request_for_work_is_refused_or_moves_a_batch(strategy: str) -> None:
    outcome = run(Point(Source("divisible:1000:1ms"), strategy, 4, 1, Setting()))
    figures = show.figures_of(outcome)
    assert 0 <= figures.refusals <= figures.requests
    assert (figures.requests == 0) == (strategy == "pmap") == (figures.batches_moved == 0)
    to_controller = [outcome.result.messages[f"{who} to controller"] for who in ("client", "worker")]
    total = sum(sum(counts.values()) for counts in to_controller)
    assert figures.controller_messages_s * outcome.result.makespan_s == pytest.approx(total)


def test_a_job_that_took_no_time_divides_by_nothing(one: Outcome) -> None:
    assert show.figures_of(changed(one, makespan_s=0.0)).controller_messages_s == 0.0


def test_the_requests_of_sb_are_matches_and_each_is_answered(one: Outcome) -> None:
    figures = show.figures_of(one)
    assert figures.requests == one.result.messages["controller to worker"]["Match"]
    # The last ones may still be on their way when the job is done.
    moved = one.result.messages["worker to worker"]["SendWork"]
    assert 0 <= figures.requests - figures.refusals - moved <= one.point.workers


# --- text -----------------------------------------------------------------------------------------


def text(capsys: pytest.CaptureFixture[str], *outcomes: Outcome, recorded: Recording | None = None) -> list[str]:
    show.text(outcomes, recorded)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_one_point_has_a_row_its_sum_and_its_balance(one: Outcome, capsys: pytest.CaptureFixture[str]) -> None:
    lines = text(capsys, one)
    report, figures = one.result.report, show.figures_of(one)
    assert lines[0] == "Simulated"
    assert lines[3].split() == [
        "sb", "3", "divisible:2000:1ms", "0", f"{one.result.makespan_s:.4f}", f"{report.speedup:.2f}",
        f"{report.efficiency:.3f}", f"{report.overhead_s:.3f}", f"{100 * one.result.controller_busy:.1f}",
        f"{figures.controller_messages_s:,.0f}", f"{figures.batches_moved:,}", f"{figures.requests:,}",
        f"{figures.refusals:,}", f"{one.result.events:,}",
    ]  # fmt: skip
    assert lines[5:7] == ["expected  2,000", "found     2,000"]
    assert "Balance" in lines
    assert [line.split()[0] for line in lines if line.startswith("worker-")].count("worker-0") == 1
    assert f"{figures.batches_moved} batches moved between workers; " in lines[-1]
    assert not [line for line in lines if "WRONG" in line or "had no work" in line]


def test_of_many_workers_the_ends_are_shown_and_those_without_work_are_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = text(capsys, run(Point(Source("divisible:4000:1ms"), "sb", 16, 0, Setting())))
    assert "Balance: the 5 busiest and the 5 idlest of 16 workers" in lines
    shown = [line.split() for line in lines if line.startswith("worker-")]
    busy_s = [float(row[3]) for row in shown]
    assert len(shown) == 10
    assert busy_s == sorted(busy_s, reverse=True)
    lines = text(capsys, run(Point(Source("flat:constant:2:1ms"), "sb", 16, 0, Setting(joins=(0.0,)))))
    assert "15 of 17 workers had no work at all" in lines


def test_the_balance_is_shown_if_it_was_asked_for(capsys: pytest.CaptureFixture[str], one: Outcome) -> None:
    assert "Slot seconds" not in text(capsys, one)
    outcome = run(Point(DIVISIBLE, "sb", 3, 0, Setting(balance=True)))
    assert outcome.result.digest == one.result.digest
    lines = text(capsys, outcome)
    begin = lines.index("Slot seconds")
    assert lines[begin + 1].split()[:2] == ["worker", "busy"]
    assert [line.split()[0] for line in lines[begin + 3 : begin + 6]] == ["worker-0", "worker-1", "worker-2"]
    (facts,) = json.loads(show.as_json([outcome], None))
    balance = facts["report"]["balance"]
    assert sum(balance["causes"].values()) == pytest.approx(facts["overhead_s"])
    assert balance["gap_percent"] == pytest.approx(100 * balance["gap_s"] / balance["ideal_s"])


def test_a_wrong_sum_is_shouted(one: Outcome, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = changed(one, total=1_999)
    assert one.right
    assert not wrong.right
    assert "found     1,999   WRONG: found 1,999, expected 2,000" in text(capsys, wrong)
    lines = text(capsys, one, wrong)
    assert lines[-2:] == [
        "WRONG  sb with 3 workers on divisible:2000:1ms, seed 0: found 1,999, expected 2,000",
        "1 of 2 sums as expected",
    ]


def test_a_job_that_failed_is_wrong_whatever_it_adds_up_to(one: Outcome, capsys: pytest.CaptureFixture[str]) -> None:
    failed = changed(one, report=replace(one.result.report, state="failed"), expected=None)
    assert not failed.right
    assert "found     2,000   WRONG: the job is failed" in text(capsys, failed)
    items = changed(one, failed=2)
    assert not items.right
    assert "found     2,000   WRONG: 2 items failed" in text(capsys, items)


def test_a_sum_that_nobody_knows_cannot_be_wrong(one: Outcome, capsys: pytest.CaptureFixture[str]) -> None:
    unknown = changed(one, expected=None)
    assert unknown.right
    assert "expected  unknown" in text(capsys, unknown)
    assert text(capsys, unknown, unknown)[-1] == "nobody knows the sums beforehand"
    assert text(capsys, unknown, one)[-1] == "1 of 1 sum as expected"


# --- replays --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recorded_s", "simulated_s", "said"),
    [
        (0.68, 0.14, "makespan 0.68 s; simulated with 3 workers and sb: 0.14 s (4.9 times faster)"),
        (1.0, 1.5, "makespan 1.00 s; simulated with 3 workers and sb: 1.50 s (1.5 times slower)"),
        (0.0102, 0.0101, "makespan 10.2 ms; simulated with 3 workers and sb: 10.1 ms (as fast)"),
        (0.0, 1.0, "makespan 0.00 s; simulated with 3 workers and sb: 1.00 s (nothing to compare)"),
        (5_000.0, 1.0, "makespan 5,000.00 s; simulated with 3 workers and sb: 1.00 s (5,000.0 times faster)"),
    ],
)
def test_a_replay_is_compared(
    one: Outcome, recorded_s: float, simulated_s: float, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = Recording(2, "rp", "first", "done", recorded_s)
    lines = text(capsys, changed(one, makespan_s=simulated_s), recorded=recorded)
    assert lines[-1] == f"recorded: 2 slots, rp, {said}"


def test_a_recording_that_did_not_end_well_says_so(one: Outcome) -> None:
    many = replace(one, point=replace(one.point, setting=Setting(slots=4)))
    said = show.against(many, Recording(1, "", "", "running", 1.0))
    assert said.startswith(
        "recorded (running): 1 slot, no strategy, makespan 1.00 s; simulated with 3 workers of 4 slots"
    )


# --- JSON -----------------------------------------------------------------------------------------


def test_json_has_all_facts(one: Outcome) -> None:
    (facts,) = json.loads(show.as_json([one], None))
    assert facts["lbnet"] == VERSION
    assert (facts["strategy"], facts["workers"], facts["workload"], facts["seed"]) == ("sb", 3, DIVISIBLE.text, 0)
    assert facts["placement"] == "first"
    assert facts["costs"] == one.point.setting.costs.facts()
    assert facts["digest"] == one.result.digest
    assert facts["makespan_s"] == one.result.makespan_s
    assert facts["rates"] == list(one.result.rates)
    assert facts["report"]["workers"][0]["busy_s"] == one.result.report.workers[0].busy_s
    assert facts["messages"] == one.result.messages
    assert facts["right"] is True
    assert facts["timeline"] is None
    assert "recorded" not in facts
    assert "wall_s" not in facts


def test_json_of_a_replay_says_what_was_recorded(one: Outcome) -> None:
    (facts,) = json.loads(show.as_json([one], Recording(2, "rp", "first", "done", 0.5)))
    recorded = facts["recorded"]
    assert (recorded["slots"], recorded["strategy"], recorded["makespan_s"]) == (2, "rp", 0.5)
