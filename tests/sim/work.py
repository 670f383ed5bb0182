"""Workloads for the tests of the simulator: flat lists of seconds, and units that split, step and spawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from lbnet.sim.work import Task, Unit, Workload


class Flat(Workload):
    """``items`` plain tasks: task k takes ``seconds[k % len(seconds)]``."""

    def __init__(self, items: int, *seconds: float, item_bytes: int = 16) -> None:
        self.name = "flat"
        self.items = items
        self.item_bytes = item_bytes
        self._seconds = seconds

    def task(self, index: int) -> Task:
        return self._seconds[index % len(self._seconds)]

    def expected(self) -> int:
        return self.items


class Sum(Unit):
    """``pieces`` pieces of ``piece_s`` seconds each; it counts the pieces that it has run itself."""

    def __init__(self, pieces: int, piece_s: float) -> None:
        self.pieces = pieces
        self.piece_s = piece_s
        self.ran = 0

    @property
    def done(self) -> bool:
        return self.pieces == 0

    def run(self, seconds: float) -> float:
        pieces = min(self.pieces, max(1, round(seconds / self.piece_s)))
        self.pieces -= pieces
        self.ran += pieces
        return pieces * self.piece_s

    def left_s(self) -> float | None:
        return self.pieces * self.piece_s

    def split(self) -> Self | None:
        half = self.pieces // 2
        if not half:
            return None
        self.pieces -= half
        return type(self)(half, self.piece_s)

    def result(self) -> int:
        return self.ran

    def copy(self) -> Self:
        return type(self)(self.pieces, self.piece_s)


class Stepped(Sum):
    """The same, but nobody knows how much is left."""

    def left_s(self) -> None:
        return None


class Node(Unit):
    """A node of a tree: it takes ``seconds``, and makes ``fan`` children ``depth`` times over."""

    def __init__(self, depth: int, fan: int, seconds: float) -> None:
        self.depth = depth
        self.fan = fan
        self.seconds = seconds
        self._left_s = seconds
        self._told = False

    @property
    def done(self) -> bool:
        return self._left_s <= 0

    def run(self, seconds: float) -> float:
        took_s = min(seconds, self._left_s)
        self._left_s -= took_s
        return took_s

    def take_spawned(self) -> Sequence[Task]:
        if self._told or not self.done or not self.depth:
            return ()
        self._told = True
        return [type(self)(self.depth - 1, self.fan, self.seconds) for _ in range(self.fan)]

    def copy(self) -> Self:
        return type(self)(self.depth, self.fan, self.seconds)


class Units(Workload):
    """Copies of some tasks, in turn; results are combined."""

    def __init__(self, items: int, *tasks: Task, expected: int | None = None, reduce: bool = True) -> None:
        self.name = "units"
        self.items = items
        self.reduce = reduce
        self._tasks = tasks
        self._expected = expected

    def task(self, index: int) -> Task:
        task = self._tasks[index % len(self._tasks)]
        return task.copy() if isinstance(task, Unit) else task

    def expected(self) -> int | None:
        return self._expected
