"""The values of one map, as an iterator: what the consumer's own thread does.

Unpickling and combining are the user's code, so they happen here, when a value is asked for. The loop over
plain values costs no call per value: blocks of them are chained.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from lbnet import pickling
from lbnet.client.book import Broken, Dropped, Ended, ItemBook, Part, Ready, Settled
from lbnet.client.connection import Connection
from lbnet.client.feeder import Fed, Feeder
from lbnet.client.inbox import Closed, Inbox
from lbnet.client.receipts import Receipts
from lbnet.client.standing import EVERYTHING, Lost, Safe
from lbnet.client.window import Window
from lbnet.errors import (
    ConnectionLostError,
    InputError,
    NoWorkersError,
    ResultSerializeError,
    SpawnedTaskError,
    UsageError,
)
from lbnet.pickling import ValuesReader
from lbnet.protocol import messages
from lbnet.types import JobId

T = TypeVar("T")

_NO_VALUE: Any = object()


@dataclass(slots=True)
class _Block:
    """Consecutive items that are settled, with what the consumer's loop gets for them."""

    lo: int
    hi: int
    values: Iterator[Any]
    size_bytes: int


class Results(Iterator[T], Generic[T]):
    """What :meth:`lbnet.Client.map` returns: an iterator of the values of its items.

    A task that failed raises its exception from ``next()``; the iterator can go on after that. When
    the iterator is closed or forgotten before its end, the rest of the job is cancelled, but for a detached one: it
    goes on, and whoever attaches to it gets what was not taken here. A value is taken when the next one is asked for.

    Attributes:
        job: the id of the job, for :meth:`lbnet.Client.report`.
    """

    def __init__(self, stream: Stream) -> None:
        self.job = stream.job
        self._stream = stream
        self._chain: Iterator[T] = itertools.chain.from_iterable(stream.blocks())

    def __iter__(self) -> Iterator[T]:  # noqa: PYI034 - the same values, without a call for each
        return self._chain

    def __next__(self) -> T:
        return next(self._chain)

    def close(self) -> None:
        """Cancel what has not run yet, or leave a detached job alone. Values that have come can still be taken; then
        the iterator ends.
        """
        self._stream.close()

    def cancel(self) -> None:
        """Cancel what has not run yet, of a detached job too, and forget what was not taken."""
        self._stream.close(cancel=True)


