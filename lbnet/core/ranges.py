"""A set of indices kept as disjoint ranges, so that ten million of them cost a few objects."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class RangeSet:
    """Indices as sorted, disjoint, non-touching half-open ranges ``[lo, hi)``.

    Every operation costs the logarithm of the number of ranges, plus what it changes.
    """

    __slots__ = ("_count", "_his", "_los")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._los: list[int] = []
        self._his: list[int] = []
        self._count = 0
        for lo, hi in ranges:
            self.add(lo, hi)

    def __len__(self) -> int:
        """How many indices the set holds."""
        return self._count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._los, self._his, strict=True)))

    def __contains__(self, index: int) -> bool:
        at = bisect_right(self._los, index) - 1
        return at >= 0 and index < self._his[at]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangeSet) and self._los == other._los and self._his == other._his

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"RangeSet({list(self)})"

    def first(self) -> int:
        """The smallest index. The set must not be empty."""
        return self._los[0]

    def covers(self, lo: int, hi: int) -> bool:
        """Whether every index of ``[lo, hi)`` is in the set."""
        at = bisect_right(self._los, lo) - 1
        return at >= 0 and hi <= self._his[at]

    def add(self, lo: int, hi: int) -> None:
        """Put ``[lo, hi)`` in; what is there already stays."""
        if lo >= hi:
            return
        if not self._los:
            self._los.append(lo)
            self._his.append(hi)
            self._count = hi - lo
            return
        # The ranges that touch or overlap [lo, hi) become one with it.
        first = bisect_left(self._his, lo)
        last = bisect_right(self._los, hi)
        if first < last:
            lo = min(lo, self._los[first])
            hi = max(hi, self._his[last - 1])
            for at in range(first, last):
                self._count -= self._his[at] - self._los[at]
        self._los[first:last] = [lo]
        self._his[first:last] = [hi]
        self._count += hi - lo

    def remove(self, lo: int, hi: int) -> list[tuple[int, int]]:
        """Take ``[lo, hi)`` out. Returns the ranges that were really there."""
        if lo >= hi:
            return []
        at = bisect_right(self._los, lo) - 1
        if at >= 0 and hi <= self._his[at]:
            self._remove_inside(at, lo, hi)
            return [(lo, hi)]
        taken: list[tuple[int, int]] = []
        first = bisect_right(self._his, lo)
        last = bisect_left(self._los, hi)
        if first >= last:
            return taken
        los: list[int] = []
        his: list[int] = []
        for at in range(first, last):
            left, right = self._los[at], self._his[at]
            if left < lo:
                los.append(left)
                his.append(lo)
            if right > hi:
                los.append(hi)
                his.append(right)
            taken.append((max(left, lo), min(right, hi)))
        self._los[first:last] = los
        self._his[first:last] = his
        self._count -= sum(right - left for left, right in taken)
        return taken

    def _remove_inside(self, at: int, lo: int, hi: int) -> None:
        """Take ``[lo, hi)`` out of the range that holds all of it."""
        left, right = self._los[at], self._his[at]
        self._count -= hi - lo
        if lo > left:
            self._his[at] = lo
            if hi < right:
                self._los.insert(at + 1, hi)
                self._his.insert(at + 1, right)
        elif hi < right:
            self._los[at] = hi
        else:
            del self._los[at], self._his[at]

    def overlap(self, lo: int, hi: int) -> list[tuple[int, int]]:
        """The parts of ``[lo, hi)`` that are in the set."""
        if lo >= hi:
            return []
        first = bisect_right(self._his, lo)
        last = bisect_left(self._los, hi)
        return [(max(self._los[at], lo), min(self._his[at], hi)) for at in range(first, last)]
