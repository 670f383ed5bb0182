"""How a worker leaves on purpose: it starts nothing, hands back what waits, lets what runs end, and goes with nothing.

It must not know why it leaves, or who takes what it hands back.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from lbnet import limits
from lbnet.core import effects
from lbnet.core.compute import Compute
from lbnet.core.effects import Effect
from lbnet.core.exchange import Exchange
from lbnet.protocol import messages
from lbnet.types import CONTROLLER


class Departure:
    """The last part of a worker's life.

    Args:
        compute: its slots, and what waits for them.
        exchange: its dealings with others.
        do: takes an effect.
    """

    def __init__(self, compute: Compute, exchange: Exchange, do: Callable[[Effect], None]) -> None:
        self._compute = compute
        self._exchange = exchange
        self._do = do
        self._until: float | None = None
        self._abandoned = False
        self._released = False
        self._departed = False

    @property
    def begun(self) -> bool:
        """Whether this worker is leaving."""
        return self._until is not None

    def begin(self, grace_s: float, now: float) -> None:
        """Leave; or, if that has begun, in less time."""
        until = now + max(grace_s, 0.0)
        if self._until is None:
            self._until = until
            self._exchange.close()
            self.say()
        self._until = min(self._until, until)

    def say(self) -> None:
        """Tell the controller, which may be another one than before."""
        self._released = False
        self._do(effects.Send(CONTROLLER, messages.Leaving()))

    def released(self) -> None:
        """RELEASED: the controller sends no more work."""
        self._released = True

    def look(self, now: float) -> float | None:
        """Do what can be done now. Returns when to look again, None if only somebody's word can change anything."""
        assert self._until is not None, "it leaves"
        if self._departed:
            return None
        compute, exchange = self._compute, self._exchange
        compute.wake(math.inf)
        compute.reclaim_all()
        exchange.give_back()
        compute.report_moved()
        compute.results.say(now)
        if compute.busy:
            if now < self._until:
                # A slot that sits in a long task lets go of what it has claimed beside it, after a while.
                return min(self._until, now + limits.CLAIM_DOUBT_S) if compute.traps() else self._until
            if not self._abandoned:
                self._abandoned = True
                compute.abandon()
        elif self._released and exchange.settled and not compute.results.unkept:
            self._departed = True
            self._do(effects.Depart())
        return None
