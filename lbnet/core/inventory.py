"""Who holds what: the question that is asked when a worker is lost or nothing moves any more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from lbnet.core.job import Job
from lbnet.core.ranges import RangeSet
from lbnet.types import Batch, JobId, PeerId, RunId, Span


@dataclass(slots=True)
class InventoryRound:
    """One round: it ends when every worker that was asked has answered or left.

    What the controller places while it waits counts as held: the answer of a worker that was asked
    before the work reached it does not list it. ``cause``: why it was asked, for people.
    """

    number: int
    pending: set[PeerId]
    cause: str = ""
    _held: dict[tuple[JobId, RunId], RangeSet] = field(default_factory=dict)

    def answered(self, worker: PeerId, spans: Iterable[Span]) -> None:
        """A worker listed what it holds."""
        if worker in self.pending:
            self.pending.discard(worker)
            for span in spans:
                self._hold(span.job, span.origin, span.lo, span.hi)

    def placed(self, batches: Iterable[Batch]) -> None:
        """Work left the controller during the round."""
        for batch in batches:
            self._hold(batch.job, batch.origin, batch.lo, batch.hi)

    def missing(self, job: Job) -> list[tuple[RunId, int, int]]:
        """Outstanding tasks of a job that nobody holds, as ranges by origin."""
        here: dict[RunId, RangeSet] = {}
        for batch in job.backlog:
            here.setdefault(batch.origin, RangeSet()).add(batch.lo, batch.hi)
        for origin, lo, hi in job.ledger.held():
            here.setdefault(origin, RangeSet()).add(lo, hi)
        missing: list[tuple[RunId, int, int]] = []
        for origin, lo, hi in job.ledger.outstanding_ranges():
            lost = RangeSet([(lo, hi)])
            for holder in (here.get(origin), self._held.get((job.id, origin))):
                for left, right in holder.overlap(lo, hi) if holder else ():
                    lost.remove(left, right)
            missing.extend((origin, left, right) for left, right in lost)
        return missing

    def _hold(self, job: JobId, origin: RunId, lo: int, hi: int) -> None:
        self._held.setdefault((job, origin), RangeSet()).add(lo, hi)
