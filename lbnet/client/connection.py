"""A client's link to its controller: a thread with an event loop, and a way in and out of it for all others.

When the link breaks, it looks for another one. What is said and heard of jobs is the business of :mod:`.open_jobs`;
this must not know what messages mean.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

import uvloop

from lbnet import limits
from lbnet.client.followed import Followed, Sink
from lbnet.client.hint import WorkersHint
from lbnet.client.open_jobs import OpenJobs, Released, Wanted
from lbnet.client.patience import Patience
from lbnet.client.standing import OF_JOBS, OUTCOMES, Inbox, Lost
from lbnet.errors import AccessError, ConnectError, ConnectionLostError, RemoteProtocolError, UsageError
from lbnet.net.greeting import connect, hello
from lbnet.net.link import Link
from lbnet.net.member import Member
from lbnet.net.vigil import Vigil
from lbnet.protocol.messages import (
    SAID_BY,
    Answer,
    Ask,
    Beat,
    Drain,
    Goodbye,
    Hello,
    JobRefused,
    Message,
    Notice,
    Printed,
    Renew,
    Renewed,
    Welcome,
)
from lbnet.types import Address, JobId, PeerId

_log = logging.getLogger("lbnet.client")

_NO_JOB = JobId(0)


class Connection:
    """One link after the other, usable from any thread as if they were one.

    Args:
        address: of the controller.
        name: of this client, for people.
        reconnect_timeout_s: how long to try to get a link back that broke; 0 for not at all.
        member: who it is in its cluster; None: links are not protected.
    """

    def __init__(
        self, address: Address, name: str = "", *, reconnect_timeout_s: float = 0.0, member: Member | None = None
    ) -> None:
        self.address = address
        self._member = member
        self._name = name
        self._link: Link | None = None
        self._vigil: Vigil | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._jobs = OpenJobs(address, self._say)
        self._asked: dict[int, tuple[Ask | Drain, Future[Any]]] = {}
        self._requests = itertools.count(1)
        self._outgoing: deque[tuple[Message | Wanted | Released, ...]] = deque()
        self._flushing = False
        self._peer, self._cluster = PeerId(0), b""
        self._patience = Patience(reconnect_timeout_s)
        self._achieved_before = 0
        self._away = False
        self._broken = ""
        self._closing: asyncio.Event | None = None
        self._closed = False
        self._hint = WorkersHint(address)
        self._followed = Followed()
        self.lost = ""
        """Why there is no link and will be none; empty while there is one, or may be."""

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

    def new_job(self, inbox: Inbox, *, takes: bool = True) -> JobId:
        """An id for a job whose messages go to ``inbox`` until it is done.

        Args:
            inbox: told what comes.
            takes: what has come to this process counts as taken; else TAKEN is said by whoever reads it.

        Raises:
            ConnectionLostError: the link is gone.
        """
        self.check()
        job = self._jobs.new(inbox, takes=takes)
        self._hint.opened(job, time.monotonic())
        try:
            self.check()  # else the link may have ended before it knew this inbox, which would never be told
        except ConnectionLostError:
            self.forget(job)
            raise
        return job

    def attach(self, job: JobId, inbox: Inbox) -> None:
        """Ask for a job that goes on without its client: ATTACHED or JOB_REFUSED comes first.

        Raises:
            ConnectionLostError: the link is gone for good.
        """
        self.send(Wanted(job, inbox))

    def forget(self, job: JobId) -> None:
        """What still comes for this job concerns nobody."""
        self._jobs.forget(job)
        self._hint.heard(job)

    def release(self, job: JobId) -> None:
        """Let go of a job that goes on without this client; what was said before is said."""
        self.forget(job)
        with contextlib.suppress(ConnectionLostError):
            self.send(Released(job))

    def send(self, *messages: Message | Wanted | Released) -> None:
        """Send messages, in order; what concerns jobs waits if there is no link now.

        Raises:
            ConnectionLostError: the link is gone for good.
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
        """Raise ``ConnectionLostError`` if the link is gone for good."""
        if self.lost:
            raise ConnectionLostError(self.lost)

    def follow(self, job: JobId, sink: Sink) -> None:
        """Hear what tasks of a job print from now on. Whoever has read it says so by :meth:`has_read`.

        Raises:
            UsageError: it is followed already.
            ConnectionLostError: the link is gone for good.
        """
        self.send(self._followed.begin(job, sink))

    def has_read(self, job: JobId, size_bytes: int) -> None:
        """So much of what tasks of a job printed has been read: more may come."""
        more = self._followed.read(job, size_bytes)
        if more is not None:
            self.send(more)

    def unfollow(self, job: JobId) -> None:
        """Hear no more of what tasks of a job print."""
        with contextlib.suppress(ConnectionLostError):
            self.send(self._followed.end(job))

    def ask(
        self,
        what: str,
        job: JobId = _NO_JOB,
        index: int = -1,
        *,
        timeout_s: float = limits.CONNECT_TIMEOUT_S,
        waits_for_link: bool = True,
    ) -> Any:
        """Ask the controller for facts, and wait: also for a link, if there is none now, unless that is not wanted.

        Raises:
            ConnectionLostError: the link is gone for good, or no answer came in time.
        """
        return self._answer_to(Ask(next(self._requests), what, job, index), timeout_s, waits_for_link=waits_for_link)

    def drain(self, worker: str, grace_s: float, timeout_s: float = limits.CONNECT_TIMEOUT_S) -> Any:
        """Let a worker leave. Returns who was meant, and who is there.

        Raises:
            ConnectionLostError: the link is gone for good, or no answer came in time.
        """
        return self._answer_to(Drain(next(self._requests), worker, grace_s), timeout_s)

    def _answer_to(self, question: Ask | Drain, timeout_s: float, *, waits_for_link: bool = True) -> Any:
        if threading.current_thread() is self._thread:
            raise UsageError("a callback of a future may not ask the controller: it would wait for itself")
        answer = Future[Any]()
        self._asked[question.request] = question, answer
        try:
            self.send(question)
            while True:
                away = self._away
                try:
                    return answer.result(timeout_s)
                except TimeoutError:
                    if not (waits_for_link and (away or self._away)):
                        raise
        except TimeoutError:
            raise ConnectionLostError(
                f"the controller at {self.address} did not answer within {timeout_s:g} s"
            ) from None
        finally:
            self._asked.pop(question.request, None)

    # --- in the link's thread: one link after the other -----------------------------------------------

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
            await self._connect(timeout_s)
        except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits for it
            self.lost = str(error)
            opened.set_exception(error if isinstance(error, ConnectError) else ConnectError(f"no link: {error!r}"))
            return
        watching, staying = self._loop.create_task(self._watch()), self._loop.create_task(self._stay())
        opened.set_result(None)
        closing = self._loop.create_task(self._closing.wait())
        await asyncio.wait((closing, staying), return_when=asyncio.FIRST_COMPLETED)
        for task in (watching, staying, closing):
            task.cancel()
        await asyncio.wait((watching, staying, closing))
        await self._leave()
        if not staying.cancelled():
            staying.result()

    async def _connect(self, timeout_s: float) -> None:
        await connect(
            self.address,
            self._greeting,
            may_say=SAID_BY["controller-to-client"],
            on_welcome=self._on_welcome,
            on_message=self._on_message,
            on_closed=self._on_closed,
            timeout_s=timeout_s,
            member=self._member,
        )

    def _greeting(self, link: Link) -> Hello:  # noqa: ARG002 - it does not depend on where we are
        # Who knows no cluster is new in any.
        peer = self._peer if self._cluster else PeerId(0)
        return hello("client", name=self._name, peer=peer, cluster=self._cluster)

    async def _stay(self) -> None:
        """Look for another link whenever one breaks, and return when there will be none."""
        while not self.lost:
            await self._gone.wait()
            if not self.lost:
                await self._come_back()

    async def _come_back(self) -> None:
        loop, timeout_s = asyncio.get_running_loop(), self._patience.timeout_s
        why = ""
        while self._link is None and not self.lost:
            pause_s = self._patience.pause_s(loop.time())
            if pause_s is None:
                self._end(f"{self._broken}, and did not come back within {timeout_s:g} s ({why or 'no try was left'})")
                return
            await asyncio.sleep(pause_s)
            try:
                await self._connect(limits.GREETING_TIMEOUT_S)
            except AccessError as error:
                self._end(f"{self._broken}, and {error}")
            except ConnectError as error:
                why = str(error)

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
                await asyncio.wait_for(link.closed.wait(), limits.STOP_TIMEOUT_S)
            link.abort(reason)
            await link.closed.wait()

    async def _watch(self) -> None:
        """Notice that somebody waits for nobody's work."""
        while True:
            await asyncio.sleep(limits.WORKERS_HINT_S / 4)
            public_key = None if self._member is None or self._link is None else self._member.renewal()
            if public_key is not None:
                self._say(Renew(public_key))
            if self._hint.due(time.monotonic()) and self._link is not None:
                question, answer = Ask(next(self._requests), "status", _NO_JOB), Future[Any]()
                answer.add_done_callback(self._on_status)
                self._asked[question.request] = question, answer
                self._link.send(question)

    def _on_status(self, answer: Future[Any]) -> None:
        if answer.exception() is None:
            self._hint.answered(answer.result())

    def _on_welcome(self, link: Link, welcome: Welcome) -> None:
        now = asyncio.get_running_loop().time()
        away_s, again = self._patience.opened(now), self._peer != 0
        same = bool(self._cluster) and (welcome.peer, welcome.cluster) == (self._peer, self._cluster)
        self._achieved_before = self._jobs.progress
        self._link, self._peer, self._cluster = link, welcome.peer, welcome.cluster
        self._vigil = Vigil(link, welcome.deadline_s)
        self._gone.clear()
        self._away = False
        if again:
            known = "" if same else ", which does not know this client any more"
            _log.warning("the link to the controller at %s is back after %.1f s%s", self.address, away_s, known)
        self._jobs.back(welcome.peer, same=same or not again)
        for message in self._followed.anew():
            self._say(message)
        self._ask_again()

    def _on_closed(self, link: Link, reason: str) -> None:
        if link is not self._link:
            return
        self._link = None
        if self._vigil is not None:
            self._vigil.end()
        self._jobs.broke()
        self._patience.broke(asyncio.get_running_loop().time(), achieved=self._jobs.progress > self._achieved_before)
        self._broken = f"the link to the controller at {self.address} broke: {reason}"
        if self.lost or not self._patience.timeout_s or self._closed:
            self._end(self.lost or self._broken)
        else:
            self._away = True
            _log.warning("%s; trying to get it back for up to %g s", self._broken, self._patience.timeout_s)
        self._gone.set()

    def _end(self, reason: str) -> None:
        """There is no link any more, and will be none."""
        self.lost = reason
        self._away = False
        while self._outgoing:
            for said in self._outgoing.popleft():
                if isinstance(said, Wanted):
                    said.inbox(Lost(reason))
        self._jobs.lose_all(reason)
        asked, self._asked = list(self._asked.values()), {}
        fail((answer for _, answer in asked), ConnectionLostError(reason))

    # --- in the link's thread: messages ---------------------------------------------------------------

    def _flush(self) -> None:
        self._flushing = False
        while self._outgoing:
            for message in self._outgoing.popleft():
                if isinstance(message, Wanted):
                    if self.lost:
                        message.inbox(Lost(self.lost))
                    else:
                        self._jobs.attach(message)
                elif isinstance(message, Released):
                    self._jobs.release(message)
                elif type(message) in OF_JOBS:
                    self._jobs.note(message)
                elif self._link is not None:
                    self._say(message)

    def _say(self, message: Message) -> None:
        link = self._link
        assert link is not None, "messages wait while there is no link"
        try:
            link.send(message)
        except Exception as error:  # noqa: BLE001 - what is not sent is never answered: nobody may wait for it
            reason = f"our own {type(message).__name__} could not be sent: {error!r}"
            # The next link would not take it, either.
            self.lost = f"the link to the controller at {self.address} broke: {reason}"
            link.abort(reason)

    def _ask_again(self) -> None:
        """After jobs, because a question may be about one of them."""
        if self._jobs.settled:
            for question, _ in list(self._asked.values()):
                self._say(question)

    def _on_message(self, link: Link, message: Message) -> None:
        if self._vigil is not None:
            self._vigil.heard()
        if isinstance(message, Beat):
            return
        if isinstance(message, Answer):
            _, answer = self._asked.pop(message.request, (None, None))
            if answer is not None:
                answer.set_result(json.loads(message.facts))
        elif isinstance(message, Notice):
            _log.warning("the controller at %s says: %s", self.address, message.text)
        elif isinstance(message, Renewed):
            if self._member is None:
                raise RemoteProtocolError("links are not protected here")
            self._member.renewed(message.certificate)
        elif isinstance(message, Printed):
            self._followed.heard(message)
        elif isinstance(message, Goodbye):
            self.lost = f"the controller at {self.address} has gone: {message.reason}"
            link.abort("it left")
        else:
            if type(message) in OUTCOMES or isinstance(message, JobRefused):
                self._hint.heard(message.job)  # type: ignore[union-attr]  # all of these have one
            settled = self._jobs.settled
            self._jobs.heard(message)
            if not settled:
                self._ask_again()


def fail(futures: Iterable[Future[Any]], error: BaseException) -> None:
    """Let all that are not done yet fail."""
    for future in futures:
        if not future.done():
            future.set_exception(error)
