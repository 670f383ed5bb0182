"""The pool: real slot processes on a real event loop, and its bookkeeping alone, on a clock that the test moves."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import uvloop

from lbnet import limits, pickling
from lbnet.core import effects, events
from lbnet.pool import parent, wire
from lbnet.pool.claims import Claims
from lbnet.pool.cores import THREAD_VARIABLES, thread_variables
from lbnet.pool.output import Piece
from lbnet.pool.parent import Pool
from lbnet.types import COMBINED, ROOT, SILENT, Batch, JobId, Payload, RunId, SlotId
from tests.pool import slot_tasks
from tests.pool.driver import JOB, eventually, held, is_gone, pool_of


class Gate:
    """A task that says when it began, and ends when it is let go."""

    def __init__(self, folder: Path) -> None:
        self._began, self._open = folder / "began", folder / "open"
        self.item = (str(self._began), str(self._open))

    async def began(self) -> None:
        await eventually(self._began.exists)

    def open(self) -> None:
        self._open.touch()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


# --- running ----------------------------------------------------------------------------------------


async def test_a_slot_that_is_held_waits_with_what_it_has_to_say(gate: Gate) -> None:
    async with pool_of(1) as driver:
        ticket = driver.run(slot_tasks.gated, [gate.item])
        await gate.began()
        driver.pool.hold(True)
        gate.open()
        process = psutil.Process(driver.pool.pids[0])
        await eventually(lambda: process.status() == psutil.STATUS_SLEEPING)
        await asyncio.sleep(0.2)
        assert not driver.of(events.SlotDone)
        driver.pool.hold(False)
        assert await driver.finished(ticket) == 1


async def test_a_slot_that_is_started_while_all_are_held_is_held_too() -> None:
    async with pool_of(1) as driver:
        driver.pool.hold(True)
        os.kill(driver.pool.pids[0], signal.SIGKILL)
        await driver.until(lambda: driver.of(events.SlotDied))
        await eventually(lambda: driver.pool.pids)
        await asyncio.sleep(0.5)
        assert len(driver.of(events.SlotReady)) == 1
        driver.pool.hold(False)
        await driver.ready(2)


async def test_every_slot_gets_ready_and_runs_what_it_is_handed() -> None:
    async with pool_of(2) as driver:
        assert {(e.slot, e.pid) for e in driver.of(events.SlotReady)} == set(enumerate(driver.pool.pids))
        tickets = [driver.run(slot_tasks.double, range(100 * slot, 100 * slot + 50), slot=slot) for slot in (0, 1)]
        for slot, ticket in enumerate(tickets):
            assert await driver.finished(ticket) == 50
            assert driver.values(ticket) == {index: 2 * (100 * slot + index) for index in range(50)}
        assert {(e.slot, e.ticket) for e in driver.of(events.SlotFinished)} == set(enumerate(tickets))


def test_it_runs_on_uvloop(gate: Gate) -> None:
    async def main() -> None:
        async with pool_of(1) as driver:
            long = driver.run(slot_tasks.gated, [1, gate.item, 2])
            large = driver.run(slot_tasks.grow, [8 << 20])
            await gate.began()
            await driver.take_back(long, 2)
            gate.open()
            assert await driver.finished(long) == 2
            assert await driver.finished(large) == 1
            assert len(driver.values(large)[0]) == 8 << 20
            driver.run(slot_tasks.call_or_double, ["exit_3"])
            await driver.ready(2)

    uvloop.run(main())


async def test_two_tickets_run_one_after_the_other() -> None:
    async with pool_of(1) as driver:
        first = driver.run(slot_tasks.double, range(10))
        second = driver.run(slot_tasks.double, range(10), lo=100)
        assert await driver.finished(second) == 110
        assert [e.ticket for e in driver.of(events.SlotFinished)] == [first, second]
        assert driver.values(second) == {100 + index: 2 * index for index in range(10)}


async def test_a_function_is_taught_once_and_forgotten_with_its_job() -> None:
    async with pool_of(1) as driver:
        for _ in range(3):
            ticket = driver.run(slot_tasks.double, [4])
            await driver.finished(ticket)
            assert driver.values(ticket) == {0: 8}
        driver.execute(effects.Forget(JOB))
        ticket = driver.run(slot_tasks.double, [4])
        await driver.finished(ticket)
        assert driver.failures(ticket)[0].kind == "FunctionSerializeError"


async def test_a_new_process_knows_no_function_of_the_old_one() -> None:
    async with pool_of(1) as driver:
        await driver.finished(driver.run(slot_tasks.double, [4]))
        driver.execute(effects.Kill(SlotId(0)))
        await driver.ready(2)
        ticket = driver.run(slot_tasks.double, [4])
        await driver.finished(ticket)
        assert driver.failures(ticket)[0].kind == "FunctionSerializeError"


@pytest.mark.parametrize("size_bytes", [8 << 20])
async def test_large_payloads_pass_both_ways(size_bytes: int) -> None:
    async with pool_of(1) as driver:
        there = driver.run(slot_tasks.length, [b"x" * size_bytes, bytearray(size_bytes)])
        back = driver.run(slot_tasks.grow, [size_bytes, 1, size_bytes])
        objects = driver.run(slot_tasks.fill, [size_bytes])
        await driver.finished(there)
        assert driver.values(there) == {0: size_bytes, 1: size_bytes}
        await driver.finished(objects)
        assert driver.values(back) == {0: b"x" * size_bytes, 1: b"x", 2: b"x" * size_bytes}
        assert driver.values(objects) == {0: bytearray(size_bytes)}


async def test_functions_of_no_module_travel_by_value() -> None:
    factor = 3
    async with pool_of(1) as driver:
        ticket = driver.run(lambda item: factor * item, [1, 2])
        await driver.finished(ticket)
        assert driver.values(ticket) == {0: 3, 1: 6}


# --- while a long task runs -----------------------------------------------------------------------------


async def test_tasks_behind_a_long_one_can_be_taken_back(gate: Gate) -> None:
    async with pool_of(1) as driver:
        ticket = driver.run(slot_tasks.gated, [1, gate.item, 3, 4, 5])
        behind = driver.run(slot_tasks.double, [7, 8], lo=20)
        await gate.began()
        driver.reclaim(behind, 0)
        driver.reclaim(ticket, 0)
        await driver.until(lambda: len(driver.of(events.Reclaimed)) == 2)
        assert driver.of(events.Reclaimed)[0] == events.Reclaimed(SlotId(0), behind, 20)
        # The helper lets go of what was claimed with the long task: then all that has not begun can be had.
        await driver.take_back(ticket, 2)
        gate.open()
        assert await driver.finished(ticket) == 2
        assert await driver.finished(behind) == 20
        assert driver.values(ticket) == {0: 1, 1: -1}
        assert driver.values(behind) == {}


async def test_results_of_finished_tasks_leave_while_a_long_one_runs(gate: Gate) -> None:
    async with pool_of(1) as driver:
        ticket = driver.run(slot_tasks.gated, [*range(40), gate.item, 41])
        await driver.until(lambda: len(driver.values(ticket)) == 40)
        assert driver.values(ticket) == {index: index for index in range(40)}
        assert driver.of(events.SlotFinished) == []
        gate.open()
        assert await driver.finished(ticket) == 42
        assert driver.values(ticket)[41] == 41


async def test_a_reclaim_of_a_ticket_that_is_over_has_no_answer() -> None:
    async with pool_of(1) as driver:
        ticket = driver.run(slot_tasks.double, [1])
        await driver.finished(ticket)
        driver.reclaim(ticket, 0)
        driver.reclaim(99, 0)
        await driver.finished(driver.run(slot_tasks.double, [1]))
        assert driver.of(events.Reclaimed) == []


# --- spawning -------------------------------------------------------------------------------------------


async def test_children_come_before_the_result_that_names_them() -> None:
    async with pool_of(1) as driver:
        ticket = driver.run(slot_tasks.parent, [3, 0, 2], lo=5)
        assert await driver.finished(ticket) == 8
        batches = [event.batch for event in driver.of(events.SlotSpawned)]
        # How many travel together depends on how busy the machine is.
        children = [(b.origin, index, b.root, b.parent_index) for b in batches for index in range(b.lo, b.hi)]
        assert children == [(1_000, index, 5, 5) for index in range(3)] + [(1_002, index, 7, 7) for index in range(2)]
        (taught,) = driver.of(events.SlotTaught)
        assert (taught.slot, taught.job) == (0, JOB)
        assert taught.digest == batches[0].payload.function
        runs = {m.lo: m.run for group in driver.groups(ticket) for m in group.members if m.run != ROOT}
        assert runs == {5: 1_000, 7: 1_002}
        assert driver.values(ticket) == {5: 3, 6: 0, 7: 2}
        order = [type(e) for e in driver.events if not isinstance(e, events.SlotReady)]
        assert order.index(events.SlotTaught) < order.index(events.SlotSpawned) < order.index(events.SlotDone)
        # What was spawned can be run as it came.
        driver.execute(effects.Teach(SlotId(0), JOB, taught.digest, taught.data))
        driver.execute(effects.Run(SlotId(0), 77, batches[0], RunId(2_000), b"", 0.0))
        assert await driver.finished(77) == batches[0].hi
        (group,) = driver.groups(77)
        assert group.kind == SILENT
        assert (group.members[0].origin, group.members[0].root, group.members[0].parent_index) == (1_000, 5, 5)


@pytest.mark.parametrize("hungry", [False, True])
async def test_children_leave_while_their_parent_runs(gate: Gate, hungry: bool) -> None:
    async with pool_of(1) as driver:
        driver.execute(effects.SetHungry(hungry))
        ticket = driver.run(slot_tasks.parent_that_waits, [gate.item])
        await driver.until(lambda: driver.of(events.SlotSpawned))
        assert driver.of(events.SlotFinished) == []
        gate.open()
        assert await driver.finished(ticket) == 1
        assert len(driver.of(events.SlotSpawned)) == 1


async def test_values_of_spawned_tasks_come_combined() -> None:
    async with pool_of(1) as driver:
        ticket = driver.run(slot_tasks.double, range(100), origin=RunId(5), reduce=slot_tasks.merge)
        assert await driver.finished(ticket) == 100
        groups = list(driver.groups(ticket))
        assert {group.kind for group in groups} == {COMBINED}
        assert sum(pickling.load_values(group.data).get(0) for group in groups) == 9_900
        indices = [i for group in groups for m in group.members for i in range(m.lo, m.hi)]
        assert sorted(indices) == list(range(100))


async def test_tasks_see_whether_somebody_is_hungry() -> None:
    async with pool_of(1) as driver:

        async def seen() -> bool:
            ticket = driver.run(slot_tasks.hungry, [0])
            await driver.finished(ticket)
            return bool(driver.values(ticket)[0])

        assert not await seen()
        driver.execute(effects.SetHungry(True))
        assert await seen()
        driver.execute(effects.Kill(SlotId(0)))
        await driver.ready(2)
        driver.forget_taught()
        assert await seen()
        driver.execute(effects.SetHungry(False))
        assert not await seen()


# --- time limits ------------------------------------------------------------------------------------------


async def test_a_task_over_its_time_ends_its_slot_and_is_named(gate: Gate) -> None:
    async with pool_of(1) as driver:
        ticket = driver.run(slot_tasks.gated, [1, 2, gate.item, 4], lo=10, timeout_s=0.05)
        await driver.ready(2)
        (death,) = driver.of(events.SlotDied)
        assert (death.slot, death.ticket, death.index) == (0, ticket, 12)
        assert (death.timed_out, death.starting) == (True, False)
        assert death.description.startswith("ran 0.")
        assert "longer than its limit of 0.05 s: killed by SIGTERM" in death.description
        assert driver.values(ticket) == {10: 1, 11: 2}


async def test_each_task_has_the_whole_limit_for_itself(gate: Gate) -> None:
    async with pool_of(1) as driver:
        ticket = driver.run(slot_tasks.nap, [0.02] * 12, timeout_s=0.2)
        assert await driver.finished(ticket) == 12
        assert driver.of(events.SlotDied) == []


# --- the process of a slot --------------------------------------------------------------------------------


async def test_numerical_libraries_get_the_slots_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "17")
    for name in set(THREAD_VARIABLES) - {"OMP_NUM_THREADS"}:
        monkeypatch.delenv(name, raising=False)
    async with pool_of(2) as driver:
        ticket = driver.run(slot_tasks.variables, [THREAD_VARIABLES])
        await driver.finished(ticket)
        found = dict(zip(THREAD_VARIABLES, driver.values(ticket)[0], strict=True))
        assert found.pop("OMP_NUM_THREADS") == "17"
        assert found == {name: value for name, value in thread_variables(2, {}).items() if name in found}
        assert set(found) == set(THREAD_VARIABLES) - {"OMP_NUM_THREADS"}


async def test_a_slot_is_a_session_of_its_own_that_reads_nothing() -> None:
    async with pool_of(1) as driver:
        ticket = driver.run(slot_tasks.process_facts, [0])
        await driver.finished(ticket)
        (pid,) = driver.pool.pids
        assert driver.values(ticket)[0] == (pid, pid, pid, "lbnet-slot", os.devnull)


async def test_what_the_worker_can_import_its_slots_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "module_of_a_user.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    async with pool_of(1) as driver:
        ticket = driver.run(slot_tasks.can_import, ["module_of_a_user", "module_of_nobody"])
        await driver.finished(ticket)
        assert driver.values(ticket) == {0: True, 1: False}


async def test_the_current_folder_is_searched_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "module_beside_the_worker.py").touch()
    for name in ("select", "types", "queue", "socket"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('not the one that was meant')")
    monkeypatch.chdir(tmp_path)
    async with pool_of(1) as driver:
        ticket = driver.run(slot_tasks.can_import, ["module_beside_the_worker", "queue"])
        await driver.finished(ticket)
        assert driver.values(ticket) == {0: True, 1: True}


async def test_signals_for_the_whole_group_do_not_end_a_slot() -> None:
    async with pool_of(1) as driver:
        ticket = driver.run(slot_tasks.signal_self, [signal.SIGINT, signal.SIGTERM])
        assert await driver.finished(ticket) == 2
        assert driver.values(ticket) == {0: signal.SIGINT, 1: signal.SIGTERM}


async def test_what_a_task_forks_is_no_slot() -> None:
    async with pool_of(1) as driver:
        signals = driver.run(slot_tasks.forked_default_signals, [0])
        spawns = driver.run(slot_tasks.fork_spawns, [0])
        await driver.finished(spawns)
        assert driver.values(signals) == {0: -signal.SIGTERM}
        assert driver.values(spawns) == {0: "UsageError 0"}


# --- the end ----------------------------------------------------------------------------------------------


async def test_it_stops_before_its_slots_are_ready() -> None:
    async with pool_of(2, ready=False) as driver:
        assert driver.events == []
    assert driver.events == []


async def test_it_stops_while_tasks_run_and_more_wait(gate: Gate) -> None:
    async with pool_of(2) as driver:
        driver.run(slot_tasks.gated, [gate.item])
        driver.run(slot_tasks.gated, [gate.item], timeout_s=100.0)
        driver.run(slot_tasks.grow, [4 << 20] * 20, slot=1)
        await gate.began()


async def test_it_stops_while_a_slot_is_being_replaced() -> None:
    async with pool_of(1) as driver:
        driver.execute(effects.Kill(SlotId(0)))
        await driver.until(lambda: driver.of(events.SlotDied))


async def test_a_process_that_does_not_listen_is_ended_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STOP_TIMEOUT_S", 0.05)
    async with pool_of(1) as driver:
        os.kill(driver.pool.pids[0], signal.SIGSTOP)


async def test_answers_that_wait_are_not_delivered_after_the_end(gate: Gate) -> None:
    async with pool_of(1) as driver:
        ticket = driver.run(slot_tasks.gated, [gate.item, 1])
        await gate.began()
        driver.reclaim(ticket, 1)
        await driver.pool.stop()
        assert driver.of(events.Reclaimed) == []


async def test_a_pool_may_be_stopped_twice_or_without_a_start() -> None:
    before = held()
    pool = Pool(3, lambda _: None)
    await pool.stop()
    assert held() == before
    async with pool_of(1) as driver:
        await driver.pool.stop()
        driver.execute(effects.SetHungry(True))
        driver.execute(effects.Forget(JOB))


def test_when_the_worker_is_killed_its_slots_end() -> None:
    program = """
