"""What a slot process has to tell its worker, and when it is due. It must not know how tasks run.

Two threads use it: the one that runs tasks, and the :class:`~lbnet.pool.helper.Helper` that sends
what waits while a long task runs. ``lock`` guards all but ``finished.append``, which is one step
by itself, so that a finished task costs no lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from lbnet import limits
from lbnet.pool import wire
from lbnet.pool.results import Combined, groups_of
from lbnet.protocol.framing import frame
from lbnet.types import Group


class Outbox:
    """Results and spawned batches on their way to the worker.

    Args:
        send: takes bytes for the worker, and returns when they are in the pipe.
        clock: seconds, monotonic.
        where: host and process, for failures.
    """

    def __init__(self, send: Callable[[bytes], None], clock: Callable[[], float], where: str) -> None:
        self.lock = threading.RLock()
        self.finished: list[Any] = []
        self.flushed_at = -limits.RESULT_FLUSH_S
        self._send = send
        self._clock = clock
        self._where = where
        self._frames: list[bytes] = []
        self._groups: list[Group] = []
        self._run: wire.Run | None = None
        self._upto = 0
        self._told_upto = 0
        self._combined: Combined | None = None
        # Time accounting: seconds of tasks that are finished and not yet reported, the moment up to
        # which time is attributed, the tasks that had finished at it, and the mean of the last group.
        self._seconds = 0.0
        self._mark = 0.0
        self._counted = 0
        self._mean_s = 0.0

    # --- a ticket, from the running thread -----------------------------------------------------

    def begin(self, run: wire.Run) -> None:
        """A ticket begins."""
        with self.lock:
            assert self._run is None, "one ticket at a time"
            self._run = run
            self._upto = self._told_upto = run.batch.lo
            self._combined = Combined(run.batch, self._where)
            self._seconds = 0.0
            self._counted = 0
            self._mark = self._clock()

    def group_began(self) -> float:
        """A group of tasks begins now; the time since the last one was not theirs. Returns now."""
        self._mark = now = self._clock()
        return now

    def group_ended(self, tasks: int, left: int) -> float:
        """A group of so many tasks is over: flush if it is time. Returns the seconds that one of them took.

        If the ``left`` tasks of the ticket will soon be over, too, everything leaves with its end. The time that the
        helper has attributed meanwhile is not counted again.
        """
        now = self._clock()
        with self.lock:
            elapsed = now - self._mark
            self._seconds += elapsed
            self._counted = len(self.finished)
            self._mark = now
            mean_s = self._mean_s = elapsed / tasks
            since_s = now - self.flushed_at
            if since_s >= limits.RESULT_FLUSH_S and since_s + left * mean_s > limits.REPORT_LATEST_S:
                self.flush(now)
        return mean_s

    def fold(self, index: int, value: Any, reduce: Callable[[Any, Any], Any]) -> None:
        """Add a spawned task's value to the combined one. The caller holds the lock, and appends ``FOLDED``."""
        assert self._combined is not None
        self._groups += self._combined.fold(index, value, reduce)

    def end(self, ran_to: int) -> None:
        """The ticket is over: everything of it leaves now."""
        with self.lock:
            assert self._run is not None
            self._collect(self._clock())
            self._tell()
            self.queue(wire.Finished(self._run.ticket, ran_to))
            self._run = self._combined = None
            self.send()
            self.flushed_at = self._clock()

    # --- both threads; the lock is held --------------------------------------------------------

    @property
    def pending(self) -> bool:
        """Whether results wait here."""
        return bool(self.finished or self._groups) or self._upto > self._told_upto

    def queue(self, message: Any) -> None:
        """Keep a message for the next :meth:`send`; the order of messages is kept."""
        self._frames.append(frame(wire.CODEC.encode(message)))

    def send(self) -> None:
        """Send what was queued."""
        if self._frames:
            data = b"".join(self._frames)
            self._frames.clear()
            self._send(data)

    def flush(self, now: float) -> None:
        """Send all results of finished tasks."""
        self.flushed_at = now
        self._collect(now)
        self._tell()
        self.send()

    def _collect(self, now: float) -> None:
        """Turn finished entries to groups."""
        count = len(self.finished)
        if not count or self._run is None:
            return
        assert self._combined is not None
        entries = self.finished[:count]
        del self.finished[:count]
        # In the middle of a group nobody knows how its time is shared: the finished tasks count as in
        # the group before, and the running one gets the rest, so that the sum is right.
        early = min(max(count - self._counted, 0) * self._mean_s, max(now - self._mark, 0.0))
        self._mark += early
        seconds, self._seconds = self._seconds + early, 0.0
        self._counted = 0
        self._groups += groups_of(self._run.batch, self._upto, entries, seconds, self._combined)
        self._upto += count

    def _tell(self) -> None:
        if self._run is None:
            return
        assert self._combined is not None
        groups, self._groups = self._groups + self._combined.take(), []
        part: list[Group] = []
        size = 0
        for group in groups:
            if part and size + len(group.data) > limits.LINK_BUFFER_HIGH_BYTES:
                self.queue(wire.Done(self._run.ticket, self._told_upto, tuple(part)))
                part, size = [], 0
            part.append(group)
            size += len(group.data)
        if part or self._upto > self._told_upto:
            self._told_upto = self._upto
            self.queue(wire.Done(self._run.ticket, self._upto, tuple(part)))
