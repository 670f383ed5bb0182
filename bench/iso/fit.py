"""Which law does the work follow? Least squares in logarithms. It must not know where the points come from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Point = tuple[float, float]
"""Workers, and seconds of work."""

LAWS: Mapping[str, Callable[[float], float]] = {
    "p": lambda p: p,
    "p log2^2 p": lambda p: p * math.log2(p) ** 2,
    "p^2 log2 p": lambda p: p * p * math.log2(p),
}
"""The isoefficiency functions that W is held against (Kumar, Grama, Vempaty 1994, table 3)."""


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """W = c p^a, with the largest ratio between a point and the line."""

    c: float
    a: float
    worst: float


@dataclass(frozen=True, slots=True)
class Flatness:
    """W over a law: it is flat if W follows the law.

    Attributes:
        slope: the exponent that is left: the ratio grows as p to this power; 0 is flat.
        spread: the largest ratio over the smallest.
    """

    slope: float
    spread: float


def power_law(points: Sequence[Point]) -> PowerLaw | None:
    """The line through the logarithms; None for fewer than two numbers of workers."""
    if len({p for p, _ in points}) < 2:
        return None
    xs, ys = [math.log(p) for p, _ in points], [math.log(work_s) for _, work_s in points]
    x0, y0 = sum(xs) / len(xs), sum(ys) / len(ys)
    a = sum((x - x0) * (y - y0) for x, y in zip(xs, ys, strict=True)) / sum((x - x0) ** 2 for x in xs)
    c = math.exp(y0 - a * x0)
    worst = math.exp(max(abs(y - y0 - a * (x - x0)) for x, y in zip(xs, ys, strict=True)))
    return PowerLaw(c, a, worst)


def flatness(points: Sequence[Point], law: str) -> Flatness | None:
    """How flat W over the law is; None for fewer than two numbers of workers."""
    ratios = [(p, work_s / LAWS[law](p)) for p, work_s in points]
    line = power_law(ratios)
    if line is None:
        return None
    values = [ratio for _, ratio in ratios]
    return Flatness(line.a, max(values) / min(values))


def upper_half(points: Sequence[Point]) -> Sequence[Point]:
    """The points of the larger half of the numbers of workers, the middle one among them."""
    return points[len(points) // 2 :]


def crossing(shares: Sequence[Point], level: float) -> float | None:
    """The number of workers at which a share first passes a level, between points on a line in log p; None if never."""
    before: Point | None = None
    for p, share in shares:
        if share >= level:
            if before is None:
                return p
            part = (level - before[1]) / (share - before[1])
            return float(before[0] * (p / before[0]) ** part)
        before = (p, share)
    return None
