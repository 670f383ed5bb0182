"""A worker says what its tasks have printed, and what they print if somebody follows."""

from __future__ import annotations

import json

from lbnet import limits
from lbnet.core import effects, events
from lbnet.core.effects import Effect, Send
from lbnet.core.printing import Printing
from lbnet.protocol.messages import Enquire, Enquired, Follow, Printed
from lbnet.types import CONTROLLER, ROOT, JobId, RunId, SlotId

JOB = JobId(7)
SLOT = SlotId(0)


def output(text: bytes = b"x", origin: RunId = ROOT, dropped: int = 0) -> events.SlotOutput:
    return events.SlotOutput(SLOT, JOB, origin, 3, text, dropped, live=True)


class Desk:
    def __init__(self) -> None:
        self.done: list[Effect] = []
        self.core = Printing("w", self.done.append)

    def told(self) -> list[Effect]:
        done, self.done[:] = list(self.done), []
        return done


def test_output_of_followed_jobs_is_passed_on() -> None:
    desk = Desk()
    desk.core.printed(output())
    assert desk.told() == []
    desk.core.follow(Follow(JOB, True, 0))
    desk.core.printed(output(b"hello", dropped=2))
    passed_on = Send(CONTROLLER, Printed(JOB, "w", 0, ROOT, 3, b"hello", 2))
    assert desk.told() == [effects.Follow(JOB, True), passed_on]
    desk.core.follow(Follow(JOB, False, 0))
    desk.core.printed(output())
    assert desk.told() == [effects.Follow(JOB, False)]


def test_it_waits_for_its_reader_and_says_what_it_left_out() -> None:
    desk = Desk()
    desk.core.follow(Follow(JOB, True, 0))
    desk.core.printed(output(b"x" * limits.FOLLOW_AHEAD_BYTES))
    desk.told()
    desk.core.printed(output(b"lost"))
    assert desk.told() == []
    desk.core.follow(Follow(JOB, True, limits.FOLLOW_AHEAD_BYTES))
    desk.core.printed(output(b"new"))
    assert desk.told() == [Send(CONTROLLER, Printed(JOB, "w", 0, ROOT, 3, b"new", 4))]


def test_without_a_controller_nothing_is_followed() -> None:
    desk = Desk()
    desk.core.follow(Follow(JOB, True, 0))
    desk.told()
    desk.core.alone()
    desk.core.printed(output())
    assert desk.told() == [effects.Follow(JOB, False)]


def test_what_was_printed_is_told_as_text() -> None:
    desk = Desk()
    desk.core.enquire(Enquire(4, "logs", JOB, 3))
    desk.core.enquire(Enquire(5, "flush", JOB, -1))
    assert desk.told() == [effects.Recall(4, JOB, 3, False), effects.Recall(5, JOB, -1, True)]
    desk.core.recalled(events.Recalled(4, (output(b"a\xff", dropped=9), output(b"b", RunId(5)))))
    (said,) = desk.told()
    assert isinstance(said, Send)
    assert isinstance(said.message, Enquired)
    assert said.message.enquiry == 4
    assert json.loads(said.message.facts) == {
        "outputs": [
            {"slot": 0, "origin": 0, "item": 3, "index": 3, "text": "a\\xff", "dropped": 9},
            {"slot": 0, "origin": 5, "item": None, "index": 3, "text": "b", "dropped": 0},
        ]
    }
