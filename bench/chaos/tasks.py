"""The functions that workers run. Each execution is written to a log, so that those that were repeated can be counted.

They must not know of faults. They are importable by name wherever workers run.
"""

from __future__ import annotations

import os
import time
import zlib
from functools import cache
from typing import Any

import lbnet
from lbnet import WorkUnit

FANOUT = 3
"""A node of a tree has up to so many children."""

UNIT_STEP = 2_000
"""Numbers that a work unit adds up between two looks at the clock."""

UNIT_NAP_S = 0.0005

Found = tuple[int, int, int]
"""What reduced jobs return: the item that it belongs to, how many parts, their sum."""

MIXED = -1
"""In place of the item where values of two items were combined, which must never happen."""


class PlannedError(Exception):
    """A task that fails as it should; its argument is the index of its item."""


def flat(log: str, job: str, item: tuple[int, float]) -> tuple[int, int]:
    """A nap, and a value that tells the item."""
    index, seconds = item
    note(log, job, str(index))
    nap(seconds)
    return index, index * index + 7


def failing(log: str, job: str, item: tuple[int, float, str]) -> tuple[int, int]:
    """As :func:`flat`, or an exception (``raise``), or the end of the process (``exit``)."""
    index, seconds, how = item
    note(log, job, str(index))
    nap(seconds)
    if how == "raise":
        raise PlannedError(index)
    if how == "exit":
        os._exit(3)
    return index, index * index + 7


def payload(log: str, job: str, item: tuple[int, bytes]) -> tuple[int, bytes]:
    """What came, backwards."""
    index, data = item
    note(log, job, str(index))
    return index, data[::-1]


def tree(log: str, job: str, node: tuple[int, str, int, float]) -> Found:
    """A node of a tree, which spawns its children; the tree is the same whenever it is walked."""
    root, path, depth, seconds = node
    note(log, job, path)
    for child in range(fanout(path, depth)):
        lbnet.spawn(tree, log, job, (root, f"{path}.{child}", depth - 1, seconds))
    nap(seconds)
    return root, 1, weight(path)


def unit(log: str, job: str, item: tuple[int, int]) -> Found:
    """Adds up a range in a work unit that gives parts of itself away. Only the execution of the item is logged."""
    root, size = item
    note(log, job, str(root))
    found = lbnet.run_unit(Range(root, 0, size))
    assert isinstance(found, tuple)
    return found


class Range(WorkUnit):
    """The numbers ``[lo, hi)``."""

    def __init__(self, root: int, lo: int, hi: int) -> None:
        self.root, self.lo, self.hi = root, lo, hi
        self.count = self.total = 0

    def run(self, budget_s: float) -> bool:
        """Add up for about ``budget_s``."""
        end = time.monotonic() + budget_s
        while self.lo < self.hi and time.monotonic() < end:
            stop = min(self.hi, self.lo + UNIT_STEP)
            self.total += sum(range(self.lo, stop))
            self.count += stop - self.lo
            self.lo = stop
            time.sleep(UNIT_NAP_S)
        return self.lo == self.hi

    def split(self, fraction: float) -> Range | None:
        """The upper part of what is left."""
        cut = self.hi - int((self.hi - self.lo) * fraction)
        if cut in {self.lo, self.hi}:
            return None
        part, self.hi = Range(self.root, cut, self.hi), cut
        return part

    def result(self) -> Found:
        """How many numbers, and their sum."""
        return self.root, self.count, self.total


def combine(one: Found, other: Found) -> Found:
    """Of two parts of the same item."""
    return one[0] if one[0] == other[0] else MIXED, one[1] + other[1], one[2] + other[2]


def fanout(path: str, depth: int) -> int:
    """How many children a node has."""
    return 0 if depth == 0 else weight(path) % (FANOUT + 1)


def weight(path: str) -> int:
    """A number for a node, by which a missing one and a doubled one would show."""
    return zlib.crc32(path.encode()) % 1_000_003


def nap(seconds: float) -> None:
    """Sleep, unless there is no time to."""
    if seconds > 0:
        time.sleep(seconds)


def note(log: str, job: str, key: str) -> None:
    """Write to the log that this execution has begun."""
    # One write to a file that is open for appending: lines of several processes do not mix, and survive the writer.
    os.write(_opened(log), f"{job} {key}\n".encode())


@cache
def _opened(log: str) -> int:
    return os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)


def plain(value: Any) -> Any:
    """A value as JSON can say it: bytes by their length and checksum."""
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    return f"{len(value)} bytes, crc {zlib.crc32(value):08x}" if isinstance(value, bytes) else value
