"""The controller on a real network: accepts links, feeds the core, carries out its effects."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from pathlib import Path

from lbnet import limits
from lbnet.core import effects, events
from lbnet.core.controller import Controller
from lbnet.core.effects import Effect
from lbnet.core.events import Event
from lbnet.errors import UsageError
from lbnet.net.greeting import MAGIC, Reception, printable
from lbnet.net.link import Link, check_port, say_goodbye, words
from lbnet.net.recorder import Recorder
from lbnet.net.strategy_log import StrategyLog
from lbnet.protocol.messages import PROTOCOL_VERSION, SAID_BY, Goodbye, Hello, Message, Welcome
from lbnet.types import Address, PeerId

_log = logging.getLogger("lbnet.controller")

_ROLES = frozenset({"worker", "client"})

_HINTS = {
    errno.EADDRINUSE: "another program listens there; choose another --port, or 0 for any",
    errno.EACCES: "low ports are kept for the system; choose a --port above 1023, or 0 for any",
}


class ControllerServer:
    """Listens for workers and clients.

    Args:
        controller: the decisions.
        trace: where the run is recorded; it is not if None.
    """

    def __init__(self, controller: Controller, trace: Path | None = None) -> None:
        self._controller = controller
        self._recorder = None if trace is None else Recorder(controller, trace)
        self._decide = controller.handle if self._recorder is None else self._recorder.handle
        self._links: dict[PeerId, Link] = {}
        self._peers: dict[Link, PeerId] = {}
        self._reception = Reception(
            roles=_ROLES, admit=self._admit, on_message=self._on_message, on_closed=self._on_closed, log=_log
        )
        self._strategy_log = StrategyLog(_log)
        self._next_peer = 1
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        self.address = Address("", 0)
        """Where it listens, once it does."""

    async def start(self, host: str, port: int, listening: socket.socket | None = None) -> None:
        """Listen.

        Args:
            host: the interface; all of them if empty.
            port: the port, 0 for any free one.
            listening: a socket that somebody else has bound already, instead of ``host`` and ``port``.

        Raises:
            UsageError: the address cannot be bound, or the trace not be written; the sentence says why.
        """
        loop = asyncio.get_running_loop()
        try:
            if listening is not None:
                self._server = await loop.create_server(self._reception.accept, sock=listening)
            else:
                check_port(port)
                self._server = await loop.create_server(self._reception.accept, host, port, reuse_address=True)
        except (OSError, ValueError) as error:
            hint = _HINTS.get(getattr(error, "errno", None) or 0, "check --host and --port")
            raise UsageError(f"cannot listen on {Address(host, port)} ({words(error)}): {hint}") from None
        name = self._server.sockets[0].getsockname()
        self.address = Address(str(name[0]), int(name[1]))
        if self._recorder is not None:
            self._recorder.open()

    async def stop(self) -> None:
        """Say goodbye to all, and close: within ``limits.STOP_TIMEOUT_S`` no socket is left."""
        self._stopped = True
        if self._server is not None:
            self._server.close()
        if self._timer is not None:
            self._timer.cancel()
        try:
            await asyncio.gather(self._reception.close(), say_goodbye(self._peers, "the controller was stopped"))
        finally:
            if self._recorder is not None:
                self._recorder.close()

    # --- links ----------------------------------------------------------------------------------

    def _admit(self, link: Link, message: Hello) -> str | None:
        if self._next_peer >= limits.PEERS_MAX:
            return "this controller has given out all its ids: start it anew"
        peer = PeerId(self._next_peer)
        self._next_peer += 1
        self._links[peer] = link
        self._peers[link] = peer
        link.greet(SAID_BY[message.role], throttled=message.role == "client")
        link.send(Welcome(MAGIC, PROTOCOL_VERSION, peer, str(self.address)))
        host = link.peer_address.host
        name = printable(message.name) or f"{message.role}-{peer}"
        _log.info("%s %s joined from %s (pid %d)", message.role, name, host, message.pid)
        self._handle(
            events.Joined(
                peer,
                message.role,
                name,
                printable(message.host),
                message.pid,
                message.slots,
                Address(host, message.port),
            )
        )
        return None

    def _on_message(self, link: Link, message: Message) -> None:
        if isinstance(message, Goodbye):
            self._gone(link, f"it left: {printable(message.reason)}", logging.INFO)
            link.abort("it left")
        else:
            self._handle(events.Received(self._peers[link], message))

    def _on_closed(self, link: Link, reason: str) -> None:
        self._gone(link, reason, logging.WARNING)

    def _gone(self, link: Link, reason: str, level: int) -> None:
        peer = self._peers.pop(link, None)
        if peer is not None and not self._stopped:
            del self._links[peer]
            _log.log(level, "peer %d (%s) is gone: %s", peer, link.peer_address, reason)
            self._handle(events.Left(peer, reason))

    # --- the core -------------------------------------------------------------------------------

    def _handle(self, event: Event) -> None:
        for effect in self._decide(event, asyncio.get_running_loop().time()):
            self._perform(effect)
        self._strategy_log.look(self._controller.strategy_error)

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, effects.Send):
            link = self._links.get(effect.to)
            if link is not None:
                link.send(effect.message)
        elif isinstance(effect, effects.Disconnect):
            link = self._links.get(effect.peer)
            if link is not None:
                link.abort(f"it broke the protocol: {effect.reason}")
        elif isinstance(effect, effects.SetTimer):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_at(effect.at, self._handle, events.Tick())
        else:
            raise AssertionError(f"a controller has no {type(effect).__name__}")
