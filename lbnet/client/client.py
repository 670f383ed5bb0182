"""The Python API: lists of tasks, single calls, and what the cluster says about them."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sized
from concurrent.futures import Executor, Future, wait
from types import TracebackType
from typing import Any

from lbnet import limits, pickling
from lbnet.address import from_environment, parse_address
from lbnet.client import progress as progress_bar
from lbnet.client.calls import Calls
from lbnet.client.connection import Connection
from lbnet.client.feeder import Feeder, is_sliceable
from lbnet.client.local_cluster import LocalCluster
from lbnet.client.options import Options, sendable
from lbnet.client.reports import cluster_status, job_report
from lbnet.client.results import Inbox, Results, Stream
from lbnet.client.window import Window
from lbnet.errors import UsageError
from lbnet.protocol.messages import CloseJob, Function, OpenJob, Submit
from lbnet.types import Address, ClusterStatus, JobId, JobReport


class _Session:
    """What a client, the views on it, and its unfinished work share: one link, and perhaps a cluster of their own.

    It is closed, at the latest, when none of them is left.
    """

    def __init__(self, connection: Connection, cluster: LocalCluster | None, *, own: bool) -> None:
        self.connection = connection
        self.calls = Calls(connection)
        self.streams: weakref.WeakSet[Stream] = weakref.WeakSet()
        self.open = True
        self.cluster = cluster
        self._lock = threading.Lock()
        self._close = weakref.finalize(self, _close, connection, self.calls, cluster if own else None)
        self._close.atexit = False
        self._closed = threading.Event()
        _sessions.add(self)
        # The last that is registered runs first: before the hooks that end clusters nobody closed.
        atexit.unregister(_finish_sessions)
        atexit.register(_finish_sessions)

    def stop_taking(self) -> bool:
        """Take no more work. Returns whether this was the first to say so, who then must call :meth:`finish`."""
        with self._lock:
            first, self.open = self.open, False
        return first

    def cancel(self) -> None:
        """Cancel the calls that are not done."""
        for future in self.calls.pending():
            future.cancel()

    def finish(self, *, maps: bool) -> None:
        """Wait for all calls, and for maps that end unless nobody will look at their values; then close."""
        try:
            for stream in () if maps else list(self.streams):
                stream.close(because_of_client=True)
            wait(self.calls.pending())
            for stream in list(self.streams):
                stream.finish()
        finally:
            self.close()

    def close(self) -> None:
        """Close, whatever is not done."""
        self.open = False
        for stream in list(self.streams):
            stream.close(because_of_client=True)
        self.calls.close()
        self._close()
        _sessions.discard(self)
        self._closed.set()

    def wait_closed(self) -> None:
        """Wait until somebody else has closed it."""
        self._closed.wait()


def _close(connection: Connection, calls: Calls, cluster: LocalCluster | None) -> None:
    connection.close()
    calls.stop()
    if cluster is not None:
        cluster.close()


_sessions: weakref.WeakSet[_Session] = weakref.WeakSet()

os.register_at_fork(after_in_child=_sessions.clear)  # the links are the parent's


def _finish_sessions() -> None:
    """As with other executors, calls that were submitted are done when the interpreter ends."""
    for session in list(_sessions):
        session.stop_taking()
        session.finish(maps=False)


class Client(Executor):
    """A link to a cluster. It is a :class:`concurrent.futures.Executor`, and a context manager.

    Args:
        address: ``HOST:PORT`` of a controller, or a local cluster. Without one, ``LBNET_ADDRESS`` says it; without
            that, a cluster of this machine's cores is started, and ended with the client.
        timeout_s: how long to try to reach the controller.
        name: of this client, for people.

    Raises:
        UsageError: ``address`` is not an address.
        ConnectError: no controller could be reached there, or it refused us.

    Example::

        with lbnet.Client() as client:
            for value in client.map(f, items):
                ...
    """

    def __init__(
        self,
        address: str | Address | LocalCluster | None = None,
        *,
        timeout_s: float = limits.CONNECT_TIMEOUT_S,
        name: str = "",
    ) -> None:
        if not isinstance(name, str):
            raise UsageError(f"name must be a text, not a {type(name).__name__}")
        where, cluster = _find(address)
        own = where is None
        if where is None:
            cluster = LocalCluster()
            where, timeout_s = cluster.where, limits.CLUSTER_START_TIMEOUT_S
        connection = Connection(where, sendable(name))
        try:
            connection.open(timeout_s)
            self._session = _Session(connection, cluster, own=own)
        except BaseException:
            connection.close()
            if own and cluster is not None:
                cluster.close()
            raise
        self._options = Options()

    @property
    def address(self) -> str:
        """``HOST:PORT`` of the controller."""
        return str(self._session.connection.address)

    def with_options(self, **options: Any) -> Client:
        """A view of this client whose jobs have these options; everything else is shared.

        Closing the view closes the client.

        Args:
            name: of the jobs, in status and reports.
            placement: ``"spread"``: initial work goes to free slots; ``"first"``: all to the first worker.
            strategy: the load-balancing strategy, for example ``"rp"``, or one of your own that the cluster was
                started with. It is in force for all jobs while this one is the latest with unfinished tasks.
            retries: how often a task that raised, or was over its time, is tried again.
            task_timeout_s: seconds that one task may take; then its process is ended.
            crash_limit: a task that has killed its process so often fails (3).

        Raises:
            UsageError: there is no such option, or its value is impossible.

        Example::

            patient = client.with_options(retries=2, task_timeout_s=60)
            values = list(patient.map(f, items))
        """
        view = object.__new__(type(self))
        view._session = self._session
        view._options = self._options.changed(options)
        return view

    # --- work ---------------------------------------------------------------------------------------

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Start one call.

        Returns:
            A future. Cancelling it drops the result, and keeps the call from starting if it has not started.

        Raises:
            RuntimeError: the client was closed.
            UsageError: ``fn`` cannot be called.
            ConnectionLostError: the link to the controller is gone.

        Example::

            future = client.submit(pow, 2, 10)
            assert future.result() == 1024
        """
        session = self._check_open()
        return session.calls.submit(self._options, fn, args, kwargs, session)

    def map(
        self,
        fn: Callable[..., Any],
        /,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,  # noqa: ARG002 - lbnet chooses by itself
        ordered: bool = True,
        progress: bool = False,
        reduce: Callable[[Any, Any], Any] | None = None,
        return_exceptions: bool = False,
    ) -> Results[Any]:
        """Call ``fn`` on every item (or on one item of each iterable), and iterate over the values.

        Items are read as fast as values are taken, up to a window, so an iterable may be infinite; it is
        read in a thread of its own. Batches are formed by lbnet: there is no chunk size to choose.

        Args:
            fn: the function; lambdas and closures are fine.
            iterables: as of the built-in ``map``: it ends with the shortest.
            timeout: seconds from now; ``TimeoutError`` if a value is asked for and has not come by then.
            chunksize: accepted for the sake of other executors' users, and ignored.
            ordered: values in the order of the items; False: as they are done.
            progress: show a progress bar on standard error.
            reduce: combines the values of an item and of all the tasks it spawned, in any order, to one
                value; it must be associative and commutative.
            return_exceptions: exceptions of tasks are values, instead of being raised.

        Returns:
            An iterator with the attribute ``job``. When a task failed, ``next()`` raises its exception, and may be
            called again for the values after it. Forgetting the iterator cancels what has not run.

        Raises:
            RuntimeError: the client was closed.
            UsageError: ``fn`` cannot be called, or an iterable not be iterated over.
            FunctionSerializeError: ``fn`` or ``reduce`` cannot be pickled.
            ConnectionLostError: the link to the controller is gone.
            InputError: from ``next()``, after all values: an iterable raised.

        Example::

            squares = list(client.map(lambda x: x * x, range(10)))
            totals = list(client.map(count, roots, reduce=operator.add))
        """
        session = self._check_open()
        deadline = None if timeout is None else time.monotonic() + timeout
        if not callable(fn):
            raise UsageError(f"map() needs a function, not a {type(fn).__name__}")
        if not iterables:
            raise UsageError("map() needs at least one iterable of items")
        if reduce is not None and not callable(reduce):
            raise UsageError(f"reduce must be a function, not a {type(reduce).__name__}")
        functions = [pickling.dump_function(fn)] + ([] if reduce is None else [pickling.dump_function(reduce)])
        lengths = [len(iterable) for iterable in iterables if isinstance(iterable, Sized)]
        sources = [_source(number, iterable) for number, iterable in enumerate(iterables, 1)]
        items, style = (sources[0], pickling.ONE) if len(sources) == 1 else (zip(*sources, strict=False), pickling.STAR)
        title = self._options.name or _title(fn)
        total = min(lengths) if len(lengths) == len(iterables) else None

        connection, window = session.connection, Window()
        inbox = Inbox(window)
        job = connection.new_job(inbox.put)
        digest = functions[0][0]
        feeder = Feeder(
            job,
            digest,
            items,
            style,
            window,
            lambda batch: connection.send(Submit(batch)),
            lambda count: connection.send(CloseJob(job, count)),
        )
        options = self._options.for_job(title, functions[1][0] if reduce is not None else b"")
        connection.send(OpenJob(job, options), *(Function(job, *function) for function in functions))
        stream = Stream(
            job,
            connection,
            inbox,
            feeder,
            window,
            ordered=ordered,
            reduce=reduce,
            deadline=deadline,
            return_exceptions=return_exceptions,
            on_progress=progress_bar.bar(title, total) if progress else progress_bar.silent,
            keeps_going=bool(lengths),
            owner=session,
        )
        session.streams.add(stream)
        feeder.start()
        return Results(stream)

    # --- facts --------------------------------------------------------------------------------------

    def report(self, job: int | Results[Any] | Future[Any]) -> JobReport:
        """The balance of a job: makespan T_p, busy time T_1, overhead, speedup, efficiency, and each worker's share.

        Args:
            job: what ``map`` or ``submit`` returned, or its ``job``.

        Raises:
            UsageError: the controller knows no such job (any more).
            ConnectionLostError: the link is gone.
        """
        number = getattr(job, "job", job)
        if not isinstance(number, int) or not 0 <= number < 1 << 63:
            raise UsageError(f"report() takes what map() or submit() returned, or its job, not {job!r}")
        facts = self._session.connection.ask("report", JobId(number))
        if facts is None:
            raise UsageError(f"the controller knows no job {number}; it remembers the last {limits.REPORTS_KEPT:,}")
        return job_report(facts)

    def status(self) -> ClusterStatus:
        """Workers, jobs and load as the controller sees them now.

        Raises:
            ConnectionLostError: the link is gone.
        """
        return cluster_status(self._session.connection.ask("status"))

    def wait_for_workers(self, count: int = 1, timeout_s: float = limits.CLUSTER_START_TIMEOUT_S) -> None:
        """Wait until ``count`` workers have joined.

        Raises:
            TimeoutError: they did not join in time.
            ConnectionLostError: the link is gone.
        """
        end = time.monotonic() + timeout_s
        while (joined := len(self.status().workers)) < count:
            if time.monotonic() > end:
                raise TimeoutError(f"{joined} of {count} workers have joined {self.address} within {timeout_s:g} s")
            time.sleep(_WORKERS_POLL_S)

    # --- the end ------------------------------------------------------------------------------------

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more work, and close the link (and the cluster, if this client started it).

        Args:
            wait: until all calls are done, and all maps whose input is known to end. Maps over other
                iterables are cancelled. False: return at once; a thread does the waiting.
            cancel_futures: cancel the calls that are not done.
        """
        session = self._session
        first = session.stop_taking()
        if cancel_futures:
            session.cancel()
        # In a callback of a future, nobody would be left to deliver what is waited for.
        wait = wait and not session.calls.delivering
        if first and not wait:
            threading.Thread(target=session.finish, kwargs={"maps": True}, name="lbnet-shutdown").start()
        elif first:
            session.finish(maps=True)
        elif wait:
            session.wait_closed()

    def close(self) -> None:
        """Close at once: what has not been done is cancelled."""
        session = self._session
        session.stop_taking()
        session.cancel()
        session.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for everything, as executors do; after an exception, for calls only; after Ctrl-C, for nothing."""
        if kind is None:
            self.shutdown()
            return
        for stream in list(self._session.streams):
            stream.close(because_of_client=True)
        if issubclass(kind, Exception):
            self.shutdown()
        else:
            self.close()

    def _check_open(self) -> _Session:
        if not self._session.open:
            raise RuntimeError("cannot schedule new work: the client was closed")
        return self._session


_WORKERS_POLL_S = 0.02


def _find(address: object) -> tuple[Address | None, LocalCluster | None]:
    """Where the controller is, if anybody says it, and the local cluster that it belongs to."""
    if address is None:
        return from_environment(), None
    if isinstance(address, str):
        return parse_address(address), None
    if isinstance(address, LocalCluster):
        return address.where, address
    if isinstance(address, Address):
        return address, None
    raise UsageError(f"an address is a text, HOST:PORT, not a {type(address).__name__}")


def _source(number: int, iterable: Iterable[Any]) -> Iterable[Any]:
    """What is asked for items: what is not iterable is an error here, not in a thread."""
    if is_sliceable(iterable):
        return iterable
    try:
        return iter(iterable)
    except TypeError as error:
        raise UsageError(
            f"iterable {number} of map() is a {type(iterable).__name__} and cannot be iterated over: {error}"
        ) from error


def _title(fn: Callable[..., Any]) -> str:
    name = getattr(fn, "__name__", None)
    return name if isinstance(name, str) else type(fn).__name__
