"""How a link begins: HELLO, then WELCOME or REFUSED, within a few seconds. Both ends of it."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Callable

from lbnet import limits
from lbnet.errors import AccessError, ConnectError, RemoteProtocolError, UsageError
from lbnet.net.door import Door, Giver, Guard, Knock
from lbnet.net.gate import version_sentence
from lbnet.net.link import Link, check_port, words
from lbnet.net.member import Member, NothingThereError, other_version, tls_words
from lbnet.net.refusals import Refusals
from lbnet.protocol.messages import PROTOCOL_VERSION, Hello, Message, Refused, Welcome
from lbnet.security.authority import Identity
from lbnet.security.links import peer_of
from lbnet.types import CONTROLLER, Address, PeerId

MAGIC = "lbnet"
"""The first field of every greeting."""


def hello(
    role: str, *, name: str, slots: int = 0, port: int = 0, peer: PeerId = CONTROLLER, cluster: bytes = b""
) -> Hello:
    """Our own HELLO.

    Args:
        role: ``worker``, ``client`` or ``peer``.
        name: for people; the other side chooses one if it is empty.
        slots: compute processes, of a worker.
        port: where other workers can reach this one, at the address that the controller sees.
        peer: the id of a worker that greets another; towards the controller, the id that it gave us before.
        cluster: in which cluster it did.
    """
    return Hello(
        MAGIC,
        PROTOCOL_VERSION,
        role,
        name[: limits.OUTPUT_NAME_CHARS_MAX],
        socket.gethostname(),
        os.getpid(),
        slots,
        port,
        peer,
        cluster,
    )


def refusal(message: Hello, roles: frozenset[str]) -> str | None:
    """Why this HELLO is not accepted, as a sentence for the one who is refused; None if it is."""
    if message.magic != MAGIC:
        return "this is lbnet; you speak something else"
    if message.version != PROTOCOL_VERSION:
        return version_sentence(message.version)
    if message.role not in roles:
        return f"role {message.role[:40]!r} is not accepted here"
    if message.role == "worker" and not 0 < message.slots <= limits.SLOTS_MAX:
        return f"a worker has 1 to {limits.SLOTS_MAX} slots, not {message.slots}"
    if message.role == "worker" and not 0 < message.port < 1 << 16:
        return f"a worker listens at a port from 1 to 65535, not {message.port}"
    if message.role == "peer" and message.peer <= CONTROLLER:
        return f"{message.peer} is not the id of a worker"
    return None


def printable(text: str) -> str:
    """What a peer said, as one line that is safe to log and to show."""
    cut = text[: limits.OUTPUT_NAME_CHARS_MAX]
    return "".join(character if character.isprintable() else "?" for character in cut)


class Reception:
    """Takes connections in, and lets those pass that say an acceptable HELLO in time.

    Who is refused, says nothing, breaks the protocol or vanishes is at most one line in the log, and never reaches
    the driver. Only so many may be under way; the oldest of them is closed for one more.

    Args:
        roles: who may come.
        admit: called with an acceptable HELLO. It calls :meth:`Link.greet` and answers WELCOME, or returns the
            sentence to refuse it with.
        on_message: called with what links say after their greeting.
        on_closed: called when such a link is gone.
        log: where to say who was not let in.
        guard: who may come by its certificate; None: links are not protected.
        giver: the same, if it gives certificates to those who have none.
    """

    def __init__(
        self,
        *,
        roles: frozenset[str],
        admit: Callable[[Link, Hello], str | None],
        on_message: Callable[[Link, Message], None],
        on_closed: Callable[[Link, str], None],
        log: logging.Logger,
        guard: Guard | None = None,
        giver: Giver | None = None,
    ) -> None:
        self._roles = roles
        self._admit = admit
        self._deliver = on_message
        self._tell_closed = on_closed
        self._guard = guard
        self._giver = giver
        self._refusals = Refusals(log, asyncio.get_running_loop().time)
        self._waiting: dict[Link | Knock, asyncio.TimerHandle] = {}
        self._connecting: set[asyncio.Task[None]] = set()
        self._closed = False

    def listen(self, *listening: socket.socket) -> Door:
        """Take in what comes to these sockets, until the door is closed."""
        return Door(listening, self.accept)

    def accept(self, sock: socket.socket) -> None:
        """A connection was just accepted."""
        if self._guard is None:
            self._connecting.add(task := asyncio.get_running_loop().create_task(self._take(sock)))
            task.add_done_callback(self._connecting.discard)
        else:
            self._on_arrival(Knock(sock, self._guard, self._giver, self._on_known, self._on_gone))

    async def _take(self, sock: socket.socket) -> None:
        """A connection that is not protected."""
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: Link(self._on_message, self._on_closed, self._on_arrival), sock
            )
        except OSError:
            sock.close()  # it has gone already

    async def close(self) -> None:
        """Turn away those who have not been let in; returns when they are gone."""
        self._closed = True
        waiting = list(self._waiting)
        for each in waiting:
            self._forget(each)
            each.abort("nobody is let in any more")
        for each in waiting:
            await each.closed.wait()

    # --- before HELLO ---------------------------------------------------------------------------

    def _on_arrival(self, each: Link | Knock) -> None:
        if self._closed:
            each.abort("nobody is let in any more")
            return
        if len(self._waiting) >= limits.HALF_OPEN_MAX:
            # Who has shown a certificate stays.
            strangers = (waiting for waiting in self._waiting if isinstance(waiting, Knock))
            oldest = next(strangers, None) or next(iter(self._waiting))
            oldest.abort("it was the one that waited longest, and more have come than may wait")
        said_nothing = f"it said nothing for {limits.GREETING_TIMEOUT_S:g} s"
        timer = asyncio.get_running_loop().call_later(limits.GREETING_TIMEOUT_S, each.abort, said_nothing)
        self._waiting[each] = timer

    def _forget(self, each: Link | Knock) -> bool:
        """It waits no more. Whether it did."""
        timer = self._waiting.pop(each, None)
        if timer is not None:
            timer.cancel()
        return timer is not None

    def _on_known(self, knock: Knock, identity: Identity) -> Link:
        self._forget(knock)
        link = Link(self._on_message, self._on_closed, self._on_arrival)
        link.identity = identity
        return link

    def _on_gone(self, knock: Knock, reason: str) -> None:
        if self._forget(knock) and reason:
            self._refusals.tell(knock.peer_address, reason)

    # --- HELLO and after it ---------------------------------------------------------------------

    def _on_message(self, link: Link, message: Message) -> None:
        if link.greeted:
            self._deliver(link, message)
            return
        if not isinstance(message, Hello):
            raise RemoteProtocolError(f"{type(message).__name__} came before HELLO")
        problem, final = refusal(message, self._roles), False
        if problem is None and self._guard is not None:
            problem = _stranger_here(link, message, self._guard)
            final = problem is not None
        reason = problem or self._admit(link, message)
        if reason is None:
            self._forget(link)
        else:
            # The timer stays: it ends a link whose peer does not take the answer.
            link.send(Refused(reason, final))
            link.close(f"it was refused: {reason}")

    def _on_closed(self, link: Link, reason: str) -> None:
        if self._forget(link):
            self._refusals.tell(link.peer_address, reason)
        elif link.greeted:
            self._tell_closed(link, reason)


def _stranger_here(link: Link, message: Hello, guard: Guard) -> str | None:
    """Why somebody is not who it says it is, by its certificate, if so."""
    assert link.identity is not None, "a guarded door lets nobody pass without"
    return guard.problem_of(link.identity, "worker" if message.role == "peer" else message.role)


async def connect(
    address: Address,
    greeting: Callable[[Link], Hello],
    *,
    may_say: frozenset[type[Message]],
    on_welcome: Callable[[Link, Welcome], None],
    on_message: Callable[[Link, Message], None],
    on_closed: Callable[[Link, str], None],
    timeout_s: float,
    what: str = "an lbnet controller",
    member: Member | None = None,
    role: str = "controller",
) -> None:
    """Open a link and exchange greetings.

    Args:
        greeting: makes our HELLO once the connection is open, so that it may name our own address.
        may_say: what the other side may say after the greeting.
        on_welcome: called once, before any message that follows the greeting is delivered.
        on_message: called with what the other side says after the greeting.
        on_closed: called when a link that was welcomed is gone.
        timeout_s: for all of it.
        what: the other side, for error messages.
        member: who we are, to which the link is protected; None: it is not.
        role: of the other side, by its certificate.

    Raises:
        NothingThereError: nothing listens there.
        AccessError: it does not let us in, or is none of our cluster, and will not be.
        ConnectError: it is not ``what``, or it refused us, or there can be no such address; the sentence says which.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[None] = loop.create_future()
    link: Link | None = None

    def on_greeting(link: Link, message: Message) -> None:
        if link.greeted:
            on_message(link, message)
        elif not answer.done():
            problem = _not_welcome(message, what)
            if problem is None:
                link.greet(may_say)
                answer.set_result(None)
                on_welcome(link, message)  # type: ignore[arg-type]  # that is what it is when there is no problem
            else:
                final = isinstance(message, Refused) and message.final
                answer.set_exception((AccessError if final else ConnectError)(f"{address} {problem}"))

    def on_gone(link: Link, reason: str) -> None:
        if link.greeted:
            on_closed(link, reason)
        elif not answer.done():
            answer.set_exception(ConnectError(f"{address} is not {what}: {reason}"))

    try:
        check_port(address.port)
        async with asyncio.timeout(timeout_s):
            link = await _opened(address, lambda: Link(on_greeting, on_gone), member, role, timeout_s)
            link.send(greeting(link))
            await answer
    except BaseException as error:
        if link is not None:
            link.abort("the greeting failed")
        if not answer.cancel() and not answer.cancelled():
            answer.exception()  # it was looked at: asyncio need not complain that nobody did
        if isinstance(error, ConnectError):
            raise
        if role == "controller" and member is not None and isinstance(error, ssl.SSLError | ConnectionAbortedError):
            member.forget()  # it is asked for another one
        sentence = _failure(
            error, address, what, f"{timeout_s:g} s", connected=link is not None, protected=member is not None
        )
        if sentence is None:
            raise
        raise sentence from None


