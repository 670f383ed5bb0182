"""``pmap``, the classical baseline: the controller feeds one item at a time to whoever is free.

No worker holds more than it runs, so there is nothing to give and nothing to balance. It is as even as can be where
items are long; each costs a round trip to the controller, in which its slot waits. What a task spawns stays where it
is: work that makes work is not balanced at all.

Messages per item: IDLE, SEND_WORK with its ACK, and RESULT, all at the controller.

Source: the master and workers of every introduction, such as ``pmap`` of Julia's Distributed standard library.
"""

from __future__ import annotations

from collections.abc import Iterator

from lbnet.strategies.base import (
    ControllerStrategy,
    Strategy,
    TellIdle,
    WorkerDecision,
    WorkerStrategy,
    WorkerView,
)


class ParallelMap(Strategy):
    """One item at a time."""

    name = "pmap"

    def controller(self) -> ControllerStrategy:
        """Grants one task."""
        return _Controller()

    def worker(self) -> WorkerStrategy:
        """Says IDLE when a slot is free."""
        return _Worker()


class _Controller(ControllerStrategy):
    def grant(self, tasks: int) -> int:  # noqa: ARG002
        return 1


class _Worker(WorkerStrategy):
    def balance(self, view: WorkerView) -> Iterator[WorkerDecision]:
        if view.free_slots > 0 and view.idle_is_news:
            yield TellIdle()
