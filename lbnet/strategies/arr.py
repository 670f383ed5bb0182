"""``arr``, asynchronous round robin: each worker keeps its own next target, and goes around all others.

Like random polling it needs no word of the controller, and it is sure to ask everybody in p - 1 questions; but workers
may march in step and ask the same one. They start at different places, each at its successor.

Messages per transfer: as random polling: ASK_WORK and NO_WORK for every donor that has nothing, then ASK_WORK,
SEND_WORK and ACK, all between workers.

Source: "asynchronous round robin" of Kumar, Grama, Vempaty, "Scalable load balancing techniques for parallel
computers", J. Parallel Distrib. Comput. 22 (1994), with back-off added.
"""

from __future__ import annotations

from collections.abc import Iterator

from lbnet.strategies.base import Ask, Strategy, WorkerDecision, WorkerStrategy, WorkerView
from lbnet.strategies.polling import PollingWorker


class AsynchronousRoundRobin(Strategy):
    """Idle workers ask in turn, each by its own count."""

    name = "arr"
    polls = True
    knows_peers = True

    def worker(self) -> WorkerStrategy:
        """Asks."""
        return _Worker()


class _Worker(PollingWorker):
    def __init__(self) -> None:
        super().__init__()
        self._next: int | None = None

    def ask(self, view: WorkerView) -> Iterator[WorkerDecision]:
        peers = view.peers
        if len(peers) < 2:
            return
        if self._next is None:
            self._next = peers.index(view.me) + 1 if view.me in peers else 0
        self._next %= len(peers)
        if peers[self._next] == view.me:
            self._next = (self._next + 1) % len(peers)
        donor = peers[self._next]
        self._next += 1
        yield Ask(donor)
