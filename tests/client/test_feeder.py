"""Every item leaves once, in order, in good time, and none before the window allows it: whatever the iterable does."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet import limits, pickling
from lbnet.client.feeder import Feeder, fitting
from lbnet.client.window import Window
from lbnet.errors import ConnectionLostError, ItemSerializeError
from lbnet.types import ROOT, Batch
from tests.client.scripted import JOB, PATIENT, until


class Line:
    """The other end: it checks that batches are in order, and keeps them."""

    def __init__(self, items: Iterable[Any], style: int = pickling.ONE, window: Window | None = None) -> None:
        self.window = window or Window()
        if window is None:
            self.window.lift()  # nobody consumes here
        self.batches: list[Batch] = []
        self.total: int | None = None
        self.lost = False
        self.feeder = Feeder(JOB, b"digest", items, style, self.window, self._send, self._close)

    def _send(self, batch: Batch) -> None:
        if self.lost:
            raise ConnectionLostError("gone")
        assert self.total is None
        assert batch.lo == self.count == batch.payload.base
        assert (batch.job, batch.origin, batch.payload.function) == (JOB, ROOT, b"digest")
        assert len(batch) == batch.payload.count == len(pickling.load_items(batch.payload.data))
        self.batches.append(batch)

    def _close(self, total: int) -> None:
        if self.lost:
            raise ConnectionLostError("gone")
        assert self.total is None
        self.total = total

    @property
    def count(self) -> int:
        return sum(map(len, self.batches))

    def items(self) -> list[Any]:
        readers = [pickling.load_items(batch.payload.data) for batch in self.batches]
        return [reader.arguments(at)[0][0] for reader in readers for at in range(len(reader))]

    def run(self) -> list[Any]:
        self.feeder.start()
        until(lambda: self.total is not None, "the input ends")
        assert self.total == self.count
        assert self.feeder.finished
        return self.items()


def threads_of_feeders() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(("lbnet-feed", "lbnet-rescue"))]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    until(lambda: not threads_of_feeders(), "the threads of the feeders end")


class Shouting(list[Any]):
    """A list that gives other items than it holds."""

    def __iter__(self) -> Iterator[Any]:
        return (str(item).upper() for item in list.__iter__(self))


@pytest.mark.parametrize(
    "make",
    [list, tuple, iter, lambda items: (item for item in items), dict.fromkeys, lambda items: map(int, items)],
)
@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 10_000])
def test_all_kinds_of_iterables_arrive_whole(make: Callable[[range], Iterable[int]], count: int) -> None:
    assert Line(make(range(count))).run() == list(range(count))


def test_a_range_arrives_whole_and_small() -> None:
    line = Line(range(5, 50_000, 3))
    assert line.run() == list(range(5, 50_000, 3))
    assert sum(len(batch.payload.data) for batch in line.batches) < 5_000


def test_a_list_that_gives_other_items_than_it_holds_is_iterated_over() -> None:
    assert Line(Shouting("abc")).run() == ["A", "B", "C"]


@settings(PATIENT, max_examples=40)
@given(st.lists(st.one_of(st.integers(), st.text(), st.binary(), st.tuples(st.integers()), st.lists(st.none()))))
def test_what_is_sent_is_what_was_given(items: list[Any]) -> None:
    assert Line(items).run() == items
    assert Line(iter(items)).run() == items


def test_the_first_payload_of_a_list_leaves_before_start_returns() -> None:
    line = Line(list(range(100)))
    line.feeder.start()
    assert line.count >= 16
    until(lambda: line.total == 100, "the rest leaves")


def test_payloads_grow_and_stay_within_their_bounds() -> None:
    line = Line(list(range(100_000)))
    line.run()
    sizes = [len(batch) for batch in line.batches]
    assert sizes[0] == 16
    assert max(sizes) == limits.PAYLOAD_ITEMS  # nobody knows how fast their tasks are
    assert len(sizes) < 40


def test_payloads_of_very_short_tasks_are_larger() -> None:
    line = Line([0] * 400_000)
    line.window.arrived(10**9, 10**9)
    line.window.consumed(10**9, 10**9)
    line.run()
    sizes = [len(batch) for batch in line.batches]
    assert max(sizes) == limits.PAYLOAD_ITEMS_MAX
    assert all(len(batch.payload.data) <= 1.5 * limits.PAYLOAD_BYTES_SOFT for batch in line.batches)


@pytest.mark.parametrize("make", [list, iter])
def test_huge_items_travel_alone(make: Callable[[list[bytes]], Iterable[bytes]]) -> None:
    items = [bytes(300 << 10) for _ in range(20)]
    line = Line(make(items))
    assert line.run() == items
    assert [len(batch) for batch in line.batches] == [1] * 20


def test_items_that_are_large_in_hidden_ways_soon_travel_in_small_payloads() -> None:
    items = [{"hidden": bytes(100 << 10)} for _ in range(64)]
    line = Line(items)
    assert line.run() == items
    assert max(len(batch) for batch in line.batches[1:]) <= 3


def test_a_tuple_of_arguments_is_passed_as_such() -> None:
    line = Line(zip("ab", range(2), strict=True), pickling.STAR)
    line.run()
    reader = pickling.load_items(line.batches[0].payload.data)
    assert reader.arguments(0) == (("a", 0), {})


def test_an_item_that_cannot_be_pickled_is_sent_as_its_error() -> None:
    line = Line([1, threading.Lock(), 3])
    line.feeder.start()
    until(lambda: line.total == 3, "all are sent")
    reader = pickling.load_items(line.batches[0].payload.data)
    assert reader.arguments(2) == ((3,), {})
    with pytest.raises(ItemSerializeError, match="cannot be pickled"):
        reader.arguments(1)


class Hostile:
    """An object whose attributes and pickle are booby-trapped."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")

    def __reduce__(self) -> str:
        raise self.error


