"""Drawn numbers of children against the laws they are drawn from, one node at a time and many."""

from __future__ import annotations

import math
import random
from statistics import fmean, pvariance

import pytest

from lbnet.sim.sampled_levels import EXACT_MAX, Level, Levels, binomial, ending
from lbnet.workloads.uts import NAMED_TREES, TreeParameters
from lbnet.workloads.uts_rules import branching, rules_of

DRAWS = 1_500


def assert_law(values: list[int], mean: float, variance: float, excess: float) -> None:
    """Mean and variance are within four and a half standard errors; ``excess`` is the law's kurtosis beyond 3."""
    assert abs(fmean(values) - mean) <= 4.5 * math.sqrt(variance / len(values))
    assert abs(pvariance(values) - variance) <= 4.5 * variance * math.sqrt((2 + excess + 0.01) / len(values))


def geometric(b: float) -> Level:
    return Levels(TreeParameters("geo", "fixed", b0=b, d=9)).at(3)


@pytest.mark.parametrize("b", [0.02, 0.9, 4.0, 12.0])
@pytest.mark.parametrize("nodes", [1, 5, EXACT_MAX, EXACT_MAX + 1, 100, 5_000])
def test_children_of_inner_nodes(b: float, nodes: int) -> None:
    rng = random.Random(nodes)
    values = [geometric(b).children(nodes, rng) for _ in range(DRAWS)]
    assert min(values) >= nodes
    # One child for sure, and the others as if nothing were known.
    assert_law(values, nodes * (1 + b), nodes * b * (1 + b), (6 + 1 / (b * (1 + b))) / nodes)


@pytest.mark.parametrize("probability", [1e-5, 0.001, 0.2, 0.5, 0.93])
@pytest.mark.parametrize("nodes", [1, 7, 40, 1_000, 10**6])
def test_binomial(nodes: int, probability: float) -> None:
    rng = random.Random(nodes)
    values = [binomial(nodes, probability, rng) for _ in range(DRAWS)]
    assert 0 <= min(values) <= max(values) <= nodes
    variance = nodes * probability * (1 - probability)
    assert_law(values, nodes * probability, variance, 1 / variance - 6 / nodes)


@pytest.mark.parametrize("nodes", [0, 1, 40, 10**6])
def test_none_or_all(nodes: int) -> None:
    rng = random.Random(1)
    assert binomial(nodes, 0.0, rng) == 0
    assert binomial(nodes, 1.0, rng) == nodes


def test_small_draws_have_the_exact_law() -> None:
    rng = random.Random(1)
    level = geometric(1.0)
    values = [level.children(2, rng) - 2 for _ in range(20_000)]
    for k in range(6):
        chance = (k + 1) / 2 ** (k + 2)
        assert values.count(k) / len(values) == pytest.approx(chance, abs=4.5 * math.sqrt(chance / len(values)))
    values = [binomial(3, 0.4, rng) for _ in range(20_000)]
    for k in range(4):
        chance = math.comb(3, k) * 0.4**k * 0.6 ** (3 - k)
        assert values.count(k) / len(values) == pytest.approx(chance, abs=4.5 * math.sqrt(chance / len(values)))


class Ends:
    """Numbers at the very ends of what a generator gives."""

    def __init__(self, value: float) -> None:
        self.random = lambda: value


@pytest.mark.parametrize("value", [0.0, 2**-53, 1 - 2**-53])
def test_the_ends_of_the_random_numbers_give_possible_children(value: float) -> None:
    rng: random.Random = Ends(value)  # type: ignore[assignment]
    for nodes in (1, EXACT_MAX, 17, 1_000, 10**9):
        for b in (1e-9, 0.02, 4.0, 300.0):
            assert nodes <= geometric(b).children(nodes, rng) <= 100 * nodes
        for probability in (1e-12, 0.001, 0.5, 0.999):
            assert 0 <= binomial(nodes, probability, rng) <= nodes


