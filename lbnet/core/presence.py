"""Which workers were in the cluster when: the slot seconds that a job could have had.

Pure. It must not know of jobs, nor of what workers do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from lbnet import limits
from lbnet.types import PeerId


@dataclass(slots=True)
class Stay:
    """One worker, from when it came until it left; ``left_at`` is infinite while it is here."""

    name: str
    slots: int
    came_at: float
    left_at: float = math.inf


class Presence:
    """All workers, and those that were here lately."""

    def __init__(self) -> None:
        self._stays: dict[PeerId, Stay] = {}
        self._gone: dict[PeerId, None] = {}

    def joined(self, peer: PeerId, name: str, slots: int, now: float, *, back: bool) -> None:
        """A worker is here. One that is ``back``, with all that it held, counts as never having been away.

        If nobody here remembers it, this controller was started again: it counts as having been here from the first.
        """
        self._gone.pop(peer, None)
        known = self._stays.get(peer)
        came_at = (known.came_at if known is not None else -math.inf) if back else now
        self._stays[peer] = Stay(name, slots, came_at)

    def left(self, peer: PeerId, now: float) -> None:
        """A worker is gone."""
        stay = self._stays.get(peer)
        if stay is not None:
            stay.left_at = now
            self._gone[peer] = None
            if len(self._gone) > limits.STAYS_KEPT:
                oldest = next(iter(self._gone))
                del self._gone[oldest], self._stays[oldest]

    def during(self, begin: float, end: float) -> Iterator[tuple[PeerId, Stay, float]]:
        """Who was here in that time, in the order in which they came; and for how many seconds of it."""
        for peer, stay in self._stays.items():
            seconds = min(end, stay.left_at) - max(begin, stay.came_at)
            if seconds > 0:
                yield peer, stay, seconds
