"""What this machine spends on known numbers of messages, tasks and bytes, with real processes.

It reads clocks, and does no arithmetic beyond differences and medians. It must not know the model that the figures
are for.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import psutil
import uvloop

from lbnet import limits
from lbnet.address import DEFAULT_HOST
from lbnet.client.client import Client
from lbnet.client.local_cluster import LocalCluster
from lbnet.core.events import Event, SlotReady
from lbnet.net.greeting import connect, hello
from lbnet.net.link import Link
from lbnet.net.member import Member
from lbnet.pool.parent import Pool
from lbnet.protocol.messages import SAID_BY, Goodbye, Message
from lbnet.types import Address

REPEATS = 3
"""Each figure is the median of so many."""

_PINGS = 2_000
_STREAM_BYTES = 256 << 20
_CHUNK_BYTES = 1 << 20
_GREETINGS = 200


@dataclass(frozen=True, slots=True)
class Run:
    """What some jobs took. Seconds are CPU seconds unless the name says otherwise.

    Attributes:
        makespan_s: wall clock seconds of the last job, as the controller saw it.
        busy_s: wall clock seconds in the user's function of the last job, as its slots saw them.
        controller_s: of the controller's process.
        workers_s: of the workers' messaging processes together.
        slots_s: of their slots together.
        client_s: of this process.
        got: messages to the controller, by kind.
        sent: messages from the controller, by kind.
    """

    makespan_s: float
    busy_s: float
    controller_s: float
    workers_s: float
    slots_s: float
    client_s: float
    got: Mapping[str, float]
    sent: Mapping[str, float]


class Meter:
    """Runs jobs on a cluster while its processes' clocks are read.

    Args:
        cluster: its workers have joined.
        client: of that cluster.
    """

    def __init__(self, cluster: LocalCluster, client: Client) -> None:
        self._client = client
        self._controller, *self._workers = [psutil.Process(pid) for pid in cluster.pids]
        self._slots = [slot for worker in self._workers for slot in worker.children()]

    def runs(self, fn: Callable[..., object], items: Sequence[object], *, jobs: int = 1) -> Run:
        """``jobs`` times the same job, one after the other; all of that :data:`REPEATS` times, and the medians."""
        return median_run([self._run(fn, items, jobs) for _ in range(REPEATS)])

    def _run(self, fn: Callable[..., object], items: Sequence[object], jobs: int) -> Run:
        before, early = self._clocks(), self._client.status()
        for _ in range(jobs):
            results = self._client.map(fn, items)
            for _ in results:
                pass
        after, late = self._clocks(), self._client.status()
        report = self._client.report(results)
        controller_s, workers_s, slots_s, client_s = (end - begin for begin, end in zip(before, after, strict=True))
        got, sent = _more(early.got, late.got), _more(early.sent, late.sent)
        return Run(report.makespan_s, report.busy_s, controller_s, workers_s, slots_s, client_s, got, sent)

    def _clocks(self) -> tuple[float, float, float, float]:
        workers_s, slots_s = (sum(map(_cpu_s, processes)) for processes in (self._workers, self._slots))
        return _cpu_s(self._controller), workers_s, slots_s, time.process_time()


def median_run(runs: Sequence[Run]) -> Run:
    """Field by field the median of several runs of the same jobs."""
    values: list[object] = []
    for field in fields(Run):
        found = [getattr(run, field.name) for run in runs]
        if field.name in {"got", "sent"}:
            kinds = dict.fromkeys(kind for counts in found for kind in counts)
            values.append({kind: statistics.median([counts.get(kind, 0) for counts in found]) for kind in kinds})
        else:
            values.append(statistics.median(found))
    return Run(*values)  # type: ignore[arg-type]  # as they were taken


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _more(early: Mapping[str, int], late: Mapping[str, int]) -> dict[str, float]:
    """What was counted between two looks, without the second look itself."""
    looks = {"Ask": 1, "Answer": 1}
    found = {kind: count - early.get(kind, 0) - looks.get(kind, 0) for kind, count in late.items()}
    return {kind: float(count) for kind, count in found.items() if count}


# --- without a job ------------------------------------------------------------------------------------


def loopback(client: Client) -> tuple[float, float]:
    """Seconds from a byte's departure to its arrival, and bytes per second, between this process and a slot.

    One TCP connection over the loopback interface; both ends sleep while they wait.
    """
    with socket.create_server((DEFAULT_HOST, 0)) as listening:
        future = client.submit(_echo, *listening.getsockname()[:2])
        link, _ = listening.accept()
    with link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        trips = []
        for _ in range(_PINGS):
            began = time.perf_counter()
            link.sendall(b"?")
            link.recv(1)
            trips.append(time.perf_counter() - began)
        began = time.perf_counter()
        chunk = bytes(_CHUNK_BYTES)
        for _ in range(_STREAM_BYTES // _CHUNK_BYTES):
            link.sendall(chunk)
        link.recv(1)
        rate = _STREAM_BYTES / (time.perf_counter() - began)
    future.result()
    return statistics.median(trips) / 2, rate


def _echo(host: str, port: int) -> None:
    """The other end of :func:`loopback`, as a task."""
    with socket.create_connection((host, port)) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(_PINGS):
            link.recv(1)
            link.sendall(b"!")
        left = _STREAM_BYTES
        while left:
            left -= len(link.recv(_CHUNK_BYTES))
        link.sendall(b"!")


def greetings_s(address: Address, member: Member, controller: int) -> tuple[float, float]:
    """Seconds to open a link to this controller and to exchange greetings, as workers do among each other.

    Args:
        address: of the controller.
        member: who we are.
        controller: its process id.

    Returns:
        The median of the wall clock, and the mean CPU time of each of the two processes.
    """
    other = psutil.Process(controller)

    async def once() -> float:
        links: list[Link] = []
        began = time.perf_counter()
        await connect(
            address,
            lambda _: hello("client", name="calibrate"),
            may_say=SAID_BY["controller-to-client"],
            on_welcome=lambda link, _: links.append(link),
            on_message=_ignore,
            on_closed=_ignore,
            timeout_s=limits.CONNECT_TIMEOUT_S,
            member=member,
        )
        took_s = time.perf_counter() - began
        links[0].send(Goodbye("it has measured"))
        links[0].close("it has measured")
        await links[0].closed.wait()
        return took_s

    async def several() -> list[float]:
        return [await once() for _ in range(_GREETINGS)]

    before_s = time.process_time() + _cpu_s(other)
    took_s = statistics.median(uvloop.run(several()))
    return took_s, (time.process_time() + _cpu_s(other) - before_s) / (2 * _GREETINGS)


def _ignore(link: Link, what: Message | str) -> None:
    """Whoever measures the greeting has nothing to hear."""


def slot_start_s() -> float:
    """Seconds from the start of a slot process to its first word; median."""

    async def once() -> float:
        ready: asyncio.Future[float] = asyncio.get_running_loop().create_future()

        def on_event(event: Event) -> None:
            assert isinstance(event, SlotReady), "a slot that runs nothing says nothing else"
            ready.set_result(time.perf_counter())

        began = time.perf_counter()
        pool = Pool(1, on_event)
        await pool.start()
        try:
            return await asyncio.wait_for(ready, limits.CLUSTER_START_TIMEOUT_S) - began
        finally:
            await pool.stop()

    async def several() -> list[float]:
        return [await once() for _ in range(REPEATS)]

    return statistics.median(uvloop.run(several()))
