"""A worker on a real network: its link to the controller, its links to other workers, and its slots."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections import deque
from collections.abc import Coroutine

from lbnet import limits
from lbnet.core import effects, events
from lbnet.core.balancer import Load
from lbnet.core.effects import Effect
from lbnet.core.events import Event
from lbnet.core.liveness import Liveness
from lbnet.core.worker import Worker
from lbnet.errors import AccessError, ConnectError, RemoteProtocolError
from lbnet.net.bystander import Bystander
from lbnet.net.door import Door
from lbnet.net.functions import check_function
from lbnet.net.greeting import MAGIC, Reception, connect, hello, printable
from lbnet.net.leaving import undisturbed
from lbnet.net.link import Link, say_goodbye
from lbnet.net.member import Member, NothingThereError
from lbnet.net.strategy_log import StrategyLog
from lbnet.pool.parent import Pool
from lbnet.protocol.messages import (
    PROTOCOL_VERSION,
    SAID_BY,
    Function,
    Goodbye,
    Hello,
    Message,
    Renew,
    Renewed,
    Revoked,
    Welcome,
)
from lbnet.types import CONTROLLER, Address, PeerId

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
        memory_limit_bytes: of each slot, 0 for no limit.
        rejoin_timeout_s: how long it goes on without its controller, and looks for it; 0 for not at all.
        deadline_s: how long its links may be silent, if that is longer than what the controller says.
        member: who it is in its cluster; None: links are not protected.
    """

    def __init__(
        self,
        *,
        slots: int,
        name: str,
        load: Load,
        memory_limit_bytes: int = 0,
        rejoin_timeout_s: float = 0.0,
        deadline_s: float = 0.0,
        member: Member | None = None,
    ) -> None:
        self.name = name
        self._member = member
        self._given_name = name
        self.peer = CONTROLLER
        self._slots = slots
        self._load = load
        self._worker: Worker | None = None
        self._memory_limit_bytes = memory_limit_bytes
        self._rejoin_timeout_s = rejoin_timeout_s
        self._deadline_s = deadline_s
        self._pool = self._new_pool()
        self._controller = Address("", 0)
        self._cluster = b""
        self._port = 0
        self._links: dict[PeerId, Link] = {}
        self._peers: dict[Link, PeerId] = {}
        self._reception = Reception(
            roles=_ROLES,
            admit=self._admit,
            on_message=self._on_message,
            on_closed=self._on_closed,
            log=_log,
            guard=member,
        )
        self._bystander = Bystander(self._peers, self._handle)
        self._connecting: set[asyncio.Task[None]] = set()
        self._rejoining: asyncio.Task[None] | None = None
        self._left: dict[asyncio.Task[None], Pool] = {}
        self._server: Door | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: deque[Event] = deque()
        self._handling = False
        self._strategy_log = StrategyLog(_log)
        self._stopped = False
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Done, with the reason, when the controller is gone for good."""
        self.departed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when this worker has taken leave: it holds nothing any more."""
        self._leaves = False

    async def start(self, controller: Address, timeout_s: float = limits.CONNECT_TIMEOUT_S) -> None:
        """Start the slots and join the cluster. The controller may come later, but not later than ``timeout_s``.

        Raises:
            ConnectError: there is no controller at that address, or it refused us.
        """
        self._controller = controller
        await self._pool.start()
        try:
            await self._join_in_time(controller, timeout_s)
        except ConnectError:
            await undisturbed(self.stop())
            raise
        except BaseException:
            await self.stop()
            raise

    def leave(self, grace_s: float) -> None:
        """Begin to leave: start nothing, hand over what waits; what runs gets so many seconds. Then it has departed."""
        self._leaves = True
        self._handle(events.Leave(grace_s))

    async def stop(self) -> None:
        """End: say goodbye, end the slots, close all links. Takes little more than ``limits.STOP_TIMEOUT_S``.

        When it is cancelled, it ends the slots at once.
        """
        self._stopped = True
        if self._server is not None:
            self._server.close()
        if self._timer is not None:
            self._timer.cancel()
        self._bystander.stop()
        for task in self._connecting:
            task.cancel()
        pools = (self._pool, *self._left.values())  # those that are left are forgotten once nobody waits for them
        try:
            await asyncio.gather(
                self._reception.close(),
                say_goodbye(self._peers, "the worker was stopped"),
                self._pool.stop(),
                *self._left,
            )
            await asyncio.gather(*self._connecting, return_exceptions=True)
        except asyncio.CancelledError:
            for pool in pools:
                pool.kill()
            raise

    # --- joining --------------------------------------------------------------------------------

    async def _join_in_time(self, controller: Address, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        wait_s = limits.RECONNECT_FIRST_S
        while True:
            try:
                return await self._join(controller, until - loop.time())
            except NothingThereError as error:
                if loop.time() + wait_s >= until:
                    raise ConnectError(f"for {timeout_s:g} s, {error}") from None
                if wait_s == limits.RECONNECT_FIRST_S:
                    _log.warning("nothing answers at %s yet: trying for %g s", controller, timeout_s)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, limits.RECONNECT_MAX_S)

    async def _join(self, controller: Address, timeout_s: float) -> None:
        listening: list[socket.socket] = []

        def greeting(link: Link) -> Hello:
            # Other workers reach us where the controller sees us: listen on that interface and no other.
            host = link.own_address.host
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listening.append(socket.create_server((host, 0), family=family))
            self._port = listening[0].getsockname()[1]
            return hello("worker", name=self._given_name, slots=self._slots, port=self._port)

        try:
            await connect(
                controller,
                greeting,
                may_say=_CONTROLLER_SAYS,
                on_welcome=self._on_welcome,
                on_message=self._on_message,
                on_closed=self._on_closed,
                timeout_s=timeout_s,
                member=self._member,
            )
        except BaseException:
            for sock in listening:
                sock.close()
            raise
        self._server = self._reception.listen(listening[0])
        self._renew()

    def _on_welcome(self, link: Link, welcome: Welcome) -> None:
        self.peer = welcome.peer
        self.name = self._given_name or f"worker-{welcome.peer}"
        self._cluster = welcome.cluster
        self._up(link)
        draw = random.Random().random  # noqa: S311 - whom to ask for work is no secret
        liveness = Liveness(welcome.deadline_s, self._deadline_s)
        self._worker = Worker(welcome.peer, self.name, self._slots, self._load, draw, liveness)
        self._bystander.start(liveness.deadline_s)
        self._drain()

    def _up(self, link: Link) -> None:
        """The link to the controller. While too much waits to be sent by it, slots wait with what they make."""
        self._links[CONTROLLER] = link
        self._peers[link] = CONTROLLER
        link.on_behind = self._hold

    def _hold(self, behind: bool) -> None:
        self._pool.hold(behind)

    # --- joining again --------------------------------------------------------------------------

    def _new_pool(self) -> Pool:
        """Slots whose events are heard for as long as they are the ones in use."""

        def heard(event: Event) -> None:
            if pool is self._pool:
                self._handle(event)

        pool = Pool(self._slots, heard, self._memory_limit_bytes)
        return pool

    async def _rejoin(self, reason: str) -> None:
        """Look for the controller, which may have to be started again first. Its tasks go on meanwhile."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._rejoin_timeout_s
        wait_s = limits.RECONNECT_FIRST_S
        _log.warning("the controller is gone (%s): looking for it for %g s", reason, self._rejoin_timeout_s)
        while True:
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, limits.RECONNECT_MAX_S)
            try:
                await connect(
                    self._controller,
                    lambda _: hello(
                        "worker",
                        name=self._given_name,
                        slots=self._slots,
                        port=self._port,
                        peer=self.peer,
                        cluster=self._cluster,
                    ),
                    may_say=_CONTROLLER_SAYS,
                    on_welcome=self._on_welcome_again,
                    on_message=self._on_message,
                    on_closed=self._on_closed,
                    timeout_s=limits.CONNECT_TIMEOUT_S,
                    member=self._member,
                )
            except ConnectError as error:
                if loop.time() < until and not isinstance(error, AccessError):
                    continue
                if not self.lost.done():
                    self.lost.set_result(f"{reason}; and for {self._rejoin_timeout_s:g} s: {error}")
            return

    def _on_welcome_again(self, link: Link, welcome: Welcome) -> None:
        if (welcome.cluster, welcome.peer) == (self._cluster, self.peer):
            _log.info("the controller is back")
            self._up(link)
            assert self._worker is not None, "it has joined before"
            self._worker.liveness.agree(welcome.deadline_s)
            self._bystander.start(self._worker.liveness.deadline_s)
            self._handle(events.Joined(CONTROLLER, "controller", "", "", 0, 0, link.peer_address, back=True))
            return
        if self._leaves:
            self._depart()  # nobody wants what we hold
            return
        _log.warning("the controller began anew, and knows nothing of our work: we begin anew, too")
        for task in self._connecting - {self._rejoining}:
            task.cancel()
        for other in [other for other, at in self._peers.items() if at != CONTROLLER]:
            del self._peers[other]
            other.abort("this worker began anew")
        self._links.clear()
        self._waiting.clear()
        old, self._pool = self._pool, self._new_pool()
        ending = asyncio.get_running_loop().create_task(old.stop())
        self._left[ending] = old
        ending.add_done_callback(self._left.pop)
        self._on_welcome(link, welcome)
        self._start(self._start_slots())

    async def _start_slots(self) -> None:
        """Slots of before and after do not share the cores."""
        while self._left:
            await asyncio.wait(self._left)
        await self._pool.start()

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return task

    # --- links ----------------------------------------------------------------------------------

    def _admit(self, link: Link, message: Hello) -> str | None:
        if message.peer == self.peer:
            return "a worker has no link to itself"
        link.send(Welcome(MAGIC, PROTOCOL_VERSION, self.peer, ""))
        self._add_peer(link, PeerId(message.peer))
        return None

    def _add_peer(self, link: Link, peer: PeerId) -> None:
        """Two workers may connect to each other at the same time: both links stay, the first one is written to.

        It may have been revoked while it said who it is. And nobody takes the place of another.
        """
        there = self._links.get(peer)
        if self._member is not None and link.identity is not None:
            problem = self._member.problem_of(link.identity, "worker")
            if there is not None and there.identity is not None and there.identity.name != link.identity.name:
                problem = f"worker {peer} is somebody else"
            if problem is not None:
                link.abort(problem)
                return
        link.greet(_PEERS_SAY)
        self._peers[link] = peer
        if peer not in self._links:
            self._links[peer] = link
            self._handle(events.Joined(peer, "peer", "", "", 0, 0, link.peer_address))

    def _on_message(self, link: Link, message: Message) -> None:
        if isinstance(message, Goodbye):
            self._gone(link, f"it left: {printable(message.reason)}", logging.INFO, on_purpose=True)
            link.abort("it left")
        elif isinstance(message, Renewed | Revoked):
            self._trust(message)
        else:
            if type(message) is Function:
                check_function(message)
            self._handle(events.Received(self._peers[link], message))

    def _trust(self, message: Renewed | Revoked) -> None:
        """What the controller says of certificates."""
        if self._member is None:
            raise RemoteProtocolError("links are not protected here")
        if isinstance(message, Renewed):
            self._member.renewed(message.certificate)
            return
        self._member.revoke(message.tokens)
        for link, peer in list(self._peers.items()):
            if peer != CONTROLLER and link.identity is not None:
                problem = self._member.problem_of(link.identity, "worker")
                if problem is not None:
                    link.abort(f"its token was revoked: {problem}")

    def _renew(self) -> None:
        """Look now and then whether the certificate grows old."""
        if self._stopped or self._member is None:
            return
        asyncio.get_running_loop().call_later(limits.RENEW_LOOK_S, self._renew)
        link = self._links.get(CONTROLLER)
        public_key = None if link is None else self._member.renewal()
        if link is not None and public_key is not None:
            link.send(Renew(public_key))

    def _on_closed(self, link: Link, reason: str) -> None:
        self._gone(link, reason, logging.WARNING)

    def _gone(self, link: Link, reason: str, level: int, *, on_purpose: bool = False) -> None:
        """The end of one link to a worker is the end of all links to it.

        Work that came on one of them may have been acknowledged on another. If only the second one broke, the donor
        would hear of neither, and keep for ever what nobody holds any more.
        """
        peer = self._peers.pop(link, None)
        if peer is None or self._stopped:
            return
        if peer == CONTROLLER:
            del self._links[CONTROLLER]
            if self._rejoin_timeout_s > 0 and not on_purpose:
                self._handle(events.Left(CONTROLLER, reason))
                self._rejoining = self._start(self._rejoin(reason))
            elif not self.lost.done():
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
            self._start(self._connect(effect.peer, effect.address))
        elif isinstance(effect, effects.Disconnect):
            link = self._links.get(effect.peer)
            if link is not None:
                link.abort(effect.sentence)
        elif isinstance(effect, effects.Depart):
            self._depart()
        elif isinstance(effect, effects.SetTimer):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_at(
                effect.at + limits.TIMER_STEP_S, self._handle, events.Tick()
            )
        else:
            self._pool.execute(effect)

    def _depart(self) -> None:
        if not self.departed.done():
            self.departed.set_result(None)

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
                member=self._member,
                role="worker",
            )
        except ConnectError as error:
            unreachable(str(error))
