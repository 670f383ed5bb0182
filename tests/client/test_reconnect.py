"""Links break wherever they like, and controllers die: every result comes exactly once, and nobody waits for ever."""

from __future__ import annotations

import logging
import operator
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from lbnet import Client, LocalCluster, limits
from lbnet.client import patience, standing
from lbnet.errors import ConnectionLostError, UsageError
from lbnet.protocol.messages import OpenJob, Submit, Taken
from tests.client.scripted import until
from tests.client.standin import Line, StandIn

SEEDS = range(4)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PAUSE_FIRST_S", 0.001)
    monkeypatch.setattr(limits, "REJOIN_GRACE_S", 0.005)


@pytest.fixture
def standin() -> Iterator[StandIn]:
    with StandIn() as standin:
        yield standin


def square(x: int) -> int:
    return x * x


def picky(x: int) -> int:
    if x % 10 == 3:
        raise ValueError(x)
    return x


def outcomes(results: Iterator[Any]) -> list[Any]:
    seen: list[Any] = []
    while True:
        try:
            seen.append(next(results))
        except StopIteration:
            return seen
        except ValueError as error:
            seen.append(repr(error))


def after(seconds: float, do: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, do)
    timer.start()
    return timer


# --- links that break


@pytest.mark.parametrize("journal", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_map_over_a_line_that_breaks_gives_every_value_once(seed: int, journal: bool) -> None:
    with StandIn(seed, journal=journal) as standin, Line(standin, seed, mean_bytes=4_000, breaks=12) as line:
        with Client(line.address, insecure=True) as client:
            items = range(3_000)
            assert list(client.map(square, items)) == [square(item) for item in items]
            assert Counter(client.map(square, iter(items), ordered=False)) == Counter(map(square, items))
        assert line.broken == 12


@pytest.mark.parametrize("seed", SEEDS)
def test_calls_and_failures_over_a_line_that_breaks_are_settled_once(seed: int) -> None:
    with StandIn(seed) as standin, Line(standin, seed, mean_bytes=2_000, breaks=10) as line:
        with Client(line.address, insecure=True) as client:
            futures = [client.submit(square, number) for number in range(500)]
            assert [future.result(30) for future in futures] == [square(number) for number in range(500)]
            expected = [f"ValueError({x})" if x % 10 == 3 else x for x in range(500)]
            assert outcomes(client.map(picky, range(500))) == expected
        assert line.broken >= 3


@pytest.mark.parametrize("seed", SEEDS)
def test_values_are_combined_once_over_a_line_that_breaks(seed: int) -> None:
    with StandIn(seed) as standin, Line(standin, seed, mean_bytes=4_000, breaks=10) as line:
        with Client(line.address, insecure=True) as client:
            totals = list(client.map(square, range(800), reduce=operator.add))
            # An item spawns a task that does the same.
            assert totals == [2 * square(item) for item in range(800)]
        assert line.broken >= 3


@pytest.mark.parametrize("seed", SEEDS)
def test_several_maps_at_once_over_a_line_that_breaks(seed: int) -> None:
    with StandIn(seed) as standin, Line(standin, seed, mean_bytes=6_000, breaks=15) as line:
        with Client(line.address, insecure=True) as client:
            maps = [client.map(square, range(lo, lo + 500)) for lo in range(0, 2_500, 500)]
            for lo, results in zip(range(0, 2_500, 500), maps, strict=True):
                assert list(results) == [square(item) for item in range(lo, lo + 500)]
        assert line.broken


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cluster_of_processes_over_a_line_that_breaks_gives_every_value_once(
    cluster: LocalCluster, standin: StandIn, seed: int
) -> None:
    # It must last for the first greeting, which nobody repeats: some 5,000 bytes where links are protected.
    made = Line(standin, seed, mean_bytes=16_000, breaks=10, to=cluster.where)
    with made as line, Client(line.address, token_file=cluster.token_file) as client:
        items = range(5_000)
        results = client.map(lambda x: x * x, iter(items))
        futures = [client.submit(pow, number, 2) for number in range(200)]
        assert list(results) == [square(item) for item in items]
        assert [future.result(30) for future in futures] == [square(number) for number in range(200)]
        job = client.submit_job(lambda x: x * x, items)
        assert list(client.attach(job)) == [square(item) for item in items]
        assert line.broken >= 3


def test_calls_that_were_cancelled_are_not_done_after_a_break(standin: StandIn) -> None:
    with Client(standin.address, insecure=True) as client:
        standin.pause(True)
        futures = [client.submit(square, number) for number in range(60)]
        until(lambda: sum(isinstance(each, Submit) for each in standin.heard) == 60, "all calls are there")
        standin.cut()
        assert all(future.cancel() for future in futures[1::2])
        standin.pause(False)
        assert [future.result(10) for future in futures[::2]] == [square(number) for number in range(0, 60, 2)]
        assert all(future.cancelled() for future in futures[1::2])


# --- controllers that die


@pytest.mark.parametrize("seed", SEEDS)
def test_a_controller_that_is_killed_again_and_again_loses_nothing(seed: int) -> None:
    with StandIn(seed) as standin, Client(standin.address, insecure=True) as client:
        items = range(2_000)
        results = client.map(square, iter(items))
        combined = client.map(square, range(200), reduce=operator.add)
        futures: list[Future[int]] = []
        seen: list[int] = []
        for number in range(10):
            futures += [client.submit(square, number * 10 + each) for each in range(10)]
            seen += [next(results) for _ in range(30)]
            standin.kill()
        assert seen + list(results) == [square(item) for item in items]
        assert [future.result(30) for future in futures] == [square(number) for number in range(100)]
        assert list(combined) == [2 * square(item) for item in range(200)]


def test_what_was_taken_is_forgotten_by_the_journal(standin: StandIn) -> None:
    with Client(standin.address, insecure=True) as client:
        results = client.map(square, range(5_000))
        assert len(list(results)) == 5_000
        until(lambda: not standin.kept_jobs(), "nothing is kept of a job that was taken")
        taken = [each.upto for each in standin.heard if isinstance(each, Taken)]
        assert taken == sorted(set(taken))
        assert max(later - earlier for earlier, later in zip(taken, taken[1:], strict=False)) <= standing.TAKEN_EVERY
        standin.kill()
        assert list(client.map(square, range(10))) == [square(item) for item in range(10)]


def test_a_controller_that_knows_nothing_any_more_fails_open_jobs_and_takes_new_ones(standin: StandIn) -> None:
    with Client(standin.address, insecure=True) as client:
        standin.pause(True)
        results, future = client.map(square, range(50)), client.submit(square, 3)
        until(lambda: sum(isinstance(each, OpenJob) for each in standin.heard) == 2, "the jobs are there")
        standin.kill(forget=True)
        standin.pause(False)
        for wait in (lambda: next(results), lambda: future.result(10)):
            with pytest.raises(ConnectionLostError, match="run `lbnet controller` with a state directory"):
                wait()
        assert client.submit(square, 4).result(10) == 16
        assert list(client.map(square, range(50))) == [square(item) for item in range(50)]


def test_a_controller_without_a_journal_that_lost_its_jobs_but_not_its_name_fails_them(standin: StandIn) -> None:
    with Client(standin.address, insecure=True) as client:
        standin.pause(True)
        results = client.map(square, range(50))
        job = results.job
        until(lambda: standin.job(job) is not None and standin.job(job).safe_items == 50, "the items are safe")
        standin._kept.clear()
        standin._issued = 0
        standin.kill()
        with pytest.raises(ConnectionLostError, match=f"came back without job {job}: .*knows no such job"):
            next(results)


# --- while there is no link


def test_who_asks_while_there_is_no_link_waits_for_it(standin: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "lbnet.client"), Client(standin.address, insecure=True) as client:
        standin.cut()
        assert client.status().clients == 1
        until(lambda: len(caplog.messages) == 2, "both are told")
        broke, back = caplog.messages
        assert broke.startswith(f"the link to the controller at {standin.address} broke: ")
        assert broke.endswith("trying to get it back for up to 60 s")
        assert back.startswith(f"the link to the controller at {standin.address} is back after ")


def test_a_client_that_is_not_to_wait_does_not(standin: StandIn) -> None:
    with Client(standin.address, insecure=True, reconnect_timeout_s=0) as client:
        standin.pause(True)
        results = client.map(square, range(5))
        standin.cut()
        with pytest.raises(ConnectionLostError, match=f"the link to the controller at {standin.address} broke"):
            next(results)
        with pytest.raises(ConnectionLostError):
            client.status()


@pytest.mark.parametrize("seconds", [-1, float("nan"), "1", True, 10**400])
def test_a_time_that_is_none_is_refused(seconds: Any) -> None:
    with pytest.raises(UsageError, match="reconnect_timeout_s must be 0"):
        Client("127.0.0.1:1", reconnect_timeout_s=seconds)
