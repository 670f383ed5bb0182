"""What can happen to whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Victim(StrEnum):
    """Who a fault may hit."""

    WORKER = "worker"
    SLOT = "slot"
    CONTROLLER = "controller"
    CLIENT = "client"


class FaultKind(StrEnum):
    """What happens."""

    KILL = "kill"
    """SIGKILL; the same command is started again a moment later."""
    TERM = "term"
    """SIGTERM, likewise: a worker takes leave. A controller that is told to end would end its cluster on purpose."""
    STOP = "stop"
    """SIGSTOP, and SIGCONT before anybody may think that it is dead."""
    STOP_LONG = "stop-long"
    """The same for longer than the liveness deadline."""
    JOIN = "join"
    """A further worker joins, and is told to leave later."""
    CUT = "cut"
    """Its network link drops everything for a while. All network faults need namespaces."""
    SLOW = "slow"
    """Its link passes few bytes a second."""
    DELAY = "delay"
    """Its link is late."""
    LOSS = "loss"
    """Its link loses packets."""
    DISK = "disk"
    """The disk of the state directory is full."""


_PROCESSES = (Victim.WORKER, Victim.CONTROLLER, Victim.CLIENT)

HITS: Mapping[FaultKind, tuple[Victim, ...]] = {
    FaultKind.KILL: (Victim.WORKER, Victim.SLOT, Victim.CONTROLLER, Victim.CLIENT),
    FaultKind.TERM: (Victim.WORKER,),
    FaultKind.STOP: (Victim.WORKER, Victim.SLOT, Victim.CONTROLLER, Victim.CLIENT),
    FaultKind.STOP_LONG: _PROCESSES,
    FaultKind.JOIN: (Victim.WORKER,),
    FaultKind.CUT: _PROCESSES,
    FaultKind.SLOW: _PROCESSES,
    FaultKind.DELAY: _PROCESSES,
    FaultKind.LOSS: _PROCESSES,
    FaultKind.DISK: (Victim.CONTROLLER,),
}
"""Which fault hits whom."""

NETWORK = frozenset({FaultKind.CUT, FaultKind.SLOW, FaultKind.DELAY, FaultKind.LOSS})
"""Those that need a link of one's own."""

SILENCING = frozenset({FaultKind.STOP_LONG, *NETWORK})
"""Those after which a live process may have been taken for dead."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a plan.

    Attributes:
        at_s: when, in seconds since the run began.
        kind: what happens.
        victim: to whom.
        index: to which of them; of a slot, its worker.
        for_s: after so long it is undone: started again, continued, healed.
        share: in ``[0, 1)``: which slot of a worker, and how bad a network fault is.
        family: with SIGSTOP, whether all processes of the victim are stopped, not its first one alone.
    """

    at_s: float
    kind: FaultKind
    victim: Victim
    index: int
    for_s: float
    share: float
    family: bool

    @property
    def name(self) -> str:
        """For counts and for people."""
        return f"{self.kind} {self.victim}"

    def __str__(self) -> str:
        return f"{self.at_s:7.2f} s  {self.name} {self.index}, for {self.for_s:.2f} s"
