"""What a journal keeps of a job: what happened to it, in order, or its books as they stand. Data only.

A job is rebuilt by letting the same things happen to it again. Some of them are the messages by which they happened:
FUNCTION, SUBMIT, CLOSE_JOB, TAKEN, and in a snapshot the outcomes that nobody has taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from lbnet.errors import RemoteProtocolError
from lbnet.protocol.messages import (
    Cancelled,
    CloseJob,
    Failed,
    Function,
    JobDone,
    Partial,
    Settled,
    Submit,
    Taken,
    Values,
)
from lbnet.protocol.shapes import Codec
from lbnet.types import Batch, Failure, Group, JobId, JobOptions, PeerId, RunId


@dataclass(frozen=True, slots=True)
class Opened:
    """A client opened the job. ``number`` counts the jobs of the cluster, ``at`` is the controller's clock."""

    job: JobId
    client: PeerId
    number: int
    options: JobOptions
    at: float
    slots: int


@dataclass(frozen=True, slots=True)
class Owned:
    """The job is another client's now."""

    job: JobId
    client: PeerId


@dataclass(frozen=True, slots=True)
class Results:
    """A worker's results came."""

    job: JobId
    worker: PeerId
    name: str
    slots: int
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Dropped:
    """Items were cancelled, with all that they spawned."""

    job: JobId
    lo: int
    hi: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The job ended; ``kind`` is the error of :mod:`lbnet.errors` that its items fail with, if it failed."""

    job: JobId
    state: str
    reason: str
    at: float
    kind: str = ""


@dataclass(frozen=True, slots=True)
class SetAside:
    """The outcomes below ``upto`` are kept by themselves, and not in memory."""

    job: JobId
    upto: int


# --- a snapshot: these, then what is still needed ---------------------------------------------------


@dataclass(frozen=True, slots=True)
class Range:
    """Indices ``[lo, hi)``."""

    lo: int
    hi: int


@dataclass(frozen=True, slots=True)
class RunBooks:
    """The outstanding children of one committed run."""

    run: RunId
    root: int
    outstanding: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class FamilyBooks:
    """An item that spawned."""

    root: int
    outstanding: int
    failure: Failure | None


@dataclass(frozen=True, slots=True)
class EarlyBooks:
    """A result that waits for its parent's. ``waiting``: a combined one, whose members are not settled."""

    parent_origin: RunId
    parent_index: int
    waiting: bool
    group: Group


@dataclass(frozen=True, slots=True)
class LedgerBooks:
    """A ledger, whole."""

    submitted: int
    spawned: int
    done: int
    failed: int
    cancelled: int
    duplicates: int
    orphans: int
    roots: tuple[Range, ...]
    runs: tuple[RunBooks, ...]
    families: tuple[FamilyBooks, ...]
    early: tuple[EarlyBooks, ...]
    withdrawn: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class TallyBooks:
    """One worker's share of a job."""

    worker: PeerId
    name: str
    slots: int
    tasks: int
    busy_s: float
    batches_sent: int
    batches_received: int
    asks: int
    refusals: int


@dataclass(frozen=True, slots=True)
class Requeues:
    """So many tasks were placed again, for this cause."""

    cause: str
    tasks: int


@dataclass(frozen=True, slots=True)
class Books:
    """A job as it stands. FUNCTION, :class:`Stored` and outcomes follow, in this order.

    ``aside``: so many outcomes after the ``taken`` ones are kept by themselves.
    """

    opened: Opened
    total: int | None
    state: str
    ended_at: float | None
    requeues: tuple[Requeues, ...]
    taken: int
    aside: int
    ledger: LedgerBooks
    tallies: tuple[TallyBooks, ...]


@dataclass(frozen=True, slots=True)
class Stored:
    """The payload of outstanding tasks; ``remaining`` of the batch are not settled."""

    batch: Batch
    remaining: int


Outcome = Cancelled | Values | Partial | Failed | Settled | JobDone
"""What a job's client is told of its items, in an order that never changes."""

OUTCOMES: frozenset[type] = frozenset(get_args(Outcome))

Record = (
    Opened | Owned | Function | Submit | CloseJob | Results | Dropped | Taken | Ended | SetAside
    | Books | Stored | Outcome
)  # fmt: skip

RECORDS: tuple[type[Record], ...] = (
    Opened, Owned, Function, Submit, CloseJob, Results, Dropped, Taken, Ended,
    Books, Stored, Cancelled, Values, Partial, Failed, Settled, JobDone,
    SetAside,
)  # fmt: skip
"""The kind of a record in a journal is its place here: new ones are added at the end."""

_CODEC = Codec(RECORDS)


def encode(record: Record) -> bytes:
    """The bytes that are kept."""
    return _CODEC.encode(record)


def decode(body: bytes) -> Record:
    """The record that was kept.

    Raises:
        RemoteProtocolError: the bytes are not a record.
    """
    return _CODEC.decode(body)  # type: ignore[no-any-return]


def decode_outcome(body: bytes) -> Outcome:
    """The outcome that was set aside.

    Raises:
        RemoteProtocolError: the bytes are none.
    """
    found = decode(body)
    if type(found) not in OUTCOMES:
        raise RemoteProtocolError(f"a {type(found).__name__} is no outcome")
    return found  # type: ignore[return-value]  # it is one of them


def taken_by(record: Record) -> int:
    """So many outcomes of the job have been taken, as this record says; 0 if it says nothing of it."""
    if isinstance(record, Taken):
        return record.upto
    return record.taken if isinstance(record, Books) else 0
