"""A sender is never far ahead of its reader, and every byte is either said or counted."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet import limits
from lbnet.protocol.credit import Ahead, Reading

MOST = limits.FOLLOW_AHEAD_BYTES


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.integers(0, MOST), st.booleans(), st.integers(0, 9)), max_size=40))
def test_every_byte_is_either_said_or_counted(steps: list[tuple[int, bool, int]]) -> None:
    ahead, total, said, missed = Ahead(), 0, 0, 0
    for size, reads, before in steps:
        if reads:
            ahead.got(said)
        dropped = ahead.say(size, before)
        total += size + before
        if dropped is not None:
            said += size
            missed += dropped
        assert ahead.said - ahead.heard <= MOST
        assert said + missed + ahead.dropped == total


def test_nobody_has_heard_more_than_was_said() -> None:
    ahead = Ahead()
    ahead.got(10 * MOST)
    assert ahead.say(MOST + 1) is None


@settings(derandomize=True, deadline=None)
@given(st.lists(st.integers(1, MOST // 2), max_size=40))
def test_a_reader_that_says_what_it_got_is_never_kept_waiting(sizes: list[int]) -> None:
    ahead, reading = Ahead(), Reading()
    for size in sizes:
        assert ahead.say(size) == 0
        heard = reading.read(size)
        if heard is not None:
            ahead.got(heard)
