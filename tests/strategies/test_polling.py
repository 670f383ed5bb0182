"""What all polling strategies do: one question at a time, ever more slowly, and only while it makes sense."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from lbnet import limits
from lbnet.strategies.arr import AsynchronousRoundRobin
from lbnet.strategies.base import Ask, AskTarget, LookAgain, Strategy, TellIdle
from lbnet.strategies.grr import GlobalRoundRobin
from lbnet.strategies.lifeline import Lifeline
from lbnet.strategies.polling import backoff_s
from lbnet.strategies.rp import RandomPolling
from tests.strategies.views import Asker, peers

POLLING = pytest.mark.parametrize("kind", [RandomPolling, AsynchronousRoundRobin, GlobalRoundRobin, Lifeline])
REFUSALS_TO_THE_LONGEST_WAIT = 8
"""0.5 ms, doubled seven times, is more than 50 ms."""


@POLLING
def test_a_worker_that_wants_work_asks_for_it(kind: Callable[[], Strategy]) -> None:
    assert kind().polls
    (decision,) = Asker(kind().worker()).decides()
    assert isinstance(decision, Ask | AskTarget)


@POLLING
@pytest.mark.parametrize(
    "changes",
    [
        {"asking": True},
        {"work_exists": False},
        {"free_slots": 0, "stock_s": limits.IDLE_AHEAD_S, "told_idle_s": None},
    ],
    ids=["a question is out", "there is no work", "it has enough"],
)
def test_it_does_not_ask_for_nothing(kind: Callable[[], Strategy], changes: dict[str, object]) -> None:
    assert Asker(kind().worker(), **changes).decides() == []


@POLLING
def test_it_asks_before_it_runs_dry(kind: Callable[[], Strategy]) -> None:
    low_s = 0.9 * limits.IDLE_AHEAD_S
    (decision,) = Asker(kind().worker(), free_slots=0, stock_s=low_s, told_idle_s=low_s).decides()
    assert isinstance(decision, Ask | AskTarget)


@POLLING
def test_the_controller_hears_of_it_too(kind: Callable[[], Strategy]) -> None:
    first, second = Asker(kind().worker(), told_idle_s=None).decides()
    assert first == TellIdle()
    assert isinstance(second, Ask | AskTarget)


@pytest.mark.parametrize("kind", [RandomPolling, AsynchronousRoundRobin])
def test_each_refusal_doubles_the_wait_up_to_a_bound(kind: Callable[[], Strategy]) -> None:
    asker = Asker(kind().worker())
    waits: list[float] = []
    for _ in range(12):
        asker.asks()
        waits.append(asker.waits())
    assert waits[0] == limits.POLL_BACKOFF_FIRST_S
    for before, after in pairwise(waits):
        assert after == pytest.approx(min(2 * before, limits.POLL_BACKOFF_MAX_S))
    assert waits[REFUSALS_TO_THE_LONGEST_WAIT - 1] == pytest.approx(limits.POLL_BACKOFF_MAX_S)


@POLLING
def test_a_wait_is_not_begun_anew_by_what_happens_in_it(kind: Callable[[], Strategy]) -> None:
    asker = Asker(kind().worker())
    (wait,) = asker.is_refused()
    assert isinstance(wait, LookAgain)
    whole_s = wait.after_s
    asker.view.now += whole_s / 2
    assert abs(asker.waits() - whole_s / 2) < 1e-12
    asker.view.now += whole_s / 2 + 1e-9
    (decision,) = asker.decides()
    assert isinstance(decision, Ask | AskTarget)


@POLLING
def test_work_ends_the_wait_and_the_count(kind: Callable[[], Strategy]) -> None:
    asker = Asker(kind().worker(), peers=peers(1, 3))
    asker.view.refusals = 9
    assert asker.decides() == [LookAgain(limits.POLL_BACKOFF_MAX_S)]
    asker.view.refusals = 0  # work came, and is done
    (decision,) = asker.decides()
    assert isinstance(decision, Ask | AskTarget)
    assert asker.is_refused() == [LookAgain(limits.POLL_BACKOFF_FIRST_S)]


def test_the_wait_is_finite_after_any_number_of_refusals() -> None:
    assert backoff_s(0) == backoff_s(-1) == 0.0
    waits = [backoff_s(refusals) for refusals in (*range(1, 50), 10**9)]
    assert waits == sorted(waits)
    assert waits[0] == limits.POLL_BACKOFF_FIRST_S
    assert waits[-1] == limits.POLL_BACKOFF_MAX_S
