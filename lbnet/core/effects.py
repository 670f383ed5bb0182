"""What a controller or a worker wants done: the whole vocabulary of side effects, in order of execution."""

from __future__ import annotations

from dataclasses import dataclass

from lbnet.protocol.messages import Message
from lbnet.protocol.records import Outcome, Record
from lbnet.types import Address, Batch, JobId, PeerId, RunId, SlotId


@dataclass(frozen=True, slots=True)
class Send:
    """Send ``message`` to a peer whose link is open."""

    to: PeerId
    message: Message


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a direct link to a worker. ``Joined`` with the role ``peer``, or ``Unreachable``, follows."""

    peer: PeerId
    address: Address


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the link to a peer: it broke the protocol, or, if it is ``silent``, it seems to be dead."""

    peer: PeerId
    reason: str
    silent: bool = False

    @property
    def sentence(self) -> str:
        """Why, for people."""
        return self.reason if self.silent else f"it broke the protocol: {self.reason}"


@dataclass(frozen=True, slots=True)
class Depart:
    """A worker that leaves holds nothing any more: say goodbye, and end. Nothing is asked for after this."""


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Send ``Tick`` at ``at`` (the same clock as ``now``); replaces any earlier timer."""

    at: float


@dataclass(frozen=True, slots=True)
class Persist:
    """Keep these records of a job where a crash does not reach them; ``Persisted`` follows when that is so.

    With ``whole`` they are all that is to be kept of the job: what was kept before may be dropped, at the same moment.
    ``aside`` are outcomes, from number ``aside_from`` on, that are kept by themselves until they are taken: ``Fetch``
    asks for them. If it is not ``urgent``, nobody waits for it yet: it may be written with others,
    ``limits.JOURNAL_GROUP_S`` later.
    """

    job: JobId
    records: tuple[Record, ...]
    whole: bool = False
    urgent: bool = True
    aside_from: int = 0
    aside: tuple[Outcome, ...] = ()


@dataclass(frozen=True, slots=True)
class Fetch:
    """Bring back outcomes ``[begin, end)`` of a job that were set aside, or the first of them. ``Fetched`` follows."""

    job: JobId
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Teach:
    """Give a function to a slot process."""

    slot: SlotId
    job: JobId
    digest: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Run:
    """Hand a batch to a slot. ``timeout_s`` limits each of its tasks, 0 for no limit.

    A task that raises what ``retry_on`` does not name fails for good; all is named if it is empty.
    """

    slot: SlotId
    ticket: int
    batch: Batch
    first_run: RunId
    reduce: bytes
    timeout_s: float
    retry_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reclaim:
    """Take back the tasks of a ticket from ``limit`` on, if they have not started. ``Reclaimed`` follows at once."""

    slot: SlotId
    ticket: int
    limit: int


@dataclass(frozen=True, slots=True)
class Forget:
    """Tell every slot that a job has ended. A task of it that still runs after a grace is ended with its slot."""

    job: JobId


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody wants the tasks ``[lo, hi)`` of a ticket. One that runs and does not end within a grace is ended with
    its slot; ``SlotDied`` then names nobody.
    """

    slot: SlotId
    ticket: int
    lo: int
    hi: int


@dataclass(frozen=True, slots=True)
class Follow:
    """Tell, as ``SlotOutput``, everything that tasks of this job print from now on, or no more."""

    job: JobId
    follow: bool


@dataclass(frozen=True, slots=True)
class Recall:
    """Say what tasks of this job have printed, or only item ``index`` of it, unless that is -1. ``Recalled`` follows.

    Whatever they had printed is told before, if the job is followed. With ``flush`` that is all.
    """

    enquiry: int
    job: JobId
    index: int
    flush: bool


@dataclass(frozen=True, slots=True)
class Kill:
    """End a slot process now; ``SlotDied`` and then ``SlotReady`` follow."""

    slot: SlotId


@dataclass(frozen=True, slots=True)
class SetHungry:
    """Let :func:`lbnet.hungry` answer ``hungry`` in all slots."""

    hungry: bool


Effect = (
    Send | Persist | Fetch | Connect | Disconnect | Depart | SetTimer
    | Teach | Run | Reclaim | Forget | Cancel | Follow | Recall | Kill | SetHungry
)  # fmt: skip
