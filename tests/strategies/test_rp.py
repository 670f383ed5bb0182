"""Random polling: any other worker, each as likely as the next, and never itself."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet.strategies.base import TellIdle
from lbnet.strategies.rp import RandomPolling, random_peer
from tests.strategies.views import Asker, peers, view_of


@settings(derandomize=True, deadline=None)
@given(workers=st.integers(2, 40), place=st.integers(0, 39), inside=st.floats(0.01, 0.99))
def test_equal_parts_of_the_chance_fall_to_all_others(workers: int, place: int, inside: float) -> None:
    everybody = peers(*range(10, 10 + workers))
    me = everybody[place % workers]
    drawn = [
        random_peer(view_of(me=me, peers=everybody, draw=lambda part=part: (part + inside) / (workers - 1)))
        for part in range(workers - 1)
    ]
    assert sorted(peer for peer in drawn if peer is not None) == [peer for peer in everybody if peer != me]


@settings(derandomize=True, deadline=None)
@given(workers=st.integers(2, 40), place=st.integers(0, 39))
def test_the_ends_of_the_chance_are_workers_too(workers: int, place: int) -> None:
    everybody = peers(*range(1, 1 + workers))
    me = everybody[place % workers]
    for drawn in (0.0, 1.0 - 2.0**-53):
        chosen = random_peer(view_of(me=me, peers=everybody, draw=lambda drawn=drawn: drawn))
        assert chosen in everybody
        assert chosen != me


def test_it_asks_all_others_about_as_often() -> None:
    asker = Asker(RandomPolling().worker(), draw=random.Random(7).random)
    asked = Counter(asker.asks() for _ in range(4_000))
    assert sorted(asked) == [1, 2, 4, 5]
    assert all(abs(count - 1_000) < 100 for count in asked.values())  # more than three standard deviations


def test_another_seed_asks_in_another_order() -> None:
    orders = []
    for seed in (1, 1, 2):
        asker = Asker(RandomPolling().worker(), draw=random.Random(seed).random)
        orders.append([asker.asks() for _ in range(50)])
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


def test_it_draws_no_more_than_it_asks() -> None:
    drawn: list[float] = []

    def draw() -> float:
        drawn.append(0.5)
        return 0.5

    asker = Asker(RandomPolling().worker(), draw=draw)
    for _ in range(5):
        asker.asks()
    assert len(drawn) == 5


def test_a_worker_alone_asks_nobody() -> None:
    assert Asker(RandomPolling().worker(), peers=peers(3)).decides() == []
    assert Asker(RandomPolling().worker(), peers=()).decides() == []
    assert Asker(RandomPolling().worker(), peers=(), told_idle_s=None).decides() == [TellIdle()]
