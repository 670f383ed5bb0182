"""RESULTs of a worker: when they are said, and those that it keeps until the controller says that they are safe.

It must not know what they hold.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from lbnet import limits
from lbnet.protocol.messages import Moved, Result
from lbnet.types import Group, JobId, PeerId


class UnkeptResults:
    """Results that are *held* until it is time to say them, and RESULTs in the order in which they were said on the
    link that is open now.

    A worker with many slots, or short tickets, finishes something every other moment, and a RESULT costs the same
    whether it tells of one task or of a hundred. So what is finished soon after the last RESULT waits for company,
    unless the worker has run dry: then somebody may wait for it.

    Args:
        say: sends one to the controller, if it is there.
    """

    __slots__ = ("_held", "_results", "_safe", "_said_at", "_say", "_since", "size_bytes")

    def __init__(self, say: Callable[[Result], None]) -> None:
        self._say = say
        self._held: dict[JobId, list[Result]] = {}
        self._results: deque[tuple[Result | None, int]] = deque()
        self._safe = 0
        self._said_at = -math.inf
        self._since = -math.inf
        self.size_bytes = 0
        """Bytes of what is kept, about."""

    def add(self, result: Result) -> None:
        """A new one. It is said by :meth:`look` or :meth:`say`."""
        self.size_bytes += size_of(result)
        self._held.setdefault(result.job, []).append(result)

    def look(self, now: float, *, busy: bool) -> float | None:
        """Say what is held if it is time for it. Returns when that is, None if nothing is held.

        Args:
            now: seconds.
            busy: whether tasks wait at this worker, so that more results will follow soon.
        """
        if not self._held:
            return None
        if busy and self.size_bytes < limits.RESULT_HELD_BYTES:
            gap_s = limits.RESULT_GAP_SHARE * (now - self._since)
            gap_s = min(max(gap_s, limits.RESULT_GAP_S), limits.RESULT_GAP_MAX_S)
            if now < self._said_at + gap_s:
                return self._said_at + gap_s * _LATER
        self.say(now)
        return None

    def opened(self, now: float) -> None:
        """A job is new here: its client is told of its first results soon."""
        self._since = now

    def say(self, now: float) -> None:
        """Say what is held."""
        if self._held:
            self._said_at = now
            for results in self._held.values():
                self.size_bytes -= sum(map(size_of, results))
                for result in _merged(results) if len(results) > 1 else results:
                    size = size_of(result)
                    self._results.append((result, size))
                    self.size_bytes += size
                    self._say(result)
            self._held.clear()

    def kept(self, upto: int) -> None:
        """The first ``upto`` of this link are safe."""
        while self._results and self._safe < upto:
            self.size_bytes -= self._results.popleft()[1]
            self._safe += 1

    @property
    def unkept(self) -> bool:
        """Whether any is kept that somebody wants."""
        return bool(self._held) or any(result is not None for result, _ in self._results)

    def forget(self, job: JobId) -> None:
        """Nobody wants those of this job any more; those that were said count as said."""
        self.size_bytes -= sum(map(size_of, self._held.pop(job, ())))
        for place, (result, size) in enumerate(self._results):
            if result is not None and result.job == job:
                self.size_bytes -= size
                self._results[place] = (None, 0)

    def again(self) -> list[Result]:
        """The link is a new one: what is kept, which is to be said on it with :meth:`add` after its functions."""
        results = [result for result, _ in self._results if result is not None]
        for held in self._held.values():
            results += held
        self._results.clear()
        self._held.clear()
        self._said_at = -math.inf
        self._safe = 0
        self.size_bytes = 0
        return results


def _merged(results: Sequence[Result]) -> Iterator[Result]:
    """One RESULT for several, of the same job, as far as a message should hold them."""
    groups: list[Group] = []
    moved: dict[PeerId, int] = {}
    size = 0
    for result in results:
        if groups and size + size_of(result) > limits.LINK_BUFFER_HIGH_BYTES:
            yield Result(result.job, tuple(groups), _told(moved))
            groups, moved, size = [], {}, 0
        groups += result.groups
        for part in result.moved:
            moved[part.donor] = moved.get(part.donor, 0) + part.batches
        size += size_of(result)
    yield Result(results[0].job, tuple(groups), _told(moved))


def _told(moved: Mapping[PeerId, int]) -> tuple[Moved, ...]:
    return tuple(Moved(donor, batches) for donor, batches in moved.items())


def size_of(result: Result) -> int:
    """Bytes that it takes to keep it, about."""
    size = _RESULT_BYTES
    for group in result.groups:
        size += _RESULT_BYTES + group.size_bytes
    return size


_RESULT_BYTES = 100

_LATER = 1.5
"""What a slot says brings us here again, mostly soon after a RESULT may be said: a timer is for when none does."""
