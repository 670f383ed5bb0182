"""A recorded job as a workload: the tasks that a real cluster ran are run again, on any cluster that is modelled.

What counted is decided as on the cluster, by its own ledger: the first result of a task, and only children of a run
whose result was committed. What a trace does not tell is filled in: the seconds of tasks that finished together are
spread evenly over them, and the children of a task appear evenly spread over its run. A task that split lazily is
replayed as it split then, whoever is hungry now: its parts are tasks of their own. Tasks that failed took their time
and are replayed like any other; tasks that were cancelled, or never finished, are left out, and those behind them
move up. All seconds are those of the machine that ran the task, which counts as one of speed 1.

It must not know how a trace is stored.
"""

from __future__ import annotations

import copy
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lbnet.core.ledger import Committed, Ledger
from lbnet.errors import UsageError
from lbnet.sim.work import Task, Unit, Workload
from lbnet.trace.reader import RecordedJob, Trace, read
from lbnet.trace.records import Cancelled, Finished, Tasks
from lbnet.types import FAILED, ROOT, Batch, Failure, Group, Member, Payload, RunId

PIECE_S = 1e-6
"""A task that spawns runs for no less at a time."""

_FAILURE = Failure("recorded", "", "", "", b"")
_JOBS_NAMED_MAX = 10


class Recorded(Workload):
    """The replay of one job of a trace.

    Args:
        trace: as it was read.
        job: the id of the job; the finished one whose tasks took the most seconds together, if None.

    Attributes:
        items: those that finished: all that were submitted, in a job that is done and had none cancelled.
        reduce: as recorded.

    Raises:
        UsageError: there is no such job, no finished one, or none of its tasks has finished.
    """

    def __init__(self, trace: Trace, job: int | None = None) -> None:
        chosen = _longest(trace) if job is None else _named(trace, job)
        self.job = chosen.opened.job
        self.name = f"recorded:{chosen.opened.name or self.job}"
        self.reduce = chosen.opened.reduce
        self._tasks, self._finished = _families(chosen)
        self.items = len(self._tasks.seconds)
        if not self.items:
            raise UsageError(f"no task of job {self.job} has finished: replay another one{_jobs_of(trace)}")

    def task(self, index: int) -> Task:
        """The recorded seconds of item ``index``, or a :class:`Spawning` if it had children that finished."""
        return self._tasks.task(index)

    def expected(self) -> int:
        """How many tasks have finished, those that failed and those that were spawned included."""
        return self._finished


def recorded(path: Path, job: int | None = None) -> Recorded:
    """The replay of a job of the trace at ``path``; see :class:`Recorded`.

    Raises:
        UsageError: there is no whole trace, or no such job in it; the sentence says which, and what to do.
    """
    return Recorded(read(path), job)


class Spawning(Unit):
    """A task that had children: the ``k``-th of ``n`` appears after ``k / (n + 1)`` of its run.

    Args:
        seconds: how long it runs.
        children: what it spawned.
    """

    def __init__(self, seconds: float, children: Siblings) -> None:
        self._seconds = seconds
        self._children = children
        self._ran_s = 0.0
        self._taken = 0

    @property
    def done(self) -> bool:
        """Whether it has run to its end."""
        return self._ran_s >= self._seconds

    def run(self, seconds: float) -> float:
        """Run for ``seconds``, or to its end if that comes first."""
        left_s = self.left_s()
        ran_s = max(seconds, PIECE_S)
        if ran_s >= left_s:
            self._ran_s = self._seconds
            return left_s
        self._ran_s += ran_s
        return ran_s

    def left_s(self) -> float:
        """The seconds that it has not run."""
        return self._seconds - self._ran_s

    def take_spawned(self) -> Sequence[Task]:
        """Its children that have appeared since this was last asked."""
        count = len(self._children.seconds)
        due = count if self.done else min(count, int(self._ran_s / self._seconds * (count + 1)))
        fresh, self._taken = range(self._taken, due), max(self._taken, due)
        return [self._children.task(index) for index in fresh]

    def copy(self) -> Self:
        """The same; the children are never changed, and are shared."""
        return copy.copy(self)


