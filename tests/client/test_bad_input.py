"""What users do wrong, and what goes wrong around them: one clear error where they look, and all the rest delivers."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import psutil
import pytest

from lbnet import Client, LocalCluster, limits
from lbnet.errors import (
    ConnectError,
    ConnectionLostError,
    ExceptionSerializeError,
    FunctionSerializeError,
    InputError,
    ItemSerializeError,
    LbnetError,
    NoWorkersError,
    ResultSerializeError,
    UsageError,
)
from tests.client.scripted import until

HOME = os.getpid()
"""This process: slots have another id."""


def class_of_bombs() -> type:
    """A class whose objects cannot be unpickled where they are sent to; it travels by value."""
    home = HOME

    def explode(here: bool) -> str:
        import os

        if (os.getpid() == home) is here:
            raise OSError("boom")
        return "a bomb that did not explode"

    class Bomb:
        def __init__(self, here: bool) -> None:
            self.here = here

        def __reduce__(self) -> tuple[Any, ...]:
            return explode, (self.here,)

    return Bomb


Bomb = class_of_bombs()


def outcomes(results: Iterator[Any]) -> list[Any]:
    seen: list[Any] = []
    while True:
        try:
            seen.append(next(results))
        except StopIteration:
            return seen
        except Exception as error:
            seen.append(error)


def make_bad_result() -> Callable[[int], Any]:
    def bad_result(x: int) -> Any:
        import threading

        return threading.Lock() if x == 2 else x

    return bad_result


def make_bomb_here() -> Callable[[int], Any]:
    bomb = Bomb

    def bomb_here(x: int) -> Any:
        return bomb(True) if x == 2 else x

    return bomb_here


def make_bad_exception(*, pickles: bool) -> Callable[[int], Any]:
    class Unpicklable(Exception):
        def __init__(self, a: int, b: int) -> None:
            super().__init__("sad")
            if not pickles:
                import threading

                self.lock = threading.Lock()

    def bad_exception(x: int) -> int:
        if x == 2:
            raise Unpicklable(1, 2)
        return x

    return bad_exception


def make_exception_that_explodes_here() -> Callable[[int], Any]:
    home = HOME

    def rebuild() -> Exception:
        import os

        if os.getpid() == home:
            raise OSError("boom")
        return Sad()

    class Sad(Exception):
        def __str__(self) -> str:
            return "sad"

        def __reduce__(self) -> Any:
            return rebuild, ()

    def fail(x: int) -> int:
        if x == 2:
            raise Sad
        return x

    return fail


@pytest.mark.parametrize(
    ("fn", "items", "error", "text"),
    [
        (str, [0, 1, threading.Lock(), 3], ItemSerializeError, "an argument of type lock cannot be pickled"),
        (str, [0, 1, Bomb(False), 3], ItemSerializeError, "an argument cannot be unpickled here: OSError: boom"),
        (make_bad_result(), range(4), ResultSerializeError, "a result of type lock cannot be pickled"),
        (make_bomb_here(), range(4), ResultSerializeError, "a result cannot be unpickled here: OSError: boom"),
        (make_bad_exception(pickles=False), range(4), ExceptionSerializeError, "Unpicklable: sad"),
        (make_bad_exception(pickles=True), range(4), ExceptionSerializeError, "Unpicklable: sad"),
        (make_exception_that_explodes_here(), range(4), ExceptionSerializeError, "Sad: sad.*OSError: boom"),
    ],
)
@pytest.mark.parametrize("ordered", [True, False])
def test_one_bad_item_is_named_and_all_others_deliver(
    client: Client, fn: Callable[..., Any], items: Any, error: type[LbnetError], text: str, ordered: bool
) -> None:
    seen = outcomes(client.map(fn, items, ordered=ordered))
    bad = [each for each in seen if isinstance(each, BaseException)]
    assert sorted(str(each) for each in seen if each not in bad) == ["0", "1", "3"]
    assert [type(each) for each in bad] == [error]
    with pytest.raises(error, match=text):
        raise bad[0]
    assert "item 2 of the map" in bad[0].__notes__
    values = list(client.map(fn, items, return_exceptions=True))
    assert type(values[2]) is error
    call: Future[Any] = client.submit(fn, list(items)[2])
    assert type(call.exception(10)) is error


def make_bad_function() -> Callable[[int], int]:
    lock = threading.Lock()
    return lambda x: x if lock else 0


def make_function_of_a_missing_module() -> Callable[[Any], Any]:
    bomb = Bomb(False)
    return lambda x: (x, bomb)


def test_a_function_that_cannot_be_pickled_is_refused_where_it_is_given(client: Client) -> None:
    bad = make_bad_function()
    for call in (lambda: client.map(bad, [1]), lambda: client.map(max, [1], reduce=bad)):
        with pytest.raises(FunctionSerializeError, match=r"the function .*make_bad_function.* cannot be pickled"):
            call()
    with pytest.raises(FunctionSerializeError, match="cannot be pickled"):
        client.submit(bad, 1).result(10)


def test_a_function_that_cannot_be_unpickled_there_fails_every_item(client: Client) -> None:
    bad = make_function_of_a_missing_module()
    seen = outcomes(client.map(bad, range(3)))
    assert [type(each) for each in seen] == [FunctionSerializeError] * 3
    assert "boom" in str(seen[0])
    assert [each.__notes__[-1] for each in seen] == [f"item {index} of the map" for index in range(3)]
    with pytest.raises(FunctionSerializeError, match="boom"):
        client.submit(bad, 1).result(10)


def test_a_generator_that_raises_midway_delivers_what_it_gave(client: Client) -> None:
    def generator() -> Iterator[int]:
        yield from range(100)
        raise OSError("the file has gone")

    seen = outcomes(client.map(abs, generator()))
    assert seen[:-1] == list(range(100))
    assert isinstance(seen[-1], InputError)
    assert isinstance(seen[-1].__cause__, OSError)
    assert str(seen[-1]) == "the iterable of items raised OSError after 100 items: the file has gone"


class Reluctant:
    def __iter__(self) -> Iterator[int]:
        raise TypeError("not today")


@pytest.mark.parametrize(
    ("use", "text"),
    [
        (lambda client: client.map(abs, 5), "iterable 1 of map.. is a int and cannot be iterated over"),
        (lambda client: client.map(pow, [1], None), "iterable 2 of map.. is a NoneType"),
        (lambda client: client.map(abs, Reluctant()), "iterable 1 of map.. is a Reluctant.*not today"),
        (lambda client: client.map(abs), "at least one iterable"),
        (lambda client: client.map(5, [1]), "map.. needs a function, not a int"),
        (lambda client: client.map(None, [1]), "map.. needs a function, not a NoneType"),
        (lambda client: client.submit("abs", 1), "submit.. needs a function, not a str"),
        (lambda client: client.map(abs, [1], reduce="sum"), "reduce must be a function, not a str"),
        (lambda client: client.with_options(retry=3), "there is no option retry"),
        (lambda client: client.with_options(crash_limit=0), "crash_limit must be"),
        (lambda client: client.report("job"), "report.. takes what map"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_is_said(
    client: Client, use: Callable[[Client], object], text: str
) -> None:
    with pytest.raises(UsageError, match=text):
        use(client)


@pytest.mark.parametrize("strategy", ["telepathy", "lbnet.strategies.rp:RandomPolling", "os:getpid"])
def test_a_strategy_that_there_is_not_is_refused_with_those_that_there_are_and_the_client_goes_on(
    client: Client, strategy: str
) -> None:
    view = client.with_options(strategy=strategy)
    known = f"no strategy '{strategy}'; there are: arr, grr, lifeline, pmap, rp, sb, shared"
    with pytest.raises(UsageError, match=known):
        next(view.map(abs, range(100_000)))
    for _ in range(2):
        with pytest.raises(UsageError, match=known):
            view.submit(abs, 1).result(10)
    assert client.with_options(strategy="sb").submit(abs, -1).result(10) == 1


@pytest.mark.parametrize("address", ["", "host:port", "host:0", "host:99999", "a b:1", ":1", "[::1:5", "http://h:1"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="is not an address: write HOST:PORT"):
        Client(address)


@pytest.mark.parametrize("address", [7077, b"h:1", ("h", 1)])
def test_an_address_is_a_text(address: Any) -> None:
    with pytest.raises(UsageError, match="an address is a text"):
        Client(address)


def test_a_name_is_a_text(cluster: LocalCluster) -> None:
    with pytest.raises(UsageError, match="name must be a text"):
        Client(cluster.address, name=5)  # type: ignore[arg-type]


def test_a_client_may_have_any_name(cluster: LocalCluster) -> None:
    with Client(cluster.address, name="größe \ud800 \n" * 100) as client:
        assert client.submit(abs, -1).result(10) == 1


def test_nothing_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        address = f"127.0.0.1:{sock.getsockname()[1]}"
    with pytest.raises(ConnectError, match=f"nothing answers at {address}"):
        Client(address)


def test_something_else_answers() -> None:
    silent = "is not an lbnet controller: it accepted the connection and said nothing"
    with socket.create_server(("127.0.0.1", 0)) as sock:
        address = f"127.0.0.1:{sock.getsockname()[1]}"
        with pytest.raises(ConnectError, match=silent):
            Client(address, timeout_s=0.05, insecure=True)
        with pytest.raises(ConnectError, match=f"{address} did not answer within 0.05 s"):
            Client(address, timeout_s=0.05)


# --- something dies


def wait_for_ever(trace: Path) -> Callable[[int], int]:
    def wait(x: int) -> int:
        import time

        (trace / f"{x}").touch()
        while x:
            time.sleep(0.01)
        return x

    return wait


def test_a_controller_that_dies_is_an_error_soon_and_no_hang(tmp_path: Path) -> None:
    with LocalCluster(workers=1, slots=1) as cluster, cluster.client() as client:
        results = client.map(wait_for_ever(tmp_path), range(5))
        endless = client.map(abs, iter(int, 1))
        futures = [client.submit(wait_for_ever(tmp_path), 6) for _ in range(3)]
        assert next(results) == 0
        os.kill(cluster.pids[0], signal.SIGKILL)
        for wait in (lambda: next(results), lambda: list(endless), lambda: futures[2].result(10), client.status):
            with pytest.raises(ConnectionLostError, match=f"the link to the controller at {cluster.address} broke"):
                wait()
        assert list(results) == []
        assert all(isinstance(future.exception(10), ConnectionLostError) for future in futures)
        for use in (lambda: client.submit(abs, 1), lambda: client.map(abs, [1])):
            with pytest.raises(ConnectionLostError):
                use()


def test_a_cluster_that_is_closed_says_so(tmp_path: Path) -> None:
    cluster = LocalCluster(workers=1, slots=1)
    client = cluster.client()
    future = client.submit(wait_for_ever(tmp_path), 1)
    cluster.close()
    with pytest.raises(ConnectionLostError, match="has gone: the controller was stopped"):
        future.result(10)
    client.close()


def test_when_one_of_two_workers_is_killed_all_results_still_come() -> None:
    with LocalCluster(workers=2, slots=1) as cluster, cluster.client() as client:
        client.wait_for_workers(2)

        def nap(x: int) -> int:
            time.sleep(0.003)
            return x

        results = client.map(nap, range(200))
        seen = [next(results) for _ in range(30)]
        os.kill(cluster.pids[1], signal.SIGKILL)
        assert seen + list(results) == list(range(200))
        until(lambda: client.report(results).state == "done", "the job ends")
        report = client.report(results)
        assert report.balanced
        assert report.done == 200


def test_when_the_only_worker_is_killed_its_jobs_fail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(limits, "NO_WORKERS_TIMEOUT_S", 0.1)
    with LocalCluster(workers=1, slots=1) as cluster, cluster.client() as client:
        results = client.map(wait_for_ever(tmp_path), range(5))
        endless = client.map(wait_for_ever(tmp_path), iter(lambda: 7, 8))
        future = client.submit(wait_for_ever(tmp_path), 6)
        assert next(results) == 0
        slots = psutil.Process(cluster.pids[1]).children()
        os.kill(cluster.pids[1], signal.SIGKILL)
        seen = outcomes(results)
        assert [type(each) for each in seen] == [NoWorkersError] * 4
        assert [each.__notes__[-1] for each in seen] == [f"item {index} of the map" for index in range(1, 5)]
        assert isinstance(future.exception(10), NoWorkersError)
        unfinished = outcomes(endless)
        assert {type(each) for each in unfinished} == {NoWorkersError}
        assert "before all of its items were sent" in str(unfinished[-1])
        until(lambda: not any(slot.is_running() for slot in slots), "the slots end with their worker")
