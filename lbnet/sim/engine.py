"""Virtual time: what is due next happens next, and nothing else moves the clock. It must not know what happens."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any

from lbnet.errors import UsageError

EVENTS_MAX = 2_000_000_000
"""Engine events of one run: hours of computing, so that a run without an end is noticed."""

VIRTUAL_S_MAX = 1e8
"""Three years of virtual time: nothing but a mistake lasts longer."""


class Engine:
    """A heap of callbacks. What is due at the same time happens in the order in which it was asked for.

    Args:
        events_max: callbacks before the run is given up.
        virtual_s_max: seconds before the run is given up.
    """

    __slots__ = ("_heap", "_numbers", "_stopped", "events", "events_max", "now", "virtual_s_max")

    def __init__(self, events_max: int = EVENTS_MAX, virtual_s_max: float = VIRTUAL_S_MAX) -> None:
        self.now = 0.0
        self.events = 0
        self.events_max = events_max
        self.virtual_s_max = virtual_s_max
        self._heap: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._numbers = count()
        self._stopped = False

    def at(self, when: float, callback: Callable[[Any], None], argument: Any) -> None:
        """Call ``callback(argument)`` at ``when``, a virtual second that has not passed."""
        heappush(self._heap, (when, next(self._numbers), callback, argument))

    def stop(self) -> None:
        """Let :meth:`run` return after the callback that runs now."""
        self._stopped = True

    def run(self, until: float | None = None) -> bool:
        """Go on until :meth:`stop`, or until nothing is left before ``until``.

        Returns:
            Whether it was stopped.

        Raises:
            UsageError: a limit was reached.
        """
        heap = self._heap
        end = self.virtual_s_max if until is None else until
        events, events_max = self.events, self.events_max
        self._stopped = False
        try:
            while heap and not self._stopped:
                entry = heappop(heap)
                when, _, callback, argument = entry
                if when > end or events >= events_max:
                    heappush(heap, entry)
                    if until is not None and when > until:
                        break
                    self.events = events
                    self._give_up(when)
                assert when >= self.now, "time runs forward"
                self.now = when
                events += 1
                callback(argument)
        finally:
            self.events = events
        if until is not None and not self._stopped:
            self.now = max(self.now, until)
        return self._stopped

    def _give_up(self, when: float) -> None:
        if when > self.virtual_s_max:
            raise UsageError(
                f"the simulated run has not ended after {self.virtual_s_max:g} virtual seconds: "
                "make the workload smaller, or allow more virtual time"
            )
        raise UsageError(
            f"the simulated run has not ended after {self.events:,} events ({self.now:g} virtual seconds): "
            "make the workload smaller or its tasks longer, or allow more events"
        )
