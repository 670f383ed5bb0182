"""Which tasks go with an item that is cancelled: the item itself, and all that descends from it."""

from __future__ import annotations

from collections.abc import Iterator

from lbnet.core.ranges import RangeSet
from lbnet.types import ROOT, Batch


def within(batch: Batch, lo: int, hi: int) -> tuple[int, int] | None:
    """The tasks of a batch that go with items ``[lo, hi)``, as a range of their indices; None if none does."""
    if batch.origin != ROOT:
        return (batch.lo, batch.hi) if lo <= batch.root < hi else None
    left, right = max(batch.lo, lo), min(batch.hi, hi)
    return (left, right) if left < right else None


def without(batch: Batch, lo: int, hi: int) -> Iterator[Batch]:
    """What is left of a batch when items ``[lo, hi)`` are cancelled."""
    hit = within(batch, lo, hi)
    if hit is None:
        yield batch
        return
    for left, right in ((batch.lo, hit[0]), (hit[1], batch.hi)):
        if left < right:
            yield batch.part(left, right)


def wanted_of(batch: Batch, gone: RangeSet) -> list[Batch]:
    """What is left of a batch when these items are cancelled."""
    if batch.origin != ROOT:
        return [] if batch.root in gone else [batch]
    rest = RangeSet([(batch.lo, batch.hi)])
    for lo, hi in gone.overlap(batch.lo, batch.hi):
        rest.remove(lo, hi)
    return [batch.part(lo, hi) for lo, hi in rest]
