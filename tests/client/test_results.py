"""From scripted messages to values: order, failures and what comes after them, combining, and every kind of end."""

from __future__ import annotations

import gc
import operator
import pickle
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet import pickling
from lbnet.client.connection import Connection
from lbnet.client.feeder import Feeder
from lbnet.client.inbox import Inbox
from lbnet.client.receipts import Receipts
from lbnet.client.results import Results, Stream
from lbnet.client.standing import Delivery, Lost, Safe
from lbnet.client.window import Window
from lbnet.errors import (
    InputError,
    NoWorkersError,
    ResultSerializeError,
    SpawnedTaskError,
    UsageError,
)
from lbnet.protocol import messages
from lbnet.protocol.messages import Message
from tests.client.scripted import JOB, PATIENT, FakeConnection, done, failed, part, settled, until, values


class FakeFeeder:
    """An input that has been sent."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.finished = True
        self.sent = 3
        self.stopped = False
        self.over = threading.Event()

    def stop(self) -> None:
        self.stopped = True


class Map:
    """A map whose controller is the test."""

    def __init__(
        self,
        *script: Delivery,
        ordered: bool = True,
        reduce: Callable[[Any, Any], Any] | None = None,
        timeout_s: float | None = 10.0,
        return_exceptions: bool = False,
        keeps_going: bool = True,
        receipts: Receipts | None = None,
        owner: object = None,
    ) -> None:
        self.connection = FakeConnection()
        self.feeder = FakeFeeder()
        self.window = Window()
        self.inbox = Inbox(self.window)
        self.progress: list[int] = []
        self.stream = Stream(
            JOB,
            cast("Connection", self.connection),
            self.inbox,
            cast("Feeder", self.feeder),
            self.window,
            ordered=ordered,
            reduce=reduce,
            deadline=None if timeout_s is None else time.monotonic() + timeout_s,
            return_exceptions=return_exceptions,
            on_progress=self.progress.append,
            keeps_going=keeps_going,
            receipts=receipts,
            owner=owner,
        )
        self.results: Results[Any] = Results(self.stream)
        self.say(*script)

    def say(self, *script: Delivery) -> None:
        for message in script:
            self.inbox.put(message)

    def outcomes(self) -> list[Any]:
        """Values, and the exceptions that ``next`` raised, until the end."""
        outcomes: list[Any] = []
        while True:
            try:
                outcomes.append(next(self.results))
            except StopIteration:
                return outcomes
            except Exception as error:
                outcomes.append(error)


def shown(outcomes: list[Any]) -> list[Any]:
    return [type(each).__name__ if isinstance(each, BaseException) else each for each in outcomes]


# --- values


def test_values_come_in_the_order_of_the_items() -> None:
    script = values(4, "e"), values(0, "a", "b"), values(3, "d"), values(2, "c"), done()
    assert list(Map(*script).results) == ["a", "b", "c", "d", "e"]
    assert list(Map(*script, ordered=False).results) == ["e", "a", "b", "d", "c"]


def test_an_empty_map_has_no_values() -> None:
    assert list(Map(done()).results) == []


def test_a_part_of_a_group_of_values_is_read_from_its_base() -> None:
    group = pickling.dump_values([10, 11, 12, 13]).data
    script = messages.Values(JOB, 1, 3, 0, group, False), values(0, 10), messages.Values(JOB, 3, 4, 0, group, False)
    assert list(Map(*script, done()).results) == [10, 11, 12, 13]
    each = pickling.dump_values([[10], [11], [12]]).data
    assert list(Map(values(0, 0), messages.Values(JOB, 1, 3, 0, each, False), done()).results) == [0, [11], [12]]


@settings(PATIENT, max_examples=50)
@given(st.lists(st.lists(st.one_of(st.integers(), st.text(), st.lists(st.none())), min_size=1)), st.randoms())
def test_any_order_of_arrival_gives_the_order_of_the_items(blocks: list[list[Any]], random: Any) -> None:
    script, at = list[Message](), 0
    for block in blocks:
        script.append(values(at, *block))
        at += len(block)
    random.shuffle(script)
    expected = [value for block in blocks for value in block]
    assert list(Map(*script, done()).results) == expected
    unordered = list(Map(*script, done(), ordered=False).results)
    assert sorted(map(repr, unordered)) == sorted(map(repr, expected))


def test_the_value_of_an_item_that_spawned_comes_when_the_item_is_settled() -> None:
    script = values(0, "own", goes_on=True), values(1, "b"), settled(0), settled(2), done()
    assert list(Map(*script, ordered=False).results) == ["b", "own", None]


# --- failures


def test_iteration_goes_on_after_a_failure() -> None:
    test = Map(values(0, "a"), failed(1, KeyError("k")), values(2, "c"), failed(3), failed(4), values(5, "f"), done())
    outcomes = test.outcomes()
    assert shown(outcomes) == ["a", "KeyError", "c", "ValueError", "ValueError", "f"]
    assert outcomes[1].__notes__ == ["raised on host h", "item 1 of the map"]
    assert "KeyError" in str(outcomes[1].__cause__)


def test_exceptions_may_be_values() -> None:
    values_ = list(Map(values(0, 1), failed(1), values(2, 3), done(), return_exceptions=True).results)
    assert shown(values_) == [1, "ValueError", 3]
    assert values_[1].__notes__[-1] == "item 1 of the map"


def test_a_failure_of_a_spawned_task_says_so() -> None:
    (error,) = Map(values(0, "own", goes_on=True), failed(0, KeyError("k"), spawned=True), done()).outcomes()
    assert isinstance(error, SpawnedTaskError)
    assert isinstance(error.__cause__, KeyError)
    assert error.__notes__ == ["item 0 of the map"]


def explode(error: BaseException) -> None:
    raise error


class Bomb:
    """Its unpickling raises."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> tuple[Any, ...]:
        return explode, (self.error,)