class Siblings:
    """The finished tasks of one origin, in order: eight bytes a task, and more only for those that spawned."""

    __slots__ = ("families", "seconds")

    def __init__(self) -> None:
        self.seconds = array("d")
        self.families: dict[int, Siblings] = {}

    def task(self, index: int) -> Task:
        """Task ``index``."""
        seconds = self.seconds[index]
        children = self.families.get(index)
        return seconds if children is None else Spawning(seconds, children)


# --- what counted ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Part:
    """Tasks ``[lo, hi)`` of one origin that counted, ``each_s`` seconds long, and the run of one that spawned."""

    lo: int
    hi: int
    each_s: float
    run: RunId


def _families(job: RecordedJob) -> tuple[Siblings, int]:
    """The items with all that they spawned, and how many tasks that are."""
    parts: dict[RunId, list[_Part]] = {ROOT: []}
    finished = 0
    for origin, part in _parts(job):
        parts.setdefault(origin, []).append(part)
        finished += part.hi - part.lo
    siblings = {origin: Siblings() for origin in parts}
    for origin, own in parts.items():
        into = siblings[origin]
        for part in sorted(own, key=lambda part: part.lo):
            if part.run in siblings and part.run != ROOT:
                into.families[len(into.seconds)] = siblings[part.run]
            into.seconds.extend(array("d", [part.each_s]) * (part.hi - part.lo))
    return siblings[ROOT], finished


def _parts(job: RecordedJob) -> Iterator[tuple[RunId, _Part]]:
    """The results that the ledger of this job commits, in the order in which it does."""
    ledger = Ledger()
    if job.ended.items:
        ledger.submit(0, job.ended.items)
    for event in job.events:
        if isinstance(event, Cancelled):
            ledger.cancel(event.lo, event.hi)
            continue
        for news in ledger.commit(_group(event)):
            if isinstance(news, Committed):
                each_s = news.group.seconds / sum(member.hi - member.lo for member in news.group.members)
                for member, ranges in news.parts:
                    for lo, hi in ranges:
                        yield member.origin, _Part(lo, hi, each_s, member.run)


def _group(event: Finished) -> Group:
    members = tuple(_member(event, tasks) for tasks in event.members)
    return Group(event.kind, b"", members, event.seconds, _FAILURE if event.kind == FAILED else None)


def _member(event: Finished, tasks: Tasks) -> Member:
    children: tuple[Batch, ...] = ()
    if tasks.children:
        payload = Payload(0, tasks.children, b"", b"")
        children = (Batch(event.job, tasks.run, 0, tasks.children, 0, tasks.origin, tasks.lo, payload),)
    return Member(tasks.origin, tasks.lo, tasks.hi, 0, tasks.parent_origin, tasks.parent_index, tasks.run, children)


# --- which job ------------------------------------------------------------------------------------


def _longest(trace: Trace) -> RecordedJob:
    finished = [job for job in trace.jobs.values() if job.ended.state == "done"]
    if not finished:
        raise UsageError(
            f"no job of the trace has finished: record again, or name one to replay what was done of it"
            f"{_jobs_of(trace)}"
        )
    return max(finished, key=lambda job: job.seconds)


def _named(trace: Trace, job: int) -> RecordedJob:
    found = trace.jobs.get(job)
    if found is None:
        raise UsageError(f"the trace has no job {job}: name another one{_jobs_of(trace)}")
    return found


def _jobs_of(trace: Trace) -> str:
    """The jobs that can be named, the last ones if there are many, for the end of a sentence."""
    if not trace.jobs:
        return "; it holds no job at all"
    named = [f"{job.opened.job} ({job.ended.state})" for job in trace.jobs.values()]
    more = "" if len(named) <= _JOBS_NAMED_MAX else f", the last of {len(named)}"
    return f"; it holds {', '.join(named[-_JOBS_NAMED_MAX:])}{more}"
