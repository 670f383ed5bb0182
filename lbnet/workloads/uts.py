"""The Unbalanced Tree Search: count a tree that nobody can see before it is searched.

Every node is the SHA-1 of its parent and its number among its siblings, so the size of a subtree cannot
be predicted from its root, and the whole count is known: the benchmark of dynamic load balancing. Source:
Olivier, Huan, Liu, Prins, Dinan, Sadayappan, Tseng: UTS: An Unbalanced Tree Search Benchmark (LCPC 2006).

**Every node's SHA-1 is computed**, also at the last depth of a tree, where it can change nothing and some
published programs leave it out. One function, :func:`_expand`, visits all nodes, both for
:func:`count_sequential` and for :class:`TreeSearch`, so a speed-up compares like with like.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Final, Self

from lbnet.errors import UsageError
from lbnet.work import WorkUnit
from lbnet.workloads.uts_frontier import Frontier
from lbnet.workloads.uts_rules import DOUBTFUL, LEAF, TOP_BYTE, Rule, pack_number, rules_of
from lbnet.workloads.uts_trees import (
    NAMED_TREES,
    GeoShape,
    NamedTree,
    TopLayers,
    TreeCounts,
    TreeKind,
    TreeParameters,
)

__all__ = [
    "NAMED_TREES",
    "NOTHING",
    "GeoShape",
    "NamedTree",
    "TopLayers",
    "TreeCounts",
    "TreeKind",
    "TreeParameters",
    "TreeSearch",
    "combine",
    "count_sequential",
    "first_layers",
    "root",
]

NOTHING: Final = TreeCounts(0, 0, 0)
"""The counts of no nodes: combined with others, it changes nothing."""


def combine(a: TreeCounts, b: TreeCounts) -> TreeCounts:
    """The counts of two parts of a tree together, in any order and grouping; for ``reduce=``."""
    return TreeCounts(a.nodes + b.nodes, a.leaves + b.leaves, max(a.depth, b.depth))


def root(parameters: TreeParameters) -> TreeSearch:
    """The search of a whole tree, with nothing visited but its root."""
    if parameters.tree == "bin":
        frontier = Frontier(root_end=int(parameters.b0))
    else:
        frontier = Frontier()
        state = _root_state(parameters)
        if rules_of(parameters).at(0).is_inner(state):
            frontier.push(0, [state])
    return TreeSearch(parameters, frontier, TreeCounts(nodes=1, leaves=0 if frontier else 1, depth=0))


def count_sequential(parameters: TreeParameters) -> TreeCounts:
    """Count a whole tree in this thread: the baseline of every speed-up.

    The SHA-1 of every node is computed. An endless tree (see :class:`TreeParameters`) never returns.
    """
    search = root(parameters)
    search.run(math.inf)
    return search.result()


def first_layers(parameters: TreeParameters, nodes_min: int) -> TopLayers:
    """Visit a tree layer by layer until ``nodes_min`` nodes are visited, or all: its top, for who goes on by himself.

    Not for "bin" trees, whose roots may have 2^31 children.
    """
    assert parameters.tree != "bin"
    rules = rules_of(parameters)
    depth, nodes = 0, 1
    layer = [state for state in [_root_state(parameters)] if rules.at(0).is_inner(state)]
    while layer and nodes < nodes_min:
        rule = rules.at(depth)
        depth += 1
        below: list[bytes] = []
        nodes += _expand(layer, rule.suffixes, rule, rules.at(depth), below)
        layer = below
    return TopLayers(nodes, depth, len(layer))


def _expand(
    parents: Sequence[bytes],
    suffixes_by_top: Sequence[tuple[bytes, ...] | None],
    rule: Rule,
    rule_below: Rule,
    inner: list[bytes],
) -> int:
    # The hot loop. All children of all parents, which are inner nodes of one depth: those that have children
    # themselves go to `inner`; how many there were in all is returned.
    sha1 = hashlib.sha1
    made = 0
    if rule_below.barren:
        for parent in parents:
            suffixes = suffixes_by_top[parent[TOP_BYTE]] or rule.suffixes_of(parent)
            made += len(suffixes)
            for suffix in suffixes:
                sha1(parent + suffix).digest()
        return made
    fate_by_top = rule_below.fate
    keep = inner.append
    for parent in parents:
        suffixes = suffixes_by_top[parent[TOP_BYTE]] or rule.suffixes_of(parent)
        made += len(suffixes)
        for suffix in suffixes:
            child = sha1(parent + suffix).digest()
            fate = fate_by_top[child[TOP_BYTE]]
            if fate != LEAF and (fate != DOUBTFUL or rule_below.is_inner(child)):
                keep(child)
    return made


class TreeSearch(WorkUnit):
    """The search of a tree or of some of its subtrees, depth first.

    Made by :func:`root` and by :meth:`split`. When pickled it takes 20 bytes for each node on its stack
    and some 300 more.

    Args:
        parameters: the tree.
        frontier: the nodes to begin with; the search owns it from now on.
        counts: what has been counted already, ``frontier`` included.

    Example::

        tree = NAMED_TREES["T1"].parameters
        counts = cluster.submit(run_unit, root(tree), reduce=combine).result()
    """

    def __init__(self, parameters: TreeParameters, frontier: Frontier, counts: TreeCounts) -> None:
        self.parameters = parameters
        self._frontier = frontier
        self._nodes, self._leaves, self._depth = counts.nodes, counts.leaves, counts.depth
        self._rule_at = rules_of(parameters).at

    def run(self, budget_s: float) -> bool:
        """Visit nodes for about ``budget_s`` seconds of wall clock, some in any case; True when none is left."""
        deadline = perf_counter() + budget_s
        frontier = self._frontier
        while frontier:
            self._visit_batch()
            if perf_counter() >= deadline:
                break
        return not frontier

    def visit(self, nodes: float) -> int:
        """Visit ``nodes`` nodes, and a few more that come in one go with the last; some in any case.

        It is :meth:`run` without a clock, for who has a time of his own.

        Returns:
            How many it visited; fewer than ``nodes``, 0 too, only if none is left.
        """
        frontier, before = self._frontier, self._nodes
        while frontier:
            self._visit_batch()
            if self._nodes - before >= nodes:
                break
        return self._nodes - before

    @property
    def done(self) -> bool:
        """Whether nothing is left to visit."""
        return not self._frontier

    def copy(self) -> Self:
        """The same search on its own. It shares the nodes' states, so it costs no more than a list of them."""
        return type(self)(self.parameters, self._frontier.copy(), self.result())

    def split(self, fraction: float) -> Self | None:
        """Give away about ``fraction`` of the nodes nearest the root, as a search without counts, or None.

        Nodes are dealt out in turn, oldest first, so both sides get alike shares of every depth, and with that of
        the expected work. Each side has at least one node afterwards; where there are no two, it is None.

        Raises:
            UsageError: ``fraction`` is not from 0 to 1.
        """
        if not 0 <= fraction <= 1:
            raise UsageError(f"fraction must be from 0 to 1, the share of the work to give away; it is {fraction}")
        part = self._frontier.split(fraction)
        return None if part is None else type(self)(self.parameters, part, NOTHING)

    def result(self) -> TreeCounts:
        """The counts of the nodes this search has visited, without those of the parts it gave away."""
        return TreeCounts(self._nodes, self._leaves, self._depth)

    def stack_size(self) -> int:
        """How many nodes lie on the stack."""
        return self._frontier.states()

    def _visit_batch(self) -> None:
        batch = self._frontier.pop()
        if batch is not None:
            depth, parents = batch
            rule = self._rule_at(depth)
            suffixes_by_top: Sequence[tuple[bytes, ...] | None] = rule.suffixes
        else:
            # Only the root of a "bin" tree has children in a range; it follows no rule, so its table is made here.
            depth, parents = 0, [_root_state(self.parameters)]
            rule = self._rule_at(1)
            suffixes_by_top = [tuple(map(pack_number, self._frontier.pop_root_children()))] * 256
        depth += 1
        inner: list[bytes] = []
        made = _expand(parents, suffixes_by_top, rule, self._rule_at(depth), inner)
        self._nodes += made
        self._leaves += made - len(inner)
        self._depth = max(self._depth, depth)
        self._frontier.push(depth, inner)

    def __reduce__(self) -> tuple[Callable[..., TreeSearch], tuple[object, ...]]:
        return _restore, (self.parameters, self._frontier.pack(), self._nodes, self._leaves, self._depth)


def _restore(parameters: TreeParameters, packed: bytes, nodes: int, leaves: int, depth: int) -> TreeSearch:
    return TreeSearch(parameters, Frontier.unpack(packed), TreeCounts(nodes, leaves, depth))


def _root_state(parameters: TreeParameters) -> bytes:
    # SHA-1 is the benchmark's work and its random numbers; nothing here is a secret.
    return hashlib.sha1(bytes(16) + pack_number(parameters.r)).digest()  # noqa: S324
