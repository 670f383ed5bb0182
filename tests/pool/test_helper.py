"""The second thread of a slot: what it does and when, by a clock that the test moves; and once as a real thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lbnet import limits
from lbnet.pool import wire
from lbnet.pool.claims import Claims
from lbnet.pool.hand import Hand
from lbnet.pool.helper import Helper
from lbnet.pool.outbox import Outbox
from lbnet.pool.spawning import Spawner
from lbnet.protocol.framing import FrameReader
from lbnet.types import ROOT, Batch, JobId, Payload, RunId

FLUSH_S = limits.RESULT_FLUSH_S
NEVER = float("inf")
ENTRY = 2


class Slot:
    """All that a helper looks after."""

    def __init__(self) -> None:
        self.now = 100.0
        self.claims = Claims()
        self.writes: list[bytes] = []
        self.wrote = threading.Event()
        self.outbox = Outbox(self._write, lambda: self.now, "here")
        self.helper = Helper(self.outbox, self.claims, lambda: self.now)
        self.flag = self.claims.flag()
        self.spawner = Spawner(self.outbox, self.flag, lambda: self.now, self.helper.wake_at)
        self.helper._spawner = self.spawner
        batch = Batch(JobId(1), ROOT, 0, 100, 0, ROOT, 0, Payload(0, 100, b"f", b""))
        self.run = wire.Run(1, ENTRY, batch, RunId(50), b"", False)
        self.claims.issue(ENTRY, 0, 100)
        self.outbox.begin(self.run)
        self.outbox.flushed_at = self.now

    def _write(self, data: bytes) -> None:
        self.writes.append(data)
        self.wrote.set()

    def hold(self, begin: int, end: int) -> Hand:
        """Claim a group and take it in the hand, as the running thread does."""
        with self.outbox.lock:
            self.claims.claim(ENTRY, begin, end)
            hand = Hand(begin, list(range(begin, end)))
            self.helper.watch(hand, ENTRY, self.outbox.group_began())
        return hand

    def look(self) -> float:
        with self.outbox.lock:
            return self.helper.look(self.now)

    def messages(self) -> list[Any]:
        frames = FrameReader()
        frames.feed(b"".join(self.writes))
        found = []
        while (body := frames.next()) is not None:
            found.append(wire.CODEC.decode(body))
        return found


@pytest.fixture
def slot() -> Iterator[Slot]:
    made = Slot()
    yield made
    made.flag.release()
    made.claims.close()


def leaf(number: int) -> None:
    """What is spawned."""


def test_with_nothing_to_do_it_sleeps_for_ever(slot: Slot) -> None:
    assert slot.look() == NEVER
    slot.hold(0, 1)
    assert slot.look() == NEVER
    assert slot.writes == []


def test_in_a_long_task_finished_results_leave_and_the_rest_is_let_go(slot: Slot) -> None:
    hand = slot.hold(0, 10)
    next(hand.tasks)
    slot.outbox.finished.append("first")
    next(hand.tasks)
    assert slot.look() == pytest.approx(slot.now + FLUSH_S)
    assert slot.claims.taken_from(ENTRY) == 100
    slot.claims.revoke(ENTRY, 0)
    assert slot.claims.taken_from(ENTRY) == 10
    slot.now += FLUSH_S
    assert slot.look() == NEVER
    # The second task is the last of this group: all behind it may be taken back.
    assert slot.claims.taken_from(ENTRY) == 2
    assert list(hand.tasks) == []
    (done,) = slot.messages()
    assert done.upto == 1


def test_before_the_first_step_of_a_group_one_task_stays(slot: Slot) -> None:
    hand = slot.hold(4, 10)
    slot.now += FLUSH_S
    slot.look()
    slot.claims.revoke(ENTRY, 0)
    assert slot.claims.taken_from(ENTRY) == 5
    assert list(hand.tasks) == [4]


def test_a_group_is_let_go_once(slot: Slot) -> None:
    hand = slot.hold(0, 10)
    next(hand.tasks)
    slot.now += FLUSH_S
    slot.look()
    slot.claims.announce(ENTRY, 7)
    assert slot.look() == NEVER
    slot.claims.revoke(ENTRY, 0)
    assert slot.claims.taken_from(ENTRY) == 7


def test_a_new_group_has_its_own_time(slot: Slot) -> None:
    slot.hold(0, 10)
    slot.now += FLUSH_S / 2
    hand = slot.hold(10, 20)
    next(hand.tasks)
    slot.now += FLUSH_S / 2
    assert slot.look() == pytest.approx(slot.now + FLUSH_S / 2)
    assert len(hand) == 10
    with slot.outbox.lock:
        slot.helper.watch(None, 0, 0.0)
    assert slot.look() == NEVER


def test_results_wait_for_company_no_longer_than_their_time(slot: Slot) -> None:
    slot.hold(0, 1)
    slot.outbox.finished.append(1)
    slot.now += FLUSH_S / 4
    assert slot.look() == pytest.approx(100.0 + FLUSH_S)
    assert slot.writes == []
    slot.now = 100.0 + FLUSH_S
    assert slot.look() == NEVER
    assert len(slot.messages()) == 1


def test_spawned_tasks_leave_although_their_parent_runs(slot: Slot) -> None:
    slot.hold(0, 1)
    current = slot.claims.current(ENTRY)
    current[0] = 0
    slot.spawner.begin(slot.run, current)
    slot.spawner.spawn(leaf, (1,))
    assert slot.look() == pytest.approx(slot.now + limits.SPAWN_FLUSH_S)
    assert slot.writes == []
    slot.now += limits.SPAWN_FLUSH_S
    assert slot.look() == NEVER
    assert [type(message) for message in slot.messages()] == [wire.Teach, wire.Spawned]
    with slot.outbox.lock:
        slot.spawner.end()
    current.release()


def test_it_looks_again_at_the_earliest_that_is_due(slot: Slot) -> None:
    current = slot.claims.current(ENTRY)
    current[0] = 0
    slot.spawner.begin(slot.run, current)
    slot.hold(0, 5)
    slot.outbox.flushed_at = slot.now - FLUSH_S / 2
    slot.outbox.finished.append(1)
    assert slot.look() == pytest.approx(slot.now + FLUSH_S)  # before that, the group may end by itself
    slot.spawner.spawn(leaf, (1,))
    assert slot.look() == pytest.approx(slot.now + limits.SPAWN_FLUSH_S)
    with slot.outbox.lock:
        slot.spawner.end()
    current.release()


def test_as_a_thread_it_wakes_when_it_is_asked_and_sends() -> None:
    slot = Slot()
    slot.helper._clock = time.perf_counter
    slot.outbox.flushed_at = time.perf_counter()
    slot.helper.start(slot.spawner)
    slot.outbox.finished.append("result")
    with slot.outbox.lock:
        slot.helper.watch(Hand(0, [0]), ENTRY, time.perf_counter())
    assert slot.wrote.wait(30)
    (done,) = slot.messages()
    assert done.upto == 1
    with slot.outbox.lock:
        slot.helper.watch(None, 0, 0.0)
