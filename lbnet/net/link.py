"""One TCP connection that carries messages: frames in, frames out, written once a turn of the loop.

It checks that a peer says only what its role may say; it must not know what messages mean.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from lbnet import limits
from lbnet.errors import RemoteProtocolError
from lbnet.protocol.codec import decode, encode
from lbnet.protocol.framing import FrameReader, frame
from lbnet.protocol.messages import Hello, Message, Refused, Welcome
from lbnet.types import Address

GREETINGS: frozenset[type[Message]] = frozenset({Hello, Welcome, Refused})


class Link(asyncio.Protocol):
    """A connection and its peer.

    Args:
        on_message: called with every message; what it raises as ``RemoteProtocolError`` closes the link.
        on_closed: called once, with the reason in words, when the connection is gone.
        on_open: called when the connection is made.
    """

    def __init__(
        self,
        on_message: Callable[[Link, Message], None],
        on_closed: Callable[[Link, str], None],
        on_open: Callable[[Link], None] | None = None,
    ) -> None:
        self._on_message = on_message
        self._on_closed = on_closed
        self._on_open = on_open
        self._allowed = GREETINGS
        self._reader = FrameReader(limits.GREETING_BYTES_MAX)
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._reason = ""
        self.greeted = False

    # --- for the driver -------------------------------------------------------------------------

    def greet(self, may_say: frozenset[type[Message]]) -> None:
        """The greeting is over: from now on the peer may say these messages."""
        self._allowed = may_say
        self._reader.frame_bytes_max = limits.FRAME_BYTES_MAX
        self.greeted = True

    def send(self, message: Message) -> None:
        """Send a message; all that is sent in one turn of the loop goes out in one write."""
        if self._transport is None or self._transport.is_closing():
            return
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(frame(encode(message)))

    def close(self, reason: str) -> None:
        """Send what is waiting, then close."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._flush()
            self._transport.close()

    def abort(self, reason: str) -> None:
        """Close now; what is waiting is lost."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()

    @property
    def peer_address(self) -> Address:
        """Where the other end is."""
        return self._name("peername")

    @property
    def own_address(self) -> Address:
        """Where this end is."""
        return self._name("sockname")

    def _name(self, which: str) -> Address:
        name = self._transport.get_extra_info(which) if self._transport is not None else None
        return Address(str(name[0]), int(name[1])) if isinstance(name, tuple) else Address("?", 0)

    # --- asyncio.Protocol -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self._transport = cast("asyncio.Transport", transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in {socket.AF_INET, socket.AF_INET6}:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._on_open is not None:
            self._on_open(self)

    def data_received(self, data: bytes) -> None:
        """Bytes came: whole frames become messages."""
        self._reader.feed(data)
        try:
            while (body := self._reader.next()) is not None:
                message = decode(body)
                if type(message) not in self._allowed:
                    raise RemoteProtocolError(f"{type(message).__name__} may not be said here")
                self._on_message(self, message)
        except RemoteProtocolError as error:
            self.abort(f"{self.peer_address} broke the protocol: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        reason = self._reason or (f"the connection broke: {exc}" if exc else "the peer closed the connection")
        self._transport = None
        self._out.clear()
        self._on_closed(self, reason)

    def _flush(self) -> None:
        if self._out and self._transport is not None:
            self._transport.writelines(self._out)
        self._out.clear()
