"""What a client is told: counted, kept until it was taken, and said again from wherever it wants."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet.core.outbox import Outbox
from lbnet.protocol.messages import Settled, Values
from lbnet.types import JobId


def filled(count: int, taken: int = 0) -> Outbox:
    return Outbox(taken, [Settled(JobId(1), number) for number in range(taken, taken + count)])


def roots(outbox: Outbox, upto: int) -> list[int]:
    return [outcome.root for outcome in outbox.tell(upto) if isinstance(outcome, Settled)]


def test_each_outcome_is_told_once_and_in_order() -> None:
    outbox = filled(3)
    assert roots(outbox, 2) == [0, 1]
    assert roots(outbox, 2) == []
    outbox.append(Settled(JobId(1), 3))
    assert roots(outbox, 4) == [2, 3]


def test_who_comes_back_hears_all_that_it_has_not_seen() -> None:
    outbox = filled(5)
    outbox.tell(4)
    outbox.rewind(2)
    assert roots(outbox, 4) == [2, 3]


def test_what_was_taken_is_gone_whoever_asks() -> None:
    outbox = filled(5)
    outbox.tell(5)
    outbox.take(3)
    outbox.rewind(0)
    assert (outbox.taken, outbox.told, len(outbox)) == (3, 3, 2)
    assert roots(outbox, 5) == [3, 4]
    outbox.rewind(99)
    assert outbox.told == 5


def test_what_was_set_aside_is_counted_and_not_here() -> None:
    outbox = filled(6, taken=2)
    outbox.set_aside(5)
    assert (outbox.taken, outbox.aside, outbox.here, outbox.end, len(outbox)) == (2, 3, 5, 8, 6)
    assert outbox.safe >= 5
    assert [outcome.root for outcome in outbox.kept() if isinstance(outcome, Settled)] == [5, 6, 7]
    outbox.take(4)
    assert (outbox.taken, outbox.aside, len(outbox)) == (4, 1, 4)
    outbox.take(7)
    assert (outbox.taken, outbox.aside, outbox.here, outbox.size_bytes) == (7, 0, 7, filled(1).size_bytes)
    outbox.set_aside(3)
    assert (outbox.taken, outbox.here) == (7, 7)


def test_the_oldest_are_set_aside_first() -> None:
    outbox = Outbox()
    for number in range(10):
        outbox.append(Values(JobId(1), number, number + 1, number, bytes(1_000), open=False))
    assert [outcome.lo for outcome in outbox.oldest(2_500) if isinstance(outcome, Values)] == [0, 1, 2]
    assert outbox.oldest(0) == []


def test_its_size_is_that_of_what_it_keeps() -> None:
    outbox = Outbox()
    empty = outbox.size_bytes
    outbox.append(Values(JobId(1), 0, 1, 0, bytes(1_000), open=False))
    assert outbox.size_bytes > 1_000
    outbox.tell(1)
    outbox.take(1)
    assert outbox.size_bytes == empty == 0


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["append", "tell", "take", "rewind"]), st.integers(0, 12)), max_size=40))
def test_whoever_listens_hears_an_unbroken_sequence(steps: list[tuple[str, int]]) -> None:
    outbox = Outbox()
    seen = 0
    for kind, number in steps:
        if kind == "append":
            outbox.append(Settled(JobId(1), outbox.end))
        elif kind == "tell":
            said = roots(outbox, min(number, outbox.end))
            assert said == list(range(seen, seen + len(said)))
            seen += len(said)
        elif kind == "take":
            outbox.take(min(number, seen))
        else:
            seen = max(min(number, seen), outbox.taken)
            outbox.rewind(seen)
        assert outbox.taken <= outbox.told == seen <= outbox.end
        assert len(outbox) == outbox.end - outbox.taken
