"""How running tasks are ended: asked first, then killed; and who is named for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from lbnet import limits
from lbnet.core import effects, events
from lbnet.types import JobId, SlotId
from tests.pool import slot_tasks
from tests.pool.driver import JOB, Driver, eventually, is_gone, pool_of

SLOT = SlotId(0)


class Stay:
    """The item of such a task."""

    def __init__(self, folder: Path, *, ignores: bool = False) -> None:
        self.began, self.left = folder / "began", folder / "left"
        self.item = (str(self.began), ignores, str(self.left))


async def death_of(driver: Driver) -> events.SlotDied:
    await driver.ready(2)
    (death,) = driver.of(events.SlotDied)
    return death


async def test_a_task_over_its_time_is_asked_first(tmp_path: Path) -> None:
    stay = Stay(tmp_path)
    async with pool_of(1) as driver:
        ticket = driver.run(slot_tasks.stay_or_double, [1, stay.item, 3], timeout_s=0.05)
        death = await death_of(driver)
    assert (death.ticket, death.index, death.timed_out) == (ticket, 1, True)
    assert "longer than its limit of 0.05 s: killed by SIGTERM (signal 15), pid " in death.description
    assert death.where.startswith("host ")
    assert stay.left.exists()


async def test_a_task_that_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TERMINATE_GRACE_S", 0.05)
    stay = Stay(tmp_path, ignores=True)
    async with pool_of(1) as driver:
        ticket = driver.run(slot_tasks.stay_or_double, [1, stay.item, 3], timeout_s=0.05)
        death = await death_of(driver)
    assert (death.ticket, death.index, death.timed_out) == (ticket, 1, True)
    assert "longer than its limit of 0.05 s: killed by SIGKILL (signal 9), pid " in death.description
    assert not stay.left.exists()


async def test_a_task_that_takes_the_signal_for_an_error_goes_no_further(tmp_path: Path) -> None:
    def swallow(item: Any) -> Any:
        import time

        try:
            time.sleep(100)
        except BaseException as error:
            raise ValueError("stopped") from error

    async with pool_of(1) as driver:
        ticket = driver.run(swallow, [1, 2], timeout_s=0.05)
        death = await death_of(driver)
        assert (death.ticket, death.index, death.timed_out) == (ticket, 0, True)
        assert driver.failures(ticket) == {}


async def test_a_signal_that_the_worker_did_not_send_ends_nothing(tmp_path: Path) -> None:
    async with pool_of(1) as driver:
        began, gate = tmp_path / "began", tmp_path / "gate"
        ticket = driver.run(slot_tasks.gated, [(str(began), str(gate)), 2])
        await eventually(began.exists)
        os.killpg(driver.pool.pids[0], 15)
        gate.touch()
        assert await driver.finished(ticket) == 2


# --- cancelled


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CANCEL_GRACE_S", 0.02)
    monkeypatch.setattr(limits, "TERMINATE_GRACE_S", 0.05)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("ignores", [False, True])
async def test_a_cancelled_task_that_goes_on_is_ended_and_nobody_is_named(tmp_path: Path, ignores: bool) -> None:
    stay = Stay(tmp_path, ignores=ignores)
    async with pool_of(1) as driver:
        ticket = driver.run(slot_tasks.stay_or_double, [1, stay.item, 3])
        await eventually(stay.began.exists)
        driver.execute(effects.Cancel(SLOT, ticket, 1, 2))
        death = await death_of(driver)
    assert (death.ticket, death.index, death.timed_out) == (-1, -1, False)
    assert death.description.startswith("ended because its task was cancelled: killed by SIG")
    assert stay.left.exists() is not ignores


@pytest.mark.usefixtures("soon")
async def test_a_cancelled_task_that_begins_later_is_ended_then(tmp_path: Path) -> None:
    stay = Stay(tmp_path)
    async with pool_of(1) as driver:
        driver.run(slot_tasks.nap, [0.1])
        behind = driver.run(slot_tasks.stay_or_double, [stay.item])
        driver.execute(effects.Cancel(SLOT, behind, 0, 1))
        death = await death_of(driver)
        assert death.description.startswith("ended because its task was cancelled")
        assert stay.began.exists()


@pytest.mark.usefixtures("soon")
async def test_other_tasks_of_its_ticket_go_on() -> None:
    async with pool_of(1) as driver:
        ticket = driver.run(slot_tasks.nap, [0.1, 0.1, 0.1])
        driver.execute(effects.Cancel(SLOT, ticket, 5, 9))
        driver.execute(effects.Cancel(SlotId(0), 77, 0, 9))
        assert await driver.finished(ticket) == 3
        assert driver.of(events.SlotDied) == []
        await eventually(lambda: not driver.pool._cancel_timers)


@pytest.mark.usefixtures("soon")
async def test_what_runs_of_a_job_that_has_ended_makes_room(tmp_path: Path) -> None:
    stay = Stay(tmp_path)
    async with pool_of(1) as driver:
        driver.run(slot_tasks.stay_or_double, [stay.item])
        await eventually(stay.began.exists)
        driver.execute(effects.Forget(JobId(99)))
        assert driver.pool._cancel_timers == {}
        driver.execute(effects.Forget(JOB))
        death = await death_of(driver)
        assert (death.ticket, death.index) == (-1, -1)


async def test_a_pool_can_be_stopped_while_it_waits_for_cancelled_tasks(tmp_path: Path) -> None:
    stay = Stay(tmp_path, ignores=True)
    async with pool_of(1) as driver:
        ticket = driver.run(slot_tasks.stay_or_double, [stay.item])
        await eventually(stay.began.exists)
        driver.execute(effects.Cancel(SLOT, ticket, 0, 1))
    assert driver.pool._cancel_timers == {}


# --- memory


async def test_a_slot_over_its_memory_limit_is_ended_and_its_task_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MEMORY_LOOK_S", 0.01)

    def hold(size: int) -> int:
        import os
        import time

        held = os.urandom(size)
        time.sleep(100 if size > 1_000_000 else 0)
        return len(held)

    async with pool_of(1, memory_limit_bytes=150_000_000) as driver:
        ticket = driver.run(hold, [1_000, 200_000_000, 1_000])
        death = await death_of(driver)
        assert (death.ticket, death.index, death.timed_out) == (ticket, 1, False)
        assert death.description.startswith("used ")
        assert " MB, over its memory limit of 150 MB: killed by SIGKILL (signal 9), pid " in death.description
        driver.forget_taught()
        again = driver.run(hold, [1_000])
        assert await driver.finished(again) == 1


async def test_children_count_and_end_with_the_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MEMORY_LOOK_S", 0.01)
    note = tmp_path / "pid"

    def hold_in_a_child(path: str) -> None:
        import subprocess
        import sys
        import time
        from pathlib import Path

        child = subprocess.Popen(
            [sys.executable, "-c", "import os, time; a = os.urandom(200_000_000); time.sleep(100)"]
        )
        Path(path).write_text(str(child.pid))
        time.sleep(100)

    async with pool_of(1, memory_limit_bytes=150_000_000) as driver:
        driver.run(hold_in_a_child, [str(note)])
        death = await death_of(driver)
        assert "over its memory limit of 150 MB" in death.description
        try:
            child = psutil.Process(int(note.read_text()))
        except psutil.NoSuchProcess:
            return
        await eventually(lambda: is_gone(child))


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="only Linux has it")
async def test_the_system_ends_slots_before_their_worker() -> None:
    async with pool_of(1) as driver:
        assert oom_score(driver.pool.pids[0]) == min(oom_score(os.getpid()) + limits.SLOT_OOM_SCORE, 1000)


def oom_score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())
