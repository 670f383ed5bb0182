"""Which tails were taken back, where their tasks then ran, and whether a task was trapped behind a giant. Pure.

It reads what tasks say of themselves (:class:`Row`) and what workers have written down (:mod:`bench.watched`), and must
not know how either came about. All times are of one clock.

A **tail taken back** is what a worker says: the end of a ticket that its slot has let go of. It belongs to the giant
that this slot ran at that moment. Where its tasks went is what the tasks say.

A task **sat behind a giant** if the slot that ran the giant had been handed the task and had not begun it. It was
**trapped** for as long as it sat there while another slot ran nothing at all: that slot could have run it. While all
slots run giants nobody can, so that wait is no fault.
"""

from __future__ import annotations

import bisect
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.watched import Handed, TakenBack

IDLE_S = 0.001
"""A slot that begins nothing for so long is idle; between two tiny tasks it is not."""

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Row:
    """A task ran, in which lane, from when to when."""

    index: int
    lane: str
    began_s: float
    ended_s: float

    @property
    def seconds(self) -> float:
        """How long it ran, by the wall clock."""
        return self.ended_s - self.began_s


@dataclass(frozen=True, slots=True)
class Ran:
    """Items ``[lo, hi)`` ran one after the other in a lane."""

    lane: str
    lo: int
    hi: int
    began_s: float
    ended_s: float


@dataclass(frozen=True, slots=True)
class Tail:
    """A tail that was taken back. ``giant`` ran in its lane at that moment, None if no giant did; ``ran`` its parts."""

    at_s: float
    lane: str
    lo: int
    hi: int
    giant: int | None
    ran: tuple[Ran, ...]

    @property
    def moved(self) -> int:
        """How many of its tasks ran in another lane."""
        return sum(part.hi - part.lo for part in self.ran if part.lane != self.lane)


@dataclass(frozen=True, slots=True)
class Sat:
    """A task sat behind a giant in ``lane``, from ``since_s`` to ``until_s``, and began at ``began_s``."""

    index: int
    giant: int
    lane: str
    since_s: float
    until_s: float
    began_s: float
    trapped_s: float

    @property
    def wait_s(self) -> float:
        """Until it began, here or elsewhere."""
        return self.began_s - self.since_s


def parts(rows: Iterable[Row]) -> list[Ran]:
    """Rows of ascending index, as stretches that ran in one lane one after the other, without a gap of the lane."""
    found: list[Ran] = []
    for row in rows:
        last = found[-1] if found else None
        follows = last is not None and last.lane == row.lane and last.hi == row.index
        if last is not None and follows and -IDLE_S < row.began_s - last.ended_s < IDLE_S:
            found[-1] = Ran(last.lane, last.lo, row.index + 1, last.began_s, row.ended_s)
        else:
            found.append(Ran(row.lane, row.index, row.index + 1, row.began_s, row.ended_s))
    return found


def giants(rows: Iterable[Row], numbers: Iterable[int]) -> dict[str, list[Row]]:
    """The rows of these items by lane, in the order of time."""
    wanted = set(numbers)
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.index in wanted:
            found[row.lane].append(row)
    return {lane: sorted(mine, key=lambda row: row.began_s) for lane, mine in found.items()}


def tails(taken: Iterable[TakenBack], rows: Sequence[Row], large: Mapping[str, Sequence[Row]]) -> list[Tail]:
    """What was taken back, in the order of time.

    Args:
        taken: what the workers have written down.
        rows: of all items, by index.
        large: the giants of each lane, see :func:`giants`.
    """
    found = []
    for note in sorted(taken, key=lambda note: note.at_s):
        giant = next((row for row in large.get(note.lane, ()) if row.began_s <= note.at_s < row.ended_s), None)
        number = None if giant is None else giant.index
        ran = tuple(parts(rows[note.lo : note.hi]))
        found.append(Tail(note.at_s, note.lane, note.lo, note.hi, number, ran))
    return found


def idle(rows: Iterable[Row]) -> list[Interval]:
    """When at least one lane ran nothing, between the first beginning and the last end of all."""
    lanes: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        lanes[row.lane].append(row)
    if not lanes:
        return []
    first = min(row.began_s for mine in lanes.values() for row in mine)
    last = max(row.ended_s for mine in lanes.values() for row in mine)
    gaps: list[Interval] = []
    for mine in lanes.values():
        mine.sort(key=lambda row: row.began_s)
        ends = [first, *(row.ended_s for row in mine)]
        begins = [*(row.began_s for row in mine), last]
        gaps.extend((end, begin) for end, begin in zip(ends, begins, strict=True) if begin - end >= IDLE_S)
    return _joined(gaps)


def sat_behind(
    handed: Iterable[Handed], taken: Iterable[TakenBack], rows: Sequence[Row], large: Mapping[str, Sequence[Row]]
) -> list[Sat]:
    """Every task that sat behind a giant, once for each giant that it sat behind; giants do so, too.

    Args:
        handed: what slots were handed, as the workers have written it down.
        taken: what was taken back from them.
        rows: of all items, by index.
        large: the giants of each lane, see :func:`giants`.
    """
    gaps = idle(rows)
    backs: dict[tuple[str, int], list[TakenBack]] = defaultdict(list)
    for back in taken:
        backs[back.lane, back.ticket].append(back)
    found = []
    for note in handed:
        for giant in large.get(note.lane, ()):
            if note.at_s >= giant.ended_s:
                continue
            since_s = max(giant.began_s, note.at_s)
            for lo, hi, back_s in _pieces(note, backs.get((note.lane, note.ticket), ())):
                for index in range(lo, hi):
                    row = rows[index]
                    until_s = min(row.began_s if back_s is None else back_s, giant.ended_s)
                    if index == giant.index or until_s <= since_s:
                        continue
                    trapped_s = _overlap(gaps, since_s, until_s)
                    found.append(Sat(index, giant.index, note.lane, since_s, until_s, row.began_s, trapped_s))
    return found


def _pieces(note: Handed, backs: Iterable[TakenBack]) -> Iterator[tuple[int, int, float | None]]:
    """A ticket cut where it was taken back, with when that was."""
    end = note.hi
    for back in sorted(backs, key=lambda back: -back.lo):
        yield back.lo, back.hi, back.at_s
        end = min(end, back.lo)
    yield note.lo, end, None


def _joined(intervals: Iterable[Interval]) -> list[Interval]:
    found: list[Interval] = []
    for begin, end in sorted(intervals):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


def _overlap(intervals: Sequence[Interval], begin: float, end: float) -> float:
    """How much of ``[begin, end)`` the intervals cover, which are apart and in order."""
    first = max(bisect.bisect_right(intervals, (begin, begin)) - 1, 0)
    near = itertools.takewhile(lambda each: each[0] < end, intervals[first:])
    return sum(max(0.0, min(high, end) - max(low, begin)) for low, high in near)
