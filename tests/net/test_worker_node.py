"""A worker on a real network: alone with a scripted controller, among scripted workers, and in a real cluster."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from lbnet import limits
from lbnet.core import effects, events
from lbnet.core.effects import Effect
from lbnet.core.events import Event
from lbnet.errors import ConnectError
from lbnet.net import worker_node
from lbnet.net.greeting import MAGIC, hello
from lbnet.net.worker_node import WorkerNode
from lbnet.protocol.digest import digest_of
from lbnet.protocol.framing import frame
from lbnet.protocol.messages import (
    PROTOCOL_VERSION,
    Ack,
    AskInventory,
    Function,
    Goodbye,
    Hello,
    Idle,
    Inventory,
    Match,
    Message,
    NoWork,
    OpenJob,
    Refused,
    Relay,
    SendWork,
    Welcome,
)
from lbnet.strategies import registry
from lbnet.types import CONTROLLER, Address, Batch, JobId, PeerId, SlotId
from tests.net import tasks
from tests.net.cluster import (
    RawPeer,
    SilentPool,
    batch_of,
    controller,
    frames,
    introduction,
    job_of,
    listener,
    node,
    until,
    values_of,
    whole_job,
)

pytestmark = pytest.mark.usefixtures("nothing_is_left")

ME, OTHER = PeerId(7), PeerId(8)
JOB = JobId(1)
ITEMS = 10


def log_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.fixture
def silent_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_node, "Pool", SilentPool)


class Recorder:
    """Stands in for the decisions of a worker: it remembers events, and wants nothing done."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.strategy_error: Exception | None = None

    def handle(self, event: Event, now: float) -> list[Effect]:
        self.events.append(event)
        return []

    def messages(self) -> list[Message]:
        return [event.message for event in self.events if isinstance(event, events.Received)]

    def links(self) -> list[tuple[str, PeerId]]:
        """What it was told of its links to other workers."""
        kinds = (events.Joined, events.Left, events.Unreachable)
        return [(type(event).__name__, event.peer) for event in self.events if isinstance(event, kinds)]


class Scene:
    """A worker that has joined, its controller, which speaks by hand, and where other workers reach it."""

    def __init__(self, worker: WorkerNode, boss: RawPeer, greeting: Hello) -> None:
        self.node = worker
        self.boss = boss
        self.greeting = greeting
        self.address = Address("127.0.0.1", greeting.port)

    def record(self) -> Recorder:
        recorder = Recorder()
        self.node._worker = recorder  # type: ignore[assignment]
        return recorder

    def make_ready(self) -> None:
        self.node._handle(events.SlotReady(SlotId(0), 1))

    async def holding(self) -> tuple[int, int]:
        """How many tasks the worker holds, and how many of them are different."""
        await self.boss.say(AskInventory(1))
        return spans_held(await self.boss.hear(Inventory))


@contextlib.asynccontextmanager
async def scene(me: PeerId = ME) -> AsyncIterator[Scene]:
    worker = WorkerNode(slots=1, name="", load=registry.load)
    async with listener() as (address, accept):
        starting = asyncio.create_task(worker.start(address))
        boss = await accept()
        greeting = await boss.hear(Hello)
        await boss.say(Welcome(MAGIC, PROTOCOL_VERSION, me, str(address)))
        await starting
        try:
            yield Scene(worker, boss, greeting)
        finally:
            await worker.stop()


def spans_held(inventory: Inventory) -> tuple[int, int]:
    """How many tasks there are in it, and how many of them are different."""
    indices = [index for span in inventory.spans for index in range(span.lo, span.hi)]
    return len(indices), len(set(indices))


def spans_of(batches: tuple[Batch, ...]) -> int:
    return sum(len(batch) for batch in batches)


# --- joining


@pytest.mark.usefixtures("silent_pool")
async def test_it_says_who_it_is_and_where_others_reach_it() -> None:
    async with scene() as at:
        assert (at.greeting.role, at.greeting.slots, at.greeting.pid) == ("worker", 1, os.getpid())
        assert (at.node.peer, at.node.name) == (ME, "worker-7")
        other = await RawPeer.join(at.address, "peer", peer=OTHER)
        assert other.peer == ME


@pytest.mark.usefixtures("silent_pool")
async def test_what_happened_in_its_slots_before_it_joined_is_not_forgotten() -> None:
    worker = WorkerNode(slots=1, name="early", load=registry.load)
    async with listener() as (address, accept):
        starting = asyncio.create_task(worker.start(address))
        boss = await accept()
        worker._handle(events.SlotReady(SlotId(0), 1))
        await boss.hear(Hello)
        await boss.say(Welcome(MAGIC, PROTOCOL_VERSION, ME, ""))
        await boss.hear(Idle)
        await starting
        assert worker.name == "early"
        await worker.stop()


