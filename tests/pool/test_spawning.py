"""Spawned tasks on their way out of a slot: together while that costs nobody anything, at once when somebody waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbnet import limits, pickling
from lbnet.errors import FunctionSerializeError, ItemSerializeError, SpawnLimitError, UsageError
from lbnet.pool import spawning, wire
from lbnet.pool.outbox import Outbox
from lbnet.pool.spawning import Spawner
from lbnet.protocol.framing import FrameReader
from lbnet.types import ROOT, Batch, JobId, Payload, RunId

JOB = JobId(3)
LO, FIRST_RUN = 10, 500


def leaf(*args: Any) -> None:
    """What is spawned."""


def other(*args: Any) -> None:
    """Something else that is spawned."""


class Slot:
    """A spawner in a slot where a task runs, with a clock and a flag that the test moves."""

    def __init__(self, *, origin: RunId = ROOT, begin: bool = True) -> None:
        self.now = 100.0
        self.flag = memoryview(bytearray(8)).cast("q")
        self.current = memoryview(bytearray(8)).cast("q")
        self.wakes: list[float] = []
        self._writes: list[bytes] = []
        self.outbox = Outbox(self._writes.append, lambda: self.now, "here")
        self.spawner = Spawner(self.outbox, self.flag, lambda: self.now, self.wakes.append)
        batch = Batch(JOB, origin, LO, LO + 9, 4, ROOT, 0, Payload(LO, 9, b"f", b""))
        self.run = wire.Run(1, 0, batch, RunId(FIRST_RUN), b"", False)
        if begin:
            self.begin(LO)

    def begin(self, index: int) -> None:
        self.current[0] = index
        self.spawner.begin(self.run, self.current)

    def spawn(self, fn: Callable[..., Any], *args: Any) -> None:
        self.spawner.spawn(fn, args)

    def close_task(self, *, keep: bool = True) -> RunId:
        with self.outbox.lock:
            return self.spawner.close_task(keep=keep)

    def flush(self) -> None:
        with self.outbox.lock:
            self.outbox.send()

    def messages(self) -> list[Any]:
        """What has left since the last look."""
        frames = FrameReader()
        frames.feed(b"".join(self._writes))
        self._writes.clear()
        found = []
        while (body := frames.next()) is not None:
            found.append(wire.CODEC.decode(body))
        return found

    def batches(self) -> list[Batch]:
        return [message.batch for message in self.messages() if isinstance(message, wire.Spawned)]


def arguments(batch: Batch) -> list[tuple[Any, ...]]:
    reader = pickling.load_items(batch.payload.data)
    assert len(reader) == len(batch) == batch.payload.count
    return [reader.arguments(position)[0] for position in range(len(reader))]


@pytest.fixture
def slot() -> Slot:
    return Slot()


def test_calls_of_one_function_travel_together_after_the_function(slot: Slot) -> None:
    for number in range(3):
        slot.spawn(leaf, number, "x")
    assert slot.messages() == []
    assert slot.close_task() == FIRST_RUN
    slot.flush()
    taught, spawned = slot.messages()
    digest, data = pickling.dump_function(leaf)
    assert taught == wire.Teach(JOB, digest, data)
    assert spawned.ticket == 1
    batch = spawned.batch
    assert (batch.job, batch.origin, batch.lo, batch.hi) == (JOB, FIRST_RUN, 0, 3)
    assert (batch.payload.function, batch.payload.base) == (digest, 0)
    assert arguments(batch) == [(0, "x"), (1, "x"), (2, "x")]


def test_a_child_of_an_item_descends_from_it(slot: Slot) -> None:
    slot.current[0] = LO + 2
    slot.spawn(leaf)
    assert slot.close_task() == FIRST_RUN + 2
    slot.flush()
    (batch,) = slot.batches()
    assert (batch.root, batch.parent_origin, batch.parent_index) == (LO + 2, ROOT, LO + 2)


def test_a_grandchild_descends_from_the_same_item() -> None:
    slot = Slot(origin=RunId(88))
    slot.spawn(leaf)
    slot.close_task()
    slot.flush()
    (batch,) = slot.batches()
    assert (batch.root, batch.parent_origin, batch.parent_index) == (4, 88, LO)


def test_a_function_is_taught_once_for_each_job(slot: Slot) -> None:
    digest, data = pickling.dump_function(leaf)

    def taught() -> list[Any]:
        slot.spawn(leaf)
        slot.close_task()
        slot.flush()
        return [message for message in slot.messages() if isinstance(message, wire.Teach)]

    assert taught() == [wire.Teach(JOB, digest, data)]
    assert taught() == []
    slot.spawner.forget(JOB)
    assert len(taught()) == 1


def test_a_function_that_the_worker_taught_is_not_taught_back(slot: Slot) -> None:
    digest, data = pickling.dump_function(leaf)
    slot.spawner.learn(JOB, digest)
    slot.spawner.recognise(leaf, digest, data)
    slot.spawn(leaf)
    slot.close_task()
    slot.flush()
    (message,) = slot.messages()
    assert isinstance(message, wire.Spawned)
    assert message.batch.payload.function == digest


@given(
    calls=st.lists(st.tuples(st.sampled_from([leaf, other]), st.integers() | st.lists(st.integers(), max_size=2))),
    hungry=st.sets(st.integers(0, 30)),
)
def test_every_call_arrives_once_in_its_order(calls: list[tuple[Callable[..., Any], Any]], hungry: set[int]) -> None:
    slot = Slot()
    for number, (fn, argument) in enumerate(calls):
        slot.flag[0] = number in hungry
        slot.spawn(fn, argument)
    assert slot.close_task() == (FIRST_RUN if calls else ROOT)
    slot.flush()
    batches = slot.batches()
    names = {pickling.dump_function(fn)[0]: fn for fn in (leaf, other)}
    arrived = [(names[batch.payload.function], one) for batch in batches for (one,) in arguments(batch)]
    assert arrived == calls
    assert [index for batch in batches for index in range(batch.lo, batch.hi)] == list(range(len(calls)))
    assert all(batch.lo == batch.payload.base for batch in batches)


def test_when_somebody_is_hungry_a_task_leaves_at_once(slot: Slot) -> None:
    slot.spawn(leaf, 1)
    slot.flag[0] = 1
    slot.spawn(leaf, 2)
    (batch,) = slot.batches()
    assert arguments(batch) == [(1,), (2,)]
    assert slot.spawner.due is None


def test_the_first_that_waits_says_until_when(slot: Slot) -> None:
    slot.spawn(leaf, 1)
    slot.now += limits.SPAWN_FLUSH_S / 2
    slot.spawn(leaf, 2)
    assert slot.wakes == [pytest.approx(100.0 + limits.SPAWN_FLUSH_S)]
    assert slot.messages() == []
    slot.now += limits.SPAWN_FLUSH_S
    slot.spawn(leaf, 3)
    (batch,) = slot.batches()
    assert len(batch) == 3
    slot.spawn(leaf, 4)
    assert len(slot.wakes) == 2


def test_what_waits_leaves_with_the_result_of_its_parent_when_it_is_due(slot: Slot) -> None:
    slot.spawn(leaf, 1)
    slot.close_task()
    assert slot.messages() == []
    slot.begin(LO + 1)
    slot.spawn(leaf, 2)
    slot.now += 2 * limits.SPAWN_FLUSH_S
    slot.close_task()
    first, second = slot.batches()
    assert (first.origin, second.origin) == (FIRST_RUN, FIRST_RUN + 1)
    assert (first.lo, second.lo) == (0, 0)


def test_a_payload_is_full_at_its_number_of_tasks(slot: Slot) -> None:
    for _ in range(limits.SPAWN_BUFFER_TASKS - 1):
        slot.spawn(leaf, 1)
    assert slot.messages() == []
    slot.spawn(leaf, 1)
    (batch,) = slot.batches()
    assert len(batch) == limits.SPAWN_BUFFER_TASKS


@pytest.mark.parametrize("make", [bytes, bytearray], ids=["plain", "pickled"])
def test_a_payload_is_full_at_its_number_of_bytes(slot: Slot, make: Callable[[int], Any]) -> None:
    for _ in range(4):
        slot.spawn(leaf, make(limits.PAYLOAD_BYTES_SOFT // 3))
    slot.close_task()
    slot.flush()
    assert [len(batch) for batch in slot.batches()] == [3, 1]


@pytest.mark.parametrize("make", [bytes, bytearray], ids=["plain", "pickled"])
def test_arguments_that_fit_no_frame_are_refused(
    slot: Slot, monkeypatch: pytest.MonkeyPatch, make: Callable[[int], Any]
) -> None:
    monkeypatch.setattr(spawning, "_ITEM_BYTES_MAX", 1_000)
    with pytest.raises(ItemSerializeError, match="the limit is 1,000"):
        slot.spawn(leaf, make(1_000))
    assert slot.close_task() == ROOT


def test_what_a_failed_task_spawned_is_dropped(slot: Slot) -> None:
    slot.spawn(leaf, 1)
    assert slot.close_task(keep=False) == ROOT
    slot.begin(LO + 1)
    slot.spawn(leaf, 2)
    assert slot.close_task() == FIRST_RUN + 1
    slot.flush()
    (batch,) = slot.batches()
    assert arguments(batch) == [(2,)]
    assert (batch.lo, batch.origin) == (0, FIRST_RUN + 1)


def test_a_task_that_spawned_nothing_has_no_run(slot: Slot) -> None:
    assert slot.close_task() == ROOT
    assert slot.messages() == []


def test_arguments_count_as_they_are_now(slot: Slot) -> None:
    argument = [1]
    slot.spawn(leaf, argument)
    argument.append(2)
    slot.close_task()
    slot.flush()
    (batch,) = slot.batches()
    assert arguments(batch) == [([1],)]


def test_spawning_needs_a_running_task() -> None:
    slot = Slot(begin=False)
    with pytest.raises(UsageError, match="a thread outlived its task"):
        slot.spawn(leaf)
    slot.begin(LO)
    slot.spawn(leaf)
    slot.close_task()
    with slot.outbox.lock:
        slot.spawner.end()
    with pytest.raises(UsageError, match="a thread outlived its task"):
        slot.spawn(leaf)


def test_a_thread_of_the_task_may_spawn(slot: Slot) -> None:
    threads = [threading.Thread(target=slot.spawn, args=(leaf, number)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert slot.close_task() == FIRST_RUN
    slot.flush()
    assert sorted(one for batch in slot.batches() for one in arguments(batch)) == [(0,), (1,), (2,), (3,)]


def test_one_task_spawns_only_so_many_bytes(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SPAWN_BYTES_MAX", 10_000)
    slot.flag[0] = 1  # each of them leaves at once
    for _ in range(9):
        slot.spawn(leaf, bytes(1_000))
    with pytest.raises(SpawnLimitError, match=r"one task has spawned others with 10,\d\d\d bytes .* limit is 10,000"):
        slot.spawn(leaf, bytes(1_000))
    slot.spawn(leaf, 1)  # what is small still fits
    assert slot.close_task() == FIRST_RUN
    slot.flush()
    assert sum(map(len, slot.batches())) == 10
    # The next task counts anew, also after one whose tasks were dropped.
    slot.begin(LO + 1)
    slot.spawn(leaf, bytes(9_000))
    slot.close_task(keep=False)
    slot.begin(LO + 2)
    slot.spawn(leaf, bytes(9_000))


def test_only_functions_can_be_spawned(slot: Slot) -> None:
    with pytest.raises(UsageError, match="spawn\\(\\) needs a function, not a int"):
        slot.spawn(5)  # type: ignore[arg-type]


def test_a_call_that_cannot_be_pickled_is_refused_and_leaves_no_trace(slot: Slot) -> None:
    lock = threading.Lock()
    with pytest.raises(ItemSerializeError, match="the arguments of a spawned call"):
        slot.spawn(leaf, lock)
    with pytest.raises(FunctionSerializeError, match="cannot be pickled"):
        slot.spawn(lambda: lock)
    assert slot.close_task() == ROOT
    assert slot.messages() == []


def test_the_number_of_remembered_functions_is_bounded(slot: Slot) -> None:
    functions = [lambda n=number: n for number in range(limits.SPAWN_FUNCTIONS_MAX + 10)]
    for fn in functions:
        slot.spawn(fn)
    assert len(slot.spawner._digests) == limits.SPAWN_FUNCTIONS_MAX
    slot.close_task()
    slot.flush()
    batches = slot.batches()
    assert len(batches) == len(functions)
    assert len({batch.payload.function for batch in batches}) == len(functions)
