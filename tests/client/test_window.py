"""Credit: never more than the limits ahead unless nothing is on its way, and never stuck."""

from __future__ import annotations

import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet.client.window import Window
from tests.client.scripted import PATIENT, until

SMALL = st.integers(0, 200)


class Bench:
    """A map as the window sees it: what was sent, what has arrived, what was consumed."""

    def __init__(self, tasks_max: int, bytes_max: int) -> None:
        self.window = Window(tasks_max, bytes_max)
        self.tasks_max, self.bytes_max = tasks_max, bytes_max
        self.flying: list[int] = []
        self.unread: list[tuple[int, int]] = []
        self.input_bytes = 0

    @property
    def ahead(self) -> int:
        return len(self.flying) + sum(tasks for tasks, _ in self.unread)

    def send(self, tasks: int, size: int) -> None:
        self.window.sent(tasks, size)
        self.flying += [size // tasks] * tasks

    def arrive(self, size: int) -> None:
        self.flying.pop()
        self.window.arrived(1, size)
        self.unread.append((1, size))

    def consume(self) -> None:
        tasks, size = self.unread.pop(0)
        self.window.consumed(tasks, size)

    def check(self) -> None:
        """What has_room says is within the limits, and it says yes whenever the consumer would wait for ever."""
        unread_bytes = sum(size for _, size in self.unread)
        if self.ahead == 0:
            assert self.window.has_room()
        elif self.window.has_room():
            assert self.ahead < self.tasks_max
            assert unread_bytes < self.bytes_max
        else:
            assert self.flying or self.ahead >= self.tasks_max or unread_bytes >= self.bytes_max


@settings(PATIENT)
@given(
    st.integers(1, 50),
    st.integers(1, 100_000),
    st.lists(st.tuples(st.sampled_from("sac"), st.integers(1, 30), st.integers(0, 20_000)), max_size=60),
)
def test_it_keeps_the_limits_and_is_never_stuck(
    tasks_max: int, bytes_max: int, steps: list[tuple[str, int, int]]
) -> None:
    bench = Bench(tasks_max, bytes_max)
    for step, tasks, size in steps:
        if step == "s" and bench.window.has_room():
            bench.send(tasks, size)
        elif step == "a" and bench.flying:
            bench.arrive(size)
        elif step == "c" and bench.unread:
            bench.consume()
        bench.check()
    while bench.flying or bench.unread:
        if bench.flying:
            bench.arrive(0)
        bench.consume()
        bench.check()
    assert bench.window.has_room()


@settings(PATIENT)
@given(SMALL, SMALL)
def test_one_payload_may_go_when_nothing_is_on_its_way_however_large_it_is(tasks: int, size: int) -> None:
    window = Window(1, 1)
    assert window.has_room()
    window.sent(tasks + 1, size + 1)
    assert not window.has_room()
    window.arrived(tasks + 1, size + 1)
    assert not window.has_room()
    window.consumed(tasks + 1, size + 1)
    assert window.has_room()


def test_inputs_whose_results_have_not_come_count() -> None:
    window = Window(1_000_000, 1 << 20)
    window.sent(1, 900 << 10)
    assert window.has_room()
    window.sent(1, 900 << 10)
    assert not window.has_room()


def test_results_that_turn_out_to_be_large_hold_back_what_asks_for_more() -> None:
    window = Window(1_000_000, 10 << 20)
    window.sent(200, 200)
    assert window.has_room()
    window.arrived(100, 100 * (64 << 10))
    window.consumed(100, 100 * (64 << 10))
    window.sent(300, 300)
    assert not window.has_room(), "400 results of about 40 kB are on their way"


def test_a_lifted_window_holds_nothing_back() -> None:
    window = Window(1, 1)
    window.sent(10, 10)
    window.lift()
    assert window.has_room()
    assert window.wait()


def test_a_closed_window_has_no_room_and_lets_nobody_wait() -> None:
    window = Window(1, 1)
    window.sent(10, 10)
    window.close()
    assert not window.wait()
    assert not window.has_room()


def test_who_waits_is_woken_by_the_consumer_and_by_the_end() -> None:
    for wake, answer in ((lambda window: window.consumed(5, 5), True), (Window.lift, True), (Window.close, False)):
        window, answers = Window(1, 1), list[bool]()
        window.sent(5, 5)
        thread = threading.Thread(target=lambda window=window, answers=answers: answers.append(window.wait()))
        thread.start()
        until(lambda window=window: window._changed._waiters, "the thread waits")
        wake(window)
        thread.join(10)
        assert answers == [answer]


def test_what_may_have_to_be_sent_again_counts_as_it_is() -> None:
    window = Window(1_000_000, 1_000_000)
    window.sent(1_000, 1_000)
    window.arrived(1_000, 0)
    window.consumed(1_000, 0)
    window.sent(1, 900_000)
    window.held(900_000)
    assert window.has_room()
    window.sent(1, 100_000)
    window.held(100_000)
    assert not window.has_room(), "although the mean item is small"
    window.safe(900_000)
    assert window.has_room()


def test_who_waits_for_room_gets_it_when_inputs_are_safe() -> None:
    window = Window(1_000, 1_000)
    window.sent(1, 2_000)
    window.held(2_000)
    window.sent(1, 0)
    window.arrived(1, 0)
    got: list[bool] = []
    waiting = threading.Thread(target=lambda: got.append(window.wait()))
    waiting.start()
    window.safe(2_000)
    window.arrived(1, 0)
    waiting.join(10)
    assert got == [True]
