"""One slot of the model without a worker: the test plays the worker, and sees when the slot says what."""

from __future__ import annotations

from lbnet import limits
from lbnet.core.effects import Run
from lbnet.core.events import Event, SlotDone, SlotFinished, SlotSpawned
from lbnet.sim.book import Book, Tasks
from lbnet.sim.costs import Costs
from lbnet.sim.engine import Engine
from lbnet.sim.plain import PlainTicket
from lbnet.sim.process import Cores
from lbnet.sim.slots import Slot, Ticket
from lbnet.sim.units import UnitTicket
from lbnet.sim.work import Workload
from lbnet.types import ROOT, Batch, JobId, Payload, RunId, SlotId

FREE = Costs(ticket_s=0.0, task_s=0.0, pipe_s=0.0)
FIRST_RUN = RunId(1000)


def make_ticket(slot: Slot, effect: Run, tasks: Tasks) -> Ticket:
    return PlainTicket(slot, effect, tasks) if tasks.sums is not None else UnitTicket(slot, effect, tasks)


class SlotOwner:
    """Owns one slot."""

    def __init__(self, workload: Workload, costs: Costs = FREE, speed: float = 1.0) -> None:
        self.engine = Engine()
        self.alive = True
        self.hungry = False
        self.running = 0
        self.said: list[tuple[float, Event]] = []
        self.book = Book(workload)
        self.cores = None if costs.host_cores is None else Cores(self.engine, costs.host_cores)
        self.slot = Slot(self.engine, self, SlotId(0), self.book, costs, speed, make_ticket, self.cores)
        self.engine.now = self.start = 1.0
        self.slot.flushed_at = self.start - limits.RESULT_FLUSH_S

    def from_slot(self, events: list[Event]) -> None:
        self.said += [(self.engine.now - self.start, event) for event in events]

    def slot_runs(self, change: int) -> None:
        self.running += change
        assert self.running in {0, 1}

    def run(self, lo: int, hi: int, ticket: int = 1, *, count: int = 0, batch: Batch | None = None) -> None:
        """Hand the items ``[lo, hi)`` of the workload to the slot."""
        if batch is None:
            payload = Payload(0, count or self.book.workload.items, b"f", b"")
            batch = Batch(JobId(7), ROOT, lo, hi, 0, ROOT, 0, payload)
        reduce = b"sum" if self.book.workload.reduce else b""
        self.slot.run(Run(SlotId(0), ticket, batch, FIRST_RUN, reduce, 0.0), self.engine.now)

    def until(self, when: float) -> None:
        """Go on to this time, in seconds from the start; what is due then has happened."""
        self.engine.run(until=self.start + when)

    def feed(self, hungry: bool) -> None:
        self.hungry = hungry
        if hungry:
            self.slot.hunger()

    def done(self) -> list[tuple[float, int]]:
        """When it reported up to which task."""
        return [(round(when, 9), event.upto) for when, event in self.said if isinstance(event, SlotDone)]

    def finished(self) -> list[tuple[float, int]]:
        """When tickets ended, and how far they came."""
        return [(round(when, 9), event.ran_to) for when, event in self.said if isinstance(event, SlotFinished)]

    def spawned(self) -> list[tuple[float, Batch]]:
        return [(round(when, 9), event.batch) for when, event in self.said if isinstance(event, SlotSpawned)]
