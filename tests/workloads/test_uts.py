"""The Unbalanced Tree Search against its definition, its published counts, and itself in pieces."""

from __future__ import annotations

import hashlib
import itertools
import math
import pickle
import random
from functools import reduce

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from lbnet.errors import UsageError
from lbnet.work import run_unit
from lbnet.workloads.uts import (
    NAMED_TREES,
    NOTHING,
    TreeCounts,
    TreeParameters,
    TreeSearch,
    combine,
    count_sequential,
    first_layers,
    root,
)
from lbnet.workloads.uts_frontier import SPLIT_STATES_MAX
from lbnet.workloads.uts_rules import rules_of

# --- the definition once more, as plainly as it can be written, sharing nothing with the package


def naive_number_of_children(tree: TreeParameters, depth: int, state: bytes) -> int:
    u = (int.from_bytes(state[16:20], "big") & 0x7FFFFFFF) / 2**31
    if tree.tree == "bin" and depth == 0:
        return math.floor(tree.b0)
    if tree.tree == "bin" or (tree.tree == "hybrid" and not depth < tree.d / 2):
        return min(tree.m, 100) if u < tree.q else 0
    b = tree.b0
    if depth > 0:
        if tree.shape == "linear":
            b = tree.b0 * (1 - depth / tree.d)
        elif tree.shape == "exponential":
            b = tree.b0 * depth ** (-math.log(tree.b0) / math.log(tree.d))
        elif tree.shape == "cyclic":
            b = 0 if depth > 5 * tree.d else tree.b0 ** math.sin(2 * math.pi * depth / tree.d)
        elif depth >= tree.d:
            b = 0
    p = 1 / (1 + max(b, 0))
    if p == 1:
        return 0
    return min(math.floor(math.log(1 - u) / math.log(1 - p)), 100)


def naive_count(tree: TreeParameters, nodes_max: int = 10**9) -> TreeCounts | None:
    stack = [(0, hashlib.sha1(b"\0" * 16 + tree.r.to_bytes(4, "big", signed=True)).digest())]
    nodes = leaves = deepest = 0
    while stack:
        depth, state = stack.pop()
        nodes += 1
        if nodes > nodes_max:
            return None
        deepest = max(deepest, depth)
        children = naive_number_of_children(tree, depth, state)
        if children > nodes_max:
            return None
        leaves += not children
        stack += [(depth + 1, hashlib.sha1(state + i.to_bytes(4, "big")).digest()) for i in range(children)]
    return TreeCounts(nodes, leaves, deepest)


trees = st.builds(
    TreeParameters,
    tree=st.sampled_from(["bin", "geo", "hybrid"]),
    shape=st.sampled_from(["linear", "exponential", "cyclic", "fixed"]),
    b0=st.one_of(st.sampled_from([0, 1, 2, 4, 300]), st.floats(0.01, 12)),
    d=st.integers(2, 9),
    r=st.integers(-(2**31), 2**31 - 1),
    q=st.floats(0, 0.4),
    m=st.integers(0, 6) | st.just(150),
)

# --- counts


@pytest.mark.parametrize("name", ["default", "T3"])
def test_published_counts(name: str) -> None:
    assert count_sequential(NAMED_TREES[name].parameters) == NAMED_TREES[name].expected


def test_the_default_parameters_are_the_published_ones() -> None:
    assert TreeParameters() == TreeParameters("geo", "linear", b0=4, d=6, r=0, q=15 / 64, m=4)
    assert naive_count(TreeParameters()) == TreeCounts(nodes=1_732, leaves=1_050, depth=6)