def test_a_value_that_cannot_be_unpickled_does_not_spoil_its_neighbours() -> None:
    bad = messages.Values(JOB, 0, 3, 0, pickling.dump_values([[1], Bomb(OSError("boom")), [3]]).data, False)
    outcomes = Map(bad, values(3, 4), done()).outcomes()
    assert shown(outcomes) == [[1], "ResultSerializeError", [3], 4]
    assert "boom" in str(outcomes[1])
    assert outcomes[1].__notes__ == ["item 1 of the map"]
    assert shown(list(Map(bad, done(), return_exceptions=True).results)) == [[1], "ResultSerializeError", [3]]


@pytest.mark.parametrize("data", [b"", b"\0garbage", pickling.dump_values([1]).data])
def test_damaged_values_fail_their_own_items_only(data: bytes) -> None:
    outcomes = Map(messages.Values(JOB, 0, 2, 0, data, False), values(2, "c"), done()).outcomes()
    assert shown(outcomes) == ["ResultSerializeError", "ResultSerializeError", "c"]
    assert [each.__notes__ for each in outcomes[:2]] == [["item 0 of the map"], ["item 1 of the map"]]
    assert isinstance(outcomes[0], ResultSerializeError)


def test_items_that_the_controller_dropped_are_told() -> None:
    assert shown(Map(values(0, "a"), messages.Cancelled(JOB, 1, 3), values(3, "d"), done()).outcomes()) == [
        "a",
        "CancelledError",
        "d",
    ]


# --- combining


def test_parts_of_an_item_are_combined_in_the_order_in_which_they_come() -> None:
    script = part(0, "x"), part(1, "p"), part(0, "y"), settled(1), part(0, "z"), settled(0), values(2, "alone"), done()
    assert list(Map(*script, reduce=operator.add).results) == ["xyz", "p", "alone"]


def test_an_item_without_parts_is_none() -> None:
    assert list(Map(settled(0), part(1, None), settled(1), done(), reduce=operator.add).results) == [None, None]


def test_combining_that_raises_fails_its_item_once() -> None:
    script = part(0, 1), part(0, "a"), part(0, 2), part(1, 1), part(1, 1), settled(0), settled(1), done()
    outcomes = Map(*script, reduce=operator.add).outcomes()
    assert shown(outcomes) == ["TypeError", 2]
    assert outcomes[0].__notes__ == ["item 0 of the map"]


def test_a_part_that_cannot_be_unpickled_fails_its_item() -> None:
    outcomes = Map(part(0, Bomb(OSError())), settled(0), part(1, 5), settled(1), done(), reduce=operator.add).outcomes()
    assert shown(outcomes) == ["ResultSerializeError", 5]


def test_an_item_that_fails_after_parts_of_it_came_has_no_value() -> None:
    script = part(0, 1), failed(0, spawned=True), part(1, 1), part(1, "a"), failed(1), done()
    test = Map(*script, reduce=operator.add)
    assert shown(test.outcomes()) == ["SpawnedTaskError", "ValueError"]
    assert not test.stream._parts
    assert not test.stream._failed_parts


# --- credit and progress


@pytest.mark.parametrize("ordered", [True, False])
def test_all_that_came_is_consumed_in_the_end(ordered: bool) -> None:
    script = (
        values(1, "b", "c"),
        values(0, "own" * 100, goes_on=True),
        part(3, "x" * 50),
        part(3, 1),
        part(3, 2),
        values(4, "w" * 100, goes_on=True),
        failed(4, spawned=True),
        failed(5),
        settled(0),
        settled(3),
        done(),
    )
    test = Map(*script, reduce=operator.add, ordered=ordered)
    test.outcomes()
    assert (test.window._arrived, test.window._consumed) == (6, 6)
    assert test.window._arrived_bytes == test.window._consumed_bytes > 0
    assert sum(test.progress[:-1]) == 6
    assert test.progress[-1] == -1


