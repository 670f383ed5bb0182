"""Links whose other end falls silent, on real sockets: half-open ones, stopped processes, and messages that drip in.

Deadlines here are short, so that they pass soon. Nothing depends on how short: all that is looked at is what comes
after what.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lbnet.errors import ConnectError
from lbnet.net.greeting import MAGIC, connect, hello
from lbnet.net.link import Link
from lbnet.net.vigil import Vigil
from lbnet.net.worker_node import WorkerNode
from lbnet.protocol.messages import PROTOCOL_VERSION, SAID_BY, Ask, Beat, Hello, Message, Welcome
from lbnet.strategies import registry
from lbnet.types import Address, JobId, PeerId
from tests.net.cluster import RawPeer, controller, frames, job_of, listener, node, until, values_of, whole_job

pytestmark = pytest.mark.usefixtures("nothing_is_left")

DEADLINE_S = 0.5

SILENCE = f"nothing came from it for {DEADLINE_S:g} s"

WORKER = """
import sys
from lbnet.net.run import run_worker
from lbnet.types import Address
say = lambda name, peer: print(peer, flush=True)
run_worker(connect=Address("127.0.0.1", int(sys.argv[1])), slots=1, name="w", on_ready=say)
"""


class Proxy:
    """A line between two that, once it is ``dead``, carries nothing, and tells neither of them."""

    def __init__(self, target: Address) -> None:
        self._target = target
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.dead = False
        self.address = Address("", 0)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                if not self.dead:
                    writer.write(data)
        if not self.dead:
            writer.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._target.host, self._target.port)
        self._writers += [writer, back]
        for one, other in ((reader, back), (there, writer)):
            task = asyncio.get_running_loop().create_task(self._carry(one, other))
            self._tasks.add(task)

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, target: Address) -> AsyncIterator[Proxy]:
        """It stands before ``target``."""
        proxy = cls(target)
        server = await asyncio.start_server(proxy._accept, "127.0.0.1", 0)
        proxy.address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
        try:
            yield proxy
        finally:
            server.close()
            for writer in proxy._writers:
                writer.close()
            await asyncio.gather(*proxy._tasks, return_exceptions=True)


class Beaten(RawPeer):
    """A raw peer that hears no BEAT."""

    async def hear_any(self) -> Message | None:
        """The next message that says something."""
        while isinstance(message := await super().hear_any(), Beat):
            pass
        return message


async def keep_alive(peer: RawPeer, until_done: asyncio.Task[None]) -> None:
    """Say BEAT by hand until the task is done."""
    while not until_done.done():
        await peer.say(Beat())
        await asyncio.wait([until_done], timeout=DEADLINE_S / 5)
    until_done.result()


# --- half-open links


async def test_both_ends_of_a_line_that_died_in_silence_notice(caplog: pytest.LogCaptureFixture) -> None:
    async with (
        controller(deadline_s=DEADLINE_S) as server,
        Proxy.to(server.address) as line,
        node(line.address) as lost,
    ):
        peer = lost.peer
        assert list(server._links) == [peer]
        line.dead = True
        assert await lost.lost == SILENCE
        await until(lambda: not server._links)
        assert any(f"peer {peer} " in text and SILENCE in text for text in caplog.messages)


async def test_a_line_that_is_only_silent_is_kept() -> None:
    async with (
        controller(deadline_s=DEADLINE_S) as server,
        Proxy.to(server.address) as line,
        node(line.address) as kept,
    ):
        silent = await RawPeer.join(server.address, "client")
        # When the one that says nothing at all has been given up, twice, the others had time enough, too.
        for _ in range(2):
            assert all(isinstance(message, Beat) for message in await silent.hear_end())
            silent = await RawPeer.join(server.address, "client")
        assert kept.peer in server._links
        assert not kept.lost.done()


async def test_work_of_a_worker_beyond_a_dead_line_is_done_by_another() -> None:
    async with (
        controller(deadline_s=DEADLINE_S) as server,
        Proxy.to(server.address) as line,
        node(line.address) as lost,
    ):
        client = await Beaten.join(server.address, "client")
        await until(lambda: server._controller.status().workers[0].state == "idle")
        line.dead = True
        job = job_of(client)
        await client.say(*whole_job(job, abs, range(-4, 1)))

        async def works() -> None:
            async with node(server.address):
                await lost.lost
                assert await values_of(client, job) == [4, 3, 2, 1, 0]

        await keep_alive(client, asyncio.get_running_loop().create_task(works()))


async def test_a_link_between_workers_that_died_is_noticed_by_them() -> None:
    worker = WorkerNode(slots=1, name="", load=registry.load)
    async with listener() as (address, accept):
        starting = asyncio.create_task(worker.start(address))
        boss = await accept()
        greeting = await boss.hear(Hello)
        await boss.say(Welcome(MAGIC, PROTOCOL_VERSION, PeerId(7), "", b"", DEADLINE_S))
        await starting
        other = await RawPeer.join(Address("127.0.0.1", greeting.port), "peer", peer=8)

        async def dies() -> None:
            assert Beat() in await other.hear_end()

        await keep_alive(boss, asyncio.create_task(dies()))
        assert not worker.lost.done()
        await worker.stop()


# --- processes that are stopped


def start_worker(controller: Address, said: Path) -> subprocess.Popen[bytes]:
    """A worker that is a process of its own."""
    with said.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-c", WORKER, str(controller.port)], stdout=subprocess.PIPE, stderr=file
        )


async def test_a_worker_that_is_stopped_is_given_up_and_finds_its_link_closed(tmp_path: Path) -> None:
    async with controller(deadline_s=DEADLINE_S) as server:
        with (tmp_path / "said").open("wb") as said:
            process = subprocess.Popen(  # noqa: ASYNC220 - starting it takes a moment
                [sys.executable, "-c", WORKER, str(server.address.port)], stdout=subprocess.PIPE, stderr=said
            )
        assert process.stdout is not None
        try:
            peer = int(await asyncio.get_running_loop().run_in_executor(None, process.stdout.readline))
            assert peer in server._links
            process.send_signal(signal.SIGSTOP)
            await until(lambda: peer not in server._links)
            assert server._controller.status().workers == ()
            process.send_signal(signal.SIGCONT)
            await until(lambda: process.poll() is not None)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        text = (tmp_path / "said").read_text()
        assert "ConnectionLostError" in text
        assert SILENCE not in text, "the one that slept doubts itself first, and sees that the other has hung up"


# --- long messages


async def test_a_message_that_drips_in_is_waited_for_and_one_that_stops_is_not() -> None:
    async with controller(deadline_s=DEADLINE_S) as server:
        worker, slow = [await RawPeer.join(server.address, role) for role in ("worker", "client")]
        patient = await RawPeer.join(server.address, "client")

        async def outlasts() -> None:
            """Somebody who is silent is given up, three times; meanwhile a byte comes now and then."""
            for _ in range(3):
                silent = await RawPeer.join(server.address, "client")
                await silent.hear_end()

        outlasting = asyncio.create_task(outlasts())
        long = frames(Ask(1, "x" * 100_000, JobId(0)))
        at = 0
        while not outlasting.done():
            await slow.write(long[at : at + 100])
            at += 100
            await worker.say(Beat())
            await asyncio.wait([outlasting], timeout=DEADLINE_S / 5)
        outlasting.result()
        assert at < len(long)
        assert {worker.peer, slow.peer} == set(server._links)
        assert patient.peer not in server._links
        await slow.hear_end()
        assert slow.peer not in server._links


# --- a link without a core


async def link_to(address: Address, closed: list[str], welcomed: list[Vigil]) -> None:
    def on_welcome(link: Link, welcome: Welcome) -> None:
        welcomed.append(Vigil(link, welcome.deadline_s))

    await connect(
        address,
        lambda _: hello("client", name="c"),
        may_say=SAID_BY["controller-to-client"],
        on_welcome=on_welcome,
        on_message=lambda *_: welcomed[0].heard(),
        on_closed=lambda _, reason: closed.append(reason),
        timeout_s=10.0,
    )


async def let_in(accept: object, deadline_s: float) -> RawPeer:
    boss: RawPeer = await accept()  # type: ignore[operator]
    await boss.hear(Hello)
    await boss.say(Welcome(MAGIC, PROTOCOL_VERSION, PeerId(7), "", b"", deadline_s))
    return boss


async def test_a_vigil_says_beat_and_closes_a_link_on_which_nothing_comes() -> None:
    closed: list[str] = []
    vigils: list[Vigil] = []
    async with listener() as (address, accept):
        letting = asyncio.create_task(let_in(accept, DEADLINE_S))
        await link_to(address, closed, vigils)
        boss = await letting
        for _ in range(6):  # two deadlines of silence from the client, had it no BEAT
            await boss.hear(Beat)
            await boss.say(Beat())
        assert not closed
        said = await boss.hear_end()
        assert said == [Beat()] * len(said)
        await until(lambda: closed == [SILENCE])
        vigils[0].end()


async def test_a_vigil_waits_for_a_message_that_drips_in() -> None:
    closed: list[str] = []
    vigils: list[Vigil] = []
    async with listener() as (address, accept):
        letting = asyncio.create_task(let_in(accept, DEADLINE_S))
        await link_to(address, closed, vigils)
        boss = await letting
        drip = frames(Ask(1, "x" * 1_000, JobId(0)))
        for at in range(9):  # three deadlines
            await boss.write(drip[at : at + 1])
            await boss.hear(Beat)
        assert not closed
        await boss.hear_end()
        await until(lambda: closed == [SILENCE])


async def test_a_vigil_without_a_deadline_does_nothing() -> None:
    closed: list[str] = []
    vigils: list[Vigil] = []
    async with listener() as (address, accept):
        letting = asyncio.create_task(let_in(accept, 0.0))
        await link_to(address, closed, vigils)
        assert vigils[0]._timer is None
        (await letting).close()
        await until(lambda: bool(closed))
        vigils[0].end()


@pytest.mark.parametrize("deadline_s", [1e-9, -1.0])
async def test_a_deadline_that_nobody_can_keep_is_not_agreed_to(deadline_s: float) -> None:
    async with listener() as (address, accept):
        letting = asyncio.create_task(let_in(accept, deadline_s))
        with pytest.raises(ConnectError, match="lets links be silent for"):
            await link_to(address, [], [])
        (await letting).close()
