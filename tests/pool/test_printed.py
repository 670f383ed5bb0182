"""What tasks print in real slots: it is kept as theirs, and told where somebody needs it."""

from __future__ import annotations

import os

import pytest

from lbnet.core import effects, events
from lbnet.types import FAILED, ROOT, JobId, SlotId
from tests.pool import slot_tasks
from tests.pool.driver import JOB, Driver, eventually, pool_of

SLOT = SlotId(0)


def texts(driver: Driver, index: int | None = None) -> dict[int, bytes]:
    return {output.index: output.text for output in driver.pool.logs(JOB, index)}


async def test_each_of_a_thousand_short_tasks_has_its_own() -> None:
    async with pool_of(1) as driver:
        ticket = driver.run(slot_tasks.say, range(1_000))
        await driver.finished(ticket)
        await eventually(lambda: len(texts(driver)) == 1_000)
        assert texts(driver) == {index: f"out {index}\nerr {index}\n".encode() for index in range(1_000)}
        assert driver.of(events.SlotOutput) == []
        assert texts(driver, 7) == {7: b"out 7\nerr 7\n"}
        assert driver.pool.logs(JobId(99)) == []


async def test_what_a_failed_task_printed_is_told_before_its_failure() -> None:
    async with pool_of(1) as driver:
        ticket = driver.run(slot_tasks.say, [1, "fail", 3])
        await driver.finished(ticket)
        assert driver.of(events.SlotOutput) == [
            events.SlotOutput(SLOT, JOB, ROOT, 1, b"out fail\nerr fail\nthe end", 0)
        ]
        *_, printed, done, _ = driver.events
        assert isinstance(printed, events.SlotOutput)
        assert isinstance(done, events.SlotDone)
        assert FAILED in {group.kind for group in done.groups}


async def test_the_last_words_of_a_slot_are_told_before_its_end() -> None:
    async with pool_of(1) as driver:
        ticket = driver.run(slot_tasks.say, [1, "die", 3])
        await driver.until(lambda: driver.of(events.SlotDied))
        *_, words, death = [e for e in driver.events if isinstance(e, events.SlotOutput | events.SlotDied)]
        assert words == events.SlotOutput(SLOT, JOB, ROOT, 1, b"out die\nerr die\n", 0)
        assert isinstance(death, events.SlotDied)
        assert (death.ticket, death.index) == (ticket, 1)


async def test_output_that_python_knows_nothing_of_is_that_of_the_running_task() -> None:
    def write(path: str) -> None:
        import os
        import subprocess
        import time
        from pathlib import Path

        os.write(1, b"from C\n")
        subprocess.run(["/bin/echo", "from a child"], check=True)
        while not Path(path).exists():
            time.sleep(0.001)

    async with pool_of(1) as driver:
        ticket = driver.run(write, ["/nowhere"])
        await eventually(lambda: texts(driver) == {0: b"from C\nfrom a child\n"})
        assert ticket


async def test_a_job_that_is_followed_is_told_as_it_prints() -> None:
    async with pool_of(1) as driver:
        driver.execute(effects.Follow(JOB, True))
        ticket = driver.run(slot_tasks.say, [1, 2])
        await driver.finished(ticket)
        await driver.until(lambda: len(driver.of(events.SlotOutput)) == 4)
        assert [(e.index, e.text) for e in driver.of(events.SlotOutput)] == [
            (0, b"out 1\n"),
            (0, b"err 1\n"),
            (1, b"out 2\n"),
            (1, b"err 2\n"),
        ]
        driver.execute(effects.Follow(JOB, False))
        more = driver.run(slot_tasks.say, [3])
        await driver.finished(more)
        await eventually(lambda: len(driver.pool.logs(JOB)) == 3)
        assert len(driver.of(events.SlotOutput)) == 4


async def test_a_gigabyte_is_cut_and_the_rest_is_counted() -> None:
    def flood(blocks: int) -> None:
        import os

        block = b"x" * 999_999 + b"\n"
        for _ in range(blocks):
            os.write(1, block)

    async with pool_of(1) as driver:
        ticket = driver.run(flood, [200])
        await driver.finished(ticket)
        await eventually(lambda: driver.pool.logs(JOB)[0].dropped > 190_000_000)
        (output,) = driver.pool.logs(JOB)
        assert len(output.text) < 100_000


async def test_tasks_that_close_their_output_have_none_and_run_on() -> None:
    def close(item: int) -> int:
        import os

        if item == 0:
            os.closerange(0, 3)
        return item

    async with pool_of(1) as driver:
        ticket = driver.run(close, range(5))
        assert await driver.finished(ticket) == 5
        assert driver.values(ticket) == {index: index for index in range(5)}


@pytest.mark.parametrize("prints", [True, False])
async def test_what_is_printed_is_shown_where_the_worker_shows_its_own(prints: bool) -> None:
    read_end, write_end = os.pipe()
    async with pool_of(1) as driver:
        driver.pool._printed._echo._fd = write_end
        ticket = driver.run(slot_tasks.say if prints else abs, [1])
        await driver.finished(ticket)
        await eventually(lambda: bool(driver.pool.logs(JOB)) is prints)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as file:
        assert file.read() == (b"out 1\nerr 1\n" if prints else b"")
