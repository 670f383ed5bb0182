"""What a controller or a worker wants done: the whole vocabulary of side effects, in order of execution."""

from __future__ import annotations

from dataclasses import dataclass

from lbnet.protocol.messages import Message
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
    """Close the link to a peer."""

    peer: PeerId
    reason: str


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Send ``Tick`` at ``at`` (the same clock as ``now``); replaces any earlier timer."""

    at: float


@dataclass(frozen=True, slots=True)
class Teach:
    """Give a function to a slot process."""

    slot: SlotId
    job: JobId
    digest: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Run:
    """Hand a batch to a slot. ``timeout_s`` limits each of its tasks, 0 for no limit."""

    slot: SlotId
    ticket: int
    batch: Batch
    first_run: RunId
    reduce: bytes
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Reclaim:
    """Take back the tasks of a ticket from ``limit`` on, if they have not started. ``Reclaimed`` follows at once."""

    slot: SlotId
    ticket: int
    limit: int


@dataclass(frozen=True, slots=True)
class Forget:
    """Tell every slot that a job has ended."""

    job: JobId


@dataclass(frozen=True, slots=True)
class Kill:
    """End a slot process now; ``SlotDied`` and then ``SlotReady`` follow."""

    slot: SlotId


@dataclass(frozen=True, slots=True)
class SetHungry:
    """Let :func:`lbnet.hungry` answer ``hungry`` in all slots."""

    hungry: bool


Effect = Send | Connect | Disconnect | SetTimer | Teach | Run | Reclaim | Forget | Kill | SetHungry
