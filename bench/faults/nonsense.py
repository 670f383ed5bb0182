"""A strategy that says anything, or raises. It shall make nothing wrong."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from lbnet.strategies.base import (
    Ask,
    AskTarget,
    AskToSplit,
    ControllerStrategy,
    LookAgain,
    Offer,
    Pair,
    Strategy,
    TellBusy,
    TellIdle,
    TellNonIdle,
    WorkerStrategy,
)
from lbnet.types import (
    PeerId,
)


class Nonsense(Strategy):
    """A strategy that says anything, or raises. It shall make nothing wrong."""

    name = "nonsense"

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    polls = True
    knows_peers = True
    shares_idle = True

    def controller(self) -> ControllerStrategy:
        """One that says anything."""
        return _NonsenseController(self._rng)

    def worker(self) -> WorkerStrategy:
        """One that says anything."""
        return _NonsenseWorker(self._rng)


def _anything(rng: random.Random) -> Iterator[Any]:
    """Decisions of either half, good ones by chance, and things that are none."""
    no_peer: Any = "x"
    for _ in range(rng.randrange(4)):
        one, other = (PeerId(rng.choice([-1, 0, 1, 2, 3, 4, 5, 99])) for _ in range(2))
        seconds = rng.choice([-1.0, 0.0, 1e-9, 0.001, 1e300, float("nan"), float("inf")])
        yield rng.choice(
            [
                *(Pair(one, other), AskToSplit(one), TellIdle(), TellNonIdle(), TellBusy(), AskTarget()),
                *(
                    Ask(one),
                    Ask(one, wait=True),
                    Offer(one),
                    LookAgain(seconds),
                    None,
                    "Ask",
                    Ask(no_peer),
                    Pair(no_peer, no_peer),
                ),
            ]
        )
        if rng.random() < 0.2:
            raise RuntimeError("a bug in a strategy")


class _NonsenseController(ControllerStrategy):
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def balance(self, view: object) -> Iterator[Any]:  # noqa: ARG002
        return _anything(self._rng)

    def target(self, view: object, asker: PeerId) -> Any:  # noqa: ARG002
        return self._rng.choice([-1, 0, 1, 2, 3, 4, 99, asker, None, "x", 1.5])

    def grant(self, tasks: int) -> Any:
        return self._rng.choice([-1, 0, 1, tasks, 10**9, None, "x", 0.5])


class _NonsenseWorker(WorkerStrategy):
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def balance(self, view: object) -> Iterator[Any]:  # noqa: ARG002
        return _anything(self._rng)
