"""A RangeSet against a plain set of indices."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lbnet.core.ranges import RangeSet

Ranges = list[tuple[int, int]]

spans = st.tuples(st.integers(0, 60), st.integers(0, 60))
operations = st.lists(st.tuples(st.sampled_from(["add", "add", "remove"]), spans), max_size=40)


def ranges_of(indices: set[int]) -> Ranges:
    """The sorted, disjoint, non-touching ranges of a plain set."""
    ranges: Ranges = []
    for index in sorted(indices):
        if ranges and ranges[-1][1] == index:
            ranges[-1] = (ranges[-1][0], index + 1)
        else:
            ranges.append((index, index + 1))
    return ranges


def indices_of(ranges: Ranges) -> list[int]:
    return [index for lo, hi in ranges for index in range(lo, hi)]


@settings(derandomize=True, deadline=None, max_examples=300)
@given(operations=operations, probe=spans)
@example([("add", (0, 10)), ("remove", (3, 5)), ("add", (5, 5)), ("add", (4, 5)), ("add", (3, 4))], (2, 6))
def test_it_holds_what_a_plain_set_holds(operations: list[tuple[str, tuple[int, int]]], probe: tuple[int, int]) -> None:
    real, plain = RangeSet(), set[int]()
    for name, (lo, hi) in operations:
        span = set(range(lo, hi))
        if name == "add":
            real.add(lo, hi)
            plain |= span
        else:
            taken = real.remove(lo, hi)
            assert taken == ranges_of(plain & span)
            plain -= span
        assert list(real) == ranges_of(plain)
        assert len(real) == len(plain)
        assert bool(real) == bool(plain)
        if plain:
            assert real.first() == min(plain)
    assert [index for index in range(-1, 62) if index in real] == sorted(plain)
    lo, hi = probe
    assert real.overlap(lo, hi) == ranges_of(plain & set(range(lo, hi)))
    if lo < hi:
        assert real.covers(lo, hi) == (set(range(lo, hi)) <= plain)
    assert real == RangeSet(list(real))
    assert real != RangeSet([*real, (100, 101)])


@settings(derandomize=True, deadline=None)
@given(
    parts=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=12), rng=st.randoms(use_true_random=False)
)
def test_the_order_in_which_ranges_come_does_not_matter(parts: list[tuple[int, int]], rng: random.Random) -> None:
    ranges = [(lo, lo + size) for lo, size in parts]
    shuffled = list(ranges)
    rng.shuffle(shuffled)
    assert RangeSet(ranges) == RangeSet(shuffled)


@settings(derandomize=True, deadline=None)
@given(operations=operations, span=spans)
def test_removing_what_was_added_twice_takes_it_once(
    operations: list[tuple[str, tuple[int, int]]], span: tuple[int, int]
) -> None:
    real = RangeSet(span for name, span in operations if name == "add")
    before = len(real)
    taken = real.remove(*span)
    assert len(real) == before - len(indices_of(taken))
    assert real.remove(*span) == []
    assert real.overlap(*span) == []


def test_ranges_that_touch_become_one() -> None:
    real = RangeSet([(0, 5), (10, 15), (5, 10)])
    assert list(real) == [(0, 15)]
    assert repr(real) == "RangeSet([(0, 15)])"


def test_ten_million_indices_cost_one_range() -> None:
    real = RangeSet((lo, lo + 1_000) for lo in range(0, 10_000_000, 1_000))
    assert list(real) == [(0, 10_000_000)]
    assert len(real) == 10_000_000


def test_ranges_that_were_taken_from_it_may_be_removed_while_it_is_read() -> None:
    real = RangeSet([(0, 3), (5, 8)])
    for lo, hi in real:
        real.remove(lo, hi)
    assert not real


def test_empty_and_backward_ranges_are_nothing() -> None:
    real = RangeSet([(5, 5), (9, 2)])
    assert not real
    assert list(real) == []
    assert real.remove(9, 2) == []
    assert real.overlap(9, 2) == []


def test_it_is_equal_to_nothing_else_and_has_no_hash() -> None:
    assert RangeSet() != []
    assert RangeSet([(0, 1)]) != {0}
    with pytest.raises(TypeError):
        hash(RangeSet())
