"""The jobs that the controller knows: those that run, those that have ended, and which of them governs.

It must not know who is connected, or where tasks are.
"""

from __future__ import annotations

from collections.abc import Callable

from lbnet import limits
from lbnet.core.balancer import Balancer
from lbnet.core.job import Job
from lbnet.core.promises import Promises
from lbnet.protocol import messages, records
from lbnet.types import JobId


class Jobs:
    """All jobs, from their opening until nobody can ask for them any more.

    Args:
        promises: takes what happens to them.
        balancer: told which strategy is in force.
        ended: told of each job that has just ended.
        withdrawn: told of items of a running job that nobody wants any more.
    """

    def __init__(
        self,
        promises: Promises,
        balancer: Balancer,
        *,
        ended: Callable[[Job], None],
        withdrawn: Callable[[Job, int, int], None],
    ) -> None:
        self.running: dict[JobId, Job] = {}
        """In the order in which the backlog is handed out."""
        self.ended: dict[JobId, Job] = {}
        """The oldest first."""
        self._promises = promises
        self._balancer = balancer
        self._tell_ended = ended
        self.withdrawn = withdrawn
        self._governing: Job | None = None
        self._opened = 0
        self._pressing: dict[JobId, Job] = {}

    def get(self, job: JobId) -> Job | None:
        """A job that is running or has ended."""
        return self.running.get(job) or self.ended.get(job)

    def all(self) -> list[Job]:
        """Those that have ended, then those that run."""
        return [*self.ended.values(), *self.running.values()]

    # --- beginnings -------------------------------------------------------------------------------

    def next_number(self) -> int:
        """The number of a job that is being opened: later ones have higher ones."""
        self._opened += 1
        return self._opened

    def open(self, job: Job, opened: records.Opened) -> None:
        """A new job, by this record."""
        self.running[job.id] = job
        self._promises.began(job, opened)

    def refuse(self, job: Job, now: float) -> None:
        """A job that cannot run: it is kept for its report only."""
        job.state, job.ended_at = "refused", now
        self._remember(job)

    def restore(self, kept: list[Job], now: float) -> None:
        """Those of a journal. What was in it is safe."""
        for job in kept:
            job.outbox.safe = job.outbox.end
            job.safe_items = job.ledger.submitted
            job.safe_closed = job.total is not None
            job.opened_at = min(job.opened_at, now)  # a machine's clock begins anew when it does
            self._opened = max(self._opened, job.number)
            (self.running if job.state == "running" else self.ended)[job.id] = job
        for job in list(self.running.values()):
            self.end_if_complete(job, now)
        if self.running:
            self._govern_anew()

    # --- which comes first ------------------------------------------------------------------------

    def in_order(self) -> list[Job]:
        """Those that run, the highest priority first; of equals, whoever is next in line."""
        jobs = list(self.running.values())
        if len(jobs) > 1 and any(job.options.priority for job in jobs):
            jobs.sort(key=lambda job: -job.options.priority)
        return jobs

    def presses(self, job: Job) -> bool:
        """Whether workers may be busy with tasks of others that this job's come before: they will not ask soon."""
        priority = job.options.priority
        return any(other.options.priority < priority and not other.ledger.empty for other in self.running.values())

    def submitted(self, job: Job) -> None:
        """It has more items."""
        self.govern(job)
        if self.presses(job):
            self._pressing[job.id] = job

    def take_pressing(self) -> list[Job]:
        """Jobs of which items came, since this was last asked, that nobody should wait for others with."""
        if not self._pressing:
            return []
        pressing, self._pressing = [job for job in self._pressing.values() if job.backlog], {}
        return pressing

    # --- which strategy -----------------------------------------------------------------------------

    def govern(self, job: Job) -> None:
        """The strategy of the highest job that has tasks is the one in force: of equals, the one opened last."""
        governing = self._governing
        if governing is None or governing.ledger.empty or _rank(job) > _rank(governing):
            self._governing = governing = job
        self._balancer.govern(governing.options.strategy, work=True)

    def _govern_anew(self) -> None:
        """A job has ended: the strategy of another one may be in force again."""
        working = [job for job in self.running.values() if not job.ledger.empty]
        self._governing = max(working, key=_rank, default=None)
        name = self._balancer.name if self._governing is None else self._governing.options.strategy
        self._balancer.govern(name, work=self._governing is not None)

    # --- ends -------------------------------------------------------------------------------------

    def end_if_complete(self, job: Job, now: float) -> None:
        """All of its tasks may have their outcomes now."""
        if job.id not in self.running:
            return
        if job.complete:
            self.end(job, "done", "", now)
        elif job is self._governing and job.ledger.empty:
            self._govern_anew()

    def end(self, job: Job, state: str, reason: str, now: float, kind: str = "") -> None:
        """A running job is ``done``, ``failed`` or ``cancelled``; a reason is for people, ``kind`` for programs."""
        del self.running[job.id]
        self._promises.happens(job, records.Ended(job.id, state, reason, now, kind))
        self._remember(job)
        if job is self._governing:
            self._govern_anew()
        self._tell_ended(job)

    def take(self, job: Job, upto: int) -> None:
        """The first so many outcomes are not needed any more."""
        if upto > job.outbox.taken:
            self._promises.happens(job, messages.Taken(job.id, upto))
        if job.id not in self.running and not len(job.outbox):
            self._promises.over(job.id)

    def _remember(self, job: Job) -> None:
        """Keep the report of a job that has ended; and the job, until its client has taken what came of it."""
        self.ended[job.id] = job
        if len(self.ended) > limits.REPORTS_KEPT:
            oldest = next((number for number, ended in self.ended.items() if not len(ended.outbox)), None)
            if oldest is not None:
                del self.ended[oldest]


def _rank(job: Job) -> tuple[int, int]:
    return job.options.priority, job.number
