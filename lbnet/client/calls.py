"""Single calls and their futures. They share a job, so that a function is sent once, not with every call."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from lbnet import limits, pickling
from lbnet.client.book import Broken, Dropped, Ended, ItemBook, Part, Ready, Settled
from lbnet.client.connection import Connection
from lbnet.client.options import Options
from lbnet.client.results import error_of
from lbnet.errors import ConnectionLostError, ItemSerializeError, LbnetError, UsageError
from lbnet.protocol.messages import Cancel, CloseJob, Function, Message, OpenJob, Submit
from lbnet.types import ROOT, Batch, JobId, Payload

_Delivery = tuple["_CallJob", "Message | None"]


class CallFuture(Future[Any]):
    """The future of one call. ``job`` is the id of the job that it belongs to, for :meth:`lbnet.Client.report`."""

    def __init__(self, calls: _CallJob, index: int) -> None:
        super().__init__()
        self._calls = calls
        self._index = index
        self.job = calls.id

    def cancel(self) -> bool:
        """Give the call up, unless it is done: its result is dropped, and it does not start if it has not started yet.

        Returns:
            False if the call was done already.
        """
        if not super().cancel():
            return False
        # Whoever takes the future tells its waiters: this is either here or where its result has just come.
        if self._calls.take(self._index) is not None:
            self.set_running_or_notify_cancel()
            self._calls.cancelled(self._index)
        return True


class Calls:
    """All single calls of a client with certain options.

    Args:
        connection: the link.
        options: of the jobs.
    """

    def __init__(self, connection: Connection, options: Options) -> None:
        self._connection = connection
        self._options = options
        self._lock = threading.Lock()
        self._current: _CallJob | None = None
        self._jobs: set[_CallJob] = set()
        self._inbox: queue.SimpleQueue[_Delivery | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[Any]:
        """Start ``fn(*args, **kwargs)``. What cannot be pickled fails the future.

        Raises:
            ConnectionLostError: the link is gone.
        """
        try:
            function = pickling.dump_function(fn)
            # Pickled by itself, so that a bad argument is known here.
            item = pickling.freeze((args, kwargs), "the arguments of a call", ItemSerializeError)
        except LbnetError as error:
            failed: Future[Any] = Future()
            failed.set_exception(error)
            return failed
        with self._lock:
            job = self._job()
            return job.submit(function, item)

    def pending(self) -> list[Future[Any]]:
        """The futures that are not done."""
        with self._lock:
            return [future for job in self._jobs for future in job.pending()]

    def close(self) -> None:
        """No call will come any more: let the jobs end when theirs are done."""
        with self._lock:
            if self._current is not None:
                self._current.close()
                self._current = None

    def stop(self) -> None:
        """The link is closed: end the thread, once it has delivered what came."""
        self._inbox.put(None)
        if self._thread is not None and threading.current_thread() is not self._thread:
            self._thread.join(limits.STOP_TIMEOUT_S)

    def _job(self) -> _CallJob:
        if self._current is not None and self._current.full:
            self._current.close()
            self._current = None
        if self._current is None:
            if self._thread is None:
                self._thread = threading.Thread(target=self._deliver, name="lbnet-futures", daemon=True)
                self._thread.start()
            self._current = _CallJob(self._connection, self._options, self._inbox)
            self._jobs.add(self._current)
        return self._current

    def _deliver(self) -> None:
        """In a thread of its own: unpickling and callbacks are the user's code, and must not hold up the link."""
        while (delivery := self._inbox.get()) is not None:
            job, message = delivery
            if job.deliver(message):
                with self._lock:
                    self._jobs.discard(job)


class _CallJob:
    """One job whose items are calls."""

    def __init__(self, connection: Connection, options: Options, inbox: queue.SimpleQueue[_Delivery | None]) -> None:
        self._connection = connection
        self._book = ItemBook()
        self._futures: dict[int, CallFuture] = {}
        self._functions: set[bytes] = set()
        self._count = 0
        self.id: JobId = connection.new_job(lambda message: inbox.put((self, message)))
        connection.send(OpenJob(self.id, options.for_job("submit")))

    @property
    def full(self) -> bool:
        """Whether the next call should go to a new job, so that what this one remembers can be forgotten."""
        return len(self._functions) >= limits.SUBMIT_FUNCTIONS_MAX or self._count >= limits.SUBMIT_TASKS_MAX

    def submit(self, function: tuple[bytes, bytes], item: Any) -> Future[Any]:
        """Start a call."""
        digest, data = function
        index = self._count
        news: list[Message] = []
        if digest not in self._functions:
            news.append(Function(self.id, digest, data))
        payload = Payload(index, 1, digest, pickling.dump_items([item], pickling.CALL).data)
        news.append(Submit(Batch(self.id, ROOT, index, index + 1, 0, ROOT, 0, payload)))
        future = self._futures[index] = CallFuture(self, index)
        try:
            self._connection.send(*news)
        except LbnetError:
            del self._futures[index]
            raise
        self._functions.add(digest)
        self._count += 1
        return future

    def close(self) -> None:
        """No call will come any more."""
        with contextlib.suppress(ConnectionLostError):
            self._connection.send(CloseJob(self.id, self._count))

    def pending(self) -> list[CallFuture]:
        """The futures that are not done."""
        return list(self._futures.values())

    def take(self, index: int) -> CallFuture | None:
        """The future of a call that is done; None if it was taken before."""
        return self._futures.pop(index, None)

    def cancelled(self, index: int) -> None:
        """The user does not want this call any more."""
        with contextlib.suppress(ConnectionLostError):
            self._connection.send(Cancel(self.id, index, index + 1))

    def deliver(self, message: Message | None) -> bool:
        """Take a message; True when it was the last one."""
        if message is None:
            self._fail_all(ConnectionLostError(self._connection.lost))
            return True
        outcome = self._book.take(message)
        match outcome:
            case Ready():
                self._ready(outcome)
            case Settled():
                self._set(outcome.root, None)
            case Broken():
                self._set_error(outcome.index, error_of(outcome.message))
            case Ended():
                self._fail_all(UsageError(outcome.reason or f"job {self.id} ended before this call was done"))
            case Dropped() | Part() | None:
                pass  # what was cancelled is nobody's any more; parts belong to reduce=, which calls have not
        return isinstance(outcome, Ended)

    def _ready(self, ready: Ready) -> None:
        for index in range(ready.lo, ready.hi):
            try:
                value = pickling.load_values(ready.data).get(index - ready.base)
            except LbnetError as error:
                self._set_error(index, error)
            else:
                self._set(index, value)

    def _set(self, index: int, value: Any) -> None:
        future = self.take(index)
        if future is not None and future.set_running_or_notify_cancel():
            future.set_result(value)

    def _set_error(self, index: int, error: BaseException) -> None:
        future = self.take(index)
        if future is not None and future.set_running_or_notify_cancel():
            future.set_exception(error)

    def _fail_all(self, error: LbnetError) -> None:
        for index in list(self._futures):
            self._set_error(index, error)