def test_no_node_has_more_than_100_children() -> None:
    rng = random.Random(1)
    level = geometric(300.0)
    values = [level.children(1, rng) for _ in range(DRAWS)]
    assert max(values) == 100
    assert fmean(values) == pytest.approx(fmean([level.children(1_000, rng) / 1_000 for _ in range(100)]), rel=0.02)
    assert Levels(TreeParameters("bin", q=0.001, m=10**6)).at(1).children(3, rng) == 300


@pytest.mark.parametrize("name", NAMED_TREES)
def test_levels_follow_the_rules_of_the_real_search(name: str) -> None:
    tree = NAMED_TREES[name].parameters
    levels = Levels(tree)
    rules = rules_of(tree)
    values = [int((k + 0.5) * 2**31 / 3_000) for k in range(3_000)]
    for depth in range(1, 40):
        counts = [rules.at(depth + 1).count(value) for value in values]
        level = levels.at(levels.index(depth))
        if tree.tree == "bin" and tree.q * tree.m > 1:
            assert level.inner == pytest.approx(tree.q, rel=1e-3)
        else:
            assert level.inner == pytest.approx(sum(n > 0 for n in counts) / len(counts), abs=1e-3)
        inner = [n for n in map(rules.at(depth).count, values) if n]
        if inner:
            assert level.sure + level.extra == pytest.approx(fmean(inner), rel=0.02)
            assert level.extra_variance == pytest.approx(pvariance(inner), rel=0.1, abs=0.01)


def test_what_a_node_is_worth() -> None:
    fixed = Levels(TreeParameters("geo", "fixed", b0=4, d=10))
    assert fixed.at(9).worth == pytest.approx(5)
    assert fixed.at(8).worth == pytest.approx(5 + 4 * 5)
    assert fixed.at(9).inner == 0.0
    assert Levels(TreeParameters("bin", q=0.2, m=4)).at(0).worth == pytest.approx(1 + 0.2 * 4 / (1 - 0.8))
    assert Levels(TreeParameters("bin", q=0.5, m=2)).at(0).worth == math.inf
    # All "bin" nodes are alike, so only the next step counts; that of a "hybrid" tree's last depth above them not.
    assert Levels(TreeParameters("bin", q=0.2, m=4)).at(1).worth == 4
    hybrid = Levels(TreeParameters("hybrid", "linear", b0=4, d=4, q=0.2, m=4))
    b = branching(hybrid.parameters, 1)
    assert hybrid.at(1).worth == pytest.approx((1 + b) * (1 + 0.2 * 4 / (1 - 0.8)), rel=1e-3)
    endless = Levels(TreeParameters("geo", "exponential", b0=0.5, d=2))
    assert endless.at(0).worth > 100


@pytest.mark.parametrize(("q", "m"), [(0.2, 5), (0.1, 4), (0.0, 7), (0.5, 2)])
def test_trees_that_end_anyway_keep_their_law(q: float, m: int) -> None:
    assert ending(q, m) == q


@pytest.mark.parametrize(("q", "m"), [(0.200014, 5), (0.5 + 1e-9, 2), (0.6, 2), (0.3, 100), (0.99, 3)])
def test_trees_without_end_are_left_out(q: float, m: int) -> None:
    dual = ending(q, m)
    assert 0 <= dual * m < 1
    # The weight of what has an end must be that of its children together: s = q s^m + (1 - q).
    s = (dual / q) ** (1 / (m - 1))
    assert 1 - q + q * s**m == pytest.approx(s, rel=1e-9)


def test_the_law_of_ending_trees_is_that_of_the_drawn_ones_that_ended() -> None:
    rng = random.Random(1)
    sizes = []
    for _ in range(4_000):
        waiting, size = 1, 0
        while waiting and size < 2_000:
            waiting += (3 if rng.random() < 0.5 else 0) - 1
            size += 1
        if not waiting:
            sizes.append(size)
    assert len(sizes) < 3_000
    mean = 1 / (1 - 3 * ending(0.5, 3))
    assert fmean(sizes) == pytest.approx(mean, abs=4.5 * math.sqrt(pvariance(sizes) / len(sizes)))
