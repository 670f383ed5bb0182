"""The client is an executor: where the semantics are those of the standard library, both do the same."""

from __future__ import annotations

import concurrent.futures
import gc
import itertools
import logging
import operator
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lbnet import LocalCluster
from tests.client.scripted import until

Make = Callable[[], Executor]


@pytest.fixture(params=["threads", "cluster"])
def make(request: pytest.FixtureRequest, cluster: LocalCluster) -> Make:
    """Makes an executor with two places to run tasks."""
    if request.param == "threads":
        return lambda: ThreadPoolExecutor(2)
    return cluster.client


@pytest.fixture
def executor(make: Make) -> Iterator[Executor]:
    with make() as executor:
        yield executor


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """Tasks wait until it exists."""
    path = tmp_path / "gate"
    yield path
    path.touch()


def waiting(gate: Path) -> Callable[[Any], Any]:
    def wait(value: Any = None) -> Any:
        while not gate.exists():
            time.sleep(0.002)
        return value

    return wait


def test_a_call_has_a_result_or_an_exception(executor: Executor) -> None:
    assert executor.submit(pow, 2, exp=5).result(10) == 32
    error = executor.submit(operator.itemgetter("k"), {}).exception(10)
    assert (type(error), error.args if error else ()) == (KeyError, ("k",))
    assert executor.submit(abs, -1).exception(10) is None


def test_a_map_has_the_values_in_order(executor: Executor) -> None:
    assert list(executor.map(pow, range(20), itertools.repeat(2), timeout=10, chunksize=3)) == [
        n * n for n in range(20)
    ]
    assert list(executor.map(abs, [])) == []


def test_a_map_raises_what_a_task_raised(executor: Executor) -> None:
    results = executor.map(int, ["1", "x"])
    assert next(results) == 1
    with pytest.raises(ValueError, match="invalid literal"):
        next(results)


def test_a_result_that_is_late_is_a_timeout_and_comes_later_all_the_same(executor: Executor, gate: Path) -> None:
    future = executor.submit(waiting(gate), 5)
    with pytest.raises(TimeoutError):
        future.result(0.01)
    assert not future.done()
    gate.touch()
    assert future.result(10) == 5
    assert future.done()
    assert not future.cancel()


def test_a_map_that_is_late_is_a_timeout(executor: Executor, gate: Path) -> None:
    results = executor.map(waiting(gate), [1], timeout=0.01)
    with pytest.raises(TimeoutError):
        next(results)
    gate.touch()


def test_a_call_that_waits_can_be_cancelled(executor: Executor, gate: Path) -> None:
    running = [executor.submit(waiting(gate), number) for number in range(8)]
    last = executor.submit(waiting(gate))
    assert last.cancel()
    assert last.cancelled()
    assert last.done()
    gate.touch()
    with pytest.raises(CancelledError):
        last.result(10)
    assert [future.result(10) for future in running] == list(range(8))
    assert concurrent.futures.wait([*running, last], 10).not_done == set()


def test_nothing_can_be_submitted_after_the_end(make: Make) -> None:
    executor = make()
    executor.shutdown()
    executor.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new"):
        executor.submit(abs, 1)
    with pytest.raises(RuntimeError, match="cannot schedule new"):
        executor.map(abs, [1])


def test_a_with_block_waits_for_all_calls(make: Make) -> None:
    with make() as executor:
        futures = [executor.submit(time.sleep, 0.005) for _ in range(20)]
    assert all(future.done() for future in futures)
    assert [future.result(0) for future in futures] == [None] * 20


def test_results_of_a_map_can_be_read_after_the_with_block(make: Make) -> None:
    with make() as executor:
        results = executor.map(abs, range(-100, 0))
    assert list(results) == list(range(100, 0, -1))


def test_a_with_block_that_raises_waits_for_its_calls(make: Make) -> None:
    with pytest.raises(LookupError), make() as executor:
        futures = [executor.submit(time.sleep, 0.005) for _ in range(5)]
        raise LookupError
    assert [future.result(0) for future in futures] == [None] * 5


def test_shutdown_without_waiting_lets_the_calls_go_on(make: Make, gate: Path) -> None:
    executor = make()
    futures = [executor.submit(waiting(gate), number) for number in range(5)]
    executor.shutdown(wait=False)
    assert not any(future.done() for future in futures)
    with pytest.raises(RuntimeError):
        executor.submit(abs, 1)
    gate.touch()
    assert [future.result(10) for future in futures] == list(range(5))
    executor.shutdown(wait=True)


def test_shutdown_can_cancel_what_waits(make: Make, gate: Path) -> None:
    executor = make()
    futures = [executor.submit(waiting(gate), number) for number in range(50)]
    opener = threading.Thread(target=lambda: (until(futures[-1].cancelled, "the last is cancelled"), gate.touch()))
    opener.start()
    executor.shutdown(cancel_futures=True)
    opener.join(10)
    assert all(future.done() for future in futures)
    assert futures[-1].cancelled()


def test_callbacks_are_called_once_with_their_future(executor: Executor, gate: Path) -> None:
    told = list[Any]()
    future = executor.submit(waiting(gate), 1)
    future.add_done_callback(told.append)
    future.add_done_callback(lambda future: told.append(future.result(0)))
    assert told == []
    gate.touch()
    until(lambda: len(told) == 2, "both are called")
    future.add_done_callback(lambda _: told.append("at once"))
    assert told == [future, 1, "at once"]


def test_a_callback_that_raises_is_logged_and_the_others_are_called(
    executor: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    called = threading.Event()
    future = executor.submit(time.sleep, 0.02)
    with caplog.at_level(logging.ERROR, "concurrent.futures"):
        future.add_done_callback(lambda future: {}["missing"])
        future.add_done_callback(lambda future: called.set())
        assert called.wait(10)
    assert any("exception calling callback" in record.getMessage() for record in caplog.records)
    assert executor.submit(abs, -3).result(10) == 3


def test_a_callback_may_submit_more(executor: Executor) -> None:
    more = list[Any]()
    executor.submit(abs, -1).add_done_callback(lambda future: more.append(executor.submit(pow, 2, 3)))
    until(lambda: more, "the callback is called")
    assert more[0].result(10) == 8


def test_calls_of_a_forgotten_executor_are_done_all_the_same(make: Make) -> None:
    futures = [make().submit(time.sleep, 0.02) for _ in range(3)]
    gc.collect()
    assert [future.result(10) for future in futures] == [None] * 3


def test_many_calls(executor: Executor) -> None:
    futures = [executor.submit(operator.neg, number) for number in range(1_000)]
    assert [future.result(30) for future in futures] == [-number for number in range(1_000)]


# --- what the standard library leaves open


def test_a_client_that_is_shut_down_in_a_callback_does_not_wait_for_itself(cluster: LocalCluster) -> None:
    client = cluster.client()
    futures = [client.submit(time.sleep, 0.02) for _ in range(4)]
    returned = threading.Event()
    futures[0].add_done_callback(lambda _: (client.shutdown(), returned.set()))
    assert returned.wait(10)
    assert [future.result(10) for future in futures] == [None] * 4
    client.shutdown()


def test_closing_ends_a_shutdown_that_waits(cluster: LocalCluster, gate: Path) -> None:
    client = cluster.client()
    future = client.submit(waiting(gate))
    results = client.map(waiting(gate), [1, 2])
    client.shutdown(wait=False)
    client.close()
    assert future.cancelled()
    with pytest.raises(CancelledError, match="the client was closed"):
        next(results)
    client.shutdown(wait=True)
