"""``sb``, scheduler-based: the controller knows who is idle, and pairs them with who has surplus.

A worker says IDLE before it runs dry, and NONIDLE (how much it could give) at most once per
completed unit of work. The controller keeps both: an idle worker is matched at once with the
richest standing offer, of which half stands after that, and an offer at once with whoever has been idle
longest. When somebody is empty and nobody offers, workers that run something are asked to split it.

Messages per transfer: IDLE, NONIDLE and MATCH at the controller, and SEND_WORK with its ACK between
the workers.

Source: the scheduler-based scheme of Kumar, Grama, Vempaty, "Scalable load balancing techniques for
parallel computers", J. Parallel Distrib. Comput. 22 (1994), with standing offers added.
"""

from __future__ import annotations

from collections.abc import Sequence

from lbnet import limits
from lbnet.strategies.base import (
    AskToSplit,
    ControllerDecision,
    ControllerStrategy,
    ControllerView,
    Pair,
    TellIdle,
    TellNonIdle,
    WorkerDecision,
    WorkerStrategy,
    WorkerView,
)
from lbnet.types import PeerId

_NEWS_FACTOR = 2.0
"""A standing offer is said again when the surplus has grown by this factor."""

_RICHER_FACTOR = 2.0
"""Nobody gives to a worker that is not poorer by this factor: two who run low would swap work."""


class SchedulerBased:
    """The default strategy."""

    name = "sb"

    def controller(self) -> ControllerStrategy:
        """Pairs idle workers with standing offers."""
        return _Controller()

    def worker(self) -> WorkerStrategy:
        """Says IDLE and NONIDLE."""
        return _Worker()


class _Controller:
    def balance(self, view: ControllerView) -> Sequence[ControllerDecision]:
        decisions: list[ControllerDecision] = []
        offers = dict(view.offers)
        unmatched: list[PeerId] = []
        for requester in sorted(view.idle, key=lambda worker: view.idle[worker]):  # stable: then the longest waiting
            donor = max(
                (worker for worker in offers if worker != requester),
                key=lambda worker: (offers[worker], -worker),
                default=None,
            )
            if donor is None or offers[donor] < _RICHER_FACTOR * view.idle[requester]:
                unmatched.append(requester)
                continue
            decisions.append(Pair(donor, requester))
            offers[donor] /= 2  # it gives half of its surplus, and may be asked for half of the rest
            if offers[donor] < limits.SURPLUS_MIN_S:
                del offers[donor]
        empty = {worker for worker in view.idle if view.idle[worker] <= 0}
        if not empty.isdisjoint(unmatched):
            quiet = view.asked_to_split | empty | view.offers.keys()
            decisions.extend(AskToSplit(worker) for worker in view.workers if worker not in quiet)
        return decisions


class _Worker:
    def balance(self, view: WorkerView) -> Sequence[WorkerDecision]:
        decisions: list[WorkerDecision] = []
        if view.free_slots > 0:
            if view.told_idle_s is None or view.told_idle_s > 0:
                decisions.append(TellIdle())
        elif view.told_idle_s is None and view.stock_s < limits.IDLE_AHEAD_S * view.slots:
            decisions.append(TellIdle())
        worth_it = view.surplus_s >= max(limits.SURPLUS_MIN_S, _NEWS_FACTOR * view.offered_s)
        if worth_it and view.unit_completed:
            decisions.append(TellNonIdle())
        return decisions
