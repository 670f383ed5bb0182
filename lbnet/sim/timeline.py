"""What each worker does when: busy, idle, or waiting for work that is on its way. It must not know how that comes."""

from __future__ import annotations

from dataclasses import dataclass

from lbnet.protocol.messages import AskWork, Match, Message, NoWork, SendWork
from lbnet.types import PeerId

BUSY, IDLE, TRANSFER, LEFT = "busy", "idle", "transfer", "left"


@dataclass(slots=True)
class _Worker:
    """``running``: tickets that run. ``held``: tickets handed to slots. ``coming``: messages with work on their way.

    ``asked``: somebody was asked to send some.
    """

    changes: list[tuple[float, str]]
    running: int = 0
    held: int = 0
    coming: int = 0
    asked: bool = False

    def state(self) -> str:
        """``transfer``: no slot runs, and work is on its way or asked for."""
        if self.running:
            return BUSY
        return TRANSFER if self.held or self.coming or self.asked else IDLE


class Timeline:
    """Records the states of all workers."""

    def __init__(self) -> None:
        self._workers: dict[PeerId, _Worker] = {}

    def joined(self, peer: PeerId, now: float) -> None:
        """A worker is there."""
        self._workers[peer] = _Worker([(now, IDLE)])

    def left(self, peer: PeerId, now: float) -> None:
        """A worker is gone: its last state is :data:`LEFT`."""
        self._workers[peer].changes.append((now, LEFT))

    def slots(self, peer: PeerId, now: float, *, held: int = 0, running: int = 0) -> None:
        """So many more tickets were handed to its slots, and so many more run."""
        worker = self._workers[peer]
        worker.held += held
        worker.running += running
        self._look(worker, now)

    def said(self, sender: PeerId, to: PeerId, message: Message, now: float) -> None:
        """A message leaves."""
        if isinstance(message, SendWork) and to in self._workers:
            self._workers[to].coming += 1
            self._look(self._workers[to], now)
        elif isinstance(message, Match | AskWork):
            worker = self._workers.get(message.requester if isinstance(message, Match) else sender)
            if worker is not None:
                worker.asked = True
                self._look(worker, now)

    def heard(self, peer: PeerId, message: Message, now: float) -> None:
        """A worker has handled a message."""
        if isinstance(message, SendWork | NoWork):
            worker = self._workers[peer]
            worker.asked = False
            worker.coming -= isinstance(message, SendWork)
            self._look(worker, now)

    def changes(self, start: float) -> tuple[tuple[tuple[float, str], ...], ...]:
        """By worker, in the order in which they joined: when which state began, in seconds from ``start`` on."""
        return tuple(_since(worker.changes, start) for worker in self._workers.values())

    def _look(self, worker: _Worker, now: float) -> None:
        state = worker.state()
        last = worker.changes[-1][1]
        if last not in {state, LEFT}:
            worker.changes.append((now, state))


def _since(changes: list[tuple[float, str]], start: float) -> tuple[tuple[float, str], ...]:
    before = [state for when, state in changes if when <= start]
    first = [(0.0, before[-1])] if before else []
    return tuple(first + [(when - start, state) for when, state in changes if when > start])
