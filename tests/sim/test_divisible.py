"""Work of a known size that splits: nothing is lost, and time adds up exactly."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbnet.errors import UsageError
from lbnet.sim.divisible import Divisible, DivisibleUnit

MS_NS = 1_000_000


def facts(unit: DivisibleUnit) -> tuple[int, float, bool]:
    return unit.result(), unit.left_s(), unit.done


def test_a_run_does_whole_pieces_and_keeps_the_rest_of_its_time() -> None:
    unit = DivisibleUnit(10, MS_NS, seed=0)
    assert unit.run(0.0025) == 0.0025
    assert facts(unit) == (2, 0.0075, False)
    assert unit.run(0.0005) == 0.0005
    assert facts(unit) == (3, 0.007, False)


def test_a_run_ends_with_the_last_piece() -> None:
    unit = DivisibleUnit(10, MS_NS, seed=0)
    assert unit.run(1.0) == 0.01
    assert facts(unit) == (10, 0.0, True)
    assert unit.run(1.0) == 0.0
    assert unit.split() is None


@given(
    pieces=st.integers(1, 10**6),
    piece_ns=st.integers(1, 10**10),
    runs_ns=st.lists(st.integers(1, 10**12), min_size=1, max_size=20),
)
def test_many_runs_leave_what_one_leaves(pieces: int, piece_ns: int, runs_ns: list[int]) -> None:
    stepped, at_once = DivisibleUnit(pieces, piece_ns, 0), DivisibleUnit(pieces, piece_ns, 0)
    for run_ns in runs_ns:
        stepped.run(run_ns / 1e9)
    at_once.run(sum(runs_ns) / 1e9)
    assert facts(stepped) == facts(at_once)
    assert stepped.result() == min(sum(runs_ns) // piece_ns, pieces)


@given(pieces=st.integers(1, 10**15), piece_ns=st.integers(1, 10**18), ran=st.floats(0, 1))
def test_what_is_left_is_enough_to_end_it(pieces: int, piece_ns: int, ran: float) -> None:
    unit = DivisibleUnit(pieces, piece_ns, 0)
    unit.run(unit.left_s() * ran)
    unit.run(unit.left_s())
    assert facts(unit) == (pieces, 0.0, True)


def test_a_run_of_no_time_gets_on_too() -> None:
    unit = DivisibleUnit(2, 3, seed=0)
    steps = 0
    while not unit.done:
        assert unit.run(0.0) == 1e-9
        steps += 1
    assert steps == 6


@given(pieces=st.integers(1, 2000), seed=st.integers(0, 2**53))
def test_no_piece_is_lost_or_done_twice(pieces: int, seed: int) -> None:
    rng = random.Random(seed)
    units, done, spent_s = [DivisibleUnit(pieces, MS_NS, seed)], 0, 0.0
    while units:
        unit = units.pop(rng.randrange(len(units)))
        if rng.random() < 0.5:
            part = unit.split()
            units += [] if part is None else [part]
        spent_s += unit.run(rng.random() * 0.1)
        if unit.done:
            done += unit.result()
        else:
            units.append(unit)
    assert done == pieces
    assert spent_s == pytest.approx(pieces * 0.001)


def shares(seed: int) -> list[int]:
    unit = Divisible("d", 10_000, 0.001, seed).task(0)
    found = []
    for _ in range(5):
        part = unit.split()
        assert part is not None
        part.run(part.left_s())
        found.append(part.result())
    return found


def test_splits_are_seeded_and_uneven() -> None:
    assert shares(1) == shares(1)
    assert shares(1) != shares(2)
    first = [shares(seed)[0] for seed in range(40)]
    assert all(2_500 <= share <= 7_500 for share in first)
    assert min(first) < 3_500
    assert max(first) > 6_500
    assert len(set(first)) == 40


def test_the_parts_of_a_unit_draw_differently() -> None:
    unit = DivisibleUnit(2**20, MS_NS, seed=5)
    part = unit.split()
    assert part is not None
    before = unit.left_s(), part.left_s()
    ours, theirs = unit.split(), part.split()
    assert ours is not None
    assert theirs is not None
    assert ours.left_s() / before[0] != pytest.approx(theirs.left_s() / before[1], rel=1e-3)


def test_the_piece_under_way_stays() -> None:
    unit = DivisibleUnit(2, MS_NS, seed=0)
    unit.run(0.0009)
    part = unit.split()
    assert part is not None
    assert part.left_s() == 0.001
    assert unit.left_s() == 0.0001
    assert unit.split() is None


def test_a_copy_is_the_same_and_on_its_own() -> None:
    unit = DivisibleUnit(1000, MS_NS, seed=3)
    unit.run(0.0105)
    same = unit.copy()
    assert facts(same) == facts(unit)
    ours, theirs = unit.split(), same.split()
    assert ours is not None
    assert theirs is not None
    assert ours.left_s() == theirs.left_s()
    unit.run(unit.left_s())
    assert same.result() == 10
    assert not same.done


def test_the_workload_is_one_item_whose_results_add_up() -> None:
    work = Divisible("d", 1000, 0.0015, seed=1)
    assert work.items == 1
    assert work.expected() == 1000
    assert work.options("sb", "first").reduce == b"sum"
    first, again = work.task(0), work.task(0)
    first.run(1.0)
    assert facts(again) == (0, 1.5, False)


def test_a_piece_takes_a_nanosecond_at_least() -> None:
    with pytest.raises(UsageError, match="too short to be counted; take a nanosecond"):
        Divisible("d", 1000, 1e-10, seed=1)
