"""A role that is leaving already is not disturbed by one request to leave, and obeys the second."""

from __future__ import annotations

import asyncio

import pytest

from lbnet.net.leaving import undisturbed


class Leaving:
    """Takes until it is allowed to end."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.outcome = ""

    async def __call__(self) -> None:
        try:
            await self.may_end.wait()
            self.outcome = "left"
        except asyncio.CancelledError:
            self.outcome = "cancelled"
            raise


async def turns() -> None:
    """Let everything that can happen happen."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_it_ends_with_what_it_runs() -> None:
    leaving = Leaving()
    leaving.may_end.set()
    await undisturbed(leaving())
    assert leaving.outcome == "left"


async def test_one_request_is_obeyed_after_the_end() -> None:
    leaving = Leaving()
    task = asyncio.ensure_future(undisturbed(leaving()))
    await turns()
    task.cancel()
    await turns()
    assert not task.done()
    leaving.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert leaving.outcome == "left"


async def test_the_second_request_is_obeyed_at_once() -> None:
    leaving = Leaving()
    task = asyncio.ensure_future(undisturbed(leaving()))
    for _ in range(2):
        await turns()
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert leaving.outcome == "cancelled"


async def test_an_error_of_what_it_runs_comes_out() -> None:
    async def fails() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        await undisturbed(fails())