# --- ends


def test_an_iterable_that_raised_is_told_after_all_values() -> None:
    test = Map(values(0, 1, 2), done())
    test.feeder.error = cause = OSError("the file has gone")
    outcomes = test.outcomes()
    assert shown(outcomes) == [1, 2, "InputError"]
    assert isinstance(outcomes[2], InputError)
    assert outcomes[2].__cause__ is cause
    assert str(outcomes[2]) == "the iterable of items raised OSError after 3 items: the file has gone"


def test_a_refused_job_says_why() -> None:
    (error,) = Map(messages.JobRefused(JOB, "there is no strategy 'x'")).outcomes()
    assert isinstance(error, UsageError)
    assert str(error) == "there is no strategy 'x'"


def test_a_job_that_ends_before_its_input_is_no_silent_end() -> None:
    test = Map(values(0, 1), done())
    test.feeder.finished = False
    outcomes = test.outcomes()
    assert shown(outcomes) == [1, "NoWorkersError"]
    assert isinstance(outcomes[1], NoWorkersError)


def test_a_lost_link_ends_the_iteration_with_its_reason() -> None:
    test = Map(values(0, 1))
    test.say(Lost("the controller has gone"))
    outcomes = test.outcomes()
    assert shown(outcomes) == [1, "ConnectionLostError"]
    assert str(outcomes[1]) == "the controller has gone"
    assert test.feeder.stopped


def test_a_value_that_does_not_come_in_time_is_a_timeout_and_cancels_the_rest() -> None:
    test = Map(values(0, 1), timeout_s=0.01)
    assert next(test.results) == 1
    with pytest.raises(TimeoutError, match="job 7 did not come in time"):
        next(test.results)
    assert test.connection.sent == [messages.Cancel(JOB, 0, 1 << 62)]
    assert list(test.results) == []


def test_a_closed_iterator_gives_what_has_come_and_ends() -> None:
    test = Map(values(0, 1, 2), values(3, "not its turn"))
    assert next(test.results) == 1
    test.results.close()
    test.results.close()
    assert list(test.results) == [2]
    assert test.connection.sent == [messages.Cancel(JOB, 0, 1 << 62)]
    assert test.connection.forgotten == [JOB]
    assert test.feeder.stopped


def test_when_the_client_closes_whoever_asks_for_more_is_told() -> None:
    test = Map(values(0, 1))
    test.stream.close(because_of_client=True)
    assert next(test.results) == 1
    with pytest.raises(CancelledError, match="the client was closed"):
        next(test.results)


def test_who_waits_for_a_value_when_the_iterator_is_closed_is_woken() -> None:
    test = Map(timeout_s=None)
    ends = queue.SimpleQueue[list[Any]]()
    thread = threading.Thread(target=lambda: ends.put(list(test.results)))
    thread.start()
    test.results.close()
    assert ends.get(timeout=10) == []
    thread.join(10)


def test_a_finished_map_cancels_nothing() -> None:
    test = Map(values(0, 1), done())
    assert list(test.results) == [1]
    assert test.connection.sent == []


@pytest.mark.parametrize("begin", [False, True])
def test_a_forgotten_iterator_cancels_the_rest_and_keeps_nothing_alive(begin: bool) -> None:
    owner = cast("Any", type("Owner", (), {}))()
    test = Map(values(0, 1, 2), owner=owner)
    if begin:
        assert next(iter(test.results)) == 1
    connection, stream, alive = test.connection, weakref.ref(test.stream), weakref.ref(owner)
    gc.disable()
    try:
        del test, owner
        assert stream() is None
        assert alive() is None
    finally:
        gc.enable()
    assert connection.kinds() == ["Cancel"]


def test_a_failure_that_was_raised_keeps_nothing_alive() -> None:
    test = Map(failed(0), values(1, 2), done())
    gc.disable()
    try:
        with pytest.raises(ValueError, match="no") as caught:
            next(test.results)
        assert next(test.results) == 2
        stream = weakref.ref(test.stream)
        del test, caught
        assert stream() is None
    finally:
        gc.enable()


def test_an_open_stream_keeps_its_owner_and_a_closed_one_does_not() -> None:
    owner = cast("Any", type("Owner", (), {}))()
    test = Map(values(0, 1), owner=owner)
    alive = weakref.ref(owner)
    del owner
    assert alive() is not None
    test.results.close()
    assert alive() is None


def test_finishing_waits_for_the_end_and_lets_everything_come_in() -> None:
    test = Map(values(0, 1))
    test.window.sent(10**9, 10**9)
    thread = threading.Thread(target=test.stream.finish)
    thread.start()
    until(test.window.has_room, "the window is lifted")
    assert thread.is_alive()
    test.say(values(1, 2), done())
    thread.join(10)
    assert not thread.is_alive()
    test.stream.close(because_of_client=True)
    assert list(test.results) == [1, 2], "results of a finished map can still be read"


