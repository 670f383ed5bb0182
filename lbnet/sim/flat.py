"""Lists of tasks that are nothing but seconds. It must not know where the seconds come from."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Final

from lbnet.sim.work import Workload

TASKS_MAX: Final = 10_000_000
"""The largest list: it takes 8 bytes for each task, and four times that while it is made."""


class Flat(Workload):
    """Plain tasks of known durations, submitted in order; each result counts 1.

    Args:
        name: for reports.
        durations: seconds of each task.
    """

    def __init__(self, name: str, durations: Iterable[float]) -> None:
        self.name = name
        self._seconds = array("d", durations)
        self.items = len(self._seconds)

    def task(self, index: int) -> float:
        """The seconds of task ``index``."""
        return self._seconds[index]

    def tasks(self, lo: int, hi: int) -> array[float]:
        """The seconds of tasks ``[lo, hi)``."""
        return self._seconds[lo:hi]

    def expected(self) -> int:
        """How many tasks there are."""
        return self.items
