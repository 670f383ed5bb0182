"""The Python API: lists of tasks, single calls, and what the cluster says about them."""

from __future__ import annotations

import atexit
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
from lbnet.client.feeder import Feeder
from lbnet.client.options import Options
from lbnet.client.reports import cluster_status, job_report
from lbnet.client.results import Inbox, Results, Stream
from lbnet.client.window import Window
from lbnet.errors import UsageError
from lbnet.protocol.messages import CloseJob, Function, OpenJob, Submit
from lbnet.types import Address, ClusterStatus, JobId, JobReport


class _Session:
    """What a client and the views on it share: one link, and perhaps a cluster of their own."""

    def __init__(self, connection: Connection, on_close: Callable[[], None]) -> None:
        self.connection = connection
        self.calls: dict[Options, Calls] = {}
        self.streams: weakref.WeakSet[Stream] = weakref.WeakSet()
        self.open = True
        self._on_close = on_close
        _sessions.add(self)

    def finish(self, *, wait_for_all: bool, cancel: bool) -> None:
        """Take no more work, and close; see :meth:`Client.shutdown`."""
        self.open = False
        pending = [future for calls in self.calls.values() for future in calls.pending()]
        if cancel:
            for future in pending:
                future.cancel()
        streams = list(self.streams)
        if wait_for_all:
            wait(pending)
            for stream in streams:
                stream.finish()
        for stream in streams:
            stream.close()
        for calls in self.calls.values():
            calls.close()
        self.connection.close()
        for calls in self.calls.values():
            calls.stop()
        self._on_close()
        _sessions.discard(self)


_sessions: weakref.WeakSet[_Session] = weakref.WeakSet()


@atexit.register
def _finish_sessions() -> None:
    """As with other executors, calls that were submitted are done when the interpreter ends."""
    for session in list(_sessions):
        session.finish(wait_for_all=bool(session.calls), cancel=False)


class Client(Executor):
    """A link to a cluster. It is a :class:`concurrent.futures.Executor`, and a context manager.

    Args:
        address: ``HOST:PORT`` of a controller. Without one, ``LBNET_ADDRESS`` says it; without that,
            a cluster of this machine's cores is started, and ended with the client.
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
        address: str | Address | None = None,
        *,
        timeout_s: float = limits.CONNECT_TIMEOUT_S,
        name: str = "",
    ) -> None:
        where = parse_address(address) if isinstance(address, str) else address or from_environment()
        on_close: Callable[[], None] = _nothing
        if where is None:
            from lbnet.client.local_cluster import LocalCluster

            cluster = LocalCluster()
            where, on_close, timeout_s = cluster.where, cluster.close, limits.CLUSTER_START_TIMEOUT_S
        connection = Connection(where, name)
        try:
            connection.open(timeout_s)
        except BaseException:
            on_close()
            raise
        self._session = _Session(connection, on_close)
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
            strategy: the load-balancing strategy, for example ``"sb"``.
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
            ConnectionLostError: the link to the controller is gone.

        Example::

            future = client.submit(pow, 2, 10)
            assert future.result() == 1024
        """
        session = self._check_open()
        calls = session.calls.get(self._options)
        if calls is None:
            calls = session.calls.setdefault(self._options, Calls(session.connection, self._options))
        return calls.submit(fn, args, kwargs)

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
        functions = [pickling.dump_function(fn)] + ([] if reduce is None else [pickling.dump_function(reduce)])
        items, style = (
            (iterables[0], pickling.ONE) if len(iterables) == 1 else (zip(*iterables, strict=False), pickling.STAR)
        )
        iter(iterables[0])  # what cannot be iterated over is an error here, not in a thread
        lengths = [len(iterable) for iterable in iterables if isinstance(iterable, Sized)]
        title = self._options.name or getattr(fn, "__name__", "map")
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
        number = JobId(job if isinstance(job, int) else getattr(job, "job", -1))
        facts = self._session.connection.ask("report", number)
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
        if not session.open:
            return
        session.open = False
        if wait:
            session.finish(wait_for_all=True, cancel=cancel_futures)
            return
        import threading

        threading.Thread(
            target=session.finish, kwargs={"wait_for_all": True, "cancel": cancel_futures}, name="lbnet-shutdown"
        ).start()

    def close(self) -> None:
        """Close at once: what has not been done is cancelled."""
        session = self._session
        if session.open:
            session.open = False
            session.finish(wait_for_all=False, cancel=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for everything, as executors do; after an exception, for calls only; after Ctrl-C, for nothing."""
        if kind is None:
            self.shutdown()
            return
        for stream in list(self._session.streams):
            stream.close()
        if issubclass(kind, Exception):
            self.shutdown()
        else:
            self.close()

    def _check_open(self) -> _Session:
        if not self._session.open:
            raise RuntimeError("cannot schedule new work: the client was closed")
        return self._session


_WORKERS_POLL_S = 0.02


def _nothing() -> None:
    """A cluster that somebody else started goes on."""
