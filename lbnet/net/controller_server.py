"""The controller on a real network: accepts links, feeds the core, carries out its effects."""

from __future__ import annotations

import asyncio
import logging
import socket

from lbnet import limits
from lbnet.core import effects, events
from lbnet.core.controller import Controller
from lbnet.core.effects import Effect
from lbnet.core.events import Event
from lbnet.errors import RemoteProtocolError, UsageError
from lbnet.net.greeting import MAGIC, refusal
from lbnet.net.link import Link
from lbnet.protocol.messages import PROTOCOL_VERSION, SAID_BY, Goodbye, Hello, Message, Refused, Welcome
from lbnet.types import Address, PeerId

_log = logging.getLogger("lbnet.controller")

_ROLES = frozenset({"worker", "client"})


class ControllerServer:
    """Listens for workers and clients.

    Args:
        controller: the decisions.
    """

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._links: dict[PeerId, Link] = {}
        self._peers: dict[Link, PeerId] = {}
        self._greeting: dict[Link, asyncio.TimerHandle] = {}
        self._next_peer = 1
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.address = Address("", 0)

    async def start(self, host: str, port: int, listening: socket.socket | None = None) -> None:
        """Listen. ``listening`` is a socket that somebody else has bound already.

        Raises:
            UsageError: the address cannot be bound; the sentence says why.
        """
        loop = asyncio.get_running_loop()
        try:
            if listening is not None:
                self._server = await loop.create_server(self._accept, sock=listening)
            else:
                self._server = await loop.create_server(self._accept, host, port, reuse_address=True)
        except OSError as error:
            hint = "another program listens there; choose another --port, or 0 for any" if port else "check --host"
            raise UsageError(f"cannot listen on {host}:{port} ({error.strerror or error}): {hint}") from None
        name = self._server.sockets[0].getsockname()
        self.address = Address(str(name[0]), int(name[1]))

    async def stop(self) -> None:
        """Say goodbye to all, and close."""
        if self._server is not None:
            self._server.close()
        if self._timer is not None:
            self._timer.cancel()
        for link in list(self._links.values()):
            link.send(Goodbye("the controller was stopped"))
            link.close("the controller was stopped")
        for link, timer in self._greeting.items():
            timer.cancel()
            link.abort("the controller was stopped")
        await asyncio.sleep(0)

    # --- links ----------------------------------------------------------------------------------

    def _accept(self) -> Link:
        return Link(self._on_message, self._on_closed, self._on_open)

    def _on_open(self, link: Link) -> None:
        def expire() -> None:
            link.abort(f"{link.peer_address} connected and said nothing")

        self._greeting[link] = asyncio.get_running_loop().call_later(limits.GREETING_TIMEOUT_S, expire)

    def _on_message(self, link: Link, message: Message) -> None:
        if isinstance(message, Goodbye):
            link.close(f"it left: {message.reason}")
        elif link in self._peers:
            self._handle(events.Received(self._peers[link], message))
        elif isinstance(message, Hello):
            self._on_hello(link, message)
        else:
            raise RemoteProtocolError(f"{type(message).__name__} came before HELLO")

    def _on_hello(self, link: Link, message: Hello) -> None:
        reason = refusal(message, _ROLES)
        if reason is None and self._next_peer >= limits.PEERS_MAX:
            reason = "this controller has given out all its ids: start it anew"
        if reason is not None:
            _log.warning("refused %s: %s", link.peer_address, reason)
            link.send(Refused(reason))
            link.close(reason)
            return
        self._greeting.pop(link).cancel()
        peer = PeerId(self._next_peer)
        self._next_peer += 1
        self._links[peer] = link
        self._peers[link] = peer
        link.greet(SAID_BY[message.role])
        link.send(Welcome(MAGIC, PROTOCOL_VERSION, peer, str(self.address)))
        host = link.peer_address.host
        name = message.name or f"{message.role}-{peer}"
        _log.info("%s %s joined from %s (pid %d)", message.role, name, host, message.pid)
        self._handle(
            events.Joined(
                peer, message.role, name, message.host, message.pid, message.slots, Address(host, message.port)
            )
        )

    def _on_closed(self, link: Link, reason: str) -> None:
        timer = self._greeting.pop(link, None)
        if timer is not None:
            timer.cancel()
            _log.warning("a connection that never joined is gone: %s", reason)
        peer = self._peers.pop(link, None)
        if peer is not None:
            del self._links[peer]
            _log.info("peer %d is gone: %s", peer, reason)
            self._handle(events.Left(peer, reason))

    # --- the core -------------------------------------------------------------------------------

    def _handle(self, event: Event) -> None:
        for effect in self._controller.handle(event, asyncio.get_running_loop().time()):
            self._perform(effect)

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, effects.Send):
            link = self._links.get(effect.to)
            if link is not None:
                link.send(effect.message)
        elif isinstance(effect, effects.Disconnect):
            link = self._links.get(effect.peer)
            if link is not None:
                _log.error("closing the link to peer %d: %s", effect.peer, effect.reason)
                link.abort(effect.reason)
        elif isinstance(effect, effects.SetTimer):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_at(effect.at, self._handle, events.Tick())
        else:
            raise AssertionError(f"a controller has no {type(effect).__name__}")
