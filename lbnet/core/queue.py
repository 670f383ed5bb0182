"""The tasks that wait at one worker: it takes from the front, and donates from the back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from lbnet import limits
from lbnet.core.durations import Durations
from lbnet.types import ROOT, Batch, JobId, RunId, Span


class WorkQueue:
    """Batches in the order in which they will run.

    Items of a job stand in the order in which they came. What a task of this worker spawned goes to
    the front, newest first: depth first, which keeps a growing tree small here, and leaves the oldest
    and thus biggest parts at the back, where donations are taken.
    """

    __slots__ = ("_batches", "_by_function", "_durations", "_tasks")

    def __init__(self, durations: Durations) -> None:
        self._batches: deque[Batch] = deque()
        self._durations = durations
        self._by_function: dict[bytes, int] = {}
        self._tasks = 0

    @property
    def tasks(self) -> int:
        """How many tasks wait."""
        return self._tasks

    def seconds(self) -> float:
        """Estimated seconds of work that wait."""
        return sum(tasks * self._durations.guess_s(function) for function, tasks in self._by_function.items())

    def append(self, batch: Batch) -> None:
        """Work that came: it runs after what is here."""
        self._batches.append(batch)
        self._count(batch, len(batch))

    def push(self, batch: Batch) -> None:
        """Work that was spawned here, or came back from a slot: it runs next."""
        self._batches.appendleft(batch)
        self._count(batch, len(batch))

    def front(self) -> Batch | None:
        """What runs next."""
        return self._batches[0] if self._batches else None

    def take(self, tasks: int) -> Batch:
        """Up to ``tasks`` tasks of the first batch. The queue must not be empty."""
        batch = self._batches.popleft()
        if len(batch) > tasks:
            self._batches.appendleft(batch.part(batch.lo + tasks, batch.hi))
            batch = batch.part(batch.lo, batch.lo + tasks)
        self._count(batch, -len(batch))
        return batch

    def donate(self, seconds: float) -> list[Batch]:
        """About ``seconds`` of work from the back, at least one task if there is any.

        Less, if it would be over ``limits.GRANT_BYTES_SOFT``.
        """
        given: list[Batch] = []
        size_bytes = 0
        while self._batches:
            batch = self._batches[-1]
            mean_s = self._durations.guess_s(batch.payload.function)
            size_bytes += len(batch.payload.data)
            if given and (seconds <= 0 or seconds < mean_s / 2 or size_bytes > limits.GRANT_BYTES_SOFT):
                break
            self._batches.pop()
            tasks = max(1, round(seconds / mean_s))
            if tasks < len(batch):
                self._batches.append(batch.part(batch.lo, batch.hi - tasks))
                batch = batch.part(batch.hi - tasks, batch.hi)
            given.append(batch)
            self._count(batch, -len(batch))
            seconds -= len(batch) * mean_s
        given.reverse()
        return given

    def drop(self, unwanted: Callable[[Batch], bool]) -> int:
        """Forget the batches for which ``unwanted`` is true. Returns how many tasks that were."""
        before = self._tasks
        batches, self._batches = self._batches, deque()
        for batch in batches:
            if unwanted(batch):
                self._count(batch, -len(batch))
            else:
                self._batches.append(batch)
        return before - self._tasks

    def drop_job(self, job: JobId) -> int:
        """Forget the tasks of a job."""
        return self.drop(lambda batch: batch.job == job)

    def drop_run(self, run: RunId) -> int:
        """Forget the tasks that a lost execution spawned."""
        return self.drop(lambda batch: run != ROOT and batch.origin == run)

    def _count(self, batch: Batch, tasks: int) -> None:
        self._tasks += tasks
        function = batch.payload.function
        left = self._by_function.get(function, 0) + tasks
        if left:
            self._by_function[function] = left
        else:
            self._by_function.pop(function, None)

    def spans(self) -> list[Span]:
        """The ids that wait here."""
        return [Span(batch.job, batch.origin, batch.lo, batch.hi) for batch in self._batches]
