"""A slot in the model: tickets in a queue, of which it runs one after the other, and what it tells its worker.

It keeps the rules of :mod:`lbnet.pool`: claims, reclaims, flushes. It must not know what the worker decides.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Protocol

from lbnet import limits
from lbnet.core.effects import Run
from lbnet.core.events import Event, SlotDone, SlotFinished
from lbnet.sim.book import Book, Tasks
from lbnet.sim.costs import Costs
from lbnet.sim.engine import Engine
from lbnet.sim.process import Cores
from lbnet.types import Group, SlotId


class Owner(Protocol):
    """What a slot needs of its worker: the hungry flag, and somebody who listens."""

    alive: bool
    hungry: bool

    def from_slot(self, events: list[Event]) -> None:
        """A slot has written these into its pipe."""

    def slot_runs(self, change: int) -> None:
        """A slot has begun (1) or ended (-1) a ticket."""


class Ticket(ABC):
    """One batch handed to a slot. Tasks from ``limit`` on were taken back, those below ``told`` are reported."""

    def __init__(self, slot: Slot, effect: Run, tasks: Tasks) -> None:
        self.slot = slot
        self.effect = effect
        self.batch = effect.batch
        self.tasks = tasks
        self.limit = effect.batch.hi
        self.told = effect.batch.lo
        self.started = False
        self._version = 0

    @abstractmethod
    def start(self) -> None:
        """Its first task begins now."""

    @abstractmethod
    def claimed(self) -> int:
        """The tasks below this index are the slot's now. Asked of a ticket that has started."""

    def limited(self) -> None:  # noqa: B027 - most need not care
        """The limit was lowered while it runs."""

    def hunger(self) -> None:  # noqa: B027 - plain tasks do not look
        """The hungry flag was set while it runs."""

    def reclaim(self, limit: int) -> int:
        """Take back what has not been claimed from ``limit`` on. Returns the first task that will not run here."""
        batch = self.batch
        claimed = self.claimed() if self.started else batch.lo
        self.limit = min(self.limit, max(limit, batch.lo))
        if self.started:
            self.limited()
        return min(max(self.limit, claimed), batch.hi)

    def again(self, when: float, step: Callable[[], None]) -> None:
        """Call ``step`` at ``when``, unless something else is asked for before."""
        self._version += 1
        self.slot.engine.at(when, self._on_time, (self._version, step))

    def _on_time(self, argument: tuple[int, Callable[[], None]]) -> None:
        version, step = argument
        slot = self.slot
        if version == self._version and slot.owner.alive:
            if slot.cores is None:
                step()
            else:
                slot.cores.spend(slot.wake_s, lambda: self._on_core(argument))

    def _on_core(self, argument: tuple[int, Callable[[], None]]) -> None:
        version, step = argument
        if version == self._version and self.slot.owner.alive:
            step()

    def done(self, upto: int, groups: list[Group]) -> list[Event]:
        """The events for results below ``upto``, none if there is nothing new."""
        if upto <= self.told:
            return []
        self.told = upto
        return [SlotDone(self.slot.id, self.effect.ticket, upto, tuple(groups))]

    def finished(self, ran_to: int) -> Event:
        """The event for the end of this ticket."""
        return SlotFinished(self.slot.id, self.effect.ticket, ran_to)


MakeTicket = Callable[["Slot", Run, Tasks], Ticket]


class Slot:
    """One slot of one worker.

    Args:
        engine: the clock.
        owner: its worker.
        number: its place there.
        book: what the tasks are.
        costs: its overheads.
        speed: seconds of a task take ``1 / speed`` here.
        make: a ticket for a batch.
        cores: that it needs when it is woken, and shares with others; None: it has a core of its own.
    """

    def __init__(
        self,
        engine: Engine,
        owner: Owner,
        number: SlotId,
        book: Book,
        costs: Costs,
        speed: float,
        make: MakeTicket,
        cores: Cores | None = None,
    ) -> None:
        self.engine = engine
        self.owner = owner
        self.id = number
        self.book = book
        self.task_s = costs.task_s
        self.speed = speed
        self.cores = cores
        self.wake_s = costs.wake_s
        self.flushed_at = -limits.RESULT_FLUSH_S
        self._ticket_s = costs.ticket_s
        self._make = make
        self._tickets: dict[int, tuple[Ticket, float]] = {}
        self._waiting: deque[tuple[Ticket, float]] = deque()
        self._running: Ticket | None = None

    def run(self, effect: Run, arrives: float) -> None:
        """A batch comes through the pipe."""
        ticket = self._make(self, effect, self.book.tasks(effect.batch.origin, effect.batch.payload))
        self._tickets[effect.ticket] = (ticket, arrives)
        if self._running is None:
            self._begin(ticket, arrives)
        else:
            self._waiting.append((ticket, arrives))

    def reclaim(self, number: int, limit: int) -> int | None:
        """Take tasks back. Returns the first that will not run here; None if the ticket is over."""
        found = self._tickets.get(number)
        return None if found is None else found[0].reclaim(limit)

    def hunger(self) -> None:
        """The hungry flag was set."""
        if self._running is not None and self._running.started:
            self._running.hunger()

    def end(self, events: list[Event]) -> None:
        """The running ticket is over, and these are its last words."""
        ticket = self._running
        assert ticket is not None, "something ran"
        self._running = None
        self.flushed_at = self.engine.now
        del self._tickets[ticket.effect.ticket]
        self.owner.slot_runs(-1)
        self.owner.from_slot(events)
        if self._waiting:
            following, arrives = self._waiting.popleft()
            if self.cores is not None and arrives <= self.engine.now:
                # It is awake, and keeps its core.
                self._running = following
                self.cores.spend(self._ticket_s, lambda: self._on_core(following), first=True)
            else:
                self._begin(following, max(arrives, self.engine.now))

    def _begin(self, ticket: Ticket, when: float) -> None:
        self._running = ticket
        if self.cores is None:
            ticket.again(when + self._ticket_s, lambda: self._start(ticket))
        else:
            self.engine.at(when, self._wake, ticket)

    def _wake(self, ticket: Ticket) -> None:
        assert self.cores is not None, "who shares no cores waits for none"
        self.cores.spend(self.wake_s + self._ticket_s, lambda: self._on_core(ticket))

    def _on_core(self, ticket: Ticket) -> None:
        if self.owner.alive:
            self._start(ticket)

    def _start(self, ticket: Ticket) -> None:
        ticket.started = True
        self.owner.slot_runs(1)
        ticket.start()
