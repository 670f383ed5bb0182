"""Finished tasks to groups of results. Pure: it must not know of sockets, clocks or threads.

What a finished task leaves is one *entry*: a plain value or a :class:`~lbnet.pickling.Pickled` one,
:class:`Failed`, :class:`Parent` when it spawned, or ``FOLDED`` when its value went into the
:class:`Combined` value of its ticket.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from lbnet import limits, pickling
from lbnet.errors import ResultSerializeError
from lbnet.types import COMBINED, FAILED, ROOT, SILENT, VALUES, Batch, Failure, Group, Member, RunId

_SHORT = frozenset({int, float, bool, type(None)})

FOLDED = object()
"""The entry of a task whose value is part of its ticket's combined value."""


class Failed:
    """The entry of a task that failed."""

    __slots__ = ("failure",)

    def __init__(self, failure: Failure) -> None:
        self.failure = failure


class Parent:
    """The entry of a task that spawned in its run ``run``: a group of the given kind of its own."""

    __slots__ = ("kind", "run", "value")

    def __init__(self, run: RunId, kind: int, value: Any) -> None:
        self.run = run
        self.kind = kind
        self.value = value


class Combined:
    """Values of spawned tasks, combined by the job's reduce function.

    Args:
        batch: what the tasks belong to.
        where: host and process, for failures.
    """

    __slots__ = ("_batch", "_members", "_value", "seconds", "where")

    def __init__(self, batch: Batch, where: str) -> None:
        self._batch = batch
        self.where = where
        self._value: Any = None
        self._members: list[list[int]] = []
        self.seconds = 0.0

    def fold(self, index: int, value: Any, reduce: Callable[[Any, Any], Any]) -> list[Group]:
        """Add the value of one task.

        Returns nothing when all is well; when ``reduce`` raised, a failure for each task in it, and it is empty again.
        """
        first = not self._members
        if not first and self._members[-1][1] == index:
            self._members[-1][1] = index + 1
        else:
            self._members.append([index, index + 1])
        try:
            self._value = value if first else reduce(self._value, value)
        except BaseException as error:  # noqa: BLE001 - it is the user's code
            return self._fail(pickling.dump_exception(error, self.where))
        return []

    def take(self) -> list[Group]:
        """The groups to send for all that was added, which is nothing, one, or failures; it is empty afterwards."""
        if not self._members:
            return []
        data = _one(self._value, self.where)
        if type(data) is Failed:
            return self._fail(data.failure)
        members = tuple(_member(self._batch, lo, hi) for lo, hi in self._members)
        group = Group(COMBINED, data, members, self.seconds, None)
        self._clear()
        return [group]

    def _fail(self, failure: Failure) -> list[Group]:
        indices = [index for lo, hi in self._members for index in range(lo, hi)]
        share = self.seconds / len(indices)
        self._clear()
        return [_failed(self._batch, index, failure, share) for index in indices]

    def _clear(self) -> None:
        self._value = None
        self._members = []
        self.seconds = 0.0


def groups_of(batch: Batch, first: int, entries: Sequence[Any], seconds: float, combined: Combined) -> list[Group]:
    """The groups for the entries of consecutive tasks from index ``first`` on, which took ``seconds`` together.

    The seconds of folded tasks are added to ``combined``; their group comes later.
    """
    share = seconds / len(entries)
    groups: list[Group] = []
    index = first
    for special, run in groupby(entries, _special):
        part = list(run)
        if not special:
            groups += _ordinary(batch, index, part, share, combined.where)
        else:
            for offset, entry in enumerate(part):
                if entry is FOLDED:
                    combined.seconds += share
                elif type(entry) is Failed:
                    groups.append(_failed(batch, index + offset, entry.failure, share))
                else:
                    groups.append(_parent(batch, index + offset, entry, share, combined.where))
        index += len(part)
    return groups


def _special(entry: Any) -> bool:
    return entry is FOLDED or type(entry) is Failed or type(entry) is Parent


def _ordinary(batch: Batch, index: int, entries: list[Any], share: float, where: str) -> list[Group]:
    if batch.origin != ROOT:
        return [Group(SILENT, b"", (_member(batch, index, index + len(entries)),), share * len(entries), None)]
    groups = []
    for part in _portions(entries):
        end = index + len(part)
        data = _one(part[0], where) if len(part) == 1 else pickling.dump_values(part).data
        if type(data) is Failed:
            groups.append(_failed(batch, index, data.failure, share))
        else:
            groups.append(Group(VALUES, data, (_member(batch, index, end),), share * len(part), None))
        index = end
    return groups


def _portions(entries: list[Any]) -> Iterator[list[Any]]:
    """Cut entries so that no portion is much longer than ``limits.LINK_BUFFER_HIGH_BYTES``, except for a single one."""
    if _SHORT.issuperset(map(type, entries)):
        yield entries
        return
    begin = size = 0
    for position, entry in enumerate(entries):
        entry_size = _size_bytes(entry)
        if size + entry_size > limits.LINK_BUFFER_HIGH_BYTES and position > begin:
            yield entries[begin:position]
            begin, size = position, 0
        size += entry_size
    yield entries[begin:]


def _size_bytes(entry: Any) -> int:
    if type(entry) is pickling.Pickled:
        return len(entry.data)
    return sum(map(sys.getsizeof, entry)) if type(entry) is tuple else sys.getsizeof(entry)


def _parent(batch: Batch, index: int, entry: Parent, share: float, where: str) -> Group:
    data = b"" if entry.kind == SILENT else _one(entry.value, where)
    if type(data) is Failed:
        return _failed(batch, index, data.failure, share)
    return Group(entry.kind, data, (_member(batch, index, index + 1, entry.run),), share, None)


def _one(value: Any, where: str) -> Any:
    """The data of a group of one value, or :class:`Failed` if there can be none."""
    entry = value if type(value) is pickling.Pickled else frozen(value, where)
    if type(entry) is Failed:
        return entry
    dumped = pickling.dump_values([entry])
    if dumped.bad:
        return Failed(Failure("ResultSerializeError", str(dumped.bad[0][1]), "", where, b""))
    return dumped.data


def _failed(batch: Batch, index: int, failure: Failure, seconds: float) -> Group:
    return Group(FAILED, b"", (_member(batch, index, index + 1),), seconds, failure)


def _member(batch: Batch, lo: int, hi: int, run: RunId = ROOT) -> Member:
    root = lo if batch.origin == ROOT else batch.root
    return Member(batch.origin, lo, hi, root, batch.parent_origin, batch.parent_index, run, ())


def frozen(value: Any, where: str) -> Any:
    """``value`` as an entry: itself when plain, else pickled now, or the failure to do so."""
    try:
        return pickling.freeze(value, "a result", ResultSerializeError)
    except ResultSerializeError as error:
        text, cause = str(error), error.__cause__
    except KeyboardInterrupt as error:
        # No Ctrl-C reaches a slot: the value's own methods raised it.
        text, cause = f"a result of type {type(value).__name__} cannot be pickled: KeyboardInterrupt", error
    traceback = pickling.format_traceback(cause) if cause is not None else ""
    return Failed(Failure("ResultSerializeError", text, traceback, where, b""))
