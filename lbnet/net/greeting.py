"""How a link begins: HELLO, then WELCOME or REFUSED, within a few seconds. Both ends of it."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable

from lbnet import limits
from lbnet.errors import ConnectError, RemoteProtocolError
from lbnet.net.link import Link, check_port, words
from lbnet.protocol.messages import PROTOCOL_VERSION, Hello, Message, Refused, Welcome
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
        return f"protocol version {PROTOCOL_VERSION} is spoken here, yours is {message.version}: install the same lbnet"
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

    Who is refused, says nothing, breaks the protocol or vanishes is one line in the log, and never reaches
    the driver.

    Args:
        roles: who may come.
        admit: called with an acceptable HELLO. It calls :meth:`Link.greet` and answers WELCOME, or returns the
            sentence to refuse it with.
        on_message: called with what links say after their greeting.
        on_closed: called when such a link is gone.
        log: where to say who was not let in.
    """

    def __init__(
        self,
        *,
        roles: frozenset[str],
        admit: Callable[[Link, Hello], str | None],
        on_message: Callable[[Link, Message], None],
        on_closed: Callable[[Link, str], None],
        log: logging.Logger,
    ) -> None:
        self._roles = roles
        self._admit = admit
        self._deliver = on_message
        self._tell_closed = on_closed
        self._log = log
        self._timers: dict[Link, asyncio.TimerHandle] = {}
        self._closed = False

    def accept(self) -> Link:
        """The protocol of a connection that was just accepted."""
        return Link(self._on_message, self._on_closed, self._on_open)

    async def close(self) -> None:
        """Turn away those who have not been let in; returns when they are gone."""
        self._closed = True
        links = list(self._timers)
        for link in links:
            self._timers.pop(link).cancel()
            link.abort("nobody is let in any more")
        for link in links:
            await link.closed.wait()

    def _on_open(self, link: Link) -> None:
        if self._closed:
            link.abort("nobody is let in any more")
            return
        said_nothing = f"it said nothing for {limits.GREETING_TIMEOUT_S:g} s"
        self._timers[link] = asyncio.get_running_loop().call_later(limits.GREETING_TIMEOUT_S, link.abort, said_nothing)

    def _on_message(self, link: Link, message: Message) -> None:
        if link.greeted:
            self._deliver(link, message)
            return
        if not isinstance(message, Hello):
            raise RemoteProtocolError(f"{type(message).__name__} came before HELLO")
        reason = refusal(message, self._roles) or self._admit(link, message)
        if reason is None:
            self._timers.pop(link).cancel()
        else:
            # The timer stays: it ends a link whose peer does not take the answer.
            link.send(Refused(reason))
            link.close(f"it was refused: {reason}")

    def _on_closed(self, link: Link, reason: str) -> None:
        timer = self._timers.pop(link, None)
        if timer is not None:
            timer.cancel()
            self._log.warning("%s did not join: %s", link.peer_address, reason)
        elif link.greeted:
            self._tell_closed(link, reason)


class NothingThereError(ConnectError):
    """Nothing listens at an address, or not yet."""


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

    Raises:
        NothingThereError: nothing listens there.
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
                answer.set_exception(ConnectError(f"{address} {problem}"))

    def on_gone(link: Link, reason: str) -> None:
        if link.greeted:
            on_closed(link, reason)
        elif not answer.done():
            answer.set_exception(ConnectError(f"{address} is not {what}: {reason}"))

    try:
        check_port(address.port)
        async with asyncio.timeout(timeout_s):
            _, link = await loop.create_connection(lambda: Link(on_greeting, on_gone), address.host, address.port)
            link.send(greeting(link))
            await answer
    except BaseException as error:
        if link is not None:
            link.abort("the greeting failed")
        if not answer.cancel() and not answer.cancelled():
            answer.exception()  # it was looked at: asyncio need not complain that nobody did
        if isinstance(error, ConnectError):
            raise
        if isinstance(error, TimeoutError):
            silence = (
                "did not answer" if link is None else f"is not {what}: it accepted the connection and said nothing"
            )
            raise ConnectError(f"{address} {silence} within {timeout_s:g} s") from None
        if isinstance(error, OSError | ValueError):
            kind = NothingThereError if isinstance(error, OSError) else ConnectError
            raise kind(f"nothing answers at {address} ({words(error)}): is {what} running there?") from None
        raise


def _not_welcome(message: Message, what: str) -> str | None:
    """What is wrong with an answer to HELLO; None if it is WELCOME."""
    if isinstance(message, Refused):
        return f"refused us: {printable(message.reason)}"
    if not isinstance(message, Welcome) or message.magic != MAGIC:
        return f"is not {what}: it answered with {type(message).__name__}"
    if message.version != PROTOCOL_VERSION:
        return f"speaks protocol version {message.version}, here it is {PROTOCOL_VERSION}: install the same lbnet"
    if message.deadline_s and message.deadline_s < limits.LINK_DEADLINE_MIN_S:
        return f"lets links be silent for {message.deadline_s:g} s only: that is not {what}"
    return None
