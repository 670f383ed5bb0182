"""``shared``: every worker has a copy of the idle list, and donors pick from it themselves.

The controller sends changes of the list to all workers, in small deltas, as often as its time allows. A donor offers
work to a random one of those that its copy shows idle. The copy may be stale: a worker that is not idle any more says
NO_WORK to the offer, and nothing else comes of it.

All donors see the same few idle workers, and do not know of each other. Were each of a thousand to offer at once, all
but one offer would be refused; so each draws whether to, such that about :data:`_OFFERS_PER_IDLE` do.

Messages per transfer: IDLE and NONIDLE at the controller, and the delta that each of them makes to every worker (many
share one message, IDLE_NEWS); then OFFER, ASK_WORK, SEND_WORK and ACK between the workers.

Source: the scheduler-based scheme with its idle list replicated: the variant that the first description of the scheme
leaves open, with the question how copies are kept in step.
"""

from __future__ import annotations

from collections.abc import Iterator

from lbnet import limits
from lbnet.strategies.base import (
    LookAgain,
    Offer,
    Strategy,
    TellBusy,
    TellIdle,
    WorkerDecision,
    WorkerStrategy,
    WorkerView,
)


class SharedIdleList(Strategy):
    """Donors find idle workers by themselves."""

    name = "shared"
    knows_peers = True
    shares_idle = True

    def worker(self) -> WorkerStrategy:
        """Says when it becomes idle and ceases to be, and offers its surplus."""
        return _Worker()


_AGAIN_S = 0.02
"""An idle worker that was offered work, and then got none, says so again after this."""

_OFFERS_PER_IDLE = 3.0
"""Offers that an idle worker gets at once, on average: one in twenty gets none then."""

_DRAW_AGAIN_S = 0.002
"""A donor that did not offer, or in vain, draws again after this, then after twice as long, until there is news."""


class _Worker(WorkerStrategy):
    def __init__(self) -> None:
        self._refusals = 0
        self._again_at = 0.0
        self._news = 0
        self._refused = 0
        self._wait_s = _DRAW_AGAIN_S
        self._not_before = 0.0

    def balance(self, view: WorkerView) -> Iterator[WorkerDecision]:
        if view.idle_is_news:
            yield TellIdle()
        elif view.listed and not view.wants_work:
            yield TellBusy()
        elif view.free_slots > 0:
            yield from self._repeat(view)
        if view.surplus_s >= limits.SURPLUS_MIN_S and view.idle_peers and not view.offering and view.free_slots == 0:
            yield self._offer(view)

    def _offer(self, view: WorkerView) -> WorkerDecision:
        """Offer work to somebody, or leave that to other donors for a while."""
        if view.idle_news != self._news:
            self._news, self._wait_s, self._not_before = view.idle_news, _DRAW_AGAIN_S, view.now
        if view.offers_refused != self._refused:
            self._refused = view.offers_refused
            self._leave(view)
        idle = len(view.idle_peers)
        if view.now >= self._not_before:
            if view.draw() * (len(view.peers) - idle) < _OFFERS_PER_IDLE * idle:
                return Offer(view.idle_peers[int(view.draw() * idle)])
            self._leave(view)
        return LookAgain(self._not_before - view.now)

    def _leave(self, view: WorkerView) -> None:
        self._not_before = view.now + self._wait_s
        self._wait_s *= 2

    def _repeat(self, view: WorkerView) -> Iterator[WorkerDecision]:
        """Donors strike off their copies whom they have offered work in vain; this worker is still idle."""
        if view.refusals > self._refusals and self._again_at <= 0:
            self._again_at = view.now + _AGAIN_S
        self._refusals = view.refusals
        if self._again_at > view.now:
            yield LookAgain(self._again_at - view.now)
        elif self._again_at > 0:
            self._again_at = 0.0
            yield TellIdle(again=True)
