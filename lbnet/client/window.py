"""How far the input of one map may be ahead of its consumer: in tasks, and in bytes. It must not know what they are."""

from __future__ import annotations

import threading

from lbnet import limits

_PRIOR_RESULTS = 64
_PRIOR_RESULT_BYTES = 4 << 10
"""Before results have come, one is taken to be this large, so that not too many are asked for at once."""


class Window:
    """Credit between a feeder, the link's thread, and a consumer.

    Bytes that count are those of inputs whose results have not come, of results that have come and were not
    consumed, and what the results still to come will probably take. Inputs that may have to be sent again
    are held here; they count as they are, and not as the mean of all.

    Args:
        tasks_max: items that were sent and not consumed.
        bytes_max: see above. One payload may always go when nothing is on its way.
    """

    def __init__(
        self, tasks_max: int = limits.CLIENT_TASKS_WINDOW, bytes_max: int = limits.CLIENT_BYTES_WINDOW
    ) -> None:
        self._tasks_max = tasks_max
        self._bytes_max = bytes_max
        self._changed = threading.Condition()
        self._sent = 0
        self._sent_bytes = 0
        self._arrived = 0
        self._arrived_bytes = 0
        self._consumed = 0
        self._consumed_bytes = 0
        self._held_bytes = 0
        self._open = True
        self._limited = True

    @property
    def arrivals(self) -> int:
        """How many results have come."""
        return self._arrived

    def wait(self) -> bool:
        """Block until another payload may be sent; False when the consumer is gone."""
        with self._changed:
            self._changed.wait_for(self._room)
            return self._open

    def has_room(self) -> bool:
        """Whether another payload may be sent now."""
        with self._changed:
            return self._open and self._room()

    def _room(self) -> bool:
        ahead = self._sent - self._consumed
        if not self._open or not self._limited or ahead == 0:
            return True
        waiting = self._sent - self._arrived
        unread_bytes = self._arrived_bytes - self._consumed_bytes
        if waiting == 0 and unread_bytes < self._bytes_max and ahead < self._tasks_max:
            return True
        result_bytes = (self._arrived_bytes + _PRIOR_RESULTS * _PRIOR_RESULT_BYTES) / (self._arrived + _PRIOR_RESULTS)
        mean_input_bytes = self._sent_bytes / self._sent
        on_the_way = max(waiting * mean_input_bytes, self._held_bytes) + waiting * result_bytes
        return ahead < self._tasks_max and on_the_way + unread_bytes < self._bytes_max

    def sent(self, tasks: int, size_bytes: int) -> None:
        """The feeder sent a payload."""
        with self._changed:
            self._sent += tasks
            self._sent_bytes += size_bytes

    def held(self, size_bytes: int) -> None:
        """A payload is held until the controller keeps it."""
        with self._changed:
            self._held_bytes += size_bytes

    def safe(self, size_bytes: int) -> None:
        """The controller keeps so many bytes of inputs: they are held no more."""
        with self._changed:
            self._held_bytes -= size_bytes
            self._changed.notify_all()

    def arrived(self, tasks: int, size_bytes: int) -> None:
        """Results came."""
        with self._changed:
            self._arrived += tasks
            self._arrived_bytes += size_bytes
            self._changed.notify_all()

    def consumed(self, tasks: int, size_bytes: int) -> None:
        """The consumer took results."""
        with self._changed:
            self._consumed += tasks
            self._consumed_bytes += size_bytes
            self._changed.notify_all()

    def lift(self) -> None:
        """No limit any more: everything shall come in, although nobody consumes."""
        with self._changed:
            self._limited = False
            self._changed.notify_all()

    def close(self) -> None:
        """The consumer is gone, or all has been fed."""
        with self._changed:
            self._open = False
            self._changed.notify_all()
