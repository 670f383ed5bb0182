"""A connection that was just accepted, until it is known whose it is: TLS first, and nothing is read before.

Whoever shows a certificate goes on to a :class:`~lbnet.net.link.Link`. A stranger may ask for one, where the guard of
the door can give it, by a request of fixed length. It must not know what is said on links.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Protocol, cast

from lbnet import limits
from lbnet.errors import UsageError
from lbnet.net.gate import Entrance
from lbnet.net.link import Link
from lbnet.security import entry
from lbnet.security.authority import Identity
from lbnet.security.links import peer_of
from lbnet.types import Address


class Guard(Protocol):
    """Who decides about peers at a door."""

    @property
    def context(self) -> ssl.SSLContext:
        """How links that come are protected."""

    def problem_of(self, identity: Identity, role: str) -> str | None:
        """Why somebody with this certificate is not let in as ``role``, if so."""


class Giver(Guard, Protocol):
    """A guard that gives certificates to strangers."""

    def offer(self) -> bytes:
        """What a stranger is told first."""

    def request(self, data: bytes) -> Entrance:
        """A stranger asks for a certificate."""


class Knock(asyncio.Protocol):
    """One connection, before it is anybody's link.

    Args:
        sock: the connection, just accepted.
        guard: of the door.
        giver: the same, if it gives certificates.
        known: called with whose certificate was shown; returns the link that takes the connection over.
        gone: called once, with a reason, when nobody was let in. The reason is empty if a certificate was given.
    """

    def __init__(
        self,
        sock: socket.socket,
        guard: Guard,
        giver: Giver | None,
        known: Callable[[Knock, Identity], Link],
        gone: Callable[[Knock, str], None],
    ) -> None:
        self._guard = guard
        self._giver = giver
        self._known = known
        self._gone = gone
        self._transport: asyncio.Transport | None = None
        self._request = bytearray()
        self._over = False
        self._verdict: str | None = None
        self.peer_address = peer_address(sock)
        self.closed = asyncio.Event()
        self._protecting = asyncio.get_running_loop().create_task(self._protect(sock))

    async def _protect(self, sock: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self, sock, ssl=self._guard.context, ssl_handshake_timeout=limits.GREETING_TIMEOUT_S
            )
        except (OSError, UsageError) as error:  # TLS errors are OSErrors
            self.abort(_words(error))
        finally:
            if self._transport is None:
                sock.close()

    def abort(self, reason: str) -> None:
        """Close now. Somebody who has had an answer, and does not close its end, counts until then."""
        if self._over:
            return
        self._over = True
        if self._verdict is not None:
            reason = self._verdict
        if self._transport is not None:
            self._transport.abort()
        elif self._protecting is not asyncio.current_task():
            self._protecting.cancel()
        self.closed.set()
        self._gone(self, reason)

    # --- asyncio.Protocol: the connection is protected ------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TLS is done: whoever it is has shown a certificate of the cluster, or none."""
        self._transport = safe = cast("asyncio.Transport", transport)
        if self._over:
            safe.abort()
            return
        try:
            identity = peer_of(safe.get_extra_info("ssl_object"))
        except UsageError as error:
            self.abort(str(error))
            return
        if identity is not None:
            self._over = True
            link = self._known(self, identity)
            safe.set_protocol(link)
            link.connection_made(safe)
            self.closed.set()
        elif self._giver is None:
            self.abort("it showed no certificate")
        else:
            safe.write(self._giver.offer())

    def data_received(self, data: bytes) -> None:
        """A stranger asks for a certificate."""
        if self._over or self._verdict is not None:
            return
        self._request += data
        if len(self._request) < entry.REQUEST_BYTES:
            return
        if len(self._request) > entry.REQUEST_BYTES:
            self.abort("it said more than a request")
            return
        assert self._giver is not None
        assert self._transport is not None
        entrance = self._giver.request(bytes(self._request))
        self._verdict = entrance.refused and f"it was refused: {entrance.refused}"
        self._transport.write(entrance.answer)
        self._transport.close()

    def eof_received(self) -> None:
        """The peer has closed its end."""
        self.abort("it closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self.abort(f"the connection broke: {exc}" if exc else "it closed the connection")


class Door:
    """Sockets that listen: it accepts what comes, and hands each connection on at once.

    Args:
        listening: sockets that are bound.
        came: called with each connection.
    """

    def __init__(self, listening: Iterable[socket.socket], came: Callable[[socket.socket], None]) -> None:
        self.sockets = list(listening)
        self._came = came
        self._resting: asyncio.TimerHandle | None = None
        for sock in self.sockets:
            sock.setblocking(False)
            sock.listen(_BACKLOG)
        self._listen()

    def close(self) -> None:
        """Accept nobody any more."""
        if self._resting is not None:
            self._resting.cancel()
        for sock in self.sockets:
            if sock.fileno() >= 0:
                asyncio.get_running_loop().remove_reader(sock)
                sock.close()

    def _listen(self) -> None:
        self._resting = None
        for sock in self.sockets:
            asyncio.get_running_loop().add_reader(sock, self._accept, sock)

    def _accept(self, sock: socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connection, _ = sock.accept()
            except (BlockingIOError, ConnectionError, InterruptedError):
                return
            except OSError:
                # No descriptors are left: those who wait in the queue are taken when there are some again.
                for each in self.sockets:
                    asyncio.get_running_loop().remove_reader(each)
                self._resting = asyncio.get_running_loop().call_later(_REST_S, self._listen)
                return
            connection.setblocking(False)
            self._came(connection)


def peer_address(sock: socket.socket) -> Address:
    """Who is at the other end; unknown if it has gone already."""
    try:
        name = sock.getpeername()
    except OSError:
        return Address("?", 0)
    return Address(str(name[0]), int(name[1])) if isinstance(name, tuple) and len(name) > 1 else Address("?", 0)


_BACKLOG = 1_024
_ACCEPTED_AT_ONCE = 64
_REST_S = 0.1


def _words(error: Exception) -> str:
    reason = str(getattr(error, "reason", "") or "")
    if reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNEXPECTED_MESSAGE", "BAD_RECORD_TYPE", "RECORD_TOO_SMALL"}:
        return "it does not speak TLS: perhaps it was started with --insecure"
    if reason in {"UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW"}:
        return "it speaks no TLS 1.3"
    if "CERTIFICATE" in reason or "ALERT" in reason or "UNKNOWN_CA" in reason:
        why = getattr(error, "verify_message", "") or reason.lower().replace("_", " ")
        return f"a certificate was not accepted: {why}"
    if isinstance(error, UsageError):
        return str(error)
    return f"it did not come to TLS: {reason or error}"
