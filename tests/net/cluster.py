"""A cluster inside of the test's event loop, and raw peers that speak frames by hand."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

import psutil

from lbnet.core.controller import Controller
from lbnet.core.events import Event
from lbnet.journal.journal import Journal
from lbnet.net.controller_server import ControllerServer
from lbnet.net.greeting import hello
from lbnet.net.restored import restore
from lbnet.net.worker_node import WorkerNode
from lbnet.pickling import dump_function, dump_items, dump_values, load_items, load_values
from lbnet.protocol.codec import decode, encode
from lbnet.protocol.framing import FrameReader, frame
from lbnet.protocol.messages import (
    Ack,
    CloseJob,
    Function,
    JobDone,
    Kept,
    Message,
    OpenJob,
    Result,
    SendWork,
    Submit,
    Submitted,
    Values,
    Welcome,
)
from lbnet.strategies import registry
from lbnet.types import ROOT, VALUES, Address, Batch, Group, JobId, JobOptions, Member, Payload, PeerId

DEADLINE_S = 20.0
"""Nothing here takes a second; a machine that is busy with something else may need a little longer."""

A_MESSAGE = TypeVar("A_MESSAGE", bound=Message)


def children() -> set[int]:
    """The pids of all child processes of the test's own."""
    return {child.pid for child in psutil.Process().children()}


async def until(
    condition: Callable[[], bool],
    problem: Callable[[], str] | str = "it never came true",
    deadline_s: float = DEADLINE_S,
) -> None:
    """Poll until ``condition`` holds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + deadline_s
    while not condition():
        assert loop.time() < deadline, problem if isinstance(problem, str) else problem()
        await asyncio.sleep(0.002)


def frames(*messages: Message) -> bytes:
    """The bytes of messages on a link."""
    return b"".join(frame(encode(message)) for message in messages)


# --- roles ----------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def controller(
    host: str = "127.0.0.1",
    port: int = 0,
    listening: socket.socket | None = None,
    placement: str = "spread",
    no_workers_timeout_s: float = 60.0,
    client_grace_s: float = 60.0,
    deadline_s: float = 0.0,
    journal: Journal | None = None,
) -> AsyncIterator[ControllerServer]:
    """A controller that listens. It closes the journal."""
    core = Controller(
        registry.load,
        strategy="sb",
        placement=placement,
        no_workers_timeout_s=no_workers_timeout_s,
        client_grace_s=client_grace_s,
        deadline_s=deadline_s,
        journal=journal is not None,
    )
    if journal is not None:
        restore(core, journal, asyncio.get_running_loop().time())
    server = ControllerServer(core, journal=journal)
    try:
        await server.start(host, port, listening)
        yield server
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def node(
    address: Address, name: str = "", slots: int = 1, rejoin_timeout_s: float = 0.0
) -> AsyncIterator[WorkerNode]:
    """A worker with real slots, in this event loop."""
    worker = WorkerNode(slots=slots, name=name, load=registry.load, rejoin_timeout_s=rejoin_timeout_s)
    try:
        await worker.start(address)
        yield worker
    finally:
        await worker.stop()


class SilentPool:
    """Stands in for the slot processes of a node: takes effects and does nothing."""

    def __init__(self, slots: int, on_event: Callable[[Event], None], memory_limit_bytes: int = 0) -> None:
        self.effects: list[object] = []
        self.on_event = on_event

    async def start(self) -> None:
        """Nothing to start."""

    async def stop(self) -> None:
        """Nothing to stop."""

    def execute(self, effect: object) -> None:
        """Remember it."""
        self.effects.append(effect)


# --- raw peers ------------------------------------------------------------------------------------

OPEN_PEERS: list[RawPeer] = []
"""All that were made in this test; those that it leaves open are closed after it."""


class RawPeer:
    """The other end of a TCP connection: it says what it is told to, right or wrong."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._frames = FrameReader()
        self._loop = asyncio.get_running_loop()
        self.peer = PeerId(0)
        self.cluster = b""
        OPEN_PEERS.append(self)

    @classmethod
    async def open(cls, address: Address, kernel_bytes: int = 0) -> RawPeer:
        """Connect, and say nothing. ``kernel_bytes`` makes the system's buffers small."""
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF) if kernel_bytes else ():
            sock.setsockopt(socket.SOL_SOCKET, option, kernel_bytes)
        await asyncio.get_running_loop().sock_connect(sock, (address.host, address.port))
        return cls(sock)

    @classmethod
    async def join(
        cls,
        address: Address,
        role: str,
        *,
        name: str = "",
        port: int = 1,
        peer: int = 0,
        cluster: bytes = b"",
        kernel_bytes: int = 0,
    ) -> RawPeer:
        """Connect and exchange greetings."""
        raw = await cls.open(address, kernel_bytes)
        await raw.say(hello(role, name=name, slots=1, port=port, peer=PeerId(peer), cluster=cluster))
        welcome = await raw.hear(Welcome)
        raw.peer, raw.cluster = welcome.peer, welcome.cluster
        return raw

    async def write(self, data: bytes) -> None:
        """Send bytes. When it is cancelled, it has let go of the socket: uvloop's ``sock_sendall`` does not."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.sock.send(rest) :]
            except BlockingIOError:
                await asyncio.sleep(0.001)

    async def say(self, *messages: Message) -> None:
        """Send messages in one piece."""
        await self.write(frames(*messages))

    async def hear_any(self) -> Message | None:
        """The next message that is no receipt; None at the end of the connection."""
        while isinstance(message := await self.hear_next(), Submitted | Kept):
            pass
        return message

    async def hear_next(self) -> Message | None:
        """The next message; None at the end of the connection."""
        while (body := self._frames.next()) is None:
            try:
                data = await asyncio.wait_for(self._loop.sock_recv(self.sock, 1 << 16), DEADLINE_S)
            except ConnectionError:
                return None
            if not data:
                return None
            self._frames.feed(data)
        return decode(body)

    async def hear(self, kind: type[A_MESSAGE]) -> A_MESSAGE:
        """The next message of this kind; others are skipped."""
        while True:
            message = await self.hear_any()
            assert message is not None, f"the connection ended before a {kind.__name__} came"
            if isinstance(message, kind):
                return message

    async def hear_end(self) -> list[Message]:
        """All that comes until the connection ends."""
        messages = []
        while (message := await self.hear_any()) is not None:
            messages.append(message)
        return messages

    def close(self) -> None:
        """End the connection in the ordinary way."""
        self.sock.close()

    def reset(self) -> None:
        """End the connection as a crash does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


