"""Tasks that are tried again: which failures are worth it, how long each waits, and those that wait here.

They are in no queue and in no slot meanwhile, and are held all the same. It must not know why a task failed.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection

from lbnet import limits
from lbnet.types import Batch, JobId, Span

_DOUBLINGS_MAX = 32


def is_worth_a_retry(kind: type[BaseException], names: Collection[str]) -> bool:
    """Whether ``names`` has this class or one that it derives from. No names stand for all classes.

    A class goes by its name, with or without its module: a slot can compare names with exceptions that nobody else
    could unpickle.
    """
    return not names or any(
        name in names
        for cls in kind.__mro__
        for name in (cls.__name__, cls.__qualname__, f"{cls.__module__}.{cls.__qualname__}")
    )


def delay_s(first_s: float, failures: int) -> float:
    """The wait after so many failures, one at least: doubled with each, up to ``limits.RETRY_DELAY_MAX_S``."""
    return min(max(first_s, 0.0) * 2.0 ** min(failures - 1, _DOUBLINGS_MAX), limits.RETRY_DELAY_MAX_S)


class Resting:
    """Tasks that wait for their time."""

    __slots__ = ("_count", "_heap")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Batch]] = []
        self._count = 0

    @property
    def until(self) -> float | None:
        """When the first of them is to be woken."""
        return self._heap[0][0] if self._heap else None

    def add(self, batch: Batch, until: float) -> None:
        """It rests until then."""
        self._count += 1
        heapq.heappush(self._heap, (until, self._count, batch))

    def wake(self, now: float) -> list[Batch]:
        """Those whose time has come, in the order of their times."""
        woken = []
        while self._heap and self._heap[0][0] <= now:
            woken.append(heapq.heappop(self._heap)[2])
        return woken

    def drop(self, unwanted: Callable[[Batch], bool]) -> None:
        """Forget those for which ``unwanted`` is true."""
        self._heap = [entry for entry in self._heap if not unwanted(entry[2])]
        heapq.heapify(self._heap)

    def of_item(self, job: JobId, index: int, now: float) -> dict[str, float] | None:
        """In how many seconds an item is woken, and how often it has failed; None if it does not rest here."""
        for until, _, batch in self._heap:
            if batch.has_item(job, index):
                return {"in_s": max(until - now, 0.0), "failures": batch.failures}
        return None

    def spans(self) -> list[Span]:
        """The ids that rest here, in the order of their times."""
        return [Span(batch.job, batch.origin, batch.lo, batch.hi) for _, _, batch in sorted(self._heap)]
