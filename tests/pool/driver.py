"""Drives a real pool in the tests: effects go in by short calls, events are collected and looked up."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psutil

from lbnet import pickling
from lbnet.core import effects, events
from lbnet.core.events import Event
from lbnet.pool.parent import Pool
from lbnet.types import FAILED, ROOT, VALUES, Batch, Failure, Group, JobId, Payload, RunId, SlotId

DEADLINE_S = 30.0
JOB = JobId(1)
E = TypeVar("E", bound=Event)


def batch_of(
    data: bytes, digest: bytes, count: int, *, lo: int = 0, origin: RunId = ROOT, root: int = 0, job: JobId = JOB
) -> Batch:
    """A batch of a payload that was pickled already."""
    return Batch(job, origin, lo, lo + count, root, ROOT, 0, Payload(lo, count, digest, data))


class Driver:
    """A pool and all of its events."""

    def __init__(self, slots: int, memory_limit_bytes: int = 0) -> None:
        self.events: list[Event] = []
        self.pool = Pool(slots, self._take, memory_limit_bytes)
        self.executing = False
        self._news = asyncio.Event()
        self._tickets = 0
        self._taught: set[tuple[SlotId, JobId, bytes]] = set()

    def _take(self, event: Event) -> None:
        assert not self.executing, "no event comes from inside of execute()"
        self.events.append(event)
        self._news.set()

    def execute(self, effect: effects.Effect) -> None:
        self.executing = True
        try:
            self.pool.execute(effect)
        finally:
            self.executing = False

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for events until ``condition`` holds."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"it never came; events: {self.events!r:.3000}") from None

    async def ready(self, times: int = 1) -> None:
        """Wait until every slot said so many times that it is ready."""
        slots = range(len(self.pool._slots))
        await self.until(lambda: all(sum(e.slot == slot for e in self.of(events.SlotReady)) >= times for slot in slots))

    # --- effects ------------------------------------------------------------------------------------

    def teach(self, fn: Callable[..., Any], slot: int = 0, job: JobId = JOB) -> bytes:
        """Teach a function, once."""
        digest, data = pickling.dump_function(fn)
        if (SlotId(slot), job, digest) not in self._taught:
            self._taught.add((SlotId(slot), job, digest))
            self.execute(effects.Teach(SlotId(slot), job, digest, data))
        return digest

    def forget_taught(self) -> None:
        """A new process knows nothing."""
        self._taught.clear()

    def run(
        self,
        fn: Callable[..., Any],
        items: Sequence[Any],
        *,
        slot: int = 0,
        lo: int = 0,
        origin: RunId = ROOT,
        reduce: Callable[..., Any] | None = None,
        timeout_s: float = 0.0,
        first_run: int = 1_000,
    ) -> int:
        """Hand ``fn`` of each item to a slot; returns the ticket."""
        digest = self.teach(fn, slot)
        reduce_digest = self.teach(reduce, slot) if reduce is not None else b""
        batch = batch_of(pickling.dump_items(items).data, digest, len(items), lo=lo, origin=origin)
        self._tickets += 1
        run = effects.Run(SlotId(slot), self._tickets, batch, RunId(first_run), reduce_digest, timeout_s)
        self.execute(run)
        return self._tickets

    def reclaim(self, ticket: int, limit: int, slot: int = 0) -> None:
        self.execute(effects.Reclaim(SlotId(slot), ticket, limit))

    async def take_back(self, ticket: int, upto: int) -> None:
        """Reclaim all of a ticket until no more than ``[lo, upto)`` is left to its slot."""
        async with asyncio.timeout(DEADLINE_S):
            while not any(e.ticket == ticket and e.taken_from == upto for e in self.of(events.Reclaimed)):
                self.reclaim(ticket, 0)
                await asyncio.sleep(0.001)

    async def finished(self, ticket: int) -> int:
        """Wait for the end of a ticket; how far it ran."""
        await self.until(lambda: any(event.ticket == ticket for event in self.of(events.SlotFinished)))
        return next(event.ran_to for event in self.of(events.SlotFinished) if event.ticket == ticket)

    # --- events -------------------------------------------------------------------------------------

    def groups(self, ticket: int) -> Iterator[Group]:
        for event in self.of(events.SlotDone):
            if event.ticket == ticket:
                yield from event.groups

    def values(self, ticket: int) -> dict[int, Any]:
        """Values by index; a task that reported twice is a mistake."""
        found: dict[int, Any] = {}
        for group in self.groups(ticket):
            if group.kind == VALUES:
                reader, (member,) = pickling.load_values(group.data), group.members
                assert len(reader) == member.hi - member.lo
                for position, index in enumerate(range(member.lo, member.hi)):
                    assert index not in found
                    found[index] = reader.get(position)
        return found

    def failures(self, ticket: int) -> dict[int, Failure]:
        found: dict[int, Failure] = {}
        for group in self.groups(ticket):
            if group.kind == FAILED:
                (member,) = group.members
                assert group.failure is not None
                assert member.hi == member.lo + 1
                assert member.lo not in found
                found[member.lo] = group.failure
        return found


async def eventually(condition: Callable[[], object]) -> None:
    """Wait for what sends no event: a file, another process."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - as said
            await asyncio.sleep(0.001)


def is_gone(process: psutil.Process) -> bool:
    """Whether it has ended; when init reaps it is not ours to say."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def held() -> tuple[set[str], set[int], set[threading.Thread]]:
    """Open descriptors, child processes, and threads, of this process."""
    descriptors = set()
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the listing's own
            descriptors.add(f"{path.name} {path.readlink()}")
    return descriptors, {child.pid for child in psutil.Process().children()}, set(threading.enumerate())


async def warm_up() -> None:
    """Event loops open some descriptors when they are first used: let them, before anybody counts."""
    ours, theirs = socket.socketpair()
    transport, _ = await asyncio.get_running_loop().create_unix_connection(asyncio.Protocol, sock=ours)
    transport.abort()
    theirs.close()
    await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def pool_of(slots: int, *, ready: bool = True, memory_limit_bytes: int = 0) -> AsyncIterator[Driver]:
    """A started pool; when it stops, nothing of it may be left, and nothing may be heard of it."""
    await warm_up()
    before = held()
    driver = Driver(slots, memory_limit_bytes)
    await driver.pool.start()
    try:
        if ready:
            await driver.ready()
        yield driver
    finally:
        pids = driver.pool.pids
        await driver.pool.stop()
        count = len(driver.events)
        await asyncio.sleep(0)
        assert held() == before
        assert not any(psutil.pid_exists(pid) for pid in pids)
        assert driver.pool.pids == []
        assert len(driver.events) == count
