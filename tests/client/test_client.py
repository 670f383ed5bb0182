"""Maps and single calls on a real cluster: values, failures, spawned work, options, and what the cluster tells."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import gc
import itertools
import math
import operator
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lbnet
from lbnet import Client, LocalCluster
from lbnet.client.session import _open_sessions
from lbnet.errors import (
    SpawnedTaskError,
    SpawnedValueError,
    TaskCrashedError,
    TaskError,
    TaskTimeoutError,
    UsageError,
)
from lbnet.workloads.uts import TreeCounts, TreeParameters, combine, count_sequential, root
from tests.client.scripted import PATIENT, until


def outcomes(results: Iterator[Any]) -> list[Any]:
    """Values, and the names of the exceptions that ``next`` raised."""
    seen: list[Any] = []
    while True:
        try:
            seen.append(next(results))
        except StopIteration:
            return seen
        except Exception as error:
            seen.append(error)


# --- map is the builtin


@pytest.mark.parametrize(
    ("fn", "iterables"),
    [
        (lambda x: x * x, [range(1_000)]),
        (str, [[1, 2.5, None, True, "text", b"bytes", (1, 2), [3], {"k": {4}}]]),
        (lambda x: x, [[{"a": [1, {"b": (2, 3)}]}, {1, 2}, frozenset("xy"), Path("/tmp"), 1 << 100]]),
        (len, [["a", [1, 2], (3,), {4: 5}]]),
        (pow, [range(10), itertools.count(2)]),
        (lambda a, b, c: (a, b, c), ["abcde", [1, 2, 3], iter(range(9))]),
        (abs, [[]]),
        (abs, [iter(())]),
        (max, [zip(range(20), reversed(range(20)), strict=True)]),
        (lambda f: f(3), [[lambda x: x + 1, math.sqrt, functools.partial(pow, 2)]]),
        (operator.itemgetter("n"), [({"n": n} for n in range(50))]),
        (os.path.basename, [{"/a/b": 1, "/c/d": 2}]),
    ],
)
def test_a_map_is_the_builtin_one(client: Client, fn: Callable[..., Any], iterables: list[Any]) -> None:
    ours, theirs = zip(*(itertools.tee(iterable) for iterable in iterables), strict=True)
    assert list(client.map(fn, *ours)) == list(map(fn, *theirs))


ITEMS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@settings(PATIENT, max_examples=25)
@given(items=st.lists(ITEMS, max_size=30), as_list=st.booleans(), ordered=st.booleans())
def test_any_items_come_back(client: Client, items: list[Any], as_list: bool, ordered: bool) -> None:
    results = list(client.map(lambda item: item, items if as_list else iter(items), ordered=ordered))
    if ordered:
        assert results == items
    else:
        assert sorted(map(repr, results)) == sorted(map(repr, items))


def test_a_hundred_thousand_items(client: Client) -> None:
    assert sum(client.map(lambda x: x + 1, range(100_000))) == 5_000_050_000


def test_an_infinite_generator_is_read_no_further_than_needed(client: Client) -> None:
    seen = []
    results = client.map(lambda x: -x, itertools.count())
    for value in results:
        seen.append(value)
        if len(seen) == 1_000:
            break
    results.close()
    assert seen == [-number for number in range(1_000)]
    until(lambda: client.report(results).state == "cancelled", "the rest is cancelled")


def test_a_forgotten_iterator_cancels_the_rest(client: Client) -> None:
    results = client.map(time.sleep, itertools.repeat(0.01))
    assert next(results) is None
    job = results.job
    del results
    gc.collect()
    until(lambda: client.report(job).state == "cancelled", "the rest is cancelled")


def test_values_come_as_they_are_done_when_order_does_not_matter(client: Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    def wait_for_gate(item: int) -> int:
        while item == 0 and not gate.exists():
            time.sleep(0.002)
        return item

    results = client.map(wait_for_gate, range(20), ordered=False)
    first = [next(results) for _ in range(10)]
    assert 0 not in first
    gate.touch()
    assert sorted(first + list(results)) == list(range(20))


def test_an_input_that_depends_on_its_own_results_does_not_block(client: Client) -> None:
    known = threading.Semaphore(1)

    def one_at_a_time() -> Iterator[int]:
        for number in range(20):
            assert known.acquire(timeout=10)
            yield number

    seen = []
    for value in client.map(lambda x: x * 2, one_at_a_time()):
        seen.append(value)
        known.release()
    assert seen == list(range(0, 40, 2))


def test_a_value_that_is_late_is_a_timeout(client: Client) -> None:
    results = client.map(time.sleep, [0, 0.5], timeout=0.2)
    with pytest.raises(TimeoutError):
        list(results)


def test_many_threads_share_a_client(client: Client) -> None:
    def use(number: int) -> tuple[int, int]:
        return sum(client.map(lambda x: x * number, range(200))), client.submit(pow, number, 2).result(10)

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        found = list(threads.map(use, range(16)))
    assert found == [(19_900 * number, number**2) for number in range(16)]


# --- single calls


def test_calls_have_arguments_by_place_and_by_name(client: Client) -> None:
    assert client.submit(int, "ff", base=16).result(10) == 255
    assert client.submit(sorted, [3, 1, 2], reverse=True).result(10) == [3, 2, 1]
    assert client.submit(lambda self, fn: (self, fn), self=1, fn=2).result(10) == (1, 2)


def test_futures_work_with_the_tools_of_the_standard_library(client: Client) -> None:
    futures = {client.submit(pow, 2, number): number for number in range(30)}
    assert all(future.result(0) == 2 ** futures[future] for future in concurrent.futures.as_completed(futures, 10))
    more = [client.submit(time.sleep, 0.01) for _ in range(4)]
    done, pending = concurrent.futures.wait(more, timeout=10)
    assert done == set(more)
    assert not pending
    failing = [client.submit(int, "x"), client.submit(time.sleep, 0.01)]
    done, _ = concurrent.futures.wait(failing, 10, concurrent.futures.FIRST_EXCEPTION)
    assert failing[0] in done


async def test_futures_can_be_awaited(client: Client) -> None:
    calls = [asyncio.wrap_future(client.submit(pow, number, 2)) for number in range(10)]
    assert await asyncio.gather(*calls) == [number**2 for number in range(10)]
    with pytest.raises(ValueError, match="invalid literal"):
        await asyncio.wrap_future(client.submit(int, "x"))


def test_a_queued_call_that_is_cancelled_does_not_start(client: Client, tmp_path: Path) -> None:
    gate, trace = tmp_path / "gate", tmp_path / "trace"

    def wait_for_gate() -> None:
        while not gate.exists():
            time.sleep(0.002)

    blockers = [client.submit(wait_for_gate) for _ in range(4)]
    queued = [client.submit(trace.touch) for _ in range(30)]
    last = queued[-1]
    assert last.cancel()
    assert all(future.cancel() for future in queued)
    after = client.submit(pow, 2, 2)
    gate.touch()
    assert [future.result(10) for future in blockers] == [None] * 4
    assert after.result(10) == 4
    assert last.cancelled()
    assert client.report(last).cancelled > 0


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_running_call_that_is_cancelled_is_ended_and_its_slot_goes_on(
    client: Client, tmp_path: Path, stubborn: bool
) -> None:
    def endless(begun: Path) -> None:
        if stubborn:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        begun.touch()
        while True:
            pass

    view = client.with_options(name="cancelled while it runs")
    keeper = view.submit(pow, 2, 2)
    begun = [tmp_path / str(number) for number in range(client.status().workers[0].slots * 2)]
    runs = [view.submit(endless, path) for path in begun]
    until(lambda: all(path.exists() for path in begun), "all slots are busy")
    assert all(future.cancel() for future in runs)
    assert keeper.result(10) == 4
    assert view.submit(pow, 2, 3).result(10) == 8, "there is a slot again"
    assert sorted(client.map(abs, range(-20, 0))) == list(range(1, 21))
    report = client.report(keeper)
    assert (report.failed, report.balanced) == (0, True)
    assert report.cancelled >= len(runs)


def test_tasks_of_a_higher_priority_overtake_those_that_wait(client: Client, tmp_path: Path) -> None:
    def note(item: int) -> int:
        time.sleep(0.02)
        with (tmp_path / "order").open("a") as file:
            file.write(f"{item}\n")
        return item

    low = client.with_options(priority=-1).map(note, range(200))
    until((tmp_path / "order").exists, "the first job is under way")
    assert list(client.with_options(priority=5).map(note, range(1000, 1020))) == list(range(1000, 1020))
    before = (tmp_path / "order").read_text().split()
    assert len([item for item in before if int(item) < 1000]) < 180, "the others have not been waited for"
    assert list(low) == list(range(200))


def test_a_whole_job_is_cancelled_by_its_number(client: Client) -> None:
    results = client.map(time.sleep, [0.0] + [60.0] * 20)
    assert next(results) is None
    assert client.cancel(results).state == "cancelled"
    with pytest.raises(concurrent.futures.CancelledError):
        list(results)
    assert client.submit(pow, 2, 2).result(10) == 4, "what ran does not run on"
    with pytest.raises(UsageError, match="knows no job 12"):
        client.cancel(12)


def test_a_call_after_a_cancelled_one_is_answered(client: Client) -> None:
    view = client.with_options(name="cancelled alone")
    view.submit(time.sleep, 0.01).cancel()
    assert view.submit(pow, 2, 3).result(10) == 8


# --- failures


def test_an_exception_tells_where_it_came_from(client: Client, cluster: LocalCluster) -> None:
    def inner(x: int) -> float:
        return 1 / x

    def outer(x: int) -> float:
        return inner(x)

    results = client.map(outer, [1, 0, 2])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError) as caught:
        next(results)
    assert next(results) == 0.5
    text = str(caught.value.__cause__)
    assert text.index("in outer") < text.index("in inner") < text.index("ZeroDivisionError: division by zero")
    assert "lbnet" not in text, "the frames of lbnet itself are left out"
    where, item = caught.value.__notes__
    assert item == "item 1 of the map"
    assert socket.gethostname() in where
    assert "pid" in where
    with pytest.raises(ZeroDivisionError) as called:
        client.submit(inner, 0).result(10)
    assert "in inner" in str(called.value.__cause__)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_what_would_end_a_program_ends_its_task_only(client: Client, error: BaseException) -> None:
    def fail(x: int) -> int:
        if x == 1:
            raise error
        return x

    seen = outcomes(client.map(fail, range(4)))
    assert [type(each) for each in seen] == [int, TaskError, int, int]
    assert type(seen[1].__cause__) is type(error)
    assert type(error).__name__ in str(seen[1])


def test_exceptions_can_be_asked_for_as_values(client: Client) -> None:
    seen = list(client.map(int, ["1", "x", "3"], return_exceptions=True))
    assert (seen[0], type(seen[1]), seen[2]) == (1, ValueError, 3)


# --- work that makes work


def count_nodes(depth: int) -> int:
    return 2 ** (depth + 1) - 1


def test_spawned_values_are_combined_with_their_item(client: Client) -> None:
    def walk(depth: int) -> int:
        import lbnet

        for _ in range(2 if depth else 0):
            lbnet.spawn(walk, depth - 1)
        return 1

    results = client.map(walk, [0, 3, 6], reduce=operator.add)
    assert list(results) == [count_nodes(depth) for depth in (0, 3, 6)]
    report = client.report(results)
    assert (report.submitted, report.spawned) == (3, sum(count_nodes(depth) - 1 for depth in (0, 3, 6)))
    assert report.balanced


def test_an_item_is_done_when_all_that_it_spawned_is(client: Client, tmp_path: Path) -> None:
    def leave_traces(depth: int) -> str:
        import lbnet

        def leave_trace(name: str) -> None:
            (tmp_path / name).touch()

        for number in range(depth):
            lbnet.spawn(leave_trace, f"trace-{number}")
        return "own value"

    assert list(client.map(leave_traces, [25])) == ["own value"]
    assert len(list(tmp_path.iterdir())) == 25


def test_a_spawned_value_without_reduce_is_an_error(client: Client) -> None:
    def parent(x: int) -> int:
        import lbnet

        if x == 1:
            lbnet.spawn(abs, -5)
        return x

    seen = outcomes(client.map(parent, range(3)))
    assert [seen[0], seen[2]] == [0, 2]
    assert isinstance(seen[1].__cause__ or seen[1], SpawnedValueError)


def test_a_spawned_task_that_fails_fails_its_item(client: Client) -> None:
    def parent(x: int) -> int:
        import lbnet

        if x == 1:
            lbnet.spawn(int, "not a number")
        return x

    seen = outcomes(client.map(parent, range(3), reduce=max))
    assert [seen[0], seen[2]] == [0, 2]
    assert isinstance(seen[1], SpawnedTaskError)
    assert isinstance(seen[1].__cause__, ValueError)
    assert "item 1 of the map" in seen[1].__notes__


def test_a_task_sees_that_somebody_is_hungry(client: Client) -> None:
    def wait_for_hunger(limit_s: float) -> bool:
        import time

        import lbnet

        end = time.monotonic() + limit_s
        while not lbnet.hungry() and time.monotonic() < end:
            time.sleep(0.001)
        return lbnet.hungry()

    assert list(client.map(wait_for_hunger, [10.0])) == [True]


def test_a_work_unit_is_split_among_all(client: Client) -> None:
    parameters = TreeParameters("geo", "linear", b0=4, d=8, r=19)
    search = root(parameters)
    (counts,) = client.map(lbnet.run_unit, [search], reduce=combine)
    assert isinstance(counts, TreeCounts)
    assert counts == count_sequential(parameters)


# --- options


def test_a_task_that_fails_twice_and_then_works_needs_two_retries(client: Client, tmp_path: Path) -> None:
    def third_time_lucky(name: str) -> int:
        path = tmp_path / name
        with path.open("a") as file:
            file.write("x")
        attempts = path.stat().st_size
        if attempts < 3:
            raise OSError(f"attempt {attempts}")
        return attempts

    assert list(client.with_options(retries=2).map(third_time_lucky, ["a", "b"])) == [3, 3]
    with pytest.raises(OSError, match="attempt 2"):
        next(client.with_options(retries=1).map(third_time_lucky, ["c"]))
    with pytest.raises(OSError, match="attempt 1"):
        client.submit(third_time_lucky, "d").result(10)


def test_a_task_that_takes_too_long_is_ended_and_the_others_go_on(client: Client) -> None:
    def maybe_sleep(x: int) -> int:
        if x == 2:
            time.sleep(60)
        return x

    seen = outcomes(client.with_options(task_timeout_s=0.3).map(maybe_sleep, range(5)))
    assert [each for each in seen if isinstance(each, int)] == [0, 1, 3, 4]
    assert isinstance(seen[2], TaskTimeoutError)
    assert "item 2 of the map" in seen[2].__notes__


@pytest.mark.parametrize("way", ["exit", "segv"])
def test_a_task_that_kills_its_process_fails_alone(client: Client, way: str) -> None:
    def maybe_die(x: int) -> int:
        if x == 30:
            os._exit(7) if way == "exit" else os.kill(os.getpid(), signal.SIGSEGV)
        return x

    seen = outcomes(client.with_options(crash_limit=1).map(maybe_die, range(60)))
    assert [each for each in seen if isinstance(each, int)] == [x for x in range(60) if x != 30]
    assert isinstance(seen[30], TaskCrashedError)
    assert "item 30 of the map" in seen[30].__notes__
    assert ("7" if way == "exit" else "SIGSEGV") in str(seen[30])


@pytest.mark.parametrize("options", [{"retry": 1}, {"retries": -1}, {"task_timeout_s": "soon"}, {"placement": "here"}])
def test_wrong_options_are_refused_at_once(client: Client, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        client.with_options(**options)


def test_a_view_has_options_of_its_own_and_shares_the_rest(client: Client) -> None:
    view = client.with_options(name="named", placement="first").with_options(retries=1)
    results = view.map(abs, range(3))
    assert list(results) == [0, 1, 2]
    report = client.report(results)
    assert (report.name, report.placement) == ("named", "first")
    assert client.report(view.submit(abs, 1)).name == "named"
    assert view.address == client.address


def test_a_job_is_named_after_its_function(client: Client) -> None:
    class Callable_:
        def __init__(self) -> None:
            self.__name__ = 5

        def __call__(self, x: int) -> int:
            return x

    for fn, name in ((abs, "abs"), (functools.partial(pow, 2), "partial"), (Callable_(), "Callable_")):
        results = client.map(fn, [1])
        list(results)
        assert client.report(results).name == name


# --- facts


def test_the_report_of_a_job_adds_up(client: Client) -> None:
    results = client.map(time.sleep, [0.01] * 30)
    list(results)
    until(lambda: client.report(results).state == "done", "the job ends")
    report = client.report(results)
    assert report.balanced
    assert (report.submitted, report.done, report.failed, report.outstanding) == (30, 30, 0, 0)
    assert report.slots == 2
    assert sum(worker.tasks for worker in report.workers) == 30
    assert report.busy_s == pytest.approx(sum(worker.busy_s for worker in report.workers))
    assert report.busy_s >= 0.3
    assert report.overhead_s == pytest.approx(report.slots * report.makespan_s - report.busy_s)
    assert report.speedup == pytest.approx(report.busy_s / report.makespan_s)
    assert report.efficiency == pytest.approx(report.speedup / 2)
    assert 0 < report.efficiency <= 1
    assert client.report(results.job) == report
    assert client.report(client.submit(pow, 1, 1)).name == "submit"


def test_where_the_time_of_all_slots_went_is_told_when_it_is_asked_for(client: Client) -> None:
    results = client.map(time.sleep, [0.05] * 9 + [0.5])
    list(results)
    until(lambda: client.report(results).state == "done", "the job ends")
    assert client.report(results).balance is None
    report = client.report(results, balance=True)
    assert report.balance is not None
    assert replace(report, balance=None) == client.report(results)
    assert report.balance.makespan_s == report.makespan_s
    assert report.balance.busy_s == pytest.approx(report.busy_s)
    assert len(report.balance.workers) == len(client.status().workers)
    for part in (report.balance, *report.balance.workers):
        assert sum(part.causes.values()) == pytest.approx(part.slot_s - part.busy_s)
    assert all(worker.answered for worker in report.balance.workers)
    assert report.balance.causes["unknown"] == 0.0
    # One slot has the last task for half a second, and there are two slots.
    assert report.balance.causes["tail"] > 0.1
    assert report.balance.gap_s > 0


@pytest.mark.parametrize("job", [-1, 0, 1 << 62, 1 << 70, "5", None, 1.5])
def test_a_job_that_nobody_knows_has_no_report(client: Client, job: Any) -> None:
    with pytest.raises(UsageError):
        client.report(job, balance=True)
    with pytest.raises(UsageError, match="report|knows no job"):
        client.report(job)


def test_the_status_shows_workers_and_jobs(client: Client, cluster: LocalCluster) -> None:
    results = client.map(abs, range(10))
    list(results)
    status = client.status()
    assert [worker.slots for worker in status.workers] == [1, 1]
    assert {worker.pid for worker in status.workers} == set(cluster.pids[1:])
    assert {worker.name for worker in status.workers} == {"local-0", "local-1"}
    assert results.job in {job.job for job in status.jobs}
    assert status.strategy == "sb"
    assert status.clients >= 1


def test_workers_are_waited_for(client: Client) -> None:
    client.wait_for_workers()
    client.wait_for_workers(2)
    with pytest.raises(TimeoutError, match="2 of 3 workers have joined"):
        client.wait_for_workers(3, timeout_s=0.05)


# --- the end of a client


def open_sessions() -> int:
    gc.collect()
    return len(_open_sessions)


def test_a_client_that_is_dropped_closes_its_link(cluster: LocalCluster) -> None:
    before = open_sessions()
    client = cluster.client()
    assert list(client.map(abs, [-1])) == [1]
    assert client.submit(abs, -1).result(10) == 1
    assert len(_open_sessions) == before + 1
    del client
    until(lambda: open_sessions() == before, "the session is closed")


def test_work_outlives_the_client_that_was_dropped(cluster: LocalCluster) -> None:
    before = open_sessions()
    assert list(cluster.client().map(lambda x: x + 1, range(10))) == list(range(1, 11))
    future = cluster.client().submit(pow, 2, 10)
    gc.collect()
    assert future.result(10) == 1024
    until(lambda: open_sessions() == before, "the sessions are closed")


def test_an_exception_in_the_with_block_is_not_held_up_by_maps(cluster: LocalCluster) -> None:
    with pytest.raises(LookupError), cluster.client() as client:  # noqa: PT012
        results = client.map(time.sleep, [0.3] * 100)
        raise LookupError
    with pytest.raises(concurrent.futures.CancelledError):
        next(results)


def test_a_closed_client_takes_no_work(cluster: LocalCluster) -> None:
    client = cluster.client()
    client.close()
    client.close()
    for use in (
        lambda: client.submit(abs, 1),
        lambda: client.map(abs, [1]),
        lambda: client.with_options().map(abs, [1]),
    ):
        with pytest.raises(RuntimeError, match="the client was closed"):
            use()
    with pytest.raises(lbnet.errors.ConnectionLostError, match="the client was closed"):
        client.status()


def test_the_progress_bar_counts_and_stops(client: Client, capfd: pytest.CaptureFixture[str]) -> None:
    assert list(client.map(abs, range(50), progress=True)) == list(range(50))
    assert "50/50" in capfd.readouterr().err
