"""Between the link's thread and the reader of one map. It must not know what values are."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass

from lbnet.client.standing import Delivery, Lost, Safe
from lbnet.client.window import Window
from lbnet.protocol import messages


@dataclass(frozen=True, slots=True)
class Closed:
    """Nobody wants more values: ``reason`` is empty if that is what the consumer said."""

    reason: str


class Inbox:
    """Where the link's thread leaves the messages of one map, and accounts for their size."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._queue: queue.SimpleQueue[Delivery | Closed] = queue.SimpleQueue()
        self.ended = threading.Event()
        """Nothing more will come."""

    def put(self, message: Delivery) -> None:
        """Called in the link's thread."""
        if isinstance(message, Safe):
            self._window.safe(message.size_bytes)
            return
        if isinstance(message, messages.Values):
            # An item that is still open is counted when it is settled.
            self._window.arrived(0 if message.open else message.hi - message.lo, len(message.data))
        elif isinstance(message, messages.Partial):
            self._window.arrived(0, len(message.data))
        elif isinstance(message, messages.Failed | messages.Settled):
            self._window.arrived(1, 0)
        self._queue.put(message)
        if isinstance(message, messages.JobDone | messages.JobRefused | Lost):
            self.ended.set()

    def close(self, reason: str) -> None:
        """Let nobody wait for what will not come, because of ``reason``."""
        if not self.ended.is_set():
            self._queue.put(Closed(reason))
            self.ended.set()

    def get(self, timeout_s: float | None) -> Delivery | Closed:
        """The next message.

        Raises:
            queue.Empty: none came in time.
        """
        return self._queue.get(timeout=timeout_s)