@pytest.mark.parametrize("ending", [lambda test: test.results.close(), lambda test: test.say(Lost("gone"))])
def test_finishing_does_not_wait_for_what_will_not_come(ending: Callable[[Map], None]) -> None:
    test = Map(values(0, 1))
    ending(test)
    test.stream.finish()


def test_finishing_cancels_an_input_that_may_never_end() -> None:
    test = Map(values(0, 1), keeps_going=False)
    test.feeder.finished = False
    test.stream.finish()
    assert test.connection.kinds() == ["Cancel"]


def test_an_iterator_of_results_is_one() -> None:
    results: Iterator[Any] = Map(values(0, [1], [2], [3]), done()).results
    assert next(results) == [1]
    assert list(results) == [[2], [3]]
    assert next(results, "end") == "end"


def test_bombs_of_these_tests_explode_when_they_are_unpickled() -> None:
    with pytest.raises(OSError, match="boom"):
        pickle.loads(pickle.dumps(Bomb(OSError("boom"))))


# --- a job that outlives its reader


def taken(test: Map) -> list[int]:
    """What was said to be taken."""
    return [message.upto for message in test.connection.sent if isinstance(message, messages.Taken)]


def test_what_came_and_was_not_got_is_not_taken() -> None:
    test = Map(values(0, "a", "b"), values(2, "c"), values(3, "d"), receipts=Receipts())
    assert [next(test.results) for _ in range(3)] == ["a", "b", "c"]
    test.results.close()
    assert taken(test) == [1], "a value is taken when the next one is asked for"
    assert test.connection.released == [JOB]
    assert test.connection.kinds() == ["Taken"], "the job is left alone"


def test_an_early_outcome_that_is_got_late_holds_up_the_others() -> None:
    script = values(1, "b"), values(0, "a"), values(2, "c"), values(3, "d")
    test = Map(*script, receipts=Receipts(10))
    assert [next(test.results) for _ in range(3)] == ["a", "b", "c"]
    test.results.close()
    assert taken(test) == [12]


def test_a_reader_that_has_everything_has_taken_everything() -> None:
    script = values(0, "own", goes_on=True), failed(1), part(2, 1), part(2, 2), settled(0), settled(2), done()
    test = Map(*script, receipts=Receipts(3), reduce=operator.add)
    assert shown(test.outcomes()) == ["own", "ValueError", 3]
    assert taken(test) == [10]
    assert test.connection.released == [JOB]


def test_values_after_items_that_an_earlier_reader_took_come_in_the_end_in_order() -> None:
    test = Map(values(7, "h"), values(3, "d"), values(5, "f"), done(), receipts=Receipts(4))
    assert list(test.results) == ["d", "f", "h"]
    assert list(Map(values(7, "h"), values(3, "d"), done(), receipts=Receipts(4), ordered=False).results) == ["h", "d"]


def test_much_that_was_got_is_taken_in_between() -> None:
    test = Map(*(values(number, number) for number in range(200)), receipts=Receipts())
    assert [next(test.results) for _ in range(200)] == list(range(200))
    assert taken(test) == [64, 128, 192]


def test_a_job_that_is_cancelled_is_not_left_alone() -> None:
    test = Map(values(0, "a"), receipts=Receipts())
    assert next(test.results) == "a"
    test.results.cancel()
    assert test.connection.sent == [messages.Cancel(JOB, 0, 1 << 62)]
    assert test.connection.released == []


def test_closing_the_client_waits_for_the_input_of_a_job_that_goes_on_and_for_nothing_else() -> None:
    test = Map(values(0, "a"), receipts=Receipts())
    finishing = threading.Thread(target=test.stream.finish)
    finishing.start()
    assert test.connection.released == []
    test.feeder.over.set()
    finishing.join(10)
    assert test.connection.released == [JOB]
    assert test.connection.kinds() == [], "nothing is cancelled"


def test_parts_without_a_function_that_combines_them_are_a_mistake_and_stay() -> None:
    test = Map(part(0, 1), settled(0), done(), receipts=Receipts())
    with pytest.raises(UsageError, match=r"job 7 has reduce=: give attach\(\) the same function"):
        next(test.results)
    assert taken(test) == []
    assert test.connection.released == [JOB]


def test_inputs_that_are_safe_leave_the_window() -> None:
    test = Map(values(0, "a"))
    test.window.sent(2, 100 << 20)
    test.window.held(100 << 20)
    assert not test.window.has_room()
    test.say(Safe(2, 100 << 20), values(1, "b"))
    assert test.window.has_room()
    assert [next(test.results) for _ in range(2)] == ["a", "b"]
