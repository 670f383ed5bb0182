"""A worker on a real network: its link to the controller, its links to other workers, and its slots."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque

from lbnet import limits
from lbnet.core import effects, events
from lbnet.core.effects import Effect
from lbnet.core.events import Event
from lbnet.core.worker import Worker
from lbnet.errors import ConnectError, RemoteProtocolError
from lbnet.net.greeting import MAGIC, connect, hello, refusal
from lbnet.net.link import Link
from lbnet.pool.parent import Pool
from lbnet.protocol.messages import PROTOCOL_VERSION, SAID_BY, Goodbye, Hello, Message, Refused, Welcome
from lbnet.strategies.base import Strategy
from lbnet.types import CONTROLLER, Address, PeerId

_log = logging.getLogger("lbnet.worker")

_CONTROLLER_SAYS = SAID_BY["controller-to-worker"]
_PEERS_SAY = SAID_BY["peer"]


class WorkerNode:
    """One worker.

    Args:
        slots: compute processes.
        name: for people; the host and process id if empty.
        strategy: makes the worker's half of the load-balancing step.
    """

    def __init__(self, *, slots: int, name: str, strategy: Strategy) -> None:
        self.name = name
        self.peer = CONTROLLER
        self._slots = slots
        self._strategy = strategy
        self._worker: Worker | None = None
        self._pool = Pool(slots, self._handle)
        self._links: dict[PeerId, Link] = {}
        self._peers: dict[Link, PeerId] = {}
        self._greeting: dict[Link, asyncio.TimerHandle] = {}
        self._connecting: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: deque[Event] = deque()
        self._handling = False
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Done, with the reason, when the controller is gone."""

    async def start(self, controller: Address, timeout_s: float = limits.CONNECT_TIMEOUT_S) -> None:
        """Start the slots and join the cluster.

        Raises:
            ConnectError: there is no controller at that address, or it refused us.
        """
        await self._pool.start()
        try:
            await self._join(controller, timeout_s)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Leave: say goodbye, end the slots, close all links."""
        if self._server is not None:
            self._server.close()
        if self._timer is not None:
            self._timer.cancel()
        for task in self._connecting:
            task.cancel()
        for link in list(self._links.values()):
            link.send(Goodbye("the worker was stopped"))
            link.close("the worker was stopped")
        for link, timer in list(self._greeting.items()):
            timer.cancel()
            link.abort("the worker was stopped")
        await self._pool.stop()

    # --- joining --------------------------------------------------------------------------------

    async def _join(self, controller: Address, timeout_s: float) -> None:
        listening: list[socket.socket] = []

        def greeting(link: Link) -> Hello:
            # Other workers reach us where the controller sees us: listen on that interface and no other.
            host = link.own_address.host
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listening.append(socket.create_server((host, 0), family=family))
            return hello("worker", name=self.name, slots=self._slots, port=listening[0].getsockname()[1])

        try:
            await connect(
                controller,
                greeting,
                may_say=_CONTROLLER_SAYS,
                on_welcome=self._on_welcome,
                on_message=self._on_message,
                on_closed=self._on_closed,
                timeout_s=timeout_s,
            )
        except BaseException:
            for sock in listening:
                sock.close()
            raise
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Link(self._on_message, self._on_closed, self._on_open), sock=listening[0]
        )

    def _on_welcome(self, link: Link, welcome: Welcome) -> None:
        self.peer = welcome.peer
        self.name = self.name or f"worker-{welcome.peer}"
        self._links[CONTROLLER] = link
        self._peers[link] = CONTROLLER
        self._worker = Worker(welcome.peer, self.name, self._slots, self._strategy.worker())
        self._drain()

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
        reason = refusal(message, frozenset({"peer"}))
        if reason is None and self.peer == CONTROLLER:
            reason = "this worker has not joined yet"
        if reason is not None:
            link.send(Refused(reason))
            link.close(reason)
            return
        self._greeting.pop(link).cancel()
        link.send(Welcome(MAGIC, PROTOCOL_VERSION, self.peer, ""))
        self._add_peer(link, PeerId(message.peer))

    def _add_peer(self, link: Link, peer: PeerId) -> None:
        """Two workers may connect to each other at the same time: both links stay, the first one is written to."""
        link.greet(_PEERS_SAY)
        self._peers[link] = peer
        if peer not in self._links:
            self._links[peer] = link
            self._handle(events.Joined(peer, "peer", "", "", 0, 0, link.peer_address))

    def _on_closed(self, link: Link, reason: str) -> None:
        timer = self._greeting.pop(link, None)
        if timer is not None:
            timer.cancel()
        peer = self._peers.pop(link, None)
        if peer is None:
            return
        if peer == CONTROLLER:
            if not self.lost.done():
                self.lost.set_result(reason)
            return
        if self._links.get(peer) is link:
            del self._links[peer]
            self._handle(events.Left(peer, reason))
            other = next((link for link, at in self._peers.items() if at == peer), None)
            if other is not None:
                self._links[peer] = other
                self._handle(events.Joined(peer, "peer", "", "", 0, 0, other.peer_address))

    # --- the core -------------------------------------------------------------------------------

    def _handle(self, event: Event) -> None:
        self._waiting.append(event)
        self._drain()

    def _drain(self) -> None:
        """Handle events in order; those that effects produce at once come after all effects of the first."""
        if self._handling or self._worker is None:
            return
        self._handling = True
        try:
            now = asyncio.get_running_loop().time()
            while self._waiting:
                for effect in self._worker.handle(self._waiting.popleft(), now):
                    self._perform(effect)
        finally:
            self._handling = False

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, effects.Send):
            link = self._links.get(effect.to)
            if link is not None:
                link.send(effect.message)
        elif isinstance(effect, effects.Connect):
            task = asyncio.get_running_loop().create_task(self._connect(effect.peer, effect.address))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)
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
            self._pool.execute(effect)

    async def _connect(self, peer: PeerId, address: Address) -> None:
        if peer in self._links:
            self._handle(events.Joined(peer, "peer", "", "", 0, 0, address))
            return

        def on_welcome(link: Link, welcome: Welcome) -> None:
            if welcome.peer == peer:
                self._add_peer(link, peer)
            else:
                link.abort("another worker answers at this address")
                self._handle(events.Unreachable(peer, f"worker {welcome.peer} answers at {address}"))

        try:
            await connect(
                address,
                lambda _: hello("peer", name=self.name, peer=self.peer),
                may_say=_PEERS_SAY,
                on_welcome=on_welcome,
                on_message=self._on_message,
                on_closed=self._on_closed,
                timeout_s=limits.PEER_CONNECT_TIMEOUT_S,
                what="an lbnet worker",
            )
        except ConnectError as error:
            _log.warning("no direct link to worker %d; its work goes through the controller: %s", peer, error)
            self._handle(events.Unreachable(peer, str(error)))
