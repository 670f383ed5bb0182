"""Records what a controller sees: it stands before the core, takes the same events, and writes a trace.

Records are collected while events are handled, and written in batches by a thread, so that a slow disk delays
nobody. What cannot be written ends the recording with one warning; the run goes on. It must not decide anything:
which results count is known to who reads them, by the rules of the ledger.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import takewhile
from pathlib import Path

from lbnet.core import checks, effects, events
from lbnet.core.controller import Controller
from lbnet.core.effects import Effect
from lbnet.core.events import Event
from lbnet.core.job import Job
from lbnet.protocol import messages
from lbnet.trace.records import Cancelled, Ended, Finished, Opened, Record, Tasks
from lbnet.trace.writer import TraceWriter
from lbnet.types import Group, JobId, Member, PeerId

WRITE_EVERY_S = 0.25
"""Records wait no longer than this to be written: a batch costs the same as a record, and a crash loses little."""

WAITING_RECORDS_MAX = 1_000_000
"""Records that wait for a disk that hangs: some 300 MB. Past it the recording ends."""

_log = logging.getLogger("lbnet.controller")


class Recorder:
    """Hands events to a controller, and records the jobs and results in them.

    Args:
        controller: the decisions.
        path: where the trace will be when it is closed.
    """

    def __init__(self, controller: Controller, path: Path) -> None:
        self._controller = controller
        self._path = path
        self._writer: TraceWriter | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lbnet-trace")
        self._writing: Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: list[Record] = []
        self._open: dict[JobId, Job] = {}
        self._began_at: float | None = None
        self._now = 0.0

    def open(self) -> None:
        """Begin to record.

        Raises:
            UsageError: the trace cannot be written there; the sentence says why.
        """
        self._writer = TraceWriter(self._path)

    def close(self) -> None:
        """Write what is left, and make the trace whole. Jobs that have not ended are marked ``running``."""
        if self._writer is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._look_for_ended(last=True)
        try:
            if self._writing is not None:
                self._writing.result()
            self._writer.write(self._waiting)
            self._writer.finish()
        except OSError as error:
            self._give_up(error)
        self._writer = None
        self._thread.shutdown()

    def handle(self, event: Event, now: float) -> list[Effect]:
        """What :meth:`Controller.handle` does, recorded."""
        if self._writer is None:
            return self._controller.handle(event, now)
        if self._began_at is None:
            self._began_at = now
        self._now = now
        message = event.message if isinstance(event, events.Received) else None
        opens = isinstance(message, messages.OpenJob) and self._controller.job(message.job) is None
        if isinstance(event, events.Received) and isinstance(message, messages.Result):
            self._on_result(event.peer, message)
        done = self._controller.handle(event, now)
        if opens and isinstance(message, messages.OpenJob):
            self._on_opened(message.job)
        elif isinstance(message, messages.Cancel) or isinstance(event, events.Persisted):  # that is when it is told
            self._on_cancelled(done)
        if self._timer is None and (self._waiting or self._open):
            self._wait()
        return done

    # --- what is recorded -------------------------------------------------------------------------

    def _on_opened(self, number: JobId) -> None:
        job = self._controller.job(number)
        if job is not None:
            options = job.options
            self._open[job.id] = job
            self._waiting.append(
                Opened(
                    job.id,
                    options.name,
                    options.strategy,
                    options.placement,
                    bool(options.reduce),
                    self._since(job.opened_at),
                )
            )

    def _on_result(self, peer: PeerId, message: messages.Result) -> None:
        """The groups that the core is about to commit: it ignores those of a job that has ended, and what is bad."""
        job = self._open.get(message.job)
        if job is None or job.ended_at is not None:
            return

        def is_good(group: Group) -> bool:
            return checks.problem_of_group(group, job.id, job.options.reduce, job.functions) is None

        self._waiting.extend(
            Finished(
                job.id,
                peer,
                group.kind,
                # A nanosecond is far below what a clock can tell, and half as long to write.
                round(checks.plausible_s(group.seconds), 9),
                tuple(map(_tasks_of, group.members)),
            )
            for group in takewhile(is_good, message.groups)
        )

    def _on_cancelled(self, done: list[Effect]) -> None:
        for effect in done:
            if isinstance(effect, effects.Send) and isinstance(effect.message, messages.Cancelled):
                self._waiting.append(Cancelled(effect.message.job, effect.message.lo, effect.message.hi))

    def _look_for_ended(self, *, last: bool = False) -> None:
        for job in list(self._open.values()):
            if job.ended_at is not None or last:
                del self._open[job.id]
                at = self._now if job.ended_at is None else job.ended_at
                self._waiting.append(Ended(job.id, job.state, job.ledger.submitted, job.slots, self._since(at)))

    def _since(self, at: float) -> float:
        return round(at - (self._began_at or 0.0), 6)

    # --- writing ----------------------------------------------------------------------------------

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(WRITE_EVERY_S, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        writer = self._writer
        if writer is None:
            return
        self._look_for_ended()
        if self._writing is not None and not self._writing.done():
            if len(self._waiting) > WAITING_RECORDS_MAX:
                self._give_up(TimeoutError(0, f"{len(self._waiting)} records wait for the disk"))
            else:
                self._wait()
            return
        try:
            if self._writing is not None:
                self._writing.result()
        except OSError as error:
            self._give_up(error)
            return
        waiting, self._waiting = self._waiting, []
        self._writing = self._thread.submit(writer.write, waiting) if waiting else None

    def _give_up(self, error: OSError) -> None:
        """Nothing is recorded any more; what could be written stays where it is."""
        writer, self._writer = self._writer, None
        assert writer is not None
        self._waiting.clear()
        self._open.clear()
        # Behind a write that may still hang, so not here.
        self._thread.submit(writer.abandon)
        self._thread.shutdown(wait=False)
        _log.warning(
            "recording to %s has stopped (%s), the run goes on; what was recorded until then is in %s",
            writer.path,
            error.strerror or error,
            writer.part,
        )


def _tasks_of(member: Member) -> Tasks:
    children = member.children[-1].hi if member.children else 0
    if member.origin == 0:
        return Tasks(member.lo, member.hi, run=member.run, children=children)
    return Tasks(member.lo, member.hi, member.origin, member.parent_origin, member.parent_index, member.run, children)