@settings(deadline=None, max_examples=60)
@given(tree=trees)
@example(TreeParameters("bin", b0=0))
@example(TreeParameters("bin", b0=5.9, q=0.0))
@example(TreeParameters("bin", b0=300, q=0.1, m=4))
@example(TreeParameters("bin", b0=40, q=0.005, m=150))
@example(TreeParameters("geo", "cyclic", b0=2, d=3, r=4))
@example(TreeParameters("geo", "exponential", b0=2.5, d=4, r=3))
@example(TreeParameters("geo", "exponential", b0=0.4, d=4, r=3))
@example(TreeParameters("geo", "fixed", b0=1e-300, d=4, r=3))
@example(TreeParameters("geo", "fixed", b0=2**31 - 1, d=1, r=3))
@example(TreeParameters("geo", "linear", b0=4, d=1, r=3))
@example(TreeParameters("hybrid", "fixed", b0=4, d=7, r=3))
@example(TreeParameters("hybrid", "cyclic", b0=3, d=1, r=-1))
def test_counts_are_those_of_the_definition(tree: TreeParameters) -> None:
    expected = naive_count(tree, nodes_max=5_000)
    assume(expected is not None)
    assert count_sequential(tree) == expected


def test_each_kind_and_shape_grows_a_tree_of_its_own() -> None:
    kinds = [TreeParameters("bin", b0=50), TreeParameters("hybrid", b0=6, d=6)]
    shapes = [TreeParameters("geo", s, b0=3, d=4) for s in ("linear", "exponential", "cyclic", "fixed")]
    counts = [naive_count(tree, nodes_max=200_000) for tree in kinds + shapes]
    assert [count_sequential(tree) for tree in kinds + shapes] == counts
    assert len(set(counts)) == len(counts)


@settings(deadline=None, max_examples=40)
@given(tree=trees, depth=st.integers(1, 60), values=st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=40))
def test_tables_say_what_the_formula_says(tree: TreeParameters, depth: int, values: list[int]) -> None:
    assume(tree.b0 > 0)
    rule = rules_of(tree).at(depth)
    for value, top_bit in itertools.product(values, (0, 1)):
        state = bytes(16) + (value | top_bit << 31).to_bytes(4, "big")
        expected = naive_number_of_children(tree, depth, state)
        table = rule.suffixes[state[16]]
        assert len(rule.suffixes_of(state)) == expected
        assert rule.is_inner(state) == (expected > 0)
        assert rule.fate[state[16]] == 2 or rule.fate[state[16]] == (expected > 0)
        assert table is None or len(table) == expected
        assert not (rule.barren and expected)


def test_tables_are_right_where_the_formula_steps() -> None:
    # The number of children changes between `value - 1` and `value`: exactly there a table could be off by one.
    tree = TreeParameters("geo", "fixed", b0=4.0, d=10)
    rule = rules_of(tree).at(3)

    def number(value: int) -> int:
        return naive_number_of_children(tree, 3, bytes(16) + value.to_bytes(4, "big"))

    for children in range(1, 97):
        low, high = 0, 2**31 - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if number(middle) >= children else (middle + 1, high)
        for value in (low - 1, low):
            assert rule.count(value) == number(value)
        assert number(low - 1) < number(low)


def test_no_node_has_more_than_100_children() -> None:
    rule = rules_of(TreeParameters("geo", "fixed", b0=1000, d=5)).at(1)
    assert rule.count(2**31 - 1) == 100
    assert rules_of(TreeParameters("bin", q=0.5, m=10**9)).at(1).count(0) == 100


def test_endless_trees_have_rules_as_far_down_as_anybody_gets() -> None:
    # b_h is 1e29 there, and 1 / (1 + b_h) lost in rounding: the formula itself would divide by 0.
    rule = rules_of(TreeParameters("geo", "exponential", b0=1e-6, d=2)).at(60)
    assert (rule.count(0), rule.count(1), rule.count(2**31 - 1)) == (0, 100, 100)


@pytest.mark.parametrize("name", NAMED_TREES)
def test_named_trees_are_distinct_and_start(name: str) -> None:
    tree = NAMED_TREES[name]
    search = root(tree.parameters)
    search.run(0.0)
    assert search.result().nodes > 1
    assert sum(other.parameters == tree.parameters for other in NAMED_TREES.values()) == 1
    if tree.expected is not None:
        assert tree.expected.nodes > tree.expected.leaves > tree.expected.depth > 0


# --- in pieces


