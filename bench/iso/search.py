"""Find the work at which efficiency is what it shall be, in few tries. It must not know how efficiency is measured.

Overhead T_o = W (1/E - 1) grows slowly with W, so log(1/E - 1) is close to a straight line in log W, of a slope near
-1: interpolating there takes two or three tries where halving would take ten.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

EFFICIENCY_TOLERANCE = 0.005
"""Unless the search is given another."""

WORK_TOLERANCE = 1.02
"""A bracket so narrow, as a ratio, is as good as a hit."""

STEP_MAX = 5.0
"""The farthest step, as a ratio: what was found far away says little."""

SLOPE_FIRST = -0.8
SLOPE_STEEPEST = -3.0
SLOPE_FLATTEST = -0.2
"""Of log(1/E - 1) over log W. Two noisy tries may say anything; this is what is believed of it."""

_LOG_MIN = 1e-6


class State(Enum):
    """How a search stands."""

    OPEN = "open"
    FOUND = "found"
    ROUGH = "rough"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Try:
    """Work that was tried, in seconds, and the efficiency that came of it."""

    work_s: float
    efficiency: float


class Search:
    """Asks for one try after the other: :attr:`work_s` is the next one while :attr:`state` is open.

    Args:
        guess_s: where to begin, in seconds of work.
        target: the efficiency, above 0 and below 1.
        work_max_s: if the efficiency is not reached with so much, it is given up.
        tolerance: an efficiency so close to the target is a hit.
        tries_max: after so many the answer is interpolated between what was found, and called rough.
    """

    def __init__(
        self,
        guess_s: float,
        target: float,
        work_max_s: float,
        tolerance: float = EFFICIENCY_TOLERANCE,
        tries_max: int = 6,
    ) -> None:
        assert guess_s > 0
        assert 0 < target < 1
        self.work_s = min(guess_s, work_max_s)
        self.state = State.OPEN
        self.tries: list[Try] = []
        self._target = target
        self._work_max_s = work_max_s
        self._tolerance = tolerance
        self._tries_max = tries_max

    def tell(self, efficiency: float) -> None:
        """What came of ``work_s``."""
        assert self.state is State.OPEN, "nothing was asked"
        self.tries.append(Try(self.work_s, efficiency))
        low, high = self.bracket()
        if abs(efficiency - self._target) <= self._tolerance:
            self.state = State.FOUND
        elif high is None and self.work_s >= self._work_max_s:
            self.state = State.UNREACHABLE
        elif low is not None and high is not None and high.work_s <= WORK_TOLERANCE * low.work_s:
            self.state = State.FOUND
        elif len(self.tries) >= self._tries_max and low is not None and high is not None:
            self.state = State.ROUGH
        if self.state is State.OPEN or self.state is State.ROUGH:
            self.work_s = self._next(low, high)

    @property
    def best(self) -> Try:
        """The try that came closest."""
        return min(self.tries, key=lambda one: abs(one.efficiency - self._target))

    def bracket(self) -> tuple[Try | None, Try | None]:
        """The tries next to the answer: too little work, and enough; the least that is enough, if tries contradict."""
        high = min((one for one in self.tries if one.efficiency >= self._target), key=_work, default=None)
        below = [one for one in self.tries if one.efficiency < self._target]
        low = max((one for one in below if high is None or one.work_s < high.work_s), key=_work, default=None)
        return low, high

    def _next(self, low: Try | None, high: Try | None) -> float:
        wanted = _height(self._target)
        if low is not None and high is not None:
            share = (_height(low.efficiency) - wanted) / (_height(low.efficiency) - _height(high.efficiency))
            # Never next to an end: a bent curve would be approached from one side for ever.
            share = min(max(share, 0.1), 0.9)
            if len(self.tries) > 2 and len({one.efficiency < self._target for one in self.tries[-3:]}) == 1:
                share = 0.5
            return low.work_s * math.exp(share * math.log(high.work_s / low.work_s))
        near = low or high
        assert near is not None, "there was a try"
        step = math.exp((wanted - _height(near.efficiency)) / self._slope())
        # A little too far, so that the answer is between two tries.
        step *= 1.03 if step > 1 else 1 / 1.03
        step = min(max(step, 1 / STEP_MAX), STEP_MAX)
        return min(near.work_s * step, self._work_max_s)

    def _slope(self) -> float:
        by_work = sorted(self.tries, key=_work)
        if len(by_work) < 2 or by_work[-1].work_s <= by_work[0].work_s:
            return SLOPE_FIRST
        one, other = (by_work[-2], by_work[-1]) if self.bracket()[1] is None else (by_work[0], by_work[1])
        run = math.log(other.work_s / one.work_s)
        slope = (_height(other.efficiency) - _height(one.efficiency)) / run if run > 0 else SLOPE_FIRST
        return min(max(slope, SLOPE_STEEPEST), SLOPE_FLATTEST)


def extrapolated(found: list[tuple[int, float]], workers: int, first_per_worker_s: float) -> float:
    """Where to begin at so many workers, after what was found with fewer: (workers, seconds of work), in order."""
    if not found:
        return first_per_worker_s * workers
    last_p, last_s = found[-1]
    power = 1.4
    if len(found) > 1:
        before_p, before_s = found[-2]
        power = min(max(math.log(last_s / before_s) / math.log(last_p / before_p), 1.0), 2.5)
    return float(last_s * (workers / last_p) ** power)


def _height(efficiency: float) -> float:
    inside = min(max(efficiency, _LOG_MIN), 1 - _LOG_MIN)
    return math.log(1 / inside - 1)


def _work(one: Try) -> float:
    return one.work_s
