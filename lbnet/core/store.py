"""The payloads of one job's outstanding tasks: what the controller would need to place them again."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from lbnet.types import Batch, RunId


class PayloadStore:
    """Batches as they were submitted or spawned, found by id, dropped when their last task is settled."""

    __slots__ = ("_bases", "_batches", "_remaining", "size_bytes")

    def __init__(self) -> None:
        self._bases: dict[RunId, list[int]] = {}
        self._batches: dict[tuple[RunId, int], Batch] = {}
        self._remaining: dict[tuple[RunId, int], int] = {}
        self.size_bytes = 0

    def add(self, batch: Batch, remaining: int | None = None) -> None:
        """Keep a batch, of which ``remaining`` tasks are not settled: all if None.

        Batches of one origin come in the order of their indices.
        """
        self._bases.setdefault(batch.origin, []).append(batch.lo)
        key = (batch.origin, batch.lo)
        self._batches[key] = batch
        self._remaining[key] = len(batch) if remaining is None else remaining
        self.size_bytes += len(batch.payload.data)

    def find(self, origin: RunId, lo: int, hi: int) -> list[Batch]:
        """What is kept of the tasks ``[lo, hi)``, as parts of the batches that hold them."""
        bases = self._bases.get(origin)
        if not bases:
            return []
        found = []
        at = max(bisect_right(bases, lo) - 1, 0)
        while at < len(bases) and bases[at] < hi:
            batch = self._batches[origin, bases[at]]
            left, right = max(lo, batch.lo), min(hi, batch.hi)
            if left < right:
                found.append(batch.part(left, right))
            at += 1
        return found

    def function_of(self, origin: RunId, index: int) -> bytes | None:
        """The digest of the function of one task, None if its batch is not kept."""
        bases = self._bases.get(origin)
        at = bisect_right(bases, index) - 1 if bases else -1
        if bases is None or at < 0:
            return None
        batch = self._batches[origin, bases[at]]
        return batch.payload.function if index < batch.hi else None

    def settle(self, origin: RunId, lo: int, hi: int) -> None:
        """The tasks ``[lo, hi)`` will never be needed again."""
        bases = self._bases.get(origin)
        if not bases:
            return
        at = max(bisect_right(bases, lo) - 1, 0)
        while at < len(bases) and bases[at] < hi:
            key = (origin, bases[at])
            batch = self._batches[key]
            overlap = min(hi, batch.hi) - max(lo, batch.lo)
            if overlap > 0:
                remaining = self._remaining[key] = self._remaining[key] - overlap
                if remaining <= 0:
                    del self._batches[key], self._remaining[key]
                    del bases[at]
                    self.size_bytes -= len(batch.payload.data)
                    continue
            at += 1
        if not bases:
            del self._bases[origin]

    def items(self) -> Iterator[tuple[Batch, int]]:
        """All that is kept, and of how many tasks each batch is still needed; in the order in which it was added."""
        for key, batch in self._batches.items():
            yield batch, self._remaining[key]

    def clear(self) -> None:
        """Drop everything."""
        self._bases.clear()
        self._batches.clear()
        self._remaining.clear()
        self.size_bytes = 0
