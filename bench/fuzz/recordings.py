"""What a real client and real workers said to their controller, and it to them, frame by frame.

Links are recorded by a proxy between them, on this machine and without protection, since nobody could read them else.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack

import lbnet
from bench.surviving import Cluster
from lbnet.protocol import messages
from lbnet.protocol.codec import decode
from lbnet.protocol.framing import FrameReader
from lbnet.types import PeerId
from lbnet.workloads import uts

_JOB_BITS, _RUN_BITS = 24, 44
"""Of the ids that a client and a worker count themselves, below their own."""

WORKERS = ("one", "two")


@dataclass(frozen=True, slots=True)
class Session:
    """One link: who opened it, what they were called there, and the frames in each direction, without the greeting."""

    role: str
    peer: PeerId
    said: tuple[bytes, ...]
    heard: tuple[bytes, ...]

    def said_as(self, peer: PeerId) -> list[bytes]:
        """The frames again, for somebody of another id: his jobs, and the runs of his tasks, bear it."""
        return [_renamed(body, self.peer, peer) for body in self.said]


def _renamed(body: bytes, old: int, new: int) -> bytes:
    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(each) for each in value]
        if type(value) is int:
            for bits in (_JOB_BITS, _RUN_BITS):
                if value >> bits == old:
                    return new << bits | value & ((1 << bits) - 1)
        return value

    return msgpack.packb(walk(msgpack.unpackb(body, raw=False)), use_bin_type=True)  # type: ignore[no-any-return]


@dataclass
class _Tap:
    """The frames that pass in one direction."""

    reader: FrameReader = field(default_factory=FrameReader)
    bodies: list[bytes] = field(default_factory=list)

    def take(self, data: bytes) -> None:
        self.reader.feed(data)
        while (body := self.reader.next()) is not None:
            self.bodies.append(body)


class _Proxy:
    """Hands bytes on between whoever connects and the controller, and keeps a copy."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.links: list[tuple[_Tap, _Tap]] = []
        self.port = 0

    async def listen(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", self._port)
        link = _Tap(), _Tap()
        self.links.append(link)
        try:
            await asyncio.gather(_pipe(reader, there[1], link[0]), _pipe(there[0], writer, link[1]))
        finally:
            for end in (writer, there[1]):
                end.transport.abort()

    def sessions(self) -> Iterator[Session]:
        for said, heard in self.links:
            if said.bodies and heard.bodies:
                hello, welcome = decode(said.bodies[0]), decode(heard.bodies[0])
                assert isinstance(hello, messages.Hello)
                assert isinstance(welcome, messages.Welcome)
                yield Session(hello.role, welcome.peer, tuple(said.bodies[1:]), tuple(heard.bodies[1:]))


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tap: _Tap) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            tap.take(data)
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(ConnectionError):
        writer.write_eof()


@contextlib.contextmanager
def _proxy(port: int) -> Iterator[_Proxy]:
    """One that runs in a thread meanwhile."""
    made, up = _Proxy(port), threading.Event()
    end: list[Callable[[], object]] = []

    async def serve() -> None:
        over = asyncio.Event()
        loop = asyncio.get_running_loop()
        end.append(lambda: loop.call_soon_threadsafe(over.set))
        server = await made.listen()
        up.set()
        await over.wait()
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    up.wait()
    try:
        yield made
    finally:
        end[0]()
        thread.join()


def record() -> list[Session]:
    """Let a client and two workers do some of everything, and return what was said."""
    with tempfile.TemporaryDirectory(prefix="lbnet-fuzz-") as folder:
        cluster = Cluster(Path(folder), journal=False, insecure=True)
        try:
            cluster.controller()
            cluster.has_said("controller", "controller at")
            with _proxy(cluster.port) as proxy:
                cluster.port = proxy.port  # from here on, everybody comes by way of it
                for name in WORKERS:
                    cluster.worker(name)
                for name in WORKERS:
                    cluster.has_said(name, "has joined")
                with lbnet.Client(cluster.address, insecure=True) as client:
                    _some_of_everything(client)
                for name in WORKERS:
                    cluster.tell(name)
                return list(proxy.sessions())
        finally:
            cluster.close()


def _some_of_everything(client: lbnet.Client) -> None:
    client.wait_for_workers(len(WORKERS))
    assert list(client.map(abs, range(-3_000, 0))) == list(range(3_000, 0, -1))
    tree = uts.NAMED_TREES["default"]
    assert list(client.map(lbnet.run_unit, [uts.root(tree.parameters)], reduce=uts.combine)) == [tree.expected]
    failed = client.with_options(retries=1, retry_delay_s=0.01).map(int, ["1", "x", "3"], return_exceptions=True)
    assert sum(isinstance(value, ValueError) for value in failed) == 1
    view = client.with_options(strategy="rp", priority=1)
    assert view.submit(divmod, 7, 2).result() == (3, 1)
    endless = client.submit_job(abs, range(100_000))
    client.cancel(endless)
    assert len(client.status().workers) == len(WORKERS)
