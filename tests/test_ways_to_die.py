"""Every way for a task to die, on a real cluster: its own clear error, and nothing happens to its neighbours.

Slots cannot import this file, so the tasks are functions that travel by value: each test makes its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from lbnet import Client, LocalCluster
from lbnet.errors import (
    ExceptionSerializeError,
    ResultSerializeError,
    TaskCrashedError,
    TaskError,
    TaskTimeoutError,
)
from tests.client.scripted import until

ITEMS = range(12)
BAD = 5
MEMORY_LIMIT = "300MB"
HOME = os.getpid()


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(workers=2, slots=1, memory_limit=MEMORY_LIMIT) as cluster:
        with cluster.client() as client:
            client.wait_for_workers(2)
        yield cluster


@pytest.fixture(scope="module")
def client(cluster: LocalCluster) -> Iterator[Client]:
    with cluster.client() as client:
        yield client.with_options(crash_limit=2)


def dies(how: Callable[[], Any]) -> Callable[[int], Any]:
    """A function that doubles, except for one item."""
    bad = BAD
    return lambda item: how() if item == bad else 2 * item


# --- the ways


def leave(code: int) -> Callable[[], Any]:
    def leave() -> None:
        import os

        print("these are my last words", flush=True)
        os._exit(code)

    return leave


def segfault() -> Callable[[], Any]:
    def segfault() -> None:
        import ctypes

        ctypes.string_at(0)

    return segfault


def kill_self() -> Callable[[], Any]:
    def kill_self() -> None:
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)

    return kill_self


def eat_memory() -> Callable[[], Any]:
    def eat_memory() -> None:
        import time

        eaten = []
        while True:
            eaten.append(bytearray(20_000_000))
            time.sleep(0.02)

    return eat_memory


def eat_memory_in_children() -> Callable[[], Any]:
    def eat_memory_in_children() -> None:
        import subprocess
        import sys
        import time

        for _ in range(4):
            subprocess.Popen([sys.executable, "-c", "import time; a = bytearray(100_000_000); time.sleep(100)"])
        time.sleep(100)

    return eat_memory_in_children


def close_descriptors(last: int) -> Callable[[], Any]:
    def close_descriptors() -> str:
        import os

        os.closerange(0, last)
        return "closed"

    return close_descriptors


def system_exit() -> Callable[[], Any]:
    def system_exit() -> None:
        import sys

        sys.exit(4)

    return system_exit


def interrupt() -> Callable[[], Any]:
    def interrupt() -> None:
        raise KeyboardInterrupt

    return interrupt


def return_unpicklable() -> Callable[[], Any]:
    def return_unpicklable() -> Any:
        import threading

        return threading.Lock()

    return return_unpicklable


def class_that(act: str) -> type:
    """Its objects run code where they are unpickled, if that is this process."""
    home = HOME

    def rebuild() -> Any:
        import os
        import sys

        if os.getpid() == home:
            if act == "exits":
                sys.exit(3)
            raise OSError("boom")
        return "in a slot"

    class Bomb:
        def __reduce__(self) -> Any:
            return rebuild, ()

    return Bomb


def return_bomb(act: str) -> Callable[[], Any]:
    return class_that(act)


def raise_exception_that_cannot_be_unpickled() -> Callable[[], Any]:
    def fail() -> None:
        class TwoArgumentsError(Exception):
            def __init__(self, a: int, b: int) -> None:
                super().__init__("sad")

        raise TwoArgumentsError(1, 2)

    return fail


@dataclass(frozen=True)
class Way:
    """A way to die, and what is told of it."""

    name: str
    how: Callable[[], Any]
    error: type[BaseException]
    texts: tuple[str, ...]
    cause: type[BaseException] | None = None


CRASH = ("attempt 2 of 2", "peak memory of the process ")
WAYS = [
    Way("exit 0", leave(0), TaskCrashedError, ("exited with code 0", "these are my last words", *CRASH)),
    Way("exit 1", leave(1), TaskCrashedError, ("exited with code 1", "these are my last words", *CRASH)),
    Way(
        "segfault",
        segfault(),
        TaskCrashedError,
        ("killed by SIGSEGV (signal 11)", "in string_at", "in segfault", *CRASH),
    ),
    Way("kill itself", kill_self(), TaskCrashedError, ("killed by SIGKILL (signal 9;", *CRASH)),
    Way("out of memory", eat_memory(), TaskCrashedError, ("used 3", "MB, over its memory limit of 300 MB", *CRASH)),
    Way("children", eat_memory_in_children(), TaskCrashedError, ("over its memory limit of 300 MB", *CRASH)),
    Way("close everything", close_descriptors(256), TaskCrashedError, ("exited with code 1", *CRASH)),
    Way("sys.exit", system_exit(), TaskError, ("SystemExit: 4",), SystemExit),
    Way("interrupt", interrupt(), TaskError, ("KeyboardInterrupt",), KeyboardInterrupt),
    Way("unpicklable result", return_unpicklable(), ResultSerializeError, ("a result of type lock cannot be pickled",)),
    Way("result exits", return_bomb("exits"), ResultSerializeError, ("cannot be unpickled here: SystemExit: 3",)),
    Way("result raises", return_bomb("raises"), ResultSerializeError, ("cannot be unpickled here: OSError: boom",)),
    Way(
        "exception that cannot be unpickled",
        raise_exception_that_cannot_be_unpickled(),
        ExceptionSerializeError,
        ("TwoArgumentsError: sad",),
    ),
]


def check(values: list[Any], error: type[BaseException], texts: tuple[str, ...]) -> BaseException:
    """One item has failed, with this error; all others are as ever."""
    bad = values[BAD]
    assert type(bad) is error, repr(bad)
    assert [text for text in texts if text not in str(bad)] == [], str(bad)
    assert values[:BAD] + values[BAD + 1 :] == [2 * item for item in ITEMS if item != BAD]
    assert f"item {BAD} of the map" in bad.__notes__
    return bad  # type: ignore[no-any-return]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_a_task_that_dies_has_its_error_and_its_neighbours_have_their_values(client: Client, way: Way) -> None:
    bad = check(list(client.map(dies(way.how), ITEMS, return_exceptions=True)), way.error, way.texts)
    assert way.cause is None or type(bad.__cause__) is way.cause
    if way.error is TaskCrashedError:
        (where,) = (note for note in bad.__notes__ if note.startswith("raised on "))
        assert all(word in where for word in ("worker local-", "host ", "pid "))
    assert list(client.map(lambda x: x + 1, range(100))) == list(range(1, 101))


def make_stubborn() -> Callable[[], Any]:
    def stubborn() -> None:
        import signal

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            pass

    return stubborn


def test_an_endless_loop_that_ignores_sigterm_is_over_its_time_all_the_same(client: Client) -> None:
    timed = client.with_options(task_timeout_s=0.5)
    values = list(timed.map(dies(make_stubborn()), ITEMS, return_exceptions=True))
    check(values, TaskTimeoutError, ("longer than its limit of 0.5 s: killed by SIGKILL (signal 9)", "attempt 1 of 1"))


def test_a_task_over_its_time_may_leave_its_files_in_order(client: Client, tmp_path: Path) -> None:
    path = str(tmp_path / "in order")

    def tidy() -> None:
        from pathlib import Path

        try:
            while True:
                pass
        finally:
            Path(path).touch()

    timed = client.with_options(task_timeout_s=0.5)
    values = list(timed.map(dies(tidy), ITEMS, return_exceptions=True))
    check(values, TaskTimeoutError, ("longer than its limit of 0.5 s: killed by SIGTERM",))
    assert (tmp_path / "in order").exists()


def test_children_that_outlive_their_task_end_with_its_slot(client: Client, tmp_path: Path) -> None:
    path = str(tmp_path / "pids")

    def fork() -> None:
        import os
        import signal
        import time
        from pathlib import Path

        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(100)
        with Path(path).open("a") as file:
            file.write(f"{pid}\n")
        os._exit(0)

    values = list(client.map(dies(fork), ITEMS, return_exceptions=True))
    check(values, TaskCrashedError, ("exited with code 0",))
    pids = [int(line) for line in (tmp_path / "pids").read_text().split()]
    assert len(pids) >= 2
    until(lambda: not any(map(is_alive, pids)), "the children end")


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_task_that_prints_a_gigabyte_holds_up_nobody(client: Client, cluster: LocalCluster) -> None:
    def print_much() -> str:
        import os
        import sys

        block = "x" * 999_999 + "\n"
        for _ in range(500):
            print(block, end="")
        sys.stdout.flush()
        raw = block.encode()
        for _ in range(500):
            os.write(2, raw)
        return "printed"

    before = [psutil.Process(pid).memory_info().rss for pid in cluster.pids]
    values = list(client.map(dies(print_much), ITEMS))
    assert values == ["printed" if item == BAD else 2 * item for item in ITEMS]
    after = [psutil.Process(pid).memory_info().rss for pid in cluster.pids]
    assert all(now - then < 100e6 for then, now in zip(before, after, strict=True))


def test_a_task_that_closes_the_standard_descriptors_harms_nobody(client: Client) -> None:
    values = list(client.map(dies(close_descriptors(3)), ITEMS))
    assert values == ["closed" if item == BAD else 2 * item for item in ITEMS]
    assert list(client.map(lambda x: x + 1, range(100))) == list(range(1, 101))


def test_a_task_is_tried_again_after_what_is_worth_it_and_only_then(client: Client, tmp_path: Path) -> None:
    path = str(tmp_path)

    def flaky(item: int) -> int:
        import itertools
        from pathlib import Path

        for tries in itertools.count(1):
            try:
                (Path(path) / f"{item} {tries}").touch(exist_ok=False)
            except FileExistsError:
                continue
            break
        if tries < 3:
            raise ConnectionResetError("busy") if item % 2 else ValueError("wrong")
        return tries

    patient = client.with_options(retries=2, retry_delay_s=0.05, retry_on=(ConnectionError,))
    values = list(patient.map(flaky, range(6), return_exceptions=True))
    assert values[1::2] == [3, 3, 3]
    assert [type(value) for value in values[::2]] == [ValueError] * 3
    assert sorted(file.name for file in tmp_path.glob("[024] *")) == ["0 1", "2 1", "4 1"]


def test_a_running_task_of_a_job_that_nobody_wants_any_more_makes_room(client: Client, tmp_path: Path) -> None:
    path = str(tmp_path / "began")

    def endless(item: int) -> None:
        from pathlib import Path

        Path(f"{path} {item}").touch()
        while True:
            pass

    results = client.map(endless, range(2))
    until(lambda: len(list(tmp_path.iterdir())) == 2, "both slots are busy")
    results.close()
    assert client.submit(abs, -1).result(30) == 1
