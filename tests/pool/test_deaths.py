"""Every way for a task to go wrong: what is told of it, what becomes of its neighbours, and of its slot.

The task stands in the middle of a batch. Where it fails without harming its process, both neighbours have
their results and the process stays. Where it takes the process along, it alone is named, and the slot is there
again; what its neighbours lose they get by being run again.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from lbnet import errors, pickling
from lbnet.core import events
from lbnet.types import Failure, RunId
from tests.pool import slot_tasks
from tests.pool.driver import Driver, eventually, is_gone, pool_of

# --- the task fails, its slot lives -----------------------------------------------------------------


@dataclass(frozen=True)
class Fails:
    """The failure of a task, and what the client makes of it."""

    task: str
    kind: str
    message: str
    error: type[BaseException]
    cause: type[BaseException] | None = None


FAILS = [
    Fails("raise_value_error", "exception", "ValueError: an ordinary mistake", ValueError),
    Fails("sys_exit", "exception", "SystemExit: 4", errors.TaskError, SystemExit),
    Fails("interrupt", "exception", "KeyboardInterrupt", errors.TaskError, KeyboardInterrupt),
    Fails("generator_exit", "exception", "GeneratorExit", errors.TaskError, GeneratorExit),
    Fails("stop_iteration", "exception", "StopIteration: 5", StopIteration),
    Fails("raise_unpicklable", "exception", "UnpicklableError: stays here", errors.ExceptionSerializeError),
    Fails("raise_one_way", "exception", "OneWayError: ab", errors.ExceptionSerializeError),
    Fails("raise_rude", "exception", "RudeError: <its str() failed>", slot_tasks.RudeError),
    Fails("memory_error", "exception", "MemoryError", MemoryError),
    Fails("recursion", "exception", "RecursionError: maximum recursion depth exceeded", RecursionError),
    Fails("return_unpicklable", "ResultSerializeError", "no pickles here", errors.ResultSerializeError),
    Fails("return_lambda_with_lock", "ResultSerializeError", "lock", errors.ResultSerializeError),
    Fails("return_interrupt_in_pickle", "ResultSerializeError", "KeyboardInterrupt", errors.ResultSerializeError),
    Fails("return_deep", "ResultSerializeError", "", errors.ResultSerializeError),
]


def rebuilt(failure: Failure) -> BaseException:
    return pickling.load_exception(failure.kind, failure.message, failure.traceback, failure.where, failure.data)


@pytest.mark.parametrize("row", FAILS, ids=lambda row: row.task)
async def test_a_task_that_fails_harms_nobody_else(row: Fails) -> None:
    async with pool_of(1) as driver:
        (pid,) = driver.pool.pids
        ticket = driver.run(slot_tasks.call_or_double, [1, row.task, 3])
        assert await driver.finished(ticket) == 3
        assert driver.values(ticket) == {0: 2, 2: 6}
        ((index, failure),) = driver.failures(ticket).items()
        assert index == 1
        assert failure.kind == row.kind
        assert row.message in failure.message
        assert f"pid {pid}" in failure.where
        error = rebuilt(failure)
        assert type(error) is row.error
        assert row.cause is None or type(error.__cause__) is row.cause
        assert driver.pool.pids == [pid]
        assert driver.of(events.SlotDied) == []


# --- the task succeeds, whatever it does to its process ----------------------------------------------


@pytest.mark.parametrize(
    ("task", "value"),
    [
        ("print_much", None),
        ("swallow_streams", None),
        ("close_streams", None),
        ("leave_a_thread", None),
        ("fork_that_returns", "the task"),
        ("fork_that_raises", "the task"),
        ("fork_that_exits", "the task"),
    ],
)
async def test_a_task_that_misuses_its_process_succeeds(task: str, value: object) -> None:
    async with pool_of(1) as driver:
        (pid,) = driver.pool.pids
        ticket = driver.run(slot_tasks.call_or_double, [1, task, 3, 4])
        assert await driver.finished(ticket) == 4
        assert driver.values(ticket) == {0: 2, 1: value, 2: 6, 3: 8}
        later = driver.run(slot_tasks.double, range(10))
        assert await driver.finished(later) == 10
        assert driver.values(later) == {index: 2 * index for index in range(10)}
        assert driver.pool.pids == [pid]
        assert driver.of(events.SlotDied) == []
        assert len(driver.of(events.SlotFinished)) == 2


async def test_a_fork_that_outlives_its_task_ends_with_its_slot() -> None:
    async with pool_of(1) as driver:
        ticket = driver.run(slot_tasks.call_or_double, ["fork_that_stays", 3])
        assert await driver.finished(ticket) == 2
        values = driver.values(ticket)
        assert values[1] == 6
        assert psutil.pid_exists(values[0])
        fork = psutil.Process(values[0])
    await eventually(lambda: is_gone(fork))


# --- the task takes its process along ---------------------------------------------------------------


@dataclass(frozen=True)
class Dies:
    """How the end of a process is told."""

    task: str
    description: str


DIES = [
    Dies("exit_0", "exited with code 0"),
    Dies("exit_3", "exited with code 3"),
    Dies("segfault", f"killed by SIGSEGV (signal {signal.SIGSEGV:d})"),
    Dies("abort", f"killed by SIGABRT (signal {signal.SIGABRT:d})"),
    Dies("kill_self", f"killed by SIGKILL (signal {signal.SIGKILL:d}; the system does that when memory runs out)"),
    Dies("return_exit_in_pickle", "exited with code 9"),
    Dies("write_nonsense", "wrote nonsense into its worker's pipe ("),
]


def alive_again(driver: Driver) -> bool:
    return len(driver.of(events.SlotReady)) == 2


@pytest.mark.parametrize("row", DIES, ids=lambda row: row.task)
async def test_a_task_that_ends_its_process_is_named_and_its_neighbours_deliver(row: Dies) -> None:
    async with pool_of(1) as driver:
        (pid,) = driver.pool.pids
        ticket = driver.run(slot_tasks.call_or_double, [1, row.task, 3])
        behind = driver.run(slot_tasks.double, [5, 6])
        await driver.until(lambda: driver.of(events.SlotDied))
        (death,) = driver.of(events.SlotDied)
        assert (death.slot, death.ticket, death.index) == (0, ticket, 1)
        assert (death.timed_out, death.starting) == (False, False)
        assert death.description.startswith(row.description)
        assert f"pid {pid}" in death.description
        assert "peak memory" in death.description
        # What was told before the end counts, once; the rest, and only that, is run again.
        assert driver.values(ticket).items() <= {0: 2}.items()
        assert driver.values(behind) == {}
        assert driver.of(events.SlotFinished) == []
        await driver.until(lambda: alive_again(driver))
        assert driver.pool.pids != [pid]
        driver.forget_taught()
        again = driver.run(slot_tasks.call_or_double, [1, 3, 5, 6])
        assert await driver.finished(again) == 4
        assert driver.values(again) == {0: 2, 1: 6, 2: 10, 3: 12}


async def test_what_finished_before_a_long_task_dies_is_not_lost(tmp_path: Path) -> None:
    async with pool_of(1) as driver:
        began, gate = tmp_path / "began", tmp_path / "gate"
        ticket = driver.run(slot_tasks.gated, [1, 2, 3, (str(began), str(gate)), 5])
        await driver.until(lambda: len(driver.values(ticket)) == 3)
        slot_tasks.wait_for(began)
        psutil.Process(driver.pool.pids[0]).kill()
        await driver.until(lambda: alive_again(driver))
        (death,) = driver.of(events.SlotDied)
        assert (death.ticket, death.index) == (ticket, 3)
        assert driver.values(ticket) == {0: 1, 1: 2, 2: 3}


async def test_a_task_that_closes_the_pipe_of_its_slot_is_blamed_when_it_runs_alone() -> None:
    # Its results have no way out, which shows only when they should leave: a neighbour may be blamed at first, but
    # somebody is, so that the culprit is by itself in the end.
    async with pool_of(1) as driver:
        ticket = driver.run(slot_tasks.call_or_double, ["close_everything"])
        await driver.until(lambda: alive_again(driver))
        (death,) = driver.of(events.SlotDied)
        assert (death.ticket, death.index) == (ticket, 0)
        assert death.description.startswith("exited with code 1")
        assert driver.values(ticket) == {}


async def test_a_slot_that_dies_idle_blames_nobody() -> None:
    async with pool_of(1) as driver:
        ticket = driver.run(slot_tasks.double, [1, 2])
        assert await driver.finished(ticket) == 2
        psutil.Process(driver.pool.pids[0]).kill()
        await driver.until(lambda: alive_again(driver))
        (death,) = driver.of(events.SlotDied)
        assert (death.ticket, death.index, death.starting) == (-1, -1, False)


class UnpickledByLeaving:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        import os

        return os._exit, (7,)

    def __call__(self, item: int) -> int:
        return item


async def test_a_function_that_cannot_be_unpickled_alive_blames_the_first_task() -> None:
    async with pool_of(1) as driver:
        ticket = driver.run(UnpickledByLeaving(), [1, 2], lo=5)
        await driver.until(lambda: alive_again(driver))
        (death,) = driver.of(events.SlotDied)
        assert (death.ticket, death.index) == (ticket, 5)
        assert death.description.startswith("exited with code 7")


async def test_an_argument_that_cannot_be_unpickled_alive_blames_its_task() -> None:
    async with pool_of(1) as driver:
        ticket = driver.run(slot_tasks.call_or_double, [1, UnpickledByLeaving(), 3])
        await driver.until(lambda: alive_again(driver))
        (death,) = driver.of(events.SlotDied)
        assert (death.ticket, death.index) == (ticket, 1)


async def test_a_combined_value_that_ends_the_process_blames_a_task_of_it() -> None:
    # Otherwise nobody would ever be blamed, and the same tasks would end one process after another for ever.
    async with pool_of(1) as driver:
        ticket = driver.run(slot_tasks.leave_in_pickle, [1, 2, 3], origin=RunId(77), reduce=slot_tasks.keep_left)
        await driver.until(lambda: driver.of(events.SlotDied))
        (death,) = driver.of(events.SlotDied)
        assert death.description.startswith("exited with code 9")
        assert death.ticket == ticket
        assert death.index in range(3)
