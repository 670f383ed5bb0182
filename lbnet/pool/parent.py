"""The compute processes of a worker: effects of the core go in, events of the slots come out.

Payloads, functions and results pass through as bytes; nothing here unpickles. It must not know
of the network, or of what the worker decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable

from lbnet import limits
from lbnet.core import effects, events
from lbnet.core.effects import Effect
from lbnet.core.events import Event
from lbnet.pool import wire
from lbnet.pool.cores import thread_variables
from lbnet.pool.environment import child_environment
from lbnet.pool.memory_watch import MemoryWatch
from lbnet.pool.printed import Printed
from lbnet.pool.process import SlotProcess
from lbnet.pool.slot import Ending, Slot, Ticket
from lbnet.types import FAILED, Group, JobId, SlotId

SlotEffect = (
    effects.Teach | effects.Run | effects.Reclaim | effects.Forget | effects.Cancel | effects.Follow | effects.Recall
    | effects.Kill | effects.SetHungry
)  # fmt: skip


class Pool:
    """``slots`` processes, each kept alive until :meth:`stop`.

    Args:
        slots: how many, at least 1.
        on_event: called in the event loop's thread with ``SlotReady``, ``SlotDone``, ``SlotSpawned``,
            ``SlotTaught``, ``SlotFinished``, ``SlotOutput``, ``Reclaimed`` and ``SlotDied``, never from inside of
            :meth:`execute`: a ``Reclaimed`` comes before any other event of the pool, in the next turn of the loop.
        memory_limit_bytes: resident memory of each slot with all that its tasks started; 0 for no limit. A slot that
            is over it is ended.

    Needs a running event loop (asyncio's or uvloop's), in any thread.
    """

    def __init__(self, slots: int, on_event: Callable[[Event], None], memory_limit_bytes: int = 0) -> None:
        assert slots >= 1, "a pool without slots computes nothing"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_event = on_event
        self._slots = [Slot(SlotId(number)) for number in range(slots)]
        self._by_process: dict[SlotProcess, Slot] = {}
        self._host = socket.gethostname()
        self._printed = Printed(self._later)
        self._memory_limit_bytes = memory_limit_bytes
        self._memory: MemoryWatch | None = None
        self._hungry = False
        self._held = False
        self._stopping = False
        self._events: deque[Event] = deque()
        self._timers: dict[SlotId, asyncio.TimerHandle] = {}
        self._cancel_timers: dict[tuple[SlotId, int], asyncio.TimerHandle] = {}
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
        if self._memory_limit_bytes:
            self._memory = MemoryWatch(self._memory_limit_bytes, lambda: self.pids, self._over_memory)
            self._memory.start()

    def hold(self, held: bool) -> None:
        """Read nothing from the slots, which then wait with what they make, or read on."""
        self._held = held
        for process in self._by_process:
            process.hold(held)

    def logs(self, job: JobId, index: int | None = None) -> list[events.SlotOutput]:
        """What tasks of a job have printed in these slots, as far as it is kept, in the order in which they began to.

        Args:
            job: the job, also one that has ended.
            index: only what this item of it printed, once for each time that it ran.
        """
        return self._printed.of_job(job, index)

    async def stop(self) -> None:
        """End all processes, within about ``limits.STOP_TIMEOUT_S``; no event follows.

        What runs is lost. Nothing is left: no process, descriptor, thread or timer.
        """
        self._begin_to_stop()
        processes = list(self._by_process)
        for process in processes:
            process.hang_up()
        ends = [asyncio.ensure_future(process.exited.wait()) for process in processes]
        if ends:
            await asyncio.wait(ends, timeout=limits.STOP_TIMEOUT_S / 2)  # the rest is for what must be killed
            for process in processes:
                process.kill()
            await asyncio.gather(*ends, *(process.closed() for process in processes))
        self._printed.stop()
        self._events.clear()

    def kill(self) -> None:
        """End all processes at once, for whoever cannot wait for :meth:`stop`; none is started again."""
        self._begin_to_stop()
        for process in list(self._by_process):
            process.kill()

    def _begin_to_stop(self) -> None:
        self._stopping = True
        for timer in (*self._timers.values(), *self._cancel_timers.values()):
            timer.cancel()
        self._timers.clear()
        self._cancel_timers.clear()
        if self._memory is not None:
            self._memory.stop()
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
            self._deadline_timer = None

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
                    for number, ticket in slot.tickets.items():
                        if ticket.job == effect.job:
                            self._cancel(slot, number, ticket.lo, ticket.hi)
                self._follow(effect.job, follow=False)
            case effects.Cancel():
                self._cancel(self._slots[effect.slot], effect.ticket, effect.lo, effect.hi)
            case effects.Follow():
                self._follow(effect.job, follow=effect.follow)
            case effects.Recall():
                self._recall(effect)
            case effects.Kill():
                process_ = self._slots[effect.slot].process
                if process_ is not None:
                    process_.kill()
            case _:
                raise AssertionError(f"{type(effect).__name__} does not concern slots")

    def _follow(self, job: JobId, *, follow: bool) -> None:
        if not follow and self._printed.follows(job):
            self._read_all_output()  # what was printed before counts
        self._printed.follow(job, follow)

    def _recall(self, effect: effects.Recall) -> None:
        self._read_all_output()
        outputs = [] if effect.flush else self.logs(effect.job, None if effect.index < 0 else effect.index)
        self._later(events.Recalled(effect.enquiry, tuple(outputs)))

    def _read_all_output(self) -> None:
        for process in list(self._by_process):
            process.read_output()

    def _send(self, slot: SlotId, message: object) -> None:
        process = self._slots[slot].process
        if process is not None:
            process.send(message)

    def _run(self, effect: effects.Run) -> None:
        slot = self._slots[effect.slot]
        if slot.process is None:
            return
        batch = effect.batch
        ticket = Ticket(slot.free_entry(), batch.job, batch.origin, batch.lo, batch.hi, effect.timeout_s, batch.lo)
        slot.tickets[effect.ticket] = ticket
        slot.process.claims.issue(ticket.entry, batch.lo, batch.hi)
        timed = effect.timeout_s > 0
        slot.process.send(
            wire.Run(effect.ticket, ticket.entry, batch, effect.first_run, effect.reduce, timed, effect.retry_on)
        )
        if timed and self._deadline_timer is None:
            self._watch_deadlines()

    def _reclaim(self, effect: effects.Reclaim) -> None:
        slot = self._slots[effect.slot]
        ticket = slot.tickets.get(effect.ticket)
        if ticket is None or slot.process is None:
            return
        slot.process.claims.revoke(ticket.entry, max(effect.limit, ticket.lo))
        taken_from = min(slot.process.claims.taken_from(ticket.entry), ticket.hi)
        self._later(events.Reclaimed(slot.id, effect.ticket, taken_from))

    def _later(self, event: Event) -> None:
        """Deliver an event in the next turn of the loop, or before any other one."""
        assert self._loop is not None
        if not self._events:
            self._loop.call_soon(self._deliver)
        self._events.append(event)

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
                self._tell_output_of_failed(process, slot, message.ticket, message.groups)
                self._emit(events.SlotDone(slot.id, message.ticket, message.upto, message.groups))
            case wire.Finished():
                slot.finish(message.ticket)
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

    def _tell_output_of_failed(self, process: SlotProcess, slot: Slot, ticket: int, groups: Iterable[Group]) -> None:
        failed = [group.members[0].lo for group in groups if group.kind == FAILED]
        if failed:
            process.read_output()  # it may have been printed and not been read yet
            for index in failed:
                self._tell_output(slot, ticket, index)

    def _tell_output(self, slot: Slot, ticket: int, index: int) -> None:
        output = self._printed.of_execution(slot, ticket, index)
        if output is not None:
            self._emit(output)

    # --- birth and death -----------------------------------------------------------------------------

    def _start_slot(self, slot: Slot) -> None:
        self._timers.pop(slot.id, None)
        environment = child_environment(thread_variables(len(self._slots), dict(os.environ)))
        slot.ready = False
        slot.ending = None
        slot.stray_bytes = 0
        try:
            slot.process = SlotProcess(
                environment,
                self._hungry,
                self._on_message,
                self._on_exit,
                lambda process, piece: self._printed.take(self._by_process[process], piece),
            )
        except OSError as error:
            self._died(slot, f"could not be started: {error}")
        else:
            self._by_process[slot.process] = slot
            if self._held:
                slot.process.hold(True)

    def _on_exit(self, process: SlotProcess, how: str) -> None:
        slot = self._by_process.pop(process)
        if not self._stopping:
            self._died(slot, how)

    def _died(self, slot: Slot, how: str) -> None:
        starting = not slot.ready
        number, index, _ = slot.running()
        ending, timed_out = slot.ending, False
        if ending is not None:
            if ending.index < 0 or (number, index) == (ending.ticket, ending.index):
                how, timed_out = f"{ending.description}{how}", ending.timed_out
            if (number, index) != (ending.ticket, ending.index):
                # Nobody is to blame, or the culprit came to its end just before the end of its process.
                number = index = -1
        if number >= 0:
            self._tell_output(slot, number, index)
        where = f"host {self._host}, pid {slot.process.pid}" if slot.process is not None else ""
        slot.process = None
        slot.tickets.clear()
        slot.over.clear()
        delay_s = 0.0
        if starting:
            delay_s = min(limits.SLOT_RESPAWN_FIRST_S * 2**slot.failed_starts, limits.SLOT_RESPAWN_MAX_S)
            slot.failed_starts = min(slot.failed_starts + 1, 32)
        assert self._loop is not None
        self._timers[slot.id] = self._loop.call_later(delay_s, self._start_slot, slot)
        self._emit(events.SlotDied(slot.id, number, index, timed_out, starting, how, where))

    # --- ending what runs ------------------------------------------------------------------------------

    def _cancel(self, slot: Slot, number: int, lo: int, hi: int) -> None:
        """Nobody wants these tasks of a ticket."""
        ticket = slot.tickets.get(number)
        if ticket is not None:
            ticket.cancelled.append((lo, hi))
            if len(ticket.cancelled) == 1:
                self._watch_cancelled(slot, number, ticket)

    def _watch_cancelled(self, slot: Slot, number: int, ticket: Ticket) -> None:
        """Look after a while whether such a task runs, and again for as long as one may."""
        assert self._loop is not None
        self._cancel_timers[slot.id, number] = self._loop.call_later(
            limits.CANCEL_GRACE_S, self._end_cancelled, slot, number, ticket
        )

    def _end_cancelled(self, slot: Slot, number: int, ticket: Ticket) -> None:
        del self._cancel_timers[slot.id, number]
        if slot.tickets.get(number) is not ticket or slot.process is None:
            return
        running, index, _ = slot.running()
        if running == number and ticket.is_cancelled(index) and slot.ending is None:
            slot.ending = Ending("ended because its task was cancelled: ")
            slot.process.terminate()
        else:
            self._watch_cancelled(slot, number, ticket)

    def _over_memory(self, pid: int, used_bytes: int) -> None:
        """In the thread of the watch."""
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop was closed
            self._loop.call_soon_threadsafe(self._end_over_memory, pid, used_bytes)

    def _end_over_memory(self, pid: int, used_bytes: int) -> None:
        """Memory is not given back by asking, and may be gone in a moment: there is no grace."""
        for process, slot in self._by_process.items():
            if process.pid == pid:
                if slot.ending is None:
                    number, index, _ = slot.running()
                    used = f"used {used_bytes / 1e6:,.0f} MB, over its memory limit of"
                    slot.ending = Ending(f"{used} {self._memory_limit_bytes / 1e6:,.0f} MB: ", number, index)
                process.kill()

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
            if 0 < timeout_s < now - started and slot.ending is None:
                ran = f"ran {now - started:.3g} s, longer than its limit of {timeout_s:g} s: "
                slot.ending = Ending(ran, number, index, timed_out=True)
                slot.process.terminate()
        if shortest_s:
            assert self._loop is not None
            self._deadline_timer = self._loop.call_later(max(0.01, shortest_s / 20), self._watch_deadlines)