def run_in_pieces(tree: TreeParameters, seed: int) -> list[TreeCounts]:
    """Run, split, and send through pickle in a random order until nothing is left."""
    rng = random.Random(seed)
    units = [root(tree)]
    results = []
    while units:
        unit = units.pop(rng.randrange(len(units)))
        step = rng.randrange(4)
        if step == 0:
            part = unit.split(rng.choice([0, 0.1, 0.5, 0.5, 0.9, 1]))
            if part is not None:
                assert part.result() == NOTHING
                assert not part.run(-1) or part.result().nodes > 0
                units.append(part)
        elif step == 1:
            unit = pickle.loads(pickle.dumps(unit))
        elif unit.run(rng.choice([0.0, 0.0, 0.0005])):
            results.append(unit.result())
            continue
        units.append(unit)
    return results


@settings(deadline=None, max_examples=60)
@given(tree=trees, seed=st.integers(0, 2**32))
@example(TreeParameters("bin", b0=3000, q=0.1, m=4), 1)
@example(TreeParameters("geo", "linear", b0=4, d=6), 2)
def test_pieces_add_up_to_the_whole(tree: TreeParameters, seed: int) -> None:
    expected = naive_count(tree, nodes_max=5_000) if tree.b0 < 1000 else count_sequential(tree)
    assume(expected is not None)
    results = run_in_pieces(tree, seed)
    assert reduce(combine, results, NOTHING) == expected
    random.Random(seed).shuffle(results)
    assert reduce(combine, results) == expected


counts = st.builds(TreeCounts, st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 10**5))


@given(a=counts, b=counts, c=counts)
def test_combine_is_associative_and_commutative(a: TreeCounts, b: TreeCounts, c: TreeCounts) -> None:
    assert combine(a, b) == combine(b, a)
    assert combine(combine(a, b), c) == combine(a, combine(b, c))
    assert combine(a, NOTHING) == a


def run_batches(unit: TreeSearch, batches: int) -> None:
    for _ in range(batches):
        assert not unit.run(0.0)


def finish(unit: TreeSearch) -> TreeCounts:
    while not unit.run(1.0):
        pass
    return unit.result()


def test_halves_hold_alike_work() -> None:
    # In the mean over many trees: one subtree may always be a giant.
    given_nodes = all_nodes = 0
    for seed in range(100):
        unit = root(TreeParameters("geo", "linear", b0=4, d=7, r=seed))
        before = 0
        while unit.stack_size() < 30 and not unit.run(0.0):
            before = unit.result().nodes
        part = unit.split(0.5)
        if part is not None:
            theirs = finish(part).nodes
            given_nodes += theirs
            all_nodes += theirs + finish(unit).nodes - before
    assert 0.35 < given_nodes / all_nodes < 0.65


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.75])
def test_split_gives_the_fraction_of_the_stack(fraction: float) -> None:
    unit = root(NAMED_TREES["T3"].parameters)
    run_batches(unit, 100)
    before = unit.stack_size()
    part = unit.split(fraction)
    assert part is not None
    assert part.stack_size() + unit.stack_size() == before
    shared_out = min(before, SPLIT_STATES_MAX)
    assert part.stack_size() == pytest.approx(fraction * shared_out, abs=1)


def test_the_children_of_a_bin_root_can_be_shared_before_any_is_made() -> None:
    tree = TreeParameters("bin", b0=1000, q=0.1, m=4)
    unit = root(tree)
    part = unit.split(0.5)
    assert part is not None
    assert unit.stack_size() == part.stack_size() == 0
    ours, theirs = finish(unit), finish(part)
    assert combine(ours, theirs) == count_sequential(tree)
    assert ours.nodes == pytest.approx(theirs.nodes, rel=0.3)


def test_a_root_with_two_billion_children_is_searched_a_little_at_a_time() -> None:
    unit = root(TreeParameters("bin", b0=2**31 - 1, q=0.1, m=2))
    assert not unit.run(0.0)
    assert unit.result().nodes < 1_000
    part = unit.split(0.5)
    assert part is not None
    assert len(pickle.dumps(part)) < 1_000


def test_one_node_is_not_split() -> None:
    unit = root(TreeParameters())
    assert unit.stack_size() == 1
    assert unit.split(0.5) is None
    assert unit.split(1) is None
    assert finish(unit) == NAMED_TREES["default"].expected
    assert unit.split(0.5) is None


