"""One round of asking who holds what: missing is what is outstanding and held by nobody."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet.core.inventory import InventoryRound
from lbnet.core.job import Job
from lbnet.protocol import messages
from lbnet.protocol.records import Opened
from lbnet.types import COMBINED, ROOT, SILENT, Batch, Group, JobId, JobOptions, Member, Payload, PeerId, RunId, Span

A, B, C = PeerId(1), PeerId(2), PeerId(3)


def batch(lo: int, hi: int, origin: int = ROOT, job: int = 1) -> Batch:
    return Batch(JobId(job), RunId(origin), lo, hi, 0, ROOT, 0, Payload(lo, hi - lo, b"f", b"data"))


def placed_job(items: int, number: int = 1) -> Job:
    """A job of which everything has left the controller."""
    job = Job(Opened(JobId(number), PeerId(9), number, JobOptions(), 0.0, 2))
    job.apply(messages.Submit(batch(0, items, job=number)))
    job.take(items)
    return job


def span(lo: int, hi: int, origin: int = ROOT, job: int = 1) -> Span:
    return Span(JobId(job), RunId(origin), lo, hi)


def group(kind: int, *members: Member) -> Group:
    return Group(kind, b"", members, 0.0, None)


def with_children(job: Job, item: int, run: int, children: int) -> None:
    spawned = (batch(0, children, origin=run),)
    job.ledger.commit(group(SILENT, Member(ROOT, item, item + 1, item, ROOT, 0, RunId(run), spawned)))


def test_what_nobody_holds_is_missing() -> None:
    asked = InventoryRound(1, {A, B})
    asked.answered(A, [span(0, 3)])
    asked.answered(B, [span(5, 7), span(2, 4)])
    assert asked.pending == set()
    assert asked.missing(placed_job(10)) == [(ROOT, 4, 5), (ROOT, 7, 10)]


def test_a_round_ends_when_everybody_has_answered() -> None:
    asked = InventoryRound(1, {A, B})
    asked.answered(A, [])
    assert asked.pending == {B}
    asked.answered(B, [])
    assert asked.pending == set()


def test_answers_of_those_who_were_not_asked_or_have_answered_do_not_count() -> None:
    asked = InventoryRound(1, {A})
    asked.answered(C, [span(0, 10)])
    asked.answered(A, [span(0, 2)])
    asked.answered(A, [span(0, 10)])
    assert asked.missing(placed_job(10)) == [(ROOT, 2, 10)]


def test_what_the_controller_has_or_placed_meanwhile_is_not_missing() -> None:
    job = placed_job(10)
    job.requeue(ROOT, 0, 2, "why")
    asked = InventoryRound(1, {A})
    asked.placed([batch(4, 6), batch(9, 10)])
    asked.answered(A, [span(2, 3)])
    assert asked.missing(job) == [(ROOT, 3, 4), (ROOT, 6, 9)]


def test_what_is_done_is_not_missing() -> None:
    job = placed_job(6)
    job.ledger.commit(group(SILENT, Member(ROOT, 2, 6, 0, ROOT, 0, ROOT, ())))
    assert InventoryRound(1, set()).missing(job) == [(ROOT, 0, 2)]


def test_jobs_and_origins_are_kept_apart() -> None:
    job = placed_job(2)
    with_children(job, 0, run=7, children=4)
    asked = InventoryRound(1, {A})
    asked.answered(A, [span(0, 3, job=2), span(0, 2, origin=7), span(1, 2, origin=8)])
    assert asked.missing(job) == [(ROOT, 1, 2), (7, 2, 4)]
    assert asked.missing(placed_job(4, number=2)) == [(ROOT, 3, 4)]


def test_children_of_an_uncommitted_run_are_not_known_and_so_not_missing() -> None:
    job = placed_job(1)
    asked = InventoryRound(1, {A})
    asked.answered(A, [span(0, 1)])
    assert asked.missing(job) == []


def test_what_waits_with_a_combined_value_is_held_by_the_controller() -> None:
    job = placed_job(2)
    with_children(job, 0, run=7, children=2)
    early = Member(RunId(8), 0, 1, 1, ROOT, 1, ROOT, ())
    job.ledger.commit(group(COMBINED, Member(RunId(7), 0, 2, 0, ROOT, 0, ROOT, ()), early))
    assert InventoryRound(1, set()).missing(job) == [(ROOT, 1, 2)]


ranges = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 8)), max_size=8)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(answers=st.lists(ranges, max_size=4), placed=ranges, done=ranges)
def test_missing_is_outstanding_without_all_that_is_held(
    answers: list[list[tuple[int, int]]], placed: list[tuple[int, int]], done: list[tuple[int, int]]
) -> None:
    job = placed_job(40)
    outstanding, held = set(range(40)), set[int]()
    for lo, size in done:
        job.ledger.commit(group(SILENT, Member(ROOT, lo, lo + size, 0, ROOT, 0, ROOT, ())))
        outstanding -= set(range(lo, lo + size))
    asked = InventoryRound(1, {PeerId(peer) for peer in range(len(answers))})
    for peer, answer in enumerate(answers):
        asked.answered(PeerId(peer), [span(lo, lo + size) for lo, size in answer])
        held |= {index for lo, size in answer for index in range(lo, lo + size)}
    asked.placed([batch(lo, lo + size) for lo, size in placed])
    held |= {index for lo, size in placed for index in range(lo, lo + size)}
    missing = [index for _, lo, hi in asked.missing(job) for index in range(lo, hi)]
    assert missing == sorted(outstanding - held)
