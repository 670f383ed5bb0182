"""Calls share jobs, and each future ends once: with its value, its error, or cancelled."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from typing import Any, cast

import pytest

from lbnet import limits, pickling
from lbnet.client.calls import CallFuture, Calls
from lbnet.client.connection import Connection
from lbnet.client.options import Options
from lbnet.errors import (
    ConnectionLostError,
    FunctionSerializeError,
    ItemSerializeError,
    NoWorkersError,
    ResultSerializeError,
    SpawnedTaskError,
    UsageError,
)
from lbnet.protocol import messages
from lbnet.protocol.messages import Message
from lbnet.types import JobId
from tests.client.scripted import FakeConnection, done, failed, settled, values

PLAIN = Options()


class Desk:
    """Calls over a link whose other end is the test."""

    def __init__(self) -> None:
        self.connection = FakeConnection()
        self.opened: list[tuple[JobId, Options, str]] = []
        self.calls = Calls(cast("Connection", self.connection), lambda *job: self.opened.append(job))

    def submit(self, fn: Any = pow, *args: Any, options: Options = PLAIN, owner: object = None) -> CallFuture:
        return cast("CallFuture", self.calls.submit(options, fn, args, {}, owner))

    def say(self, *script: Message, job: int = 1) -> None:
        for message in script:
            self.connection.inboxes[JobId(job)](message)


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.calls.stop()
    assert desk.calls._thread is None or not desk.calls._thread.is_alive()


def test_calls_of_one_function_share_a_job_and_the_function_is_sent_once(desk: Desk) -> None:
    futures = [desk.submit(pow, 2, number) for number in range(3)] + [desk.submit(divmod, 7, 2)]
    assert desk.connection.kinds() == ["OpenJob", "Function", "Submit", "Submit", "Submit", "Function", "Submit"]
    assert {future.job for future in futures} == {1}
    batches = [message.batch for message in desk.connection.sent if isinstance(message, messages.Submit)]
    assert [(batch.lo, batch.hi, batch.payload.base) for batch in batches] == [(n, n + 1, n) for n in range(4)]
    assert pickling.load_items(batches[2].payload.data).arguments(0) == ((2, 2), {})
    desk.say(values(1, 2, job=1), values(0, 1, job=1), values(3, (3, 1), job=1), values(2, 4, job=1))
    assert [future.result(10) for future in futures] == [1, 2, 4, (3, 1)]
    assert desk.calls.pending() == []


def test_other_options_are_another_job(desk: Desk) -> None:
    assert desk.submit().job == 1
    assert desk.submit(options=Options(retries=1)).job == 2
    assert desk.submit().job == 1
    opened = [message.options for message in desk.connection.sent if isinstance(message, messages.OpenJob)]
    assert [(options.name, options.retries) for options in opened] == [("submit", 0), ("submit", 1)]


def test_jobs_of_options_that_were_not_used_lately_are_closed(desk: Desk) -> None:
    for number in range(1, limits.SUBMIT_OPEN_JOBS_MAX + 1):
        desk.submit()
        desk.submit(options=Options(retries=number))
    assert [message for message in desk.connection.sent if isinstance(message, messages.CloseJob)] == [
        messages.CloseJob(JobId(2), 1)
    ]
    assert desk.submit().job == 1, "what is in use stays open"


def test_a_full_job_is_closed_and_another_one_opened(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SUBMIT_TASKS_MAX", 2)
    assert [desk.submit().job for _ in range(5)] == [1, 1, 2, 2, 3]
    closed = [message for message in desk.connection.sent if isinstance(message, messages.CloseJob)]
    assert closed == [messages.CloseJob(JobId(1), 2), messages.CloseJob(JobId(2), 2)]


def test_a_job_does_not_remember_functions_without_end(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SUBMIT_FUNCTIONS_MAX", 2)
    assert [desk.submit(fn).job for fn in (pow, divmod, pow, abs)] == [1, 1, 2, 2]


def test_failures_become_exceptions_of_their_futures(desk: Desk) -> None:
    own, spawned, silent = desk.submit(), desk.submit(), desk.submit()
    desk.say(failed(0, KeyError("k"), job=1), failed(1, spawned=True, job=1), settled(2, job=1))
    assert isinstance(own.exception(10), KeyError)
    assert isinstance(spawned.exception(10), SpawnedTaskError)
    assert silent.result(10) is None


def explode(error: BaseException) -> None:
    raise error


class Bomb:
    """Its unpickling raises."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> tuple[Any, ...]:
        return explode, (self.error,)


@pytest.mark.parametrize("error", [OSError("boom"), SystemExit("boom"), KeyboardInterrupt("boom")])
def test_a_result_that_cannot_be_unpickled_fails_its_own_future_only(desk: Desk, error: BaseException) -> None:
    bad, good = desk.submit(), desk.submit()
    desk.say(values(0, Bomb(error), job=1), values(1, 5, job=1))
    assert good.result(10) == 5
    with pytest.raises(ResultSerializeError, match="boom"):
        bad.result(10)


