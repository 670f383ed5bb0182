"""The watch notices processes that end by themselves, hang, leave others behind, or write a traceback."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench.chaos import watch
from bench.chaos.checker import ViolationError
from bench.chaos.cluster import Cluster, Member
from bench.chaos.processes import Role, environment
from bench.chaos.watch import Watch

ROOT = Path(__file__).parents[2]
SAY = "import sys; sys.stderr.write(sys.argv[1]); sys.stderr.flush(); sys.exit(int(sys.argv[2]))"
STAY = "import signal; signal.pause()"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Any]:
    members: list[Member] = []

    def make(*arguments: str) -> tuple[Watch, Member, Any]:
        role = Role("worker0", lambda _: [sys.executable, "-c", *arguments], tmp_path / "err", environment(ROOT))
        member = Member(role, "worker0")
        role.start()
        member.up = True
        members.append(member)
        cluster = SimpleNamespace(
            members=[member], workers=[member], clients=[], dead=[], told=lambda _: "last words", restart=Role.start
        )
        return Watch(cast(Cluster, cluster)), member, cluster

    yield make
    for member in members:
        member.role.resume()
        member.role.signal(signal.SIGKILL)
        member.role.wait(10)


def until(condition: Any) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_process_that_runs_is_fine(made: Any) -> None:
    watching, _, _ = made(STAY)
    watching.look()


def test_an_end_that_nobody_asked_for(made: Any) -> None:
    watching, member, _ = made(SAY, "", "3")
    member.role.wait(30)
    with pytest.raises(ViolationError, match="ended by itself: worker0, with code 3; its last words: last words"):
        watching.look()


def test_who_may_have_been_taken_for_dead_may_end_and_is_started_again(made: Any) -> None:
    watching, member, cluster = made(SAY, "", "1")
    member.role.wait(30)
    member.excused_s = time.monotonic() + 1000
    again: list[Member] = []
    cluster.restart = again.append
    watching.look()
    assert again == [member]
    assert watching.own_ends == {"worker": 1}


def test_a_traceback(made: Any) -> None:
    watching, member, _ = made(SAY, "lbnet WARNING x\nTraceback (most recent call last)\n  KeyError", "0")
    member.role.wait(30)
    with pytest.raises(ViolationError, match="traceback: worker0 has written\n.*\n.*\n  KeyError"):
        watching.look()


def test_who_is_told_to_end_and_does_not(made: Any) -> None:
    watching, member, _ = made(DEAF)
    until(lambda: b"deaf" in member.role.errors.read_bytes())
    member.up, member.leaving_s = False, time.monotonic()
    member.role.signal(signal.SIGTERM)
    watching.look()
    member.leaving_s = time.monotonic() - watch.LEAVE_LIMIT_S - 1
    with pytest.raises(ViolationError, match="hangs: worker0"):
        watching.look()


def test_who_is_told_to_end_and_ends_badly(made: Any) -> None:
    watching, member, _ = made(SAY, "", "1")
    member.up, member.leaving_s = False, time.monotonic()
    member.role.wait(30)
    with pytest.raises(ViolationError, match="bad end: worker0 .* code 1"):
        watching.look()


def test_what_outlives_its_worker(made: Any) -> None:
    watching, member, cluster = made(STAY)
    now = time.monotonic()
    cluster.dead.append((now, member.role.family()))
    watching.look()
    cluster.dead[:] = [(now - watch.ORPHAN_LIMIT_S - 1, member.role.family())]
    with pytest.raises(ViolationError, match="left behind: processes"):
        watching.look()
    member.role.signal(signal.SIGKILL)
    member.role.wait(30)
    member.up = False
    watching.look()
    assert cluster.dead == []


def test_a_stopped_process_goes_on(made: Any) -> None:
    _, member, _ = made(STAY)
    (process,) = member.role.family()
    assert member.role.stop([process])
    until(lambda: process.status() == "stopped")
    member.role.resume()
    until(lambda: process.status() != "stopped")
