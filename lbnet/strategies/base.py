"""The interface of a load-balancing strategy: who asks whom for work, and when.

A strategy sees a read-only view and returns decisions. It can make lbnet slow, never wrong: the
core checks every decision and ignores those that make no sense. A strategy has two halves, because
half of the knowledge is at the controller and half at each worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lbnet.types import PeerId

# --- at the controller ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pair:
    """Tell ``donor`` to give part of its surplus to ``requester``."""

    donor: PeerId
    requester: PeerId


@dataclass(frozen=True, slots=True)
class AskToSplit:
    """Let :func:`lbnet.hungry` become true at ``worker``, until it has surplus."""

    worker: PeerId


ControllerDecision = Pair | AskToSplit


class ControllerView(Protocol):
    """What the controller's half may know."""

    @property
    def workers(self) -> Sequence[PeerId]:
        """All workers, in the order in which they joined."""

    @property
    def idle(self) -> Mapping[PeerId, float]:
        """Workers that said IDLE and got nothing yet, the longest waiting first, with the seconds of
        work that they still had: 0 for one that has a free slot.
        """

    @property
    def offers(self) -> Mapping[PeerId, float]:
        """Standing offers: seconds of surplus by worker, as last said and not yet matched."""

    @property
    def asked_to_split(self) -> frozenset[PeerId]:
        """Workers that were asked to split and have not offered since."""


class ControllerStrategy(Protocol):
    """The controller's half."""

    def balance(self, view: ControllerView) -> Sequence[ControllerDecision]:
        """Called whenever the idle list or the offers changed, after new work was placed."""


# --- at a worker ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TellIdle:
    """Say IDLE to the controller."""


@dataclass(frozen=True, slots=True)
class TellNonIdle:
    """Say NONIDLE to the controller: all of the surplus is on offer."""


WorkerDecision = TellIdle | TellNonIdle


@dataclass(frozen=True, slots=True)
class WorkerView:
    """What a worker's half may know.

    Attributes:
        slots: slots of this worker.
        free_slots: slots with nothing to run.
        stock_s: estimated seconds of work that this worker holds, the running tasks in full.
        surplus_s: estimated seconds of work beyond what its own slots will soon start.
        told_idle_s: the stock that was said with IDLE; None if it was not said, or was answered since.
        offered_s: the surplus of the standing offer, 0 if there is none.
        unit_completed: work came, or a unit was completed, since the last NONIDLE: it may be said again.
    """

    slots: int
    free_slots: int
    stock_s: float
    surplus_s: float
    told_idle_s: float | None
    offered_s: float
    unit_completed: bool


class WorkerStrategy(Protocol):
    """A worker's half."""

    def balance(self, view: WorkerView) -> Sequence[WorkerDecision]:
        """Called whenever the worker's stock changed."""


class Strategy(Protocol):
    """A strategy makes its two halves; they share nothing but messages."""

    name: str

    def controller(self) -> ControllerStrategy:
        """A new half for one controller."""

    def worker(self) -> WorkerStrategy:
        """A new half for one worker."""