@contextlib.asynccontextmanager
async def listener() -> AsyncIterator[tuple[Address, Callable[[], Any]]]:
    """A port that something else than lbnet holds: its address, and a coroutine function that accepts."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)

        async def accept() -> RawPeer:
            connection, _ = await asyncio.wait_for(loop.sock_accept(sock), DEADLINE_S)
            connection.setblocking(False)
            return RawPeer(connection)

        yield Address("127.0.0.1", sock.getsockname()[1]), accept


# --- jobs -----------------------------------------------------------------------------------------


def job_of(client: RawPeer, number: int = 1) -> JobId:
    """The id of a client's job."""
    return JobId((client.peer << 24) + number)


def batch_of(job: JobId, fn: Callable[..., Any], items: Sequence[Any]) -> Batch:
    """All items in one batch."""
    digest, _ = dump_function(fn)
    payload = Payload(0, len(items), digest, dump_items(items).data)
    return Batch(job, ROOT, 0, len(items), 0, ROOT, 0, payload)


def introduction(job: JobId, fn: Callable[..., Any]) -> tuple[Message, ...]:
    """What precedes the first batch of a job on any link."""
    return OpenJob(job, JobOptions()), Function(job, *dump_function(fn))


def whole_job(job: JobId, fn: Callable[..., Any], items: Sequence[Any]) -> tuple[Message, ...]:
    """All that a client says to have ``fn`` called on ``items``."""
    return *introduction(job, fn), Submit(batch_of(job, fn, items)), CloseJob(job, len(items))


async def values_of(client: RawPeer, job: JobId) -> list[Any]:
    """The results of a job, in the order of the items."""
    values: dict[int, Any] = {}
    while not isinstance(message := await client.hear_any(), JobDone):
        assert isinstance(message, Values), message
        assert message.job == job
        reader = load_values(message.data)
        for index in range(message.lo, message.hi):
            assert index not in values
            values[index] = reader.get(index - message.base)
    return [values[index] for index in sorted(values)]


async def do_work(worker: RawPeer, fn: Callable[[Any], Any]) -> SendWork:
    """As a scripted worker, take what comes next and do it: ``fn`` stands for the function of the job."""
    work = await worker.hear(SendWork)
    await say_results(worker, work, fn)
    return work


async def say_results(worker: RawPeer, work: SendWork, fn: Callable[[Any], Any]) -> None:
    """Acknowledge work, and send its results."""
    groups = []
    for batch in work.batches:
        reader = load_items(batch.payload.data)
        call, entries = reader.call(fn), reader.entries[batch.lo - batch.payload.base : batch.hi - batch.payload.base]
        member = Member(batch.origin, batch.lo, batch.hi, batch.root, ROOT, 0, ROOT, ())
        groups.append(Group(VALUES, dump_values([call(entry) for entry in entries]).data, (member,), 0.001, None))
    await worker.say(Ack(work.transfer), Result(work.batches[0].job, tuple(groups), ()))
