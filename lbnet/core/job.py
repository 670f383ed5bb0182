"""One job at the controller: its books, its payloads, and the tasks that still have to be placed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from lbnet.core.ledger import Ledger
from lbnet.core.store import PayloadStore
from lbnet.types import Batch, JobId, JobOptions, JobReport, PeerId, RunId, WorkerReport


@dataclass(slots=True)
class Tally:
    """One worker's share of a job, as far as it has told."""

    name: str
    slots: int
    tasks: int = 0
    busy_s: float = 0.0
    batches_sent: int = 0
    batches_received: int = 0
    asks: int = 0
    refusals: int = 0

    def report(self) -> WorkerReport:
        """The same, for people."""
        return WorkerReport(
            self.name,
            self.slots,
            self.tasks,
            self.busy_s,
            self.batches_sent,
            self.batches_received,
            self.asks,
            self.refusals,
        )


@dataclass(slots=True)
class Job:
    """The controller's record of one job. ``total`` is None until the client closes the input.

    ``number`` counts the jobs in the order in which they were opened.
    """

    id: JobId
    client: PeerId
    options: JobOptions
    opened_at: float
    slots: int
    number: int = 0
    total: int | None = None
    state: str = "running"
    ended_at: float | None = None
    requeued: int = 0
    ledger: Ledger = field(default_factory=Ledger)
    store: PayloadStore = field(default_factory=PayloadStore)
    functions: dict[bytes, bytes] = field(default_factory=dict)
    tallies: dict[PeerId, Tally] = field(default_factory=dict)
    backlog: deque[Batch] = field(default_factory=deque)
    backlog_tasks: int = 0

    @property
    def complete(self) -> bool:
        """Whether the input is closed and nothing of it is outstanding."""
        return self.total is not None and self.total == self.ledger.submitted and self.ledger.empty

    def submit(self, batch: Batch) -> None:
        """Items that the client added."""
        self.ledger.submit(batch.lo, batch.hi)
        self.store.add(batch)
        self.backlog.append(batch)
        self.backlog_tasks += len(batch)

    def requeue(self, origin: RunId, lo: int, hi: int) -> int:
        """Place these tasks again, before all others. Returns how many that are."""
        count = 0
        for left, right in self.ledger.is_outstanding(origin, lo, hi):
            for batch in self.store.find(origin, left, right):
                self.backlog.appendleft(batch)
                count += len(batch)
        self.backlog_tasks += count
        self.requeued += count
        return count

    def give_back(self, batch: Batch) -> None:
        """A batch that could not be delivered: it is placed like new work."""
        self.backlog.appendleft(batch)
        self.backlog_tasks += len(batch)

    def take(self, tasks: int) -> Batch:
        """Up to ``tasks`` tasks of the first batch of the backlog, which must not be empty."""
        batch = self.backlog.popleft()
        if len(batch) > tasks:
            self.backlog.appendleft(batch.part(batch.lo + tasks, batch.hi))
            batch = batch.part(batch.lo, batch.lo + tasks)
        self.backlog_tasks -= len(batch)
        return batch

    def cancel_waiting(self, lo: int, hi: int) -> list[tuple[int, int]]:
        """Drop the items of ``[lo, hi)`` that have not been placed. Returns them as ranges."""
        dropped: list[tuple[int, int]] = []
        kept: deque[Batch] = deque()
        for batch in self.backlog:
            left, right = max(lo, batch.lo), min(hi, batch.hi)
            if batch.origin != 0 or left >= right:
                kept.append(batch)
                continue
            kept.extend(batch.part(*part) for part in ((batch.lo, left), (right, batch.hi)) if part[0] < part[1])
            for taken in self.ledger.cancel(left, right):
                self.store.settle(batch.origin, *taken)
                dropped.append(taken)
        self.backlog = kept
        self.backlog_tasks = sum(map(len, kept))
        return dropped

    def end(self, state: str, now: float) -> None:
        """Nothing will happen to this job any more: keep the books, drop what is heavy."""
        self.state = state
        self.ended_at = now
        self.store.clear()
        self.functions.clear()
        self.backlog.clear()
        self.backlog_tasks = 0

    def report(self, now: float) -> JobReport:
        """The balance so far."""
        ledger = self.ledger
        ended = now if self.ended_at is None else self.ended_at
        return JobReport(
            job=self.id,
            name=self.options.name,
            state=self.state,
            strategy=self.options.strategy,
            placement=self.options.placement,
            submitted=ledger.submitted,
            spawned=ledger.spawned,
            done=ledger.done,
            failed=ledger.failed,
            cancelled=ledger.cancelled,
            outstanding=ledger.outstanding,
            duplicates=ledger.duplicates,
            orphans=ledger.orphans,
            requeued=self.requeued,
            slots=self.slots,
            makespan_s=ended - self.opened_at,
            busy_s=sum(tally.busy_s for tally in self.tallies.values()),
            workers=tuple(tally.report() for tally in self.tallies.values()),
        )
