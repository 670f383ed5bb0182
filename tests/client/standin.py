"""The real core of a controller in a thread, its workers and its journal played by the test, and a line that breaks.

The controller can be killed: what its journal had not kept by then is gone, and another one begins with the rest.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from itertools import zip_longest
from typing import Any, Self, TypeVar

import uvloop

from lbnet import pickling
from lbnet.core import effects, events
from lbnet.core.controller import Controller
from lbnet.core.events import Event
from lbnet.net.greeting import MAGIC, Reception
from lbnet.net.link import Link
from lbnet.protocol import messages, records
from lbnet.protocol.messages import PROTOCOL_VERSION, SAID_BY, Goodbye, Hello, Message, Welcome
from lbnet.strategies import registry
from lbnet.types import (
    COMBINED,
    FAILED,
    ROOT,
    VALUES,
    Address,
    Batch,
    Failure,
    Group,
    JobId,
    Member,
    Payload,
    PeerId,
    RunId,
)

T = TypeVar("T")

CLUSTER = b"sixteen bytes id"

NOBODY = Address("", 0)


class StandIn:
    """A controller.

    Args:
        seed: of when the journal keeps what.
        journal: whether there is one.
        group: tasks in one RESULT, at most.
    """

    def __init__(self, seed: int = 0, *, journal: bool = True, group: int = 7) -> None:
        self._rng = random.Random(seed)
        self._journal = journal
        self._group = group
        self._kept: list[tuple[JobId, tuple[records.Record, ...], bool]] = []
        self._issued = self._begins = 0
        self.cluster = CLUSTER
        self._links: dict[PeerId, Link] = {}
        self._peers: dict[Link, PeerId] = {}
        self._next_peer = 1
        self._functions: dict[bytes, Callable[..., Any]] = {}
        self._reduce: dict[JobId, bool] = {}
        self._paused = False
        self._runs = 0
        self._undone: list[tuple[PeerId, messages.SendWork]] = []
        self._timer: asyncio.TimerHandle | None = None
        self.heard: list[Message] = []
        """What clients said."""
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="stand-in")
        self._thread.start()
        self.address = self.call(self._start())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self._stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    def call(self, doing: Coroutine[Any, Any, T]) -> T:
        """Run it in the controller's thread."""
        return asyncio.run_coroutine_threadsafe(doing, self.loop).result(10)

    # --- what a test does -----------------------------------------------------------------------------

    def cut(self) -> None:
        """Break all links."""

        async def cut() -> None:
            for link in list(self._peers):
                link.abort("the test cuts it")

        self.call(cut())

    def kill(self, *, forget: bool = False) -> None:
        """Kill the controller, and start another one; ``forget``: without what was kept, as another cluster."""

        async def kill() -> None:
            links = list(self._peers)
            self._peers.clear()
            self._links.clear()
            for link in links:
                link.abort("the controller was killed")
            del self._kept[self._issued :]
            if forget:
                self._kept.clear()
                self._issued, self.cluster, self._next_peer = 0, b"another cluster", 1
            self._begin()

        self.call(kill())

    def pause(self, paused: bool) -> None:
        """Let the workers do nothing, or go on."""

        async def pause() -> None:
            self._paused = paused
            undone, self._undone = self._undone, []
            for worker, work in undone if not paused else ():
                self._work(worker, work)

        self.call(pause())

    def job(self, number: int) -> Any:
        """The controller's record of a job, None if it knows none."""

        async def job() -> Any:
            return self._core.job(JobId(number))

        return self.call(job())

    def kept_jobs(self) -> set[int]:
        """Jobs that the journal holds."""

        async def kept() -> set[int]:
            return {job for job, _, _ in self._records()}

        return self.call(kept())

    # --- the driver -----------------------------------------------------------------------------------

    async def _start(self) -> Address:
        self._begin()
        self._reception = Reception(
            roles=frozenset({"client"}),
            admit=self._admit,
            on_message=self._on_message,
            on_closed=self._on_closed,
            log=logging.getLogger("stand-in"),
        )
        self._server = self._reception.listen(socket.create_server(("127.0.0.1", 0)))
        return Address(*self._server.sockets[0].getsockname()[:2])

    async def _stop(self) -> None:
        self._server.close()
        await self._reception.close()
        if self._timer is not None:
            self._timer.cancel()
        for link in list(self._peers):
            link.abort("the test is over")
            await link.closed.wait()

    def _begin(self) -> None:
        self._core = Controller(registry.load, strategy="sb", placement="spread", journal=self._journal)
        self._begins = self._issued = len(self._kept)
        self._undone.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._core.restore([record for _, kept, _ in self._records() for record in kept], self.loop.time())
        worker, self._worker = self._next_peer, PeerId(self._next_peer)
        self._next_peer += 1
        self._handle(events.Joined(PeerId(worker), "worker", "worker", "host", 1, 1, NOBODY))
        self._handle(events.Received(PeerId(worker), messages.Idle(0.0)))

    def _records(self) -> list[tuple[JobId, tuple[records.Record, ...], bool]]:
        kept: list[tuple[JobId, tuple[records.Record, ...], bool]] = []
        for entry in self._kept[: self._issued]:
            if entry[2]:
                kept = [one for one in kept if one[0] != entry[0]]
            kept.append(entry)
        return [one for one in kept if one[1]]

    def _admit(self, link: Link, hello: Hello) -> str | None:
        back = hello.peer != 0 and hello.cluster == self.cluster
        peer = PeerId(hello.peer if back else self._next_peer)
        if not back:
            self._next_peer += 1
        old = self._links.pop(peer, None)
        if old is not None:
            del self._peers[old]
            old.abort("its peer came back")
            self._handle(events.Left(peer, "it came back"))
        self._links[peer], self._peers[link] = link, peer
        link.greet(SAID_BY["client"], throttled=True)
        link.send(Welcome(MAGIC, PROTOCOL_VERSION, peer, str(self.address), self.cluster))
        self._handle(events.Joined(peer, "client", hello.name, "host", 1, 0, NOBODY, back))
        return None

    def _on_message(self, link: Link, message: Message) -> None:
        peer = self._peers.get(link)
        if peer is None:
            return
        self.heard.append(message)
        if isinstance(message, Goodbye):
            self._gone(link, on_purpose=True)
            link.abort("it left")
        else:
            self._handle(events.Received(peer, message))

    def _on_closed(self, link: Link, reason: str) -> None:
        self._gone(link, on_purpose=False)

    def _gone(self, link: Link, *, on_purpose: bool) -> None:
        peer = self._peers.pop(link, None)
        if peer is not None:
            del self._links[peer]
            self._handle(events.Left(peer, "it is gone", on_purpose))

    def _handle(self, event: Event) -> None:
        for effect in self._core.handle(event, self.loop.time()):
            self._perform(effect)

    def _perform(self, effect: effects.Effect) -> None:
        if isinstance(effect, effects.Send):
            if effect.to == self._worker:
                self._tell_worker(effect.to, effect.message)
            elif effect.to in self._links:
                self._links[effect.to].send(effect.message)
        elif isinstance(effect, effects.Persist):
            self._kept.append((effect.job, effect.records, effect.whole))
            self.loop.call_later(0.002 * self._rng.random(), self._keep, self._core, len(self._kept))
        elif isinstance(effect, effects.SetTimer):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self.loop.call_at(effect.at, self._handle, events.Tick())
        else:
            assert isinstance(effect, effects.Disconnect), effect
            raise AssertionError(f"a client broke the protocol: {effect.reason}")

    def _keep(self, core: Controller, count: int) -> None:
        if core is self._core and count > self._issued:
            self._issued = count
            self._handle(events.Persisted(count - self._begins))

    # --- the only worker --------------------------------------------------------------------------------

    def _tell_worker(self, worker: PeerId, message: Message) -> None:
        if isinstance(message, messages.OpenJob):
            self._reduce[message.job] = bool(message.options.reduce)
        elif isinstance(message, messages.Function):
            self._functions[message.digest] = pickling.load_function(message.data)
        elif isinstance(message, messages.SendWork):
            self.loop.call_soon(self._work, worker, message)
        elif isinstance(message, messages.AskInventory):
            self.loop.call_soon(self._from(worker), messages.Inventory(message.round, ()))

    def _from(self, worker: PeerId) -> Callable[[Message], None]:
        def handle(message: Message) -> None:
            if worker == self._worker:
                self._handle(events.Received(worker, message))

        return handle

    def _work(self, worker: PeerId, work: messages.SendWork) -> None:
        if self._paused:
            self._undone.append((worker, work))
            return
        say = self._from(worker)
        for batch in work.batches:
            for lo in range(batch.lo, batch.hi, self._group):
                parts = [self._run(batch, index) for index in range(lo, min(lo + self._group, batch.hi))]
                for groups in zip_longest(*parts):
                    told = tuple(group for group in groups if group is not None)
                    self.loop.call_soon(say, messages.Result(batch.job, told, ()))
        self.loop.call_soon(say, messages.Idle(0.0))

    def _run(self, batch: Batch, index: int) -> tuple[Group, ...]:
        """What comes of one task. In a job that combines, an item spawns a task that does the same."""
        reader = pickling.load_items(batch.payload.data)
        entry = index - batch.payload.base
        member = Member(batch.origin, index, index + 1, batch.root, batch.parent_origin, batch.parent_index, ROOT, ())
        try:
            value = reader.call(self._functions[batch.payload.function])(reader.entries[entry])
        except ValueError as error:
            dumped = pickling.dump_exception(error, "worker")
            failure = Failure("exception", dumped.message, dumped.traceback, dumped.where, dumped.data)
            return (Group(FAILED, b"", (member,), 0.0, failure),)
        data = pickling.dump_values([value]).data
        if not self._reduce[batch.job]:
            return (Group(VALUES, data, (member,), 0.0, None),)
        if batch.origin != ROOT:
            return (Group(COMBINED, data, (member,), 0.0, None),)
        self._runs += 1
        run = RunId((int(self._worker) << 40) + self._runs)
        (item,), _ = reader.arguments(entry)
        payload = Payload(0, 1, batch.payload.function, pickling.dump_items([item]).data)
        child = Batch(batch.job, run, 0, 1, index, ROOT, index, payload)
        parent = replace(member, run=run, children=(child,))
        return Group(COMBINED, data, (parent,), 0.0, None), *self._run(child, 0)


