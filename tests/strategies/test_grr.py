"""Global round robin: one counter at the controller, for all who ask."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet.strategies.base import Ask, AskTarget
from lbnet.strategies.grr import GlobalRoundRobin
from lbnet.types import PeerId
from tests.strategies.views import Asker, Board


def targets(workers: int, askers: list[int]) -> list[PeerId | None]:
    board, half = Board(workers, {}, {}), GlobalRoundRobin().controller()
    return [half.target(board, PeerId(asker)) for asker in askers]


def test_the_counter_is_one_for_all() -> None:
    assert targets(4, [4, 4, 4, 4, 4]) == [1, 2, 3, 1, 2]
    assert targets(4, [4, 1, 2, 3, 1]) == [1, 2, 3, 4, 2]


@settings(derandomize=True, deadline=None)
@given(workers=st.integers(2, 12), asked=st.lists(st.integers(0, 11), min_size=1, max_size=60))
def test_everybody_is_asked_in_turn_but_whoever_asks(workers: int, asked: list[int]) -> None:
    askers = [1 + asker % workers for asker in asked]
    found = targets(workers, askers)
    assert all(target is not None and target != asker for target, asker in zip(found, askers, strict=True))
    for at in range(len(askers) - workers + 1):
        turn = found[at : at + workers]
        # The counter passes all in p questions, and over nobody but a worker whose question it is.
        assert {*range(1, workers + 1)} - {*turn} <= {*askers[at : at + workers]}
        assert max(Counter(turn).values()) <= 2


@settings(derandomize=True, deadline=None)
@given(workers=st.integers(2, 20), asker=st.integers(1, 20), rounds=st.integers(1, 4))
def test_the_questions_of_one_worker_spread_evenly(workers: int, asker: int, rounds: int) -> None:
    asker = min(asker, workers)
    counts = Counter(targets(workers, [asker] * rounds * (workers - 1)))
    assert counts == {PeerId(other): rounds for other in range(1, workers + 1) if other != asker}


def test_a_worker_alone_gets_nobody() -> None:
    assert targets(1, [1, 1]) == [None, None]


def test_the_counter_goes_on_when_workers_leave() -> None:
    half = GlobalRoundRobin().controller()
    for _ in range(7):
        half.target(Board(9, {}, {}), PeerId(9))
    assert half.target(Board(3, {}, {}), PeerId(3)) == 2
    assert [half.target(Board(1, {}, {}), PeerId(1)) for _ in range(3)] == [None] * 3
    assert half.target(Board(2, {}, {}), PeerId(1)) == 2


def test_each_controller_has_its_own_counter() -> None:
    strategy = GlobalRoundRobin()
    first, second = strategy.controller(), strategy.controller()
    board = Board(3, {}, {})
    assert [half.target(board, PeerId(3)) for half in (first, first, second)] == [1, 2, 1]


def test_a_worker_asks_whom_the_controller_names() -> None:
    asker = Asker(GlobalRoundRobin().worker(), peers=())
    assert asker.decides() == [AskTarget()]
    asker.view.target = PeerId(9)
    assert asker.decides() == [Ask(PeerId(9))]
    asker.view.target = None
    asker.is_refused()
    asker.view.now += 1.0
    assert asker.decides() == [AskTarget()]
