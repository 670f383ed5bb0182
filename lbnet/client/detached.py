"""Jobs that outlive the client that started them: how they are handed in, and taken up again.

It must not know how links break.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from lbnet.client.connection import Connection
from lbnet.client.deposit import Deposit
from lbnet.client.feeder import Fed
from lbnet.client.inbox import Inbox
from lbnet.client.options import Options
from lbnet.client.receipts import Receipts
from lbnet.client.request import Request
from lbnet.client.results import Stream
from lbnet.client.standing import EVERYTHING, Lost
from lbnet.client.window import Window
from lbnet.errors import ConnectionLostError, InputError, UsageError
from lbnet.protocol.messages import Attached, Cancel, CloseJob, JobRefused
from lbnet.types import JobId


def hand_in(connection: Connection, request: Request, options: Options) -> JobId:
    """Open a job, and return when the controller keeps all of it; if that fails, it is cancelled.

    Raises:
        InputError: the iterable raised.
        UsageError: the controller refused the job.
        NoWorkersError: the controller ended it before all of its items were sent.
        ConnectionLostError: the link is gone for good, or the controller has lost the job.
    """
    window = Window()
    deposit = Deposit(window)
    job, feeder = request.open(connection, options, window, deposit.put, takes=False)
    try:
        feeder.start()
        feeder.over.wait()
        if feeder.error is not None:
            raise InputError(
                f"the iterable of items raised {type(feeder.error).__name__} after {feeder.sent} items: {feeder.error}"
            ) from feeder.error
        connection.check()
        deposit.wait(feeder.sent, closed=options.detached)
    except BaseException:
        feeder.stop()
        connection.forget(job)
        with contextlib.suppress(ConnectionLostError):
            connection.send(Cancel(job, 0, EVERYTHING))
        raise
    connection.release(job)
    return job


def take_up(
    connection: Connection,
    job: JobId,
    *,
    ordered: bool,
    reduce: Callable[[Any, Any], Any] | None,
    deadline: float | None,
    return_exceptions: bool,
    on_progress: Callable[[int], None],
    owner: object,
) -> Stream:
    """Attach to a job, for what of it has not been taken. The arguments are those of :class:`.results.Stream`.

    Raises:
        UsageError: the controller does not know it, or it is another client's.
        ConnectionLostError: the link is gone for good.
    """
    window = Window()
    inbox = Inbox(window)
    connection.attach(job, inbox.put)
    try:
        answer = inbox.get(None)
    except BaseException:  # somebody wants to stop
        connection.release(job)
        raise
    if isinstance(answer, Lost):
        raise ConnectionLostError(answer.reason)
    if isinstance(answer, JobRefused):
        raise UsageError(f"job {job} cannot be taken up: {answer.reason}")
    assert isinstance(answer, Attached), "this is what comes first"
    if not answer.closed:
        # Whoever fed it is gone, and nobody else can: what came is all that there is.
        connection.send(CloseJob(job, answer.submitted))
    return Stream(
        job,
        connection,
        inbox,
        Fed(answer.submitted),
        window,
        ordered=ordered,
        reduce=reduce,
        deadline=deadline,
        return_exceptions=return_exceptions,
        on_progress=on_progress,
        keeps_going=False,
        receipts=Receipts(answer.taken),
        owner=owner,
    )
