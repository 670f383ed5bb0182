"""A worker in the model: the real core, in a process with a queue, with modelled slots."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from lbnet.core import effects
from lbnet.core.effects import Effect
from lbnet.core.events import Event, Left, Received, Reclaimed, SlotReady, Tick
from lbnet.core.worker import Worker
from lbnet.sim.book import Book, Tasks
from lbnet.sim.costs import Costs
from lbnet.sim.engine import Engine
from lbnet.sim.frames import batch_bytes
from lbnet.sim.links import Node
from lbnet.sim.plain import PlainTicket
from lbnet.sim.process import Cores, Item
from lbnet.sim.record import Record
from lbnet.sim.slots import Slot, Ticket
from lbnet.sim.units import UnitTicket
from lbnet.types import CONTROLLER, Address, PeerId, SlotId


class Around(Protocol):
    """What is around a worker: it opens links to others."""

    def connect(self, worker: WorkerNode, peer: PeerId, address: Address, when: float) -> None:
        """Open a direct link, beginning at ``when``."""


class WorkerNode(Node):
    """Feeds the core, and carries out its effects.

    Args:
        core: the decisions.
        slots: how many.
        speed: of its slots: seconds of a task take ``1 / speed`` there.
        address: where it listens.
        around: opens links.
        book: what the tasks are.
        engine: the clock.
        costs: what messages and slots cost.
        record: notes what happens.
        draw: uniform in [0, 1).
        cores: see :class:`~lbnet.sim.process.Process`.
    """

    def __init__(
        self,
        core: Worker,
        slots: int,
        speed: float,
        address: Address,
        around: Around,
        book: Book,
        engine: Engine,
        costs: Costs,
        record: Record,
        draw: Callable[[], float],
        cores: Cores | None,
    ) -> None:
        super().__init__(
            engine,
            costs,
            core.me,
            event_s=costs.worker_event_s,
            message_s=costs.worker_message_s,
            draw=draw,
            cores=cores,
        )
        self.core = core
        self.address = address
        self.hungry = False
        self._around = around
        self._record = record
        self._from_controller = record.counts["controller to worker"]
        self._from_workers = record.counts["worker to worker"]
        self._pipe_s = costs.pipe_s
        self._handshake_s = costs.handshake_s
        self._urgent: deque[Event] = deque()
        self._slots = [
            Slot(engine, self, SlotId(number), book, costs, speed, _make_ticket, cores) for number in range(slots)
        ]

    def start_slots(self) -> None:
        """The slot processes are up now."""
        for slot in self._slots:
            self.post(Item(self.event_s + self.message_s, SlotReady(slot.id, 1)))

    # --- the slots' side ----------------------------------------------------------------------------

    def from_slot(self, events: list[Event]) -> None:
        """A slot has written these into its pipe."""
        items = [Item(self.decoding_s(event), event) for event in events]
        self.engine.at(self.engine.now + self._pipe_s, self.post_all, items)

    def slot_runs(self, change: int) -> None:
        """A slot has begun (1) or ended (-1) a ticket."""
        if self._record.timeline is not None:
            self._record.timeline.slots(self.peer, self.engine.now, running=change, held=min(change, 0))

    # --- the core -----------------------------------------------------------------------------------

    def take(self, item: Item) -> float:
        """Handle an event, and the answers to Reclaims that follow. What comes by a closed link is not heard."""
        now = when = self.engine.now
        event = item.event
        if type(event) is Received:
            if self.is_stale(item, event.peer):
                return now
            counts = self._from_controller if event.peer == CONTROLLER else self._from_workers
            kind = type(event.message)
            counts[kind] = counts.get(kind, 0) + 1
            if self._record.timeline is not None:
                self._record.timeline.heard(self.peer, event.message, now)
        elif type(event) is Left:
            if self.is_stale(item, event.peer, closes=True):
                return now
            if event.peer == CONTROLLER:
                self.die("it has lost its controller")
                return now
        while True:
            done = self.core.handle(event, now)
            self._record.note(now, self.peer, event, len(done))
            for effect in done:
                if type(effect) is effects.Send:
                    when = self.send(effect.to, effect.message, when)
                else:
                    when = self._perform(effect, when)
            if not self._urgent:
                return when
            event = self._urgent.popleft()
            when += self.event_s

    def _perform(self, effect: Effect, when: float) -> float:
        if isinstance(effect, effects.Run):
            return self._run(effect, when)
        if isinstance(effect, effects.Reclaim):
            taken_from = self._slots[effect.slot].reclaim(effect.ticket, effect.limit)
            if taken_from is not None:
                self._urgent.append(Reclaimed(effect.slot, effect.ticket, taken_from))
        elif isinstance(effect, effects.SetHungry):
            self.hungry = effect.hungry
            if effect.hungry:
                for slot in self._slots:
                    slot.hunger()
        elif isinstance(effect, effects.SetTimer):
            self.set_timer(effect.at, _TICK)
        elif isinstance(effect, effects.Connect):
            when += self._handshake_s
            self._around.connect(self, effect.peer, effect.address, when)
        elif isinstance(effect, effects.Disconnect):
            self.hang_up(effect.peer, effect.reason)
        else:
            # A slot of the model runs any function, and never ends.
            assert isinstance(effect, effects.Teach | effects.Forget), f"the model has no {type(effect).__name__}"
            return when + self.message_s
        return when

    def _run(self, effect: effects.Run, when: float) -> float:
        when += self.message_s + self.byte_s * batch_bytes(effect.batch)
        if self._record.timeline is not None:
            self._record.timeline.slots(self.peer, self.engine.now, held=1)
        self._slots[effect.slot].run(effect, when + self._pipe_s)
        return when


_TICK = Tick()


def _make_ticket(slot: Slot, effect: effects.Run, tasks: Tasks) -> Ticket:
    return PlainTicket(slot, effect, tasks) if tasks.sums is not None else UnitTicket(slot, effect, tasks)
