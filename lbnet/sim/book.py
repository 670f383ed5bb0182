"""What each task of a simulated job is, whoever runs it: a payload carries only zeros. It must not know who runs it."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate

from lbnet.sim.work import Task, Unit, Workload
from lbnet.types import ROOT, Payload, RunId


class Tasks:
    """The tasks of one payload, from index ``base`` on.

    ``sums[k]`` is what the first ``k`` tasks take together; it is None if a unit is among them.
    """

    __slots__ = ("base", "sums", "tasks")

    def __init__(self, base: int, tasks: Sequence[Task]) -> None:
        self.base = base
        self.tasks: Sequence[Task] = ()
        self.sums: list[float] | None = None
        plain = tasks if isinstance(tasks, array) else [task for task in tasks if not isinstance(task, Unit)]
        if len(plain) < len(tasks):
            self.tasks = tasks
        else:
            self.sums = list(accumulate(plain, initial=0.0))


class Book:
    """All tasks, by the run that made them and the start of their payload.

    Args:
        workload: what the items are.
    """

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self._payloads: dict[tuple[RunId, int], Tasks] = {}
        self._zeros: dict[int, bytes] = {}

    def tasks(self, origin: RunId, payload: Payload) -> Tasks:
        """The tasks of a payload."""
        found = self._payloads.get((origin, payload.base))
        if found is None:
            assert origin == ROOT, "what was spawned is written down before it leaves its slot"
            found = Tasks(payload.base, self.workload.tasks(payload.base, payload.base + payload.count))
            self._payloads[origin, payload.base] = found
        return found

    def spawned(self, run: RunId, base: int, tasks: Sequence[Task]) -> None:
        """A run made these tasks, counted from ``base`` on."""
        self._payloads[run, base] = Tasks(base, tasks)

    def item_zeros(self, count: int) -> bytes:
        """A payload's data."""
        return self._of_size(count * self.workload.item_bytes)

    def result_zeros(self, count: int) -> bytes:
        """Results that all count 1."""
        return self._of_size(count * self.workload.result_bytes)

    def _of_size(self, size_bytes: int) -> bytes:
        data = self._zeros.get(size_bytes)
        if data is None:
            data = bytes(size_bytes)
            if len(self._zeros) < _SIZES_KEPT:
                self._zeros[size_bytes] = data
        return data


_SIZES_KEPT = 10_000
