"""What must be said again after a break, and what is counted: each exactly once, whatever was lost on the way."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet.client.standing import EVERYTHING, TAKEN_BYTES, TAKEN_EVERY, Safe, Standing
from lbnet.protocol import messages
from lbnet.protocol.messages import Attached, Cancel, CloseJob, Function, Message, OpenJob, Submit, Submitted, Taken
from lbnet.types import ROOT, Batch, JobOptions, Payload
from tests.client.scripted import JOB, PATIENT, done, failed, settled, values

OPEN = OpenJob(JOB, JobOptions())


def function(name: bytes) -> Function:
    return Function(JOB, name, b"code of " + name)


def submit(lo: int, hi: int, size: int = 10) -> Submit:
    return Submit(Batch(JOB, ROOT, lo, hi, 0, ROOT, 0, Payload(lo, hi - lo, b"f", bytes(size))))


def attached(submitted: int, taken: int = 0, *, closed: bool = False) -> Attached:
    return Attached(JOB, submitted, closed, taken)


def standing(*noted: Message, takes: bool = True) -> Standing:
    """A job of which the controller may have heard."""
    made = Standing(JOB, None, takes=takes)
    for message in (OPEN, *noted):
        assert made.note(message)
    made.said = True
    return made


SAID = function(b"f"), submit(0, 2), submit(2, 5), function(b"g"), submit(5, 6)


# --- what is said again


def test_a_controller_that_has_never_heard_of_a_job_is_told_all_of_it() -> None:
    assert standing(*SAID, CloseJob(JOB, 6)).anew() == [OPEN, *SAID, CloseJob(JOB, 6)]


@pytest.mark.parametrize(("submitted", "first"), [(0, 0), (2, 1), (5, 2), (6, 3)])
def test_items_from_the_first_that_is_missing_are_sent_again_after_all_functions(submitted: int, first: int) -> None:
    made = standing(*SAID, CloseJob(JOB, 6))
    submits = [message for message in SAID if isinstance(message, Submit)]
    said = made.resume(attached(submitted))
    assert [message for message in said if isinstance(message, Submit)] == submits[first:]
    assert [message for message in said if isinstance(message, Function)] == [function(b"f"), function(b"g")]
    assert said[-1] == CloseJob(JOB, 6)


def test_an_end_of_the_input_that_is_known_is_not_said_again() -> None:
    made = standing(*SAID, CloseJob(JOB, 6))
    assert CloseJob(JOB, 6) not in made.resume(attached(6, closed=True))


def test_what_is_safe_is_let_go_with_the_functions_before_it() -> None:
    made = standing(*SAID)
    assert made.submitted(Submitted(JOB, 1)) == Safe(1, 0), "half of a payload"
    assert made.submitted(Submitted(JOB, 5)) == Safe(5, 20)
    assert made.resume(attached(5)) == [function(b"g"), submit(5, 6)]
    assert made.submitted(Submitted(JOB, 2)) == Safe(5, 0), "an old word"
    assert made.submitted(Submitted(JOB, 6)) == Safe(6, 10)
    assert made.resume(attached(6)) == []


def test_a_function_that_no_safe_item_follows_is_kept() -> None:
    made = standing(*SAID, function(b"h"))
    made.submitted(Submitted(JOB, 6))
    assert made.resume(attached(6)) == [function(b"h")]


@pytest.mark.parametrize(
    "answer",
    [
        messages.Cancelled(JOB, 3, 4),
        values(2, "c", "d"),
        failed(3),
        settled(3),
    ],
)
def test_a_cancellation_is_said_again_until_its_item_is_settled(answer: Message) -> None:
    made = standing(*SAID, Cancel(JOB, 0, 1), Cancel(JOB, 3, 4))
    made.submitted(Submitted(JOB, 6))
    assert made.resume(attached(6)) == [Cancel(JOB, 0, 1), Cancel(JOB, 3, 4)]
    made.heard(answer)
    assert made.resume(attached(6, 1)) == [Cancel(JOB, 0, 1), Taken(JOB, 1)]


def test_of_a_job_that_nobody_wants_only_that_is_said_again() -> None:
    made = standing(*SAID, CloseJob(JOB, 6), Cancel(JOB, 3, 4))
    assert made.note(Cancel(JOB, 0, EVERYTHING))
    assert made.dropped
    assert not made.note(submit(6, 7)), "the feeder was late"
    assert made.resume(attached(3)) == [Cancel(JOB, 0, EVERYTHING)]


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_other_outcomes_than_those_that_follow_are_no_job_of_ours(taken: int) -> None:
    made = standing(*SAID)
    made.heard(values(0, "a"))
    made.heard(values(1, "b"))
    with pytest.raises(ValueError, match=f"from 2 on are wanted, and those from {taken} on"):
        made.resume(attached(6, taken))


def test_a_controller_that_lost_what_was_safe_is_not_trusted() -> None:
    made = standing(*SAID)
    made.submitted(Submitted(JOB, 5))
    with pytest.raises(ValueError, match="5 items were safe, and 2 are there"):
        made.resume(attached(2))


def test_a_job_from_elsewhere_begins_where_its_last_reader_ended() -> None:
    made = Standing(JOB, None, takes=False, elsewhere=True)
    assert made.attach() == messages.Attach(JOB, 0)
    assert made.resume(attached(9, 4, closed=True)) == []
    made.heard(values(5, "f"))
    assert made.attach() == messages.Attach(JOB, 5)


# --- what is counted


def test_outcomes_are_counted_and_taken_now_and_then() -> None:
    made = standing(*SAID)
    said = [made.heard(settled(number)) for number in range(2 * TAKEN_EVERY)]
    assert [each for each in said if each is not None] == [Taken(JOB, TAKEN_EVERY), Taken(JOB, 2 * TAKEN_EVERY)]
    assert made.seen == 2 * TAKEN_EVERY


@pytest.mark.parametrize(
    "large",
    [messages.Values(JOB, 0, 1, 0, bytes(TAKEN_BYTES), False), messages.Partial(JOB, 0, bytes(TAKEN_BYTES))],
)
def test_large_outcomes_are_taken_at_once(large: Message) -> None:
    made = standing(*SAID)
    assert made.heard(large) == Taken(JOB, 1)
    assert made.heard(values(1, "b")) is None


def test_the_end_is_taken_at_once() -> None:
    made = standing(*SAID)
    assert made.heard(values(0, "a")) is None
    assert made.heard(done()) == Taken(JOB, 2)
    assert made.over


def test_after_a_break_what_was_taken_is_said_again() -> None:
    made = standing(*SAID)
    made.submitted(Submitted(JOB, 6))
    made.heard(values(0, "a"))
    assert made.resume(attached(6, 1)) == [Taken(JOB, 1)]


def test_what_a_reader_has_to_take_is_not_taken_when_it_comes() -> None:
    made = standing(*SAID, takes=False)
    made.submitted(Submitted(JOB, 6))
    assert [made.heard(message) for message in (values(0, "a"), values(1, "b"), done())] == [None] * 3
    assert not made.over
    assert made.note(Taken(JOB, 2))
    assert made.resume(attached(6, 3, closed=True)) == [Taken(JOB, 2)]
    assert not made.over
    made.note(Taken(JOB, 3))
    assert made.over


class Memory:
    """A controller that remembers a part of what it heard, and checks what it hears."""

    def __init__(self) -> None:
        self.items = 0
        self.functions: set[bytes] = set()
        self.closed = False

    def hears(self, message: Message) -> None:
        if isinstance(message, Function):
            self.functions.add(message.digest)
        elif isinstance(message, Submit):
            assert message.batch.lo == self.items, "in order, nothing twice, and nothing left out"
            assert message.batch.payload.function in self.functions
            assert not self.closed
            self.items = message.batch.hi
        elif isinstance(message, CloseJob):
            assert message.total == self.items
            self.closed = True


@settings(PATIENT)
@given(st.lists(st.sampled_from(["submit", "function", "close", "hear", "safe", "crash"]), max_size=40), st.data())
def test_whatever_is_lost_on_the_way_all_of_it_is_known_in_the_end(moves: list[str], data: Any) -> None:
    made = standing()
    said: list[Message] = [OPEN]
    memory, safe = Memory(), Memory()
    items, names, closed, heard, kept = 0, 0, False, 0, 0

    def say(message: Message) -> None:
        made.note(message)
        said.append(message)

    for move in [*moves, "close", "hear", "crash", "hear"]:
        if move == "submit" and names and not closed:
            name = b"%d" % data.draw(st.integers(1, names))
            say(Submit(Batch(JOB, ROOT, items, items + 2, 0, ROOT, 0, Payload(items, 2, name, b"x"))))
            items += 2
        elif move == "function":
            names += 1
            say(function(b"%d" % names))
        elif move == "close" and not closed:
            say(CloseJob(JOB, items))
            closed = True
        elif move == "hear":
            for message in said[heard:]:
                memory.hears(message)
            heard = len(said)
        elif move == "safe" and heard:
            kept = data.draw(st.integers(kept, heard))
            safe = Memory()
            for message in said[:kept]:
                safe.hears(message)
            made.submitted(Submitted(JOB, safe.items))
        elif move == "crash":
            # The controller begins again with what is safe, and is told the rest.
            memory = Memory()
            for message in said[:kept]:
                memory.hears(message)
            again = made.resume(attached(memory.items, closed=memory.closed))
            said = [*said[:kept], *again]
            heard = kept
    assert (memory.items, memory.closed) == (items, True)
