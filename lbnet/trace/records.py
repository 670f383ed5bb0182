"""What a trace says: one small class a kind of line, and the line itself.

Data only; it must not know of files. The first key of a line names its kind and holds the id of its job::

    {"open":5,"name":"f","strategy":"sb","placement":"spread","reduce":false,"at_s":0.5}
    {"done":5,"worker":2,"kind":"values","seconds":0.25,"members":[[0,100]]}
    {"cancelled":5,"lo":100,"hi":120}
    {"end":5,"state":"done","items":120,"slots":2,"at_s":0.75}

Tasks that finished together are one line, so that a million tiny tasks are not a million lines. A member is
``[lo, hi]`` of the job's items; ``[lo, hi, origin, parent_origin, parent_index]`` of spawned tasks; and has its run
and the number of its children behind that when it spawned.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from lbnet.types import COMBINED, FAILED, ROOT, SILENT, VALUES, JobId, PeerId, RunId

_KINDS = {VALUES: "values", COMBINED: "combined", SILENT: "silent", FAILED: "failed"}
_NUMBERS = {name: kind for kind, name in _KINDS.items()}


@dataclass(frozen=True, slots=True)
class Opened:
    """A job begins, ``at_s`` seconds after the recording. ``reduce``: results are combined at the workers."""

    job: JobId
    name: str
    strategy: str
    placement: str
    reduce: bool
    at_s: float


@dataclass(frozen=True, slots=True)
class Tasks:
    """Tasks ``[lo, hi)`` of one origin. ``run`` and ``children`` are those of the single task that spawned."""

    lo: int
    hi: int
    origin: RunId = ROOT
    parent_origin: RunId = ROOT
    parent_index: int = 0
    run: RunId = ROOT
    children: int = 0

    def __len__(self) -> int:
        return self.hi - self.lo


@dataclass(frozen=True, slots=True)
class Finished:
    """A group of results as it came from a worker, in the order of coming; duplicates and orphans are among them.

    ``kind`` is one of :data:`lbnet.types.VALUES`, ``COMBINED``, ``SILENT`` and ``FAILED``. ``seconds`` were spent
    in all its tasks together, on the machine that ran them.
    """

    job: JobId
    worker: PeerId
    kind: int
    seconds: float
    members: tuple[Tasks, ...]


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Items ``[lo, hi)`` were cancelled before they started."""

    job: JobId
    lo: int
    hi: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A job has ended, ``at_s`` seconds after the recording began; or the recording has.

    ``state`` is that of the job's report: ``done``, ``cancelled``, ``failed`` or ``refused``, and ``running`` if the
    recording ended first. ``items`` were submitted, ``slots`` were there at most.
    """

    job: JobId
    state: str
    items: int
    slots: int
    at_s: float


Record = Opened | Finished | Cancelled | Ended

# --- to a line ------------------------------------------------------------------------------------


def line_of(record: Record) -> str:
    """The record as one line, without its end."""
    if isinstance(record, Finished):
        return _dump(
            done=record.job,
            worker=record.worker,
            kind=_KINDS[record.kind],
            seconds=record.seconds,
            members=[_member_fields(member) for member in record.members],
        )
    if isinstance(record, Opened):
        return _dump(
            open=record.job,
            name=record.name,
            strategy=record.strategy,
            placement=record.placement,
            reduce=record.reduce,
            at_s=record.at_s,
        )
    if isinstance(record, Cancelled):
        return _dump(cancelled=record.job, lo=record.lo, hi=record.hi)
    return _dump(end=record.job, state=record.state, items=record.items, slots=record.slots, at_s=record.at_s)


# Made once: json.dumps makes an encoder for each call that wants no spaces.
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def _dump(**fields: Any) -> str:
    return _encode(fields)


def _member_fields(tasks: Tasks) -> list[int]:
    if tasks.run != ROOT:
        return [
            tasks.lo,
            tasks.hi,
            tasks.origin,
            tasks.parent_origin,
            tasks.parent_index,
            tasks.run,
            tasks.children,
        ]
    if tasks.origin != ROOT:
        return [tasks.lo, tasks.hi, tasks.origin, tasks.parent_origin, tasks.parent_index]
    return [tasks.lo, tasks.hi]


# --- from a line ----------------------------------------------------------------------------------


def record_of(line: bytes) -> Record:
    """The record of a line.

    Raises:
        ValueError: it is none, or says what cannot be.
    """
    try:
        facts = json.loads(line, parse_constant=_no_number)
        kind, *_ = facts
        return _MAKERS[kind](**facts)
    except (TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"no record: {error}") from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number here")


def _opened(*, open: Any, name: Any, strategy: Any, placement: Any, reduce: Any, at_s: Any) -> Opened:  # noqa: A002
    _check(type(name) is type(strategy) is type(placement) is str and type(reduce) is bool)
    return Opened(JobId(_count(open)), name, strategy, placement, reduce, _seconds(at_s))


def _finished(*, done: Any, worker: Any, kind: Any, seconds: Any, members: Any) -> Finished:
    number = _NUMBERS[kind]
    all_tasks = tuple(_tasks(*member) for member in members)
    # What the ledger takes for granted.
    _check(len(all_tasks) == 1 or (number == COMBINED and len(all_tasks) > 1))
    _check(number != FAILED or len(all_tasks[0]) == 1)
    return Finished(JobId(_count(done)), PeerId(_count(worker)), number, _seconds(seconds), all_tasks)


def _tasks(
    lo: Any, hi: Any, origin: Any = ROOT, parent_origin: Any = ROOT, parent_index: Any = 0, run: Any = ROOT, n: Any = 0
) -> Tasks:
    tasks = Tasks(*map(_count, (lo, hi, origin, parent_origin, parent_index, run, n)))  # type: ignore[arg-type]
    _check(lo < hi and (not n or (run != ROOT and len(tasks) == 1)))
    return tasks


def _cancelled(*, cancelled: Any, lo: Any, hi: Any) -> Cancelled:
    _check(_count(lo) < _count(hi))
    return Cancelled(JobId(_count(cancelled)), lo, hi)


def _ended(*, end: Any, state: Any, items: Any, slots: Any, at_s: Any) -> Ended:
    _check(type(state) is str)
    return Ended(JobId(_count(end)), state, _count(items), _count(slots), _seconds(at_s))


_MAKERS: dict[str, Callable[..., Record]] = {
    "open": _opened,
    "done": _finished,
    "cancelled": _cancelled,
    "end": _ended,
}


def _check(is_so: bool) -> None:
    if not is_so:
        raise ValueError("a record says what cannot be")


def _count(value: Any) -> int:
    _check(type(value) is int and value >= 0)
    return int(value)


def _seconds(value: Any) -> float:
    _check(type(value) in (int, float) and 0 <= value < math.inf)
    return float(value)
