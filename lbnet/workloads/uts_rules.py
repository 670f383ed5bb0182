"""How many children a node has: the formula of the definition, and tables that answer without it.

A table is asked with the one byte of a node's state that holds the top bits of its random value. Where
the value's other bits matter, the formula is asked; so the tables change the speed and never a count.
It must not know how a tree is searched.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final

from lbnet.workloads.uts_trees import TreeParameters

CHILDREN_MAX: Final = 100
"""No node but the root of a "bin" tree has more children: the definition's own limit."""

TOP_BYTE: Final = 16
"""Where in a node's state of 20 bytes the random value begins."""

LEAF: Final = 0
INNER: Final = 1
DOUBTFUL: Final = 2

_VALUE_MASK: Final = 0x7FFFFFFF
_VALUES: Final = 2**31

pack_number = struct.Struct(">i").pack
"""The 4 bytes by which a seed or a child's number enters the hash."""

_SUFFIXES: Final = tuple(tuple(pack_number(i) for i in range(n)) for n in range(CHILDREN_MAX + 1))


def value_of(state: bytes) -> int:
    """The random value of a node, 0 to 2^31 - 1: the last 31 bits of its state."""
    return int.from_bytes(state, "big") & _VALUE_MASK


def branching(parameters: TreeParameters, depth: int) -> float:
    """b_h: the mean number of children of a geometric node at ``depth``."""
    b0, d = parameters.b0, parameters.d
    if depth == 0 or b0 == 0:
        return b0
    if parameters.shape == "linear":
        return max(b0 * (1 - depth / d), 0.0)
    if parameters.shape == "exponential":
        return float(b0 * math.pow(depth, -math.log(b0) / math.log(d)))
    if parameters.shape == "cyclic":
        return 0.0 if depth > 5 * d else math.pow(b0, math.sin(2 * math.pi * depth / d))
    return b0 if depth < d else 0.0


def _geometric_count(log_no_more: float, value: int) -> int:
    # Operation by operation the published formula: another order of rounding grows another tree.
    n = math.floor(math.log(1 - value / _VALUES) / log_no_more)
    return min(n, CHILDREN_MAX)


def _binomial_count(q: float, m: int, value: int) -> int:
    return m if value / _VALUES < q else 0


def _no_children(_value: int) -> int:
    return 0


class Rule:
    """The numbers of children of the nodes at one depth.

    Attributes:
        fate: by the top byte of a node's value: LEAF, INNER, or DOUBTFUL.
        suffixes: by the top byte of an **inner** node's value: what is hashed behind its state, once for
            each child; None where the top byte does not tell.
        barren: whether no node of this depth has children.
    """

    __slots__ = ("barren", "count", "fate", "suffixes")

    def __init__(self, count: Callable[[int], int]) -> None:
        """Make the tables of a formula that rises or falls with the value, never both.

        The geometric one does not fall even after rounding: neighbouring values change the logarithm by 2^-31 or
        more of itself, and its rounding error is 2^-52.
        """
        self.count = count
        self.fate: list[int] = []
        self.suffixes: list[tuple[bytes, ...] | None] = []
        for top in range(256):
            # The top bit of the state is not a part of the value.
            lowest = (top & 0x7F) << 24
            ends = {count(lowest), count(lowest | 0xFFFFFF)}
            self.fate.append(INNER if 0 not in ends else LEAF if ends == {0} else DOUBTFUL)
            self.suffixes.append(_SUFFIXES[ends.pop()] if len(ends) == 1 else None)
        self.barren = all(fate == LEAF for fate in self.fate)

    def suffixes_of(self, state: bytes) -> tuple[bytes, ...]:
        """What is hashed behind ``state``, once for each child: the formula itself, for any node."""
        return _SUFFIXES[self.count(value_of(state))]

    def is_inner(self, state: bytes) -> bool:
        """Whether the node has children: the formula itself, for any node."""
        return self.count(value_of(state)) > 0


@lru_cache(maxsize=1024)
def _geometric_rule(b: float) -> Rule:
    # 1 - p, not b / (1 + b): see _geometric_count. It is 0 for the smallest b, whose nodes are all leaves.
    more = 1 - 1 / (1 + b)
    if more <= 0:
        return Rule(_no_children)
    if more == 1:
        # b is above 2^53, as only an endless tree can have it: the logarithm would be 0.
        return Rule(lambda value: CHILDREN_MAX if value else 0)
    return Rule(partial(_geometric_count, math.log(more)))


@lru_cache(maxsize=64)
def _binomial_rule(q: float, m: int) -> Rule:
    return Rule(partial(_binomial_count, q, min(m, CHILDREN_MAX)))


class Rules:
    """The rules of one tree by depth, each made when a node of its depth is met first."""

    def __init__(self, parameters: TreeParameters) -> None:
        self._parameters = parameters
        self._by_depth: list[Rule] = []

    def at(self, depth: int) -> Rule:
        """The rule for nodes at ``depth``; not for the root of a "bin" tree, which follows none."""
        rules = self._by_depth
        while len(rules) <= depth:
            rules.append(self._make(len(rules)))
        return rules[depth]

    def _make(self, depth: int) -> Rule:
        tree = self._parameters
        if tree.tree == "bin" or (tree.tree == "hybrid" and depth >= tree.d / 2):
            return _binomial_rule(tree.q, tree.m)
        return _geometric_rule(branching(tree, depth))


@lru_cache(maxsize=64)
def rules_of(parameters: TreeParameters) -> Rules:
    """The rules of a tree: one object in each process, so that every part of the tree shares its tables."""
    return Rules(parameters)
