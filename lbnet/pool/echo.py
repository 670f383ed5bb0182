"""Shows what tasks print on the worker's own standard error, where people look first. Nobody waits for it.

A terminal may stand still, and a log may be slow: a thread writes, and what it cannot write in time is left out.
"""

from __future__ import annotations

import contextlib
import os
import threading

from lbnet import limits


class Echo:
    """Writes to a descriptor, in a thread that is started when there is something to write.

    Args:
        fd: where to.
    """

    def __init__(self, fd: int = 2) -> None:
        self._fd = fd
        self._wake = threading.Condition()
        self._waiting: list[bytes] = []
        self._size_bytes = 0
        self._dropped = 0
        self._stopping = False
        self._thread: threading.Thread | None = None

    def show(self, data: bytes) -> None:
        """Write this when the time comes. Never blocks, never raises."""
        with self._wake:
            if self._stopping:
                return
            if self._size_bytes + len(data) > limits.OUTPUT_ECHO_BYTES:
                self._dropped += len(data)
                return
            self._waiting.append(data)
            self._size_bytes += len(data)
            self._wake.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="lbnet-echo", daemon=True)
                with contextlib.suppress(RuntimeError):  # no more threads: then nothing is shown
                    self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Write what waits, and end; give up after ``timeout_s``."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(timeout_s)

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._stopping:
                    self._wake.wait()
                data = b"".join(self._waiting)
                if self._dropped:
                    data += b"\nlbnet: %d bytes of output were not shown here\n" % self._dropped
                self._waiting.clear()
                self._size_bytes = self._dropped = 0
            if not data:
                return
            self._write(data)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        with contextlib.suppress(OSError):  # closed: nobody looks
            while view:
                view = view[os.write(self._fd, view) :]