def test_damaged_values_fail_their_own_future_only(desk: Desk) -> None:
    bad, worse, good = desk.submit(), desk.submit(), desk.submit()
    empty = pickling.dump_values([]).data
    desk.say(messages.Values(JobId(1), 0, 1, 0, b"", False), messages.Values(JobId(1), 1, 2, 1, empty, False))
    desk.say(values(2, 5, job=1))
    assert good.result(10) == 5
    assert isinstance(bad.exception(10), ResultSerializeError)
    assert isinstance(worse.exception(10), ResultSerializeError)


def test_what_cannot_be_pickled_fails_the_future_and_sends_nothing(desk: Desk) -> None:
    lock = threading.Lock()
    assert isinstance(desk.submit(lambda: lock).exception(0), FunctionSerializeError)
    assert isinstance(desk.submit(pow, lock).exception(0), ItemSerializeError)
    assert desk.connection.sent == []


def test_what_cannot_be_called_is_refused(desk: Desk) -> None:
    with pytest.raises(UsageError, match="submit.. needs a function, not a int"):
        desk.submit(5)


# --- cancelling


def test_a_cancelled_call_is_told_to_the_controller_and_its_waiters(desk: Desk) -> None:
    first, second = desk.submit(), desk.submit()
    told = list[Future[Any]]()
    second.add_done_callback(told.append)
    assert second.cancel()
    assert second.cancel(), "again is no mistake"
    assert told == [second]
    assert desk.connection.sent[-1] == messages.Cancel(JobId(1), 1, 2)
    desk.say(messages.Cancelled(JobId(1), 1, 2), values(0, 3, job=1))
    assert first.result(10) == 3
    with pytest.raises(CancelledError):
        second.result(0)
    assert not first.cancel()


def test_the_result_of_a_cancelled_call_that_ran_all_the_same_is_dropped(desk: Desk) -> None:
    first, second = desk.submit(), desk.submit()
    first.cancel()
    desk.say(values(0, 1, job=1), values(1, 2, job=1))
    assert second.result(10) == 2
    assert first.cancelled()


def test_the_call_after_one_that_was_cancelled_alone_goes_to_another_job(desk: Desk) -> None:
    """Cancelling all tasks of a job ends it, and nothing would ever answer what is added to it."""
    only = desk.submit()
    only.cancel()
    after = desk.submit()
    desk.say(done(job=1))
    desk.say(values(0, 5, job=2), job=2)
    assert (after.job, after.result(10)) == (2, 5)


def test_cancelling_over_a_lost_link_works(desk: Desk) -> None:
    future = desk.submit()
    desk.connection.lost = "gone"
    assert future.cancel()
    assert future.cancelled()


# --- ends


def test_a_lost_link_fails_all_that_is_pending_and_refuses_more(desk: Desk) -> None:
    futures = [desk.submit(), desk.submit(options=Options(retries=1)), desk.submit()]
    desk.connection.lose("the controller has gone")
    for future in futures:
        with pytest.raises(ConnectionLostError, match="the controller has gone"):
            future.result(10)
    with pytest.raises(ConnectionLostError):
        desk.submit()
    assert desk.calls.pending() == []


def test_a_job_that_the_controller_ended_fails_its_calls_and_takes_no_more(desk: Desk) -> None:
    future = desk.submit()
    desk.say(done(job=1))
    assert isinstance(future.exception(10), NoWorkersError)
    assert desk.submit().job == 2


def test_a_refused_job_says_why(desk: Desk) -> None:
    future = desk.submit()
    desk.say(messages.JobRefused(JobId(1), "there is no strategy 'x'"))
    with pytest.raises(UsageError, match="there is no strategy 'x'"):
        future.result(10)


def test_closing_closes_all_open_jobs(desk: Desk) -> None:
    desk.submit(), desk.submit(), desk.submit(options=Options(retries=1))
    desk.calls.close()
    assert desk.connection.sent[-2:] == [messages.CloseJob(JobId(1), 2), messages.CloseJob(JobId(2), 1)]
    assert len(desk.calls.pending()) == 3


# --- callbacks


@pytest.mark.parametrize("error", [ValueError("oops"), SystemExit("oops"), KeyboardInterrupt("oops")])
def test_a_callback_that_raises_is_logged_and_holds_up_nobody(
    desk: Desk, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = desk.submit(), desk.submit()
    first.add_done_callback(lambda _: explode(error))
    with caplog.at_level(logging.ERROR):
        desk.say(values(0, 1, job=1), values(1, 2, job=1))
        assert second.result(10) == 2
    assert first.result(0) == 1
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [error]


def test_callbacks_run_where_waiting_for_other_calls_would_be_noticed(desk: Desk) -> None:
    where = list[bool]()
    future, after = desk.submit(), desk.submit()
    future.add_done_callback(lambda _: where.append(desk.calls.delivering))
    desk.say(values(0, 1, job=1), values(1, 1, job=1))
    after.result(10)
    assert where == [True]
    assert not desk.calls.delivering


def test_a_pending_call_keeps_its_owner_alive_and_a_done_one_nothing(desk: Desk) -> None:
    owners = [cast("Any", type("Owner", (), {}))() for _ in range(3)]
    futures = [desk.submit(owner=owner) for owner in owners]
    alive = [weakref.ref(owner) for owner in owners]
    owners.clear()
    gc.collect()
    assert all(each() is not None for each in alive)
    futures[0].cancel()
    desk.say(values(1, 1, job=1), failed(2, job=1))
    desk.calls.stop()
    assert [each() for each in alive] == [None, None, None]
