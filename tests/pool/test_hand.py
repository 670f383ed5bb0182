"""The group in a slot's hand: what is dropped never runs, what is not dropped always does."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbnet.pool.hand import Hand


@given(lo=st.integers(0, 10**6), count=st.integers(1, 30), place=st.integers(0, 29))
def test_dropping_inside_of_a_task_makes_it_the_last(lo: int, count: int, place: int) -> None:
    hand = Hand(lo, list(range(lo, lo + count)))
    ran = []
    dropped_to = None
    for index, entry in enumerate(hand.tasks, lo):
        assert entry == index
        ran.append(entry)
        if index == lo + place:
            dropped_to = hand.drop_rest()
    if place < count - 1:
        assert dropped_to == lo + place + 1
        assert ran == list(range(lo, dropped_to))
        assert len(hand) == place + 1
    else:
        assert dropped_to is None
        assert ran == list(range(lo, lo + count))


@given(count=st.integers(1, 30))
def test_before_the_loop_begins_the_first_task_is_kept(count: int) -> None:
    # The helper may come before the first step of the loop; a group of nothing would look like one task that ran.
    hand = Hand(7, list(range(count)))
    assert hand.drop_rest() == (8 if count > 1 else None)
    assert list(hand.tasks) == [0]


def test_nothing_is_dropped_twice() -> None:
    hand = Hand(0, [1, 2, 3])
    next(hand.tasks)
    assert hand.drop_rest() == 1
    assert hand.drop_rest() is None
    assert list(hand.tasks) == []


def test_after_the_loop_there_is_nothing_to_drop() -> None:
    hand = Hand(0, [1, 2, 3])
    assert list(hand.tasks) == [1, 2, 3]
    assert hand.drop_rest() is None
    assert len(hand) == 3


@pytest.fixture
def switching() -> Iterator[None]:
    """Let threads interrupt each other as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_a_thread_that_drops_agrees_with_the_loop_on_what_ran(switching: None) -> None:
    for count in [1, 2, 3, 10, 100, 1_000] * 15:
        hand = Hand(5, list(range(count)))
        answers: list[int | None] = []
        go = threading.Barrier(2)

        def drop(hand: Hand = hand, answers: list[int | None] = answers, go: threading.Barrier = go) -> None:
            go.wait()
            answers.append(hand.drop_rest())

        thread = threading.Thread(target=drop)
        thread.start()
        go.wait()
        ran = []
        for entry in hand.tasks:
            ran.append(entry)  # noqa: PERF402 - a loop is what is tested
        thread.join()
        (answer,) = answers
        assert ran == list(range(len(hand)))
        assert ran
        if answer is not None:
            assert answer == 5 + len(ran)
