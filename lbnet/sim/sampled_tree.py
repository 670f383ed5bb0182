"""Trees that are too big to be visited in a simulation: the Unbalanced Tree Search with drawn numbers of children.

A stack holds how many nodes lie at each depth, and not which: the children of many nodes are drawn at once from the
tree's own law. So it costs microseconds to search for a millisecond. It must not know why it is run or split.
"""

from __future__ import annotations

import random
from copy import copy
from typing import Final, Self

from lbnet.sim.sampled_levels import Levels, binomial
from lbnet.sim.tree import RESULT_BYTES, TREE_ITEM_BYTES
from lbnet.sim.work import Unit, Workload
from lbnet.workloads.uts import first_layers
from lbnet.workloads.uts_frontier import BATCH_PARENTS, SPLIT_STATES_MAX
from lbnet.workloads.uts_trees import TreeParameters

TOP_NODES: Final = 1_000
"""So many nodes of a tree are visited, not drawn. Then "fixed" and "linear" trees come out at their real size, up to
some percent; of drawn roots, one in four would have a tiny tree. With more, a split could not share out all of them."""


class SampledUnit(Unit):
    """The search of a part of a sampled tree, deepest nodes first.

    What it draws depends on when it is run and split, so that a copy that is run in another way counts otherwise.

    Args:
        levels: the laws of the tree.
        counts: inner nodes by level, whose children have not been drawn; the last number is not 0.
        node_s: seconds to visit one node.
        seed: of all draws.
        nodes: visited already, ``counts`` included.
        generator: of the draws that follow, if there were some; it belongs to the unit from now on.
    """

    def __init__(
        self,
        levels: Levels,
        counts: list[int],
        node_s: float,
        seed: int,
        nodes: int = 0,
        generator: random.Random | None = None,
    ) -> None:
        assert not counts or counts[-1] > 0
        self._levels = levels
        self._counts = counts
        self._node_s = node_s
        self._seed = seed
        self._nodes = nodes
        # Made when it is needed: a generator is 2.5 kB and some microseconds, and most copies are never run.
        self._generator = generator

    @property
    def done(self) -> bool:
        """Whether no node is left whose children are not drawn."""
        return not self._counts

    def run(self, seconds: float) -> float:
        """Visit nodes for about ``seconds``, those of one draw at least."""
        wanted = seconds / self._node_s
        made = 0
        while self._counts:
            made += self._expand(wanted - made)
            if made >= wanted:
                break
        self._nodes += made
        return made * self._node_s

    def split(self) -> Self | None:
        """Give away every second node of each level, as :meth:`lbnet.workloads.uts.TreeSearch.split` deals them out."""
        if sum(self._counts) < 2:
            return None
        given: list[int] = []
        room, dealt = SPLIT_STATES_MAX, 0
        for index, count in enumerate(self._counts):
            shared = count
            if index or not self._levels.root_is_range:
                shared = min(count, room)
                room -= shared
            given.append((dealt + shared + 1) // 2 - (dealt + 1) // 2)
            dealt += shared
        self._counts = _trimmed([count - gone for count, gone in zip(self._counts, given, strict=True)])
        part_seed = int(self._rng().random() * 2**53)
        return type(self)(self._levels, _trimmed(given), self._node_s, part_seed)

    def result(self) -> int:
        """The nodes it has visited."""
        return self._nodes

    def copy(self) -> Self:
        """The same unit, which draws the same."""
        generator = copy(self._generator)
        return type(self)(self._levels, list(self._counts), self._node_s, self._seed, self._nodes, generator)

    def _rng(self) -> random.Random:
        if self._generator is None:
            self._generator = random.Random(self._seed)  # noqa: S311 - a workload, not a secret
        return self._generator

    def _expand(self, wanted: float) -> int:
        # As many of the deepest nodes as fill the time with all that is below them: a few large draws, small stacks.
        counts, rng = self._counts, self._rng()
        index = len(counts) - 1
        level = self._levels.at(index)
        nodes = counts[index]
        if nodes > BATCH_PARENTS and nodes * level.worth > wanted:
            nodes = max(BATCH_PARENTS, int(wanted / level.worth))
        made = level.children(nodes, rng)
        inner = binomial(made, level.inner, rng) if level.inner else 0
        counts[index] -= nodes
        if level.below == index:
            counts[index] += inner
        else:
            counts.append(inner)
        _trimmed(counts)
        return made


class SampledTree(Workload):
    """The search of a tree whose top is visited, and whose other nodes are drawn; one item.

    The results add up to the size of the tree that was drawn. It varies with the seed, and with how the tree was run
    and split: by some percent for "fixed" and "linear" trees; by a factor for "cyclic" ones, whose middle is narrow;
    by more for "bin" trees near q m = 1, where the published ones are rare large ones.

    Trees with q m above 1 may have no end. Those that are drawn here have: see
    :func:`lbnet.sim.sampled_levels.ending`.

    Args:
        name: for reports.
        parameters: the tree.
        node_s: seconds to visit one node.
        seed: of all draws.
        top_nodes: how many nodes are visited, at least, if the tree has so many; none of a "bin" tree but its root.
    """

    item_bytes = TREE_ITEM_BYTES
    result_bytes = RESULT_BYTES
    reduce = True
    items = 1

    def __init__(
        self, name: str, parameters: TreeParameters, node_s: float, seed: int, top_nodes: int = TOP_NODES
    ) -> None:
        self.name = name
        self._node_s = node_s
        self._seed = seed
        self._levels = Levels(parameters)
        if parameters.tree == "bin":
            self._nodes, self._counts = 1, _trimmed([int(parameters.b0)])
        else:
            top = first_layers(parameters, top_nodes)
            self._nodes = top.nodes
            self._counts = _trimmed([0] * self._levels.index(top.depth) + [top.inner])

    def task(self, index: int) -> SampledUnit:
        """The whole search; ``index`` is 0."""
        assert index == 0
        return SampledUnit(self._levels, list(self._counts), self._node_s, self._seed, self._nodes)


def _trimmed(counts: list[int]) -> list[int]:
    while counts and not counts[-1]:
        counts.pop()
    return counts
