"""What a worker knows of its compute processes: which tasks each of them was handed, and how far it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from lbnet import limits
from lbnet.core.durations import Durations
from lbnet.core.ranges import RangeSet
from lbnet.types import Batch, JobId, Member, RunId, SlotId, Span


@dataclass(slots=True)
class Ticket:
    """One batch handed to one slot.

    ``upto``: tasks below it are finished. ``end``: tasks from it on were taken back.
    ``over``: its job has ended here, and whatever comes of it is nobody's, although the job may come back.
    ``claimed``: tasks below it had started at ``claimed_at``, as a Reclaim showed; a slot that sits in a long task
    lets go of what it has claimed beside it. ``unreported``: tasks whose results have not come, and are wanted.
    """

    number: int
    batch: Batch
    first_run: RunId
    upto: int
    end: int
    claimed: int
    unreported: RangeSet
    claimed_at: float = 0.0
    reclaiming: bool = False
    over: bool = False

    @classmethod
    def of(cls, number: int, batch: Batch, first_run: RunId) -> Ticket:
        """A ticket that was just handed out."""
        return cls(number, batch, first_run, batch.lo, batch.hi, batch.lo, RangeSet([(batch.lo, batch.hi)]))

    @property
    def left(self) -> int:
        """Tasks that are not finished, with the running one."""
        return max(self.end - self.upto, 0)

    def waiting(self, *, running: bool) -> int:
        """Tasks at the end that have not started, as far as is known."""
        begun = max(self.upto + running, self.claimed)
        return self.end - begun if self.end > begun else 0

    def cut(self, taken_from: int) -> list[Batch]:
        """Take back the tasks from ``taken_from`` on. Returns those that somebody still wants."""
        taken_from = max(taken_from, self.batch.lo)
        if taken_from >= self.end:
            return []
        back = [self.batch.part(lo, hi) for lo, hi in self.unreported.remove(taken_from, self.end)]
        self.end = taken_from
        return back

    def runs(self) -> range:
        """The identities of the executions that this ticket may have started."""
        return range(self.first_run, self.first_run + len(self.batch))

    def spans(self) -> list[Span]:
        """The tasks whose results have not come."""
        return [Span(self.batch.job, self.batch.origin, lo, hi) for lo, hi in self.unreported]


@dataclass(slots=True)
class Slot:
    """One compute process. ``lagging`` are tickets that are over while some results are still on the way.

    ``moved_at`` is when it last began or finished something, as far as is known.
    """

    id: SlotId
    ready: bool = False
    tickets: deque[Ticket] = field(default_factory=deque)
    lagging: list[Ticket] = field(default_factory=list)
    functions: set[tuple[JobId, bytes]] = field(default_factory=set)
    moved_at: float = 0.0

    @property
    def free(self) -> bool:
        """Whether it has nothing to run."""
        return not self.tickets

    def ticket(self, number: int) -> Ticket | None:
        """The ticket with this number, if it is still out."""
        for ticket in self.tickets:
            if ticket.number == number:
                return ticket
        return None

    def any_ticket(self, number: int) -> Ticket | None:
        """The ticket with this number, if something of it may still be missing."""
        for ticket in self.lagging:
            if ticket.number == number:
                return ticket
        return self.ticket(number)

    def all_tickets(self) -> Iterator[Ticket]:
        """Tickets of which something may still be missing."""
        yield from self.lagging
        yield from self.tickets

    def reported(self, job: JobId, member: Member) -> None:
        """The result of these tasks has come."""
        for tickets in (self.lagging, self.tickets):
            for ticket in tickets:
                if ticket.batch.origin == member.origin and ticket.batch.job == job:
                    ticket.unreported.remove(member.lo, member.hi)
        if self.lagging:
            self.lagging = [ticket for ticket in self.lagging if ticket.unreported]

    def weigh(self, durations: Durations) -> tuple[float, float]:
        """Estimated seconds of work in this slot, the running task in full; and of those, what could be taken back."""
        stock_s = tails_s = 0.0
        running = True
        for ticket in self.tickets:
            left = ticket.end - ticket.upto
            if left > 0:
                guess_s = durations.guess_s(ticket.batch.payload.function)
                stock_s += left * guess_s
                if left > running and not ticket.reclaiming:
                    tails_s += ticket.waiting(running=running) * guess_s
            running = False
        return stock_s, tails_s

    def lasting_s(self, now: float) -> float:
        """How long its running task has lasted beyond what is usual between two reports."""
        return max(now - self.moved_at - limits.CLAIM_DOUBT_S, 0.0) if self.tickets else 0.0

    @property
    def traps(self) -> bool:
        """Whether tasks may wait behind its running one."""
        left = 0
        for ticket in self.tickets:
            left += ticket.left
        return left > 1

    def tails(self) -> list[tuple[Ticket, int]]:
        """Tickets with the number of tasks at their ends that have not started, as far as is known."""
        return [
            (ticket, waiting)
            for place, ticket in enumerate(self.tickets)
            if not ticket.reclaiming and (waiting := ticket.waiting(running=place == 0)) > 0
        ]
