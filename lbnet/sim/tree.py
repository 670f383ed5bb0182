"""The Unbalanced Tree Search in the model: the real search, timed by its nodes.

It must not know why it is run or split. Trees that are too big for this are in :mod:`lbnet.sim.sampled_tree`.
"""

from __future__ import annotations

from typing import Final, Self

from lbnet.sim.work import Unit, Workload
from lbnet.workloads.uts import TreeSearch, root
from lbnet.workloads.uts_trees import TreeParameters

NODE_S: Final = 0.4e-6
"""Seconds to visit a node, unless somebody says otherwise.

:func:`lbnet.workloads.uts.count_sequential` takes 0.3 (T1, T3) to 0.4 (T2, T5) microseconds a node on the machine
that lbnet is measured on; other CPython programs take 0.6 to 1.
"""

VISITED_NODES_MAX: Final = 20_000_000
"""Trees up to this size are visited node by node: that is some seconds for each simulation."""

TREE_ITEM_BYTES: Final = 2500
"""Pickled size of a part of a tree: 200 bytes, and 20 for each node on its stack. Halves of T1 to T5 have 30 (T3) to
180 nodes (T2); this is their mean."""

RESULT_BYTES: Final = 75
"""Pickled size of the counts of a tree."""


class TreeUnit(Unit):
    """A :class:`lbnet.workloads.uts.TreeSearch` that is run by nodes instead of by the clock.

    Args:
        search: it belongs to the unit from now on.
        node_s: seconds to visit one node.
    """

    def __init__(self, search: TreeSearch, node_s: float) -> None:
        self._search = search
        self._node_s = node_s

    @property
    def done(self) -> bool:
        """Whether every node is visited."""
        return self._search.done

    def run(self, seconds: float) -> float:
        """Visit nodes for about ``seconds``, one batch at least."""
        return self._search.visit(seconds / self._node_s) * self._node_s

    def split(self) -> Self | None:
        """Give away half of the nodes nearest the root."""
        part = self._search.split(0.5)
        return None if part is None else type(self)(part, self._node_s)

    def result(self) -> int:
        """The nodes it has visited."""
        return self._search.result().nodes

    def copy(self) -> Self:
        """The same search on its own."""
        return type(self)(self._search.copy(), self._node_s)


class VisitedTree(Workload):
    """The search of a whole tree, as one item. Every simulation visits every node anew, so that its count is real.

    Args:
        name: for reports.
        parameters: the tree.
        nodes: how many it has, if that is known.
        node_s: seconds to visit one.
    """

    item_bytes = TREE_ITEM_BYTES
    result_bytes = RESULT_BYTES
    reduce = True
    items = 1

    def __init__(self, name: str, parameters: TreeParameters, nodes: int | None, node_s: float = NODE_S) -> None:
        self.name = name
        self._parameters = parameters
        self._nodes = nodes
        self._node_s = node_s

    def task(self, index: int) -> TreeUnit:
        """The whole search; ``index`` is 0."""
        assert index == 0
        return TreeUnit(root(self._parameters), self._node_s)

    def expected(self) -> int | None:
        """The nodes of the tree, if that is known."""
        return self._nodes
