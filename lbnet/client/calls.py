"""Single calls and their futures. They share a job, so that a function is sent once, not with every call."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any

from lbnet import limits, pickling
from lbnet.client.book import Broken, Dropped, Ended, ItemBook, Part, Ready, Settled
from lbnet.client.connection import Connection
from lbnet.client.options import Options
from lbnet.client.results import error_of
from lbnet.client.standing import Delivery, Lost, Safe
from lbnet.errors import (
    ConnectionLostError,
    ItemSerializeError,
    LbnetError,
    NoWorkersError,
    ResultSerializeError,
    UsageError,
)
from lbnet.protocol.messages import Cancel, CloseJob, Function, JobDone, JobRefused, Message, OpenJob, Submit
from lbnet.types import ROOT, Batch, JobId, Payload

_log = logging.getLogger("lbnet.client")

_Delivery = tuple["_CallJob", Delivery]


class CallFuture(Future[Any]):
    """The future of one call. ``job`` is the id of the job that it belongs to, for :meth:`lbnet.Client.report`."""

    def __init__(self, calls: _CallJob, index: int, owner: object) -> None:
        super().__init__()
        self._calls = calls
        self._index = index
        self._owner: object = owner
        self.job = calls.id

    def cancel(self) -> bool:
        """Give the call up, unless it is done: it does not start, and if it runs it is ended after a moment.

        Returns:
            False if the call was done already.
        """
        if not super().cancel():
            return False
        # Whoever takes the future tells its waiters: this is either here or where its result has just come.
        if self._calls.take(self._index) is not None:
            self.set_running_or_notify_cancel()
            self._calls.cancelled(self._index)
            self.release()
        return True

    def release(self) -> None:
        """It is done: what it kept alive may go."""
        self._owner = None


class Calls:
    """All single calls of a client.

    Args:
        connection: the link.
        opened: told of each job, with its options and what it is called.
    """

    def __init__(self, connection: Connection, opened: Callable[[JobId, Options, str], None]) -> None:
        self._connection = connection
        self._opened = opened
        self._lock = threading.RLock()
        self._open: dict[Options, _CallJob] = {}
        self._jobs: set[_CallJob] = set()
        self._inbox: queue.SimpleQueue[_Delivery | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(
        self, options: Options, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], owner: object
    ) -> Future[Any]:
        """Start ``fn(*args, **kwargs)``. What cannot be pickled fails the future.

        Args:
            options: of the job.
            fn: the function.
            args: its arguments.
            kwargs: those by name.
            owner: kept alive until the call is done.

        Raises:
            UsageError: ``fn`` cannot be called, or the job would outlive its futures.
            ConnectionLostError: the link is gone for good.
        """
        if not callable(fn):
            raise UsageError(f"submit() needs a function, not a {type(fn).__name__}")
        if options.detached:
            raise UsageError("a future ends with its client, and a detached job does not: use submit_job() for it")
        try:
            function = pickling.dump_function(fn)
            # Pickled by itself, so that a bad argument is known here.
            item = pickling.freeze((args, kwargs), "the arguments of a call", ItemSerializeError)
        except LbnetError as error:
            failed: Future[Any] = Future()
            failed.set_exception(error)
            return failed
        with self._lock:
            return self._job(options).submit(function, item, owner)

    def pending(self) -> list[Future[Any]]:
        """The futures that are not done."""
        with self._lock:
            return [future for job in self._jobs for future in job.pending()]

    @property
    def delivering(self) -> bool:
        """Whether this is the thread that runs the callbacks of futures: who waits here for a call waits for ever."""
        return threading.current_thread() is self._thread

    def close(self) -> None:
        """No call will come any more: let the jobs end when theirs are done."""
        with self._lock:
            for options in list(self._open):
                self._open.pop(options).close()

    def stop(self) -> None:
        """The link is closed: end the thread, once it has delivered what came."""
        self._inbox.put(None)
        if self._thread is not None and not self.delivering:
            self._thread.join(limits.STOP_TIMEOUT_S)

    def _job(self, options: Options) -> _CallJob:
        """The job for the next call; the one that was used last stands last."""
        job = self._open.pop(options, None)
        if job is not None and job.full:
            job.close()
            job = None
        if job is None:
            if self._thread is None:
                self._thread = threading.Thread(target=self._deliver, name="lbnet-futures", daemon=True)
                self._thread.start()
            job = _CallJob(self._connection, options, self._inbox, self._lock)
            self._jobs.add(job)
            self._opened(job.id, options, "submit")
        self._open[options] = job
        if len(self._open) > limits.SUBMIT_OPEN_JOBS_MAX:
            self._open.pop(next(iter(self._open))).close()
        return job

    def _deliver(self) -> None:
        """In a thread of its own: unpickling and callbacks are the user's code, and must not hold up the link."""
        while (delivery := self._inbox.get()) is not None:
            job, message = delivery
            ending = isinstance(message, JobDone | JobRefused | Lost)
            if ending:
                self._retire(job)
            job.deliver(message)
            if ending:
                with self._lock:
                    self._jobs.discard(job)
            del delivery, job, message  # else the last one would be kept until the next one comes

    def _retire(self, job: _CallJob) -> None:
        """The job has ended, perhaps by itself: no call may be added to it."""
        with self._lock:
            for options in [options for options, at in self._open.items() if at is job]:
                del self._open[options]


