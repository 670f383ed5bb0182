"""Made-up work: it takes the time it says, adds up to what it says, and loses nothing when split."""

from __future__ import annotations

import itertools
import math
import operator
import pickle
import random
import time
from functools import reduce
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet.errors import UsageError
from lbnet.workloads.synthetic import GIANT_RATIO, DurationKind, SyntheticUnit, burn, durations, nap

KINDS: list[Any] = list(get_args(DurationKind))


def test_burn_takes_cpu_time() -> None:
    before = time.thread_time()
    burn(0.02)
    assert 0.02 <= time.thread_time() - before < 0.03


def test_nap_takes_wall_time_and_no_cpu_time() -> None:
    cpu, wall = time.thread_time(), time.perf_counter()
    nap(0.05)
    assert time.perf_counter() - wall >= 0.05
    assert time.thread_time() - cpu < 0.02


@given(kind=st.sampled_from(KINDS), count=st.integers(1, 500), mean_s=st.floats(1e-9, 1e3), seed=st.integers())
def test_durations_add_up(kind: DurationKind, count: int, mean_s: float, seed: int) -> None:
    values = durations(kind, count, mean_s, seed)
    assert len(values) == count
    assert all(0 < value < math.inf for value in values)
    assert math.fsum(values) == pytest.approx(count * mean_s)


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides(kind: DurationKind) -> None:
    assert durations(kind, 50, 0.01, seed=1) == durations(kind, 50, 0.01, seed=1)
    same = durations(kind, 50, 0.01, seed=1) == durations(kind, 50, 0.01, seed=2)
    assert same == (kind == "constant")


@pytest.mark.parametrize(
    ("kind", "deviation"),
    [("constant", 0.0), ("uniform", 1 / math.sqrt(3)), ("exponential", 1.0), ("lognormal", 2.9)],
)
def test_kinds_have_their_spread(kind: DurationKind, deviation: float) -> None:
    values = durations(kind, 20_000, 1.0, seed=7)
    measured = math.sqrt(math.fsum((value - 1) ** 2 for value in values) / len(values))
    assert measured == pytest.approx(deviation, rel=0.25, abs=1e-9)


def test_giants_are_few_and_hold_nearly_all() -> None:
    values = durations("giants", 1_000, 1.0, seed=3)
    tiny = min(values)
    giants = [place for place, value in enumerate(values) if value > 2 * tiny]
    assert len(giants) == 10
    assert max(values) == pytest.approx(GIANT_RATIO * tiny)
    assert sum(values[place] for place in giants) / sum(values) == pytest.approx(0.91, abs=0.01)
    # at random places: neither at the front nor at the end nor side by side
    assert giants[0] < 500 < giants[-1]
    assert max(b - a for a, b in itertools.pairwise(giants)) > 10


@pytest.mark.parametrize("kind", KINDS)
def test_no_durations_and_no_time(kind: DurationKind) -> None:
    assert durations(kind, 0, 1.0, seed=0) == []
    assert durations(kind, 3, 0.0, seed=0) == [0.0, 0.0, 0.0]


def test_one_duration_may_be_a_giant_alone() -> None:
    assert durations("giants", 1, 2.0, seed=0) == [2.0]


@settings(deadline=None)
@given(units=st.integers(0, 300), seed=st.integers(0, 2**32))
def test_no_piece_is_lost_or_done_twice(units: int, seed: int) -> None:
    rng = random.Random(seed)
    waiting = [SyntheticUnit(units, 0.0, seed)]
    results = []
    while waiting:
        unit = waiting.pop(rng.randrange(len(waiting)))
        if rng.random() < 0.3:
            part = unit.split(rng.choice([0, 0.1, 0.5, 1]))
            waiting += [] if part is None else [part]
        unit = pickle.loads(pickle.dumps(unit))
        if unit.run(0.0):
            results.append(unit.result())
        else:
            waiting.append(unit)
    assert reduce(operator.add, results) == units


def sizes_of_splits(seed: int) -> list[int]:
    unit = SyntheticUnit(10_000, 0.0, seed)
    sizes = []
    for _ in range(5):
        part = unit.split(0.5)
        assert part is not None
        assert part.run(math.inf)
        sizes.append(part.result())
    return sizes


def test_splits_are_seeded_and_uneven() -> None:
    assert sizes_of_splits(1) == sizes_of_splits(1)
    assert sizes_of_splits(1) != sizes_of_splits(2)
    first = [sizes_of_splits(seed)[0] for seed in range(40)]
    assert all(2_500 <= size <= 7_500 for size in first)
    assert len(set(first)) == 40


def test_the_parts_of_a_unit_draw_differently() -> None:
    unit = SyntheticUnit(10_000, 0.0, seed=5)
    part = unit.split(0.5)
    assert part is not None
    ours, theirs = unit.split(0.5), part.split(0.5)
    assert ours is not None
    assert theirs is not None
    assert ours._seed != theirs._seed


@pytest.mark.parametrize("units", [0, 1])
def test_one_piece_is_not_split(units: int) -> None:
    assert SyntheticUnit(units, 0.0, seed=0).split(0.5) is None


def test_a_unit_costs_cpu_time_and_keeps_to_its_budget() -> None:
    unit = SyntheticUnit(1_000, 0.001, seed=0)
    before = time.thread_time()
    assert not unit.run(0.02)
    assert 1 <= unit.result() <= 20
    assert time.thread_time() - before >= unit.result() * 0.001


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(UsageError, match="seconds must be 0 or more"):
        burn(-1)
    with pytest.raises(UsageError, match="seconds must be 0 or more"):
        nap(math.inf)
    with pytest.raises(UsageError, match="kind must be one of constant, uniform"):
        durations("sharp", 1, 1.0, 0)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="count must be 0 or more"):
        durations("constant", -1, 1.0, 0)
    with pytest.raises(UsageError, match="mean_s must be 0 or more"):
        durations("constant", 1, math.nan, 0)
    with pytest.raises(UsageError, match="units must be 0 or more"):
        SyntheticUnit(-1, 0.0, 0)
    with pytest.raises(UsageError, match="unit_cost_s must be 0 or more"):
        SyntheticUnit(1, -1.0, 0)
    with pytest.raises(UsageError, match="fraction must be from 0 to 1"):
        SyntheticUnit(2, 0.0, 0).split(2)