class Stream:
    """From messages to blocks of values. It is closed when nobody can ask for values any more.

    Args:
        job: the id of the job.
        connection: the link.
        inbox: the messages.
        feeder: the input.
        window: the credit that the two share.
        ordered: values come in the order of the items, else as they are done.
        reduce: combines the values of an item and all that it spawned; None if there are none.
        deadline: when, on the monotonic clock, values must have come; None for no limit.
        return_exceptions: exceptions are values.
        on_progress: told how many more items are settled.
        keeps_going: the input is known to be finite: closing the client waits for it.
        receipts: of a job that outlives its reader; None if all that has come counts as taken.
        owner: kept alive until the stream is closed.
    """

    def __init__(
        self,
        job: JobId,
        connection: Connection,
        inbox: Inbox,
        feeder: Feeder | Fed,
        window: Window,
        *,
        ordered: bool,
        reduce: Callable[[Any, Any], Any] | None,
        deadline: float | None,
        return_exceptions: bool,
        on_progress: Callable[[int], None],
        keeps_going: bool,
        receipts: Receipts | None = None,
        owner: object = None,
    ) -> None:
        self.job = job
        self._connection = connection
        self._inbox = inbox
        self._feeder = feeder
        self._window = window
        self._ordered = ordered
        self._reduce = reduce
        self._deadline = deadline
        self._return_exceptions = return_exceptions
        self._on_progress = on_progress
        self._keeps_going = keeps_going
        self._receipts = receipts
        self._owner = owner
        self._book = ItemBook()
        self._parts: dict[int, Any] = {}
        self._failed_parts: dict[int, BaseException] = {}
        self._held: dict[int, _Block] = {}
        self._next = 0
        self._closed = False

    def blocks(self) -> Iterator[Iterable[Any]]:
        """Iterables whose values together are the values of the map; it raises nothing that ends a single task only."""
        try:
            while (message := self._receive()) is not None:
                outcome = self._book.take(message)
                if self._receipts is not None and not isinstance(outcome, Ended):
                    self._came(self._receipts, message)
                match outcome:
                    case None:
                        continue
                    case Ended():
                        self._check_end(outcome)
                        break
                    case Part():
                        self._fold(outcome)
                        continue
                    case Dropped():
                        block = self._dropped(outcome)
                    case Ready():
                        block = self._ready(outcome)
                    case Settled():
                        block = self._settled(outcome.root)
                    case Broken():
                        block = self._broken(outcome)
                self._held[block.lo] = block
                for due in self._due(block):
                    yield due.values
                    self._window.consumed(due.hi - due.lo, due.size_bytes)
                    self._on_progress(due.hi - due.lo)
                    if self._receipts is not None:
                        self._got(due)
            if message is not None and self._receipts is not None:
                yield from self._last()
            if message is not None and self._feeder.error is not None:
                yield self._raising(self._input_error(self._feeder.error))
        finally:
            self.close()

    def close(self, *, because_of_client: bool = False, cancel: bool = False) -> None:
        """Nobody here wants the rest: cancel it, or leave it alone if the job is detached.

        Args:
            because_of_client: it was the client that closed: who asks for more all the same is told.
            cancel: also a detached job.
        """
        if self._closed:
            return
        self._closed = True
        self._feeder.stop()
        if self._receipts is not None and not cancel:
            self._say_taken(self._receipts, now=True)
            self._connection.release(self.job)
        else:
            self._connection.forget(self.job)
            if self._receipts is not None or not self._inbox.ended.is_set():
                with contextlib.suppress(ConnectionLostError):
                    self._connection.send(messages.Cancel(self.job, 0, EVERYTHING))
        self._inbox.close("the client was closed before this value came" if because_of_client else "")
        self._on_progress(-1)
        self._owner = None

    def finish(self) -> None:
        """The client is closing: let everything come in if it ever ends, and cancel it if nobody can know.

        A detached job needs its input only.
        """
        if self._receipts is not None and (self._keeps_going or self._feeder.finished):
            self._window.lift()
            self._feeder.over.wait()
            self.close(because_of_client=True)
        elif self._keeps_going or self._feeder.finished:
            self._window.lift()
            self._inbox.ended.wait()
        else:
            self.close()

    def __del__(self) -> None:
        self.close()

    # --- messages -----------------------------------------------------------------------------------

    def _receive(self) -> messages.Message | None:
        """The next message; None when the consumer itself has closed the iterator."""
        timeout_s = None if self._deadline is None else max(self._deadline - time.monotonic(), 0.0)
        try:
            message = self._inbox.get(timeout_s)
        except queue.Empty:
            raise TimeoutError(f"the next value of job {self.job} did not come in time") from None
        if isinstance(message, Lost):
            raise ConnectionLostError(message.reason)
        if isinstance(message, Closed):
            if message.reason:
                raise CancelledError(message.reason)
            return None
        assert not isinstance(message, Safe), "the inbox itself takes these"
        return message

    def _due(self, block: _Block) -> Iterator[_Block]:
        if not self._ordered:
            yield self._held.pop(block.lo)
            return
        while self._next in self._held:
            due = self._held.pop(self._next)
            self._next = due.hi
            yield due

    def _last(self) -> Iterator[Iterable[Any]]:
        """The job has ended: give what waits for items that an earlier reader has taken; then all is taken."""
        assert self._receipts is not None, "only what outlives its reader has receipts"
        for lo in sorted(self._held):
            yield self._held.pop(lo).values
        self._receipts.got_all()
        self._say_taken(self._receipts, now=True)

    def _came(self, receipts: Receipts, message: messages.Message) -> None:
        read = receipts.came(_item(message), len(getattr(message, "data", b"")))
        if read is not None:
            with contextlib.suppress(ConnectionLostError):
                self._connection.send(messages.Read(self.job, read))

    def _got(self, block: _Block) -> None:
        assert self._receipts is not None, "see above"
        self._receipts.got(block.lo, block.size_bytes)
        self._say_taken(self._receipts)

    def _say_taken(self, receipts: Receipts, *, now: bool = False) -> None:
        upto = receipts.due(now=now)
        if upto is not None:
            with contextlib.suppress(ConnectionLostError):  # whoever attaches to it gets it again
                self._connection.send(messages.Taken(self.job, upto))

    def _check_end(self, ended: Ended) -> None:
        if ended.reason:
            raise UsageError(ended.reason)
        if not self._feeder.finished:
            raise NoWorkersError(f"the controller ended job {self.job} before all of its items were sent")

    # --- blocks -------------------------------------------------------------------------------------

    def _ready(self, ready: Ready) -> _Block:
        return _Block(ready.lo, ready.hi, self._values(ready), len(ready.data))

    def _values(self, ready: Ready) -> Iterator[Any]:
        try:
            reader = pickling.load_values(ready.data)
            if ready.hi - ready.base > len(reader):
                raise ResultSerializeError(f"{len(reader)} results came for {ready.hi - ready.base} items")
        except ResultSerializeError as error:
            text = str(error)
            return itertools.chain.from_iterable(
                self._raising(_with_index(ResultSerializeError(text), index)) for index in range(ready.lo, ready.hi)
            )
        if reader.plain is None:
            return _Each(reader, ready, self._return_exceptions)
        if ready.lo == ready.base and ready.hi - ready.base == len(reader.plain):
            return iter(reader.plain)
        return iter(reader.plain[ready.lo - ready.base : ready.hi - ready.base])

    def _fold(self, part: Part) -> None:
        """Combine. When the user's function raises, the item has failed."""
        root = part.root
        self._window.consumed(0, len(part.data))
        if root in self._failed_parts:
            return
        if self._reduce is None:
            raise UsageError(f"job {self.job} has reduce=: give attach() the same function")
        try:
            value = pickling.load_values(part.data).get(0)
            known = self._parts.get(root, _NO_VALUE)
            self._parts[root] = value if known is _NO_VALUE else self._reduce(known, value)
        except Exception as error:  # noqa: BLE001 - unpickling and combining are the user's code
            self._failed_parts[root] = error
            self._parts.pop(root, None)

    def _settled(self, root: int) -> _Block:
        error = self._failed_parts.pop(root, None)
        if error is not None:
            return _Block(root, root + 1, self._raising(_with_index(error, root)), 0)
        return _Block(root, root + 1, iter((self._parts.pop(root, None),)), 0)

    def _broken(self, broken: Broken) -> _Block:
        index = broken.index
        self._parts.pop(index, None)
        self._failed_parts.pop(index, None)
        error = _with_index(error_of(broken.message), index)
        return _Block(index, index + 1, self._raising(error), broken.dropped_bytes)

    def _dropped(self, dropped: Dropped) -> _Block:
        error = CancelledError(f"items [{dropped.lo}, {dropped.hi}) of job {self.job} were cancelled")
        return _Block(dropped.lo, dropped.hi, self._raising(error), 0)

    def _raising(self, error: BaseException) -> Iterator[Any]:
        return iter((error,)) if self._return_exceptions else _Raise(error)

    def _input_error(self, cause: BaseException) -> InputError:
        error = InputError(
            f"the iterable of items raised {type(cause).__name__} after {self._feeder.sent} items: {cause}"
        )
        error.__cause__ = cause
        return error


