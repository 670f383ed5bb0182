"""The kinds of jobs that clients submit, each with its true answers. It must not know how jobs are run or judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from typing import Any

from bench.chaos import tasks
from bench.chaos.dice import Dice
from bench.chaos.tasks import plain

CRASH_LIMIT = 3
"""A task that ends its process is tried so often."""


class JobKind(StrEnum):
    """What a job is made of."""

    FLAT = "flat"
    """Many short tasks, of which some take a little longer."""
    LONG = "long"
    """Few long ones."""
    FAILING = "failing"
    """Some raise, some end their process."""
    PAYLOAD = "payload"
    """Large inputs and results."""
    TREE = "tree"
    """Tasks that spawn tasks, reduced."""
    UNITS = "units"
    """Work units that split when somebody is hungry, reduced."""
    CALLS = "calls"
    """Single calls and their futures."""
    CANCELLED = "cancelled"
    """A map that its client gives up in the middle."""
    WITHDRAWN = "withdrawn"
    """Single calls, some of which their client does not want any more."""
    DETACHED = "detached"
    """A job that is handed in and read later; if its reader is killed, by the next life of that client."""


@dataclass(frozen=True, slots=True)
class Job:
    """All that there is to know of a job, and enough to know its true answers.

    Attributes:
        kind: what it is made of.
        seed: of its items.
        count: items.
        ordered: whether values are asked for in the order of the items.
        streamed: whether the items come from a generator.
        retries: of tasks that raise.
        taken: after so many outcomes a client gives it up; as many as there are if it does not. Of calls, those from
            this one on are withdrawn.
    """

    kind: JobKind
    seed: int
    count: int
    ordered: bool = True
    streamed: bool = False
    retries: int = 0
    taken: int = 0

    def facts(self) -> dict[str, Any]:
        """For :func:`job_of`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Answer:
    """The one true outcome of an item: a value as JSON, or the name of the type of its exception."""

    value: Any = None
    error: str = ""


def job_of(facts: Mapping[str, Any]) -> Job:
    """A job from its facts."""
    return Job(**{**facts, "kind": JobKind(facts["kind"])})


