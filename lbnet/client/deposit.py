"""Waits until all of a job is safe at the controller, for one who does not wait for their values."""

from __future__ import annotations

import threading

from lbnet.client.standing import Delivery, Lost, Safe
from lbnet.client.window import Window
from lbnet.errors import ConnectionLostError, LbnetError, NoWorkersError, UsageError
from lbnet.protocol.messages import JobDone, JobRefused


class Deposit:
    """Takes what comes for a job that was only handed in, and accounts for it.

    Args:
        window: holds the input back; an item that is safe leaves it.
    """

    def __init__(self, window: Window) -> None:
        self._window = window
        self._safe = 0
        self._error: LbnetError | None = None
        self._closed = False
        self._ended = False
        self._changed = threading.Condition()

    def put(self, message: Delivery) -> None:
        """Called in the link's thread."""
        with self._changed:
            if isinstance(message, Safe):
                items, self._safe = message.upto - self._safe, message.upto
                self._closed = self._closed or message.closed
                self._window.safe(message.size_bytes)
                self._window.arrived(items, 0)
                self._window.consumed(items, 0)
            elif isinstance(message, JobDone):
                self._ended = True
            elif isinstance(message, JobRefused):
                self._error = UsageError(message.reason)
            elif isinstance(message, Lost):
                self._error = ConnectionLostError(message.reason)
            else:
                return
            if self._ended or self._error is not None:
                self._window.close()
            self._changed.notify_all()

    def wait(self, count: int, *, closed: bool) -> None:
        """Wait until ``count`` items are safe, all that there are; with ``closed``, and the word that they are.

        Raises:
            UsageError: the job was refused.
            ConnectionLostError: the controller is out of reach, or knows the job no more.
            NoWorkersError: the controller ended it before all of them came.
        """
        with self._changed:
            self._changed.wait_for(
                # A job without items is done as soon as it is closed.
                lambda: self._error is not None or self._ended or (self._closed if closed else 0 < count <= self._safe)
            )
        if self._error is not None:
            raise self._error
        if self._safe < count:
            raise NoWorkersError("the controller ended the job before all of its items were sent")
