"""The tasks that wait at one worker: none is lost, none is doubled, and donations come from the back."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet import limits
from lbnet.core.durations import Durations
from lbnet.core.queue import WorkQueue
from lbnet.types import ROOT, Batch, JobId, Payload, RunId, Span

MEANS = {b"tiny": 1e-6, b"short": 0.01, b"long": 10.0}


def durations() -> Durations:
    known = Durations()
    for function, mean_s in MEANS.items():
        known.observe(function, 1_000, 1_000 * mean_s)
    return known


def batch(
    lo: int, hi: int, *, job: int = 1, origin: int = ROOT, function: bytes = b"short", data: bytes = b""
) -> Batch:
    return Batch(JobId(job), RunId(origin), lo, hi, 0, ROOT, 0, Payload(lo, hi - lo, function, data))


def queue_of(*batches: Batch) -> WorkQueue:
    queue = WorkQueue(durations())
    for waiting in batches:
        queue.append(waiting)
    return queue


def ids(batches: list[Batch]) -> list[tuple[int, int, int]]:
    return [(part.job, part.origin, index) for part in batches for index in range(part.lo, part.hi)]


def waiting_ids(queue: WorkQueue) -> list[tuple[int, int, int]]:
    return [(span.job, span.origin, index) for span in queue.spans() for index in range(span.lo, span.hi)]


def seconds_of(batches: list[Batch]) -> float:
    return sum(len(part) * MEANS[part.payload.function] for part in batches)


operations = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 50), st.sampled_from(sorted(MEANS)), st.integers(1, 3)),
        st.tuples(st.just("push"), st.integers(1, 50), st.sampled_from(sorted(MEANS)), st.integers(1, 3)),
        st.tuples(st.just("take"), st.integers(1, 60)),
        st.tuples(st.just("donate"), st.floats(0, 100)),
        st.tuples(st.just("drop_job"), st.integers(1, 3)),
        st.tuples(st.just("drop_run"), st.integers(0, 3)),
    ),
    max_size=40,
)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(operations=operations)
def test_what_went_in_is_waiting_or_went_out_once(operations: list[tuple[Any, ...]]) -> None:
    queue, came, went, size = WorkQueue(durations()), list[tuple[int, int, int]](), list[tuple[int, int, int]](), 0
    for number, (name, *arguments) in enumerate(operations):
        if name in {"append", "push"}:
            tasks, function, job = arguments
            new = batch(number * 100, number * 100 + tasks, job=job, origin=job % 3, function=function)
            getattr(queue, name)(new)
            came += ids([new])
        elif name == "take" and queue.tasks:
            front = queue.front()
            taken = queue.take(*arguments)
            assert front is not None
            assert (taken.origin, taken.lo, taken.payload) == (front.origin, front.lo, front.payload)
            assert 1 <= len(taken) <= arguments[0]
            went += ids([taken])
        elif name == "donate":
            went += ids(queue.donate(*arguments))
        elif name.startswith("drop"):
            before, dropped = waiting_ids(queue), getattr(queue, name)(*arguments)
            place = 0 if name == "drop_job" else 1
            gone = [task for task in before if task[place] == arguments[0] and (place == 0 or task[1] != ROOT)]
            assert dropped == len(gone)
            went += gone
        waiting = waiting_ids(queue)
        size = len(waiting)
        assert Counter(waiting) + Counter(went) == Counter(came)
        assert queue.tasks == size
        assert bool(size) == (queue.front() is not None)
    seconds = queue.seconds()
    assert seconds == pytest.approx(sum(MEANS[queue.take(1).payload.function] for _ in range(size)), abs=1e-9)
    assert (queue.tasks, queue.seconds()) == (0, 0)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    parts=st.lists(st.tuples(st.integers(1, 200), st.sampled_from(sorted(MEANS))), min_size=1, max_size=8),
    seconds=st.floats(0, 500),
)
def test_a_donation_is_about_what_was_asked_for_from_the_back(parts: list[tuple[int, bytes]], seconds: float) -> None:
    batches, at = [], 0
    for tasks, function in parts:
        batches.append(batch(at, at + tasks, function=function))
        at += tasks
    queue = queue_of(*batches)
    all_s = queue.seconds()
    assert all_s == pytest.approx(seconds_of(batches))
    given_away = queue.donate(seconds)
    assert waiting_ids(queue) + ids(given_away) == ids(batches)
    given_s = seconds_of(given_away)
    assert queue.seconds() == pytest.approx(all_s - given_s, abs=1e-9)
    # Never more than half a task too much, except that one always goes; never more than half a task too little.
    first_taken_s = MEANS[given_away[0].payload.function]
    assert len(ids(given_away)) == 1 or given_s <= seconds + first_taken_s / 2 + 1e-9
    if queue.tasks:
        last_left_s = MEANS[queue._lanes[0][-1].payload.function]
        assert given_s >= seconds - max(first_taken_s, last_left_s) / 2 - 1e-9


def test_its_size_is_the_share_of_each_payload_that_waits() -> None:
    queue = queue_of(batch(0, 4, data=bytes(400)), batch(10, 11, data=bytes(7)))
    assert (queue.size_bytes, queue.batches) == (407, 2)
    queue.take(1)
    assert (queue.size_bytes, queue.batches) == (307, 2)
    queue.donate(0.0)
    assert (queue.size_bytes, queue.batches) == (300, 1)
    queue.push(batch(20, 23, data=bytes(1)))
    queue.drop_job(1)
    assert (queue.size_bytes, queue.batches) == (0, 0)


def test_items_run_in_the_order_in_which_they_came() -> None:
    queue = queue_of(batch(0, 5), batch(5, 10))
    assert [ids([queue.take(3)])[0][2] for _ in range(4)] == [0, 3, 5, 8]
    assert queue.front() is None


def test_what_was_spawned_here_runs_first_and_newest_first() -> None:
    queue = queue_of(batch(0, 5))
    queue.push(batch(0, 1, origin=8))
    queue.push(batch(0, 1, origin=9))
    assert [queue.take(1).origin for _ in range(3)] == [9, 8, ROOT]


def test_taking_never_mixes_batches() -> None:
    queue = queue_of(batch(0, 2), batch(2, 9))
    assert ids([queue.take(5)]) == [(1, 0, 0), (1, 0, 1)]
    assert len(queue.take(5)) == 5


def test_at_least_one_task_is_given_however_long_it_is() -> None:
    queue = queue_of(batch(0, 3, function=b"long"))
    assert ids(queue.donate(0.0)) == [(1, 0, 2)]
    assert ids(queue.donate(1e-9)) == [(1, 0, 1)]
    assert queue.tasks == 1


def test_an_empty_queue_gives_nothing() -> None:
    assert queue_of().donate(100.0) == []
    assert queue_of().spans() == []


@pytest.mark.parametrize("tasks", [1, 2, 50])
def test_a_long_task_is_not_given_for_a_short_rest(tasks: int) -> None:
    queue = queue_of(batch(0, tasks, function=b"long"), batch(100, 110, function=b"short"))
    assert ids(queue.donate(0.11)) == [(1, 0, index) for index in range(100, 110)]
    assert queue.tasks == tasks


def test_a_donation_fits_a_message() -> None:
    big = bytes(limits.GRANT_BYTES_SOFT * 2 // 5)
    queue = queue_of(*(batch(index, index + 1, data=big) for index in range(5)))
    assert [part.lo for part in queue.donate(1e9)] == [3, 4]
    assert queue.tasks == 3


def test_one_batch_goes_however_big_its_payload_is() -> None:
    huge = bytes(limits.GRANT_BYTES_SOFT + 1)
    queue = queue_of(batch(0, 1, data=huge), batch(1, 2, data=huge))
    assert [part.lo for part in queue.donate(1e9)] == [1]


def test_spans_say_what_an_inventory_needs() -> None:
    queue = queue_of(batch(0, 5), batch(2, 4, origin=7, job=2))
    queue.take(2)
    assert queue.spans() == [Span(JobId(1), ROOT, 2, 5), Span(JobId(2), RunId(7), 2, 4)]


def test_items_are_not_children_of_a_lost_run() -> None:
    queue = queue_of(batch(0, 5))
    assert queue.drop_run(ROOT) == 0
    assert queue.tasks == 5


@settings(derandomize=True, deadline=None, max_examples=100)
@given(parts=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 4), st.booleans()), min_size=1, max_size=12))
def test_the_highest_priority_runs_first_and_each_one_keeps_its_order(parts: list[tuple[int, int, bool]]) -> None:
    alone = {job: WorkQueue(durations()) for job in range(1, 5)}
    queue, at = WorkQueue(durations(), int), 0
    for tasks, job, spawned in parts:
        part = batch(at, at + tasks, job=job)
        at += tasks
        for each in (queue, alone[job]):
            (each.push if spawned else each.append)(part)
    ran = [queue.take(1) for _ in range(queue.tasks)]
    assert [(part.job, part.lo) for part in ran] == [
        (job, alone[job].take(1).lo) for job in (4, 3, 2, 1) for _ in range(alone[job].tasks)
    ]


def test_what_is_given_away_is_of_the_highest_priority_and_from_its_back() -> None:
    queue = WorkQueue(durations(), int)
    for part in (batch(0, 4, job=1), batch(4, 8, job=2), batch(8, 9, job=3)):
        queue.append(part)
    queue.take(1)
    assert ids(queue.donate(0.02)) == [(2, ROOT, 6), (2, ROOT, 7)]
    queue.append(batch(9, 10, job=3))
    assert queue.front() == batch(9, 10, job=3)
    queue.drop_job(JobId(2))
    assert waiting_ids(queue) == [(3, ROOT, 9), *((1, ROOT, index) for index in range(4))]


@settings(derandomize=True)
@given(st.lists(st.integers(1, 39), max_size=12, unique=True), st.randoms(use_true_random=False))
def test_what_was_cut_apart_is_put_together_again(cuts: list[int], random: Random) -> None:
    whole = batch(0, 40, data=b"items")
    edges = [0, *sorted(cuts), 40]
    parts = [whole.part(lo, hi) for lo, hi in pairwise(edges)]
    random.shuffle(parts)
    queue = WorkQueue(durations())
    for part in parts:
        # Each by its own way: some come from a slot, some from a donor, whose message had a copy of the payload.
        copy = replace(part, payload=replace(part.payload, data=bytes(part.payload.data)))
        (queue.push if random.random() < 0.5 else queue.append)(copy)
    assert sorted(waiting_ids(queue)) == ids([whole])
    assert queue.tasks == 40
    spans = queue.spans()
    assert all(before.hi != after.lo for before, after in pairwise(spans))


def test_what_is_of_different_payloads_or_was_tried_stays_apart() -> None:
    whole = batch(0, 10, data=b"items")
    for other in (
        batch(5, 10, data=b"items"),
        replace(whole.part(5, 10), origin=RunId(3)),
        replace(whole.part(5, 10), job=JobId(2)),
        whole.part(5, 6).again(5, failures=1),
        whole.part(5, 6).again(5, crashes=1),
        whole.part(6, 10),
    ):
        assert whole.part(0, 5).joined(other) is None
        assert queue_of(whole.part(0, 5), other).batches == 2
    assert whole.part(5, 10).joined(whole.part(0, 5)) == whole