def draw(kinds: Sequence[JobKind], dice: Dice) -> Job:
    """A job of one of these kinds, a second or a few of work for several slots."""
    kind = dice.pick(kinds)
    seed = dice.whole(0, 1 << 30)
    low, high = _SIZES[kind]
    count = dice.whole(low, high)
    ordered = kind in _REDUCED or (dice.chance(0.5) and kind is not JobKind.DETACHED)
    streamed = dice.chance(0.3)
    retries = dice.whole(0, 2) if kind is JobKind.FAILING else 0
    taken = dice.whole(0, count // 2) if kind in {JobKind.CANCELLED, JobKind.WITHDRAWN} else count
    return Job(kind, seed, count, ordered, streamed, retries, taken)


def items(job: Job) -> Iterable[Any]:
    """Its items, each time the same."""
    dice = Dice(job.seed, "items")
    for index in range(job.count):
        yield _ITEM[job.kind](index, dice)


def function(job: Job, log: str, name: str) -> Callable[[Any], Any]:
    """What is called with each item; executions go to ``log`` under this ``name``."""
    return partial(_FUNCTION.get(job.kind, tasks.flat), log, name)


def reduced(job: Job) -> bool:
    """Whether it is run with ``reduce=``."""
    return job.kind in _REDUCED


def answers(job: Job) -> list[Answer]:
    """The true outcomes, by index."""
    return [_answer(job.kind, item) for item in items(job)]


def executions(job: Job) -> dict[str, int]:
    """How often each execution that is logged happens in a world without faults."""
    if job.kind is JobKind.TREE:
        return dict.fromkeys((path for root, path, depth, _ in items(job) for path, _ in _nodes(path, depth)), 1)
    if job.kind is not JobKind.FAILING:
        return {str(index): 1 for index in range(job.count)}
    tries = {"": 1, "raise": 1 + job.retries, "exit": CRASH_LIMIT}
    return {str(index): tries[how] for index, _, how in items(job)}


def spawned(job: Job) -> int | None:
    """How many tasks its tasks spawn; None if that is not the same every time."""
    if job.kind is JobKind.UNITS:
        return None
    return len(executions(job)) - job.count if job.kind is JobKind.TREE else 0


# --- one kind each ------------------------------------------------------------------------------------

_REDUCED = (JobKind.TREE, JobKind.UNITS)

_SIZES: Mapping[JobKind, tuple[int, int]] = {
    JobKind.FLAT: (200, 2_000),
    JobKind.LONG: (4, 16),
    JobKind.FAILING: (20, 120),
    JobKind.PAYLOAD: (4, 24),
    JobKind.TREE: (2, 12),
    JobKind.UNITS: (1, 6),
    JobKind.CALLS: (5, 60),
    JobKind.CANCELLED: (50, 400),
    JobKind.WITHDRAWN: (5, 60),
    JobKind.DETACHED: (100, 1_000),
}


def _flat(index: int, dice: Dice) -> tuple[int, float]:
    return index, dice.between(0.0, 0.04) if dice.chance(0.1) else 0.0


def _long(index: int, dice: Dice) -> tuple[int, float]:
    return index, dice.between(0.1, 1.2)


def _failing(index: int, dice: Dice) -> tuple[int, float, str]:
    seconds = dice.between(0.0, 0.03)
    how = "raise" if dice.chance(0.15) else "exit" if dice.chance(0.02) else ""
    return index, seconds, how


def _payload(index: int, dice: Dice) -> tuple[int, bytes]:
    pattern = bytes(dice.whole(0, 255) for _ in range(251))
    return index, pattern * dice.whole(10, 4_000)


def _tree(index: int, dice: Dice) -> tuple[int, str, int, float]:
    return index, f"{index}:{dice.whole(0, 9_999)}", 6, dice.between(0.0, 0.01)


def _unit(index: int, dice: Dice) -> tuple[int, int]:
    return index, dice.whole(1, 4_000_000)


def _call(index: int, dice: Dice) -> tuple[int, float]:
    return index, dice.between(0.0, 0.1)


_ITEM: Mapping[JobKind, Callable[[int, Dice], Any]] = {
    JobKind.FLAT: _flat,
    JobKind.LONG: _long,
    JobKind.FAILING: _failing,
    JobKind.PAYLOAD: _payload,
    JobKind.TREE: _tree,
    JobKind.UNITS: _unit,
    JobKind.CALLS: _call,
    JobKind.CANCELLED: _call,
    JobKind.WITHDRAWN: _call,
    JobKind.DETACHED: _flat,
}

_FUNCTION: Mapping[JobKind, Callable[..., Any]] = {
    JobKind.FAILING: tasks.failing,
    JobKind.PAYLOAD: tasks.payload,
    JobKind.TREE: tasks.tree,
    JobKind.UNITS: tasks.unit,
}


def _answer(kind: JobKind, item: Any) -> Answer:
    index = item[0]
    match kind:
        case JobKind.PAYLOAD:
            return Answer(plain((index, item[1][::-1])))
        case JobKind.TREE:
            weights = [weight for _, weight in _nodes(item[1], item[2])]
            return Answer(plain((index, len(weights), sum(weights))))
        case JobKind.UNITS:
            return Answer(plain((index, item[1], item[1] * (item[1] - 1) // 2)))
        case JobKind.FAILING if item[2]:
            return Answer(error="PlannedError" if item[2] == "raise" else "TaskCrashedError")
    return Answer(plain((index, index * index + 7)))


def _nodes(path: str, depth: int) -> Iterable[tuple[str, int]]:
    """A node of a tree and all below it, each with its weight."""
    stack = [(path, depth)]
    while stack:
        at, left = stack.pop()
        yield at, tasks.weight(at)
        stack.extend((f"{at}.{child}", left - 1) for child in range(tasks.fanout(at, left)))
