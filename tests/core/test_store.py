"""Payloads are kept exactly as long as a task of them is outstanding."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet.core.store import PayloadStore
from lbnet.types import ROOT, Batch, JobId, Payload, RunId


def batch(lo: int, hi: int, *, origin: int = ROOT, function: bytes = b"f", data: bytes = b"data") -> Batch:
    return Batch(JobId(1), RunId(origin), lo, hi, 0, ROOT, 0, Payload(lo, hi - lo, function, data))


def spans(batches: list[Batch]) -> list[tuple[int, int]]:
    return [(kept.lo, kept.hi) for kept in batches]


def same_again(store: PayloadStore) -> PayloadStore:
    """Another one, from what this one writes down."""
    again = PayloadStore()
    for kept, remaining in store.items():
        again.add(kept, remaining)
    assert list(again.items()) == list(store.items())
    assert again.size_bytes == store.size_bytes
    return again


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    sizes=st.lists(st.integers(1, 8), min_size=1, max_size=8),
    gaps=st.lists(st.integers(0, 2), min_size=8, max_size=8),
    cuts=st.lists(st.integers(0, 80), max_size=10),
    order=st.randoms(use_true_random=False),
)
def test_a_payload_goes_with_the_last_of_its_tasks(
    sizes: list[int], gaps: list[int], cuts: list[int], order: random.Random
) -> None:
    store, batches, at = PayloadStore(), [], 0
    for size, gap in zip(sizes, gaps, strict=False):
        batches.append(batch(at + gap, at + gap + size, data=bytes(size)))
        at += gap + size
        store.add(batches[-1])
    live = {index for kept in batches for index in range(kept.lo, kept.hi)}
    edges = sorted({0, at, *(cut for cut in cuts if cut < at)})
    pieces = list(zip(edges, edges[1:], strict=False))
    order.shuffle(pieces)
    for lo, hi in pieces:
        store.settle(ROOT, lo, hi)
        live -= set(range(lo, hi))
        left = [kept for kept in batches if live & set(range(kept.lo, kept.hi))]
        assert store.find(ROOT, 0, at) == left
        assert store.size_bytes == sum(len(kept.payload.data) for kept in left)
        for index in live:
            assert store.function_of(ROOT, index) == b"f"
        store = same_again(store)  # it goes on from what is written down
    assert store.size_bytes == 0
    assert store.find(ROOT, 0, at) == []


@settings(derandomize=True, deadline=None, max_examples=200)
@given(sizes=st.lists(st.integers(1, 8), min_size=1, max_size=8), lo=st.integers(0, 60), size=st.integers(1, 30))
def test_what_is_found_covers_what_was_asked_for_once(sizes: list[int], lo: int, size: int) -> None:
    store, at = PayloadStore(), 0
    for number, tasks in enumerate(sizes):
        store.add(batch(at, at + tasks, data=bytes([number])))
        at += tasks
    found = store.find(ROOT, lo, lo + size)
    indices = [index for part in found for index in range(part.lo, part.hi)]
    assert indices == [index for index in range(lo, lo + size) if index < at]
    assert all(part.payload.base <= part.lo < part.hi <= part.payload.base + part.payload.count for part in found)


def test_origins_are_kept_apart() -> None:
    store = PayloadStore()
    store.add(batch(0, 4))
    store.add(batch(0, 4, origin=9, data=b"child"))
    store.settle(ROOT, 0, 4)
    assert store.find(ROOT, 0, 4) == []
    assert spans(store.find(RunId(9), 1, 3)) == [(1, 3)]
    assert store.size_bytes == len(b"child")


def test_what_was_never_kept_is_not_found_and_may_be_settled() -> None:
    store = PayloadStore()
    store.settle(RunId(3), 0, 10)
    assert store.find(RunId(3), 0, 10) == []
    assert store.function_of(RunId(3), 0) is None


def test_the_function_of_a_task_whose_batch_is_gone_is_not_its_neighbours() -> None:
    store = PayloadStore()
    store.add(batch(0, 4, function=b"f"))
    store.add(batch(4, 8, function=b"g"))
    assert (store.function_of(ROOT, 3), store.function_of(ROOT, 4)) == (b"f", b"g")
    store.settle(ROOT, 4, 8)
    assert (store.function_of(ROOT, 3), store.function_of(ROOT, 4)) == (b"f", None)
    assert store.function_of(ROOT, 8) is None


def test_what_is_written_down_comes_in_its_order_with_what_is_left_of_it() -> None:
    store = PayloadStore()
    batches = [batch(0, 4), batch(0, 2, origin=9), batch(4, 8)]
    for kept in batches:
        store.add(kept)
    store.settle(ROOT, 1, 5)
    assert list(store.items()) == [(batches[0], 1), (batches[1], 2), (batches[2], 3)]
    store.settle(ROOT, 0, 1)
    assert list(store.items()) == [(batches[1], 2), (batches[2], 3)]


def test_a_batch_of_which_part_was_settled_before_goes_with_the_rest_of_it() -> None:
    store = PayloadStore()
    store.add(batch(0, 4), remaining=2)
    store.settle(ROOT, 2, 3)
    assert spans(store.find(ROOT, 0, 4)) == [(0, 4)]
    store.settle(ROOT, 3, 4)
    assert list(store.items()) == []
    assert store.size_bytes == 0


def test_clearing_drops_everything() -> None:
    store = PayloadStore()
    store.add(batch(0, 4))
    store.add(batch(0, 4, origin=9))
    store.clear()
    assert store.size_bytes == 0
    assert store.find(ROOT, 0, 4) == store.find(RunId(9), 0, 4) == []
