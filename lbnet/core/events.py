"""What can happen to a controller or a worker: one small class an event. Data only."""

from __future__ import annotations

from dataclasses import dataclass

from lbnet.protocol.messages import Message
from lbnet.protocol.records import Outcome
from lbnet.types import Address, Batch, Group, JobId, PeerId, RunId, SlotId


@dataclass(frozen=True, slots=True)
class Joined:
    """A link is open and its peer has said who it is. ``role`` is ``worker``, ``client`` or ``peer``.

    ``back``: it was here before, under the same id, and has kept what it held. A worker is told of its controller
    (``controller``) only when it is back there.
    """

    peer: PeerId
    role: str
    name: str
    host: str
    pid: int
    slots: int
    address: Address
    back: bool = False


@dataclass(frozen=True, slots=True)
class Received:
    """A well-formed message of a kind that this peer may say."""

    peer: PeerId
    message: Message


@dataclass(frozen=True, slots=True)
class Heard:
    """A peer lives, although no whole message came: part of a long one did, or it takes what is sent to it."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class Left:
    """The link to a peer is gone. ``reason`` is for people; ``on_purpose``: it said goodbye."""

    peer: PeerId
    reason: str
    on_purpose: bool = False


@dataclass(frozen=True, slots=True)
class Persisted:
    """The records of the first ``count`` ``Persist`` effects are safe."""

    count: int


@dataclass(frozen=True, slots=True)
class Fetched:
    """Outcomes of a job from number ``begin`` on, as they were kept; or none, and the ``problem`` in words."""

    job: JobId
    begin: int
    outcomes: tuple[Outcome, ...]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Records cannot be kept now, for a reason in words; or, if ``over``, they can again."""

    text: str
    over: bool = False


@dataclass(frozen=True, slots=True)
class Unreachable:
    """No direct link to this worker could be opened; what was sent to it was not delivered."""

    peer: PeerId
    reason: str


@dataclass(frozen=True, slots=True)
class Leave:
    """A worker is to leave on purpose; its running tasks get ``grace_s`` seconds. ``Depart`` follows."""

    grace_s: float


@dataclass(frozen=True, slots=True)
class Tick:
    """The time that was asked for by the last ``SetTimer`` has come."""


# --- a worker's slots -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SlotReady:
    """A slot process is up; what an earlier process in this slot knew is forgotten."""

    slot: SlotId
    pid: int


@dataclass(frozen=True, slots=True)
class SlotDone:
    """Tasks of a ticket below ``upto`` are finished, with results."""

    slot: SlotId
    ticket: int
    upto: int
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class SlotSpawned:
    """A running task spawned these tasks."""

    slot: SlotId
    ticket: int
    batch: Batch


@dataclass(frozen=True, slots=True)
class SlotTaught:
    """A running task spawned a function that its slot had not been taught."""

    slot: SlotId
    job: JobId
    digest: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class SlotFinished:
    """A ticket is over: tasks ``[lo, ran_to)`` of it ran."""

    slot: SlotId
    ticket: int
    ran_to: int


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """The answer to a ``Reclaim``: tasks ``[taken_from, hi)`` of the ticket will not run in this slot."""

    slot: SlotId
    ticket: int
    taken_from: int


@dataclass(frozen=True, slots=True)
class SlotDied:
    """A slot process ended. ``ticket`` and ``index`` name the task that ran, -1 if none did.

    ``timed_out`` is set when the pool ended it because that task was over its time.
    ``starting`` is set when it died before it was ready. ``where`` is its host and process id.
    """

    slot: SlotId
    ticket: int
    index: int
    timed_out: bool
    starting: bool
    description: str
    where: str = ""


@dataclass(frozen=True, slots=True)
class SlotOutput:
    """What a task printed: all of one that failed, the end for one that killed its slot, just before that is told.

    Of jobs that are followed, everything as it comes (``live``). ``dropped`` bytes were left out of ``text``.
    """

    slot: SlotId
    job: JobId
    origin: RunId
    index: int
    text: bytes
    dropped: int
    live: bool = False


@dataclass(frozen=True, slots=True)
class Recalled:
    """The answer to a ``Recall``: what each execution has printed, in the order in which they began to."""

    enquiry: int
    outputs: tuple[SlotOutput, ...]


Event = (
    Joined | Received | Heard | Left | Persisted | Fetched | Trouble | Unreachable | Leave | Tick
    | SlotReady | SlotDone | SlotSpawned | SlotTaught | SlotFinished | Reclaimed | SlotDied | SlotOutput | Recalled
)  # fmt: skip
