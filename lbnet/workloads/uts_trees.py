"""Which trees the Unbalanced Tree Search can grow, and how large the well-known ones are.

It must not know how a tree is searched. Source of the parameters and of their meaning: Olivier, Huan,
Liu, Prins, Dinan, Sadayappan, Tseng: UTS: An Unbalanced Tree Search Benchmark (LCPC 2006).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, get_args

from lbnet.errors import UsageError

TreeKind: TypeAlias = Literal["bin", "geo", "hybrid"]
"""How many children a node has: two outcomes, geometric, or geometric above and two outcomes below."""

GeoShape: TypeAlias = Literal["linear", "exponential", "cyclic", "fixed"]
"""How the mean number of children changes with the depth, in geometric nodes."""

INT32_MAX: Final = 2**31 - 1
"""Seeds and child numbers enter the hash as signed 32-bit integers: the definition's own limit."""


@dataclass(frozen=True, slots=True)
class TreeParameters:
    """One tree, completely: the same parameters give the same tree on every machine.

    The options in parentheses are those of the published benchmark program, and so are the defaults.
    A tree with ``q * m`` of 1 or more (T3L is one) can be endless: nothing here can tell.

    Attributes:
        tree: the kind of tree (``-t 0``, ``1``, ``2``).
        shape: of geometric nodes (``-a 0`` to ``3`` in the order of :data:`GeoShape`).
        b0: mean number of children of the root, its exact number (rounded down) in a "bin" tree (``-b``).
        d: depth parameter: the last depth of "linear" and "fixed", a scale for the other shapes (``-d``).
        r: seed of the root (``-r``), an int32.
        q: probability that a "bin" node has children (``-q``), at least 0 and below 1.
        m: number of children of such a node (``-m``); more than 100 counts as 100.

    Raises:
        UsageError: a parameter is outside of what the definition allows.
    """

    tree: TreeKind = "geo"
    shape: GeoShape = "linear"
    b0: float = 4.0
    d: int = 6
    r: int = 0
    q: float = 15 / 64
    m: int = 4

    def __post_init__(self) -> None:
        if self.tree not in get_args(TreeKind):
            raise UsageError(f"tree must be one of {', '.join(get_args(TreeKind))}; it is {self.tree!r}")
        if self.shape not in get_args(GeoShape):
            raise UsageError(f"shape must be one of {', '.join(get_args(GeoShape))}; it is {self.shape!r}")
        for name in ("d", "r", "m"):
            if not isinstance(getattr(self, name), int):
                raise UsageError(f"{name} must be a whole number; it is {getattr(self, name)!r}")
        if not (math.isfinite(self.b0) and 0 <= self.b0 <= INT32_MAX):
            raise UsageError(f"b0 must be from 0 to {INT32_MAX}, the number of children of the root; it is {self.b0}")
        if self.d < 1:
            raise UsageError(f"d must be 1 or more; it is {self.d}")
        if self.shape == "exponential" and self.tree != "bin" and self.d < 2:
            raise UsageError("d must be 2 or more for shape 'exponential', which divides by the logarithm of d")
        if not -INT32_MAX - 1 <= self.r <= INT32_MAX:
            raise UsageError(f"r must fit into a signed 32-bit integer; it is {self.r}")
        if not 0 <= self.q < 1:
            raise UsageError(f"q must be at least 0 and below 1, a probability; it is {self.q}")
        if self.m < 0:
            raise UsageError(f"m must be 0 or more; it is {self.m}")


@dataclass(frozen=True, slots=True)
class TreeCounts:
    """What is counted in a tree, or in a part of one.

    Attributes:
        nodes: all nodes.
        leaves: the nodes without children.
        depth: the greatest depth of a node; the root's is 0, and so is that of a part without nodes.
    """

    nodes: int
    leaves: int
    depth: int


@dataclass(frozen=True, slots=True)
class TopLayers:
    """The first layers of a tree.

    Attributes:
        nodes: in these layers.
        depth: of the last of them.
        inner: how many of the nodes at ``depth`` have children; 0 if the layers are the whole tree.
    """

    nodes: int
    depth: int
    inner: int


@dataclass(frozen=True, slots=True)
class NamedTree:
    """A well-known tree.

    Attributes:
        parameters: the tree.
        expected: its counts, each checked with :func:`lbnet.workloads.uts.count_sequential`; None where
            nobody here has counted it yet.
    """

    parameters: TreeParameters
    expected: TreeCounts | None


def _geo(shape: GeoShape, d: int, b0: float, r: int) -> TreeParameters:
    return TreeParameters("geo", shape, b0=b0, d=d, r=r)


def _bin(b0: float, q: float, m: int, r: int) -> TreeParameters:
    return TreeParameters("bin", b0=b0, q=q, m=m, r=r)


NAMED_TREES: Final[Mapping[str, NamedTree]] = MappingProxyType(
    {
        "default": NamedTree(TreeParameters(), TreeCounts(1_732, 1_050, 6)),
        "T1": NamedTree(_geo("fixed", 10, 4, 19), TreeCounts(4_130_071, 3_305_118, 10)),
        "T2": NamedTree(_geo("cyclic", 16, 6, 502), TreeCounts(4_117_769, 2_342_762, 81)),
        "T3": NamedTree(_bin(2000, 0.124875, 8, 42), TreeCounts(4_112_897, 3_599_034, 1_572)),
        "T4": NamedTree(
            TreeParameters("hybrid", "linear", b0=6, d=16, r=1, q=0.234375, m=4),
            TreeCounts(4_132_453, 3_108_986, 134),
        ),
        "T5": NamedTree(_geo("linear", 20, 4, 34), TreeCounts(4_147_582, 2_181_318, 20)),
        "T1L": NamedTree(_geo("fixed", 13, 4, 29), TreeCounts(102_181_082, 81_746_377, 13)),
        "T2L": NamedTree(_geo("cyclic", 23, 7, 220), TreeCounts(96_793_510, 53_791_152, 67)),
        "T3L": NamedTree(_bin(2000, 0.200014, 5, 7), TreeCounts(111_345_631, 89_076_904, 17_844)),
        "T1XL": NamedTree(_geo("fixed", 15, 4, 29), None),
        "T1XXL": NamedTree(_geo("fixed", 15, 4, 19), None),
        "T3XXL": NamedTree(_bin(2000, 0.499995, 2, 316), None),
    }
)
"""Sample trees of the published benchmark by their names there, and "default", the one of its default options."""