@pytest.mark.parametrize("make", [list, iter])
def test_attributes_that_raise_harm_nobody(make: Callable[[list[Any]], Iterable[Any]]) -> None:
    line = Line(make([1, Hostile(ValueError()), (2, Hostile(ValueError())), 4]))
    line.feeder.start()
    until(lambda: line.total == 4, "all are sent")
    assert line.feeder.error is None


def test_an_item_that_interrupts_its_pickling_ends_the_input_with_its_error() -> None:
    before = [list[int]() for _ in range(3)]
    line = Line(itertools.chain(before, [Hostile(KeyboardInterrupt())], before))
    line.feeder.start()
    until(lambda: line.total is not None, "the input ends")
    assert line.total == line.count <= 3
    assert isinstance(line.feeder.error, KeyboardInterrupt)


@pytest.mark.parametrize("error", [ValueError("no more"), SystemExit(3), KeyboardInterrupt()])
@pytest.mark.parametrize("before", [0, 1, 5, 3_000])
def test_a_generator_that_raises_midway_sends_what_it_gave(error: BaseException, before: int) -> None:
    def generator() -> Iterator[int]:
        yield from range(before)
        raise error

    line = Line(generator())
    assert line.run() == list(range(before))
    assert line.feeder.error is error


def test_what_a_blocked_generator_gave_leaves_while_it_blocks() -> None:
    more = queue.SimpleQueue[int | None]()
    line = Line(iter(more.get, None))
    line.feeder.start()
    expected = 0
    for burst in (1, 2, 7, 1, 100, 1):
        for number in range(expected, expected + burst):
            more.put(number)
        expected += burst
        until(lambda expected=expected: line.count == expected, "the burst leaves")
    more.put(None)
    until(lambda: line.total == expected, "the input ends")
    assert line.items() == list(range(expected))


def test_a_generator_that_waits_for_the_result_of_its_own_item_goes_on() -> None:
    results = queue.SimpleQueue[int]()
    line: Line

    def closed_loop() -> Iterator[int]:
        for number in range(60):
            yield number
            assert results.get(timeout=10) == number

    line = Line(closed_loop())
    line.feeder.start()
    for number in range(60):
        until(lambda number=number: line.count > number, f"item {number} leaves")
        results.put(number)
    until(lambda: line.total == 60, "the input ends")
    assert line.feeder.error is None


def test_an_infinite_generator_is_read_as_far_as_the_window_and_no_further() -> None:
    read = itertools.count()
    line = Line(read, window=Window(tasks_max=1_000))
    line.feeder.start()
    until(lambda: line.count >= 1_000 and line.window._changed._waiters, "the window is full")
    ahead = line.count
    assert ahead < 1_000 + limits.PAYLOAD_ITEMS_MAX
    line.window.arrived(ahead, 0)
    line.window.consumed(ahead, 0)
    until(lambda: line.count > ahead, "it goes on")
    line.feeder.stop()


def test_a_list_waits_for_the_window_too() -> None:
    line = Line(list(range(100_000)), window=Window(tasks_max=500))
    line.feeder.start()
    while line.total is None:
        until(lambda: line.window._changed._waiters or line.total is not None, "the feeder waits")
        ahead = line.count - line.window._consumed
        assert ahead < 500 + limits.PAYLOAD_ITEMS_MAX
        line.window.arrived(ahead, 0)
        line.window.consumed(ahead, 0)
    assert line.items() == list(range(100_000))


def test_a_stopped_feeder_closes_its_generator_and_reads_no_further() -> None:
    closed = threading.Event()

    def generator() -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            closed.set()

    line = Line(generator(), window=Window(tasks_max=100))
    line.feeder.start()
    until(lambda: line.count >= 100, "the window is full")
    line.feeder.stop()
    assert closed.wait(10)
    assert not line.feeder.finished
    assert line.total is None


@pytest.mark.parametrize("make", [list, iter])
def test_a_lost_link_ends_the_threads(make: Callable[[range], Iterable[int]]) -> None:
    line = Line(make(range(100_000)), window=Window(tasks_max=100))
    line.feeder.start()
    until(lambda: line.window._changed._waiters, "the window is full")
    line.lost = True
    line.window.lift()
    until(lambda: not threads_of_feeders(), "the threads end")
    assert line.total is None


@settings(PATIENT)
@given(
    st.lists(st.one_of(st.integers(), st.binary(max_size=300), st.tuples(st.text(max_size=300)))), st.integers(1, 600)
)
def test_as_many_items_as_fit_are_packed_together(items: list[Any], bytes_soft: int) -> None:
    def weight(item: Any) -> int:
        return len(item[0]) if isinstance(item, tuple) else len(item) if isinstance(item, bytes) else 0

    count = fitting(items, bytes_soft)
    assert min(1, len(items)) <= count <= len(items)
    if count > 1:
        assert sum(map(weight, items[:count])) <= bytes_soft
    if count < len(items):
        assert sum(map(weight, items[: count + 1])) > bytes_soft
