"""Made-up work: tasks of a known duration, lists of durations, and divisible work of a known size.

It must not know how tasks run or travel. Everything random is drawn from ``random.Random(seed).random()``
alone, the one method whose numbers Python promises to keep from version to version.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping
from statistics import NormalDist
from types import MappingProxyType
from typing import Final, Literal, Self, TypeAlias, get_args

from lbnet.errors import UsageError
from lbnet.work import WorkUnit

DurationKind: TypeAlias = Literal["constant", "uniform", "exponential", "lognormal", "giants"]
"""The distributions of :func:`durations`."""

LOGNORMAL_SIGMA: Final = 1.5
"""Standard deviation of the logarithm of "lognormal" durations: the longest 10 % hold about 60 % of the total."""

GIANT_SHARE: Final = 0.01
"""Share of the "giants" among their durations; there is at least one."""

GIANT_RATIO: Final = 1000.0
"""How many times longer a giant is than the others, which are all equal."""


def burn(seconds: float) -> None:
    """Compute for ``seconds`` of this thread's CPU time.

    The clock is the CPU clock of the thread, :func:`time.thread_time`. A busy loop on the wall clock ends on
    time even while another process has the core, and so hides every preemption: two of them on one core would
    look like two cores. This one takes as much longer as real work would.

    Raises:
        UsageError: ``seconds`` is negative or not finite.
    """
    _check_seconds("seconds", seconds)
    clock = time.thread_time
    end = clock() + seconds
    while clock() < end:
        pass


def nap(seconds: float) -> None:
    """Sleep for ``seconds``: a task that holds its place and no core.

    Raises:
        UsageError: ``seconds`` is negative or not finite.
    """
    _check_seconds("seconds", seconds)
    time.sleep(seconds)


def durations(kind: DurationKind, count: int, mean_s: float, seed: int) -> list[float]:
    """Durations of ``count`` tasks in seconds, scaled so that they add up to ``count * mean_s``, whatever the kind.

    So makespans of different kinds and seeds are comparable: the work is the same, only its shape differs.
    The kinds, before scaling:

    - "constant": all equal.
    - "uniform": from 0 to twice the mean.
    - "exponential": many short ones, a tail without memory.
    - "lognormal": a heavier tail, see :data:`LOGNORMAL_SIGMA`.
    - "giants": nearly all tiny, :data:`GIANT_SHARE` of them :data:`GIANT_RATIO` times longer, at random places:
      with 100 tasks or more they hold about 91 % of the work, and nothing tells where they are.

    Args:
        kind: the distribution.
        count: how many, 0 or more.
        mean_s: their mean, in seconds.
        seed: the same seed gives the same list on every machine, up to the last bits of its C library's logarithm.

    Raises:
        UsageError: an unknown kind, or a number that is negative or not finite.
    """
    if kind not in get_args(DurationKind):
        raise UsageError(f"kind must be one of {', '.join(get_args(DurationKind))}; it is {kind!r}")
    if count < 0:
        raise UsageError(f"count must be 0 or more; it is {count}")
    _check_seconds("mean_s", mean_s)
    if not count:
        return []
    raw = _SHAPES[kind](random.Random(seed), count)  # noqa: S311 - a workload, not a secret
    scale = count * mean_s / math.fsum(raw)
    return [value * scale for value in raw]


def _uniform(rng: random.Random, count: int) -> list[float]:
    return [_open_unit(rng) for _ in range(count)]


def _exponential(rng: random.Random, count: int) -> list[float]:
    return [-math.log(_open_unit(rng)) for _ in range(count)]


def _lognormal(rng: random.Random, count: int) -> list[float]:
    quantile = NormalDist(0.0, LOGNORMAL_SIGMA).inv_cdf
    return [math.exp(quantile(_open_unit(rng))) for _ in range(count)]


def _giants(rng: random.Random, count: int) -> list[float]:
    order = sorted(range(count), key=lambda _: rng.random())
    values = [1.0] * count
    for place in order[: max(1, round(count * GIANT_SHARE))]:
        values[place] = GIANT_RATIO
    return values


def _open_unit(rng: random.Random) -> float:
    # Neither 0 nor 1: no duration may be 0 before scaling, nor infinite.
    return (rng.random() * (2**53 - 1) + 0.5) / 2**53


_SHAPES: Final[Mapping[str, Callable[[random.Random, int], list[float]]]] = MappingProxyType(
    {
        "constant": lambda _rng, count: [1.0] * count,
        "uniform": _uniform,
        "exponential": _exponential,
        "lognormal": _lognormal,
        "giants": _giants,
    }
)


class SyntheticUnit(WorkUnit):
    """Divisible work of a known size: ``units`` pieces of ``unit_cost_s`` seconds of CPU time each.

    Its parts are of uneven size, as those of real work: a split gives from half to one and a half times the
    fraction that was asked for, by a seeded draw. Its count needs no clock: however it was split, the results
    add up to ``units`` (``reduce=operator.add``), or pieces were lost or done twice.

    Args:
        units: how many pieces.
        unit_cost_s: CPU time of one, in seconds; with 0 only the counting is left.
        seed: of the draws at splits.

    Raises:
        UsageError: a number is negative or not finite.
    """

    def __init__(self, units: int, unit_cost_s: float, seed: int) -> None:
        if units < 0:
            raise UsageError(f"units must be 0 or more; it is {units}")
        _check_seconds("unit_cost_s", unit_cost_s)
        self.unit_cost_s = unit_cost_s
        self._left = units
        self._done = 0
        self._seed = seed

    def run(self, budget_s: float) -> bool:
        """Do pieces for about ``budget_s`` seconds of wall clock, one in any case; True when none is left."""
        deadline = time.perf_counter() + budget_s
        while self._left:
            burn(self.unit_cost_s)
            self._left -= 1
            self._done += 1
            if time.perf_counter() >= deadline:
                break
        return not self._left

    def split(self, fraction: float) -> Self | None:
        """Give away 0.5 to 1.5 times ``fraction`` of the pieces left, or None; each side has at least one.

        Raises:
            UsageError: ``fraction`` is not from 0 to 1.
        """
        if not 0 <= fraction <= 1:
            raise UsageError(f"fraction must be from 0 to 1, the share of the work to give away; it is {fraction}")
        if self._left < 2:
            return None
        # Both sides go on with a new seed: a generator is 2.5 kB when pickled, a seed is a number.
        rng = random.Random(self._seed)  # noqa: S311 - a workload, not a secret
        asked = self._left * fraction * (0.5 + rng.random())
        given = min(max(round(asked), 1), self._left - 1)
        self._seed, part_seed = rng.getrandbits(32), rng.getrandbits(32)
        self._left -= given
        return type(self)(given, self.unit_cost_s, part_seed)

    def result(self) -> int:
        """How many pieces this unit did itself."""
        return self._done


def _check_seconds(name: str, seconds: float) -> None:
    if not 0 <= seconds < math.inf:
        raise UsageError(f"{name} must be 0 or more, and finite; it is {seconds}")
