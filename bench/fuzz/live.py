"""A controller and a worker with open ports, and everybody who should not come there: all at once, for a while.

Beside them an honest client counts on: whatever the others do, its results are right and it is never alone for long.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import psutil

import lbnet
from bench.fuzz.decoders import MESSAGES
from bench.fuzz.mutations import Mutator
from bench.fuzz.recordings import Session, record
from lbnet.net.greeting import connect, hello
from lbnet.net.link import Link
from lbnet.net.member import Member
from lbnet.protocol.codec import encode
from lbnet.protocol.framing import frame
from lbnet.protocol.messages import SAID_BY, Idle
from lbnet.security.links import stranger_context
from lbnet.types import Address, PeerId

IDLE_CONNECTIONS = 10_000
_HUGE = struct.pack(">I", 0xFFFFFFFF)
_LORIS_S = 0.1
_DEEP = frame(b"\x91" * 100_000)


@dataclass
class Attack:
    """What was done, and what the honest client saw meanwhile.

    Attributes:
        counts: attempts by kind.
        honest: results of the honest client.
        slowest_s: the longest that it waited for a batch of them.
        grown_bytes: by how much controller and worker have grown since the first round.
    """

    counts: Counter[str] = field(default_factory=Counter)
    honest: int = 0
    slowest_s: float = 0.0
    grown_bytes: dict[str, int] = field(default_factory=dict)


async def _plain(address: Address, data: bytes, *, wait_s: float = 0.05) -> None:
    """Connect, say this, listen a little, and go."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        try:
            writer.write(data)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(1 << 16), wait_s)
        finally:
            writer.close()


async def _stranger(address: Address, data: bytes) -> None:
    """The same inside of TLS, without a certificate."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, ConnectionError):
        reader, writer = await asyncio.open_connection(
            address.host, address.port, ssl=stranger_context(), server_hostname=""
        )
        try:
            writer.write(data)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(1 << 16), 0.05)
        finally:
            writer.close()


async def _member(
    address: Address, member: Member, says: str, data: bytes | Callable[[PeerId], bytes], *, reads: bool = True
) -> None:
    """Somebody who was let in, and then says this, which may depend on his id."""
    links: list[tuple[Link, PeerId]] = []
    expected = "worker" if says == "peer" else "controller"
    with contextlib.suppress(lbnet.errors.ConnectError):
        await connect(
            address,
            lambda _: hello(says, name="evil", slots=1, port=9, peer=PeerId(4_000 if says == "peer" else 0)),
            may_say=SAID_BY["peer" if says == "peer" else f"controller-to-{says}"],
            on_welcome=lambda link, welcome: links.append((link, welcome.peer)),
            on_message=lambda *_: None,
            on_closed=lambda *_: None,
            timeout_s=10.0,
            member=member,
            role=expected,
        )
    for link, peer in links:
        transport = link._transport  # noqa: SLF001 - it says what no Link would
        if transport is not None:
            if not reads:
                transport.pause_reading()
            transport.write(data if isinstance(data, bytes) else data(peer))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(link.closed.wait(), 0.1)
        link.abort("enough")
        await link.closed.wait()


async def _loris(address: Address) -> None:
    """A byte now and then."""
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection(address.host, address.port)
        try:
            for byte in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03":
                writer.write(bytes((byte,)))
                await asyncio.sleep(_LORIS_S)
        finally:
            writer.close()


def _idle_connections(addresses: list[Address], count: int) -> list[socket.socket]:
    """As many connections as the system gives us, up to ``count``, that say nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard > 0 else soft, hard))
    made: list[socket.socket] = []
    for number in range(count):
        sock = socket.socket()
        sock.setblocking(False)
        address = addresses[number % len(addresses)]
        with contextlib.suppress(BlockingIOError):
            try:
                sock.connect((address.host, address.port))
            except BlockingIOError:
                pass
            except OSError:
                sock.close()
                break
        made.append(sock)
    return made


class Honest(threading.Thread):
    """A client that computes on, and notices when anything is wrong or slow."""

    def __init__(self, cluster: lbnet.LocalCluster) -> None:
        super().__init__(daemon=True)
        self._cluster = cluster
        self._over = threading.Event()
        self.results = 0
        self.slowest_s = 0.0
        self.problem: BaseException | None = None

    def run(self) -> None:
        """Map small lists, one after the other."""
        try:
            with self._cluster.client() as client:
                while not self._over.is_set():
                    began = time.monotonic()
                    assert list(client.map(abs, range(-500, 500))) == [abs(x) for x in range(-500, 500)]
                    self.slowest_s = max(self.slowest_s, time.monotonic() - began)
                    self.results += 1_000
                    time.sleep(0.05)
        except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits for it
            self.problem = error

    def end(self) -> None:
        """Stop, and say what was wrong."""
        self._over.set()
        self.join(60)
        if self.problem is not None:
            raise AssertionError(f"an honest client was disturbed: {self.problem!r}") from self.problem


