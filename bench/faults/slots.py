"""A worker and its slots as the world sees them: processes that take, split and finish tasks step by step."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from lbnet.core import effects
from lbnet.core.events import Event
from lbnet.core.worker import Worker
from lbnet.types import (
    Batch,
    PeerId,
    RunId,
)


def run_of(first_run: RunId, batch: Batch, index: int) -> RunId:
    """The identity of one execution."""
    return RunId(first_run + index - batch.lo)


@dataclass
class Task:
    """The running task: units ``[at, end)`` are left of it."""

    index: int
    at: int
    end: int
    fails: bool
    units: list[int] = field(default_factory=list)
    children: int = 0


@dataclass
class Run:
    """One ticket in a slot: the words that it shares with its worker, and results that have not left."""

    effect: effects.Run
    claimed: int
    limit: int
    at: int
    announced: bool = False
    task: Task | None = None
    entries: list[tuple[Task, bool]] = field(default_factory=list)
    upto: int = 0


@dataclass
class ModelSlot:
    """A slot process and the pipe to its worker. ``alive`` turns false at once, the worker hears of it later.

    What its tasks spawn it has ``said``, as pickles: to run a function, it must be taught, too.
    """

    alive: bool = False
    starting: bool = True
    runs: deque[Run] = field(default_factory=deque)
    tickets: dict[int, Run] = field(default_factory=dict)
    known: set[bytes] = field(default_factory=set)
    said: set[bytes] = field(default_factory=set)
    taught: set[bytes] = field(default_factory=set)
    pipe: deque[Event] = field(default_factory=deque)


@dataclass
class ModelWorker:
    """A real worker with its slots. ``urgent`` events come before any other event of the slots."""

    core: Worker
    slots: list[ModelSlot]
    alive: bool = True
    hungry: bool = False
    urgent: deque[Event] = field(default_factory=deque)
    connecting: list[tuple[PeerId, int]] = field(default_factory=list)
    tick_at: float | None = None
    leaves: bool = False