def _failure(
    error: BaseException, address: Address, what: str, limit: str, *, connected: bool, protected: bool
) -> ConnectError | None:
    """What is said of a link that could not be opened; None if that is nothing of the network's."""
    if isinstance(error, TimeoutError):
        silence = f"is not {what}: it accepted the connection and said nothing" if connected else "did not answer"
        return ConnectError(f"{address} {silence} within {limit}")
    if protected and isinstance(error, ssl.SSLError | ConnectionAbortedError):
        return ConnectError(f"{address} {tls_words(error, what)}")
    if isinstance(error, OSError | ValueError):
        kind = NothingThereError if isinstance(error, OSError) else ConnectError
        return kind(f"nothing answers at {address} ({words(error)}): is {what} running there?")
    return None


async def _opened(
    address: Address, make: Callable[[], Link], member: Member | None, role: str, timeout_s: float
) -> Link:
    """A link to an address, protected if we are a member, to somebody who has shown to be of this role."""
    loop = asyncio.get_running_loop()
    if member is None:
        _, link = await loop.create_connection(make, address.host, address.port)
        return link
    if role == "controller":
        await member.join(address, timeout_s)
    transport, link = await loop.create_connection(
        make,
        address.host,
        address.port,
        ssl=member.outgoing,
        server_hostname="",
        ssl_handshake_timeout=limits.GREETING_TIMEOUT_S,
    )
    try:
        link.identity = peer_of(transport.get_extra_info("ssl_object"))
        problem = None if link.identity is None else member.problem_of(link.identity, role)
    except UsageError as error:
        problem = str(error)
    if link.identity is None or problem is not None:
        link.abort("it is not who it should be")
        raise AccessError(f"{address} is not who it should be: {problem}")
    return link


def _not_welcome(message: Message, what: str) -> str | None:
    """What is wrong with an answer to HELLO; None if it is WELCOME."""
    if isinstance(message, Refused):
        return f"refused us: {printable(message.reason)}"
    if not isinstance(message, Welcome) or message.magic != MAGIC:
        return f"is not {what}: it answered with {type(message).__name__}"
    if message.version != PROTOCOL_VERSION:
        return other_version(message.version)
    if message.deadline_s and message.deadline_s < limits.LINK_DEADLINE_MIN_S:
        return f"lets links be silent for {message.deadline_s:g} s only: that is not {what}"
    return None
