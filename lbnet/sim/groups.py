"""Finished tasks to groups of results, as a real slot makes them; values are integers, written as decimal digits.

It must not know of time, nor of slots.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lbnet import limits
from lbnet.sim.book import Book
from lbnet.types import COMBINED, ROOT, SILENT, VALUES, Batch, Group, Member, RunId


@dataclass(slots=True)
class Entry:
    """One finished task: its value, its run if it spawned (else ``ROOT``), and how long it took."""

    index: int
    value: int
    run: RunId
    seconds: float


def plain_groups(book: Book, batch: Batch, lo: int, hi: int, seconds: float, *, reduce: bool) -> list[Group]:
    """The groups of the plain tasks ``[lo, hi)``: each counts 1."""
    if batch.origin != ROOT:
        data = _number(book, hi - lo) if reduce else b""
        return [Group(COMBINED if reduce else SILENT, data, (_member(batch, lo, hi),), seconds, None)]
    most = max(1, limits.LINK_BUFFER_HIGH_BYTES // max(1, book.workload.result_bytes))
    share = seconds / (hi - lo)
    groups = []
    while lo < hi:
        end = min(hi, lo + most)
        data = book.result_zeros(end - lo)
        groups.append(Group(VALUES, data, (_member(batch, lo, end),), share * (end - lo), None))
        lo = end
    return groups


def groups_of(book: Book, batch: Batch, entries: list[Entry], *, reduce: bool) -> list[Group]:
    """The groups of finished tasks, in their order; what is combined comes last."""
    groups: list[Group] = []
    together: list[Entry] = []
    folded: list[Entry] = []
    for entry in entries:
        if entry.run != ROOT:
            groups += _ordinary(book, batch, together)
            together = []
            groups.append(_parent(book, batch, entry, reduce=reduce))
        elif reduce and batch.origin != ROOT:
            folded.append(entry)
        else:
            together.append(entry)
    groups += _ordinary(book, batch, together)
    if folded:
        members = tuple(_member(batch, part[0].index, part[-1].index + 1) for part in _neighbours(folded))
        data = _number(book, sum(entry.value for entry in folded))
        groups.append(Group(COMBINED, data, members, sum(entry.seconds for entry in folded), None))
    return groups


def counted(data: bytes, first: int, count: int) -> int:
    """What ``count`` values add up to, from the ``first`` one in ``data`` on."""
    if not data.strip(b"\0"):
        return count
    return sum(map(int, data.split(b",")[first : first + count]))


def _ordinary(book: Book, batch: Batch, entries: list[Entry]) -> Iterator[Group]:
    if not entries:
        return
    lo, hi = entries[0].index, entries[-1].index + 1
    seconds = sum(entry.seconds for entry in entries)
    if batch.origin != ROOT:
        yield Group(SILENT, b"", (_member(batch, lo, hi),), seconds, None)
        return
    data = b",".join(b"%d" % entry.value for entry in entries).ljust(len(entries) * book.workload.result_bytes)
    yield Group(VALUES, data, (_member(batch, lo, hi),), seconds, None)


def _parent(book: Book, batch: Batch, entry: Entry, *, reduce: bool) -> Group:
    member = _member(batch, entry.index, entry.index + 1, entry.run)
    if not reduce and batch.origin != ROOT:
        return Group(SILENT, b"", (member,), entry.seconds, None)
    return Group(COMBINED if reduce else VALUES, _number(book, entry.value), (member,), entry.seconds, None)


def _number(book: Book, value: int) -> bytes:
    return (b"%d" % value).ljust(book.workload.result_bytes)


def _member(batch: Batch, lo: int, hi: int, run: RunId = ROOT) -> Member:
    root = lo if batch.origin == ROOT else batch.root
    return Member(batch.origin, lo, hi, root, batch.parent_origin, batch.parent_index, run, ())


def _neighbours(entries: list[Entry]) -> Iterator[list[Entry]]:
    part: list[Entry] = []
    for entry in entries:
        if part and part[-1].index + 1 != entry.index:
            yield part
            part = []
        part.append(entry)
    yield part
