"""Every test here runs on uvloop, as lbnet does; those of single links on asyncio's own loop as well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import psutil
import pytest
import uvloop

from tests.net.cluster import OPEN_PEERS, until


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"uvloop": uvloop.new_event_loop}
    if item.path.name in {"test_link.py", "test_greeting.py"}:
        factories["asyncio"] = asyncio.new_event_loop
    return factories


@pytest.fixture
async def nothing_is_left(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """After the test: no task, process, descriptor or traceback that was not there before."""
    # The first server of a loop opens a descriptor that the loop keeps.
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    server.close()
    await asyncio.sleep(0)
    me = psutil.Process()
    descriptors = me.num_fds()
    tasks, children = asyncio.all_tasks(), set(me.children())
    yield
    while OPEN_PEERS:
        OPEN_PEERS.pop().close()
    now = asyncio.current_task()
    await until(lambda: asyncio.all_tasks() - tasks <= {now}, lambda: f"tasks are left: {asyncio.all_tasks() - tasks}")
    await until(lambda: children.issuperset(me.children()), lambda: f"processes are left: {me.children()}")
    await until(lambda: me.num_fds() <= descriptors, lambda: f"{me.num_fds() - descriptors} descriptors are left")
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []
    assert [record.getMessage() for record in caplog.records if "\n" in record.getMessage()] == []
