"""The interface of a load-balancing strategy: who asks whom for work, and when.

A strategy sees a view and yields decisions. It can make lbnet slow, never wrong: the core checks every decision, and
ignores those that make no sense. A strategy has two halves, because half of the knowledge is at the controller and
half at each worker; they share nothing but messages. Each method has a default that decides nothing, so a strategy
says only what it is about.

Decisions are carried out one by one as they are yielded, and the views are live: after ``yield Pair(donor,
requester)`` the requester is not idle any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from lbnet import limits
from lbnet.types import PeerId

# --- at the controller ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pair:
    """Tell ``donor`` to give part of its surplus to ``requester``, which must be idle."""

    donor: PeerId
    requester: PeerId


@dataclass(frozen=True, slots=True)
class AskToSplit:
    """Let :func:`lbnet.hungry` become true at ``worker``, until it has surplus."""

    worker: PeerId


ControllerDecision = Pair | AskToSplit


class ControllerView(Protocol):
    """What the controller's half may know. All of it is read only."""

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
    def quiet(self) -> Iterable[PeerId]:
        """Workers that run something, offer nothing, and have not been asked to split it."""

    def richest(self, besides: PeerId) -> PeerId | None:
        """The worker with the largest standing offer, ``besides`` excepted; None if nobody offers."""


class ControllerStrategy:
    """The controller's half."""

    def balance(self, view: ControllerView) -> Iterable[ControllerDecision]:  # noqa: ARG002
        """Called whenever the idle list or the offers changed, after new work was placed."""
        return ()

    def target(self, view: ControllerView, asker: PeerId) -> PeerId | None:  # noqa: ARG002
        """Whom ``asker`` shall ask for work: the answer to its :class:`AskTarget`, None for nobody now."""
        return None

    def grant(self, tasks: int) -> int:
        """How many tasks the controller places on an idle worker at once: 1 to ``tasks``, which it would by itself."""
        return tasks


# --- at a worker ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TellIdle:
    """Say IDLE to the controller. With ``again``, although it was said: somebody may have struck this worker off."""

    again: bool = False


@dataclass(frozen=True, slots=True)
class TellNonIdle:
    """Say NONIDLE to the controller: all of the surplus is on offer."""


@dataclass(frozen=True, slots=True)
class TellBusy:
    """Say NONIDLE without an offer: this worker leaves the controller's idle list."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask ``donor`` for work. One question at a time; the answer is work, or a refusal.

    With ``wait`` there is no refusal: the donor remembers it, and gives as soon as it can. Any number of those may be
    out (lifelines).
    """

    donor: PeerId
    wait: bool = False


@dataclass(frozen=True, slots=True)
class AskTarget:
    """Ask the controller whom to ask; it answers with :attr:`WorkerView.target`."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Tell ``requester`` that it may ask this worker for work. It does if it wants some, and says no if not."""

    requester: PeerId


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Call this half again after so many seconds, although nothing happened."""

    after_s: float


WorkerDecision = TellIdle | TellNonIdle | TellBusy | Ask | AskTarget | Offer | LookAgain


@dataclass(slots=True)
class WorkerView:
    """What a worker's half may know. All of it is read only, and valid until ``balance`` returns.

    Attributes:
        me: this worker.
        now: the time, in seconds of a clock that only runs forward.
        draw: a random number, uniform in ``[0, 1)``; the only source of chance that a strategy may use.
        slots: slots of this worker.
        free_slots: slots with nothing to run.
        stock_s: estimated seconds of work that this worker holds, the running tasks in full.
        surplus_s: estimated seconds of work beyond what its own slots will soon start.
        unit_completed: work came, or a unit was completed, since the last NONIDLE: it may be said again.
        told_idle_s: the stock that was said with IDLE; None if it was not said, or was answered since.
        listed: whether this worker is on the controller's idle list, as far as it knows.
        offered_s: the surplus of the standing offer at the controller, 0 if there is none.
        placed: whether the work that came last was new work from the controller, which may have more of it.
        work_exists: whether the cluster has unfinished tasks; told only to strategies with ``polls``.
        peers: all workers in the order in which they joined, this one among them; only with ``knows_peers``.
        idle_peers: the other workers that were idle when the controller last said so; only with ``shares_idle``.
        idle_news: how often the controller has said so; a worker that was offered work is struck off in between.
        asking: whether a question of this worker, to a peer or for a target, has no answer yet.
        offering: whether an offer of this worker to a peer has no answer yet.
        offers_refused: how often a peer said no to an offer, under the strategy in force.
        target: whom the controller says to ask; None once it was asked.
        refusals: questions that were refused since work last came.
        waiting_on: donors that were asked with ``wait`` and have not given since.
    """

    me: PeerId
    draw: Callable[[], float]
    slots: int
    now: float = 0.0
    free_slots: int = 0
    stock_s: float = 0.0
    surplus_s: float = 0.0
    unit_completed: bool = False
    told_idle_s: float | None = None
    listed: bool = False
    offered_s: float = 0.0
    placed: bool = False
    work_exists: bool = False
    peers: Sequence[PeerId] = ()
    idle_peers: Sequence[PeerId] = ()
    idle_news: int = 0
    asking: bool = False
    offering: bool = False
    offers_refused: int = 0
    target: PeerId | None = None
    refusals: int = 0
    waiting_on: frozenset[PeerId] = frozenset()

    @property
    def wants_work(self) -> bool:
        """Whether it has a free slot, or will soon have one: its stock is shorter than a busy round trip."""
        return self.free_slots > 0 or self.stock_s < limits.IDLE_AHEAD_S * self.slots

    @property
    def idle_is_news(self) -> bool:
        """Whether it wants work and the controller, which may have new work to place, has not heard of that."""
        if self.free_slots > 0:
            return self.told_idle_s is None or self.told_idle_s > 0
        return self.told_idle_s is None and self.wants_work


class WorkerStrategy:
    """A worker's half."""

    def balance(self, view: WorkerView) -> Iterable[WorkerDecision]:  # noqa: ARG002
        """Called whenever the worker's stock changed, an answer came, or the time of a :class:`LookAgain`."""
        return ()


# --- the whole ------------------------------------------------------------------------------------


class Strategy:
    """A strategy makes its two halves.

    Attributes:
        name: how it is chosen, and what reports say.
        polls: idle workers ask of their own accord, so all workers are told when work begins to exist, and when none is
            left: two messages a worker and job.
        knows_peers: all workers are told of each other: every join costs a message a worker.
        shares_idle: changes of the idle list are sent to all workers, in small deltas.
    """

    name: ClassVar[str] = ""
    polls: ClassVar[bool] = False
    knows_peers: ClassVar[bool] = False
    shares_idle: ClassVar[bool] = False

    def controller(self) -> ControllerStrategy:
        """A new half for one controller."""
        return ControllerStrategy()

    def worker(self) -> WorkerStrategy:
        """A new half for one worker."""
        return WorkerStrategy()
