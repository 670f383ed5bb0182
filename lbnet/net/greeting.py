"""How a link begins: HELLO, then WELCOME or REFUSED, within a few seconds."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable

from lbnet import limits
from lbnet.errors import ConnectError
from lbnet.net.link import Link
from lbnet.protocol.messages import PROTOCOL_VERSION, Hello, Message, Refused, Welcome
from lbnet.types import CONTROLLER, Address, PeerId

MAGIC = "lbnet"


def hello(role: str, *, name: str, slots: int = 0, port: int = 0, peer: PeerId = CONTROLLER) -> Hello:
    """Our own HELLO. ``host`` is the address that others can reach us at, filled in by the other end if empty."""
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
    )


def refusal(message: Hello, roles: frozenset[str]) -> str | None:
    """Why this HELLO is not accepted, as a sentence for the one who is refused; None if it is."""
    if message.magic != MAGIC:
        return "this is lbnet; you speak something else"
    if message.version != PROTOCOL_VERSION:
        return f"protocol version {PROTOCOL_VERSION} is spoken here, yours is {message.version}: install the same lbnet"
    if message.role not in roles:
        return f"role {message.role!r} is not accepted here"
    if message.role == "worker" and not 0 < message.slots <= limits.SLOTS_MAX:
        return f"a worker has 1 to {limits.SLOTS_MAX} slots, not {message.slots}"
    return None


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
        timeout_s: for all of it.
        what: the other side, for error messages.

    Raises:
        ConnectError: nothing listens there, or it is not ``what``, or it refused us; the sentence says which.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[None] = loop.create_future()

    def on_greeting(link: Link, message: Message) -> None:
        if link.greeted:
            on_message(link, message)
        elif isinstance(message, Welcome) and message.magic == MAGIC:
            if not answer.done():
                link.greet(may_say)
                answer.set_result(None)
                on_welcome(link, message)
        elif not answer.done():
            reason = message.reason if isinstance(message, Refused) else f"it said {type(message).__name__}"
            answer.set_exception(ConnectError(f"{address} refused us: {reason}"))

    def on_gone(link: Link, reason: str) -> None:
        if answer.done():
            if link.greeted:
                on_closed(link, reason)
        else:
            answer.set_exception(ConnectError(f"{address} is not {what}: {reason}"))

    try:
        async with asyncio.timeout(timeout_s):
            _, link = await loop.create_connection(lambda: Link(on_greeting, on_gone), address.host, address.port)
    except TimeoutError:
        raise ConnectError(f"{address} did not answer within {timeout_s:g} s") from None
    except OSError as error:
        raise ConnectError(
            f"nothing answers at {address} ({error.strerror or error}): is {what} running there?"
        ) from None
    link.send(greeting(link))
    try:
        async with asyncio.timeout(min(timeout_s, limits.GREETING_TIMEOUT_S)):
            await answer
    except TimeoutError:
        link.abort("no greeting")
        raise ConnectError(f"{address} is not {what}: it accepted the connection and said nothing") from None
    except BaseException:
        link.abort("the greeting failed")
        with contextlib.suppress(asyncio.InvalidStateError):
            answer.cancel()
        raise
