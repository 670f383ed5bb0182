"""``grr``, global round robin: the controller keeps one counter for all, and says whom to ask next.

Questions spread evenly over all donors, so fewer are asked in vain than by ``arr``; but each costs a message in and
one out at the controller, which with many idle workers does nothing else.

Messages per transfer: ASK_TARGET and TARGET at the controller for every question; ASK_WORK and NO_WORK between workers
for every donor that has nothing, then ASK_WORK, SEND_WORK and ACK.

Source: "global round robin" of Kumar, Grama, Vempaty, "Scalable load balancing techniques for parallel computers",
J. Parallel Distrib. Comput. 22 (1994), with back-off added.
"""

from __future__ import annotations

from collections.abc import Iterator

from lbnet.strategies.base import (
    Ask,
    AskTarget,
    ControllerStrategy,
    ControllerView,
    Strategy,
    WorkerDecision,
    WorkerStrategy,
    WorkerView,
)
from lbnet.strategies.polling import PollingWorker
from lbnet.types import PeerId


class GlobalRoundRobin(Strategy):
    """Idle workers ask in turn, by the count of the controller."""

    name = "grr"
    polls = True

    def controller(self) -> ControllerStrategy:
        """Keeps the counter."""
        return _Controller()

    def worker(self) -> WorkerStrategy:
        """Asks whom the controller names."""
        return _Worker()


class _Controller(ControllerStrategy):
    def __init__(self) -> None:
        self._next = 0

    def target(self, view: ControllerView, asker: PeerId) -> PeerId | None:
        workers = view.workers
        for _ in range(2):
            target = workers[self._next % len(workers)]
            self._next = (self._next + 1) % len(workers)
            if target != asker:
                return target
        return None


class _Worker(PollingWorker):
    def ask(self, view: WorkerView) -> Iterator[WorkerDecision]:
        yield AskTarget() if view.target is None else Ask(view.target)
