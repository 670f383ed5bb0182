"""The vocabulary: its kinds keep their numbers, and every message has somebody who may say it."""

from __future__ import annotations

import dataclasses
import typing

import pytest

from lbnet.protocol import messages
from lbnet.protocol.messages import KINDS, SAID_BY, Goodbye, Hello, Message, Refused, Welcome

# New kinds are added at the end, here too. A name that moves or goes breaks every peer of another version.
NAMES_IN_ORDER = [
    "Hello", "Welcome", "Refused",
    "OpenJob", "Function", "Submit", "CloseJob", "Cancel", "Cancelled",
    "Values", "Partial", "Failed", "Settled", "JobDone", "JobEnded", "Ask", "Answer",
    "NonIdle", "Idle", "Match", "Hungry", "SendWork", "Ack", "Relay", "NoWork", "Result",
    "AskInventory", "Inventory", "Goodbye", "JobRefused",
    "Balance", "Peers", "IdleNews", "AskWork", "AskThrough", "AskTarget", "Target", "Offer", "Asked",
    "Submitted", "Attach", "Attached", "Taken", "Rejoined", "Kept", "Beat",
    "Drain", "Leave", "Leaving", "Released", "Withdraw",
    "Enquire", "Enquired", "Follow", "Printed", "Notice", "Read",
    "Renew", "Renewed", "Revoked",
]  # fmt: skip

GREETING = frozenset({Hello, Welcome, Refused})


def test_kinds_never_renumber() -> None:
    assert [cls.__name__ for cls in KINDS] == NAMES_IN_ORDER


def test_every_message_has_one_kind() -> None:
    assert len(set(KINDS)) == len(KINDS)
    assert set(KINDS) == set(typing.get_args(Message))


@pytest.mark.parametrize("cls", KINDS, ids=[cls.__name__ for cls in KINDS])
def test_a_message_is_frozen_slotted_documented_data(cls: type[Message]) -> None:
    assert dataclasses.is_dataclass(cls)
    assert cls.__dataclass_params__.frozen  # type: ignore[union-attr]
    assert "__slots__" in vars(cls)
    assert not cls.__doc__.startswith(f"{cls.__name__}(")  # type: ignore[union-attr]


def test_after_the_greeting_every_message_may_be_said_by_somebody() -> None:
    assert frozenset().union(*SAID_BY.values()) == frozenset(KINDS) - GREETING


def test_the_greeting_is_said_once() -> None:
    for role, said in SAID_BY.items():
        assert not said & GREETING, role


def test_everybody_may_leave_on_purpose() -> None:
    assert all(Goodbye in said for said in SAID_BY.values())


def test_everybody_may_say_that_he_lives() -> None:
    assert all(messages.Beat in said for said in SAID_BY.values())


def test_only_workers_settle_tasks_and_only_clients_submit() -> None:
    for cls, role in ((messages.Result, "worker"), (messages.Submit, "client"), (messages.CloseJob, "client")):
        assert [name for name, said in SAID_BY.items() if cls in said] == [role]


@pytest.mark.parametrize("cls", [messages.Balance, messages.Peers, messages.IdleNews, messages.Target])
def test_what_all_workers_rely_on_comes_from_the_controller_alone(cls: type[Message]) -> None:
    assert [name for name, said in SAID_BY.items() if cls in said] == ["controller-to-worker"]


@pytest.mark.parametrize("cls", [messages.AskWork, messages.Offer])
def test_workers_ask_and_offer_between_themselves(cls: type[Message]) -> None:
    assert [name for name, said in SAID_BY.items() if cls in said] == ["peer"]


@pytest.mark.parametrize("cls", [messages.AskThrough, messages.AskTarget, messages.Asked])
def test_what_the_controller_helps_with_is_said_by_workers(cls: type[Message]) -> None:
    assert [name for name, said in SAID_BY.items() if cls in said] == ["worker"]


@pytest.mark.parametrize(
    ("cls", "role"),
    [
        (messages.Submitted, "controller-to-client"),
        (messages.Attached, "controller-to-client"),
        (messages.Attach, "client"),
        (messages.Taken, "client"),
        (messages.Kept, "controller-to-worker"),
        (messages.Rejoined, "worker"),
    ],
)
def test_who_may_forget_something_is_told_by_the_one_who_keeps_it(cls: type[Message], role: str) -> None:
    assert [name for name, said in SAID_BY.items() if cls in said] == [role]


def test_who_asks_for_work_can_be_refused() -> None:
    assert messages.NoWork in SAID_BY["peer"] & SAID_BY["controller-to-worker"] & SAID_BY["worker"]


def test_who_sends_work_can_be_told_that_it_came() -> None:
    # SEND_WORK goes to the workers of the last two, RELAY to the controller: each answers with ACK the other way.
    assert messages.Ack in SAID_BY["worker"]
    assert {messages.SendWork, messages.Ack} <= SAID_BY["controller-to-worker"] & SAID_BY["peer"]
    assert messages.Relay in SAID_BY["worker"]
