"""Tasks that sleep instead of computing: more of them can run at once than there are cores. They know no strategy.

A sleeping task holds its slot and leaves the cores to messages. It is late by the timer's slack, and by the time that
it waits for a core to wake up on.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Any, Self

import lbnet
from lbnet.work import UNIT_BUDGET_S, WorkUnit


@dataclass(frozen=True, slots=True)
class Sleeping:
    """A task of known duration. Its number comes back, so that a lost or swapped result is seen.

    Attributes:
        run: each is a function of its own for a cluster, which so knows nothing of its durations at first.
    """

    run: int

    def __call__(self, task: tuple[int, float]) -> int:
        """Sleep."""
        number, seconds = task
        time.sleep(seconds)
        return number


@dataclass(frozen=True, slots=True)
class Splitting:
    """What :func:`lbnet.work.run_unit` does.

    Attributes:
        run: as of :class:`Sleeping`.
    """

    run: int

    def __call__(self, unit: WorkUnit) -> Any:
        """Run a unit to its end, and give half of what is left away whenever somebody is hungry."""
        while not unit.run(UNIT_BUDGET_S):
            if lbnet.hungry():
                part = unit.split(0.5)
                if part is not None:
                    lbnet.spawn(self, part)
        return unit.result()


class SleepingUnit(WorkUnit):
    """Divisible work of a known size: ``pieces`` naps of ``piece_s`` seconds. It splits as the simulator's does.

    Args:
        pieces: how many.
        piece_s: seconds of one.
        seed: of the draws at splits.
    """

    def __init__(self, pieces: int, piece_s: float, seed: int) -> None:
        self._left = pieces
        self._piece_s = piece_s
        self._seed = seed
        self._finished = 0

    def run(self, budget_s: float) -> bool:
        """Sleep for pieces until about ``budget_s`` is over, one in any case; True when none is left."""
        deadline = time.perf_counter() + budget_s
        while self._left:
            time.sleep(self._piece_s)
            self._left -= 1
            self._finished += 1
            if time.perf_counter() >= deadline:
                break
        return not self._left

    def split(self, fraction: float) -> Self | None:
        """Give away 0.5 to 1.5 times ``fraction`` of the pieces left, or None; each side has at least one."""
        if self._left < 2:
            return None
        draw = random.Random(self._seed).random
        given = min(max(round(self._left * fraction * (0.5 + draw())), 1), self._left - 1)
        self._left -= given
        self._seed, part_seed = int(draw() * 2**53), int(draw() * 2**53)
        return type(self)(given, self._piece_s, part_seed)

    def result(self) -> int:
        """The pieces that this unit has slept through itself."""
        return self._finished
