"""A client's question to all workers is answered once: by those that are there, and in time."""

from __future__ import annotations

import json
from typing import Any

from lbnet import limits
from lbnet.core.enquiries import Enquiries, of_job
from lbnet.protocol.messages import Answer, Ask, Enquire, Enquired, Message
from lbnet.types import JobId, PeerId

CLIENT, ONE, TWO = PeerId(1), PeerId(2), PeerId(3)
JOB = JobId(7)
NAMES = {ONE: "one", TWO: "two"}
QUESTION = Ask(5, "logs", JOB, 4)


class Desk:
    def __init__(self) -> None:
        self.said: list[tuple[PeerId, Message]] = []
        self.core = Enquiries(lambda to, message: self.said.append((to, message)))

    def begin(self, now: float = 0.0, **names: str) -> None:
        self.core.begin(CLIENT, QUESTION, NAMES, of_job(JOB, 4), now)

    def answers(self) -> list[dict[str, Any]]:
        return [json.loads(message.facts) for to, message in self.said if isinstance(message, Answer) and to == CLIENT]


def test_all_workers_are_asked_and_the_answer_has_what_each_said() -> None:
    desk = Desk()
    desk.begin()
    assert desk.said == [(ONE, Enquire(1, "logs", JOB, 4)), (TWO, Enquire(1, "logs", JOB, 4))]
    desk.core.answered(TWO, Enquired(1, '{"x": 1}'), 1.0)
    assert desk.answers() == []
    desk.core.answered(ONE, Enquired(1, "{}"), 1.0)
    workers = [{"worker": "two", "id": TWO, "x": 1}, {"worker": "one", "id": ONE}]
    assert desk.answers() == [{"job": JOB, "index": 4, "workers": workers, "silent": []}]
    desk.core.answered(ONE, Enquired(1, "{}"), 1.0)
    assert len(desk.answers()) == 1


def test_without_workers_the_answer_comes_at_once() -> None:
    desk = Desk()
    desk.core.begin(CLIENT, QUESTION, {}, {}, 0.0)
    assert desk.answers() == [{"workers": [], "silent": []}]


def test_who_is_silent_or_gone_is_named() -> None:
    desk = Desk()
    desk.begin(now=1.0)
    desk.core.left(ONE)
    assert desk.core.look(1.0 + limits.ENQUIRY_S / 2) == 1.0 + limits.ENQUIRY_S
    assert desk.answers() == []
    assert desk.core.look(1.0 + limits.ENQUIRY_S) is None
    assert [answer["silent"] for answer in desk.answers()] == [["one", "two"]]


def test_a_client_that_is_gone_is_not_answered() -> None:
    desk = Desk()
    desk.begin()
    desk.core.left(CLIENT)
    desk.core.answered(ONE, Enquired(1, "{}"), 1.0)
    desk.core.answered(TWO, Enquired(1, "{}"), 1.0)
    assert desk.answers() == []
    assert desk.core.look(1e9) is None


def test_an_answer_that_is_no_object_says_nothing_and_one_that_is_too_long_is_left_out() -> None:
    desk = Desk()
    desk.begin()
    desk.core.answered(ONE, Enquired(1, "[" * 100_000), 1.0)
    desk.core.answered(TWO, Enquired(1, json.dumps({"x": "y" * limits.ENQUIRY_CHARS_MAX})), 1.0)
    (answer,) = desk.answers()
    assert answer["workers"] == [{"worker": "one", "id": ONE}]
    assert answer["silent"] == ["two"]


def test_more_questions_than_anybody_has_are_not_passed_on() -> None:
    desk = Desk()
    for _ in range(limits.ENQUIRIES_MAX):
        desk.begin()
    assert desk.answers() == []
    desk.begin()
    assert [answer["silent"] for answer in desk.answers()] == [["one", "two"]]


def test_whoever_asks_may_make_the_answer_of_the_facts() -> None:
    desk = Desk()
    desk.core.begin(CLIENT, QUESTION, NAMES, {"a": 1}, 0.5, lambda facts, fastest_s: {"of": [*facts, fastest_s]})
    desk.core.answered(ONE, Enquired(1, "{}"), 1.0)
    desk.core.answered(TWO, Enquired(1, "{}"), 3.0)
    assert desk.answers() == [{"of": ["a", "workers", "silent", 0.5]}]