def _item(message: messages.Message) -> int:
    """The item of an outcome, or the first of them."""
    match message:
        case messages.Values() | messages.Cancelled():
            return message.lo
        case messages.Settled() | messages.Partial():
            return message.root
        case messages.Failed():
            return message.index
    raise AssertionError(f"{type(message).__name__} is no outcome of an item")


class _Raise(Iterator[Any]):
    """Raises once; then it is over."""

    __slots__ = ("_error",)

    def __init__(self, error: BaseException) -> None:
        self._error: BaseException | None = error

    def __next__(self) -> Any:
        error, self._error = self._error, None
        if error is None:
            raise StopIteration
        try:
            raise error
        finally:
            del error  # else the traceback and this frame would keep each other alive


class _Each(Iterator[Any]):
    """Values that are unpickled one by one; one that cannot be does not spoil the next."""

    __slots__ = ("_at", "_reader", "_ready", "_return_exceptions")

    def __init__(self, reader: ValuesReader, ready: Ready, return_exceptions: bool) -> None:
        self._reader = reader
        self._ready = ready
        self._at = ready.lo
        self._return_exceptions = return_exceptions

    def __next__(self) -> Any:
        index = self._at
        if index >= self._ready.hi:
            raise StopIteration
        self._at += 1
        try:
            return self._reader.get(index - self._ready.base)
        except ResultSerializeError as error:
            _with_index(error, index)
            if self._return_exceptions:
                return error
            raise


def error_of(failed: messages.Failed) -> BaseException:
    """The exception of a failed item: the task's own, or the error that says what a spawned task did."""
    error = pickling.load_exception(failed.kind, failed.message, failed.traceback, failed.where, failed.data)
    if not failed.spawned:
        return error
    outer = SpawnedTaskError(f"a task that this item spawned failed: {failed.message}")
    outer.__cause__ = error
    return outer


def _with_index(error: BaseException, index: int) -> BaseException:
    with contextlib.suppress(Exception):  # __notes__ is the user's; the note is a courtesy
        error.add_note(f"item {index} of the map")
    return error