def test_a_visit_is_as_long_as_it_is_told() -> None:
    unit = root(NAMED_TREES["T3"].parameters)
    assert not unit.done
    for nodes in (1, 5_000, 20_000):
        before = unit.result().nodes
        visited = unit.visit(nodes)
        assert visited == unit.result().nodes - before
        assert nodes <= visited < nodes + 300
    before = unit.result().nodes
    assert unit.visit(math.inf) == 4_112_897 - before
    assert unit.done
    assert unit.result() == NAMED_TREES["T3"].expected
    assert unit.visit(1) == 0


def test_a_visit_of_nothing_visits_some() -> None:
    unit = root(TreeParameters())
    assert unit.visit(0) > 0


@pytest.mark.parametrize("tree", [TreeParameters(), TreeParameters("bin", b0=300, q=0.2, m=4, r=3)])
def test_a_copy_goes_its_own_way(tree: TreeParameters) -> None:
    unit = root(tree)
    unit.visit(1 if tree.tree == "bin" else 500)
    same, other = unit.copy(), unit.copy()
    assert same.result() == unit.result()
    expected = count_sequential(tree)
    assert finish(other) == expected
    part = unit.split(0.5)
    assert part is not None
    assert combine(finish(unit), finish(part)) == expected
    assert finish(same) == expected


@settings(deadline=None, max_examples=50)
@given(tree=trees, nodes_min=st.integers(1, 3_000))
def test_the_first_layers_are_those_of_the_definition(tree: TreeParameters, nodes_min: int) -> None:
    assume(tree.tree != "bin" and naive_count(tree, nodes_max=5_000) is not None)
    layer, depth, nodes = [hashlib.sha1(b"\0" * 16 + tree.r.to_bytes(4, "big", signed=True)).digest()], 0, 1
    while True:
        inner = sum(naive_number_of_children(tree, depth, state) > 0 for state in layer)
        if nodes >= nodes_min or not inner:
            break
        layer = [
            hashlib.sha1(state + i.to_bytes(4, "big")).digest()
            for state in layer
            for i in range(naive_number_of_children(tree, depth, state))
        ]
        depth += 1
        nodes += len(layer)
    top = first_layers(tree, nodes_min)
    assert (top.nodes, top.depth, top.inner) == (nodes, depth, inner)


def test_outside_of_a_task_the_unit_runs_alone() -> None:
    assert run_unit(root(TreeParameters())) == NAMED_TREES["default"].expected


def test_a_tree_of_one_node() -> None:
    unit = root(TreeParameters("geo", b0=0))
    assert unit.run(0.0)
    assert unit.result() == TreeCounts(nodes=1, leaves=1, depth=0)


def test_a_part_travels_light() -> None:
    unit = root(NAMED_TREES["T3"].parameters)
    run_batches(unit, 100)
    size_bytes = len(pickle.dumps(unit))
    assert size_bytes < 28 * unit.stack_size() + 400


# --- parameters


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"tree": "oak"}, "tree must be one of bin, geo, hybrid; it is 'oak'"),
        ({"shape": "round"}, "shape must be one of linear, exponential, cyclic, fixed; it is 'round'"),
        ({"d": 2.5}, "d must be a whole number"),
        ({"d": 0}, "d must be 1 or more"),
        ({"shape": "exponential", "d": 1}, "d must be 2 or more"),
        ({"b0": -1}, "b0 must be from 0 to"),
        ({"b0": math.nan}, "b0 must be from 0 to"),
        ({"b0": 2.0**31}, "b0 must be from 0 to"),
        ({"r": 2**31}, "r must fit"),
        ({"q": 1.0}, "q must be at least 0 and below 1"),
        ({"q": math.nan}, "q must be at least 0 and below 1"),
        ({"m": -1}, "m must be 0 or more"),
    ],
)
def test_impossible_parameters_are_refused(wrong: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        TreeParameters(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("fraction", [-0.1, 1.1, math.nan])
def test_an_impossible_fraction_is_refused(fraction: float) -> None:
    with pytest.raises(UsageError, match="fraction must be from 0 to 1"):
        root(TreeParameters()).split(fraction)
