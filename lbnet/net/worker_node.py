"""A worker on a real network: its link to the controller, its links to other workers, and its slots."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections import deque

from lbnet import limits
from lbnet.core import effects, events
from lbnet.core.balancer import Load
from lbnet.core.effects import Effect
from lbnet.core.events import Event
from lbnet.core.worker import Worker
from lbnet.errors import ConnectError
from lbnet.net.greeting import MAGIC, Reception, connect, hello, printable
from lbnet.net.leaving import undisturbed
from lbnet.net.link import Link, say_goodbye
from lbnet.net.strategy_log import StrategyLog
from lbnet.pool.parent import Pool
from lbnet.protocol.messages import PROTOCOL_VERSION, SAID_BY, Goodbye, Hello, Message, Welcome
from lbnet.types import CONTROLLER, Address, PeerId, SlotId

_log = logging.getLogger("lbnet.worker")

_CONTROLLER_SAYS = SAID_BY["controller-to-worker"]
_PEERS_SAY = SAID_BY["peer"]
_ROLES = frozenset({"peer"})


class WorkerNode:
    """One worker.

    Args:
        slots: compute processes.
        name: for people; the host and process id if empty.
        load: makes the load-balancing strategy of a name; the controller says which.
    """

    def __init__(self, *, slots: int, name: str, load: Load) -> None:
        self.name = name
        self.peer = CONTROLLER
        self._slots = slots
        self._load = load
        self._worker: Worker | None = None
        self._pool = Pool(slots, self._handle)
        self._links: dict[PeerId, Link] = {}
        self._peers: dict[Link, PeerId] = {}
        self._reception = Reception(
            roles=_ROLES, admit=self._admit, on_message=self._on_message, on_closed=self._on_closed, log=_log
        )
        self._connecting: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: deque[Event] = deque()
        self._handling = False
        self._strategy_log = StrategyLog(_log)
        self._stopped = False
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
        except ConnectError:
            await undisturbed(self.stop())
            raise
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Leave: say goodbye, end the slots, close all links. Takes little more than ``limits.STOP_TIMEOUT_S``.

        When it is cancelled, it ends the slots at once.
        """
        self._stopped = True
        if self._server is not None:
            self._server.close()
        if self._timer is not None:
            self._timer.cancel()
        for task in self._connecting:
            task.cancel()
        try:
            await asyncio.gather(
                self._reception.close(), say_goodbye(self._peers, "the worker was stopped"), self._pool.stop()
            )
            await asyncio.gather(*self._connecting, return_exceptions=True)
        except asyncio.CancelledError:
            for slot in range(self._slots):
                self._pool.execute(effects.Kill(SlotId(slot)))
            raise

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
        self._server = await asyncio.get_running_loop().create_server(self._reception.accept, sock=listening[0])

    def _on_welcome(self, link: Link, welcome: Welcome) -> None:
        self.peer = welcome.peer
        self.name = self.name or f"worker-{welcome.peer}"
        self._links[CONTROLLER] = link
        self._peers[link] = CONTROLLER
        draw = random.Random().random  # noqa: S311 - whom to ask for work is no secret
        self._worker = Worker(welcome.peer, self.name, self._slots, self._load, draw)
        self._drain()

    # --- links ----------------------------------------------------------------------------------

    def _admit(self, link: Link, message: Hello) -> str | None:
        if message.peer == self.peer:
            return "a worker has no link to itself"
        link.send(Welcome(MAGIC, PROTOCOL_VERSION, self.peer, ""))
        self._add_peer(link, PeerId(message.peer))
        return None

    def _add_peer(self, link: Link, peer: PeerId) -> None:
        """Two workers may connect to each other at the same time: both links stay, the first one is written to."""
        link.greet(_PEERS_SAY)
        self._peers[link] = peer
        if peer not in self._links:
            self._links[peer] = link
            self._handle(events.Joined(peer, "peer", "", "", 0, 0, link.peer_address))

    def _on_message(self, link: Link, message: Message) -> None:
        if isinstance(message, Goodbye):
            self._gone(link, f"it left: {printable(message.reason)}", logging.INFO)
            link.abort("it left")
        else:
            self._handle(events.Received(self._peers[link], message))

    def _on_closed(self, link: Link, reason: str) -> None:
        self._gone(link, reason, logging.WARNING)

    def _gone(self, link: Link, reason: str, level: int) -> None:
        """The end of one link to a worker is the end of all links to it.

        Work that came on one of them may have been acknowledged on another. If only the second one broke, the donor
        would hear of neither, and keep for ever what nobody holds any more.
        """
        peer = self._peers.pop(link, None)
        if peer is None or self._stopped:
            return
        if peer == CONTROLLER:
            if not self.lost.done():
                self.lost.set_result(reason)
            return
        del self._links[peer]
        for other in [other for other, at in self._peers.items() if at == peer]:
            del self._peers[other]
            other.abort("another link to this worker ended")
        _log.log(level, "the link to worker %d (%s) is gone: %s", peer, link.peer_address, reason)
        self._handle(events.Left(peer, reason))

    # --- the core -------------------------------------------------------------------------------

    def _handle(self, event: Event) -> None:
        self._waiting.append(event)
        self._drain()

    def _drain(self) -> None:
        """Handle events in order; those that effects produce at once come after all effects of the first."""
        if self._handling or self._stopped or self._worker is None:
            return
        self._handling = True
        try:
            now = asyncio.get_running_loop().time()
            while self._waiting:
                for effect in self._worker.handle(self._waiting.popleft(), now):
                    self._perform(effect)
            self._strategy_log.look(self._worker.strategy_error)
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
                link.abort(f"it broke the protocol: {effect.reason}")
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

        def unreachable(reason: str) -> None:
            _log.warning("no direct link to worker %d; its work goes through the controller: %s", peer, reason)
            self._handle(events.Unreachable(peer, reason))

        def on_welcome(link: Link, welcome: Welcome) -> None:
            if welcome.peer == peer:
                self._add_peer(link, peer)
            else:
                link.abort("another worker answers at this address")
                unreachable(f"worker {welcome.peer} answers at {address}")

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
            unreachable(str(error))