async def test_without_a_controller_nothing_is_started_for_long() -> None:
    async with listener() as (address, _):
        pass
    worker = WorkerNode(slots=2, name="", load=registry.load)
    with pytest.raises(ConnectError, match="is an lbnet controller running there"):
        await worker.start(address, 0.3)


@pytest.mark.usefixtures("silent_pool")
async def test_a_worker_may_be_started_before_its_controller(caplog: pytest.LogCaptureFixture) -> None:
    worker = WorkerNode(slots=1, name="", load=registry.load)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        address = Address("127.0.0.1", sock.getsockname()[1])
    starting = asyncio.create_task(worker.start(address))
    await until(lambda: "yet" in caplog.text)
    assert not starting.done()
    async with controller(port=address.port):
        await starting
        assert worker.peer
        await worker.stop()
    assert caplog.text.count(f"nothing answers at {address} yet: trying for 10 s") == 1


@pytest.mark.usefixtures("silent_pool")
async def test_a_refusal_is_told_as_it_is() -> None:
    worker = WorkerNode(slots=1, name="", load=registry.load)
    async with listener() as (address, accept):
        starting = asyncio.create_task(worker.start(address))
        await (await accept()).say(Refused("not today"))
        with pytest.raises(ConnectError, match="refused us: not today"):
            await starting


@pytest.mark.usefixtures("silent_pool")
async def test_it_joins_over_ipv6() -> None:
    async with controller("::1") as server, node(server.address) as worker:
        assert worker._server is not None
        assert worker._server.sockets[0].getsockname()[0] == "::1"


# --- leaving, and being left

LOST: dict[str, tuple[bytes, str]] = {
    "closed": (b"", "the peer closed the connection"),
    "goodbye": (frames(Goodbye("enough\nfor today")), "it left: enough?for today"),
    "nonsense": (frame(b"\xc1"), "it broke the protocol: a frame of 1 bytes is not msgpack"),
    "not for a worker": (frames(Idle(0.0)), "it broke the protocol: Idle may not be said here"),
}


@pytest.mark.usefixtures("silent_pool")
@pytest.mark.parametrize(("data", "reason"), LOST.values(), ids=LOST)
async def test_it_knows_when_and_why_the_controller_is_gone(data: bytes, reason: str) -> None:
    async with scene() as at:
        await at.boss.write(data)
        if not data:
            at.boss.close()
        assert (await at.node.lost).startswith(reason)


@pytest.mark.usefixtures("silent_pool")
async def test_stop_says_goodbye_on_every_link_and_closes_it(caplog: pytest.LogCaptureFixture) -> None:
    async with scene() as at:
        twins = [await RawPeer.join(at.address, "peer", peer=OTHER) for _ in range(2)]
        silent = await RawPeer.open(at.address)
        await until(lambda: len(at.node._reception._waiting) == 1)
    for raw in (at.boss, *twins):
        assert (await raw.hear_end())[-1] == Goodbye("the worker was stopped")
    assert await silent.hear_end() == []
    assert log_of(caplog) == []


@pytest.mark.usefixtures("silent_pool")
async def test_stop_ends_attempts_to_connect_and_hears_nothing_more() -> None:
    async with scene() as at, listener() as (address, accept):
        at.node._perform(effects.Connect(OTHER, address))
        other = await accept()
        await other.hear(Hello)
        recorder = at.record()
        await at.node.stop()
        assert await other.hear_end() == []
        at.node._handle(events.Tick())
        assert recorder.events == []


async def test_stop_that_is_cancelled_ends_the_slots_at_once() -> None:
    async with controller() as server, node(server.address) as worker:
        # A process that is stopped does not see that its worker leaves.
        os.kill(worker._pool.pids[0], signal.SIGSTOP)
        stopping = asyncio.create_task(worker.stop())
        await asyncio.sleep(0)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        await until(lambda: worker._pool.pids == [])
        await asyncio.sleep(2 * limits.SLOT_RESPAWN_FIRST_S)
        assert worker._pool.pids == [], "and none is started again"


# --- links to other workers


