"""A single-threaded process that handles one event after the other: what comes meanwhile waits.

Where cores are shared, a process waits for one when something wakes it up, and keeps it until it has nothing to do.

It must not know what the events mean.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

from lbnet.sim.engine import Engine
from lbnet.sim.frames import size_bytes


class Item:
    """An event on its way to a process: what it costs to take it, and the link that it came by, if any."""

    __slots__ = ("cost_s", "event", "link")

    def __init__(self, cost_s: float, event: Any, link: object | None = None) -> None:
        self.cost_s = cost_s
        self.event = event
        self.link = link


class Cores:
    """Cores that several processes share: who finds none free waits in line.

    Args:
        engine: the clock.
        count: how many.
    """

    def __init__(self, engine: Engine, count: int) -> None:
        self._engine = engine
        self._free = count
        self._waiting: deque[Callable[[], None]] = deque()

    def want(self, start: Callable[[], None], *, first: bool = False) -> None:
        """Call ``start`` as soon as there is a core for it; ``first``: before all others that wait."""
        if self._free:
            self._free -= 1
            start()
        elif first:
            self._waiting.appendleft(start)
        else:
            self._waiting.append(start)

    def spend(self, seconds: float, then: Callable[[], None], *, first: bool = False) -> None:
        """Keep a core for so long, as soon as there is one; then call ``then``, whose ``first`` wish has it next."""
        self.want(lambda: self._engine.at(self._engine.now + seconds, self._spent, then), first=first)

    def _spent(self, then: Callable[[], None]) -> None:
        then()
        self.release(None)

    def release(self, _: object) -> None:
        """A core is free."""
        if self._waiting:
            self._waiting.popleft()()
        else:
            self._free += 1


class Process(ABC):
    """A queue of events, and the time that each one takes.

    Args:
        engine: the clock.
        event_s: to handle an event.
        message_s: to decode or encode a message.
        byte_s: for each byte of a message.
        jitter: an item takes up to this share longer.
        draw: uniform in [0, 1).
        cores: what it shares with others; None: it has a core of its own.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        event_s: float,
        message_s: float,
        byte_s: float,
        jitter: float,
        draw: Callable[[], float],
        cores: Cores | None,
    ) -> None:
        self.engine = engine
        self.alive = True
        self.busy_s = 0.0
        self.event_s = event_s
        self.message_s = message_s
        self.byte_s = byte_s
        self._jitter = jitter
        self._draw = draw
        self._cores = cores
        self._inbox: deque[Item] = deque()
        self._busy = False
        self._free_at = 0.0

    @abstractmethod
    def take(self, item: Item) -> float:
        """Handle an event, and carry out what follows. Returns the time when all of that is done."""

    @property
    def waiting(self) -> bool:
        """Whether it has something to handle."""
        return self._busy

    def post(self, item: Item) -> None:
        """An event has come."""
        if not self.alive:
            return
        if self._busy:
            self._inbox.append(item)
            return
        self._busy = True
        start = max(self.engine.now, self._free_at)
        if self._cores is None:
            self._work(item, start)
        else:
            self.engine.at(start, self._want_core, item)

    def post_all(self, items: list[Item]) -> None:
        """Several events have come at once."""
        for item in items:
            self.post(item)

    def decoding_s(self, message: Any) -> float:
        """What it costs this process to take this message."""
        return self.event_s + self.message_s + self.byte_s * size_bytes(message)

    def _want_core(self, item: Item) -> None:
        assert self._cores is not None
        self._cores.want(lambda: self._work(item, self.engine.now))

    def _work(self, item: Item, start: float) -> None:
        cost_s = item.cost_s
        if self._jitter:
            cost_s *= 1.0 + self._jitter * self._draw()
        self.busy_s += cost_s
        self.engine.at(start + cost_s, self._turn, item)

    def _turn(self, item: Item) -> None:
        now = end = self.engine.now
        if self.alive:
            end = self.take(item)
            self.busy_s += end - now
        self._free_at = end
        if self._inbox and self.alive:
            self._work(self._inbox.popleft(), end)
        else:
            if self._cores is not None:
                self.engine.at(end, self._cores.release, None)
            self._busy = False
            if self._inbox:
                self._inbox.clear()
