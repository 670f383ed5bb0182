"""A client's link to its controller: a thread with an event loop, and a way in and out of it for all others.

It routes messages by job and must not know what they mean.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

import uvloop

from lbnet import limits
from lbnet.client.hint import WorkersHint
from lbnet.errors import ConnectError, ConnectionLostError, UsageError
from lbnet.net.greeting import connect, hello
from lbnet.net.link import Link
from lbnet.protocol.messages import SAID_BY, Answer, Ask, Goodbye, JobDone, JobRefused, Message, Welcome
from lbnet.types import Address, JobId

_JOB_BITS = limits.JOBS_PER_CLIENT_MAX.bit_length() - 1

_NO_JOB = JobId(0)

Inbox = Callable[[Message | None], None]
"""Takes the messages of one job, in the link's thread: it must be quick, and not raise. None: the link is lost."""


class Connection:
    """One link, usable from any thread.

    Args:
        address: of the controller.
        name: of this client, for people.
    """

    def __init__(self, address: Address, name: str = "") -> None:
        self.address = address
        self._name = name
        self._link: Link | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._inboxes: dict[JobId, Inbox] = {}
        self._asked: dict[int, Future[Any]] = {}
        self._requests = itertools.count(1)
        self._jobs = itertools.count(1)
        self._outgoing: deque[tuple[Message, ...]] = deque()
        self._flushing = False
        self._first_job = 0
        self._closing: asyncio.Event | None = None
        self._closed = False
        self._hint = WorkersHint(address)
        self.lost = ""
        """Why the link is gone; empty while it is there."""

    # --- from any thread ----------------------------------------------------------------------------

    def open(self, timeout_s: float) -> None:
        """Connect.

        Raises:
            ConnectError: there is no controller, or it refused us.
        """
        opened: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(opened, timeout_s), name="lbnet-client", daemon=True)
        self._thread.start()
        opened.result()

    def close(self) -> None:
        """Send what waits, say goodbye, and end the thread. Jobs that run are cancelled by the controller."""
        self._closed = True
        loop, closing = self._loop, self._closing
        if loop is not None and closing is not None:
            with contextlib.suppress(RuntimeError):  # it has ended already
                loop.call_soon_threadsafe(closing.set)
        if self._thread is not None and threading.current_thread() is not self._thread:
            self._thread.join(2 * limits.STOP_TIMEOUT_S)

    def new_job(self, inbox: Inbox) -> JobId:
        """An id for a job whose messages go to ``inbox`` until it is done.

        Raises:
            ConnectionLostError: the link is gone.
        """
        self.check()
        number = next(self._jobs)
        if number >= limits.JOBS_PER_CLIENT_MAX:
            raise UsageError("this client has started all the jobs that it can: open another one")
        job = JobId(self._first_job + number)
        self._inboxes[job] = inbox
        self._hint.opened(job, time.monotonic())
        try:
            self.check()  # else the link may have ended before it knew this inbox, which would never be told
        except ConnectionLostError:
            self.forget(job)
            raise
        return job

    def forget(self, job: JobId) -> None:
        """What still comes for this job concerns nobody."""
        self._inboxes.pop(job, None)
        self._hint.heard(job)

    def send(self, *messages: Message) -> None:
        """Send messages, in order.

        Raises:
            ConnectionLostError: the link is gone.
        """
        self.check()
        self._outgoing.append(messages)
        if not self._flushing:
            self._flushing = True
            assert self._loop is not None
            try:
                self._loop.call_soon_threadsafe(self._flush)
            except RuntimeError:
                raise ConnectionLostError(self.lost or "the client was closed") from None

    def check(self) -> None:
        """Raise ``ConnectionLostError`` if the link is gone."""
        if self.lost:
            raise ConnectionLostError(self.lost)

    def ask(self, what: str, job: JobId = _NO_JOB, timeout_s: float = limits.CONNECT_TIMEOUT_S) -> Any:
        """Ask the controller for facts, and wait.

        Raises:
            ConnectionLostError: the link is gone, or no answer came in time.
        """
        if threading.current_thread() is self._thread:
            raise UsageError("a callback of a future may not ask the controller: it would wait for itself")
        request, answer = next(self._requests), Future[Any]()
        self._asked[request] = answer
        try:
            self.send(Ask(request, what, job))
            return answer.result(timeout_s)
        except TimeoutError:
            raise ConnectionLostError(
                f"the controller at {self.address} did not answer within {timeout_s:g} s"
            ) from None
        finally:
            self._asked.pop(request, None)

    # --- in the link's thread -----------------------------------------------------------------------

    def _run(self, opened: Future[None], timeout_s: float) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._main(opened, timeout_s))
        except BaseException as error:
            fail([opened], ConnectError(f"no link to {self.address}: {error!r}"))
            raise
        finally:
            self._end(self.lost or "the link's thread has ended")

    async def _main(self, opened: Future[None], timeout_s: float) -> None:
        self._closing = asyncio.Event()
        self._gone = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        if self._closed:
            self._closing.set()
        try:
            await connect(
                self.address,
                lambda _: hello("client", name=self._name),
                may_say=SAID_BY["controller-to-client"],
                on_welcome=self._on_welcome,
                on_message=self._on_message,
                on_closed=self._on_closed,
                timeout_s=timeout_s,
            )
        except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits for it
            self.lost = str(error)
            opened.set_exception(error if isinstance(error, ConnectError) else ConnectError(f"no link: {error!r}"))
            return
        watching = self._loop.create_task(self._watch())
        opened.set_result(None)
        await self._closing.wait()
        watching.cancel()
        await self._leave()

    async def _leave(self) -> None:
        """Say goodbye; who does not take it in time is cut off."""
        reason = self.lost = self.lost or "the client was closed"
        if self._link is not None:
            self._flush()
        link = self._link
        if link is not None:
            link.send(Goodbye(reason))
            link.close(reason)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), limits.STOP_TIMEOUT_S)
            link.abort(reason)
            await link.closed.wait()

    async def _watch(self) -> None:
        """Notice that somebody waits for nobody's work."""
        while True:
            await asyncio.sleep(limits.WORKERS_HINT_S / 4)
            if self._hint.due(time.monotonic()) and self._link is not None:
                request, answer = next(self._requests), Future[Any]()
                answer.add_done_callback(self._on_status)
                self._asked[request] = answer
                self._link.send(Ask(request, "status", _NO_JOB))

    def _on_status(self, answer: Future[Any]) -> None:
        if answer.exception() is None:
            self._hint.answered(answer.result())

    def _on_welcome(self, link: Link, welcome: Welcome) -> None:
        self._link = link
        self._first_job = welcome.peer << _JOB_BITS

    def _flush(self) -> None:
        self._flushing = False
        while self._outgoing and self._link is not None:
            for message in self._outgoing.popleft():
                self._send_now(self._link, message)

    def _send_now(self, link: Link, message: Message) -> None:
        try:
            link.send(message)
        except Exception as error:  # noqa: BLE001 - what is not sent is never answered: nobody may wait for it
            link.abort(f"our own {type(message).__name__} could not be sent: {error!r}")

    def _on_message(self, link: Link, message: Message) -> None:
        if isinstance(message, Answer):
            answer = self._asked.pop(message.request, None)
            if answer is not None:
                answer.set_result(json.loads(message.facts))
        elif isinstance(message, Goodbye):
            self.lost = f"the controller at {self.address} has gone: {message.reason}"
            link.abort("it left")
        else:
            job: JobId = message.job  # type: ignore[union-attr]  # all others that a controller may say have one
            inbox = self._inboxes.get(job)
            self._hint.heard(job)
            if isinstance(message, JobDone | JobRefused):
                self._inboxes.pop(job, None)
            if inbox is not None:
                inbox(message)

    def _on_closed(self, link: Link, reason: str) -> None:  # noqa: ARG002 - there is only one
        self._link = None
        self._gone.set()
        self._end(self.lost or f"the link to the controller at {self.address} broke: {reason}")
        if self._closing is not None:
            self._closing.set()

    def _end(self, reason: str) -> None:
        self.lost = reason
        self._outgoing.clear()
        inboxes, self._inboxes = list(self._inboxes.values()), {}
        for inbox in inboxes:
            inbox(None)
        asked, self._asked = list(self._asked.values()), {}
        fail(asked, ConnectionLostError(reason))


def fail(futures: Iterable[Future[Any]], error: BaseException) -> None:
    """Let all that are not done yet fail."""
    for future in futures:
        if not future.done():
            future.set_exception(error)
