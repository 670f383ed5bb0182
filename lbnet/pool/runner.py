"""Runs tasks: the hot loop of a slot process, and what happens around each task that is not plain.

The loop spends about a tenth of a microsecond on a task that returns a plain value. It must not know of
sockets, messages other than RUN, or the worker.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from lbnet import limits, pickling
from lbnet.core.attempts import is_worth_a_retry
from lbnet.errors import FunctionSerializeError, ItemSerializeError
from lbnet.pickling import ItemsReader, Refused
from lbnet.pool import wire
from lbnet.pool.claims import Claims
from lbnet.pool.hand import Hand
from lbnet.pool.helper import Helper
from lbnet.pool.outbox import Outbox
from lbnet.pool.results import FOLDED, Failed, Parent, frozen
from lbnet.pool.spawning import Spawner
from lbnet.types import COMBINED, ROOT, SILENT, VALUES, Failure, JobId

_NOTHING = frozenset({type(None)})


@dataclass(slots=True)
class _Function:
    """What a slot was taught; unpickled at first use. ``broken`` says why it cannot be."""

    data: bytes
    fn: Callable[..., Any] | None = None
    broken: Refused | None = None


class Runner:
    """Runs the tickets of one slot process, one after the other.

    Args:
        outbox: takes the results.
        claims: says which tasks are ours.
        helper: acts while a long task runs.
        where: host and process, for failures.
    """

    def __init__(self, outbox: Outbox, claims: Claims, helper: Helper, where: str) -> None:
        self._outbox = outbox
        self._claims = claims
        self._helper = helper
        self._where = where
        self.spawner = Spawner(outbox, claims.flag(), time.perf_counter, helper.wake_at)
        self._currents = [claims.current(entry) for entry in range(limits.CLAIM_ENTRIES)]
        self._starteds = [claims.started(entry) for entry in range(limits.CLAIM_ENTRIES)]
        self._functions: dict[JobId, dict[bytes, _Function]] = {}
        # Parts of one payload often come one after the other: it is unpickled once.
        self._items: ItemsReader | None = None
        self._items_data = b""
        self._run: wire.Run | None = None
        self.flush_output: Callable[[], None] = _nothing
        """Lets what tasks have printed leave."""

    def running(self) -> tuple[int, int]:
        """Ticket and index of the task that runs now; -1 if none does."""
        run = self._run
        return (-1, -1) if run is None else (run.ticket, self._currents[run.entry][0])

    def teach(self, message: wire.Teach) -> None:
        """Remember a function."""
        self._functions.setdefault(message.job, {})[message.digest] = _Function(message.data)
        self.spawner.learn(message.job, message.digest)

    def forget(self, job: JobId) -> None:
        """The job has ended."""
        self._functions.pop(job, None)
        self.spawner.forget(job)

    def disown(self) -> None:
        """This process is a copy that a task has forked: it ends where its copy of the task does, as a script would."""
        self.spawner.marks.append(ROOT)  # so that no value passes without _append
        self._append = _end_copy  # type: ignore[assignment, method-assign]

    def run(self, run: wire.Run) -> None:
        """Run the tasks of a ticket that are not taken back; all messages about it have left at the end."""
        batch, entry = run.batch, run.entry
        current = self._currents[entry]
        outbox = self._outbox
        outbox.begin(run)
        # Unpickling is the user's code: if it kills the process, the first task is to blame.
        self._starteds[entry][0] = time.monotonic()
        current[0] = batch.lo
        self._run = run
        self.spawner.begin(run, current)
        call, entries = self._prepare(run)
        tasks = _Tasks(run, call, self._reduce(run))
        base = batch.payload.base
        begin, size = batch.lo, 1
        while begin < batch.hi:
            with outbox.lock:
                end = self._claims.claim(entry, begin, min(begin + size, batch.hi))
                if end == begin:
                    break
                hand = Hand(begin, entries[begin - base : end - base])
                self._helper.watch(hand, entry, outbox.group_began())
            end = self._run_group(tasks, hand)
            self.flush_output()
            mean_s = outbox.group_ended(end - begin, batch.hi - end)
            fitting = int(limits.GROUP_S / mean_s) if mean_s > 0 else limits.PAYLOAD_ITEMS_MAX
            size = max(1, min(fitting, size * limits.SLOT_GROUP_GROWTH))
            begin = end
        with outbox.lock:
            self.spawner.end()
            self._helper.watch(None, 0, 0.0)
        # Combined values are pickled here, which is the user's code, too: the last task is still there to blame.
        outbox.end(begin)
        self._run = None
        current[0] = -1

    def _run_group(self, tasks: _Tasks, hand: Hand) -> int:
        """The hot loop. Returns the index after the last task that ran."""
        call, plain = tasks.call, tasks.plain
        current = self._currents[tasks.run.entry]
        started = self._starteds[tasks.run.entry] if tasks.run.timed else None
        append, marks = self._outbox.finished.append, self.spawner.marks
        now = time.monotonic
        index = hand.lo
        for index, item in enumerate(hand.tasks, hand.lo):
            if started is not None:
                started[0] = now()
            current[0] = index
            try:
                value = call(item)
            except BaseException as error:
                # Whatever the user's code raises fails the task only.
                if self._claims.ending:
                    raise
                self._append(tasks, index, self._failed(tasks, error))
                continue
            if type(value) in plain and not marks:
                append(value)
            else:
                self._append(tasks, index, value)
        return index + 1

    def _failed(self, tasks: _Tasks, error: BaseException) -> Failed:
        self.flush_output()  # what it has printed must not count as the next task's
        failure = pickling.dump_exception(error, self._where)
        return Failed(failure if is_worth_a_retry(type(error), tasks.run.retry_on) else replace(failure, final=True))

    def _append(self, tasks: _Tasks, index: int, value: Any) -> None:
        """Take the outcome of a task that is not a plain value: an object, a failure, or one that spawned."""
        batch = tasks.run.batch
        outbox, spawner = self._outbox, self.spawner
        combining = tasks.reduce is not None and (batch.origin != ROOT or bool(spawner.marks))
        if type(value) is not Failed and value is not None:
            if batch.origin != ROOT and not combining:
                value = Failed(self._stray_value(value))
            elif spawner.marks or not combining:
                value = frozen(value, self._where)
        with outbox.lock:
            run = spawner.close_task(keep=type(value) is not Failed)
            if type(value) is Failed:
                entry: Any = value
            elif run != ROOT:
                silent = value is None and (batch.origin != ROOT or combining)
                entry = Parent(run, SILENT if silent else COMBINED if combining else VALUES, value)
            elif combining and value is not None:
                assert tasks.reduce is not None
                outbox.fold(index, value, tasks.reduce)
                entry = FOLDED
            else:
                entry = value
            outbox.finished.append(entry)

    def _stray_value(self, value: Any) -> Failure:
        return Failure(
            "SpawnedValueError",
            f"a task made with spawn() returned a value of type {type(value).__name__}, and the job does not say what "
            "to do with it: give the job a reduce= that combines such values, or return None",
            "",
            self._where,
            b"",
        )

    # --- what a ticket needs ----------------------------------------------------------------------

    def _function(self, job: JobId, digest: bytes) -> Callable[..., Any]:
        known = self._functions.get(job, {}).get(digest)
        if known is None:
            raise Refused("FunctionSerializeError", f"function {digest.hex()} has not come to this slot")
        if known.broken is not None:
            raise known.broken
        if known.fn is None:
            try:
                known.fn = pickling.load_function(known.data)
            except FunctionSerializeError as error:
                traceback = pickling.format_traceback(error.__cause__) if error.__cause__ is not None else ""
                known.broken = Refused("FunctionSerializeError", str(error), traceback)
                raise known.broken from None
            self.spawner.recognise(known.fn, digest, known.data)
        return known.fn

    def _prepare(self, run: wire.Run) -> tuple[Callable[[Any], Any], list[Any]]:
        """The entries of the payload, and what to call with each: it raises when the function or the payload is bad."""
        payload = run.batch.payload
        try:
            fn = self._function(run.batch.job, payload.function)
            if self._items is None or self._items_data != payload.data:
                self._items, self._items_data = pickling.load_items(payload.data), payload.data
            if len(self._items) != payload.count:
                raise ItemSerializeError(f"a payload of {payload.count} items holds {len(self._items)}")
        except Refused as refusal:
            problem = refusal
        except ItemSerializeError as error:
            problem = Refused("ItemSerializeError", str(error))
        else:
            return self._items.call(fn), self._items.entries
        return _raiser(problem), [None] * (run.batch.hi - payload.base)

    def _reduce(self, run: wire.Run) -> Callable[[Any, Any], Any] | None:
        if not run.reduce:
            return None
        try:
            return self._function(run.batch.job, run.reduce)
        except Refused as refusal:
            return _raiser(refusal)


class _Tasks:
    """One ticket, prepared: how to call its tasks, and the types of values that need no further care."""

    __slots__ = ("call", "plain", "reduce", "run")

    def __init__(self, run: wire.Run, call: Callable[[Any], Any], reduce: Callable[[Any, Any], Any] | None) -> None:
        self.run = run
        self.call = call
        self.reduce = reduce
        self.plain = pickling.SCALARS if run.batch.origin == ROOT else _NOTHING


def _nothing() -> None:
    pass


def _end_copy(*_: Any) -> NoReturn:
    raise sys.exception() or SystemExit(0)


def _raiser(refusal: Refused) -> Callable[..., NoReturn]:
    def refuse(*_: Any) -> NoReturn:
        raise Refused(refusal.kind, str(refusal), refusal.traceback)

    return refuse
