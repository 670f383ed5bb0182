"""The causes of the gap: each where it belongs, and together always what was not busy."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbnet.core.account import Account
from lbnet.core.gap import Share, balance
from lbnet.types import CAUSES, BalanceReport

ROUND_TRIP_S = 0.5
QUIET = Share("w", 2, 10.0, 0.0, 0.0, 0.0, answered=True, account=None)


def causes(*shares: Share, over: bool = True) -> dict[str, float]:
    """Those that are not 0."""
    report = balance(10.0, shares, ROUND_TRIP_S, over=over)
    return {cause: pytest.approx(seconds) for cause, seconds in report.causes.items() if seconds}


def with_account(busy_s: float = 0.0, dropped_s: float = 0.0, **account: object) -> Share:
    facts = Account.of({"window_s": 10.0, **account})
    return replace(QUIET, busy_s=busy_s, dropped_s=dropped_s, account=facts)


def test_a_worker_that_had_nothing_of_the_job_never_started() -> None:
    assert causes(QUIET) == {"start": 20.0}
    assert causes(replace(QUIET, elsewhere_s=15.0)) == {"start": 5.0, "other jobs": 15.0}


def test_a_worker_that_does_not_answer_is_known_by_its_results() -> None:
    report = balance(
        10.0, [replace(QUIET, answered=False, busy_s=12.0, dropped_s=2.0, elsewhere_s=3.0)], ROUND_TRIP_S, over=True
    )
    (worker,) = report.workers
    assert not worker.answered
    assert worker.busy_s == 10.0
    assert {cause: seconds for cause, seconds in worker.causes.items() if seconds} == {
        "failures": 2.0, "other jobs": 3.0, "unknown": 5.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (with_account(8.0, inside_s=9.0, told_s=8.0), {"serialising": 1.0, "start": 11.0}),
        (with_account(8.0, inside_s=8.0, told_s=8.0, tail_s=3.0), {"tail": 3.0, "start": 9.0}),
        (
            with_account(8.0, inside_s=8.0, told_s=8.0, waiting_s=3.0, gaps=4),
            {"waiting for work": 1.0, "network": 2.0, "start": 9.0},
        ),
        (
            with_account(8.0, inside_s=8.0, told_s=8.0, waiting_s=1.0, gaps=4, held_up_s=2.0),
            {"network": 3.0, "start": 9.0},
        ),
        (with_account(8.0, inside_s=8.0, told_s=8.0, others_s=4.0), {"other jobs": 4.0, "start": 8.0}),
        # Before the worker heard of the job, 3 s of the stay had passed: more cannot count.
        (with_account(window_s=7.0, before_s=[9.0, 2.0]), {"other jobs": 5.0, "start": 15.0}),
        (with_account(8.0, 3.0, inside_s=8.0, told_s=8.0), {"failures": 3.0, "start": 12.0}),
        (
            with_account(6.0, inside_s=12.0, told_s=6.0, retried_s=2.0, lost_s=3.0, down_s=4.0),
            {"failures": 9.0, "serialising": 1.0, "start": 4.0},
        ),
        # A result that came after the end is no busy time: nobody counts it.
        (with_account(6.0, inside_s=8.0, told_s=8.0), {"failures": 2.0, "start": 12.0}),
        (with_account(6.0, inside_s=9.0, told_s=6.0, running_s=3.0), {"failures": 3.0, "start": 11.0}),
    ],
)
def test_each_cause_counts_what_it_says(share: Share, expected: dict[str, float]) -> None:
    assert causes(share) == expected


def test_what_runs_now_is_not_known_yet() -> None:
    share = with_account(6.0, inside_s=9.0, told_s=6.0, running_s=3.0)
    assert causes(share, over=False) == {"unknown": 3.0, "start": 11.0}


def test_the_word_of_the_end_takes_time_which_is_cut_from_the_tail() -> None:
    share = with_account(19.0, window_s=11.0, inside_s=19.0, told_s=19.0, tail_s=3.0)
    assert causes(share) == {"tail": 1.0}


def test_workers_that_come_and_go_count_for_their_part_and_the_ideal_is_that_of_the_average() -> None:
    report = balance(
        10.0, [QUIET, with_account(5.0, inside_s=5.0), replace(QUIET, stay_s=5.0)], ROUND_TRIP_S, over=True
    )
    assert (report.slot_s, report.slots, report.busy_s) == (50.0, 5.0, 5.0)
    assert (report.ideal_s, report.gap_s, report.gap_percent) == (1.0, 9.0, 900.0)
    assert report.gap_s == pytest.approx(sum(report.causes.values()) / report.slots)


@pytest.mark.parametrize("shares", [[], [replace(QUIET, stay_s=0.0)]])
def test_a_job_that_nobody_was_there_for_divides_by_nothing(shares: list[Share]) -> None:
    report = balance(0.0, shares, ROUND_TRIP_S, over=True)
    assert (report.slots, report.ideal_s, report.gap_s, report.gap_percent, report.advice) == (0, 0, 0, 0, "")


# --- whatever workers say -------------------------------------------------------------------------

seconds = st.floats(0.0, 1e6)
accounts = st.builds(
    Account,
    **dict.fromkeys(
        ("window_s", "inside_s", "told_s", "retried_s", "lost_s", "down_s", "running_s", "held_up_s", "waiting_s"),
        seconds,
    ),
    gaps=st.integers(0, 1_000),
    tail_s=seconds,
    others_s=seconds,
    before_s=st.lists(seconds, max_size=3).map(tuple),
    tasks=st.integers(0, 1_000),
    tickets=st.integers(0, 1_000),
    longest_s=seconds,
    unused=st.integers(0, 100),
)


@st.composite
def some_shares(draw: st.DrawFn) -> Share:
    busy_s, answered = draw(seconds), draw(st.booleans())
    dropped_s = draw(st.floats(0.0, busy_s))
    account = draw(st.none() | accounts) if answered else None
    slots, stay_s, elsewhere_s = draw(st.integers(1, 64)), draw(seconds), draw(seconds)
    return Share("w", slots, stay_s, busy_s, dropped_s, elsewhere_s, answered, account)


def adds_up(report: BalanceReport) -> None:
    assert sum(report.causes.values()) == pytest.approx(report.slot_s - report.busy_s, abs=1e-3)
    for worker in report.workers:
        assert tuple(worker.causes) == CAUSES
        assert sum(worker.causes.values()) == pytest.approx(worker.slot_s - worker.busy_s, abs=1e-3)
        free = {"start", "unknown"} if worker.slot_s < worker.busy_s else set()
        assert all(seconds >= -1e-3 for cause, seconds in worker.causes.items() if cause not in free)


@given(st.lists(some_shares(), max_size=4), seconds, seconds | st.just(math.inf), st.booleans())
def test_the_causes_together_are_the_slot_seconds_that_were_not_busy(
    shares: list[Share], makespan_s: float, round_trip_s: float, over: bool
) -> None:
    adds_up(balance(makespan_s, shares, round_trip_s, over=over))
