"""One real slot process: how it starts, how its end is told, and that no way of failing leaves anything behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from lbnet import pickling
from lbnet.pool import process as process_module
from lbnet.pool import wire
from lbnet.pool.environment import child_environment
from lbnet.pool.output import Piece
from lbnet.pool.process import SlotProcess
from lbnet.types import RunId
from tests.pool import slot_tasks
from tests.pool.driver import DEADLINE_S, JOB, batch_of, eventually, held, warm_up


class Talk:
    """What a slot process said."""

    def __init__(self, environment: dict[str, str] | None = None, *, hungry: bool = False) -> None:
        self.messages: list[Any] = []
        self.exits: list[str] = []
        self.printed: list[Piece] = []
        self._news = asyncio.Event()
        self.process = SlotProcess(
            child_environment(environment or {}), hungry, self._on_message, self._on_exit, self._on_output
        )

    def _on_message(self, process: SlotProcess, message: Any) -> None:
        assert process is self.process
        assert not self.exits, "nothing comes after the end"
        self.messages.append(message)
        self._news.set()

    def _on_exit(self, process: SlotProcess, how: str) -> None:
        assert process is self.process
        self.exits.append(how)
        self._news.set()

    def _on_output(self, process: SlotProcess, piece: Piece) -> None:
        assert process is self.process
        assert not self.exits, "nothing comes after the end"
        self.printed.append(piece)
        self._news.set()

    async def until(self, count: int = 0, exits: int = 0) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while len(self.messages) < count or len(self.exits) < exits:
                self._news.clear()
                await self._news.wait()

    async def end(self) -> str:
        """Wait until nothing of it is left; how it ended."""
        async with asyncio.timeout(DEADLINE_S):
            await self.process.closed()
        (how,) = self.exits
        return how

    def run(self, *names: str | int) -> None:
        digest, data = pickling.dump_function(slot_tasks.call_or_double)
        self.process.send(wire.Teach(JOB, digest, data))
        batch = batch_of(pickling.dump_items(names).data, digest, len(names))
        self.process.claims.issue(0, batch.lo, batch.hi)
        self.process.send(wire.Run(1, 0, batch, RunId(1), b"", False))


@pytest.fixture(autouse=True)
async def nothing_is_left() -> Any:
    await warm_up()
    before = held()
    yield
    await asyncio.sleep(0)
    assert held() == before


async def test_it_says_that_it_is_ready_and_ends_when_we_hang_up() -> None:
    talk = Talk()
    await talk.until(1)
    assert talk.messages == [wire.Ready(talk.process.pid)]
    talk.process.hang_up()
    assert (await talk.end()).startswith("exited with code 0, pid ")
    talk.process.kill()
    talk.process.hang_up()
    talk.process.send(wire.Forget(JOB))


async def test_what_is_sent_before_it_is_up_arrives() -> None:
    talk = Talk()
    talk.run(1, 2)
    await talk.until(3)
    assert [type(message) for message in talk.messages[-1:]] == [wire.Finished]
    talk.process.hang_up()
    await talk.end()


async def test_it_can_be_ended_before_it_is_connected() -> None:
    for end in ("hang_up", "kill"):
        talk = Talk()
        getattr(talk.process, end)()
        how = await talk.end()
        assert how.startswith("exited with code 0" if end == "hang_up" else "killed by SIGKILL")
        # It may have been up, and have said so, before we came to it.
        assert [type(message) for message in talk.messages] in ([], [wire.Ready])


async def test_what_it_said_before_its_end_is_heard_before_its_end() -> None:
    talk = Talk()
    await talk.until(1)
    talk.run(1, "exit_3")
    await eventually(lambda: not talk.process._unsent)
    # The event loop stands still meanwhile: everything waits in the pipe until after the end.
    deadline = time.monotonic() + DEADLINE_S
    with contextlib.suppress(psutil.NoSuchProcess):  # a thread waits for it, and may have been quicker
        status = psutil.Process(talk.process.pid)
        while status.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
    await talk.until(2, exits=1)
    assert [type(message) for message in talk.messages] == [wire.Ready, wire.Done]
    assert (await talk.end()).startswith("exited with code 3")


async def test_a_task_does_not_outlive_our_end_of_the_pipe(tmp_path: Path) -> None:
    talk = Talk()
    await talk.until(1)
    digest, data = pickling.dump_function(slot_tasks.gated)
    talk.process.send(wire.Teach(JOB, digest, data))
    began = tmp_path / "began"
    items = pickling.dump_items([(str(began), str(tmp_path / "never"))]).data
    talk.process.claims.issue(0, 0, 1)
    talk.process.send(wire.Run(1, 0, batch_of(items, digest, 1), RunId(1), b"", False))
    await eventually(began.exists)
    talk.process.hang_up()
    assert (await talk.end()).startswith("exited with code 0")


async def test_an_interpreter_that_does_not_start_is_told() -> None:
    talk = Talk({"PYTHONHOME": "/nowhere"})
    assert (await talk.end()).startswith("exited with code 1, pid ")
    assert talk.messages == []


async def test_the_peak_of_memory_is_told() -> None:
    talk = Talk()
    await talk.until(1)
    size_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + (100 << 20)
    digest, data = pickling.dump_function(slot_tasks.touch)
    talk.process.send(wire.Teach(JOB, digest, data))
    talk.process.claims.issue(0, 0, 1)
    items = pickling.dump_items([size_bytes]).data
    talk.process.send(wire.Run(1, 0, batch_of(items, digest, 1), RunId(1), b"", False))
    await talk.until(3)
    talk.process.hang_up()
    how = await talk.end()
    peak = int(how.rpartition("peak memory of the process ")[2].removesuffix(" MB").replace(",", ""))
    assert peak * 1e6 >= size_bytes


# --- when it cannot be started ----------------------------------------------------------------------


@pytest.fixture
def descriptors_left() -> Iterator[Any]:
    """Sets how many more descriptors this process may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fillers = [os.open(os.devnull, os.O_RDONLY)]
    top = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    while fillers[-1] < top:
        fillers.append(os.open(os.devnull, os.O_RDONLY))
    top = max(fillers)
    yield lambda count: resource.setrlimit(resource.RLIMIT_NOFILE, (top + 1 + count, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for filler in fillers:
        os.close(filler)


async def test_without_descriptors_it_is_an_error_that_leaves_nothing(descriptors_left: Any) -> None:
    refused = 0
    started = []
    for count in range(12):
        before = held()
        descriptors_left(count)
        try:
            started.append(Talk())
        except OSError:
            refused += 1
            descriptors_left(50)
            assert held() == before
        descriptors_left(50)
        for talk in started:
            talk.process.hang_up()
            await talk.end()
        if started:
            break
    assert refused > 5
    assert started


async def test_without_threads_it_is_an_error_that_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(OSError, match="can't start new thread"):
            Talk()


async def test_without_an_interpreter_it_is_an_error_that_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(FileNotFoundError):
        Talk()


# --- words ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0, "exited with code 0"),
        (3, "exited with code 3"),
        (-signal.SIGSEGV, "killed by SIGSEGV (signal 11)"),
        (-signal.SIGKILL, "killed by SIGKILL (signal 9; the system does that when memory runs out)"),
        (-40, "killed by a signal (signal 40)"),
    ],
)
def test_the_end_is_told_in_words(code: int, text: str) -> None:
    assert process_module._how(code) == text
