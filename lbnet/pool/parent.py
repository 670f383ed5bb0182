"""The compute processes of a worker: effects of the core go in, events of the slots come out.

Payloads, functions and results pass through as bytes; nothing here unpickles. It must not know
of the network, or of what the worker decides.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from lbnet import limits
from lbnet.core import effects, events
from lbnet.core.effects import Effect
from lbnet.core.events import Event
from lbnet.pool import wire
from lbnet.pool.cores import thread_variables
from lbnet.pool.environment import child_environment
from lbnet.pool.process import SlotProcess
from lbnet.types import SlotId

SlotEffect = (
    effects.Teach | effects.Run | effects.Reclaim | effects.Forget | effects.Kill | effects.SetHungry
)  # fmt: skip


@dataclass(slots=True)
class _Ticket:
    entry: int
    lo: int
    hi: int
    timeout_s: float
    upto: int


@dataclass(frozen=True, slots=True)
class _Overdue:
    """The task for which a process was ended, and for how long it had run."""

    ticket: int
    index: int
    description: str


@dataclass(slots=True)
class _Slot:
    """A place for a process. ``process`` is None between a death and the next start."""

    id: SlotId
    process: SlotProcess | None = None
    ready: bool = False
    overdue: _Overdue | None = None
    failed_starts: int = 0
    tickets: dict[int, _Ticket] = field(default_factory=dict)

    def free_entry(self) -> int:
        used = {ticket.entry for ticket in self.tickets.values()}
        return next(entry for entry in range(limits.CLAIM_ENTRIES) if entry not in used)

    def running(self) -> tuple[int, int, float]:
        """Ticket and index of the task that runs, and when it began; -1 when none does."""
        if self.process is not None:
            for number, ticket in self.tickets.items():
                index, started = self.process.claims.running(ticket.entry)
                if index >= ticket.upto:
                    return number, index, started
        return -1, -1, 0.0


class Pool:
    """``slots`` processes, each kept alive until :meth:`stop`.

    Args:
        slots: how many, at least 1.
        on_event: called in the event loop's thread with ``SlotReady``, ``SlotDone``, ``SlotSpawned``,
            ``SlotTaught``, ``SlotFinished``, ``Reclaimed`` and ``SlotDied``, never from inside of
            :meth:`execute`: a ``Reclaimed`` comes before any other event of the pool, in the next turn of the loop.

    Needs a running event loop (asyncio's or uvloop's), in any thread.
    """

    def __init__(self, slots: int, on_event: Callable[[Event], None]) -> None:
        assert slots >= 1, "a pool without slots computes nothing"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_event = on_event
        self._slots = [_Slot(SlotId(number)) for number in range(slots)]
        self._by_process: dict[SlotProcess, _Slot] = {}
        self._hungry = False
        self._stopping = False
        self._events: deque[Event] = deque()
        self._timers: dict[SlotId, asyncio.TimerHandle] = {}
        self._deadline_timer: asyncio.TimerHandle | None = None

    @property
    def pids(self) -> list[int]:
        """The ids of the living slot processes."""
        return [process.pid for process in self._by_process]

    async def start(self) -> None:
        """Start all processes; a ``SlotReady`` follows from each."""
        self._loop = asyncio.get_running_loop()
        for slot in self._slots:
            self._start_slot(slot)

    async def stop(self) -> None:
        """End all processes, within about ``limits.STOP_TIMEOUT_S``; no event follows.

        What runs is lost. Nothing is left: no process, descriptor, thread or timer.
        """
        self._stopping = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
            self._deadline_timer = None
        processes = list(self._by_process)
        for process in processes:
            process.hang_up()
        ends = [asyncio.ensure_future(process.exited.wait()) for process in processes]
        if ends:
            await asyncio.wait(ends, timeout=limits.STOP_TIMEOUT_S / 2)  # the rest is for what must be killed
            for process in processes:
                process.kill()
            await asyncio.gather(*ends, *(process.closed() for process in processes))
        self._events.clear()

    # --- effects -------------------------------------------------------------------------------------

    def execute(self, effect: SlotEffect | Effect) -> None:
        """Carry out one of the effects that concern slots. Never blocks.

        What is meant for a process that is gone is dropped: its ``SlotDied`` is on the way or was delivered.
        """
        match effect:
            case effects.Run():
                self._run(effect)
            case effects.Reclaim():
                self._reclaim(effect)
            case effects.Teach():
                self._send(effect.slot, wire.Teach(effect.job, effect.digest, effect.data))
            case effects.SetHungry():
                self._hungry = effect.hungry
                for process in self._by_process:
                    process.claims.set_hungry(effect.hungry)
            case effects.Forget():
                for slot in self._slots:
                    self._send(slot.id, wire.Forget(effect.job))
            case effects.Kill():
                process_ = self._slots[effect.slot].process
                if process_ is not None:
                    process_.kill()
            case _:
                raise AssertionError(f"{type(effect).__name__} does not concern slots")

    def _send(self, slot: SlotId, message: object) -> None:
        process = self._slots[slot].process
        if process is not None:
            process.send(message)

    def _run(self, effect: effects.Run) -> None:
        slot = self._slots[effect.slot]
        if slot.process is None:
            return
        batch = effect.batch
        ticket = _Ticket(slot.free_entry(), batch.lo, batch.hi, effect.timeout_s, batch.lo)
        slot.tickets[effect.ticket] = ticket
        slot.process.claims.issue(ticket.entry, batch.lo, batch.hi)
        timed = effect.timeout_s > 0
        slot.process.send(wire.Run(effect.ticket, ticket.entry, batch, effect.first_run, effect.reduce, timed))
        if timed and self._deadline_timer is None:
            self._watch_deadlines()

    def _reclaim(self, effect: effects.Reclaim) -> None:
        slot = self._slots[effect.slot]
        ticket = slot.tickets.get(effect.ticket)
        if ticket is None or slot.process is None:
            return
        slot.process.claims.revoke(ticket.entry, max(effect.limit, ticket.lo))
        taken_from = min(slot.process.claims.taken_from(ticket.entry), ticket.hi)
        assert self._loop is not None
        if not self._events:
            self._loop.call_soon(self._deliver)
        self._events.append(events.Reclaimed(slot.id, effect.ticket, taken_from))

    # --- events --------------------------------------------------------------------------------------

    def _emit(self, event: Event) -> None:
        """Deliver an event, after those that wait."""
        self._deliver()
        if not self._stopping:
            self._on_event(event)

    def _deliver(self) -> None:
        while self._events and not self._stopping:
            self._on_event(self._events.popleft())

    def _on_message(self, process: SlotProcess, message: object) -> None:
        slot = self._by_process[process]
        match message:
            case wire.Done():
                ticket = slot.tickets.get(message.ticket)
                if ticket is not None:
                    ticket.upto = max(ticket.upto, message.upto)
                self._emit(events.SlotDone(slot.id, message.ticket, message.upto, message.groups))
            case wire.Finished():
                slot.tickets.pop(message.ticket, None)
                self._emit(events.SlotFinished(slot.id, message.ticket, message.ran_to))
            case wire.Spawned():
                self._emit(events.SlotSpawned(slot.id, message.ticket, message.batch))
            case wire.Teach():
                self._emit(events.SlotTaught(slot.id, message.job, message.digest, message.data))
            case wire.Ready():
                slot.ready = True
                slot.failed_starts = 0
                self._emit(events.SlotReady(slot.id, message.pid))
            case _:
                raise AssertionError(f"a slot does not say {type(message).__name__}")

    # --- birth and death -----------------------------------------------------------------------------

    def _start_slot(self, slot: _Slot) -> None:
        self._timers.pop(slot.id, None)
        environment = child_environment(thread_variables(len(self._slots), dict(os.environ)))
        slot.ready = False
        slot.overdue = None
        try:
            slot.process = SlotProcess(environment, self._hungry, self._on_message, self._on_exit)
        except OSError as error:
            self._died(slot, f"could not be started: {error}")
        else:
            self._by_process[slot.process] = slot

    def _on_exit(self, process: SlotProcess, how: str) -> None:
        slot = self._by_process.pop(process)
        if not self._stopping:
            self._died(slot, how)

    def _died(self, slot: _Slot, how: str) -> None:
        starting = not slot.ready
        number, index, _ = slot.running()
        overdue, timed_out = slot.overdue, False
        if overdue is not None:
            timed_out = (number, index) == (overdue.ticket, overdue.index)
            if timed_out:
                how = f"{overdue.description}{how}"
            else:  # it came to its end just before the end of its process: another task was hit, which nobody may blame
                number = index = -1
        slot.process = None
        slot.tickets.clear()
        delay_s = 0.0
        if starting:
            delay_s = min(limits.SLOT_RESPAWN_FIRST_S * 2**slot.failed_starts, limits.SLOT_RESPAWN_MAX_S)
            slot.failed_starts = min(slot.failed_starts + 1, 32)
        assert self._loop is not None
        self._timers[slot.id] = self._loop.call_later(delay_s, self._start_slot, slot)
        self._emit(events.SlotDied(slot.id, number, index, timed_out, starting, how))

    # --- deadlines -------------------------------------------------------------------------------------

    def _watch_deadlines(self) -> None:
        """End slots whose running task is over its time; look again while timed tickets are out."""
        self._deadline_timer = None
        now = time.monotonic()
        shortest_s = 0.0
        for slot in self._slots:
            timeouts = [ticket.timeout_s for ticket in slot.tickets.values() if ticket.timeout_s > 0]
            if not timeouts or slot.process is None:
                continue
            shortest_s = min([*timeouts, shortest_s or timeouts[0]])
            number, index, started = slot.running()
            timeout_s = slot.tickets[number].timeout_s if number >= 0 else 0.0
            if 0 < timeout_s < now - started and slot.overdue is None:
                ran = f"ran {now - started:.3g} s, longer than its limit of {timeout_s:g} s: "
                slot.overdue = _Overdue(number, index, ran)
                slot.process.kill()
        if shortest_s:
            assert self._loop is not None
            self._deadline_timer = self._loop.call_later(max(0.01, shortest_s / 20), self._watch_deadlines)
