"""The Python API: lists of tasks, single calls, and what the cluster says about them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from types import TracebackType
from typing import Any

from lbnet import limits
from lbnet.address import from_environment, parse_address
from lbnet.client import progress as progress_bar
from lbnet.client.access import member_for
from lbnet.client.connection import Connection
from lbnet.client.detached import hand_in, take_up
from lbnet.client.explanation import Explanation
from lbnet.client.inbox import Inbox
from lbnet.client.local_cluster import LocalCluster
from lbnet.client.options import Options, sendable
from lbnet.client.output import follow, outputs_of
from lbnet.client.receipts import Receipts
from lbnet.client.reports import cluster_status, job_report
from lbnet.client.request import Request
from lbnet.client.results import Results, Stream
from lbnet.client.session import Session
from lbnet.client.window import Window
from lbnet.errors import UsageError
from lbnet.net.member import Member
from lbnet.types import Address, ClusterStatus, JobId, JobReport, PeerId, TaskOutput


class Client(Executor):
    """A link to a cluster. It is a :class:`concurrent.futures.Executor`, and a context manager.

    Args:
        address: ``HOST:PORT`` of a controller, or a local cluster. Without one, ``LBNET_ADDRESS`` says it; without
            that, a cluster of this machine's cores is started, and ended with the client.
        timeout_s: how long to try to reach the controller.
        name: of this client, for people.
        reconnect_timeout_s: how long to try, in seconds, when the link to the controller breaks: jobs go on
            meanwhile, and lose nothing. 0 for not at all. Without it, a minute; and one second for a local cluster,
            whose controller answers at once or has died.
        token: a client's token of the cluster. Without it and ``token_file``, ``LBNET_TOKEN`` says it; on the account
            that runs the controller, none is needed.
        token_file: a file of mode 600 that holds it.
        insecure: the controller was started with ``--insecure``, on this machine: protect nothing.

    Raises:
        UsageError: ``address`` is not an address, a time is impossible, or a token is none.
        ConnectError: no controller could be reached there.
        AccessError: it does not let us in, as without a token; the sentence says why.

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
        reconnect_timeout_s: float | None = None,
        token: str = "",
        token_file: str | os.PathLike[str] | None = None,
        insecure: bool = False,
    ) -> None:
        if not isinstance(name, str):
            raise UsageError(f"name must be a text, not a {type(name).__name__}")
        if reconnect_timeout_s is not None and not _is_time(reconnect_timeout_s):
            raise UsageError(f"reconnect_timeout_s must be 0 (never) or more seconds; it is {reconnect_timeout_s!r}")
        where, cluster = _find(address)
        own = where is None
        if where is None:
            cluster = LocalCluster()
            where, timeout_s = cluster.where, limits.CLUSTER_START_TIMEOUT_S
        if reconnect_timeout_s is None:
            reconnect_timeout_s = RECONNECT_TIMEOUT_S if cluster is None else LOCAL_RECONNECT_TIMEOUT_S
        try:
            if cluster is not None:
                member: Member | None = cluster.member("client")
            else:
                member = member_for(where, "client", given=token, file=token_file, insecure=insecure)
        except BaseException:
            if own and cluster is not None:
                cluster.close()
            raise
        connection = Connection(where, sendable(name), reconnect_timeout_s=reconnect_timeout_s, member=member)
        try:
            connection.open(timeout_s)
            self._session = Session(connection, cluster, own=own)
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
            retry_delay_s: seconds that a task waits before its first retry, twice as long before each further one.
            retry_on: exceptions that are worth a retry, as classes or names; all if there are none.
            detached: jobs go on when this client leaves, see :meth:`submit_job`; not for :meth:`submit`.
            echo: show what tasks print on this process's standard error as it comes, line by line, with a word on whose
                it is. A cluster that this client has started writes there anyway.

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
        request = Request.of("map", fn, iterables, reduce)
        window = Window()
        inbox = Inbox(window)
        detached = self._options.detached
        job, feeder = request.open(session.connection, self._options, window, inbox.put, takes=not detached)
        session.echo.opened(job, self._options, request.title)
        stream = Stream(
            job,
            session.connection,
            inbox,
            feeder,
            window,
            ordered=ordered,
            reduce=reduce,
            deadline=deadline,
            return_exceptions=return_exceptions,
            on_progress=progress_bar.bar(request.title, request.total) if progress else progress_bar.silent,
            keeps_going=request.ends,
            receipts=Receipts() if detached else None,
            owner=session,
        )
        session.streams.add(stream)
        feeder.start()
        return Results(stream)

    def submit_job(
        self,
        fn: Callable[..., Any],
        /,
        *iterables: Iterable[Any],
        reduce: Callable[[Any, Any], Any] | None = None,
        detached: bool = True,
    ) -> int:
        """Hand in a list of tasks, and wait until the controller keeps it; but for no value.

        The job goes on when this client leaves. :meth:`attach` gives its values, in any client.

        Args:
            fn: as of :meth:`map`.
            iterables: as of :meth:`map`; they must end.
            reduce: as of :meth:`map`; :meth:`attach` needs it again.
            detached: False: the job is cancelled when this client leaves.

        Returns:
            The id of the job.

        Raises:
            RuntimeError: the client was closed.
            UsageError: ``fn`` cannot be called, or an iterable not be iterated over, or the controller refused the job.
            FunctionSerializeError: ``fn`` or ``reduce`` cannot be pickled.
            InputError: an iterable raised; the job is cancelled.
            ConnectionLostError: the link to the controller is gone for good.
            NoWorkersError: the controller ended the job before all items were sent: no worker came.

        Example::

            job = client.submit_job(simulate_a_year, range(1_000))
            ...  # in another process, the next day
            values = list(client.attach(job))
        """
        session = self._check_open()
        request = Request.of("submit_job", fn, iterables, reduce)
        return hand_in(session.connection, request, self._options.changed({"detached": detached}))

    def attach(
        self,
        job: int,
        *,
        timeout: float | None = None,
        ordered: bool = True,
        progress: bool = False,
        reduce: Callable[[Any, Any], Any] | None = None,
        return_exceptions: bool = False,
    ) -> Results[Any]:
        """Take up a job that was handed in: iterate over its values, as over those of :meth:`map`.

        What an earlier iterator has given does not come again, but for the last of it, whose receipt may not have
        reached the controller. Then ordered values come when the job is done, as nobody knows which are missing.

        Args:
            job: its id, from :meth:`submit_job`, or of a detached map.
            timeout: as of :meth:`map`.
            ordered: as of :meth:`map`.
            progress: as of :meth:`map`.
            reduce: the function that the job was started with, if it was.
            return_exceptions: as of :meth:`map`.

        Returns:
            An iterator. A value is taken when the next one is asked for; forgetting the iterator leaves the job alone.

        Raises:
            RuntimeError: the client was closed.
            UsageError: the controller does not know the job, or it is another client's; or it is open in this one.
            ConnectionLostError: the link to the controller is gone for good.
        """
        session = self._check_open()
        if not isinstance(job, int) or not 0 <= job < 1 << 63:
            raise UsageError(f"attach() takes the id of a job, not {job!r}")
        stream = take_up(
            session.connection,
            JobId(job),
            ordered=ordered,
            reduce=reduce,
            deadline=None if timeout is None else time.monotonic() + timeout,
            return_exceptions=return_exceptions,
            on_progress=progress_bar.bar(f"job {job}", None) if progress else progress_bar.silent,
            owner=session,
        )
        session.streams.add(stream)
        return Results(stream)

    # --- facts --------------------------------------------------------------------------------------

    def report(self, job: int | Results[Any] | Future[Any], *, balance: bool = False) -> JobReport:
        """The report of a job: makespan T_p, busy time T_1, overhead, speedup, efficiency, and each worker's share.

        Args:
            job: what ``map`` or ``submit`` returned, or its ``job``.
            balance: ask all workers where the time of their slots went: the answer is ``report.balance``, the gap to
                the ideal by cause, in seconds, with advice if there is any.

        Raises:
            UsageError: the controller knows no such job (any more).
            ConnectionLostError: the link is gone.
        """
        return self._ask_of_job("balance" if balance else "report", job)

    def cancel(self, job: int | Results[Any] | Future[Any]) -> JobReport:
        """End a whole job, of whoever it is: what waits is dropped, and what runs is ended after a moment.

        Args:
            job: what ``map`` or ``submit`` returned, or its ``job``. A future's job has all calls of the same view.

        Returns:
            Its report. A job that had ended before is as it was.

        Raises:
            UsageError: the controller knows no such job (any more).
            ConnectionLostError: the link is gone.
        """
        return self._ask_of_job("cancel", job)

    def _ask_of_job(self, what: str, job: int | Results[Any] | Future[Any]) -> JobReport:
        number, _ = self._job_and_item(what, job, None)
        timeout_s = _ENQUIRY_TIMEOUT_S if what == "balance" else limits.CONNECT_TIMEOUT_S
        facts = self._session.connection.ask(what, number, timeout_s=timeout_s)
        if facts is None:
            raise UsageError(f"the controller knows no job {number}; it remembers the last {limits.REPORTS_KEPT:,}")
        return job_report(facts)

    def status(self) -> ClusterStatus:
        """Workers, jobs and load as the controller sees them now.

        Raises:
            ConnectionLostError: the link is gone.
        """
        return cluster_status(self._session.connection.ask("status"))

    def logs(self, job: int | Results[Any] | Future[Any], item: int | None = None) -> list[TaskOutput]:
        """What tasks of a job have printed, as far as their workers keep it: of each execution the two ends.

        Args:
            job: what ``map`` or ``submit`` returned, or its ``job``; it may have ended.
            item: only what this item of the input printed, once for each time that it ran.

        Returns:
            One for each execution that printed, by worker.

        Raises:
            UsageError: these are no job and item.
            ConnectionLostError: the link is gone.
        """
        number, index = self._job_and_item("logs", job, item)
        return outputs_of(self._session.connection.ask("logs", number, index, timeout_s=_ENQUIRY_TIMEOUT_S))

    def follow(self, job: int | Results[Any] | Future[Any]) -> Iterator[TaskOutput]:
        """The lines that tasks of a job print from now on, as they come, until it has ended.

        Raises:
            UsageError: the controller knows no such job, or this client follows it already.
            ConnectionLostError: the link is gone.
        """
        number, _ = self._job_and_item("follow", job, None)
        self.report(number)
        return follow(self._session.connection, number, lambda: self.report(number).state == "running")

    def explain(self, job: int | Results[Any] | Future[Any], item: int) -> Explanation:
        """Where an item of a job is, and why it does not run, if it does not.

        Args:
            job: what ``map`` or ``submit`` returned, or its ``job``.
            item: its place in the input, from 0.

        Raises:
            UsageError: these are no job and item.
            ConnectionLostError: the link is gone.
        """
        number, index = self._job_and_item("explain", job, item)
        return Explanation(self._session.connection.ask("explain", number, index, timeout_s=_ENQUIRY_TIMEOUT_S))

    def _job_and_item(self, what: str, job: int | Results[Any] | Future[Any], item: int | None) -> tuple[JobId, int]:
        number = getattr(job, "job", job)
        if not isinstance(number, int) or not 0 <= number < 1 << 63:
            raise UsageError(f"{what}() takes what map() or submit() returned, or its job, not {job!r}")
        if item is not None and (not isinstance(item, int) or not 0 <= item < 1 << 62):
            raise UsageError(f"an item is a whole number from 0, not {item!r}")
        return JobId(number), -1 if item is None else item

    def drain(self, worker: str | int, grace_s: float = limits.LEAVE_GRACE_MAX_S) -> PeerId:
        """Let a worker leave: it starts nothing more, gives away what waits, and goes when what runs is finished.

        Returns its id at once; the worker is in :meth:`status` until it is gone.

        Args:
            worker: its name or id.
            grace_s: how long running tasks may take; those that still run then begin anew elsewhere, without blame.

        Raises:
            UsageError: there is no such worker, or there are several of this name.
            ConnectionLostError: the link is gone.
        """
        if not isinstance(worker, str | int) or not 0 <= grace_s <= limits.LEAVE_GRACE_MAX_S:
            raise UsageError(f"drain() takes a worker's name or id, and seconds, not {worker!r} and {grace_s!r}")
        answer = self._session.connection.drain(str(worker), float(grace_s))
        meant = [PeerId(number) for number in answer["meant"]]
        if len(meant) != 1:
            there = ", ".join(f"{at['name']} (number {at['id']})" for at in answer["workers"]) or "none has joined"
            number = "several are called so, say which by its number" if meant else "no worker is called so"
            raise UsageError(f"{worker!r} cannot leave: {number}; there are: {there}")
        return meant[0]

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

    def _check_open(self) -> Session:
        if not self._session.open:
            raise RuntimeError("cannot schedule new work: the client was closed")
        return self._session


_WORKERS_POLL_S = 0.02

_ENQUIRY_TIMEOUT_S = limits.CONNECT_TIMEOUT_S + limits.ENQUIRY_S

RECONNECT_TIMEOUT_S = 60.0
"""A controller that is started again, on another machine even, is there within this."""

LOCAL_RECONNECT_TIMEOUT_S = 1.0
"""Nobody starts the controller of a local cluster again: who waits for it shall soon know that it has died."""


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


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= limits.TASK_TIMEOUT_MAX_S
