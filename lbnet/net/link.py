"""One TCP connection that carries messages: frames in, frames out, written once a turn of the loop.

It checks that a peer says only what its role may say; it must not know what messages mean.

Memory: a peer that makes us send more than it reads must not fill our memory, so a *throttled* link reads
nothing from its peer while more than ``limits.LINK_BUFFER_HIGH_BYTES`` wait to be sent to it. Two ends that
both did so could wait for each other for ever. Therefore exactly one end of one kind of link is throttled: the
controller's end of its links to clients. A client always reads, so what waits for it gets shorter and the
controller reads on. Links of workers are never throttled. It would bound nothing, since a worker is sent new
work only after it took the last and said IDLE; and its results and acknowledgements would have to wait behind a
large batch that is on its way to it. What a worker's slots make waits in their pipes instead, for as long as
the worker's own link is *behind* (:attr:`Link.on_behind`). Any link may be *held*, and is not read for as long
as what its peer says would have to wait elsewhere: for the disk, which waits for no link.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import cast

from lbnet import limits
from lbnet.errors import RemoteProtocolError
from lbnet.protocol.codec import decode, encode
from lbnet.protocol.framing import FrameReader, frame
from lbnet.protocol.messages import Goodbye, Hello, Message, Refused, Welcome
from lbnet.security.authority import Identity
from lbnet.types import Address

GREETINGS: frozenset[type[Message]] = frozenset({Hello, Welcome, Refused})
"""What may be said before the greeting is over."""

_COPIED_BYTES = 16 << 10
"""A record of TLS holds as much."""


class Link(asyncio.Protocol):
    """A connection and its peer.

    Args:
        on_message: called with every message; what it raises as ``RemoteProtocolError`` closes the link.
        on_closed: called once, with the reason in words, when the connection is gone.
        on_open: called when the connection is made.

    Attributes:
        peer_address: where the other end is.
        own_address: where this end is.
        greeted: whether the greeting is over.
        heard: messages that came.
        identity: who the peer is, by its certificate; None if the link is not protected.
        closed: set when the connection is gone.
        on_behind: called when more than ``limits.LINK_BUFFER_HIGH_BYTES`` wait to be sent (True), and when most of that
            is sent or the connection is gone (False).
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
        self._throttled = False
        self._held = False
        self._behind = False
        self._reading = True
        self._stirred = False
        self._flushed_bytes = 0
        self._taken_bytes = 0
        self.peer_address = Address("?", 0)
        self.own_address = Address("?", 0)
        self.greeted = False
        self.identity: Identity | None = None
        self.heard = 0
        self.closed = asyncio.Event()
        self.on_behind: Callable[[bool], None] | None = None

    # --- for the driver -------------------------------------------------------------------------

    def greet(self, may_say: frozenset[type[Message]], *, throttled: bool = False) -> None:
        """The greeting is over: from now on the peer may say these messages.

        Args:
            throttled: read nothing while too much waits to be sent; the other end must not do the same.
        """
        self._allowed = may_say
        self._reader.frame_bytes_max = limits.FRAME_BYTES_MAX
        self._throttled = throttled
        self.greeted = True

    @property
    def throttled(self) -> bool:
        """Whether its peer is not read while too much waits."""
        return self._throttled

    def hold(self, held: bool) -> None:
        """Read nothing from the peer, or read on: what it says would have to wait elsewhere."""
        self._held = held
        self._read_or_not()

    def stirs(self) -> bool:
        """Whether the peer has shown, since this was last asked, that it lives, other than by a whole message.

        Bytes of a longer one came. Or it is not read: then because it takes what waits for it, or because that is no
        fault of its own.
        """
        if self._ending:
            return False
        if self._reading:
            stirred, self._stirred = self._stirred, False
            return stirred
        taken_bytes = self._flushed_bytes - cast("asyncio.Transport", self._transport).get_write_buffer_size()
        moved, self._taken_bytes = taken_bytes != self._taken_bytes, taken_bytes
        return moved or not self._behind

    def send(self, message: Message) -> None:
        """Send a message; what is sent in one turn of the loop goes out in one write. No effect on a closing link."""
        if self._ending:
            return
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(frame(encode(message)))

    def close(self, reason: str) -> None:
        """Send what is waiting, then close. Nothing more is read, and only :meth:`abort` ends the wait for a peer
        that does not take it.
        """
        self._reason = self._reason or reason
        if self._transport is not None:
            self._flush()
            self._transport.close()

    def abort(self, reason: str) -> None:
        """Close now; what is waiting is lost, and nothing more is read."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()

    @property
    def _ending(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    # --- asyncio.Protocol -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=limits.LINK_BUFFER_HIGH_BYTES)
        # Once, and now: a socket whose peer is gone does not know these any more.
        self.peer_address = address_of(transport, "peername")
        self.own_address = address_of(transport, "sockname")
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in {socket.AF_INET, socket.AF_INET6}:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._on_open is not None:
            self._on_open(self)

    def data_received(self, data: bytes) -> None:
        """Bytes came: whole frames become messages."""
        self._reader.feed(data)
        self._stirred = True
        try:
            while not self._ending and (body := self._reader.next()) is not None:
                message = decode(body)
                if type(message) not in self._allowed:
                    raise RemoteProtocolError(f"{type(message).__name__} may not be said here")
                self._stirred = False
                self.heard += 1
                self._on_message(self, message)
        except RemoteProtocolError as error:
            self.abort(f"it broke the protocol: {error}")

    def eof_received(self) -> None:
        """The peer will say nothing more. One that leaves so does not read either: what waits for it is dropped."""
        self.abort("the peer closed the connection")

    def pause_writing(self) -> None:
        """Too much waits to be sent."""
        self._is_behind(True)

    def resume_writing(self) -> None:
        """Most of it is sent."""
        self._is_behind(False)

    def _is_behind(self, behind: bool) -> None:
        if behind != self._behind:
            self._behind = behind
            self._read_or_not()
            if self.on_behind is not None:
                self.on_behind(behind)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        reason = self._reason or (f"the connection broke: {exc}" if exc else "the peer closed the connection")
        self._transport = None
        self._out.clear()
        self._is_behind(False)
        self.closed.set()
        self._on_closed(self, reason)

    def _read_or_not(self) -> None:
        reads = not (self._held or (self._throttled and self._behind))
        if reads != self._reading and not self._ending:
            self._reading = reads
            transport = cast("asyncio.Transport", self._transport)
            (transport.resume_reading if reads else transport.pause_reading)()

    def _flush(self) -> None:
        if self._out and not self._ending:
            if self._throttled:
                self._flushed_bytes += sum(map(len, self._out))
            cast("asyncio.Transport", self._transport).writelines(_joined(self._out))
        self._out.clear()


def _joined(frames: Sequence[bytes]) -> Sequence[bytes]:
    """Short frames in one piece: under TLS every piece is a record, which costs more than copying a page does."""
    return [b"".join(frames)] if sum(map(len, frames)) <= _COPIED_BYTES else frames


async def say_goodbye(links: Iterable[Link], reason: str) -> None:
    """Leave on purpose: send what is waiting and GOODBYE, and return when all links are closed.

    Who has not taken it after ``limits.STOP_TIMEOUT_S`` is cut off.
    """
    links = list(links)
    for link in links:
        link.send(Goodbye(reason))
        link.close(reason)
    try:
        async with asyncio.timeout(limits.STOP_TIMEOUT_S):
            for link in links:
                await link.closed.wait()
    except TimeoutError:
        pass
    finally:
        for link in links:
            link.abort(reason)
    for link in links:
        await link.closed.wait()


def check_port(port: int) -> None:
    """Raise ``ValueError`` for what is no port: uvloop would take another one, without a word."""
    if not 0 <= port < 1 << 16:
        raise ValueError("a port is a number from 0 to 65535")


def words(error: OSError | ValueError) -> str:
    """What the system says about a failed call, without the event loop's decoration."""
    if isinstance(error, OSError) and not isinstance(error, socket.gaierror) and error.errno:
        return os.strerror(error.errno)
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def address_of(transport: asyncio.BaseTransport, which: str) -> Address:
    """One end of a connection: ``peername`` or ``sockname``."""
    try:
        name = transport.get_extra_info(which)
    except OSError:  # uvloop asks the system, and the peer has gone already
        name = None
    return Address(str(name[0]), int(name[1])) if isinstance(name, tuple) else Address("?", 0)
