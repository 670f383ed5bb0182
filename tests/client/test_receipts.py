"""What counts as taken: only what the reader got, and only up to the first that it did not."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet.client.receipts import Receipts
from lbnet.client.standing import TAKEN_BYTES, TAKEN_EVERY
from tests.client.scripted import PATIENT


def test_one_that_was_not_got_holds_up_those_after_it() -> None:
    receipts = Receipts()
    for item in (4, 0, 2):
        receipts.came(item)
    receipts.got(0, 10)
    receipts.got(2, 10)
    assert receipts.due(now=True) is None
    receipts.got(4, 10)
    assert receipts.due(now=True) == 3
    assert receipts.due(now=True) is None


def test_what_was_read_is_said_now_and_then_whether_it_was_got_or_not() -> None:
    receipts = Receipts(100)
    said = [receipts.came(item) for item in range(2 * TAKEN_EVERY)]
    assert [number for number in said if number is not None] == [100 + TAKEN_EVERY, 100 + 2 * TAKEN_EVERY]
    assert receipts.came(0, TAKEN_BYTES - 1) is None
    assert receipts.came(0, 1) == 102 + 2 * TAKEN_EVERY


def test_an_item_may_have_many_outcomes() -> None:
    receipts = Receipts(10)
    for item in (1, 5, 1, 1):
        receipts.came(item)
    receipts.got(1, 0)
    assert receipts.due(now=True) == 11
    receipts.got(5, 0)
    assert receipts.due(now=True) == 14


def test_it_is_said_after_many_or_after_many_bytes() -> None:
    receipts = Receipts()
    said = []
    for item in range(2 * TAKEN_EVERY + 1):
        receipts.came(item)
        receipts.got(item, 1)
        said.append(receipts.due())
    assert [upto for upto in said if upto is not None] == [TAKEN_EVERY, 2 * TAKEN_EVERY]
    receipts.came(-1)
    receipts.got(-1, TAKEN_BYTES)
    assert receipts.due() == 2 * TAKEN_EVERY + 2


def test_in_the_end_all_is_taken_with_the_word_that_it_is_all() -> None:
    receipts = Receipts(5)
    receipts.came(0)
    receipts.came(1)
    receipts.got(1, 0)
    receipts.got_all()
    assert receipts.due(now=True) == 8


@settings(PATIENT)
@given(st.lists(st.integers(0, 5)), st.data())
def test_exactly_the_outcomes_before_the_first_missing_one_are_taken(items: list[int], data: Any) -> None:
    receipts = Receipts()
    for item in items:
        receipts.came(item)
    got = data.draw(st.sets(st.sampled_from(items))) if items else set()
    for item in sorted(got):
        receipts.got(item, 0)
    expected = next((number for number, item in enumerate(items) if item not in got), len(items))
    assert (receipts.due(now=True) or 0) == expected
