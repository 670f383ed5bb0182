"""``--workload`` in words: what there is, and what is said to who writes something else."""

from __future__ import annotations

import math
from typing import get_args

import pytest

from lbnet.errors import UsageError
from lbnet.sim.divisible import Divisible, DivisibleUnit
from lbnet.sim.flat import Flat
from lbnet.sim.sampled_tree import SampledTree
from lbnet.sim.tree import NODE_S, VisitedTree
from lbnet.sim.work import Unit
from lbnet.sim.workloads import KINDS, seconds, workload
from lbnet.workloads.synthetic import DurationKind, durations
from lbnet.workloads.uts_trees import NAMED_TREES


def all_seconds(text: str, seed: int) -> list[float]:
    work = workload(text, seed=seed)
    assert isinstance(work, Flat)
    return [work.task(index) for index in range(work.items)]


@pytest.mark.parametrize("kind", get_args(DurationKind))
def test_flat_lists_are_those_of_the_package(kind: DurationKind) -> None:
    found = all_seconds(f"flat:{kind}:200:1.5ms", seed=4)
    assert found == durations(kind, 200, 0.0015, 4)
    assert math.fsum(found) == pytest.approx(0.3)


def test_the_seed_decides() -> None:
    assert all_seconds("flat:lognormal:50:1s", 1) == all_seconds("flat:lognormal:50:1s", 1)
    assert all_seconds("flat:lognormal:50:1s", 1) != all_seconds("flat:lognormal:50:1s", 2)


def test_divisible_work() -> None:
    work = workload("divisible:1_000_000:10us", seed=1)
    assert isinstance(work, Divisible)
    assert work.expected() == 1_000_000
    assert work.task(0).left_s() == 10.0
    sizes = []
    for seed in (1, 1, 2):
        unit = workload("divisible:1000:1s", seed=seed).task(0)
        assert isinstance(unit, DivisibleUnit)
        unit.split()
        sizes.append(unit.left_s())
    assert sizes[0] == sizes[1] != sizes[2]


@pytest.mark.parametrize("name", NAMED_TREES)
def test_every_named_tree_is_visited_or_drawn(name: str) -> None:
    work = workload(f"uts:{name}", seed=1)
    tree = NAMED_TREES[name]
    visited = tree.expected is not None and tree.expected.nodes < 5_000_000
    assert isinstance(work, VisitedTree if visited else SampledTree)
    assert work.expected() == (tree.expected.nodes if visited and tree.expected is not None else None)
    unit = work.task(0)
    assert isinstance(unit, Unit)
    before = unit.result()
    assert unit.run(1e-3) == pytest.approx((unit.result() - before) * NODE_S)
    assert unit.result() > before


@pytest.mark.parametrize("name", ["T1", "T1L"])
def test_seconds_for_each_node_may_be_given(name: str) -> None:
    unit = workload(f"uts:{name}:10us", seed=1).task(0)
    assert isinstance(unit, Unit)
    before = unit.result()
    assert unit.run(1e-2) == pytest.approx((unit.result() - before) * 1e-5)
    assert 1_000 <= unit.result() - before < 3_000


@pytest.mark.parametrize("text", [kind.example.partition(" ")[0] for kind in KINDS.values()])
def test_the_examples_work_and_give_the_name(text: str) -> None:
    work = workload(text, seed=1)
    assert work.name == text
    assert work.options("sb", "first").name == text


@pytest.mark.parametrize(
    ("text", "value"),
    [("10us", 1e-5), ("1.5ms", 1.5e-3), (".5s", 0.5), ("2min", 120.0), ("007s", 7.0), ("1000000000s", 1e9)],
)
def test_seconds(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "5", "ms", "1 ms", "-1ms", "1e3s", "1.s", "1h", "nan", "infs", "１s", "1ms\n"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match="is no duration, as 10us, 1.5ms, 2s or 1min are"):
        seconds(text)


@pytest.mark.parametrize("text", ["0s", "0.0us", "1000000001s", "9" * 400 + "s"])
def test_durations_out_of_bounds(text: str) -> None:
    with pytest.raises(UsageError, match="must be above 0, and 1e\\+09 seconds at most"):
        seconds(text)


@pytest.mark.parametrize("text", ["", "x", "FLAT:constant:1:1s", ":", "uts_:T1", "uts T1"])
def test_an_unknown_kind_is_told_which_there_are(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        workload(text, seed=1)
    sentence = str(caught.value)
    assert sentence.startswith(f"there is no workload {text!r}; there are: flat:KIND:COUNT:MEAN")
    for word in ("lognormal", "divisible:COUNT:PIECE", "uts:TREE", "T1XXL"):
        assert word in sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("flat", "a part of it is missing"),
        ("flat:constant:3", "a part of it is missing"),
        ("flat:constant:3:1s:", "a part of it is missing, or there is one too many"),
        ("flat::3:1s", "a part of it is missing"),
        ("flat:sharp:3:1s", "there are no 'sharp' durations; there are: constant, uniform"),
        ("flat:constant:0:1s", "the number of tasks must be from 1 to 10,000,000, in digits; it is '0'"),
        ("flat:constant:1e6:1s", "the number of tasks must be"),
        ("flat:constant:10000001:1s", "the number of tasks must be"),
        ("flat:constant:-1:1s", "the number of tasks must be"),
        ("flat:constant:²:1s", "the number of tasks must be"),
        ("flat:constant:3:1", "'1' is no duration"),
        ("divisible:1000", "a part of it is missing"),
        ("divisible:many:1s", "the number of pieces must be"),
        ("divisible:" + "9" * 5000 + ":1s", "the number of pieces must be"),
        ("divisible:10:0ms", "the duration '0ms' must be above 0"),
        ("divisible:10:0.0001us", "too short to be counted"),
        ("uts", "a part of it is missing"),
        ("uts:T9", "there is no tree 'T9'; there are: default, T1, T2"),
        ("uts:T1:fast", "'fast' is no duration"),
        ("uts:T1:1us:1us", "there is one too many"),
    ],
)
def test_what_is_wrong_is_said_and_how_it_is_written(text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        workload(text, seed=1)
    found = str(caught.value)
    assert found.startswith(f"workload {text!r}: ")
    assert sentence in found
    kind = KINDS[text.partition(":")[0]]
    assert found.endswith(f"; write {kind.usage}, such as {kind.example}")
