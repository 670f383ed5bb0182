"""Jobs that outlive their client: handed in safely, and taken up by anybody, with nothing lost on the way."""

from __future__ import annotations

import operator
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import lbnet
from lbnet import Client, limits
from lbnet.client import patience
from lbnet.errors import ConnectionLostError, InputError, UsageError
from lbnet.protocol.messages import Cancel, OpenJob, Taken
from lbnet.types import JobId
from tests.client.scripted import until
from tests.client.standin import Line, StandIn


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


def squares(count: int) -> list[int]:
    return [x * x for x in range(count)]


def hand_in(standin: StandIn, count: int = 1_000, **more: Any) -> int:
    with Client(standin.address, insecure=True) as client:
        return client.submit_job(square, range(count), **more)


# --- handing in


def test_a_job_goes_on_without_its_client_and_is_taken_up_by_another_one(standin: StandIn) -> None:
    job = hand_in(standin)
    standin.kill()
    with Client(standin.address, insecure=True) as client:
        results = client.attach(job)
        assert results.job == job
        assert list(results) == squares(1_000)
        until(lambda: not standin.kept_jobs(), "nothing is kept of a job that was taken")


def test_a_script_takes_it_up_in_one_line_and_leaves_nothing_open(
    standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, other = hand_in(standin), hand_in(standin, 30)
    results = lbnet.attach(job, standin.address, ordered=False, insecure=True)
    assert sorted(results) == squares(1_000)
    monkeypatch.setenv("LBNET_ADDRESS", str(standin.address))
    assert list(lbnet.attach(other, insecure=True)) == squares(30)
    with pytest.raises(UsageError, match="knows no such job"):
        lbnet.attach(99, insecure=True)
    del results
    with Client(standin.address, insecure=True) as client:
        until(lambda: client.status().clients == 1, "its clients are gone")


def test_who_says_not_where_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LBNET_ADDRESS", raising=False)
    with pytest.raises(UsageError, match="needs the controller's address"):
        lbnet.attach(7)


def test_when_it_is_handed_in_its_items_are_safe(standin: StandIn) -> None:
    with Client(standin.address, insecure=True) as client:
        standin.pause(True)
        job = client.submit_job(square, range(5_000))
        assert standin.job(job).safe_items == 5_000
        assert standin.job(job).options.detached
        standin.pause(False)
        assert list(client.attach(job)) == squares(5_000)


def test_the_client_that_handed_it_in_takes_nothing(standin: StandIn) -> None:
    with Client(standin.address, insecure=True) as client:
        job = client.submit_job(square, range(300))
        until(lambda: standin.job(job).state == "done", "it is done")
        assert client.status().clients == 1
        assert not [each for each in standin.heard if isinstance(each, Taken)]
        assert list(client.attach(job)) == squares(300)


def test_an_empty_job_can_be_handed_in(standin: StandIn) -> None:
    job = hand_in(standin, 0)
    with Client(standin.address, insecure=True) as client:
        assert list(client.attach(job)) == []


def test_a_job_that_is_not_detached_ends_with_its_client(standin: StandIn) -> None:
    standin.pause(True)
    job = hand_in(standin, 5, detached=False)
    until(lambda: standin.job(job).state == "cancelled", "it is cancelled")


def test_an_iterable_that_raises_cancels_the_job(standin: StandIn) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("k")

    with Client(standin.address, insecure=True) as client:
        with pytest.raises(InputError, match="raised KeyError after 1 items") as caught:
            client.submit_job(square, items())
        assert isinstance(caught.value.__cause__, KeyError)
        until(lambda: any(isinstance(each, OpenJob) for each in standin.heard), "the job is opened")
        (opened,) = [each.job for each in standin.heard if isinstance(each, OpenJob)]
        until(lambda: standin.job(opened).state != "running", "it is over")
        until(lambda: not standin.kept_jobs(), "nothing is kept of it")


def test_a_refused_job_says_why(standin: StandIn) -> None:
    with Client(standin.address, insecure=True) as client, pytest.raises(UsageError, match="no such strategy"):
        client.with_options(strategy="nonsense").submit_job(square, range(5))


@pytest.mark.parametrize("seed", range(4))
def test_over_a_line_that_breaks_all_of_it_is_handed_in_and_taken_up(seed: int) -> None:
    with StandIn(seed) as standin, Line(standin, seed, mean_bytes=2_500, breaks=12) as line:
        with Client(line.address, insecure=True) as client:
            job = client.submit_job(square, iter(range(2_000)))
        with Client(line.address, insecure=True) as client:
            assert list(client.attach(job)) == squares(2_000)
        assert line.broken


@pytest.mark.parametrize("wrong", [lambda client: client.submit_job(5, []), lambda client: client.submit_job(square)])
def test_what_is_no_job_is_refused_before_it_is_opened(standin: StandIn, wrong: Any) -> None:
    with Client(standin.address, insecure=True) as client, pytest.raises(UsageError, match=r"submit_job\(\) needs"):
        wrong(client)
    assert not [each for each in standin.heard if isinstance(each, OpenJob)]


def test_a_future_cannot_be_detached(standin: StandIn) -> None:
    with Client(standin.address, insecure=True) as client, pytest.raises(UsageError, match=r"use submit_job\(\)"):
        client.with_options(detached=True).submit(square, 1)


# --- taking up


@pytest.mark.parametrize("ordered", [True, False])
def test_who_takes_a_part_leaves_the_rest(standin: StandIn, ordered: bool) -> None:
    job = hand_in(standin)
    with Client(standin.address, insecure=True) as client:
        results = client.attach(job, ordered=ordered)
        first = [next(results) for _ in range(500)]
        results.close()
    standin.kill()
    with Client(standin.address, insecure=True) as client:
        rest = list(client.attach(job, ordered=ordered))
    assert set(first) | set(rest) == set(squares(1_000)), "nothing is lost"
    assert len(set(first)) == 500
    if ordered:
        assert rest == sorted(rest)
        assert rest == squares(1_000)[-len(rest) :]


def test_what_was_not_got_is_not_taken(standin: StandIn) -> None:
    job = hand_in(standin, 100)
    until(lambda: standin.job(job).state == "done", "it is done")
    with Client(standin.address, insecure=True) as client:
        results = client.attach(job)
        assert next(results) == 0
        until(lambda: standin.job(job).outbox.told > 10, "more has come than was asked for")
    assert standin.job(job).outbox.taken == 0
    with Client(standin.address, insecure=True) as client:
        assert list(client.attach(job)) == squares(100)


@pytest.mark.parametrize("seed", range(3))
def test_a_controller_that_dies_meanwhile_does_no_harm(seed: int) -> None:
    with StandIn(seed) as standin:
        job = hand_in(standin)
        with Client(standin.address, insecure=True) as client:
            results = client.attach(job)
            seen = []
            for _ in range(10):
                seen += [next(results) for _ in range(50)]
                standin.kill()
            assert seen + list(results) == squares(1_000)


def test_values_are_combined_where_they_are_taken_up(standin: StandIn) -> None:
    job = hand_in(standin, 300, reduce=operator.add)
    with Client(standin.address, insecure=True) as client:
        with pytest.raises(UsageError, match=r"give attach\(\) the same function"):
            list(client.attach(job))
        assert list(client.attach(job, reduce=operator.add)) == [2 * value for value in squares(300)]


@pytest.mark.parametrize("detail", ["closed", "cancelled"])
def test_an_iterator_that_is_closed_leaves_the_job_and_one_that_is_cancelled_ends_it(
    standin: StandIn, detail: str
) -> None:
    job = hand_in(standin, 100)
    with Client(standin.address, insecure=True) as client:
        results = client.attach(job)
        assert next(results) == 0
        if detail == "closed":
            results.close()
            assert list(client.attach(job)) == squares(100)
        else:
            results.cancel()
            until(lambda: not standin.kept_jobs(), "nothing is kept of it")
            assert any(isinstance(each, Cancel) for each in standin.heard)


def test_a_detached_map_is_taken_up_where_its_client_died(standin: StandIn) -> None:
    client = Client(standin.address, insecure=True, reconnect_timeout_s=0)
    results = client.with_options(detached=True).map(square, range(1_000))
    first = [next(results) for _ in range(100)]
    until(lambda: standin.job(results.job).total == 1_000, "all of it is there")
    standin.cut()
    with Client(standin.address, insecure=True) as other:
        rest = list(other.attach(results.job))
    assert rest == squares(1_000)[-len(rest) :]
    assert first + rest[len(rest) - 900 :] == squares(1_000)
    client.close()


def test_closing_the_client_of_a_detached_map_hands_its_input_in(standin: StandIn) -> None:
    standin.pause(True)
    with Client(standin.address, insecure=True) as client:
        results = client.with_options(detached=True).map(square, [*range(3_000)])
    standin.pause(False)
    with Client(standin.address, insecure=True) as client:
        assert list(client.attach(results.job)) == squares(3_000)


def test_the_input_of_a_job_whose_client_died_ends_where_it_was(standin: StandIn) -> None:
    gate = threading.Event()

    def items() -> Iterator[int]:
        yield 7
        gate.wait(10)
        yield 8

    client = Client(standin.address, insecure=True, reconnect_timeout_s=0)
    results = client.with_options(detached=True).map(square, items())
    assert next(results) == 49
    standin.cut()
    with Client(standin.address, insecure=True) as other:
        assert list(other.attach(results.job)) == [49]
    gate.set()
    client.close()


def test_nobody_takes_up_what_is_not_there_or_anothers(standin: StandIn) -> None:
    standin.pause(True)
    with Client(standin.address, insecure=True) as client, Client(standin.address, insecure=True) as other:
        results = client.map(square, range(5))
        until(lambda: standin.job(results.job) is not None, "the job is there")
        with pytest.raises(UsageError, match=f"job {results.job} cannot be taken up: .*another client's"):
            other.attach(results.job)
        with pytest.raises(UsageError, match="is open in this client"):
            client.attach(results.job)
        with pytest.raises(UsageError, match="job 77 cannot be taken up: the controller knows no such job"):
            client.attach(JobId(77))
        with pytest.raises(UsageError, match="takes the id of a job"):
            client.attach("77")  # type: ignore[arg-type]
        standin.pause(False)
        assert list(results) == squares(5)


def test_a_lost_link_is_told(standin: StandIn) -> None:
    client = Client(standin.address, insecure=True, reconnect_timeout_s=0)
    standin.cut()
    until(lambda: client._session.connection.lost, "it knows")
    for use in (lambda: client.attach(77), lambda: client.submit_job(square, [1])):
        with pytest.raises(ConnectionLostError, match="broke"):
            use()
    client.close()