import asyncio, os, sys
from lbnet.pool.parent import Pool
async def main():
    pool = Pool(2, lambda event: None)
    await pool.start()
    print(*pool.pids, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""
    worker = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    slots = [psutil.Process(int(pid)) for pid in worker.stdout.readline().split()]
    assert len(slots) == 2
    worker.kill()
    worker.wait()
    worker.stdout.close()
    asyncio.run(eventually(lambda: all(map(is_gone, slots))))


# --- the worker's side is blind ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "module",
    ["lbnet.pool.parent", "lbnet.net.run", "lbnet.net.worker_node", "lbnet.net.controller_server", "lbnet.net.serve"],
)
def test_nothing_that_unpickles_is_loaded_by(module: str) -> None:
    program = (
        f"import sys, {module};"
        "print(sorted({'lbnet.pickling', 'cloudpickle', 'lbnet.pool.child', 'lbnet.pool.runner'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


# --- bookkeeping, with processes and a clock that are not real ---------------------------------------------


class FakeProcess:
    """Stands for a process: the test says what it says."""

    made: list[FakeProcess]
    starts_fail: bool

    def __init__(
        self,
        environment: dict[str, str],
        hungry: bool,
        on_message: Callable[[Any, Any], None],
        on_exit: Callable[[Any, str], None],
        on_output: Callable[[Any, Piece], None],
    ) -> None:
        if FakeProcess.starts_fail:
            raise OSError("no more processes")
        self.claims = Claims()
        self.claims.set_hungry(hungry)
        self.sent: list[Any] = []
        self.kills = self.terminations = 0
        self.unread: list[Piece] = []
        self.pid = 10_000 + len(FakeProcess.made)
        self._on_message, self._on_exit, self._on_output = on_message, on_exit, on_output
        FakeProcess.made.append(self)

    def send(self, message: Any) -> None:
        self.sent.append(message)

    def kill(self) -> None:
        self.kills += 1

    def terminate(self) -> None:
        self.terminations += 1

    def read_output(self) -> bool:
        unread, self.unread = self.unread, []
        for piece in unread:
            self._on_output(self, piece)
        return bool(unread)

    def says(self, message: Any) -> None:
        self._on_message(self, message)

    def ends(self) -> None:
        self._on_exit(self, "ended")
        self.claims.close()


class FakeLoop:
    """Timers that the test fires."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Callable[..., None], tuple[Any, ...]]] = []

    def call_later(self, delay_s: float, callback: Callable[..., None], *args: Any) -> Any:
        timer = (delay_s, callback, args)
        self.timers.append(timer)
        return SimpleNamespace(cancel=lambda: self.timers.remove(timer))

    def call_soon(self, callback: Callable[..., None], *args: Any) -> Any:
        return self.call_later(0.0, callback, *args)

    def fire(self) -> float:
        """Run the earliest timer; returns its delay."""
        timer = min(self.timers, key=lambda timer: timer[0])
        self.timers.remove(timer)
        delay_s, callback, args = timer
        callback(*args)
        return delay_s


class Books:
    """A pool of one fake slot."""

    def __init__(self) -> None:
        self.loop = FakeLoop()
        self.now = 50.0
        self.events: list[Any] = []
        self.pool = Pool(1, self.events.append)

    @property
    def process(self) -> FakeProcess:
        return FakeProcess.made[-1]

    def run(self, ticket: int, lo: int, hi: int, timeout_s: float = 0.0) -> None:
        batch = Batch(JOB, ROOT, lo, hi, 0, ROOT, 0, Payload(lo, hi - lo, b"f", b""))
        self.pool.execute(effects.Run(SlotId(0), ticket, batch, RunId(1), b"", timeout_s))

    def runs(self, entry: int, index: int, since: float = 0.0) -> None:
        """The slot begins a task."""
        self.process.claims._reals[8 * (1 + entry) + 3] = since
        self.process.claims._words[8 * (1 + entry) + 2] = index

    def death(self) -> events.SlotDied:
        self.process.ends()
        death = self.events[-1]
        assert isinstance(death, events.SlotDied)
        return death


@pytest.fixture
async def books(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = Books()
    FakeProcess.made = []
    FakeProcess.starts_fail = False
    monkeypatch.setattr(parent, "SlotProcess", FakeProcess)
    monkeypatch.setattr(parent, "asyncio", SimpleNamespace(get_running_loop=lambda: made.loop))
    monkeypatch.setattr(parent, "time", SimpleNamespace(monotonic=lambda: made.now))
    await made.pool.start()
    yield made
    for process in FakeProcess.made:
        if process.claims.fd >= 0:
            process.claims.close()


async def test_only_the_running_task_is_named(books: Books) -> None:
    books.process.says(wire.Ready(1))
    books.run(1, 0, 10)
    books.run(2, 20, 30)
    books.runs(0, 4)
    books.process.says(wire.Done(1, 4, ()))
    where = f"host {socket.gethostname()}, pid {books.process.pid}"
    assert books.death() == events.SlotDied(SlotId(0), 1, 4, False, False, "ended", where)


async def test_a_task_whose_result_came_is_not_named(books: Books) -> None:
    books.process.says(wire.Ready(1))
    books.run(1, 0, 10)
    books.runs(0, 4)
    books.process.says(wire.Done(1, 5, ()))
    death = books.death()
    assert (death.ticket, death.index) == (-1, -1)


async def test_a_slot_that_never_got_ready_is_started_again_later_and_later(books: Books) -> None:
    delays = []
    for _ in range(10):
        assert books.death().starting
        delays.append(books.loop.fire())
    assert delays == [min(limits.SLOT_RESPAWN_FIRST_S * 2**n, limits.SLOT_RESPAWN_MAX_S) for n in range(10)]
    # One that was ready is replaced at once, and its failures are forgotten.
    books.process.says(wire.Ready(1))
    assert not books.death().starting
    assert books.loop.fire() == 0.0
    assert books.death().starting
    assert books.loop.fire() == limits.SLOT_RESPAWN_FIRST_S


async def test_a_process_that_cannot_be_started_is_tried_again(books: Books) -> None:
    books.process.says(wire.Ready(1))
    FakeProcess.starts_fail = True
    books.death()
    assert books.loop.fire() == 0.0
    death = books.events[-1]
    assert death == events.SlotDied(SlotId(0), -1, -1, False, True, "could not be started: no more processes")
    # What is meant for it meanwhile is dropped.
    books.run(1, 0, 5)
    books.pool.execute(effects.Reclaim(SlotId(0), 1, 0))
    books.pool.execute(effects.Teach(SlotId(0), JOB, b"d", b"fn"))
    books.pool.execute(effects.Kill(SlotId(0)))
    FakeProcess.starts_fail = False
    assert books.loop.fire() == limits.SLOT_RESPAWN_FIRST_S
    assert len(FakeProcess.made) == 2
    assert books.process.sent == []


async def test_a_deadline_is_that_of_the_running_task(books: Books) -> None:
    books.process.says(wire.Ready(1))
    books.run(1, 0, 10, timeout_s=2.0)
    books.run(2, 10, 20, timeout_s=3.0)
    books.runs(0, 3, since=49.0)
    assert books.loop.fire() == pytest.approx(0.1)
    assert books.process.terminations == 0
    books.now = 51.5
    books.loop.fire()
    assert books.process.terminations == 1
    books.loop.fire()
    assert books.process.terminations == 1
    death = books.death()
    assert (death.ticket, death.index, death.timed_out) == (1, 3, True)
    assert death.description == "ran 2.5 s, longer than its limit of 2 s: ended"


async def test_a_task_that_began_when_another_was_over_its_time_is_not_blamed(books: Books) -> None:
    # Between the look at the clock and the end of the process, the late task finished.
    books.process.says(wire.Ready(1))
    books.run(1, 0, 10, timeout_s=2.0)
    books.runs(0, 3, since=40.0)
    books.loop.fire()
    assert books.process.terminations == 1
    books.process.says(wire.Done(1, 4, ()))
    books.runs(0, 4, since=50.0)
    death = books.death()
    assert (death.ticket, death.index, death.timed_out) == (-1, -1, False)


async def test_without_timed_tickets_nobody_looks_at_the_clock(books: Books) -> None:
    books.process.says(wire.Ready(1))
    books.run(1, 0, 10)
    assert books.loop.timers == []
    books.run(2, 0, 10, timeout_s=4.0)
    books.run(3, 0, 10, timeout_s=1.0)
    assert len(books.loop.timers) == 1
    books.loop.fire()
    assert len(books.loop.timers) == 1
    books.process.says(wire.Finished(2, 10))
    books.process.says(wire.Finished(3, 10))
    books.loop.fire()
    assert books.loop.timers == []


async def test_an_answer_to_a_reclaim_comes_before_all_other_events(books: Books) -> None:
    books.process.says(wire.Ready(1))
    books.run(1, 5, 10)
    books.pool.execute(effects.Reclaim(SlotId(0), 1, 0))
    books.pool.execute(effects.Reclaim(SlotId(0), 1, 9))
    assert len(books.loop.timers) == 1
    assert len(books.events) == 1
    books.process.says(wire.Finished(1, 5))
    assert books.events[1:] == [
        events.Reclaimed(SlotId(0), 1, 5),
        events.Reclaimed(SlotId(0), 1, 5),
        events.SlotFinished(SlotId(0), 1, 5),
    ]
    books.loop.fire()
    assert len(books.events) == 4


async def test_the_words_of_a_ticket_are_used_again_when_it_is_over(books: Books) -> None:
    books.process.says(wire.Ready(1))
    for ticket in range(20):
        books.run(ticket, 0, 10)
        if ticket:
            books.process.says(wire.Finished(ticket - 1, 10))
    entries = [message.entry for message in books.process.sent if isinstance(message, wire.Run)]
    assert set(entries) == {0, 1}


async def test_effects_of_other_parts_are_our_mistake(books: Books) -> None:
    with pytest.raises(AssertionError, match="SetTimer does not concern slots"):
        books.pool.execute(effects.SetTimer(1.0))
    with pytest.raises(AssertionError, match="a slot does not say Forget"):
        books.process.says(wire.Forget(JobId(1)))
