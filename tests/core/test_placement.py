"""Which part of the backlog goes to a worker that wants work."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet import limits
from lbnet.core import placement
from lbnet.core.durations import Durations
from lbnet.core.job import Job
from lbnet.core.placement import everything
from lbnet.protocol import messages
from lbnet.protocol.records import Opened
from lbnet.types import ROOT, Batch, JobId, JobOptions, Payload, PeerId

SLOTS = 4


def grant(jobs: list[Job], durations: Durations, slots: int, slots_all: int) -> list[Batch]:
    """Under a strategy that sets no limit of its own."""
    return placement.grant(jobs, durations, slots, slots_all, lambda tasks: tasks)


def job_of(
    *sizes: int, number: int = 1, placement: str = "spread", function: bytes = b"f", data: bytes = b"data"
) -> Job:
    job = Job(Opened(JobId(number), PeerId(1), number, JobOptions(placement=placement), 0.0, SLOTS))
    at = 0
    for size in sizes:
        job.apply(
            messages.Submit(Batch(JobId(number), ROOT, at, at + size, 0, ROOT, 0, Payload(at, size, function, data)))
        )
        at += size
    return job


def known(mean_s: float, function: bytes = b"f", finished: int = 1_000_000) -> Durations:
    durations = Durations()
    durations.observe(function, finished, finished * mean_s)
    return durations


def tasks_of(batches: list[Batch]) -> int:
    return sum(len(batch) for batch in batches)


def test_nothing_is_granted_of_nothing() -> None:
    assert grant([], Durations(), SLOTS, SLOTS) == []
    assert grant([job_of()], Durations(), SLOTS, SLOTS) == []


def test_the_first_grant_of_an_unknown_function_is_a_task_for_each_slot() -> None:
    job = job_of(1_000)
    assert tasks_of(grant([job], Durations(), SLOTS, SLOTS)) == SLOTS * limits.GRANT_FIRST_TASKS
    assert job.backlog_tasks == 1_000 - SLOTS * limits.GRANT_FIRST_TASKS


@settings(derandomize=True, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 5_000), min_size=1, max_size=6),
    mean_s=st.floats(1e-7, 10.0),
    slots=st.integers(1, 64),
    others=st.integers(0, 512),
)
def test_a_grant_is_the_front_of_the_backlog_and_within_its_time(
    sizes: list[int], mean_s: float, slots: int, others: int
) -> None:
    job = job_of(*sizes)
    batches = grant([job], known(mean_s), slots, slots + others)
    taken = [index for batch in batches for index in range(batch.lo, batch.hi)]
    left = [index for batch in job.backlog for index in range(batch.lo, batch.hi)]
    assert taken
    assert taken + left == list(range(sum(sizes)))
    assert job.backlog_tasks == len(left)
    assert len(taken) == 1 or len(taken) * mean_s <= limits.GRANT_S * slots * (1 + 1e-6)
    fair = sum(sizes) * slots / (slots + others)
    short = len(taken) * mean_s <= limits.GRANT_LEAST_S * slots * (1 + 1e-6)
    assert len(taken) <= fair / 2 + 1 or (short and len(taken) <= fair + 1)


def test_jobs_are_served_in_the_order_in_which_they_are_given() -> None:
    jobs = [job_of(number=1), job_of(100, number=2), job_of(100, number=3)]
    batches = grant(jobs, known(0.001), SLOTS, SLOTS)
    assert {batch.job for batch in batches} == {2}
    assert jobs[2].backlog_tasks == 100


def test_each_function_is_granted_by_its_own_durations() -> None:
    job = job_of(1_000, function=b"slow")
    job.apply(messages.Submit(Batch(JobId(1), ROOT, 1_000, 2_000, 0, ROOT, 0, Payload(1_000, 1_000, b"fast", b""))))
    durations = known(0.1, b"slow")
    durations.observe(b"fast", 1_000_000, 1.0)
    batches = grant([job], durations, SLOTS, SLOTS)
    assert {batch.payload.function for batch in batches} == {b"slow"}
    assert tasks_of(batches) == int(limits.GRANT_S * SLOTS / 0.1)


def test_a_grant_goes_on_with_the_next_function_while_there_is_time() -> None:
    job = job_of(2, function=b"slow")
    job.apply(messages.Submit(Batch(JobId(1), ROOT, 2, 2_002, 0, ROOT, 0, Payload(2, 2_000, b"fast", b""))))
    durations = known(0.01, b"slow")
    durations.observe(b"fast", 1_000_000, 1.0)
    assert {batch.payload.function for batch in grant([job], durations, SLOTS, SLOTS)} == {b"slow", b"fast"}


def test_a_grant_fits_a_message() -> None:
    part_bytes = limits.GRANT_BYTES_SOFT * 2 // 5
    job = job_of(*[1] * 100, data=bytes(part_bytes))
    assert tasks_of(grant([job], known(1e-6), SLOTS, SLOTS)) == 2


def test_one_batch_goes_however_big_it_is() -> None:
    job = job_of(*[1] * 10, data=bytes(limits.GRANT_BYTES_SOFT + 1))
    assert tasks_of(grant([job], known(1e-6), SLOTS, SLOTS)) == 1


@settings(derandomize=True, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 500), min_size=1, max_size=6),
    mean_s=st.floats(1e-6, 0.1),
    wanted=st.integers(1, 200),
)
def test_a_strategy_may_want_less_and_never_gets_more(sizes: list[int], mean_s: float, wanted: int) -> None:
    asked: list[int] = []

    def limit(tasks: int) -> int:
        asked.append(tasks)
        return min(wanted, tasks)

    free = tasks_of(grant([job_of(*sizes)], known(mean_s), SLOTS, SLOTS))
    job = job_of(*sizes)
    batches = placement.grant([job], known(mean_s), SLOTS, SLOTS, limit)
    assert 1 <= tasks_of(batches) <= min(wanted, free)
    assert len(asked) == 1
    assert asked[0] >= free
    if wanted >= asked[0]:
        assert tasks_of(batches) == free
    assert job.backlog_tasks == sum(sizes) - tasks_of(batches)


def test_a_strategy_that_wants_one_task_gets_one_whatever_functions_wait() -> None:
    job = job_of(3, function=b"one")
    job.apply(messages.Submit(Batch(JobId(1), ROOT, 3, 6, 0, ROOT, 0, Payload(3, 3, b"other", b""))))
    durations = known(1e-6, b"one")
    durations.observe(b"other", 1_000_000, 1.0)
    for left in (5, 4, 3, 2):
        assert tasks_of(placement.grant([job], durations, SLOTS, SLOTS, lambda tasks: 1)) == 1  # noqa: ARG005
        assert job.backlog_tasks == left


def test_everything_goes_at_once_under_the_classical_placement() -> None:
    job = job_of(10, 20, placement="first")
    assert grant([job], known(0.001), SLOTS, SLOTS) == []
    (batches,) = everything(job)
    assert tasks_of(batches) == 30
    assert (len(job.backlog), job.backlog_tasks) == (0, 0)
    assert list(everything(job)) == []


def test_everything_goes_in_messages_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of(*[1] * 10, placement="first", data=bytes(limits.GRANT_BYTES_SOFT // 3))
    assert [tasks_of(batches) for batches in everything(job)] == [3, 3, 3, 1]
    job = job_of(1, 1, placement="first", data=bytes(limits.GRANT_BYTES_SOFT + 1))
    assert [tasks_of(batches) for batches in everything(job)] == [1, 1]
    monkeypatch.setattr(limits, "GRANT_BATCHES_MAX", 4)
    assert [tasks_of(batches) for batches in everything(job_of(*[1] * 10, placement="first"))] == [4, 4, 2]


@pytest.mark.parametrize("mean_s", [1e-6, 0.001, 0.05])
def test_repeated_grants_shrink_as_the_end_nears_and_take_all(mean_s: float) -> None:
    job = job_of(*[500] * 8)
    durations = known(mean_s)
    sizes = []
    while job.backlog:
        sizes.append(tasks_of(grant([job], durations, SLOTS, 2 * SLOTS)))
    assert sum(sizes) == 4_000
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 1


def test_large_results_are_granted_few_at_once_and_none_past_what_the_client_may_leave() -> None:
    job = job_of(1_000_000)
    durations = known(1e-6)
    durations.observe_size(b"f", 1, limits.GRANT_BYTES_SOFT // 8)
    granted = []
    while batches := grant([job], durations, SLOTS, SLOTS):
        granted.append(tasks_of(batches))
    assert set(granted) == {8}
    assert sum(granted) * limits.GRANT_BYTES_SOFT // 8 <= limits.UNTAKEN_BYTES_MAX + limits.GRANT_BYTES_SOFT


def test_what_waits_for_its_client_does_not_keep_the_rest_from_being_begun_for_ever() -> None:
    job = job_of(100)
    durations = known(1e-6)
    durations.observe_size(b"f", 1, 10 * limits.UNTAKEN_BYTES_MAX)
    assert tasks_of(grant([job], durations, SLOTS, SLOTS)) == 1, "nothing was under way"
    assert grant([job], durations, SLOTS, SLOTS) == []