@pytest.mark.usefixtures("silent_pool")
@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"peer": CONTROLLER}, "0 is not the id of a worker"),
        ({"peer": ME}, "a worker has no link to itself"),
        ({"role": "worker", "slots": 1, "port": 1}, "role 'worker' is not accepted here"),
        ({"version": 0}, "install the same lbnet"),
    ],
)
async def test_who_cannot_be_another_worker_is_refused(
    wrong: dict[str, Any], sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with scene() as at:
        recorder = at.record()
        raw = await RawPeer.open(at.address)
        await raw.say(replace(hello("peer", name="", peer=OTHER), **wrong))
        assert sentence in (await raw.hear(Refused)).reason
        assert await raw.hear_end() == []
        await until(lambda: len(log_of(caplog)) == 1)
        assert not at.node.lost.done()
        assert recorder.events == []


def a_message(number: int) -> Message:
    return NoWork(OTHER, PeerId(number))


@pytest.mark.usefixtures("silent_pool")
async def test_two_workers_that_connect_to_each_other_at_once_lose_nothing() -> None:
    async with scene(ME) as one, scene(OTHER) as other:
        at_one, at_other = one.record(), other.record()
        one.node._perform(effects.Connect(OTHER, other.address))
        other.node._perform(effects.Connect(ME, one.address))

        async def talk(worker: WorkerNode, to: PeerId) -> None:
            """From when the first link is there until both are, and after."""
            await until(lambda: to in worker._links)
            for number in range(1, 101):
                worker._perform(effects.Send(to, a_message(number)))
                await asyncio.sleep(0)
                if number == 50:
                    await until(lambda: len(worker._peers) == 3)

        await asyncio.gather(talk(one.node, OTHER), talk(other.node, ME))
        for recorder, peer in ((at_one, OTHER), (at_other, ME)):
            await until(lambda recorder=recorder: a_message(100) in recorder.messages())  # type: ignore[misc]
            assert recorder.messages() == [a_message(number) for number in range(1, 101)]
            assert recorder.links() == [("Joined", peer)]
        assert len(one.node._peers) == len(other.node._peers) == 3


@pytest.mark.usefixtures("silent_pool")
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("end", ["close", "reset", "goodbye", "nonsense"])
async def test_the_end_of_one_of_two_links_to_a_worker_is_the_end_of_both(which: int, end: str) -> None:
    async with scene() as at:
        recorder = at.record()
        twins = [await RawPeer.join(at.address, "peer", peer=OTHER) for _ in range(2)]
        bystander = await RawPeer.join(at.address, "peer", peer=9)
        await twins[0].say(a_message(1))
        await twins[1].say(a_message(2))
        await until(lambda: len(recorder.messages()) == 2)
        if end in {"close", "reset"}:
            getattr(twins[which], end)()
        else:
            await twins[which].write(frames(Goodbye("bye")) if end == "goodbye" else frame(b"\xc1"))
        assert await twins[1 - which].hear_end() == []
        await bystander.say(a_message(3))
        await until(lambda: a_message(3) in recorder.messages())
        assert recorder.links() == [("Joined", OTHER), ("Joined", 9), ("Left", OTHER)]
        again = await RawPeer.join(at.address, "peer", peer=OTHER)
        await again.say(a_message(4))
        await until(lambda: a_message(4) in recorder.messages())
        assert recorder.links()[-1] == ("Joined", OTHER)


@pytest.mark.usefixtures("silent_pool")
async def test_a_worker_that_is_linked_already_is_joined_at_once() -> None:
    async with scene() as at:
        recorder = at.record()
        await RawPeer.join(at.address, "peer", peer=OTHER)
        at.node._perform(effects.Connect(OTHER, Address("192.0.2.1", 1)))
        await until(lambda: recorder.links() == [("Joined", OTHER), ("Joined", OTHER)])


@pytest.mark.usefixtures("silent_pool")
async def test_what_is_meant_for_peers_that_are_gone_is_dropped() -> None:
    async with scene() as at:
        at.node._perform(effects.Send(OTHER, a_message(1)))
        at.node._perform(effects.Disconnect(OTHER, "gone already"))
        at.node._perform(effects.SetTimer(0.0))
        at.node._perform(effects.SetTimer(0.0))
        assert await at.holding() == (0, 0)


@pytest.mark.usefixtures("silent_pool")
@pytest.mark.parametrize(
    "data",
    [frame(b"\xc1"), b"\x7f\xff\xff\xff", frames(Idle(0.0)), frames(hello("peer", name=""))],
    ids=["no message", "too long", "out of turn", "a nameless peer"],
)
async def test_nonsense_from_another_worker_ends_its_link_and_nothing_else(
    data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with scene() as at:
        bad, good = await RawPeer.join(at.address, "peer", peer=OTHER), await RawPeer.join(at.address, "peer", peer=9)
        await bad.write(data + frames(SendWork(1, OTHER, (batch_of(JOB, abs, [1]),))))
        assert await bad.hear_end() == []
        await good.say(*introduction(JOB, abs), SendWork(1, PeerId(9), (batch_of(JOB, abs, [1, 2]),)))
        assert await good.hear(Ack) == Ack(1)
        assert await at.holding() == (2, 2)
        assert len(log_of(caplog)) == 1
        assert f"the link to worker {OTHER} (127.0.0.1:" in log_of(caplog)[0]
        assert "is gone: it broke the protocol: " in log_of(caplog)[0]


@pytest.mark.usefixtures("silent_pool")
async def test_work_that_breaks_the_rules_of_the_core_ends_its_link_too(caplog: pytest.LogCaptureFixture) -> None:
    async with scene() as at:
        bad = await RawPeer.join(at.address, "peer", peer=OTHER)
        await bad.say(Function(JOB, digest_of(b""), b""), OpenJob(JOB, introduction(JOB, abs)[0].options))  # type: ignore[union-attr]
        assert await bad.hear_end() == []
        assert await at.holding() == (0, 0)
        assert len(log_of(caplog)) == 1


@pytest.mark.usefixtures("silent_pool")
async def test_nobody_passes_another_function_off_as_one_that_is_known_by_its_digest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    opened, function = introduction(JOB, abs)
    assert isinstance(function, Function)
    async with scene() as at:
        bad = await RawPeer.join(at.address, "peer", peer=OTHER)
        await bad.say(opened, Function(JOB, function.digest, b"something else"))
        assert await bad.hear_end() == []
        assert "a function of 14 bytes came that is not what its digest says" in log_of(caplog)[0]
        good = await RawPeer.join(at.address, "peer", peer=PeerId(OTHER + 1))
        await good.say(opened, function, SendWork(1, PeerId(9), (batch_of(JOB, abs, [1, 2]),)))
        assert await good.hear(Ack) == Ack(1)


# --- giving work


async def give_it_work(at: Scene) -> None:
    at.make_ready()
    await at.boss.hear(Idle)
    await at.boss.say(*introduction(JOB, abs), SendWork(1, CONTROLLER, (batch_of(JOB, abs, list(range(ITEMS))),)))
    await at.boss.say(AskInventory(1))
    while not isinstance(message := await at.boss.hear_any(), Inventory):
        assert message is not None
        assert not isinstance(message, Ack), "what the controller itself gives is not acknowledged"
    assert spans_held(message) == (ITEMS, ITEMS)


@pytest.mark.usefixtures("silent_pool")
async def test_work_goes_to_another_worker_directly() -> None:
    async with scene() as at, listener() as (address, accept):
        await give_it_work(at)
        await at.boss.say(Match(OTHER, address.host, address.port))
        other = await accept()
        assert (await other.hear(Hello)).peer == ME
        await other.say(Welcome(MAGIC, PROTOCOL_VERSION, OTHER, ""))
        assert isinstance(await other.hear_any(), OpenJob)
        assert isinstance(await other.hear_any(), Function)
        work = await other.hear(SendWork)
        assert work.donor == ME
        assert await at.holding() == (ITEMS, ITEMS)
        await other.say(Ack(work.transfer))
        kept = ITEMS - spans_of(work.batches)
        assert 0 < kept < ITEMS
        await other.say(*introduction(JOB, abs))  # what is said after the ACK is handled after it
        for _ in range(100):
            if await at.holding() == (kept, kept):
                break
        assert await at.holding() == (kept, kept)


@pytest.mark.usefixtures("silent_pool")
@pytest.mark.parametrize("port", ["closed", "impossible", "strange", "somebody else"])
async def test_work_for_a_worker_that_cannot_be_reached_goes_through_the_controller(
    port: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with scene() as at, listener() as (address, accept):
        await give_it_work(at)
        async with listener() as (closed, _):
            pass
        wanted = {"closed": closed.port, "impossible": 99_999}.get(port, address.port)
        await at.boss.say(Match(OTHER, address.host, wanted))
        if port == "strange":
            await (await accept()).write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        elif port == "somebody else":
            await (await accept()).say(Welcome(MAGIC, PROTOCOL_VERSION, PeerId(99), ""))
        relay = await at.boss.hear(Relay)
        assert relay.requester == OTHER
        assert await at.holding() == (ITEMS, ITEMS)
        await at.boss.say(Ack(relay.transfer))
        kept = ITEMS - spans_of(relay.batches)
        assert await at.holding() == (kept, kept)
        assert len(log_of(caplog)) == 1
        assert f"no direct link to worker {OTHER}; its work goes through the controller: " in log_of(caplog)[0]


@pytest.mark.usefixtures("silent_pool")
async def test_work_whose_acknowledgement_is_lost_with_either_link_is_not_lost() -> None:
    for which in (0, 1):
        async with scene() as at, listener() as (address, accept):
            await give_it_work(at)
            twins = [await RawPeer.join(at.address, "peer", peer=OTHER) for _ in range(2)]
            await at.boss.say(Match(OTHER, address.host, address.port))
            first = await twins[0].hear(SendWork)
            # The ACK was written to this link, and never arrives.
            twins[which].reset()
            await twins[1 - which].hear_end()
            assert await at.holding() == (ITEMS, ITEMS)
            # Now it must be its own again, to run or to give: not set aside for an ACK that will not come.
            assert at.node._worker is not None
            assert at.node._worker._exchange._sent == {}
            await at.boss.say(Match(OTHER, address.host, address.port))
            other = await accept()
            await other.say(Welcome(MAGIC, PROTOCOL_VERSION, OTHER, ""))
            second = await other.hear(SendWork)
            assert second.transfer != first.transfer
            # A late one, for the first transfer, changes nothing.
            await other.say(Ack(first.transfer), NoWork(OTHER, ME))
            assert await at.holding() == (ITEMS, ITEMS)


# --- real clusters


async def test_real_workers_share_what_one_of_them_got() -> None:
    items = list(range(120))
    async with controller(placement="first") as server, node(server.address) as one, node(server.address) as other:
        client = await RawPeer.join(server.address, "client")
        await until(lambda: all(worker._pool._slots[0].ready for worker in (one, other)))
        await client.say(*whole_job(job_of(client), tasks.where, items))
        values = await values_of(client, job_of(client))
        assert [number for number, _ in values] == items
        assert {pid for _, pid in values} == {*one._pool.pids, *other._pool.pids}
        assert other.peer in one._links or one.peer in other._links


async def test_real_workers_share_through_the_controller_where_they_cannot_connect(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with listener() as (closed, _):
        pass
    lie = worker_node.hello

    def behind_a_firewall(*args: Any, **fields: Any) -> Hello:
        return replace(lie(*args, **fields), port=closed.port)

    monkeypatch.setattr(worker_node, "hello", behind_a_firewall)
    items = list(range(120))
    async with controller(placement="first") as server, node(server.address) as one, node(server.address) as other:
        client = await RawPeer.join(server.address, "client")
        await until(lambda: all(worker._pool._slots[0].ready for worker in (one, other)))
        await client.say(*whole_job(job_of(client), tasks.where, items))
        values = await values_of(client, job_of(client))
        assert [number for number, _ in values] == items
        assert {pid for _, pid in values} == {*one._pool.pids, *other._pool.pids}
        assert set(one._links) == set(other._links) == {CONTROLLER}
    assert log_of(caplog)
    assert all("its work goes through the controller" in line for line in log_of(caplog))


async def test_a_stranger_at_a_workers_port_disturbs_no_job(caplog: pytest.LogCaptureFixture) -> None:
    async with controller() as server, node(server.address) as worker:
        client = await RawPeer.join(server.address, "client")
        await client.say(*whole_job(job_of(client), tasks.nap, [0.01] * 20))
        assert worker._server is not None
        strangers: list[Callable[[RawPeer], Any]] = [
            lambda raw: raw.write(b"GET / HTTP/1.1\r\n\r\n"),
            lambda raw: raw.say(Ack(1)),
            lambda raw: raw.say(hello("peer", name="", peer=PeerId(99)), Idle(0.0)),
            lambda raw: asyncio.sleep(0, raw.reset()),
        ]
        for misbehave in strangers:
            raw = await RawPeer.open(Address(*worker._server.sockets[0].getsockname()))
            await misbehave(raw)
        assert await values_of(client, job_of(client)) == [0.01] * 20
        await until(lambda: len(log_of(caplog)) == len(strangers))


async def test_the_listening_socket_of_a_worker_is_on_the_interface_that_the_controller_sees() -> None:
    async with controller() as server, node(server.address) as worker:
        assert worker._server is not None
        assert [sock.family for sock in worker._server.sockets] == [socket.AF_INET]
        assert worker._server.sockets[0].getsockname()[0] == "127.0.0.1"
