"""Where an item is among the slots of a worker, at each station on its way."""

from __future__ import annotations

from typing import Any

from lbnet.core.slots import Slot, Ticket
from lbnet.core.whereabouts import in_slots
from lbnet.types import ROOT, Batch, JobId, Payload, RunId, SlotId

JOB, OTHER = JobId(7), JobId(8)


def ticket(number: int, lo: int, hi: int, origin: RunId = ROOT, job: JobId = JOB) -> Ticket:
    return Ticket.of(number, Batch(job, origin, lo, hi, 0, ROOT, 0, Payload(lo, hi - lo, b"f", b"")), RunId(1))


def slot(number: int, *tickets: Ticket, ready: bool = True) -> Slot:
    made = Slot(SlotId(number), ready, moved_at=10.0)
    made.tickets.extend(tickets)
    return made


def place(index: int, *slots: Slot, job: JobId = JOB) -> tuple[Any, Any]:
    facts = in_slots(slots, job, index, 12.5)
    return facts["running"], facts["in_slot"]


def waits(slot: int, tasks: int) -> tuple[None, dict[str, Any]]:
    return None, {"slot": slot, "for_s": 2.5, "tasks": tasks}


def test_the_first_that_is_not_finished_runs_and_the_others_wait_behind_it() -> None:
    made = slot(1, ticket(1, 0, 4), ticket(2, 4, 8))
    assert place(0, slot(0), made) == ({"slot": 1, "for_s": 2.5}, None)
    assert place(3, slot(0), made) == waits(1, 3)
    assert place(6, slot(0), made) == waits(1, 6)
    made.tickets[0].upto = 2
    assert place(2, made) == ({"slot": 1, "for_s": 2.5}, None)
    assert place(6, made) == waits(1, 4)


def test_who_was_reported_or_taken_back_is_not_there() -> None:
    first = ticket(1, 0, 6)
    first.unreported.remove(1, 2)
    first.cut(4)
    assert place(1, slot(0, first)) == place(5, slot(0, first)) == (None, None)
    assert place(3, slot(0, first)) == waits(0, 3)


def test_what_was_spawned_and_what_belongs_to_another_job_only_takes_time() -> None:
    made = slot(0, ticket(1, 0, 3, RunId(9)), ticket(2, 0, 3, job=OTHER), ticket(3, 0, 3))
    assert place(1, made) == waits(0, 7)
    assert place(1, made, job=OTHER) == waits(0, 4)


def test_slots_that_could_run_it_are_counted() -> None:
    facts = in_slots((slot(0, ready=False), slot(1), slot(2, ticket(1, 0, 1))), JOB, 5, 0.0)
    assert (facts["ready_slots"], facts["free_slots"]) == (2, 1)
