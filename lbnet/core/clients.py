"""What clients want of the controller: jobs that open and grow, are cancelled, left alone, come back to, and taken.

It must not know workers, or how tasks get to them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lbnet.core import checks, effects
from lbnet.core.effects import Effect
from lbnet.core.job import Job
from lbnet.core.jobs import Jobs
from lbnet.core.promises import Promises
from lbnet.protocol import messages, records
from lbnet.types import ROOT, JobId, PeerId


class Clients:
    """The clients that are connected, those that may come back, and what they say of their jobs.

    Args:
        jobs: all of them.
        promises: takes what happens to them.
        problem_of: why the strategy of this name cannot be used; None if it can.
        slots: how many there are now.
        do: takes an effect.
        send: takes a message for a peer.
        strategy: for jobs that do not say.
        placement: for jobs that do not say.
        grace_s: how long a client whose link broke may be away before its jobs are cancelled.
    """

    def __init__(
        self,
        jobs: Jobs,
        promises: Promises,
        *,
        problem_of: Callable[[str], str | None],
        slots: Callable[[], int],
        do: Callable[[Effect], None],
        send: Callable[[PeerId, messages.Message], None],
        strategy: str,
        placement: str,
        grace_s: float,
    ) -> None:
        self._jobs = jobs
        self._promises = promises
        self._problem_of = problem_of
        self._slots = slots
        self._do = do
        self._send = send
        self._strategy = strategy
        self._placement = placement
        self._grace_s = grace_s
        self._connected: set[PeerId] = set()
        self._gone: dict[PeerId, float] = {}
        self._trouble = ""
        self._now = 0.0

    def __len__(self) -> int:
        """How many are connected."""
        return len(self._connected)

    def __contains__(self, peer: PeerId) -> bool:
        """Whether this client is connected."""
        return peer in self._connected

    # --- who is there -----------------------------------------------------------------------------

    def joined(self, peer: PeerId) -> None:
        """A client is there, or back."""
        self._connected.add(peer)
        self._gone.pop(peer, None)
        if self._trouble:
            self._send(peer, messages.Notice(self._trouble))

    def left(self, peer: PeerId, now: float, *, on_purpose: bool) -> None:
        """A client closed its link, or lost it."""
        self._now = now
        self._connected.discard(peer)
        for job in self._jobs.all():
            if job.client == peer:
                job.attached = False
        if on_purpose:
            self._give_up_jobs(peer)
        else:
            self._gone[peer] = now + self._grace_s

    def in_trouble(self, text: str, *, over: bool) -> None:
        """Nothing can be kept now, or it can again: whoever waits shall know why."""
        self._trouble = "" if over else text
        for peer in self._connected:
            self._send(peer, messages.Notice(text))

    def expect(self, peer: PeerId, now: float) -> None:
        """This client was there before the controller was started again."""
        self._gone[peer] = now + self._grace_s

    def look(self, now: float) -> float | None:
        """Clients that were away for too long are gone. Returns when the next one will be."""
        if not self._gone:
            return None
        self._now = now
        for client in [client for client, at in self._gone.items() if now >= at]:
            self._give_up_jobs(client)
        return min(self._gone.values(), default=None)

    def _give_up_jobs(self, client: PeerId) -> None:
        """A client will not come back: nobody wants what comes of its jobs, but of those that are detached."""
        self._gone.pop(client, None)
        for job in [job for job in self._jobs.all() if job.client == client]:
            if job.options.detached:
                continue
            if job.id in self._jobs.running:
                self._jobs.end(job, "cancelled", "", self._now)
            if len(job.outbox):
                self._jobs.take(job, job.outbox.end)

    # --- what they say ------------------------------------------------------------------------------

    def hears(self, kind: type[messages.Message]) -> bool:
        """Whether a message of this kind is for :meth:`handle`."""
        return kind in _HANDLERS

    def handle(self, peer: PeerId, message: messages.Message, now: float) -> None:
        """A message from a client that is connected."""
        self._now = now
        _HANDLERS[type(message)](self, peer, message)

    def _on_open_job(self, peer: PeerId, message: messages.OpenJob) -> None:
        known = self._jobs.get(message.job)
        if known is not None and known.client == peer and known.state == "refused":
            self._refuse(known)  # the first answer was lost with its link
            return
        if known is not None:
            self._do(effects.Disconnect(peer, f"job {message.job} exists already"))
            return
        options = replace(
            message.options,
            placement=message.options.placement or self._placement,
            strategy=message.options.strategy or self._strategy,
        )
        number = self._jobs.next_number()
        opened = records.Opened(message.job, peer, number, options, self._now, self._slots())
        job = Job(opened)
        if self._problem_of(options.strategy) is None:
            job.attached = True
            self._jobs.open(job, opened)
            return
        self._jobs.refuse(job, self._now)
        self._refuse(job)

    def _refuse(self, job: Job) -> None:
        problem = self._problem_of(job.options.strategy)
        self._send(job.client, messages.JobRefused(job.id, f"the controller knows no such strategy: {problem}"))

    def _on_function(self, peer: PeerId, message: messages.Function) -> None:
        job = self._own_job(peer, message.job)
        if job is not None and message.digest not in job.functions:
            self._promises.happens(job, message)

    def _on_submit(self, peer: PeerId, message: messages.Submit) -> None:
        batch = message.batch
        job = self._own_job(peer, batch.job)
        if job is None:
            return
        payload = batch.payload
        in_order = batch.origin == ROOT and batch.lo == payload.base == job.ledger.submitted
        known = checks.problem_of_batch(batch, job.functions) is None
        known = known and (not job.options.reduce or job.options.reduce in job.functions)
        if not in_order or len(batch) != payload.count or not known or job.total is not None:
            self._do(effects.Disconnect(peer, f"items of job {batch.job} came out of order or without their function"))
            return
        self._promises.happens(job, message)
        self._promises.submitted(job)
        self._jobs.submitted(job)

    def _on_close_job(self, peer: PeerId, message: messages.CloseJob) -> None:
        job = self._own_job(peer, message.job)
        if job is None:
            return
        if message.total != job.ledger.submitted:
            self._do(effects.Disconnect(peer, f"job {message.job} was closed with a wrong total"))
            return
        self._promises.happens(job, message)
        if job.options.detached:
            self._promises.submitted(job)  # whoever hands it in waits for this, and leaves
        self._jobs.end_if_complete(job, self._now)

    def _on_cancel(self, peer: PeerId, message: messages.Cancel) -> None:
        job = self._own_job(peer, message.job)
        if job is None:
            return
        if message.lo <= 0 and message.hi >= job.ledger.submitted:
            self._jobs.end(job, "cancelled", "", self._now)
            return
        lo, hi = max(message.lo, 0), min(message.hi, job.ledger.submitted)
        if lo >= hi:
            return
        self._promises.happens(job, records.Dropped(job.id, lo, hi))
        self._jobs.withdrawn(job, lo, hi)
        self._jobs.end_if_complete(job, self._now)

    def _on_attach(self, peer: PeerId, message: messages.Attach) -> None:
        """A client is back, or a new one wants a job that was left to itself."""
        job = self._jobs.get(message.job)
        owned = job is not None and job.client in self._connected and not job.options.detached
        over = job is not None and job.id not in self._jobs.running and not len(job.outbox)
        if job is None or over or job.state == "refused":
            text = "the controller knows no such job: it ended and was taken, or the controller began anew without it"
            self._send(peer, messages.JobRefused(message.job, text))
            return
        if job.client != peer:
            if owned:
                self._send(peer, messages.JobRefused(job.id, "the job is another client's, which is connected"))
                return
            self._promises.happens(job, records.Owned(job.id, peer))
        job.attached = True
        job.outbox.rewind(message.seen)
        job.read = job.fetched_from = job.outbox.told
        closed = job.total is not None
        self._send(peer, messages.Attached(job.id, job.ledger.submitted, closed, job.outbox.told))
        self._send(peer, messages.Submitted(job.id, job.safe_items, job.safe_closed))
        self._promises.tell(job)

    def _on_taken(self, peer: PeerId, message: messages.Taken) -> None:
        job = self._jobs.get(message.job)
        if job is None:
            return
        if job.client != peer:
            return  # it was this client's
        if message.upto > job.outbox.told:
            self._do(effects.Disconnect(peer, f"outcomes of job {message.job} were taken that were not given"))
            return
        self._jobs.take(job, message.upto)

    def _on_read(self, peer: PeerId, message: messages.Read) -> None:
        job = self._jobs.get(message.job)
        if job is not None and job.client == peer:
            job.read = max(job.read, message.upto)
            self._promises.tell(job)

    def _own_job(self, peer: PeerId, number: JobId) -> Job | None:
        """The running job of this client. What comes for one that has ended is late, and ignored."""
        job = self._jobs.running.get(number)
        if job is not None and job.client == peer:
            return job
        if job is not None or number not in self._jobs.ended:
            self._do(effects.Disconnect(peer, f"job {number} is not yours"))
        return None


_HANDLERS: dict[type, Callable[[Clients, PeerId, Any], None]] = {
    messages.OpenJob: Clients._on_open_job,
    messages.Function: Clients._on_function,
    messages.Submit: Clients._on_submit,
    messages.CloseJob: Clients._on_close_job,
    messages.Cancel: Clients._on_cancel,
    messages.Attach: Clients._on_attach,
    messages.Taken: Clients._on_taken,
    messages.Read: Clients._on_read,
}