class Line:
    """A way to a controller that breaks after some bytes in either direction, in the middle of whatever is said.

    Args:
        standin: the controller, in whose thread this runs.
        seed: of where it breaks.
        mean_bytes: about how much passes before it does; the greeting may break, too.
        breaks: so often.
        to: where it leads, if not to the stand-in.
    """

    def __init__(self, standin: StandIn, seed: int, *, mean_bytes: int, breaks: int, to: Address | None = None) -> None:
        self._standin = standin
        self._to = to or standin.address
        self._rng = random.Random(seed)
        self._mean_bytes = mean_bytes
        self._left = breaks
        self.broken = 0
        self._first = True
        self._tasks: set[asyncio.Task[None]] = set()
        self.address = standin.call(self._start())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._standin.call(self._stop())

    async def _start(self) -> Address:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return Address(*self._server.sockets[0].getsockname()[:2])

    async def _stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._to.host, self._to.port)
        budget = int(2 * self._mean_bytes * self._rng.random()) if self._left else 1 << 60
        if self._first:
            budget += 1_000  # who cannot connect at all is told so
            self._first = False
        left = [budget]
        writers = writer, far_writer

        async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            try:
                while data := await source.read(1 << 16):
                    data = data[: left[0]]
                    left[0] -= len(data)
                    sink.write(data)
                    await sink.drain()
                    if left[0] <= 0:
                        if self._left and writers[0].transport is not None and not writers[0].is_closing():
                            self._left -= 1
                            self.broken += 1
                        break
            except ConnectionError:
                pass
            finally:
                for each in writers:
                    each.transport.abort()

        for way in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.ensure_future(pipe(*way))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
