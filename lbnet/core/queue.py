"""The tasks that wait at one worker: it takes from the front, and donates from the back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from lbnet import limits
from lbnet.core.durations import Durations
from lbnet.types import ROOT, Batch, JobId, RunId, Span


class WorkQueue:
    """Batches in the order in which they will run.

    Those of jobs with a higher priority come before all others. Within one priority, items of a job stand in the order
    in which they came. What a task of this worker spawned goes to the front, newest first: depth first, which keeps a
    growing tree small here, and leaves the oldest and thus biggest parts at the back, where donations are taken.

    Args:
        durations: what is known of the functions.
        priority: of a job.
    """

    __slots__ = ("_by_function", "_durations", "_lanes", "_priority", "_ranks", "_tasks", "size_bytes")

    def __init__(self, durations: Durations, priority: Callable[[JobId], int] = lambda _: 0) -> None:
        self._lanes: dict[int, deque[Batch]] = {}
        self._ranks: list[int] = []
        self._priority = priority
        self._durations = durations
        self._by_function: dict[bytes, int] = {}
        self._tasks = 0
        self.size_bytes = 0.0
        """Of the arguments of what waits: of a payload, the share of the tasks that are here."""

    @property
    def tasks(self) -> int:
        """How many tasks wait."""
        return self._tasks

    @property
    def batches(self) -> int:
        """How many batches they are."""
        return sum(map(len, self._lanes.values()))

    def seconds(self) -> float:
        """Estimated seconds of work that wait."""
        seconds, guess_s = 0.0, self._durations.guess_s
        for function, tasks in self._by_function.items():
            seconds += tasks * guess_s(function)
        return seconds

    def append(self, batch: Batch) -> None:
        """Work that came: it runs after what is here. What was cut apart is put together again."""
        lane = self._lane(batch)
        self._count(batch, len(batch))
        while lane and (both := lane[-1].joined(batch)) is not None:
            lane.pop()
            batch = both
        lane.append(batch)

    def push(self, batch: Batch) -> None:
        """Work that was spawned here, or came back from a slot: it runs next."""
        lane = self._lane(batch)
        self._count(batch, len(batch))
        while lane and (both := lane[0].joined(batch)) is not None:
            lane.popleft()
            batch = both
        lane.appendleft(batch)

    def front(self) -> Batch | None:
        """What runs next."""
        lane = self._first()
        return lane[0] if lane else None

    def take(self, tasks: int) -> Batch:
        """Up to ``tasks`` tasks of the first batch. The queue must not be empty."""
        lane = self._first()
        assert lane is not None, "there is something to take"
        batch = lane.popleft()
        if len(batch) > tasks:
            lane.appendleft(batch.part(batch.lo + tasks, batch.hi))
            batch = batch.part(batch.lo, batch.lo + tasks)
        self._count(batch, -len(batch))
        return batch

    def donate(self, seconds: float, size_bytes_max: float = limits.GRANT_BYTES_SOFT) -> list[Batch]:
        """About ``seconds`` of work from the back of the highest priority, at least one task if there is any.

        Less, if its payloads would be over ``size_bytes_max``.
        """
        given: list[Batch] = []
        size_bytes = 0
        while lane := self._first():
            batch = lane[-1]
            mean_s = self._durations.guess_s(batch.payload.function)
            size_bytes += len(batch.payload.data)
            if given and (seconds <= 0 or seconds < mean_s / 2 or size_bytes > size_bytes_max):
                break
            lane.pop()
            tasks = max(1, round(seconds / mean_s))
            if tasks < len(batch):
                lane.append(batch.part(batch.lo, batch.hi - tasks))
                batch = batch.part(batch.hi - tasks, batch.hi)
            given.append(batch)
            self._count(batch, -len(batch))
            seconds -= len(batch) * mean_s
        given.reverse()
        return given

    def keep(self, wanted: Callable[[Batch], Iterable[Batch]]) -> int:
        """Forget all but the parts of each batch that ``wanted`` returns. Returns how many tasks were forgotten."""
        before = self._tasks
        batches = list(self._all())
        self._lanes.clear()
        self._ranks.clear()
        for batch in batches:
            self._count(batch, -len(batch))
            for part in wanted(batch):
                self.append(part)
        return before - self._tasks

    def drop(self, unwanted: Callable[[Batch], bool]) -> int:
        """Forget the batches for which ``unwanted`` is true. Returns how many tasks that were."""
        return self.keep(lambda batch: () if unwanted(batch) else (batch,))

    def drop_job(self, job: JobId) -> int:
        """Forget the tasks of a job."""
        return self.drop(lambda batch: batch.job == job)

    def drop_run(self, run: RunId) -> int:
        """Forget the tasks that a lost execution spawned."""
        return self.drop(lambda batch: run != ROOT and batch.origin == run)

    def _lane(self, batch: Batch) -> deque[Batch]:
        """Where batches of this one's priority wait."""
        rank = self._priority(batch.job)
        lane = self._lanes.get(rank)
        if lane is None:
            lane = self._lanes[rank] = deque()
            self._ranks = sorted(self._lanes, reverse=True)
        return lane

    def _first(self) -> deque[Batch] | None:
        """The lane of the highest priority of which something waits. Empty ones of higher priorities go."""
        while self._ranks:
            lane = self._lanes[self._ranks[0]]
            if lane or len(self._ranks) == 1:
                return lane or None
            del self._lanes[self._ranks.pop(0)]
        return None

    def _all(self) -> Iterator[Batch]:
        for rank in self._ranks:
            yield from self._lanes[rank]

    def ahead_of(self, job: JobId, index: int) -> dict[str, float] | None:
        """What comes before an item of a job: ``tasks``, of ``seconds`` by what is known. None if it is not here."""
        tasks, seconds = 0, 0.0
        for batch in self._all():
            mean_s = self._durations.guess_s(batch.payload.function)
            if batch.has_item(job, index):
                own = index - batch.lo
                return {"tasks": tasks + own, "seconds": seconds + own * mean_s, "crashes": batch.crashes}
            tasks += len(batch)
            seconds += len(batch) * mean_s
        return None

    def _count(self, batch: Batch, tasks: int) -> None:
        self._tasks += tasks
        payload = batch.payload
        self.size_bytes = self.size_bytes + len(payload.data) * tasks / payload.count if self._tasks else 0.0
        function = payload.function
        left = self._by_function.get(function, 0) + tasks
        if left:
            self._by_function[function] = left
        else:
            self._by_function.pop(function, None)

    def spans(self) -> list[Span]:
        """The ids that wait here."""
        return [Span(batch.job, batch.origin, batch.lo, batch.hi) for batch in self._all()]
