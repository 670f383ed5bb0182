"""``lifeline``: a few questions at random, then silence, until one of log2(p) chosen donors has something to give.

A worker that was refused a few times asks its neighbours in a hypercube to remember it: its lifelines. They offer work
as soon as they have some; until then it sends nothing at all. Unlike in the source they do not send it right away:
whoever has found some elsewhere meanwhile would pass it on, and small pieces would wander about. Work flows along
lifelines to everybody, as the hypercube connects all, in log2(p) steps at most. So idle workers cost nothing, and a
burst of work finds its way by itself.

Messages per transfer: up to two ASK_WORK and NO_WORK, then one ASK_WORK for each lifeline that is not out already;
and OFFER, ASK_WORK, SEND_WORK and ACK when there is work; all between workers.

Source: Saraswat, Kambadur, Kodali, Grove, Krishnamoorthy, "Lifeline-based global load balancing", PPoPP 2011.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lbnet.strategies.base import Ask, Strategy, WorkerDecision, WorkerStrategy, WorkerView
from lbnet.strategies.polling import PollingWorker
from lbnet.strategies.rp import random_peer
from lbnet.types import PeerId

_RANDOM_ATTEMPTS = 2
"""Refusals before a worker falls back on its lifelines."""


class Lifeline(Strategy):
    """Idle workers ask at random, then wait on their lifelines."""

    name = "lifeline"
    polls = True
    knows_peers = True

    def worker(self) -> WorkerStrategy:
        """Asks, then waits."""
        return _Worker()


class _Worker(PollingWorker):
    def __init__(self) -> None:
        super().__init__()
        self._peers: Sequence[PeerId] = ()
        self._lifelines: list[PeerId] = []

    def ask(self, view: WorkerView) -> Iterator[WorkerDecision]:
        if view.refusals < _RANDOM_ATTEMPTS:
            donor = random_peer(view)
            if donor is not None:
                yield Ask(donor)
        elif view.free_slots > 0:
            if view.peers is not self._peers:
                self._peers, self._lifelines = view.peers, neighbours(view.peers, view.me)
            for donor in self._lifelines:
                if donor not in view.waiting_on:
                    yield Ask(donor, wait=True)


def neighbours(peers: Sequence[PeerId], me: PeerId) -> list[PeerId]:
    """Those whose places in the list differ from ``me``'s in one bit; with p no power of two, as far as they exist."""
    if me not in peers:
        return []
    place = peers.index(me)
    bits = (len(peers) - 1).bit_length()
    return [peers[place ^ (1 << bit)] for bit in range(bits) if place ^ (1 << bit) < len(peers)]
