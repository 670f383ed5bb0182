"""Tasks that misbehave, as the slots' half of a worker sees them: retries that rest, cancels, last words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet.core import effects, events
from lbnet.core.compute import Compute, HeldJob
from lbnet.core.effects import Effect
from lbnet.protocol.messages import Result
from lbnet.strategies.base import WorkerView
from lbnet.types import (
    FAILED,
    ROOT,
    VALUES,
    Batch,
    Failure,
    Group,
    JobId,
    JobOptions,
    Member,
    Payload,
    PeerId,
    SlotId,
    Span,
)

pytestmark = pytest.mark.usefixtures("results_at_once")

JOB = JobId(3)
FN = b"fn"
SLOT = SlotId(0)


def tasks(lo: int, hi: int) -> Batch:
    return Batch(JOB, ROOT, lo, hi, 0, ROOT, 0, Payload(0, 100, FN, b"items"))


def span(lo: int, hi: int) -> Span:
    return Span(JOB, ROOT, lo, hi)


def member(lo: int, hi: int) -> Member:
    return Member(ROOT, lo, hi, lo, ROOT, 0, ROOT, ())


class Desk:
    """One slot, a clock that the test moves, and what was asked for."""

    def __init__(self, options: JobOptions, *batches: Batch) -> None:
        self.view = WorkerView(PeerId(5), lambda: 0.5, 1)
        self.view.now = 100.0
        self.done: list[Effect] = []
        self.core = Compute(PeerId(5), "w", 1, self.view, self.done.append)
        self.core.jobs[JOB] = HeldJob(options, {FN: FN})
        self.core.slot_ready(events.SlotReady(SLOT, 1))
        for batch in batches:
            self.core.queue.append(batch)
        self.core.feed()

    def told(self) -> list[Effect]:
        self.core.results.say(self.view.now)
        done, self.done[:] = list(self.done), []
        return done

    def runs(self) -> list[tuple[int, int, int]]:
        """Ticket and range of what slots were handed."""
        return [(e.ticket, e.batch.lo, e.batch.hi) for e in self.told() if isinstance(e, effects.Run)]

    def fails(self, ticket: int, index: int, kind: str = "exception", final: bool = False) -> None:
        failure = Failure(kind, "KeyError: 1", "", "pid 9", b"", final)
        group = Group(FAILED, b"", (member(index, index + 1),), 0.1, failure)
        self.core.slot_done(events.SlotDone(SLOT, ticket, index + 1, (group,)))
        self.core.slot_finished(events.SlotFinished(SLOT, ticket, index + 1))

    def dies(self, ticket: int = -1, index: int = -1, *, timed_out: bool = False) -> None:
        self.core.slot_died(events.SlotDied(SLOT, ticket, index, timed_out, False, "gone", "host h, pid 9"))
        self.core.slot_ready(events.SlotReady(SLOT, 2))

    def passes(self, seconds: float) -> None:
        self.view.now += seconds
        self.core.wake()
        self.core.feed()

    def failures(self) -> list[Failure]:
        results = [e.message for e in self.told() if isinstance(e, effects.Send) and isinstance(e.message, Result)]
        return [group.failure for result in results for group in result.groups if group.failure is not None]


# --- tried again


def test_a_task_rests_twice_as_long_before_every_retry_and_holds_no_slot_meanwhile() -> None:
    desk = Desk(JobOptions(retries=2, retry_delay_s=4.0), tasks(0, 1))
    assert desk.runs() == [(1, 0, 1)]
    for ticket, rest_s in ((1, 4.0), (2, 8.0)):
        desk.fails(ticket, 0)
        assert desk.told() == []
        assert desk.core.slots[0].free
        assert desk.core.queued_tasks() == 0
        assert desk.core.held() == [span(0, 1)]
        assert desk.core.resting_until == desk.view.now + rest_s
        desk.passes(rest_s - 0.5)
        assert desk.runs() == []
        desk.passes(0.5)
        assert desk.runs() == [(ticket + 1, 0, 1)]
        assert desk.core.resting_until is None
    desk.fails(3, 0)
    assert [failure.message for failure in desk.failures()] == ["KeyError: 1"]
    assert desk.core.held() == []


def test_others_run_while_it_rests() -> None:
    desk = Desk(JobOptions(retries=1, retry_delay_s=4.0), tasks(0, 1), tasks(1, 2))
    assert desk.runs() == [(1, 0, 1)]
    desk.fails(1, 0)
    desk.passes(1.0)
    assert desk.runs() == [(2, 1, 2)]


def test_what_is_final_is_not_tried_again() -> None:
    desk = Desk(JobOptions(retries=5, retry_on=("ValueError",)), tasks(0, 1))
    (run,) = [effect for effect in desk.told() if isinstance(effect, effects.Run)]
    assert run.retry_on == ("ValueError",)
    desk.fails(1, 0, final=True)
    assert [failure.where for failure in desk.failures()] == ["worker w, pid 9"]


def test_a_slot_need_not_know_what_is_worth_a_retry_where_there_is_none() -> None:
    desk = Desk(JobOptions(retry_on=("ValueError",)), tasks(0, 1))
    (run,) = [effect for effect in desk.told() if isinstance(effect, effects.Run)]
    assert run.retry_on == ()


@pytest.mark.parametrize(("names", "again"), [((), True), (("TimeoutError",), True), (("ValueError",), False)])
def test_time_limits_count_as_the_error_that_they_lead_to(names: tuple[str, ...], again: bool) -> None:
    desk = Desk(JobOptions(retries=1, task_timeout_s=1.0, retry_delay_s=4.0, retry_on=names), tasks(0, 1))
    desk.told()
    desk.dies(1, 0, timed_out=True)
    assert desk.core.resting_until == (desk.view.now + 4.0 if again else None)
    assert [failure.kind for failure in desk.failures()] == ([] if again else ["TaskTimeoutError"])


def test_what_rests_is_forgotten_with_its_job() -> None:
    desk = Desk(JobOptions(retries=1, retry_delay_s=4.0), tasks(0, 1))
    desk.fails(1, 0)
    desk.core.end_job(JOB)
    assert desk.core.held() == []
    assert desk.core.resting_until is None


# --- last words


def printed(index: int, text: bytes) -> events.SlotOutput:
    return events.SlotOutput(SLOT, JOB, ROOT, index, text, 0)


def test_the_last_that_a_task_printed_is_in_its_error() -> None:
    desk = Desk(JobOptions(crash_limit=1), tasks(0, 1))
    desk.told()
    desk.core.slot_output(printed(0, b"one\ntwo\n"))
    desk.dies(1, 0)
    (failure,) = desk.failures()
    assert failure.message == "gone; attempt 1 of 1; the last that it printed:\none\ntwo"
    assert failure.where == "worker w, host h, pid 9"


def test_the_words_of_an_earlier_process_are_not_those_of_a_later_one() -> None:
    desk = Desk(JobOptions(crash_limit=2), tasks(0, 1))
    desk.core.slot_output(printed(0, b"first time"))
    desk.dies(1, 0)
    desk.core.feed()
    desk.told()
    desk.dies(2, 0)
    (failure,) = desk.failures()
    assert failure.message == "gone; attempt 2 of 2"


# --- cancelled


def test_queued_tasks_are_dropped_and_their_neighbours_stay() -> None:
    desk = Desk(JobOptions(), tasks(0, 1), tasks(10, 20), tasks(30, 40))
    desk.told()
    desk.core.withdraw(JOB, 14, 32)
    assert desk.told() == []
    assert sorted(desk.core.held(), key=lambda held: held.lo) == [span(0, 1), span(10, 14), span(32, 40)]


def test_a_resting_task_is_dropped() -> None:
    desk = Desk(JobOptions(retries=1, retry_delay_s=4.0), tasks(0, 1))
    desk.fails(1, 0)
    desk.core.withdraw(JOB, 0, 9)
    assert desk.core.held() == []
    assert desk.core.resting_until is None


def test_of_another_job_nothing_is_dropped() -> None:
    desk = Desk(JobOptions(), tasks(0, 1), tasks(10, 20))
    desk.told()
    desk.core.withdraw(JobId(99), 0, 50)
    assert desk.told() == []
    assert desk.core.held() == [span(10, 20), span(0, 1)]


def in_a_slot() -> Desk:
    """Ten tasks in one ticket."""
    desk = Desk(JobOptions())
    desk.core._run(desk.core.slots[0], tasks(0, 10))
    assert desk.runs() == [(1, 0, 10)]
    return desk


def test_a_task_in_a_slot_is_no_longer_held_and_ended_if_it_goes_on() -> None:
    desk = in_a_slot()
    desk.core.withdraw(JOB, 3, 6)
    assert desk.told() == [effects.Reclaim(SLOT, 1, 3), effects.Cancel(SLOT, 1, 3, 6)]
    assert desk.core.held() == [span(0, 3), span(6, 10)]
    # Those behind it come back, and nobody else does.
    desk.core.reclaimed(events.Reclaimed(SLOT, 1, 4))
    assert desk.core.held() == [span(6, 10), span(0, 3)]
    desk.core.withdraw(JOB, 3, 6)
    assert desk.told() == []


def test_when_the_slot_of_a_cancelled_task_is_ended_nobody_is_blamed_and_the_rest_runs_again() -> None:
    desk = in_a_slot()
    desk.core.withdraw(JOB, 3, 6)
    desk.told()
    desk.dies()
    assert desk.told() == []
    assert desk.core.held() == [span(0, 3), span(6, 10)]
    assert not any(batch.crashes or batch.failures for batch in desk.core.queue._all())


def test_a_cancelled_task_that_kills_its_slot_is_not_blamed() -> None:
    desk = in_a_slot()
    desk.core.withdraw(JOB, 3, 4)
    desk.dies(1, 3)
    assert desk.core.held() == [span(0, 3), span(4, 10)]
    assert not any(batch.crashes or batch.failures for batch in desk.core.queue._all())


def test_a_cancelled_task_that_ends_by_itself_is_reported() -> None:
    desk = in_a_slot()
    desk.core.withdraw(JOB, 0, 1)
    desk.told()
    value = Group(VALUES, b"v", (member(0, 1),), 0.1, None)
    desk.core.slot_done(events.SlotDone(SLOT, 1, 1, (value,)))
    assert [effect.message.groups for effect in desk.told() if isinstance(effect, effects.Send)] == [(value,)]  # type: ignore[union-attr]


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 25), st.integers(1, 8)), max_size=6), st.integers(0, 10), st.booleans())
def test_what_is_held_is_what_was_there_without_what_was_cancelled(
    cancels: list[tuple[int, int]], taken_from: int, ends: bool
) -> None:
    desk = in_a_slot()
    desk.core.queue.append(tasks(10, 25))
    wanted = set(range(25))
    for lo, size in cancels:
        desk.core.withdraw(JOB, lo, lo + size)
        wanted -= set(range(lo, lo + size))
    if ends:
        desk.dies()
    else:
        desk.core.reclaimed(events.Reclaimed(SLOT, 1, taken_from))
    held = [index for each in desk.core.held() for index in range(each.lo, each.hi)]
    assert sorted(held) == sorted(wanted)
