"""Many workers in one process: real links and the real core, and slots that are no processes.

A task runs right here, or, if it is :func:`~lbnet.workloads.synthetic.nap`, by a timer; it may not
fail, spawn or print. This must not know what is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvloop

from lbnet import pickling
from lbnet.core import effects, events
from lbnet.core.effects import Effect
from lbnet.core.events import Event
from lbnet.net.member import Member
from lbnet.net.worker_node import WorkerNode
from lbnet.pool.parent import Pool, SlotEffect
from lbnet.pool.results import Combined, groups_of
from lbnet.security import token
from lbnet.strategies import registry
from lbnet.types import Address, SlotId
from lbnet.workloads.synthetic import nap

ROOT = Path(__file__).resolve().parents[1]
_END_S = 20.0

AT_ONCE = 25
"""So many join at a time: a handshake is work for both ends."""


class _Slot:
    """Tickets that run one after the other."""

    def __init__(self, number: SlotId) -> None:
        self.number = number
        self.tickets: deque[_Ticket] = deque()
        self.busy = False


class _Ticket:
    """A batch, as far as it has come."""

    def __init__(self, run: effects.Run) -> None:
        self.run = run
        self.end = run.batch.hi
        self.next = run.batch.lo


class InlinePool(Pool):
    """Slots in this very thread."""

    def __init__(self, slots: int, on_event: Callable[[Event], None]) -> None:
        super().__init__(slots, on_event)
        self._here = [_Slot(SlotId(number)) for number in range(slots)]
        self._functions: dict[bytes, Callable[..., Any]] = {}
        self._over = False

    @property
    def pids(self) -> list[int]:
        """There is but this process."""
        return [os.getpid()] * len(self._here)

    async def start(self) -> None:
        """They are up at once."""
        self._loop = asyncio.get_running_loop()
        for slot in self._here:
            self._loop.call_soon(self._on_event, events.SlotReady(slot.number, os.getpid()))

    async def stop(self) -> None:
        """Nothing more is said."""
        self._over = True

    def execute(self, effect: SlotEffect | Effect) -> None:
        """What a task can neither print nor outlive is not needed here."""
        match effect:
            case effects.Teach():
                self._functions[effect.digest] = pickling.load_function(effect.data)
            case effects.Run():
                slot = self._here[effect.slot]
                slot.tickets.append(_Ticket(effect))
                if not slot.busy:
                    slot.busy = True
                    self._soon(self._go_on, slot)
            case effects.Reclaim():
                for ticket in self._here[effect.slot].tickets:
                    if ticket.run.ticket == effect.ticket:
                        ticket.end = min(ticket.end, max(ticket.next, effect.limit))
                        self._later(events.Reclaimed(effect.slot, effect.ticket, ticket.end))
            case effects.Recall():
                self._later(events.Recalled(effect.enquiry, ()))
            case _:
                pass

    def _soon(self, what: Callable[..., None], *arguments: Any) -> None:
        assert self._loop is not None
        self._loop.call_soon(what, *arguments)

    def _go_on(self, slot: _Slot) -> None:
        """Run what comes next: all of a ticket, or one nap of it."""
        if self._over:
            return
        if not slot.tickets:
            slot.busy = False
            return
        ticket = slot.tickets[0]
        batch = ticket.run.batch
        items = pickling.load_items(batch.payload.data)
        function = self._functions[batch.payload.function]
        base = batch.payload.base
        if function is nap and ticket.next < ticket.end:
            assert self._loop is not None
            seconds = items.entries[ticket.next - base]
            ticket.next += 1
            self._loop.call_later(seconds, self._napped, slot, ticket, seconds)
            return
        call = items.call(function)
        first, ticket.next = ticket.next, ticket.end
        if first < ticket.end:
            values = [call(entry) for entry in items.entries[first - base : ticket.end - base]]
            self._done(slot, ticket, first, values, 0.0)
        slot.tickets.popleft()
        self._emit(events.SlotFinished(slot.number, ticket.run.ticket, ticket.end))
        self._soon(self._go_on, slot)

    def _napped(self, slot: _Slot, ticket: _Ticket, seconds: float) -> None:
        if not self._over:
            self._done(slot, ticket, ticket.next - 1, [None], seconds)
            self._go_on(slot)

    def _done(self, slot: _Slot, ticket: _Ticket, first: int, values: list[Any], seconds: float) -> None:
        batch = ticket.run.batch
        groups = groups_of(batch, first, values, seconds, Combined(batch, "here"))
        self._emit(events.SlotDone(slot.number, ticket.run.ticket, first + len(values), tuple(groups)))


class _Worker(WorkerNode):
    """One of many."""

    def _new_pool(self) -> Pool:
        def heard(event: Event) -> None:
            self._handle(event)

        return InlinePool(self._slots, heard)


async def _serve(controller: Address, given: str, names: list[str]) -> None:
    members = Member("worker", token.parse(given))
    workers = [_Worker(slots=1, name=name, load=registry.loader({}, imports=True), member=members) for name in names]
    for first in range(0, len(workers), AT_ONCE):
        await asyncio.gather(*(worker.start(controller) for worker in workers[first : first + AT_ONCE]))
    print("joined", flush=True)
    abandoned = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), abandoned.set)
    await abandoned.wait()
    await asyncio.gather(*(worker.stop() for worker in workers))


@contextlib.contextmanager
def crowd(controller: Address, token_text: str, count: int, processes: int) -> Iterator[None]:
    """So many workers of one slot, in so many processes, which have joined."""
    raise_descriptor_limit()
    names = [f"crowd-{number}" for number in range(count)]
    started = []
    try:
        for process in range(min(processes, count)):
            config = {"host": controller.host, "port": controller.port, "names": names[process::processes]}
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", "bench.crowd", json.dumps(config)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    cwd=ROOT,
                    text=True,
                )
            )
            stdin = started[-1].stdin
            assert stdin is not None
            stdin.write(token_text + "\n")  # not on a command line, which everybody can read
            stdin.flush()
        for each in started:
            assert each.stdout is not None
            assert each.stdout.readline() == "joined\n", "a crowd could not join; its output says why"
        yield
    finally:
        for each in started:
            if each.stdin is not None:
                each.stdin.close()
        for each in started:
            try:
                each.wait(_END_S)
            except subprocess.TimeoutExpired:
                each.kill()
                each.wait()
            if each.stdout is not None:
                each.stdout.close()


def raise_descriptor_limit() -> None:
    """As many descriptors as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    """A crowd of its own: what the argument says, with the token that comes on standard input."""
    raise_descriptor_limit()
    config = json.loads(sys.argv[1])
    given = sys.stdin.readline().strip()
    uvloop.run(_serve(Address(config["host"], config["port"]), given, config["names"]))


if __name__ == "__main__":
    main()
