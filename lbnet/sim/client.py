"""A client in the model: it submits one job at its own speed, and adds up what it is told.

Its job has one function, and one that combines if the workload says so. It must not know what the tasks are.
"""

from __future__ import annotations

from collections.abc import Callable

from lbnet import limits
from lbnet.core.batching import payload_tasks
from lbnet.core.events import Received
from lbnet.errors import UsageError
from lbnet.protocol import messages
from lbnet.protocol.records import OUTCOMES
from lbnet.sim.book import Book
from lbnet.sim.costs import Costs
from lbnet.sim.engine import Engine
from lbnet.sim.groups import counted
from lbnet.sim.links import Node
from lbnet.sim.process import Cores, Item
from lbnet.sim.record import Record
from lbnet.types import CONTROLLER, ROOT, Batch, JobId, JobOptions, Payload, PeerId

_FUNCTION = b"function"
_FUNCTION_BYTES = 200
_FIRST_ITEMS = 16
_GROWTH = 16


class _Feed:
    """The event that the next items are to be pickled and sent."""


class ClientNode(Node):
    """Runs one job.

    Args:
        peer: its id.
        options: of its job.
        book: how many items there are, and how large they are.
        engine: the clock.
        costs: what messages and items cost.
        record: notes what happens.
        draw: uniform in [0, 1).
        cores: see :class:`~lbnet.sim.process.Process`.
        on_done: called when the job is done, or refused, or failed.
    """

    def __init__(
        self,
        peer: PeerId,
        options: JobOptions,
        book: Book,
        engine: Engine,
        costs: Costs,
        record: Record,
        draw: Callable[[], float],
        cores: Cores | None,
        on_done: Callable[[], None],
    ) -> None:
        super().__init__(
            engine, costs, peer, event_s=costs.client_event_s, message_s=costs.client_message_s, draw=draw, cores=cores
        )
        self.job = JobId(peer * limits.JOBS_PER_CLIENT_MAX + 1)
        self.total = 0
        self.failed = 0
        self._options = options
        self._book = book
        self._record = record
        self._on_done = on_done
        self._item_s = costs.client_item_s
        self._sent = 0
        self._settled = 0
        self._seen = 0
        self._size = _FIRST_ITEMS
        self._began = 0.0
        self._feeding = False
        self._closed = False

    def open(self) -> None:
        """Begin, at the engine's time."""
        self._began = self.engine.now
        self._feeding = True
        self.post(Item(self.event_s, _Feed()))

    def take(self, item: Item) -> float:
        """Read a message, or send more items."""
        event = item.event
        if type(event) is Received:
            kind = type(event.message)
            counts = self._record.counts["controller to client"]
            counts[kind] = counts.get(kind, 0) + 1
            self._hear(event.message)
            self._go_on()
            return self._take_outcome(kind)
        assert type(event) is _Feed, "a client hears nothing else"
        return self._feed(self.engine.now)

    def _take_outcome(self, kind: type) -> float:
        """Tell the controller now and then what it need not keep."""
        now = self.engine.now
        if kind not in OUTCOMES:
            return now
        self._seen += 1
        if self._seen % limits.TAKEN_EVERY and kind is not messages.JobDone:
            return now
        return self.send(CONTROLLER, messages.Taken(self.job, self._seen), now)

    # --- submitting ---------------------------------------------------------------------------------

    def _feed(self, when: float) -> float:
        self._feeding = False
        if not self._sent:
            when = self._send_opening(when)
        items = self._book.workload.items
        count = min(self._size, items - self._sent)
        if count:
            lo, hi = self._sent, self._sent + count
            payload = Payload(lo, count, _FUNCTION, self._book.item_zeros(count))
            batch = Batch(self.job, ROOT, lo, hi, 0, ROOT, 0, payload)
            when = self.send(CONTROLLER, messages.Submit(batch), when)
            self._sent = hi
            self._size = self._next_size()
        if self._sent == items:
            self._closed = True
            when = self.send(CONTROLLER, messages.CloseJob(self.job, items), when)
        self._go_on()
        return when

    def _send_opening(self, when: float) -> float:
        when = self.send(CONTROLLER, messages.OpenJob(self.job, self._options), when)
        for digest in (_FUNCTION, self._options.reduce):
            if digest:
                when = self.send(CONTROLLER, messages.Function(self.job, digest, bytes(_FUNCTION_BYTES)), when)
        return when

    def _next_size(self) -> int:
        fitting = limits.PAYLOAD_BYTES_SOFT // max(1, self._book.workload.item_bytes)
        most = payload_tasks(self._settled, self.engine.now - self._began)
        return max(1, min(fitting, self._size * _GROWTH, most))

    def _go_on(self) -> None:
        if self._feeding or self._closed or not self._has_room():
            return
        self._feeding = True
        count = min(self._size, self._book.workload.items - self._sent)
        self.post(Item(self.event_s + count * self._item_s, _Feed()))

    def _has_room(self) -> bool:
        ahead = self._sent - self._settled
        workload = self._book.workload
        on_the_way_bytes = ahead * (workload.item_bytes + workload.result_bytes)
        return ahead == 0 or (ahead < limits.CLIENT_TASKS_WINDOW and on_the_way_bytes < limits.CLIENT_BYTES_WINDOW)

    # --- results ------------------------------------------------------------------------------------

    def _hear(self, message: messages.Message) -> None:
        if isinstance(message, messages.Values):
            self.total += counted(message.data, message.lo - message.base, message.hi - message.lo)
            if not message.open:
                self._settled += message.hi - message.lo
        elif isinstance(message, messages.Partial):
            self.total += int(message.data)
        elif isinstance(message, messages.Settled):
            self._settled += 1
        elif isinstance(message, messages.Failed):
            self.failed += 1
            self._settled += 1
        elif isinstance(message, messages.JobRefused):
            raise UsageError(message.reason)
        elif isinstance(message, messages.JobDone):
            self._on_done()
