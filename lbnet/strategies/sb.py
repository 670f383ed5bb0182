"""``sb``, scheduler-based: the controller knows who is idle, and pairs them with who has surplus.

A worker says IDLE before it runs dry, and NONIDLE (how much it could give) at most once per
completed unit of work. The controller keeps both: an idle worker is matched at once with the
richest standing offer, of which half stands after that, and an offer at once with whoever has been idle
longest. When somebody is empty and nobody offers, workers that run something are asked to split it.

Messages per transfer: IDLE, NONIDLE and MATCH at the controller, and SEND_WORK with its ACK between
the workers; HUNGRY, to a few workers at a time, where nobody offers.

Source: the scheduler-based scheme of Kumar, Grama, Vempaty, "Scalable load balancing techniques for
parallel computers", J. Parallel Distrib. Comput. 22 (1994), with standing offers added.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from operator import itemgetter

from lbnet import limits
from lbnet.strategies.base import (
    AskToSplit,
    ControllerDecision,
    ControllerStrategy,
    ControllerView,
    Pair,
    Strategy,
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

_ASKED_AT_ONCE = 8
"""Workers that are asked to split in one step: with thousands, one idle worker must not cost a message to each."""


class SchedulerBased(Strategy):
    """The default strategy."""

    name = "sb"

    def controller(self) -> ControllerStrategy:
        """Pairs idle workers with standing offers."""
        return _Controller()

    def worker(self) -> WorkerStrategy:
        """Says IDLE and NONIDLE."""
        return _Worker()


class _Controller(ControllerStrategy):
    def balance(self, view: ControllerView) -> Iterator[ControllerDecision]:
        served: set[PeerId] = set()
        offers = view.offers
        if offers:
            # Stable: of equals the one that has waited longest.
            for requester, stock_s in sorted(view.idle.items(), key=itemgetter(1)):
                donor = view.richest(requester)
                if donor is not None and offers[donor] >= _RICHER_FACTOR * stock_s:
                    served.add(requester)
                    yield Pair(donor, requester)
                elif requester not in offers:
                    break  # that was the largest of all offers, and who follows has more
        if any(stock_s <= 0 for stock_s in view.idle.values()):
            quiet = (worker for worker in view.quiet if worker not in served)
            for worker in list(islice(quiet, _ASKED_AT_ONCE)):
                yield AskToSplit(worker)


class _Worker(WorkerStrategy):
    def balance(self, view: WorkerView) -> Iterator[WorkerDecision]:
        if view.idle_is_news:
            yield TellIdle()
        surplus_s = view.surplus_s if view.unit_completed else 0.0
        if surplus_s >= limits.SURPLUS_MIN_S and surplus_s >= _NEWS_FACTOR * view.offered_s:
            yield TellNonIdle()
