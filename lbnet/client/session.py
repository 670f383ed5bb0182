"""What a client and the views on it share, and how it ends: with the client, its work, or the interpreter."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from concurrent.futures import wait

from lbnet.client.calls import Calls
from lbnet.client.connection import Connection
from lbnet.client.local_cluster import LocalCluster
from lbnet.client.output import Echo
from lbnet.client.results import Stream


class Session:
    """What a client, the views on it, and its unfinished work share: one link, and perhaps a cluster of their own.

    It is closed, at the latest, when none of them is left.
    """

    def __init__(self, connection: Connection, cluster: LocalCluster | None, *, own: bool) -> None:
        self.connection = connection
        # The workers of a local cluster write to this process's standard error anyway.
        self.echo = Echo(connection, on=cluster is None)
        self.calls = Calls(connection, self.echo.opened)
        self.streams: weakref.WeakSet[Stream] = weakref.WeakSet()
        self.open = True
        self.cluster = cluster
        self._lock = threading.Lock()
        self._close = weakref.finalize(self, _close, connection, self.calls, self.echo, cluster if own else None)
        self._close.atexit = False
        self._closed = threading.Event()
        _open_sessions.add(self)
        # The last that is registered runs first: before the hooks that end clusters nobody closed.
        atexit.unregister(_finish_sessions)
        atexit.register(_finish_sessions)

    def stop_taking(self) -> bool:
        """Take no more work. Returns whether this was the first to say so, who then must call :meth:`finish`."""
        with self._lock:
            first, self.open = self.open, False
        return first

    def cancel(self) -> None:
        """Cancel the calls that are not done."""
        for future in self.calls.pending():
            future.cancel()

    def finish(self, *, maps: bool) -> None:
        """Wait for all calls, and for maps that end unless nobody will look at their values; then close."""
        try:
            for stream in () if maps else list(self.streams):
                stream.close(because_of_client=True)
            wait(self.calls.pending())
            for stream in list(self.streams):
                stream.finish()
        finally:
            self.close()

    def close(self) -> None:
        """Close, whatever is not done."""
        self.open = False
        for stream in list(self.streams):
            stream.close(because_of_client=True)
        self.calls.close()
        self._close()
        _open_sessions.discard(self)
        self._closed.set()

    def wait_closed(self) -> None:
        """Wait until somebody else has closed it."""
        self._closed.wait()


def _close(connection: Connection, calls: Calls, echo: Echo, cluster: LocalCluster | None) -> None:
    echo.finish()
    connection.close()
    calls.stop()
    if cluster is not None:
        cluster.close()


_open_sessions: weakref.WeakSet[Session] = weakref.WeakSet()

os.register_at_fork(after_in_child=_open_sessions.clear)  # the links are the parent's


def _finish_sessions() -> None:
    """As with other executors, calls that were submitted are done when the interpreter ends."""
    for session in list(_open_sessions):
        session.stop_taking()
        session.finish(maps=False)
