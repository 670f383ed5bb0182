"""Who uses more memory than a slot may."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from lbnet import limits
from lbnet.pool.memory_watch import MemoryWatch


@pytest.fixture
def group() -> Iterator[subprocess.Popen[bytes]]:
    """A process with 60 MB that it shares with a fork, which has 60 MB more."""
    code = (
        "import os, time; a = os.urandom(60_000_000); r, w = os.pipe(); pid = os.fork()\n"
        "if pid == 0: b = os.urandom(60_000_000); os.write(w, b'.')\n"
        "else: os.read(r, 1); print('up', flush=True)\n"
        "time.sleep(100)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        os.killpg(process.pid, 9)


def test_a_group_uses_what_all_of_it_uses_and_what_it_shares_once(group: subprocess.Popen[bytes]) -> None:
    def over(limit_bytes: int) -> list[tuple[int, int]]:
        return MemoryWatch(limit_bytes, lambda: [group.pid, 1 << 22], lambda *_: None).look()

    ((pid, used),) = over(80_000_000)
    assert pid == group.pid
    assert 120_000_000 <= used < 180_000_000  # 180 MB and more, if what is shared counted twice
    assert over(175_000_000) == []


def test_the_watch_tells_until_it_is_stopped(group: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MEMORY_LOOK_S", 0.001)
    told = threading.Event()
    watch = MemoryWatch(1, lambda: [group.pid], lambda pid, used: told.set() if pid == group.pid and used else None)
    watch.start()
    assert told.wait(30)
    watch.stop()
    assert not watch._thread.is_alive()
    told.clear()
    assert not told.is_set()


def test_a_watch_that_never_started_can_be_stopped() -> None:
    MemoryWatch(1, list, lambda *_: None).stop()
