"""A ticket with units among its tasks: they run in quanta, split when somebody is hungry, and make tasks of their own.

Short ones run back to back in one event of the engine. A long one of which is known what is left is not stepped, but
run when it ends or when somebody gets hungry.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Self

from lbnet import limits
from lbnet.core.effects import Run
from lbnet.core.events import Event, SlotSpawned
from lbnet.sim.book import Tasks
from lbnet.sim.groups import Entry, groups_of
from lbnet.sim.slots import Slot, Ticket
from lbnet.sim.work import Task, Unit
from lbnet.types import ROOT, Batch, Payload, RunId
from lbnet.work import UNIT_BUDGET_S

_ROUNDING = 1e-9
"""Quanta are counted with this tolerance, as a share of one."""


class _Seconds(Unit):
    """A plain task that stands among units."""

    def __init__(self, seconds: float) -> None:
        self._left_s = seconds

    @property
    def done(self) -> bool:
        return self._left_s <= 0

    def run(self, seconds: float) -> float:
        took_s = min(seconds, self._left_s)
        self._left_s -= took_s
        return took_s

    def left_s(self) -> float:
        return self._left_s

    def copy(self) -> Self:
        return type(self)(self._left_s)


class _Running:
    """The task that runs: ``seconds`` of it have passed before ``since``; ``lazy`` while it is not stepped."""

    __slots__ = ("lazy", "run", "seconds", "since", "spawned", "unit", "waiting")

    def __init__(self, unit: Unit, run: RunId, seconds: float) -> None:
        self.unit = unit
        self.run = run
        self.seconds = seconds
        self.since = 0.0
        self.lazy = False
        self.spawned = 0
        self.waiting: list[Task] = []


class UnitTicket(Ticket):
    """See :class:`~lbnet.sim.slots.Ticket`."""

    def __init__(self, slot: Slot, effect: Run, tasks: Tasks) -> None:
        super().__init__(slot, effect, tasks)
        self._next = self.batch.lo
        self._group = (0.0, self.batch.lo, self.batch.lo)
        self._size = 1
        self._running: _Running | None = None
        self._entries: list[Entry] = []
        self._packed: list[Event] = []
        self._spawns_due = math.inf

    # --- the slot's side ----------------------------------------------------------------------------

    def start(self) -> None:
        """Claim the first task, if it was not taken back on the way."""
        self._claim(1)

    def claimed(self) -> int:
        """A group is claimed as a whole; of one that lasts, all but the running task is let go."""
        start, _, hi = self._group
        if self._running is not None and self.slot.engine.now >= start + limits.RESULT_FLUSH_S:
            return self._next + 1
        return hi

    def limited(self) -> None:
        """What was let go of the group will not run if it was taken back."""
        start, lo, hi = self._group
        if self.limit < hi:
            self._group = (start, lo, min(hi, max(self.limit, self.claimed())))

    def hunger(self) -> None:
        """A unit that is not stepped is run up to the end of the quantum in which it would have looked."""
        running = self._running
        if running is None or not running.lazy:
            return
        now = self.slot.engine.now
        quanta = max(1, math.ceil((now - running.since) / UNIT_BUDGET_S - _ROUNDING))
        end = running.since + self._run_for(running, quanta * UNIT_BUDGET_S)
        running.lazy = False
        self.again(max(now, end), self._on_quantum)

    # --- groups -------------------------------------------------------------------------------------

    def _claim(self, size: int) -> None:
        lo, now = self._next, self.slot.engine.now
        hi = min(lo + size, self.limit)
        if hi <= lo:
            self._end()
            return
        self._size = size
        self._group = (now, lo, hi)
        self._run_tasks()

    def _run_tasks(self) -> None:
        """Run tasks of the group back to back for about a quantum, or up to one that is not done by then."""
        now = at = self.slot.engine.now
        hi = self._group[2]
        while self._next < hi and at - now < UNIT_BUDGET_S:
            running = self._running
            if running is None:
                running = self._running = self._begin()
                at += self.slot.task_s
            if self._is_long(running):
                if at > now:
                    break
                self._go_on(running)
                return
            took_s = self._run_for(running, UNIT_BUDGET_S)
            at += took_s
            if not running.unit.done:
                self._later(at, self._on_quantum)
                return
            self._complete(running)
            if self._packed and self.slot.owner.hungry:
                break
        if self._next < hi:
            self.again(at, self._run_on)
        else:
            self.again(at, self._end_group)

    def _run_on(self) -> None:
        self._look()
        self._run_tasks()

    def _end_group(self) -> None:
        now = self.slot.engine.now
        start, lo, hi = self._group
        mean_s = (now - start) / (hi - lo)
        since_s = now - self.slot.flushed_at
        left_s = (self.batch.hi - self._next) * mean_s
        if self._next < self.limit and since_s >= limits.RESULT_FLUSH_S and since_s + left_s > limits.REPORT_LATEST_S:
            self._flush()
        else:
            self._look()
        fitting = int(limits.GROUP_S / mean_s) if mean_s > 0 else limits.PAYLOAD_ITEMS_MAX
        self._claim(max(1, min(fitting, self._size * limits.SLOT_GROUP_GROWTH)))

    def _end(self) -> None:
        self.slot.end([*self._leave(), *self._results(), self.finished(self._next)])

    # --- one task -----------------------------------------------------------------------------------

    def _begin(self) -> _Running:
        task = self.tasks.tasks[self._next - self.tasks.base]
        unit = task.copy() if isinstance(task, Unit) else _Seconds(task)
        return _Running(unit, RunId(self.effect.first_run + self._next - self.batch.lo), self.slot.task_s)

    def _is_long(self, running: _Running) -> bool:
        """Whether it need not be stepped: it tells what is left, spawns nothing of its own accord, and takes long."""
        left_s = None if _spawns(running.unit) else running.unit.left_s()
        return left_s is not None and left_s > UNIT_BUDGET_S * self.slot.speed

    def _run_for(self, running: _Running, seconds: float) -> float:
        """Run it for so many seconds of this slot. Returns what it took."""
        speed = self.slot.speed
        took_s = 0.0 if running.unit.done else running.unit.run(seconds * speed) / speed
        running.seconds += took_s
        spawned = running.unit.take_spawned()
        if spawned:
            self._spawn(running, spawned)
        return took_s

    def _go_on(self, running: _Running) -> None:
        """The unit runs, and begins a quantum now."""
        now = self.slot.engine.now
        if self.slot.owner.hungry or not self._is_long(running):
            self._later(now + self._run_for(running, UNIT_BUDGET_S), self._on_quantum)
            return
        left_s = running.unit.left_s()
        assert left_s is not None, "a unit that is not stepped tells what is left"
        running.lazy = True
        running.since = now
        self._later(now + left_s / self.slot.speed, self._on_end)

    def _later(self, end: float, step: Callable[[], None]) -> None:
        """A task runs until ``end``; if results wait behind it, they leave when they are due."""
        now = self.slot.engine.now
        due = max(self.slot.flushed_at, self._group[0]) + limits.RESULT_FLUSH_S
        if self._entries and due < end:
            self.slot.engine.at(max(due, now), self._flush_beside, self._running)
        self.again(end, step)

    def _flush_beside(self, running: _Running) -> None:
        if self._running is running and self._entries and self.slot.owner.alive:
            self._flush()

    def _on_end(self) -> None:
        """A unit that was not stepped has come to its end."""
        running = self._running
        assert running is not None, "a unit runs"
        running.lazy = False
        while not running.unit.done:
            self._run_for(running, max(running.unit.left_s() or 0.0, UNIT_BUDGET_S) / self.slot.speed)
        self._after(running)

    def _on_quantum(self) -> None:
        """A quantum is over: whoever is hungry gets a part."""
        running = self._running
        assert running is not None, "a unit runs"
        if running.unit.done:
            self._after(running)
            return
        if self.slot.owner.hungry:
            part = running.unit.split()
            if part is not None:
                self._spawn(running, [part])
        self._look()
        self._go_on(running)

    def _after(self, running: _Running) -> None:
        """It is done now."""
        self._complete(running)
        if self._next < self._group[2]:
            self._run_on()
        else:
            self._end_group()

    def _complete(self, running: _Running) -> None:
        self._pack(running)
        run = running.run if running.spawned else ROOT
        self._entries.append(Entry(self._next, running.unit.result(), run, running.seconds))
        self._next += 1
        self._running = None

    # --- what it spawns -----------------------------------------------------------------------------

    def _spawn(self, running: _Running, tasks: Sequence[Task]) -> None:
        running.waiting.extend(tasks)
        self._spawns_due = min(self._spawns_due, self.slot.engine.now + limits.SPAWN_FLUSH_S)
        item_bytes = max(1, self.slot.book.workload.item_bytes)
        most = max(1, min(limits.SPAWN_BUFFER_TASKS, limits.PAYLOAD_BYTES_SOFT // item_bytes))
        while len(running.waiting) >= most:
            part, running.waiting = running.waiting[:most], running.waiting[most:]
            self._pack_part(running, part)

    def _pack(self, running: _Running) -> None:
        if running.waiting:
            part, running.waiting = running.waiting, []
            self._pack_part(running, part)

    def _pack_part(self, running: _Running, part: list[Task]) -> None:
        parent, book = self.batch, self.slot.book
        lo, hi = running.spawned, running.spawned + len(part)
        running.spawned = hi
        book.spawned(running.run, lo, part)
        payload = Payload(lo, hi - lo, parent.payload.function, book.item_zeros(hi - lo))
        root = self._next if parent.origin == ROOT else parent.root
        batch = Batch(parent.job, running.run, lo, hi, root, parent.origin, self._next, payload)
        self._packed.append(SlotSpawned(self.slot.id, self.effect.ticket, batch))

    # --- what leaves --------------------------------------------------------------------------------

    def _look(self) -> None:
        """Between two quanta: what is due leaves."""
        now = self.slot.engine.now
        if self.slot.owner.hungry or now >= self._spawns_due:
            spawned = self._leave()
            if spawned:
                self.slot.owner.from_slot(spawned)

    def _flush(self) -> None:
        self.slot.flushed_at = self.slot.engine.now
        events = [*self._leave(), *self._results()]
        if events:
            self.slot.owner.from_slot(events)

    def _leave(self) -> list[Event]:
        if self._running is not None:
            self._pack(self._running)
        self._spawns_due = math.inf
        packed, self._packed = self._packed, []
        return packed

    def _results(self) -> list[Event]:
        entries, self._entries = self._entries, []
        if not entries:
            return []
        groups = groups_of(self.slot.book, self.batch, entries, reduce=bool(self.effect.reduce))
        return self.done(entries[-1].index + 1, groups)


def _spawns(unit: Unit) -> bool:
    """Whether it may make tasks of its own accord: then somebody must look after every quantum."""
    return type(unit).take_spawned is not Unit.take_spawned