class _CallJob:
    """One job whose items are calls."""

    def __init__(
        self,
        connection: Connection,
        options: Options,
        inbox: queue.SimpleQueue[_Delivery | None],
        lock: contextlib.AbstractContextManager[Any],
    ) -> None:
        self._connection = connection
        self._lock = lock
        self._book = ItemBook()
        self._futures: dict[int, CallFuture] = {}
        self._functions: set[bytes] = set()
        self._count = 0
        self._cancelled_whole = False
        self._inbox = inbox
        self.id: JobId = connection.new_job(self._put)
        connection.send(OpenJob(self.id, options.for_job("submit")))

    def _put(self, message: Delivery) -> None:
        """Called in the link's thread."""
        if not isinstance(message, Safe):
            self._inbox.put((self, message))

    @property
    def full(self) -> bool:
        """Whether the next call should go to a new job, so that what this one remembers can be forgotten."""
        return (
            self._cancelled_whole
            or len(self._functions) >= limits.SUBMIT_FUNCTIONS_MAX
            or self._count >= limits.SUBMIT_TASKS_MAX
        )

    def submit(self, function: tuple[bytes, bytes], item: Any, owner: object) -> Future[Any]:
        """Start a call."""
        digest, data = function
        index = self._count
        news: list[Message] = []
        if digest not in self._functions:
            news.append(Function(self.id, digest, data))
        payload = Payload(index, 1, digest, pickling.dump_items([item], pickling.CALL).data)
        news.append(Submit(Batch(self.id, ROOT, index, index + 1, 0, ROOT, 0, payload)))
        future = self._futures[index] = CallFuture(self, index, owner)
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
        with self._lock, contextlib.suppress(ConnectionLostError):
            self._connection.send(Cancel(self.id, index, index + 1))
            # Cancelling all there is ends the job.
            self._cancelled_whole = self._cancelled_whole or self._count == 1

    def deliver(self, message: Delivery) -> None:
        """Take what has come."""
        if isinstance(message, Lost):
            self._fail_all(ConnectionLostError(message.reason))
            return
        assert not isinstance(message, Safe), "these concern nobody here"
        outcome = self._book.take(message)
        match outcome:
            case Ready():
                self._ready(outcome)
            case Settled():
                self._set(outcome.root, None)
            case Broken():
                self._set_error(outcome.index, error_of(outcome.message))
            case Ended():
                self._fail_all(
                    UsageError(outcome.reason)
                    if outcome.reason
                    else NoWorkersError(f"the controller ended job {self.id} before this call was done")
                )
            case Dropped():
                # What was cancelled here is nobody's any more. Somebody else may have cancelled the whole job.
                items = range(outcome.lo, outcome.hi)
                for index in items if len(items) < len(self._futures) else list(self._futures):
                    if index in items:
                        self._set_error(index, CancelledError(f"job {self.id} was cancelled"))
            case Part() | None:
                pass  # parts belong to reduce=, which calls have not

    def _ready(self, ready: Ready) -> None:
        for index in range(ready.lo, ready.hi):
            try:
                value = pickling.load_values(ready.data).get(index - ready.base)
            except LbnetError as error:
                self._set_error(index, error)
            except BaseException as error:  # noqa: BLE001 - unpickling is the user's code, and this thread must go on
                self._set_error(index, ResultSerializeError(f"a result cannot be read here: {error!r}"))
            else:
                self._set(index, value)

    def _set(self, index: int, value: Any) -> None:
        self._settle(index, lambda future: future.set_result(value))

    def _set_error(self, index: int, error: BaseException) -> None:
        self._settle(index, lambda future: future.set_exception(error))

    def _settle(self, index: int, tell: Callable[[CallFuture], None]) -> None:
        future = self.take(index)
        if future is None:
            return
        try:
            if future.set_running_or_notify_cancel():
                tell(future)
        except BaseException:  # noqa: BLE001
            # Callbacks are the user's code. The future itself logs what is an Exception; this thread must go on.
            _log.exception("a callback of a call of job %d raised", self.id)
        finally:
            future.release()

    def _fail_all(self, error: LbnetError) -> None:
        for index in list(self._futures):
            self._set_error(index, error)
