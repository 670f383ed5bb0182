"""Tasks that the running task spawns, on their way to the worker. It must not know how tasks run.

Consecutive calls of the same function share a payload. It leaves when it is full, when somebody is
hungry, soon after its first task was spawned, and before the result of its parent.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from lbnet import limits, pickling
from lbnet.errors import ItemSerializeError, SpawnLimitError, UsageError
from lbnet.pool import wire
from lbnet.pool.outbox import Outbox
from lbnet.types import ROOT, Batch, JobId, Payload, RunId

_ITEM_BYTES_MAX = limits.FRAME_BYTES_MAX - (1 << 20)


class Spawner:
    """The receiving end of :func:`lbnet.spawn`.

    Args:
        outbox: where messages leave; its lock guards the spawner too.
        flag: the hungry flag.
        clock: seconds, monotonic.
        on_waiting: called when a task begins to wait, with the time when it should leave.

    ``marks`` is not empty when the running task has spawned.
    """

    def __init__(
        self, outbox: Outbox, flag: memoryview, clock: Callable[[], float], on_waiting: Callable[[float], None]
    ) -> None:
        self.marks: list[RunId] = []
        self._outbox = outbox
        self._flag = flag
        self._clock = clock
        self._on_waiting = on_waiting
        self._run: wire.Run | None = None
        self._current: memoryview | None = None
        self._open = False
        self._digests: OrderedDict[int, tuple[Callable[..., Any], bytes, bytes]] = OrderedDict()
        self._known: dict[JobId, set[bytes]] = {}
        # The payload that is being filled, and the number of tasks that this run has spawned before it.
        self._function = b""
        self._items: list[Any] = []
        self._bytes = 0
        self._before = 0
        self._packed_bytes = 0
        self.due: float | None = None

    # --- from the pool --------------------------------------------------------------------------

    def learn(self, job: JobId, digest: bytes) -> None:
        """The worker has this function of a job."""
        self._known.setdefault(job, set()).add(digest)

    def recognise(self, fn: Callable[..., Any], digest: bytes, data: bytes) -> None:
        """``fn`` was unpickled from ``data``: spawning it needs no pickling."""
        self._remember(fn, digest, data)

    def forget(self, job: JobId) -> None:
        """The job has ended."""
        self._known.pop(job, None)

    def begin(self, run: wire.Run, current: memoryview) -> None:
        """Tasks of this ticket run from now on; ``current`` tells which."""
        self._run = run
        self._current = current
        self._open = True

    def end(self) -> None:
        """No task runs any more."""
        self._open = False
        self._run = self._current = None

    def close_task(self, *, keep: bool) -> RunId:
        """The running task is over: returns its run if it spawned, else ``ROOT``.

        The tasks that still wait leave before its result if ``keep``, else they are dropped; those that
        have left are orphans then, because no committed result names them.
        """
        if not self.marks:
            return ROOT
        if keep:
            self.pack()
            if self.due is not None and (self._flag[0] or self._clock() >= self.due):
                self.send()
        else:
            self._items.clear()
            self._bytes = 0
        self._before = self._packed_bytes = 0
        run = self.marks.pop()
        return run if keep else ROOT

    # --- from the task --------------------------------------------------------------------------

    def spawn(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """See :func:`lbnet.spawn`."""
        if not callable(fn):
            raise UsageError(f"spawn() needs a function, not a {type(fn).__name__}")
        item = pickling.freeze(args, "the arguments of a spawned call", ItemSerializeError)
        size = len(item.data) if type(item) is pickling.Pickled else sum(map(sys.getsizeof, item))
        if size > _ITEM_BYTES_MAX:
            raise ItemSerializeError(
                f"the arguments of a spawned call are {size:,} bytes; the limit is {_ITEM_BYTES_MAX:,}"
            )
        with self._outbox.lock:
            run, current = self._run, self._current
            if not self._open or run is None or current is None:
                raise UsageError("spawn() was called in a slot when no task ran there: a thread outlived its task")
            held = self._packed_bytes + self._bytes + size
            if held > limits.SPAWN_BYTES_MAX:
                raise SpawnLimitError(
                    f"one task has spawned others with {held:,} bytes of arguments; the limit is "
                    f"{limits.SPAWN_BYTES_MAX:,}. Let its tasks spawn the others, or pass large things in files"
                )
            digest = self._digest(run.batch.job, fn)
            if digest != self._function and self._items:
                self.pack()
            if not self.marks:
                self.marks.append(RunId(run.first_run + current[0] - run.batch.lo))
            self._function = digest
            self._items.append(item)
            self._bytes += size
            full = len(self._items) >= limits.SPAWN_BUFFER_TASKS or self._bytes >= limits.PAYLOAD_BYTES_SOFT
            if full or self._flag[0] or (self.due is not None and self._clock() >= self.due):
                self.pack()
                self.send()
            elif self.due is None:
                self.due = self._clock() + limits.SPAWN_FLUSH_S
                self._on_waiting(self.due)

    # --- from either thread; the lock is held -----------------------------------------------------

    def pack(self) -> None:
        """Make a message of the payload that is being filled, and queue it."""
        if not self._items:
            return
        assert self._run is not None
        assert self._current is not None
        parent, index = self._run.batch, self._current[0]
        lo, count = self._before, len(self._items)
        dumped = pickling.dump_items(self._items, pickling.STAR)
        self._items = []
        self._bytes = 0
        self._before += count
        self._packed_bytes += len(dumped.data)
        root = index if parent.origin == ROOT else parent.root
        payload = Payload(lo, count, self._function, dumped.data)
        batch = Batch(parent.job, self.marks[0], lo, lo + count, root, parent.origin, index, payload)
        self._outbox.queue(wire.Spawned(self._run.ticket, batch))

    def send(self) -> None:
        """Let everything that was packed leave."""
        self.due = None
        self._outbox.send()

    # --- functions --------------------------------------------------------------------------------

    def _digest(self, job: JobId, fn: Callable[..., Any]) -> bytes:
        """The digest of ``fn``; the worker has the function before it sees the digest."""
        entry = self._digests.get(id(fn))
        if entry is None:
            digest, data = pickling.dump_function(fn)
            self._remember(fn, digest, data)
        else:
            _, digest, data = entry
        known = self._known.setdefault(job, set())
        if digest not in known:
            known.add(digest)
            self._outbox.queue(wire.Teach(job, digest, data))
        return digest

    def _remember(self, fn: Callable[..., Any], digest: bytes, data: bytes) -> None:
        """Keep ``fn`` itself too, so that its identity is not used again."""
        self._digests[id(fn)] = (fn, digest, data)
        while len(self._digests) > limits.SPAWN_FUNCTIONS_MAX:
            self._digests.popitem(last=False)
