"""The real tree search, run by nodes."""

from __future__ import annotations

import random

import pytest

from lbnet.sim.tree import NODE_S, VISITED_NODES_MAX, TreeUnit, VisitedTree
from lbnet.workloads.uts import NAMED_TREES, TreeParameters, count_sequential, root

SMALL = TreeParameters("bin", b0=300, q=0.2, m=4, r=3)
"""Some thousand nodes."""


def run_in_pieces(unit: TreeUnit, seed: int) -> tuple[int, float]:
    rng = random.Random(seed)
    units, nodes, spent_s = [unit], 0, 0.0
    while units:
        unit = units.pop(rng.randrange(len(units)))
        if rng.random() < 0.5:
            part = unit.split()
            units += [] if part is None else [part]
        spent_s += unit.run(rng.random() * 300 * NODE_S)
        if unit.done:
            nodes += unit.result()
        else:
            units.append(unit)
    return nodes, spent_s


@pytest.mark.parametrize("seed", range(5))
def test_pieces_add_up_to_the_real_count(seed: int) -> None:
    nodes, spent_s = run_in_pieces(VisitedTree("small", SMALL, None).task(0), seed)
    assert nodes == count_sequential(SMALL).nodes
    # The root is there before anything runs.
    assert spent_s == pytest.approx((nodes - 1) * NODE_S)


def test_a_named_tree_has_its_published_count() -> None:
    tree = NAMED_TREES["default"]
    assert tree.expected is not None
    work = VisitedTree("uts:default", tree.parameters, tree.expected.nodes)
    assert run_in_pieces(work.task(0), seed=1)[0] == work.expected() == 1_732


def test_a_run_visits_what_fits_into_its_time_and_one_batch_at_least() -> None:
    unit = VisitedTree("T3", NAMED_TREES["T3"].parameters, None, node_s=1e-5).task(0)
    assert unit.run(0.02) == pytest.approx((unit.result() - 1) * 1e-5)
    assert 2_000 < unit.result() < 2_300
    before = unit.result()
    assert unit.run(0.0) > 0
    assert before < unit.result() < before + 300
    assert unit.left_s() is None


def test_what_is_done_takes_no_time() -> None:
    unit = VisitedTree("small", SMALL, None).task(0)
    took_s = unit.run(1e9)
    assert unit.done
    assert took_s == pytest.approx((count_sequential(SMALL).nodes - 1) * NODE_S)
    assert unit.run(1.0) == 0.0
    assert unit.split() is None


def test_a_tree_of_one_node_is_done_at_once() -> None:
    unit = TreeUnit(root(TreeParameters("geo", b0=0)), NODE_S)
    assert unit.done
    assert unit.result() == 1


def test_a_copy_is_the_same_and_on_its_own() -> None:
    unit = VisitedTree("small", SMALL, None).task(0)
    unit.run(500 * NODE_S)
    same = unit.copy()
    assert same.result() == unit.result() > 1
    visited = unit.result()
    unit.split()
    unit.run(1e9)
    assert same.result() == visited
    same.run(1e9)
    assert same.result() == count_sequential(SMALL).nodes


def test_the_workload_is_one_item_whose_results_add_up() -> None:
    work = VisitedTree("small", SMALL, None)
    assert work.items == 1
    assert work.expected() is None
    assert work.options("sb", "first").reduce == b"sum"
    work.task(0).run(1e9)
    assert not work.task(0).done


def test_the_named_trees_of_four_million_nodes_are_visited_and_larger_ones_are_not() -> None:
    sizes = {name: tree.expected.nodes for name, tree in NAMED_TREES.items() if tree.expected is not None}
    assert {name for name, nodes in sizes.items() if nodes <= VISITED_NODES_MAX} == {
        "default", "T1", "T2", "T3", "T4", "T5",
    }  # fmt: skip
