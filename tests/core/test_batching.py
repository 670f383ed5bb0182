"""How many tasks go where at once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet import limits
from lbnet.core.batching import grant_tasks, payload_tasks, slot_batches, slot_tasks

means = st.floats(1e-9, 1e4)
counts = st.integers(1, 10_000_000)
slots = st.integers(1, 512)


@settings(derandomize=True, deadline=None)
@given(mean_s=st.none() | means, queued=counts, slots=slots)
def test_a_slot_gets_at_least_one_task_and_no_more_than_its_time_or_share(
    mean_s: float | None, queued: int, slots: int
) -> None:
    tasks = slot_tasks(mean_s, queued, slots)
    assert tasks >= 1
    if mean_s is None:
        assert tasks == 1
    elif tasks > 1:
        assert tasks * mean_s <= limits.SLOT_BATCH_S * (1 + 1e-9)
        assert tasks < queued / slots + 1
        assert tasks <= queued


@settings(derandomize=True, deadline=None)
@given(mean_s=means, queued=counts, slots=slots)
def test_batches_shrink_as_the_queue_does(mean_s: float, queued: int, slots: int) -> None:
    assert slot_tasks(mean_s, max(queued // 2, 1), slots) <= slot_tasks(mean_s, queued, slots)


def test_tiny_tasks_fill_the_time_of_a_slot_and_long_ones_go_one_by_one() -> None:
    assert slot_tasks(1e-6, 10_000_000, 2) == int(limits.SLOT_BATCH_S / 1e-6)
    assert slot_tasks(1.0, 10_000_000, 2) == 1
    assert slot_tasks(1e-6, 100, 2) == 50
    assert [slot_tasks(1e-6, queued, 2) for queued in (5, 4, 3, 2, 1)] == [3, 2, 2, 1, 1]


def test_only_short_tasks_are_handed_out_ahead_of_time() -> None:
    assert slot_batches(None) == 1
    assert slot_batches(limits.PREFETCH_BELOW_S) == 1
    assert slot_batches(limits.PREFETCH_BELOW_S / 2) == limits.SLOT_BATCHES_AHEAD
    assert slot_batches(10.0) == 1


@settings(derandomize=True, deadline=None)
@given(
    mean_s=st.none() | means, finished=st.integers(0, 10**7), backlog=counts, slots=slots, others=st.integers(0, 512)
)
def test_a_grant_is_within_time_share_and_what_was_proven(
    mean_s: float | None, finished: int, backlog: int, slots: int, others: int
) -> None:
    slots_all = slots + others
    tasks = grant_tasks(mean_s, finished, backlog, slots, slots_all)
    assert tasks >= 1
    if mean_s is None:
        assert tasks == slots * limits.GRANT_FIRST_TASKS
    elif tasks > 1:
        assert tasks * mean_s <= limits.GRANT_S * slots * (1 + 1e-9)
        fair = -(-backlog * slots // slots_all)
        assert tasks <= fair
        assert tasks <= fair / 2 + 1 or tasks * mean_s <= limits.GRANT_LEAST_S * slots * (1 + 1e-9)
        assert tasks <= max(slots, limits.GRANT_GROWTH * finished)


@settings(derandomize=True, deadline=None)
@given(mean_s=means, backlog=counts, workers=st.lists(slots, min_size=1, max_size=20))
def test_all_workers_together_get_about_half_of_the_backlog_at_most(
    mean_s: float, backlog: int, workers: list[int]
) -> None:
    granted = sum(grant_tasks(mean_s, 10**9, backlog, slots, sum(workers)) for slots in workers)
    short = granted * mean_s <= limits.GRANT_LEAST_S * sum(workers) * (1 + 1e-9)
    assert granted <= backlog / 2 + len(workers) or (short and granted <= backlog + len(workers))


@pytest.mark.parametrize(
    ("arrived", "seconds", "most"),
    [
        (0, 0.0, limits.PAYLOAD_ITEMS),
        (0, 9.0, limits.PAYLOAD_ITEMS),
        (1_000, 1.0, limits.PAYLOAD_ITEMS),
        (2_000_000, 2.0, int(1_000_000 * limits.PAYLOAD_S)),
        (10**9, 1.0, limits.PAYLOAD_ITEMS_MAX),
    ],
)
def test_payloads_grow_with_the_pace_of_the_cluster(arrived: int, seconds: float, most: int) -> None:
    assert payload_tasks(arrived, seconds) == most


def test_slots_that_are_not_counted_yet_do_not_enlarge_a_share() -> None:
    assert grant_tasks(1e-6, 10**9, 100, slots=4, slots_all=0) == grant_tasks(1e-6, 10**9, 100, slots=4, slots_all=4)


@pytest.mark.parametrize(("finished", "most"), [(0, 4), (1, 8), (10, 80), (10_000, 80_000), (100_000, 100_000)])
def test_grants_grow_with_what_has_been_measured(finished: int, most: int) -> None:
    assert grant_tasks(1e-9, finished, 100_000, slots=4, slots_all=4) == most