def fuzz_ports(seed: int, seconds: float) -> Attack:
    """Attack a cluster's ports for so long.

    Raises:
        AssertionError: an honest client was disturbed, or a process has died.
    """
    attack = Attack()
    with lbnet.LocalCluster(workers=1, slots=1) as cluster:
        with cluster.client() as client:
            list(client.map(abs, range(100)))
            worker_port = int(client.status().workers[0].address.rpartition(":")[2])
        processes = {"controller": psutil.Process(cluster.pids[0]), "worker": psutil.Process(cluster.pids[1])}
        addresses = [cluster.where, Address(cluster.where.host, worker_port)]
        members = {role: cluster.member(role) for role in ("client", "worker")}
        honest = Honest(cluster)
        honest.start()
        asyncio.run(_rounds(random.Random(seed), seconds, addresses, members, attack, processes))
        honest.end()
        assert all(process.is_running() for process in processes.values()), "a process has died"
        attack.honest, attack.slowest_s = honest.results, honest.slowest_s
    return attack


async def _rounds(
    rng: random.Random,
    seconds: float,
    addresses: list[Address],
    members: dict[str, Member],
    attack: Attack,
    processes: dict[str, psutil.Process],
) -> None:
    controller = addresses[0]
    sessions: dict[str, list[Session]] = {"client": [], "worker": []}
    for session in await asyncio.to_thread(record):
        sessions[session.role].append(session)
    given = [session.heard for session in sessions["worker"]]
    mutator = Mutator([frame(encode(message)) for message in MESSAGES], rng)
    flood = frame(encode(Idle(0.0))) * 20_000
    idle = _idle_connections(addresses, IDLE_CONNECTIONS)
    attack.counts["idle connections"] += len(idle)
    beginnings = Mutator([_client_hello()], rng)
    began, settled = time.monotonic(), dict[str, int]()

    async def several(kind: str, count: int, make: Callable[[], Awaitable[None]]) -> None:
        await asyncio.gather(*(make() for _ in range(count)))
        attack.counts[kind] += count

    def noise() -> bytes:
        return rng.randbytes(rng.randrange(1, 4_000))

    def changed() -> bytes:
        return b"".join(mutator.next() for _ in range(20))

    def replayed(role: str) -> Callable[[PeerId], bytes]:
        return lambda peer: _changed_session(rng.choice(sessions[role]), peer, mutator, rng)

    async def at(address: Address) -> None:
        await several("random bytes", 16, lambda: _plain(address, noise()))
        await several("messages without TLS", 16, lambda: _plain(address, mutator.next()))
        await several("beginnings of TLS, changed", 16, lambda: _plain(address, beginnings.next()))
        await several("a frame of 4 GB", 4, lambda: _plain(address, _HUGE + bytes(4_000)))
        await several("strangers in TLS", 8, lambda: _stranger(address, noise()))

    async def let_in(role: str) -> None:
        member = members[role]
        whose = f"{role}s that were let in"
        await several(f"{whose}, messages changed", 12, lambda: _member(controller, member, role, changed()))
        await several(f"{whose}, recordings changed", 12, lambda: _member(controller, member, role, replayed(role)))
        await several(f"{whose}, nesting", 2, lambda: _member(controller, member, role, _DEEP))
        await several(f"{whose}, a frame of 4 GB", 2, lambda: _member(controller, member, role, _HUGE + bytes(1_000)))

    worker = members["worker"]
    while time.monotonic() - began < seconds:
        for address in addresses:
            await at(address)
        slow = asyncio.create_task(several("slow loris", 2, lambda: _loris(rng.choice(addresses))))
        for role in ("client", "worker"):
            await let_in(role)
        await several(
            "workers that say IDLE 20,000 times and never read",
            1,
            lambda: _member(controller, worker, "worker", flood, reads=False),
        )
        await several(
            "workers at a worker, messages changed", 8, lambda: _member(addresses[1], worker, "peer", changed())
        )
        await several(
            "workers at a worker, recordings changed",
            8,
            lambda: _member(addresses[1], worker, "peer", _changed_frames(rng.choice(given), mutator, rng)),
        )
        await slow
        if not settled and time.monotonic() - began > seconds / 4:
            settled = {name: process.memory_info().rss for name, process in processes.items()}
    for sock in idle:
        sock.close()
    attack.grown_bytes = {name: processes[name].memory_info().rss - rss for name, rss in settled.items()}


def _changed_session(session: Session, peer: PeerId, mutator: Mutator, rng: random.Random) -> bytes:
    """What was said on a real link, by somebody else now."""
    return _changed_frames(session.said_as(peer), mutator, rng)


def _changed_frames(bodies: Sequence[bytes], mutator: Mutator, rng: random.Random) -> bytes:
    """Some frames in their order, from the beginning or from anywhere, one in a few of them changed."""
    first = rng.choice((0, rng.randrange(len(bodies))))
    said = [frame(body) for body in bodies[first : first + rng.randrange(1, 80)]]
    odds = rng.choice((0.02, 0.1, 0.5))
    return b"".join(mutator.change(each) if rng.random() < odds else each for each in said)


def _client_hello() -> bytes:
    """The first bytes of somebody who speaks TLS."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        stranger_context().wrap_bio(incoming, outgoing).do_handshake()
    return outgoing.read()
