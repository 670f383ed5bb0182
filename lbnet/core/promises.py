"""What must not be said before the records that it follows from are safe: outcomes, SUBMITTED, KEPT.

Whoever hears one of these forgets what it would need if the controller had forgotten, too. Nothing else waits.
It must not know what the records mean, or where they are kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lbnet import limits
from lbnet.core.effects import Effect, Fetch, Persist
from lbnet.core.job import Job
from lbnet.core.results import size_of
from lbnet.protocol import messages, records
from lbnet.protocol.records import Record
from lbnet.types import JobId, PeerId


@dataclass(slots=True)
class _Results:
    """RESULTs that came by a worker's link, how many of them are safe, and of how many it was told.

    ``untold_bytes``: what the worker keeps of the others, about.
    ``eager``: the worker waits for the word on each.
    """

    came: int = 0
    safe: int = 0
    told: int = 0
    untold_bytes: int = 0
    eager: bool = False


@dataclass(frozen=True, slots=True)
class _Submitted:
    """The items below ``upto`` came, and, if it is ``closed``, the word that there are no more."""

    upto: int
    closed: bool


@dataclass(frozen=True, slots=True)
class _Aside:
    """Outcomes that leave memory, from number ``begin`` on."""

    begin: int
    outcomes: tuple[records.Outcome, ...]


@dataclass(frozen=True, slots=True)
class _Promise:
    """To be kept once ``count`` Persist effects are safe."""

    count: int
    jobs: tuple[tuple[Job, int, _Submitted | None], ...]
    results: tuple[tuple[PeerId, _Results, int], ...]


class Promises:
    """Collects the records of one event, and says what follows from them when it may.

    Args:
        do: takes an effect.
        send: takes a message for a peer.
        journal: whether records are kept at all; if not, nothing waits.
        patient: whether a job's client would not miss it if it heard of it a little later.
        memory_bytes: of the outcomes of a detached job; more are set aside, if there is a journal.
    """

    def __init__(
        self,
        do: Callable[[Effect], None],
        send: Callable[[PeerId, messages.Message], None],
        *,
        journal: bool,
        patient: Callable[[Job], bool] = lambda _: False,
        memory_bytes: int = limits.OUTCOMES_BYTES_MAX,
    ) -> None:
        self._do = do
        self._send = send
        self._journal = journal
        self._patient = patient
        self._memory_bytes = memory_bytes
        self._records: dict[JobId, list[Record]] = {}
        self._touched: dict[JobId, Job] = {}
        self._submitted: dict[JobId, _Submitted] = {}
        self._results: dict[PeerId, _Results] = {}
        self._heard: dict[PeerId, None] = {}
        self._over: dict[JobId, None] = {}
        self._waiting: deque[_Promise] = deque()
        self._issued = 0
        self._safe = 0

    @property
    def pending(self) -> int:
        """Persist effects that are not known to be safe."""
        return self._issued - self._safe

    # --- what happened ----------------------------------------------------------------------------

    def happens(self, job: Job, record: Record) -> None:
        """Let it happen to a job, now; keep it, and tell the client what came of it when that is safe."""
        job.apply(record)
        self._touched[job.id] = job
        if self._journal:
            self._records.setdefault(job.id, []).append(record)

    def began(self, job: Job, record: Record) -> None:
        """A job was opened, by this record."""
        if self._journal:
            self._records.setdefault(job.id, []).append(record)

    def submitted(self, job: Job) -> None:
        """The client added items, or closed the input, and waits for the word that this is safe."""
        self._submitted[job.id] = _Submitted(job.ledger.submitted, job.total is not None)

    def heard(self, worker: PeerId, result: messages.Result) -> None:
        """A RESULT came from a worker."""
        results = self._results.get(worker)
        if results is None:
            results = self._results[worker] = _Results()
        results.came += 1
        results.untold_bytes += size_of(result)
        self._heard[worker] = None

    def hurry(self, worker: PeerId) -> None:
        """A worker leaves as soon as it knows that all of its results are safe."""
        self._results.setdefault(worker, _Results()).eager = True
        self._heard[worker] = None

    def forget_worker(self, worker: PeerId) -> None:
        """Its link is gone; on its next one it counts anew."""
        self._results.pop(worker, None)

    def over(self, job: JobId) -> None:
        """Nothing of the job is needed any more."""
        self._over[job] = None

    # --- what follows -----------------------------------------------------------------------------

    def flush(self) -> None:
        """The event was handled."""
        if not (self._touched or self._heard or self._records or self._over):
            return
        if not self._journal:
            self._keep_at_once()
            return
        urgent = self._is_urgent()
        aside = {job.id: self._set_aside(job) for job in self._touched.values() if self._has_too_much(job)}
        for number, kept in self._records.items():
            if number in self._over:
                continue
            job = self._touched.get(number)
            if job is not None and self._wants_snapshot(job, kept):
                job.logged_bytes = 0
                self._persist(number, tuple(job.snapshot()), aside.get(number), whole=True, urgent=urgent)
            else:
                self._persist(number, tuple(kept), aside.get(number), whole=False, urgent=urgent)
        for number in self._over:
            self._persist(number, (), None, whole=True, urgent=urgent)
        promise = _Promise(
            self._issued,
            tuple((job, job.outbox.end, self._submitted.get(job.id)) for job in self._touched.values()),
            tuple((peer, results, results.came) for peer in self._heard if (results := self._results.get(peer))),
        )
        self._records.clear()
        self._touched.clear()
        self._submitted.clear()
        self._heard.clear()
        self._over.clear()
        self._waiting.append(promise)
        self._keep()

    def _is_urgent(self) -> bool:
        """Whether somebody waits for the word that what has just happened is safe."""
        for job in self._touched.values():
            # Who leaves a job behind goes when all is kept. Others wait for values only: what they submit is often kept
            # together with what has come of it.
            handed_in = self._submitted.get(job.id) if job.options.detached else None
            news = job.outbox.awaited > job.outbox.promised or handed_in is not None
            job.outbox.promised = job.outbox.end
            if news and ((handed_in is not None and handed_in.closed) or not self._patient(job)):
                return True
        return any(self._results[worker].eager for worker in self._heard if worker in self._results)

    def _keep_at_once(self) -> None:
        """Nothing is safer for waiting."""
        for job in self._touched.values():
            outbox = job.outbox
            outbox.safe = outbox.end
            submitted = self._submitted.get(job.id)
            if submitted is not None:
                self._are_safe(job, submitted)
            self.tell(job)
        for peer in self._heard:
            results = self._results.get(peer)
            if results is not None:
                results.safe = results.came
                self._tell_kept(peer, results)
        self._touched.clear()
        self._submitted.clear()
        self._heard.clear()
        self._over.clear()

    def persisted(self, count: int) -> None:
        """So many Persist effects are safe."""
        self._safe = max(self._safe, min(count, self._issued))
        self._keep()

    def tell(self, job: Job) -> None:
        """Somebody listens, or listens again: all that is safe and was not said."""
        outbox = job.outbox
        upto = min(outbox.safe, outbox.awaited)
        if not job.attached or outbox.told >= upto:
            return
        if outbox.told >= outbox.here:
            for outcome in outbox.tell(upto):
                self._send(job.client, outcome)
        elif not job.fetching and job.read >= job.fetched_from:
            job.fetching = True
            self._do(Fetch(job.id, outbox.told, outbox.here))

    def fetched(self, job: Job, begin: int, outcomes: Sequence[records.Outcome], problem: str) -> None:
        """Outcomes that had been set aside are back, or cannot be brought back."""
        job.fetching = False
        outbox = job.outbox
        if job.attached and problem:
            job.attached = False
            self._send(job.client, messages.JobRefused(job.id, problem))
        elif job.attached and begin == outbox.told:
            job.fetched_from = begin
            for outcome in outcomes:
                self._send(job.client, outcome)
            outbox.told += len(outcomes)
        self.tell(job)

    def _keep(self) -> None:
        submitted: dict[JobId, tuple[Job, _Submitted | None]] = {}
        told: dict[PeerId, _Results] = {}
        while self._waiting and self._waiting[0].count <= self._safe:
            promise = self._waiting.popleft()
            for job, end, items in promise.jobs:
                job.outbox.safe = max(job.outbox.safe, end)
                submitted[job.id] = (job, items or submitted.get(job.id, (job, None))[1])
            for peer, results, came in promise.results:
                results.safe = came
                told[peer] = results
        for job, items in submitted.values():
            if items is not None:
                self._are_safe(job, items)
            self.tell(job)
        for peer, results in told.items():
            if self._results.get(peer) is results:
                self._tell_kept(peer, results)

    def _tell_kept(self, peer: PeerId, results: _Results) -> None:
        """Say what is safe, if it is enough to be worth a message.

        A worker that keeps too much computes nothing more, so few large ones must not wait for many.
        """
        if results.safe > results.told and (
            results.eager
            or results.safe - results.told >= limits.KEPT_EVERY
            or results.untold_bytes >= limits.UNKEPT_BYTES_MAX // limits.KEPT_EVERY
        ):
            results.told = results.safe
            results.untold_bytes = 0
            self._send(peer, messages.Kept(results.safe))

    def _are_safe(self, job: Job, items: _Submitted) -> None:
        job.safe_items = max(job.safe_items, items.upto)
        job.safe_closed = job.safe_closed or items.closed
        if job.attached:
            self._send(job.client, messages.Submitted(job.id, items.upto, items.closed))

    # --- records ----------------------------------------------------------------------------------

    def _wants_snapshot(self, job: Job, kept: list[Record]) -> bool:
        job.logged_bytes += sum(map(_bytes, kept))
        return job.logged_bytes > limits.SNAPSHOT_MIN_BYTES + 2 * job.kept_bytes

    def _persist(
        self, job: JobId, kept: tuple[Record, ...], aside: _Aside | None, *, whole: bool, urgent: bool
    ) -> None:
        self._issued += 1
        if aside is None:
            self._do(Persist(job, kept, whole, urgent))
        else:
            self._do(Persist(job, kept, whole, urgent, aside.begin, aside.outcomes))

    # --- what memory should not hold ----------------------------------------------------------------

    def _has_too_much(self, job: Job) -> bool:
        return job.options.detached and job.id not in self._over and job.outbox.size_bytes > self._memory_bytes

    def _set_aside(self, job: Job) -> _Aside:
        """Half of what may be in memory stays there: the latest."""
        outbox = job.outbox
        aside = _Aside(outbox.here, tuple(outbox.oldest(outbox.size_bytes - self._memory_bytes // 2)))
        record = records.SetAside(job.id, outbox.here + len(aside.outcomes))
        job.apply(record)
        self._records.setdefault(job.id, []).append(record)
        return aside


def _bytes(record: Record) -> int:
    """What it takes to keep a record, about."""
    size = _RECORD_BYTES
    if isinstance(record, messages.Submit):
        size += len(record.batch.payload.data)
    elif isinstance(record, records.Results):
        size += sum(_RECORD_BYTES + group.size_bytes for group in record.groups)
    elif isinstance(record, messages.Function):
        size += len(record.data)
    return size


_RECORD_BYTES = 100
