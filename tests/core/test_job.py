"""The controller's record of one job: what is placed, placed again, given back, cancelled, and reported."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet.core.job import Job, Tally
from lbnet.protocol import messages, records
from lbnet.types import (
    ROOT,
    SILENT,
    VALUES,
    Batch,
    Group,
    JobId,
    JobOptions,
    Member,
    Payload,
    PeerId,
    RunId,
    WorkerReport,
)


def batch(lo: int, hi: int, origin: int = ROOT, data: bytes = b"data") -> Batch:
    return Batch(JobId(1), RunId(origin), lo, hi, 0, ROOT, 0, Payload(lo, hi - lo, b"f", data))


def job_of(*sizes: int) -> Job:
    options = JobOptions(name="name", strategy="sb", placement="spread")
    job = Job(records.Opened(JobId(1), PeerId(1), 1, options, 10.0, 4))
    at = 0
    for size in sizes:
        job.apply(messages.Submit(batch(at, at + size)))
        at += size
    return job


def commit(job: Job, lo: int, hi: int, origin: int = ROOT, run: int = ROOT, children: tuple[Batch, ...] = ()) -> None:
    member = Member(RunId(origin), lo, hi, 0, ROOT, 0, RunId(run), children)
    group = Group(VALUES if origin == ROOT else SILENT, b"", (member,), 0.0, None)
    job.apply(records.Results(job.id, PeerId(3), "worker-3", 1, (group,)))


def cancel(job: Job, lo: int, hi: int) -> list[tuple[int, int]]:
    """Drop items. Returns what the client is told of it."""
    before = job.outbox.end
    job.apply(records.Dropped(job.id, lo, hi))
    told = job.outbox.kept()[before - job.outbox.taken :]
    assert all(isinstance(outcome, messages.Cancelled) for outcome in told)
    return [(outcome.lo, outcome.hi) for outcome in told if isinstance(outcome, messages.Cancelled)]


def waiting(job: Job) -> list[tuple[int, int, int]]:
    return [(part.origin, part.lo, part.hi) for part in job.backlog]


def assert_counts(job: Job) -> None:
    assert job.backlog_tasks == sum(len(part) for part in job.backlog)


def test_submitted_items_are_outstanding_kept_and_waiting() -> None:
    job = job_of(3, 2)
    assert waiting(job) == [(ROOT, 0, 3), (ROOT, 3, 5)]
    assert (job.ledger.outstanding, job.backlog_tasks, job.store.size_bytes) == (5, 5, 8)


def test_a_job_is_complete_when_its_input_is_closed_and_nothing_is_outstanding() -> None:
    job = job_of(2)
    assert not job.complete
    commit(job, 0, 2)
    assert not job.complete
    job.apply(messages.CloseJob(job.id, 2))
    assert job.complete


def test_a_job_of_which_items_are_missing_is_not_complete() -> None:
    job = job_of(2)
    commit(job, 0, 2)
    job.apply(messages.CloseJob(job.id, 3))
    assert not job.complete


def test_a_job_without_items_is_complete_when_its_input_is_closed() -> None:
    job = job_of()
    assert not job.complete
    job.apply(messages.CloseJob(job.id, 0))
    assert job.complete


@settings(derandomize=True, deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6), takes=st.lists(st.integers(1, 12), max_size=12))
def test_work_is_taken_in_order_and_once(sizes: list[int], takes: list[int]) -> None:
    job = job_of(*sizes)
    taken: list[int] = []
    for tasks in takes:
        if job.backlog:
            part = job.take(tasks)
            assert 1 <= len(part) <= tasks
            taken += range(part.lo, part.hi)
        assert_counts(job)
    left = [index for part in job.backlog for index in range(part.lo, part.hi)]
    assert taken + left == list(range(sum(sizes)))


def test_what_was_lost_is_placed_again_before_all_other_work() -> None:
    job = job_of(4, 4)
    job.take(4)
    commit(job, 1, 2)
    assert job.requeue(ROOT, 0, 4, "why") == 3
    assert sorted(waiting(job)[:2]) == [(ROOT, 0, 1), (ROOT, 2, 4)]
    assert waiting(job)[2:] == [(ROOT, 4, 8)]
    assert job.requeued == 3
    assert_counts(job)


def test_what_is_done_is_not_placed_again() -> None:
    job = job_of(2)
    job.take(2)
    commit(job, 0, 2)
    assert job.requeue(ROOT, 0, 2, "why") == 0
    assert job.requeue(RunId(9), 0, 2, "why") == 0
    assert not job.backlog


def test_children_can_be_placed_again_once_their_parent_is_done() -> None:
    job = job_of(1)
    job.take(1)
    child = batch(0, 3, origin=7)
    assert job.requeue(RunId(7), 0, 3, "why") == 0
    commit(job, 0, 1, run=7, children=(child,))
    assert job.requeue(RunId(7), 1, 3, "why") == 2
    assert waiting(job) == [(7, 1, 3)]
    assert_counts(job)


def test_what_could_not_be_delivered_is_placed_next() -> None:
    job = job_of(2, 2)
    first = job.take(2)
    job.give_back(first)
    assert waiting(job) == [(ROOT, 0, 2), (ROOT, 2, 4)]
    assert job.requeued == 0
    assert_counts(job)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    taken=st.integers(0, 30),
    bounds=st.lists(st.integers(0, 45), min_size=2, max_size=2).map(sorted),
)
def test_cancelling_drops_items_wherever_they_are(sizes: list[int], taken: int, bounds: list[int]) -> None:
    job = job_of(*sizes)
    placed: set[int] = set()
    while job.backlog and len(placed) < taken:
        part = job.take(taken - len(placed))
        placed |= set(range(part.lo, part.hi))
    lo, hi = bounds
    dropped = {index for left, right in cancel(job, lo, hi) for index in range(left, right)}
    everything = set(range(sum(sizes)))
    assert dropped == everything & set(range(lo, hi))
    left = [index for part in job.backlog for index in range(part.lo, part.hi)]
    assert left == sorted(everything - placed - dropped)
    assert job.ledger.cancelled == len(dropped)
    assert job.ledger.outstanding == len(everything - dropped)
    assert_counts(job)
    assert [index for part in job.store.find(ROOT, 0, 100) for index in range(part.lo, part.hi)] == [
        index for part in _batches(sizes) if not part <= dropped for index in sorted(part)
    ]


def _batches(sizes: list[int]) -> list[set[int]]:
    return [set(range(sum(sizes[:number]), sum(sizes[: number + 1]))) for number in range(len(sizes))]


def test_cancelling_an_item_that_is_done_drops_what_it_spawned() -> None:
    job = job_of(1)
    job.take(1)
    commit(job, 0, 1, run=7, children=(batch(0, 3, origin=7),))
    job.requeue(RunId(7), 0, 3, "why")
    assert cancel(job, 0, 3) == [(0, 1)]
    assert waiting(job) == []
    assert (job.ledger.cancelled, job.ledger.empty, job.store.size_bytes) == (3, True, 0)
    assert_counts(job)


def test_an_item_that_is_done_is_not_cancelled() -> None:
    job = job_of(2)
    part = job.take(2)
    job.give_back(part)
    commit(job, 0, 1)
    assert cancel(job, 0, 2) == [(1, 2)]
    assert not job.backlog
    assert job.ledger.empty


def test_an_ended_job_keeps_its_books_and_drops_what_is_heavy() -> None:
    job = job_of(3)
    job.functions[b"f"] = b"code"
    job.tallies[PeerId(2)] = Tally(
        "worker", 2, tasks=1, busy_s=3.0, batches_sent=4, batches_received=5, asks=6, refusals=7
    )
    member = Member(ROOT, 0, 1, 0, ROOT, 0, ROOT, ())
    job.apply(records.Results(job.id, PeerId(2), "worker", 2, (Group(VALUES, b"v", (member,), 0.5, None),)))
    job.apply(records.Ended(job.id, "cancelled", "", 14.0))
    assert (job.store.size_bytes, len(job.functions), len(job.backlog), job.backlog_tasks) == (0, 0, 0, 0)
    report = job.report(now=99.0)
    assert (report.state, report.makespan_s, report.busy_s, report.slots) == ("cancelled", 4.0, 3.5, 4)
    assert (report.submitted, report.done, report.cancelled, report.outstanding) == (3, 1, 2, 0)
    assert report.balanced
    assert report.workers == (WorkerReport("worker", 2, 2, 3.5, 4, 5, 6, 7),)
    assert [type(outcome) for outcome in job.outbox.kept()] == [
        messages.Values,
        messages.Cancelled,
        messages.JobDone,
    ]


def test_a_worker_that_has_told_nothing_has_no_share_yet() -> None:
    assert Tally("worker", 2).report() == WorkerReport("worker", 2, 0, 0.0, 0, 0)


def test_a_running_job_is_reported_up_to_now() -> None:
    job = job_of(3)
    commit(job, 0, 1)
    commit(job, 0, 1)
    job.requeue(ROOT, 1, 2, "why")
    report = job.report(now=12.5)
    assert (report.state, report.makespan_s) == ("running", 2.5)
    assert (report.name, report.strategy, report.placement) == ("name", "sb", "spread")
    assert (report.done, report.outstanding, report.duplicates, report.requeued) == (1, 2, 1, 1)
    assert report.balanced


def test_what_is_dropped_as_it_comes_is_known_by_worker() -> None:
    job = job_of(4)

    def send(worker: int, lo: int, hi: int, seconds: float) -> None:
        group = Group(VALUES, b"", (Member(ROOT, lo, hi, lo, ROOT, 0, ROOT, ()),), seconds, None)
        job.apply(records.Results(job.id, PeerId(worker), f"worker-{worker}", 1, (group,)))

    send(3, 0, 2, 1.0)
    send(4, 0, 4, 8.0)
    send(3, 2, 4, 5.0)
    assert [(tally.busy_s, tally.dropped_s) for tally in job.tallies.values()] == [(6.0, 5.0), (8.0, 4.0)]
