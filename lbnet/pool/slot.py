"""A place for a process, as its pool keeps it: what it was handed, what runs, and why it is being ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from lbnet import limits
from lbnet.pool.process import SlotProcess
from lbnet.types import JobId, RunId, SlotId


@dataclass(slots=True)
class Ticket:
    """One batch that was handed out. Tasks below ``upto`` are finished, those in ``cancelled`` nobody wants."""

    entry: int
    job: JobId
    origin: RunId
    lo: int
    hi: int
    timeout_s: float
    upto: int
    cancelled: list[tuple[int, int]] = field(default_factory=list)

    def is_cancelled(self, index: int) -> bool:
        """Whether nobody wants this task."""
        return any(lo <= index < hi for lo, hi in self.cancelled)


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a process is being ended, and the task to blame: index -1 for none."""

    description: str
    ticket: int = -1
    index: int = -1
    timed_out: bool = False


@dataclass(slots=True)
class Slot:
    """``process`` is None between a death and the next start. ``stray_bytes`` were printed by none of its tasks."""

    id: SlotId
    process: SlotProcess | None = None
    ready: bool = False
    ending: Ending | None = None
    failed_starts: int = 0
    stray_bytes: int = 0
    tickets: dict[int, Ticket] = field(default_factory=dict)
    over: dict[int, Ticket] = field(default_factory=dict)

    def free_entry(self) -> int:
        """An entry of the claims that no ticket uses."""
        used = {ticket.entry for ticket in self.tickets.values()}
        return next(entry for entry in range(limits.CLAIM_ENTRIES) if entry not in used)

    def running(self) -> tuple[int, int, float]:
        """Ticket and index of the task that runs, and when it began; -1 when none does."""
        if self.process is not None:
            for number, ticket in self.tickets.items():
                index, started = self.process.claims.running(ticket.entry)
                if index >= ticket.upto:
                    return number, index, started
        return -1, -1, 0.0

    def finish(self, number: int) -> None:
        """A ticket is over. Output of it may still be on its way."""
        ticket = self.tickets.pop(number, None)
        if ticket is not None:
            self.over[number] = ticket
            if len(self.over) > limits.OUTPUT_TICKETS_REMEMBERED:
                del self.over[next(iter(self.over))]

    def find(self, number: int) -> Ticket | None:
        """The ticket with this number, if it is out, or was until lately."""
        return self.tickets.get(number) or self.over.get(number)
