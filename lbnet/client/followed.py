"""The jobs whose tasks' output a client wants as it comes, over as many links as it takes.

It must not know what the output is shown on. May be used from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from lbnet.errors import UsageError
from lbnet.protocol.credit import Reading
from lbnet.protocol.messages import Follow, Printed
from lbnet.types import JobId

Sink = Callable[[Printed], None]
"""Takes what comes, in the link's thread. Who has really read it says so by :meth:`Followed.read`."""


class Followed:
    """One reader a job."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers: dict[JobId, tuple[Sink, Reading]] = {}

    def begin(self, job: JobId, sink: Sink) -> Follow:
        """Follow a job. Returns what to say.

        Raises:
            UsageError: it is followed already.
        """
        with self._lock:
            if job in self._readers:
                raise UsageError(f"the output of job {job} is followed already by this client")
            self._readers[job] = sink, Reading()
        return Follow(job, True, 0)

    def end(self, job: JobId) -> Follow:
        """No more of it. Returns what to say."""
        with self._lock:
            self._readers.pop(job, None)
        return Follow(job, False, 0)

    def heard(self, message: Printed) -> None:
        """Something came."""
        with self._lock:
            reader = self._readers.get(message.job)
        if reader is not None:
            reader[0](message)

    def read(self, job: JobId, size_bytes: int) -> Follow | None:
        """So much of what came has been read. Returns what to say, None while it is not worth a message."""
        with self._lock:
            reader = self._readers.get(job)
            heard = None if reader is None else reader[1].read(size_bytes)
        return None if heard is None else Follow(job, True, heard)

    def anew(self) -> list[Follow]:
        """There is a new link: what to say on it."""
        with self._lock:
            self._readers = {job: (sink, Reading()) for job, (sink, _) in self._readers.items()}
            return [Follow(job, True, 0) for job in self._readers]
