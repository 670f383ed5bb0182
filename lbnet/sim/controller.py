"""The controller in the model: the real core, in a process with a queue."""

from __future__ import annotations

from collections.abc import Callable

from lbnet.core import effects
from lbnet.core.controller import Controller
from lbnet.core.events import Left, Received, Tick
from lbnet.sim.costs import Costs
from lbnet.sim.engine import Engine
from lbnet.sim.links import Node
from lbnet.sim.process import Cores, Item
from lbnet.sim.record import Record
from lbnet.types import CONTROLLER, PeerId


class ControllerNode(Node):
    """Feeds the core, and carries out its effects.

    Args:
        core: the decisions.
        engine: the clock.
        costs: what messages cost.
        record: notes what happens.
        draw: uniform in [0, 1).
        cores: see :class:`~lbnet.sim.process.Process`.
    """

    def __init__(
        self,
        core: Controller,
        engine: Engine,
        costs: Costs,
        record: Record,
        draw: Callable[[], float],
        cores: Cores | None,
    ) -> None:
        super().__init__(
            engine,
            costs,
            CONTROLLER,
            event_s=costs.controller_event_s,
            message_s=costs.controller_message_s,
            draw=draw,
            cores=cores,
        )
        self.core = core
        self.client: PeerId | None = None
        self._record = record
        self._from_client = record.counts["client to controller"]
        self._from_workers = record.counts["worker to controller"]

    def take(self, item: Item) -> float:
        """Handle an event. A message from beyond a link that is closed is not heard."""
        now = when = self.engine.now
        event = item.event
        if type(event) is Received:
            if self.is_stale(item, event.peer):
                return now
            counts = self._from_client if event.peer == self.client else self._from_workers
            kind = type(event.message)
            counts[kind] = counts.get(kind, 0) + 1
            self._record.controller_times.append(now)
        elif type(event) is Left and self.is_stale(item, event.peer, closes=True):
            return now
        done = self.core.handle(event, now)
        self._record.note(now, CONTROLLER, event, len(done))
        for effect in done:
            if type(effect) is effects.Send:
                when = self.send(effect.to, effect.message, when)
            elif type(effect) is effects.SetTimer:
                self.set_timer(effect.at, _TICK)
            else:
                assert type(effect) is effects.Disconnect, f"a controller has no {type(effect).__name__}"
                self.hang_up(effect.peer, effect.reason)
        return when


_TICK = Tick()
