"""What each message settles, and that an item is settled once, with its value or its failure."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet import pickling
from lbnet.client.book import Broken, Dropped, Ended, ItemBook, Outcome, Part, Ready, Settled
from lbnet.protocol import messages
from lbnet.protocol.messages import Message
from lbnet.types import JobId
from tests.client.scripted import JOB, PATIENT, done, failed, part, settled, values


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        (values(3, "a", "b"), Ready(3, 5, 3, values(3, "a", "b").data)),
        (values(0, 1, goes_on=True), None),
        (settled(4), Settled(4)),
        (part(2, 5), Part(2, part(2, 5).data)),
        (messages.Cancelled(JOB, 2, 9), Dropped(2, 9)),
        (done(), Ended("")),
        (messages.JobRefused(JOB, "no such strategy"), Ended("no such strategy")),
        (messages.JobEnded(JobId(7)), None),
    ],
)
def test_what_a_message_settles(message: Message, outcome: Outcome | None) -> None:
    assert ItemBook().take(message) == outcome


def test_a_failed_item_is_broken() -> None:
    message = failed(6)
    assert ItemBook().take(message) == Broken(6, message)


def test_a_value_whose_item_goes_on_is_held_until_the_item_is_settled() -> None:
    book = ItemBook()
    early = values(5, "own", goes_on=True)
    assert book.take(early) is None
    assert book.take(values(6, "other")) == Ready(6, 7, 6, values(6, "other").data)
    assert book.take(settled(5)) == Ready(5, 6, 5, early.data)
    assert book.take(settled(5)) == Settled(5), "the value is given once"


def test_the_value_of_an_item_that_fails_later_is_dropped_and_accounted_for() -> None:
    book = ItemBook()
    early, message = values(5, "x" * 100, goes_on=True), failed(5, spawned=True)
    book.take(early)
    assert book.take(message) == Broken(5, message, len(early.data))
    assert book.take(message) == Broken(5, message, 0)


@settings(PATIENT)
@given(st.lists(st.tuples(st.sampled_from(["value", "open", "silent", "fails", "late failure"]), st.integers())))
def test_every_item_is_settled_exactly_once(items: list[tuple[str, int]]) -> None:
    script: list[Message] = []
    late: list[Message] = []
    for index, (fate, value) in enumerate(items):
        if fate in {"value", "open", "late failure"}:
            script.append(values(index, value, goes_on=fate != "value"))
        if fate in {"open", "silent"}:
            late.append(settled(index))
        if fate in {"fails", "late failure"}:
            late.append(failed(index))
    book = ItemBook()
    seen: dict[int, object] = {}
    for message in script + late[::-1]:
        match book.take(message):
            case Ready(lo, _, base, data):
                assert lo not in seen
                seen[lo] = pickling.load_values(data).get(lo - base)
            case Settled(index) | Broken(index, _, _) as outcome:
                assert index not in seen
                seen[index] = type(outcome).__name__
    expected = {"silent": "Settled", "fails": "Broken", "late failure": "Broken"}
    assert seen == {index: expected.get(fate, value) for index, (fate, value) in enumerate(items)}
