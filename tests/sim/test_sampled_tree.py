"""Sampled trees against the theory of branching processes, and against real trees of the same law."""

from __future__ import annotations

import math
import random
from statistics import fmean, pvariance

import pytest

from lbnet.sim.sampled_levels import Levels
from lbnet.sim.sampled_tree import TOP_NODES, SampledTree, SampledUnit
from lbnet.sim.tree import NODE_S
from lbnet.workloads.uts import NAMED_TREES, TreeParameters, count_sequential, first_layers, root
from lbnet.workloads.uts_frontier import SPLIT_STATES_MAX
from lbnet.workloads.uts_rules import branching

FIXED = TreeParameters("geo", "fixed", b0=3, d=5, r=1)
LINEAR = TreeParameters("geo", "linear", b0=4, d=6, r=0)
EXPONENTIAL = TreeParameters("geo", "exponential", b0=3, d=3, r=1)
CYCLIC = TreeParameters("geo", "cyclic", b0=2, d=3, r=4)
HYBRID = TreeParameters("hybrid", "fixed", b0=3, d=5, r=1, q=0.2, m=4)


def size(unit: SampledUnit, seed: int) -> int:
    """The nodes of a tree that is run and split at random."""
    rng = random.Random(seed)
    units, nodes = [unit], 0
    while units:
        unit = units.pop(rng.randrange(len(units)))
        if rng.random() < 0.3:
            part = unit.split()
            units += [] if part is None else [part]
        unit.run(rng.choice([0.0, 100 * NODE_S, 1e-3]))
        if unit.done:
            nodes += unit.result()
        else:
            units.append(unit)
    return nodes


def sizes(tree: TreeParameters, draws: int, top_nodes: int = 1) -> list[int]:
    return [size(SampledTree("t", tree, NODE_S, seed, top_nodes).task(0), seed) for seed in range(draws)]


def mean_size(tree: TreeParameters) -> float:
    """The mean size of a tree whose root has children, from the numbers of the definition alone."""
    b, layer, total = branching(tree, 0), 1.0, 0.0
    for depth in range(200):
        total += layer
        if tree.tree == "hybrid" and depth >= tree.d / 2:
            layer *= tree.q * tree.m
        else:
            layer *= branching(tree, depth)
    leaf = 1 / (1 + b)
    return (total - leaf) / (1 - leaf)


def assert_mean(values: list[int], mean: float) -> None:
    assert fmean(values) == pytest.approx(mean, abs=4.5 * math.sqrt(pvariance(values) / len(values)))


@pytest.mark.parametrize("tree", [FIXED, LINEAR, EXPONENTIAL, CYCLIC, HYBRID], ids=lambda tree: tree.shape + tree.tree)
def test_the_mean_size_is_that_of_the_theory(tree: TreeParameters) -> None:
    assert first_layers(tree, 1).inner == 1, "the test needs a root that has children"
    found = sizes(tree, 1_000)
    assert_mean(found, mean_size(tree))
    # So narrow that a wrong law would be found.
    assert math.sqrt(pvariance(found) / len(found)) < 0.1 * fmean(found)


@pytest.mark.parametrize(("b0", "q", "m"), [(2_000, 0.1, 4), (50, 0.3, 3), (10**5, 0.02, 2), (7, 0.009, 100)])
def test_the_mean_size_of_bin_trees_is_that_of_the_theory(b0: int, q: float, m: int) -> None:
    found = sizes(TreeParameters("bin", b0=b0, q=q, m=m), 300)
    assert_mean(found, 1 + b0 / (1 - m * q))


def test_sizes_are_spread_as_those_of_real_trees() -> None:
    real = []
    for r in range(600):
        tree = TreeParameters("geo", "linear", b0=4, d=5, r=r)
        if not root(tree).done:
            real.append(count_sequential(tree).nodes)
    drawn = sizes(TreeParameters("geo", "linear", b0=4, d=5, r=0), 1_000)
    assert fmean(drawn) == pytest.approx(fmean(real), rel=0.15)
    for part in (0.1, 0.5, 0.9):
        quantile = sorted(real)[int(part * len(real))]
        assert sum(nodes <= quantile for nodes in drawn) / len(drawn) == pytest.approx(part, abs=0.06)


def test_the_top_is_that_of_the_real_tree() -> None:
    tree = NAMED_TREES["T1"]
    assert tree.expected is not None
    unit = SampledTree("T1", tree.parameters, NODE_S, 1).task(0)
    assert unit.result() == first_layers(tree.parameters, TOP_NODES).nodes
    assert size(unit, 1) == pytest.approx(tree.expected.nodes, rel=0.1)


def test_a_tree_that_is_all_top_is_the_real_one() -> None:
    unit = SampledTree("default", NAMED_TREES["default"].parameters, NODE_S, 1, top_nodes=10_000).task(0)
    assert unit.done
    assert unit.result() == 1_732
    assert unit.run(1.0) == 0.0


def test_a_tree_of_one_node() -> None:
    for tree in (TreeParameters("geo", b0=0), TreeParameters("bin", b0=0.5)):
        unit = SampledTree("t", tree, NODE_S, 1).task(0)
        assert unit.done
        assert unit.result() == 1


def test_nodes_of_bin_trees_may_have_no_children() -> None:
    for tree in (TreeParameters("bin", b0=10, m=0), TreeParameters("bin", b0=10, q=0.0)):
        assert size(SampledTree("t", tree, NODE_S, 1).task(0), 1) == 11


def test_a_tree_that_may_have_no_end_has_one() -> None:
    tree = TreeParameters("bin", b0=200, q=0.4, m=3)
    assert_mean(sizes(tree, 300), 1 + 200 / (1 - 3 * Levels(tree).at(1).inner))


