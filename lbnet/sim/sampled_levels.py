"""How many children many nodes of one level have together: the laws of a tree, drawn and not hashed.

A level is a depth, or all depths whose nodes follow one law. It must not know how a tree is searched.

Draws are exact where they are small: up to :data:`EXACT_MAX` nodes, or where the mean is below it. Above, they are
normal with the exact mean and variance, rounded, and clamped to what is possible.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, NamedTuple

from lbnet.workloads.uts_rules import CHILDREN_MAX, branching
from lbnet.workloads.uts_trees import TreeParameters

EXACT_MAX: Final = 16
"""Up to here sums are drawn exactly: above, the clamp at 0 moves no mean by as much as a thousandth of it."""

SUBTREE_MAX: Final = 1e6
"""A subtree that is expected to be larger need not be known better: nobody asks for so many nodes at a time."""

LEVELS_MAX: Final = 256
"""So many levels are looked at for the size of a subtree: what lies below is not asked for at a time either."""

_CHANCE_MIN: Final = 1e-18
_NODES_MIN: Final = 1e-6
_TINY: Final = 2**-54

_normal = NormalDist().inv_cdf


@dataclass(frozen=True, slots=True)
class Level:
    """The law of the inner nodes of one level: each has ``sure`` children, and perhaps a geometric number of others.

    A geometric number has no memory: what an inner node has beyond its first child follows the same law again.

    Attributes:
        sure: children that each node has.
        log_more: logarithm of the probability of one more; 0.0 if there are none beyond the sure ones.
        extra_max: the most that a node has beyond the sure ones.
        extra: mean number of those.
        extra_variance: its variance.
        inner: probability that a child is an inner node itself.
        below: index of the level of the children.
        worth: nodes that one node stands for: its whole subtree, in the mean. Where the children are of the node's
            own level, the children only: all nodes there are alike, and the order of visits decides nothing.
    """

    sure: int
    log_more: float
    extra_max: int
    extra: float
    extra_variance: float
    inner: float
    below: int
    worth: float

    def children(self, nodes: int, rng: random.Random) -> int:
        """Draw how many children ``nodes`` nodes have together."""
        if self.log_more:
            return nodes * self.sure + self._extra(nodes, rng)
        return nodes * self.sure

    def _extra(self, nodes: int, rng: random.Random) -> int:
        draw, log_more, most = rng.random, self.log_more, self.extra_max
        if nodes <= EXACT_MAX:
            return sum([min(int(math.log(1 - draw()) / log_more), most) for _ in range(nodes)])
        mean = nodes * self.extra
        if mean < EXACT_MAX:
            # One node has less than 1 in the mean here, so that `most` is out of reach.
            more = math.exp(log_more)
            return _invert(draw(), (1 - more) ** nodes, more, nodes, 1)
        z = _normal(draw() or _TINY)
        return min(max(round(mean + z * math.sqrt(nodes * self.extra_variance)), 0), nodes * most)


def binomial(nodes: int, probability: float, rng: random.Random) -> int:
    """Draw how many of ``nodes`` nodes are what one is with ``probability``."""
    if probability > 0.5:
        return nodes - binomial(nodes, 1 - probability, rng)
    mean = nodes * probability
    if mean < EXACT_MAX:
        ratio = probability / (1 - probability)
        return min(_invert(rng.random(), (1 - probability) ** nodes, ratio, nodes, -1), nodes)
    z = _normal(rng.random() or _TINY)
    return min(max(round(mean + z * math.sqrt(mean * (1 - probability))), 0), nodes)


def _invert(u: float, chance: float, ratio: float, nodes: int, sign: int) -> int:
    # From the chance of 0 upward: that of k + 1 is that of k, times ratio * (nodes + sign * k) / (k + 1). With +1 it is
    # a sum of geometric numbers, with -1 the binomial one. It starts above e^-23; what is smaller is the far end.
    k = 0
    while u >= chance > _CHANCE_MIN:
        u -= chance
        chance *= ratio * (nodes + sign * k) / (k + 1)
        k += 1
    return k


class _Geometric(NamedTuple):
    # The law of a geometric node: probability of one child or more, and what an inner one has beyond its first.
    inner: float
    log_more: float
    extra: float
    variance: float


def _geometric(b: float) -> _Geometric:
    more = min(1 - 1 / (1 + b), 1 - 2**-53)
    if more <= 0:
        return _Geometric(0.0, 0.0, 0.0, 0.0)
    powers = [more**k for k in range(1, CHILDREN_MAX)]
    mean = math.fsum(powers)
    square = math.fsum((2 * k - 1) * power for k, power in enumerate(powers, start=1))
    return _Geometric(more, math.log(more), mean, square - mean * mean)


def ending(q: float, m: int) -> float:
    """The probability of children in "bin" trees that end, from that in all: below it where the mean is above 1.

    A branching process that has an end behaves like another whose mean is below 1. Its law is the old one, weighted
    with the probability s that a node's subtree ends: q s^(m-1). Source: Athreya, Ney: Branching Processes (1972),
    chapter I.12.
    """
    if q * m <= 1:
        return q
    # Newton's method, from the left, for the smaller root of a convex function; it rises up to the last bits.
    ends, before = 0.0, -1.0
    while ends > before:
        before = ends
        ends -= (1 - q + q * ends**m - ends) / (q * m * ends ** (m - 1) - 1)
    return q * before ** (m - 1)


class Levels:
    """The levels of one tree, from the root down, each made when it is asked for first.

    A "bin" tree has two: level 0 is the children of the root that nobody has visited, level 1 all inner nodes below.
    Otherwise level h is the inner nodes of depth h; the last one of a "hybrid" tree is that of all "bin" nodes.
    """

    def __init__(self, parameters: TreeParameters) -> None:
        self.parameters = parameters
        self._m = min(parameters.m, CHILDREN_MAX)
        self._q = ending(parameters.q, self._m) if self._m else 0.0
        self._last = {"bin": 1, "hybrid": (parameters.d + 1) // 2}.get(parameters.tree)
        self._laws: list[_Geometric] = []
        self._levels: list[Level] = []

    @property
    def root_is_range(self) -> bool:
        """Whether level 0 is children of the root: they travel as two numbers, how many they may be."""
        return self.parameters.tree == "bin"

    def index(self, depth: int) -> int:
        """The level of the inner nodes at ``depth``, which is not 0 in a "bin" tree."""
        return depth if self._last is None else min(depth, self._last)

    def at(self, index: int) -> Level:
        """The level of this index."""
        while len(self._levels) <= index:
            self._levels.append(self._make(len(self._levels)))
        return self._levels[index]

    def _make(self, index: int) -> Level:
        if index == self._last:
            return Level(self._m, 0.0, 0, 0.0, 0.0, self._q, index, worth=self._m)
        inner, worth = self._inner(index + 1), self._subtree(index)
        if self.root_is_range:
            return Level(1, 0.0, 0, 0.0, 0.0, inner, index + 1, worth)
        law = self._law(index)
        return Level(1, law.log_more, CHILDREN_MAX - 1, law.extra, law.variance, inner, index + 1, worth)

    def _law(self, depth: int) -> _Geometric:
        while len(self._laws) <= depth:
            self._laws.append(_geometric(branching(self.parameters, len(self._laws))))
        return self._laws[depth]

    def _inner(self, index: int) -> float:
        return self._q if index == self._last else self._law(index).inner

    def _subtree(self, index: int) -> float:
        total, nodes = 0.0, 1.0
        for level in range(index, index + LEVELS_MAX):
            if level == self._last:
                mean = self._q * self._m
                return total + (nodes * self._m / (1 - mean) if mean < 1 else math.inf)
            children = nodes if self.root_is_range else nodes * (1 + self._law(level).extra)
            total += children
            nodes = children * self._inner(level + 1)
            if nodes < _NODES_MIN or total > SUBTREE_MAX:
                break
        return total
