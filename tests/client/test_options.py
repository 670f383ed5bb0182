"""Options are checked where they are asked for, and travel as they are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet import limits
from lbnet.client.options import PLACEMENTS, Options, sendable
from lbnet.errors import UsageError
from lbnet.protocol.codec import decode, encode
from lbnet.protocol.messages import OpenJob
from lbnet.strategies.base import Strategy
from lbnet.types import JobId, JobOptions
from tests.client.scripted import PATIENT


def test_the_defaults_ask_for_nothing() -> None:
    assert Options().for_job("f") == JobOptions(name="f")


def test_changes_leave_the_rest_and_the_original_alone() -> None:
    first = Options(retries=2)
    second = first.changed({"task_timeout_s": 1.5, "placement": "first"})
    assert first == Options(retries=2)
    assert second == Options(retries=2, task_timeout_s=1.5, placement="first")
    assert second.changed({}) == second


def test_an_unknown_option_is_named_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match=r"there is no option retry, timeout; there are: name, .*retries"):
        Options().changed({"retry": 1, "timeout": 2, "retries": 1})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("name", 5),
        ("name", None),
        ("placement", "everywhere"),
        ("placement", 1),
        ("strategy", b"sb"),
        ("retries", -1),
        ("retries", 1.0),
        ("retries", "3"),
        ("retries", True),
        ("retries", 1 << 70),
        ("crash_limit", 0),
        ("crash_limit", True),
        ("crash_limit", 1 << 70),
        ("priority", 1.5),
        ("priority", True),
        ("priority", 1_001),
        ("priority", -1_001),
        ("task_timeout_s", -0.1),
        ("task_timeout_s", float("nan")),
        ("task_timeout_s", float("inf")),
        ("task_timeout_s", 10**400),
        ("task_timeout_s", "1"),
        ("task_timeout_s", None),
        ("task_timeout_s", True),
        ("retry_delay_s", -0.1),
        ("retry_delay_s", float("nan")),
        ("retry_delay_s", 3601),
        ("retry_delay_s", "1"),
        ("retry_on", 5),
        ("retry_on", ""),
        ("retry_on", None),
        ("retry_on", int),
        ("retry_on", ValueError("an instance")),
        ("retry_on", ("ValueError", 5)),
        ("retry_on", tuple(map(str, range(101)))),
    ],
)
def test_an_impossible_value_is_refused_by_name(option: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"{option} must be"):
        Options().changed({option: value})


@settings(PATIENT)
@given(
    name=st.text(st.characters(exclude_categories=()), max_size=300),
    placement=st.sampled_from(["", *PLACEMENTS]),
    strategy=st.text(st.characters(exclude_categories=()), max_size=5),
    retries=st.integers(0, 1_000_000_000),
    crash_limit=st.integers(1, 1_000_000_000),
    task_timeout_s=st.floats(0, 1e9) | st.integers(0, 10**9),
)
def test_whatever_is_accepted_can_be_sent(name: str, **others: Any) -> None:
    options = Options(name=name, **others).for_job("f", b"digest")
    message = OpenJob(JobId(1), options)
    assert decode(encode(message)) == message
    assert len(options.name) <= limits.OUTPUT_NAME_CHARS_MAX
    assert options.name == sendable(name or "f")[: limits.OUTPUT_NAME_CHARS_MAX]


def test_characters_that_cannot_be_sent_are_shown_escaped() -> None:
    assert sendable("größe \ud800") == "größe \\ud800"


class Mine(Strategy):
    name = "mine"


def test_a_strategy_may_be_given_as_an_object_or_its_class() -> None:
    for strategy in (Mine, Mine()):
        assert Options().changed({"strategy": strategy}).for_job("f").strategy == "mine"


def test_what_is_no_strategy_is_refused() -> None:
    with pytest.raises(UsageError, match=r"a subclass of lbnet\.Strategy"):
        Options().changed({"strategy": int})


def test_whether_a_job_is_detached_travels_and_is_yes_or_no() -> None:
    assert Options(detached=True).for_job("f").detached
    assert not Options().for_job("f").detached
    with pytest.raises(UsageError, match="detached must be True or False; it is 1"):
        Options(detached=1)  # type: ignore[arg-type]


class OwnError(Exception):
    pass


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ((), ()),
        ([], ()),
        (ValueError, ("builtins.ValueError",)),
        ("ValueError", ("ValueError",)),
        ((OwnError, KeyError, OwnError), (f"{__name__}.OwnError", "builtins.KeyError")),
        ({"a.BError", "ValueError"}, ("ValueError", "a.BError")),
    ],
)
def test_exceptions_travel_as_their_names(given: Any, names: tuple[str, ...]) -> None:
    options = Options(retries=1, retry_on=given)
    assert sorted(options.retry_on) == sorted(names)
    assert options.for_job("f").retry_on == options.retry_on
    assert hash(options) == hash(Options(retries=1, retry_on=given))
    message = OpenJob(JobId(1), options.for_job("f"))
    assert decode(encode(message)) == message
