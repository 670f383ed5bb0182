"""Waiting for items to be safe: it ends when they are, or when they cannot be."""

from __future__ import annotations

import queue
import threading
from typing import Any

import pytest

from lbnet.client.deposit import Deposit
from lbnet.client.standing import Delivery, Lost, Safe
from lbnet.client.window import Window
from lbnet.errors import ConnectionLostError, NoWorkersError, UsageError
from lbnet.protocol.messages import JobRefused
from tests.client.scripted import JOB, done, values


def outcome(count: int, *script: Delivery, closed: bool = False) -> Any:
    """What comes of waiting for ``count`` items."""
    deposit, ended = Deposit(Window()), queue.SimpleQueue[Any]()

    def wait() -> None:
        try:
            ended.put(deposit.wait(count, closed=closed))
        except Exception as error:
            ended.put(error)

    threading.Thread(target=wait, daemon=True).start()
    for message in script[:-1]:
        deposit.put(message)
        assert ended.empty()
    deposit.put(script[-1])
    return ended.get(timeout=10)


@pytest.mark.parametrize(
    ("count", "script"),
    [
        (5, (Safe(2, 10), Safe(4, 10), Safe(5, 1))),
        (3, (values(0, 1), Safe(3, 10))),
        (0, (done(),)),
    ],
)
def test_it_ends_when_all_items_are_safe(count: int, script: tuple[Delivery, ...]) -> None:
    assert outcome(count, *script) is None


@pytest.mark.parametrize(
    ("count", "script"),
    [
        (5, (Safe(2, 10), Safe(5, 11), Safe(5, 0, closed=True))),
        (3, (values(0, 1), Safe(3, 10, closed=True))),
        (3, (Safe(3, 10), done())),
        (0, (done(),)),
    ],
)
def test_or_when_it_is_safe_too_that_these_are_all(count: int, script: tuple[Delivery, ...]) -> None:
    assert outcome(count, *script, closed=True) is None


@pytest.mark.parametrize(
    ("last", "error"),
    [
        (JobRefused(JOB, "why"), UsageError("why")),
        (Lost("why"), ConnectionLostError("why")),
        (done(), NoWorkersError("the controller ended the job before all of its items were sent")),
    ],
)
def test_it_ends_when_they_will_not_be(last: Delivery, error: Exception) -> None:
    ended = outcome(5, Safe(2, 10), last)
    assert (type(ended), str(ended)) == (type(error), str(error))


def test_items_that_are_safe_make_room_for_others() -> None:
    window = Window(tasks_max=4)
    deposit = Deposit(window)
    window.sent(4, 100)
    window.held(100)
    assert not window.has_room()
    deposit.put(Safe(4, 100))
    assert window.has_room()


def test_an_end_lets_the_feeder_go() -> None:
    window = Window(tasks_max=4)
    deposit = Deposit(window)
    window.sent(4, 100)
    deposit.put(Lost("why"))
    assert not window.wait()