def test_the_seed_decides() -> None:
    def trace(seed: int) -> list[tuple[float, int]]:
        unit = SampledTree("t", NAMED_TREES["T1L"].parameters, NODE_S, seed).task(0)
        steps = [(unit.run(1e-3), unit.result()) for _ in range(5)]
        part = unit.split()
        assert part is not None
        return steps + [(part.run(1e-3), part.result()) for _ in range(5)]

    assert trace(1) == trace(1)
    assert trace(1) != trace(2)
    found = sizes(FIXED, 20)
    assert len(set(found)) > 15


def test_parts_draw_from_streams_of_their_own() -> None:
    unit = SampledTree("t", TreeParameters("bin", b0=4_000, q=0.2, m=4), NODE_S, 1).task(0)
    parts = [part for part in (unit.split(), unit.split()) if part is not None]
    counts = [[part.run(200 * NODE_S) and part.result() for _ in range(5)] for part in [*parts, unit]]
    assert counts[0] != counts[1] != counts[2] != counts[0]


def test_a_run_visits_what_fits_into_its_time() -> None:
    for name in ("T1L", "T2L", "T3L", "T4"):
        unit = SampledTree(name, NAMED_TREES[name].parameters, NODE_S, 2).task(0)
        unit.run(0.1)
        for _ in range(50):
            before = unit.result()
            took_s = unit.run(1e-3)
            assert took_s == pytest.approx((unit.result() - before) * NODE_S)
            assert 1e-3 <= took_s < 1.3e-3
        assert unit.left_s() is None
        before = unit.result()
        assert unit.run(0.0) > 0
        assert unit.result() - before < 1_000


def test_a_whole_tree_may_be_run_at_once() -> None:
    unit = SampledTree("T1", NAMED_TREES["T1"].parameters, NODE_S, 1).task(0)
    before = unit.result()
    assert unit.run(math.inf) == pytest.approx((unit.result() - before) * NODE_S)
    assert unit.done
    assert unit.result() > 3_000_000


def test_the_stack_is_as_deep_as_that_of_the_real_search() -> None:
    tree = NAMED_TREES["T5"].parameters
    real = root(tree)
    drawn = SampledTree("T5", tree, NODE_S, 1, top_nodes=10).task(0)
    real_sizes, drawn_sizes = [], []
    for _ in range(100):
        real.visit(2_500)
        drawn.run(1e-3)
        real_sizes.append(real.stack_size())
        drawn_sizes.append(sum(drawn._counts))
    assert fmean(drawn_sizes) == pytest.approx(fmean(real_sizes), rel=0.4)


# --- splits

GEO = Levels(LINEAR)
BIN = Levels(TreeParameters("bin", b0=100))


@pytest.mark.parametrize(
    ("levels", "counts", "kept", "given"),
    [
        (GEO, [1, 1], [0, 1], [1]),
        (GEO, [2], [1], [1]),
        (GEO, [3, 3], [1, 2], [2, 1]),
        (GEO, [0, 5, 0, 4], [0, 2, 0, 2], [0, 3, 0, 2]),
        (GEO, [2000, 2000], [1000, 2000 - 24], [1000, 24]),
        (GEO, [5000, 7], [5000 - 1024, 7], [1024]),
        # The children of a "bin" root are a range, which costs nothing to send.
        (BIN, [5000, 7], [2500, 3], [2500, 4]),
        (BIN, [0, 5000], [0, 5000 - 1024], [0, 1024]),
    ],
)
def test_a_split_gives_every_second_node(levels: Levels, counts: list[int], kept: list[int], given: list[int]) -> None:
    assert SPLIT_STATES_MAX == 2048
    unit = SampledUnit(levels, list(counts), NODE_S, seed=1, nodes=99)
    part = unit.split()
    assert part is not None
    assert (unit._counts, part._counts) == (kept, given)
    assert (unit.result(), part.result()) == (99, 0)


@pytest.mark.parametrize("counts", [[], [1], [0, 0, 1]])
def test_one_node_is_not_split(counts: list[int]) -> None:
    unit = SampledUnit(GEO, list(counts), NODE_S, seed=1)
    assert unit.split() is None
    assert unit._counts == counts


def test_a_split_leaves_the_mean_alone() -> None:
    # Half the nodes of a level have half of what is below it.
    ours, theirs = [], []
    for seed in range(300):
        unit = SampledUnit(Levels(FIXED), [0, 0, 40], NODE_S, seed)
        part = unit.split()
        assert part is not None
        ours.append(size(unit, seed))
        theirs.append(size(part, seed))
    # An inner node has 4 children, 3 of them inner, and those 4, of whom 3 have 4 each.
    for found in (ours, theirs):
        assert_mean(found, 20 * (4 + 3 * 4 + 9 * 4))


# --- copies


def test_a_copy_is_the_same_and_draws_the_same() -> None:
    unit = SampledTree("t", NAMED_TREES["T1L"].parameters, NODE_S, 3).task(0)
    fresh = unit.copy()
    unit.run(0.01)
    later = unit.copy()
    fresh.run(0.01)
    assert unit.result() == later.result() == fresh.result()
    for _ in range(5):
        assert unit.run(1e-3) == later.run(1e-3) == fresh.run(1e-3)
    assert unit._counts == later._counts == fresh._counts
    visited = later.result()
    unit.run(0.1)
    assert later.result() == visited


def test_the_workload_is_one_item_of_unknown_size() -> None:
    work = SampledTree("t", NAMED_TREES["T1L"].parameters, NODE_S, 3)
    assert work.items == 1
    assert work.expected() is None
    assert work.options("sb", "first").reduce == b"sum"
    work.task(0).run(1.0)
    assert work.task(0).result() == first_layers(NAMED_TREES["T1L"].parameters, TOP_NODES).nodes
