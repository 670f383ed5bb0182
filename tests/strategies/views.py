"""What strategies see in tests: a board that follows their decisions as a controller does, and a worker that asks."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lbnet import limits
from lbnet.strategies.base import (
    Ask,
    AskToSplit,
    ControllerDecision,
    ControllerStrategy,
    LookAgain,
    Pair,
    WorkerDecision,
    WorkerStrategy,
    WorkerView,
)
from lbnet.types import PeerId


def peers(*numbers: int) -> tuple[PeerId, ...]:
    """Workers of these numbers."""
    return tuple(map(PeerId, numbers))


class Board:
    """The controller's view. It changes with every decision, by the plainest code that does."""

    def __init__(
        self, workers: int, idle: Mapping[int, float], offers: Mapping[int, float], asked: Iterable[int] = ()
    ) -> None:
        self.workers: Sequence[PeerId] = peers(*range(1, workers + 1))
        self.idle = {PeerId(peer): seconds for peer, seconds in idle.items()}
        self.offers = {PeerId(peer): seconds for peer, seconds in offers.items()}
        self._asked = set(peers(*asked))

    @property
    def quiet(self) -> list[PeerId]:
        """Workers that run something, offer nothing, and were not asked to split it."""
        return [
            peer
            for peer in self.workers
            if self.idle.get(peer, 1.0) > 0 and peer not in self.offers and peer not in self._asked
        ]

    def richest(self, besides: PeerId) -> PeerId | None:
        """The largest offer; of equals the one that joined first."""
        others = [peer for peer in self.workers if peer in self.offers and peer != besides]
        return max(others, key=self.offers.__getitem__, default=None)

    def follow(self, half: ControllerStrategy) -> list[ControllerDecision]:
        """Carry out what a strategy decides, one by one. Returns it."""
        done = []
        for decision in half.balance(self):
            done.append(decision)
            if isinstance(decision, Pair):
                del self.idle[decision.requester]
                self.offers[decision.donor] /= 2
                if self.offers[decision.donor] < limits.SURPLUS_MIN_S:
                    del self.offers[decision.donor]
            else:
                assert isinstance(decision, AskToSplit)
                self._asked.add(decision.worker)
        return done


def view_of(**changes: Any) -> WorkerView:
    """Worker 3 of 5, which has one slot and nothing to do, and has said so. There is work somewhere."""
    plain: dict[str, Any] = {
        "me": PeerId(3), "draw": random.Random(1).random, "slots": 1, "free_slots": 1, "told_idle_s": 0.0,
        "work_exists": True, "peers": peers(1, 2, 3, 4, 5),
    }  # fmt: skip
    return WorkerView(**plain | changes)


class Asker:
    """A worker that is refused whatever it asks; time passes as its strategy wants."""

    def __init__(self, half: WorkerStrategy, **changes: Any) -> None:
        self.half = half
        self.view = view_of(**changes)

    def decides(self) -> list[WorkerDecision]:
        """What the strategy decides now."""
        return list(self.half.balance(self.view))

    def asks(self) -> PeerId:
        """Whom it asks next, after whatever wait. It is refused."""
        for _ in range(3):
            (decision,) = self.decides()
            if isinstance(decision, Ask):
                assert not decision.wait
                self.is_refused()
                return decision.donor
            assert isinstance(decision, LookAgain)
            assert decision.after_s > 0
            self.view.now += decision.after_s
        raise AssertionError("it waits for ever")

    def is_refused(self) -> list[WorkerDecision]:
        """NO_WORK came, and the strategy hears of it."""
        self.view.refusals += 1
        return self.decides()

    def waits(self) -> float:
        """How long it waits before its next question, in seconds; 0 if it asks at once."""
        (decision,) = self.decides()
        return decision.after_s if isinstance(decision, LookAgain) else 0.0
