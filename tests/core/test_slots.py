"""What a worker knows of a slot: which tasks it was handed, how far it is, and what could be taken back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet.core.durations import Durations
from lbnet.core.slots import Slot, Ticket
from lbnet.types import ROOT, Batch, JobId, Member, Payload, RunId, SlotId, Span


def batch(lo: int, hi: int, origin: int = ROOT, job: int = 1, function: bytes = b"f") -> Batch:
    return Batch(JobId(job), RunId(origin), lo, hi, 0, ROOT, 0, Payload(0, hi, function, b""))


def ticket_of(lo: int, hi: int, number: int = 1, function: bytes = b"f") -> Ticket:
    return Ticket.of(number, batch(lo, hi, function=function), RunId(100))


def member(lo: int, hi: int, origin: int = ROOT) -> Member:
    return Member(RunId(origin), lo, hi, 0, ROOT, 0, ROOT, ())


def slot_of(*tickets: Ticket) -> Slot:
    slot = Slot(SlotId(0), ready=True)
    slot.tickets.extend(tickets)
    return slot


def durations() -> Durations:
    known = Durations()
    known.observe(b"f", 1_000, 1_000.0)
    known.observe(b"g", 1_000, 10_000.0)
    return known


# --- tickets


def test_a_new_ticket_has_everything_before_it() -> None:
    ticket = ticket_of(3, 10)
    assert (ticket.left, ticket.waiting(running=False), ticket.waiting(running=True)) == (7, 7, 6)
    assert ticket.spans() == [Span(JobId(1), ROOT, 3, 10)]
    assert list(ticket.runs()) == list(range(100, 107))


def test_finished_tasks_are_neither_left_nor_waiting() -> None:
    ticket = ticket_of(0, 10)
    ticket.upto = 4
    assert (ticket.left, ticket.waiting(running=False), ticket.waiting(running=True)) == (6, 6, 5)
    ticket.upto = 10
    assert (ticket.left, ticket.waiting(running=False), ticket.waiting(running=True)) == (0, 0, 0)


def test_claimed_tasks_do_not_wait() -> None:
    ticket = ticket_of(0, 10)
    ticket.upto, ticket.claimed = 2, 7
    assert (ticket.left, ticket.waiting(running=True)) == (8, 3)


def test_the_tail_can_be_cut_off() -> None:
    ticket = ticket_of(0, 10)
    (back,) = ticket.cut(6)
    assert (back.lo, back.hi, back.payload) == (6, 10, ticket.batch.payload)
    assert (ticket.left, ticket.spans()) == (6, [Span(JobId(1), ROOT, 0, 6)])
    assert ticket.cut(6) == []
    assert ticket.cut(9) == []


def test_a_cut_never_reaches_below_the_batch() -> None:
    ticket = ticket_of(5, 8)
    (back,) = ticket.cut(0)
    assert (back.lo, back.hi) == (5, 8)
    assert (ticket.left, ticket.spans(), ticket.cut(0)) == (0, [], [])


def test_what_nobody_wants_does_not_come_back() -> None:
    ticket = ticket_of(0, 10)
    ticket.unreported.remove(6, 8)
    assert [(back.lo, back.hi) for back in ticket.cut(5)] == [(5, 6), (8, 10)]
    assert (ticket.left, ticket.spans()) == (5, [Span(JobId(1), ROOT, 0, 5)])


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    lo=st.integers(0, 10),
    size=st.integers(1, 20),
    steps=st.lists(st.tuples(st.sampled_from(["cut", "report", "finish"]), st.integers(0, 32), st.integers(1, 9))),
)
def test_every_task_of_a_ticket_is_reported_unreported_or_taken_back(
    lo: int, size: int, steps: list[tuple[str, int, int]]
) -> None:
    ticket = ticket_of(lo, lo + size)
    slot = slot_of(ticket)
    reported, taken = set[int](), list[int]()
    for name, at, count in steps:
        if name == "cut":
            for back in ticket.cut(max(at, ticket.upto)):
                taken += range(back.lo, back.hi)
        elif name == "report":
            slot.reported(JobId(1), member(at, at + count))
            reported |= set(range(at, at + count))
        else:
            ticket.upto = max(ticket.upto, min(at, ticket.end))
        unreported = {index for span in ticket.spans() for index in range(span.lo, span.hi)}
        everything = set(range(lo, lo + size))
        assert len(taken) == len(set(taken))
        assert not unreported & set(taken)
        assert unreported == everything - reported - set(taken)
        assert 0 <= ticket.waiting(running=True) <= ticket.waiting(running=False) <= ticket.left <= size


# --- slots


def test_a_slot_without_tickets_is_free() -> None:
    slot = slot_of()
    assert slot.free
    assert slot.ticket(1) is None
    assert list(slot.all_tickets()) == slot.tails() == []
    assert slot.weigh(durations()) == (0, 0)
    assert not slot_of(ticket_of(0, 1)).free


def test_tickets_are_found_by_number_while_they_are_out() -> None:
    first, second = ticket_of(0, 1, number=1), ticket_of(1, 2, number=2)
    slot = slot_of(second)
    slot.lagging.append(first)
    assert slot.ticket(2) is second
    assert slot.ticket(1) is None
    assert list(slot.all_tickets()) == [first, second]


def test_a_report_counts_for_the_ticket_of_its_job_and_origin() -> None:
    mine, of_another_job = ticket_of(0, 4), Ticket.of(2, batch(0, 4, job=2), RunId(200))
    of_another_origin = Ticket.of(3, batch(0, 4, origin=9), RunId(300))
    slot = slot_of(mine, of_another_job, of_another_origin)
    slot.reported(JobId(1), member(1, 3))
    assert [(span.lo, span.hi) for span in mine.spans()] == [(0, 1), (3, 4)]
    assert [(span.lo, span.hi) for span in of_another_job.spans()] == [(0, 4)]
    assert [(span.lo, span.hi) for span in of_another_origin.spans()] == [(0, 4)]


def test_a_lagging_ticket_goes_with_its_last_report() -> None:
    slot = slot_of()
    slot.lagging.append(ticket_of(0, 4))
    slot.reported(JobId(1), member(0, 3))
    assert len(slot.lagging) == 1
    slot.reported(JobId(1), member(3, 4))
    assert slot.lagging == []


def test_the_stock_is_all_that_is_not_finished() -> None:
    running, ahead = ticket_of(0, 10), ticket_of(10, 12, number=2, function=b"g")
    running.upto = 4
    slot = slot_of(running, ahead)
    assert slot.weigh(durations())[0] == pytest.approx(6 * 1.0 + 2 * 10.0)


def test_tails_are_what_has_not_started() -> None:
    running, ahead = ticket_of(0, 10), ticket_of(10, 12, number=2, function=b"g")
    running.upto = 4
    slot = slot_of(running, ahead)
    assert slot.tails() == [(running, 5), (ahead, 2)]
    assert slot.weigh(durations())[1] == pytest.approx(5 * 1.0 + 2 * 10.0)


def test_a_single_task_behind_the_running_one_is_a_tail() -> None:
    running, ahead = ticket_of(0, 2), ticket_of(2, 3, number=2)
    assert slot_of(running, ahead).tails() == [(running, 1), (ahead, 1)]


def test_a_ticket_that_is_being_reclaimed_or_is_on_its_last_task_has_no_tail() -> None:
    last, asked = ticket_of(0, 1), ticket_of(1, 9, number=2)
    asked.reclaiming = True
    assert slot_of(last, asked).tails() == []
