"""Asynchronous round robin: each worker goes around all others, from its successor on."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet.strategies.arr import AsynchronousRoundRobin
from lbnet.types import PeerId
from tests.strategies.views import Asker, peers


@settings(derandomize=True, deadline=None)
@given(workers=st.integers(2, 30), place=st.integers(0, 29), rounds=st.integers(1, 3))
def test_everybody_else_is_asked_in_p_minus_1_questions_from_the_successor_on(
    workers: int, place: int, rounds: int
) -> None:
    everybody = peers(*range(10, 10 + workers))
    place %= workers
    asker = Asker(AsynchronousRoundRobin().worker(), me=everybody[place], peers=everybody)
    others = [*everybody[place + 1 :], *everybody[:place]]
    for _ in range(rounds):
        assert [asker.asks() for _ in others] == others


def test_each_worker_counts_by_itself() -> None:
    strategy = AsynchronousRoundRobin()
    askers = [Asker(strategy.worker(), me=PeerId(me)) for me in (1, 2, 5)]
    assert [asker.asks() for asker in askers] == [2, 3, 1]
    assert [askers[0].asks() for _ in range(3)] == [3, 4, 5]
    assert [asker.asks() for asker in askers] == [2, 4, 2]


@settings(derandomize=True, deadline=None)
@given(lists=st.lists(st.sets(st.integers(1, 12).filter(lambda peer: peer != 3), min_size=1), min_size=1, max_size=12))
def test_whoever_joins_or_leaves_it_asks_somebody_who_is_there_and_never_itself(lists: list[set[int]]) -> None:
    asker = Asker(AsynchronousRoundRobin().worker())
    for others in lists:
        asker.view.peers = peers(*sorted({3, *others}))
        assert asker.asks() in others


def test_after_a_change_everybody_is_still_asked_in_p_minus_1_questions() -> None:
    asker = Asker(AsynchronousRoundRobin().worker(), peers=peers(1, 2, 3, 4, 5, 6, 7))
    assert [asker.asks() for _ in range(4)] == [4, 5, 6, 7]
    asker.view.peers = peers(1, 2, 3)
    assert sorted(asker.asks() for _ in range(2)) == [1, 2]
    asker.view.peers = peers(1, 2, 3, 8, 9)
    assert sorted(asker.asks() for _ in range(4)) == [1, 2, 8, 9]


def test_a_worker_that_is_not_in_the_list_yet_asks_those_that_are() -> None:
    asker = Asker(AsynchronousRoundRobin().worker(), peers=peers(1, 2))
    assert [asker.asks() for _ in range(3)] == [1, 2, 1]


def test_a_worker_alone_asks_nobody() -> None:
    assert Asker(AsynchronousRoundRobin().worker(), peers=peers(3)).decides() == []
    assert Asker(AsynchronousRoundRobin().worker(), peers=()).decides() == []
