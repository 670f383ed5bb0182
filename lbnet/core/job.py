"""One job at the controller: its books, its payloads, the tasks that still have to be placed, what its client is told.

Whatever happens to a job is a record, and :meth:`Job.apply` is the only way to let it happen: so a journal of those
records rebuilds the job. What does not need to be rebuilt, where tasks are and what was requeued, is no record.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lbnet.core import checks
from lbnet.core.ledger import Committed, Ledger, Requeue, RootSettled
from lbnet.core.outbox import Outbox
from lbnet.core.store import PayloadStore
from lbnet.core.withdrawal import without
from lbnet.protocol import messages, records
from lbnet.types import (
    COMBINED,
    FAILED,
    ROOT,
    VALUES,
    Batch,
    Failure,
    Group,
    JobReport,
    PeerId,
    RunId,
    WorkerReport,
)

_DROPPED = "a combined value was dropped"
"""Part of it had been counted before."""


@dataclass(slots=True)
class Tally:
    """One worker's share of a job, as far as it has told. ``granted``: tasks that it got from the controller itself.

    ``dropped_s``: of ``busy_s``, what was dropped as it came, since this controller was started.
    """

    name: str
    slots: int
    tasks: int = 0
    busy_s: float = 0.0
    batches_sent: int = 0
    batches_received: int = 0
    asks: int = 0
    refusals: int = 0
    granted: int = 0
    dropped_s: float = 0.0

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

    def books(self, worker: PeerId) -> records.TallyBooks:
        """The same, for the journal."""
        return records.TallyBooks(
            worker,
            self.name,
            self.slots,
            self.tasks,
            self.busy_s,
            self.batches_sent,
            self.batches_received,
            self.asks,
            self.refusals,
        )


class Job:
    """The controller's record of one job. ``total`` is None until the client closes the input.

    Args:
        opened: who opened it, when, and with which options.
    """

    def __init__(self, opened: records.Opened) -> None:
        self.id = opened.job
        self.client = opened.client
        self.options = opened.options
        self.opened_at = opened.at
        self.number = opened.number
        self.slots = opened.slots
        self.total: int | None = None
        self.state = "running"
        self.ended_at: float | None = None
        self.requeues: dict[str, int] = {}
        self.ledger = Ledger()
        self.store = PayloadStore()
        self.outbox = Outbox()
        self.functions: dict[bytes, bytes] = {}
        self.tallies: dict[PeerId, Tally] = {}
        self.backlog: deque[Batch] = deque()
        self.backlog_tasks = 0
        self.attached = False
        """Whether its client listens, and has said how much it has seen."""
        self.read = 0
        """The reader has got at so many outcomes, as far as it has said."""
        self.fetched_from = 0
        """The last outcomes that were brought back begin here."""
        self.fetching = False
        """Outcomes that were set aside are on their way back."""
        self.safe_items = 0
        """The client was told, or may be, that the items below this are safe."""
        self.safe_closed = False
        """And that the input has ended."""
        self.logged_bytes = 0
        """Bytes of records since it was opened, or since the last snapshot, about."""

    @property
    def complete(self) -> bool:
        """Whether the input is closed and nothing of it is outstanding."""
        return self.total is not None and self.total == self.ledger.submitted and self.ledger.empty

    @property
    def kept_bytes(self) -> int:
        """Bytes of what a snapshot would hold, about."""
        return self.store.size_bytes + self.outbox.size_bytes + sum(map(len, self.functions.values()))

    # --- what happens -----------------------------------------------------------------------------

    def apply(self, record: records.Record) -> None:
        """Let it happen. A record that makes no sense here is a bug of ours, or of whoever wrote the journal."""
        _APPLY[type(record)](self, record)

    def _function(self, record: messages.Function) -> None:
        self.functions.setdefault(record.digest, record.data)

    def _submit(self, record: messages.Submit) -> None:
        batch = record.batch
        self.ledger.submit(batch.lo, batch.hi)
        self.store.add(batch)
        self.backlog.append(batch)
        self.backlog_tasks += len(batch)

    def _close(self, record: messages.CloseJob) -> None:
        self.total = record.total

    def _owned(self, record: records.Owned) -> None:
        self.client = record.client

    def _taken(self, record: messages.Taken) -> None:
        self.outbox.take(record.upto)

    def _set_aside(self, record: records.SetAside) -> None:
        self.outbox.set_aside(record.upto)

    def _dropped(self, record: records.Dropped) -> None:
        withdrawn = self.ledger.cancel(record.lo, record.hi)
        for origin, lo, hi in withdrawn.tasks:
            self.store.settle(origin, lo, hi)
        for lo, hi in withdrawn.items:
            self.outbox.append(messages.Cancelled(self.id, lo, hi))
        self._forget_backlog(record.lo, record.hi)
        for again in withdrawn.requeue:
            self.requeue(again.origin, again.lo, again.hi, _DROPPED)

    def _results(self, record: records.Results) -> None:
        tally = self.tally(record.worker, record.name, record.slots)
        for group in record.groups:
            # Not when it is committed: that may be much later, by another worker's RESULT.
            tally.tasks += group.tasks
            seconds = checks.plausible_s(group.seconds)
            tally.busy_s += seconds
            dropped = self._commit(group)
            if dropped:
                tally.dropped_s += seconds * dropped / group.tasks

    def _ended(self, record: records.Ended) -> None:
        if record.state == "failed":
            failure = Failure(record.kind, record.reason, "", "controller", b"")
            for lo, hi in self.ledger.unsettled():
                for root in range(lo, hi):
                    self._tell_failure(root, failure, spawned=False)
            self.ledger.fail_all()
        elif record.state == "cancelled":
            for lo, hi in self.ledger.unsettled():
                self.outbox.append(messages.Cancelled(self.id, lo, hi))
            self.ledger.cancel_all()
        self.state = record.state
        self.ended_at = record.at
        self.store.clear()
        self.functions.clear()
        self.backlog.clear()
        self.backlog_tasks = 0
        self.outbox.append(messages.JobDone(self.id))

    # --- committing -------------------------------------------------------------------------------

    def _commit(self, group: Group) -> int:
        """Take a result. Returns how many of its tasks were of no use."""
        ledger = self.ledger
        before = ledger.duplicates + ledger.orphans
        again = 0
        for news in self.ledger.commit(group):
            if isinstance(news, Committed):
                self._committed(news)
            elif isinstance(news, RootSettled):
                if news.failure is None:
                    self.outbox.append(messages.Settled(self.id, news.root))
                else:
                    self._tell_failure(news.root, news.failure, spawned=True)
            else:
                assert isinstance(news, Requeue)
                again += news.hi - news.lo
                self.requeue(news.origin, news.lo, news.hi, _DROPPED)
        # What waited for this result is dropped or committed with it: it may be another worker's.
        return min(ledger.duplicates + ledger.orphans - before + again, group.tasks)

    def _committed(self, news: Committed) -> None:
        group = news.group
        for member, fresh in news.parts:
            for child in member.children if group.kind != FAILED else ():
                self.store.add(child)
            for lo, hi in fresh:
                self.store.settle(member.origin, lo, hi)
                if group.kind == VALUES and member.origin == ROOT:
                    open_ = bool(member.children)
                    self.outbox.append(messages.Values(self.id, lo, hi, member.lo, group.data, open_))
                elif group.kind == FAILED and member.origin == ROOT and group.failure is not None:
                    self._tell_failure(member.lo, group.failure, spawned=False)
        if group.kind == COMBINED:
            member = group.members[0]
            root = member.lo if member.origin == ROOT else member.root
            self.outbox.append(messages.Partial(self.id, root, group.data))

    def _tell_failure(self, root: int, failure: Failure, *, spawned: bool) -> None:
        self.outbox.append(
            messages.Failed(
                self.id, root, spawned, failure.kind, failure.message, failure.traceback, failure.where, failure.data
            )
        )

    # --- where its tasks are ----------------------------------------------------------------------

    @property
    def requeued(self) -> int:
        """Tasks that were placed again."""
        return sum(self.requeues.values())

    def requeue(self, origin: RunId, lo: int, hi: int, cause: str) -> int:
        """Place these tasks again, before all others; ``cause`` is for people. Returns how many that are."""
        count = 0
        for left, right in self.ledger.is_outstanding(origin, lo, hi):
            for batch in self.store.find(origin, left, right):
                self.backlog.appendleft(batch)
                count += len(batch)
        self.backlog_tasks += count
        if count:
            self.requeues[cause] = self.requeues.get(cause, 0) + count
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

    def _forget_backlog(self, lo: int, hi: int) -> None:
        """What waits here of items ``[lo, hi)``, and of what they spawned, need not be placed."""
        self.backlog = deque(part for batch in self.backlog for part in without(batch, lo, hi))
        self.backlog_tasks = sum(map(len, self.backlog))

    # --- for people, and for the journal ----------------------------------------------------------

    def tally(self, worker: PeerId, name: str, slots: int) -> Tally:
        """A worker's share, which begins now if it had none."""
        tally = self.tallies.get(worker)
        if tally is None:
            tally = self.tallies[worker] = Tally(name, slots)
        return tally

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
            requeues=dict(self.requeues),
            slots=self.slots,
            makespan_s=ended - self.opened_at,
            busy_s=sum(tally.busy_s for tally in self.tallies.values()),
            workers=tuple(tally.report() for tally in self.tallies.values()),
        )

    def snapshot(self) -> Iterator[records.Record]:
        """All that a controller needs to go on with it: :meth:`of` takes it."""
        yield records.Books(
            opened=records.Opened(self.id, self.client, self.number, self.options, self.opened_at, self.slots),
            total=self.total,
            state=self.state,
            ended_at=self.ended_at,
            requeues=tuple(records.Requeues(cause, tasks) for cause, tasks in self.requeues.items()),
            taken=self.outbox.taken,
            aside=self.outbox.aside,
            ledger=self.ledger.books(),
            tallies=tuple(tally.books(worker) for worker, tally in self.tallies.items()),
        )
        for digest, data in self.functions.items():
            yield messages.Function(self.id, digest, data)
        for batch, remaining in self.store.items():
            yield records.Stored(batch, remaining)
        yield from self.outbox.kept()

    @classmethod
    def of(cls, books: records.Books) -> Job:
        """A job with these books; what follows in the snapshot is then applied."""
        job = cls(books.opened)
        job.total = books.total
        job.state = books.state
        job.ended_at = books.ended_at
        job.requeues = {part.cause: part.tasks for part in books.requeues}
        job.outbox = Outbox(books.taken, aside=books.aside)
        job.ledger = Ledger.of(books.ledger)
        for tally in books.tallies:
            job.tallies[tally.worker] = Tally(
                tally.name,
                tally.slots,
                tally.tasks,
                tally.busy_s,
                tally.batches_sent,
                tally.batches_received,
                tally.asks,
                tally.refusals,
            )
        return job

    def _stored(self, record: records.Stored) -> None:
        self.store.add(record.batch, record.remaining)

    def _outcome(self, record: records.Outcome) -> None:
        self.outbox.append(record)


_APPLY: dict[type, Callable[[Job, Any], None]] = {
    messages.Function: Job._function,
    messages.Submit: Job._submit,
    messages.CloseJob: Job._close,
    messages.Taken: Job._taken,
    records.SetAside: Job._set_aside,
    records.Owned: Job._owned,
    records.Results: Job._results,
    records.Dropped: Job._dropped,
    records.Ended: Job._ended,
    records.Stored: Job._stored,
    **dict.fromkeys(
        (
            messages.Cancelled,
            messages.Values,
            messages.Partial,
            messages.Failed,
            messages.Settled,
            messages.JobDone,
        ),
        Job._outcome,
    ),
}
