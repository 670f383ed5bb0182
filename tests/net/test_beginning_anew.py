"""A worker whose controller began anew without it: nothing of before is left, however it goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import psutil
import pytest

from lbnet.net.greeting import MAGIC
from lbnet.net.worker_node import WorkerNode
from lbnet.pool.parent import Pool
from lbnet.protocol.messages import PROTOCOL_VERSION, Hello, Rejoined, Welcome
from lbnet.strategies import registry
from lbnet.types import PeerId
from tests.net.cluster import RawPeer, children, listener, until

pytestmark = pytest.mark.usefixtures("nothing_is_left")

ME, BEFORE, AFTER = PeerId(5), b"b" * 16, b"a" * 16


async def welcomed(accept: Callable[[], Any], peer: PeerId, cluster: bytes) -> tuple[RawPeer, Hello]:
    """A scripted controller lets the worker in."""
    boss: RawPeer = await accept()
    greeting = await boss.hear(Hello)
    await boss.say(Welcome(MAGIC, PROTOCOL_VERSION, peer, "", cluster))
    return boss, greeting


@contextlib.asynccontextmanager
async def joined(name: str = "") -> AsyncIterator[tuple[WorkerNode, Callable[[], Any], RawPeer]]:
    """A worker with a slot that is up, and its controller."""
    async with listener() as (address, accept):
        node = WorkerNode(slots=1, name=name, load=registry.load, rejoin_timeout_s=60.0)
        try:
            starting = asyncio.ensure_future(node.start(address))
            boss, _ = await welcomed(accept, ME, BEFORE)
            await starting
            await until(lambda: node._pool._slots[0].ready)
            yield node, accept, boss
        finally:
            await node.stop()


def gone(pids: list[int]) -> bool:
    return not any(map(psutil.pid_exists, pids))


@pytest.mark.parametrize("peer", [ME, PeerId(9)])
async def test_the_slots_of_before_are_gone_when_new_ones_come(peer: PeerId) -> None:
    async with joined() as (node, accept, boss):
        before, core = node._pool.pids, node._worker
        boss.reset()
        _, greeting = await welcomed(accept, peer, AFTER)
        assert (greeting.peer, greeting.cluster, greeting.name) == (ME, BEFORE, "")
        await until(lambda: node._worker is not core and node._pool._slots[0].ready)
        assert gone(before)
        assert not set(before) & set(node._pool.pids)
        assert (node.peer, node.name) == (peer, f"worker-{peer}")


async def test_a_controller_of_the_same_cluster_finds_it_as_it_was() -> None:
    async with joined("mine") as (node, accept, boss):
        before, core = node._pool.pids, node._worker
        boss.reset()
        again, greeting = await welcomed(accept, ME, BEFORE)
        assert (greeting.peer, greeting.cluster, greeting.name) == (ME, BEFORE, "mine")
        assert await again.hear(Rejoined) == Rejoined(())
        assert node._worker is core
        assert node._pool.pids == before


async def test_the_same_controller_with_another_id_for_it_is_a_new_beginning_too() -> None:
    async with joined("mine") as (node, accept, boss):
        core = node._worker
        boss.reset()
        await welcomed(accept, PeerId(9), BEFORE)
        await until(lambda: node._worker is not core and node._pool._slots[0].ready)
        assert (node.peer, node.name) == (PeerId(9), "mine")


def held(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """The end of these slots takes until this is set."""
    end, stop = asyncio.Event(), pool.stop

    async def waits() -> None:
        await end.wait()
        await stop()

    monkeypatch.setattr(pool, "stop", waits)
    return end


async def test_who_stops_it_then_leaves_no_slot_of_before_or_after(monkeypatch: pytest.MonkeyPatch) -> None:
    async with joined() as (node, accept, boss):
        before, end = node._pool.pids, held(node._pool, monkeypatch)
        boss.reset()
        await welcomed(accept, ME, AFTER)
        await until(lambda: bool(node._left))
        stopping = asyncio.ensure_future(node.stop())
        await until(lambda: node._stopped)
        end.set()
        await stopping
        assert gone(before)
        assert node._pool.pids == []


async def test_who_stops_it_in_a_hurry_kills_the_slots_of_before_at_once() -> None:
    async with joined() as (node, accept, boss):
        (before,) = node._pool._by_process
        os.kill(before.pid, signal.SIGSTOP)  # it does not end by itself
        boss.reset()
        await welcomed(accept, ME, AFTER)
        await until(lambda: bool(node._left))
        stopping = asyncio.ensure_future(node.stop())
        await until(lambda: node._stopped)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert before._killed, "the loop may end now, and with it all timers"
        await before.closed()


async def test_a_second_new_beginning_in_the_middle_of_the_first_ends_with_one_set_of_slots(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    others = children()
    async with joined() as (node, accept, boss):
        before, end = node._pool.pids, held(node._pool, monkeypatch)
        boss.reset()
        second, _ = await welcomed(accept, ME, AFTER)
        await until(lambda: node._cluster == AFTER)
        second.reset()
        await welcomed(accept, ME, BEFORE)
        await until(lambda: node._cluster == BEFORE)
        assert node._pool.pids == []
        assert not gone(before)
        end.set()
        await until(lambda: node._pool._slots[0].ready)
        assert gone(before)
        assert children() - others == set(node._pool.pids)
