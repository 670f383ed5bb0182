"""What tasks have printed lately, kept at their worker within bounds: of each task the two ends, of all the latest.

It must not know how output comes here.
"""

from __future__ import annotations

from collections import OrderedDict

from lbnet import limits
from lbnet.core.events import SlotOutput
from lbnet.types import ROOT, JobId, RunId, SlotId

_ENTRY_BYTES = 300


class _Kept:
    """The two ends of what one execution printed."""

    __slots__ = ("dropped", "head", "index", "origin", "slot", "tail")

    def __init__(self, slot: SlotId, origin: RunId, index: int) -> None:
        self.slot = slot
        self.origin = origin
        self.index = index
        self.head = bytearray()
        self.tail = bytearray()
        self.dropped = 0

    @property
    def size_bytes(self) -> int:
        return _ENTRY_BYTES + len(self.head) + len(self.tail)

    def add(self, data: bytes) -> int:
        """Returns how many bytes belong to the beginning."""
        room = max(limits.OUTPUT_HEAD_BYTES - len(self.head), 0)
        self.head += data[:room]
        self.tail += data[room:]
        # Cut now and then, not with every piece.
        if len(self.tail) > 2 * limits.OUTPUT_TAIL_BYTES:
            self._cut()
        return min(room, len(data))

    def _cut(self) -> None:
        over = len(self.tail) - limits.OUTPUT_TAIL_BYTES
        if over > 0:
            del self.tail[:over]
            self.dropped += over

    def output(self, job: JobId) -> SlotOutput:
        self._cut()
        between = b"\n... %d bytes left out ...\n" % self.dropped if self.dropped else b""
        return SlotOutput(
            self.slot, job, self.origin, self.index, bytes(self.head) + between + bytes(self.tail), self.dropped
        )


class _JobLogs:
    """The executions of one job that printed, the latest last."""

    __slots__ = ("kept", "size_bytes")

    def __init__(self) -> None:
        self.kept: OrderedDict[tuple[SlotId, int, int], _Kept] = OrderedDict()
        self.size_bytes = 0

    def drop_first(self) -> int:
        """Forget the oldest. Returns its size."""
        _, kept = self.kept.popitem(last=False)
        self.size_bytes -= kept.size_bytes
        return kept.size_bytes


class Logs:
    """The output of all tasks of a worker. Executions are told apart by slot, ticket and index."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[JobId, _JobLogs] = OrderedDict()
        self.size_bytes = 0

    def add(self, slot: SlotId, ticket: int, job: JobId, origin: RunId, index: int, data: bytes) -> int:
        """A task has printed this. Returns how many bytes of it belong to the beginning that is kept."""
        logs = self._jobs.get(job)
        if logs is None:
            logs = self._jobs[job] = _JobLogs()
        key = (slot, ticket, index)
        kept = logs.kept.get(key)
        before = 0
        if kept is None:
            kept = logs.kept[key] = _Kept(slot, origin, index)
        else:
            before = kept.size_bytes
        of_head = kept.add(data)
        logs.size_bytes += kept.size_bytes - before
        self.size_bytes += kept.size_bytes - before
        while logs.size_bytes > limits.OUTPUT_JOB_BYTES and len(logs.kept) > 1:
            self.size_bytes -= logs.drop_first()
        while self.size_bytes > limits.OUTPUT_WORKER_BYTES:
            self._drop_oldest(job)
        return of_head

    def _drop_oldest(self, but: JobId) -> None:
        oldest = next(iter(self._jobs))
        if oldest == but and len(self._jobs) > 1:
            self._jobs.move_to_end(oldest)
            oldest = next(iter(self._jobs))
        self.size_bytes -= self._jobs.pop(oldest).size_bytes

    def of_execution(self, slot: SlotId, ticket: int, job: JobId, index: int) -> SlotOutput | None:
        """What one execution has printed, None if nothing, or nothing that is kept."""
        logs = self._jobs.get(job)
        kept = None if logs is None else logs.kept.get((slot, ticket, index))
        return None if logs is None or kept is None else self._output(logs, kept, job)

    def of_job(self, job: JobId, index: int | None = None) -> list[SlotOutput]:
        """What tasks of a job have printed here, in the order in which they began to; with ``index``, of that item."""
        logs = self._jobs.get(job)
        if logs is None:
            return []
        wanted = [kept for kept in logs.kept.values() if index is None or (kept.origin, kept.index) == (ROOT, index)]
        return [self._output(logs, kept, job) for kept in wanted]

    def _output(self, logs: _JobLogs, kept: _Kept, job: JobId) -> SlotOutput:
        before = kept.size_bytes
        output = kept.output(job)
        logs.size_bytes += kept.size_bytes - before
        self.size_bytes += kept.size_bytes - before
        return output
