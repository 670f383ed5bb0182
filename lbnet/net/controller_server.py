"""The controller on a real network: accepts links, feeds the core, carries out its effects."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import hmac
import logging
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lbnet import limits
from lbnet.core import effects, events
from lbnet.core.controller import Controller
from lbnet.core.effects import Effect
from lbnet.core.events import Event
from lbnet.errors import JournalError, RemoteProtocolError, UsageError
from lbnet.journal.journal import Journal
from lbnet.journal.store import CLUSTER_BYTES, Addition
from lbnet.net.bystander import Bystander
from lbnet.net.door import Door
from lbnet.net.functions import check_function
from lbnet.net.gate import Gate
from lbnet.net.greeting import MAGIC, Reception, printable
from lbnet.net.link import Link, check_port, say_goodbye, words
from lbnet.net.recorder import Recorder
from lbnet.net.restored import state_of
from lbnet.net.strategy_log import StrategyLog
from lbnet.protocol.messages import (
    PROTOCOL_VERSION,
    SAID_BY,
    Ask,
    Function,
    Goodbye,
    Hello,
    Message,
    Notice,
    Renew,
    Renewed,
    Revoked,
    Submit,
    Welcome,
)
from lbnet.protocol.records import decode_outcome, encode, taken_by
from lbnet.types import CONTROLLER, Address, PeerId

_log = logging.getLogger("lbnet.controller")

_PEERS_RESERVED = 64
"""Ids that are written down as given at once."""

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
        journal: where what happens to jobs is kept; the controller has been restored from it.
        gate: who is let in; None: anybody, and links are not protected.
    """

    def __init__(
        self,
        controller: Controller,
        trace: Path | None = None,
        journal: Journal | None = None,
        gate: Gate | None = None,
    ) -> None:
        self._controller = controller
        self._journal = journal
        self._cluster = secrets.token_bytes(CLUSTER_BYTES) if journal is None else journal.cluster
        self._unread: frozenset[str] = frozenset()
        self._stuffed: set[Link] = set()
        self._fresh_inputs_bytes = 0
        self._failing = False
        self._recorder = None if trace is None else Recorder(controller, trace)
        self._decide = controller.handle if self._recorder is None else self._recorder.handle
        self._links: dict[PeerId, Link] = {}
        self._peers: dict[Link, PeerId] = {}
        self._heard: dict[Link, int] = {}
        self._gate = gate
        self._revoked: tuple[str, ...] = () if gate is None else gate.revoked()
        self._reception = Reception(
            roles=_ROLES,
            admit=self._admit,
            on_message=self._on_message,
            on_closed=self._on_closed,
            log=_log,
            guard=gate,
            giver=gate,
        )
        self._bystander = Bystander(self._peers, self._handle)
        self._strategy_log = StrategyLog(_log)
        self._fresh = range(1, limits.PEERS_MAX) if journal is None else range(0)
        self._server: Door | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        self.address = Address("", 0)
        """Where it listens, once it does."""

    async def start(
        self,
        host: str,
        port: int,
        listening: socket.socket | None = None,
        on_bound: Callable[[Address], object] = lambda _: None,
    ) -> None:
        """Listen.

        Args:
            host: the interface; all of them if empty.
            port: the port, 0 for any free one.
            listening: a socket that somebody else has bound already, instead of ``host`` and ``port``.
            on_bound: called with the address before anybody is let in.

        Raises:
            UsageError: the address cannot be bound, or the trace not be written; the sentence says why.
            JournalError: the journal cannot be written.
        """
        loop = asyncio.get_running_loop()
        if self._journal is not None:
            self._reserve_peers(self._journal)
        try:
            sockets = [listening] if listening is not None else _bound_to(host, port)
        except (OSError, ValueError) as error:
            raise _cannot_listen(Address(host, port), error) from None
        name = sockets[0].getsockname()
        self.address = Address(str(name[0]), int(name[1]))
        try:
            on_bound(self.address)
        except BaseException:
            for sock in sockets:
                sock.close()
            raise
        self._server = self._reception.listen(*sockets)
        self._bystander.start(self._controller.deadline_s)
        loop.call_later(limits.REVOKED_LOOK_S, self._look_at_peers, loop.time())
        if self._recorder is not None:
            self._recorder.open()
        if self._journal is not None:
            self._journal.start(
                lambda count: _soon(loop, self._on_persisted, count), lambda error: _soon(loop, self._on_failed, error)
            )
            loop.call_later(limits.REJOIN_GRACE_S, self._miss, self._journal)
            self._handle(events.Tick())

    async def stop(self) -> None:
        """Say goodbye to all, and close: within ``limits.STOP_TIMEOUT_S`` no socket is left."""
        self._stopped = True
        if self._server is not None:
            self._server.close()
        if self._timer is not None:
            self._timer.cancel()
        self._bystander.stop()
        try:
            await asyncio.gather(self._reception.close(), say_goodbye(self._peers, "the controller was stopped"))
        finally:
            if self._recorder is not None:
                self._recorder.close()
            if self._journal is not None:
                self._journal.roster.nobody()
                if not self._journal.close(limits.STOP_TIMEOUT_S / 2):
                    _log.error("not all of the last results could be kept: their tasks will run again")

    # --- links ----------------------------------------------------------------------------------

    def _admit(self, link: Link, message: Hello) -> str | None:
        # An id beyond those that were given is of a later state than ours, such as one that a copy has replaced.
        back = CONTROLLER < message.peer < self._fresh.start and hmac.compare_digest(
            message.cluster, pass_of(self._cluster, PeerId(message.peer))
        )
        if back:
            peer = PeerId(message.peer)
            old = self._links.get(peer)
            if old is not None:  # it knows better than we do that this link is dead
                self._gone(old, "it came back by another link", logging.INFO)
                old.abort("its peer came back by another link")
        else:
            try:
                fresh = self._next_peer()
            except JournalError as error:
                return str(error)
            if fresh is None:
                return "this controller has given out all its ids: start it anew, with another --state-dir"
            peer = fresh
        self._links[peer] = link
        self._peers[link] = peer
        link.greet(SAID_BY[message.role], throttled=message.role == "client")
        self._hold(link)
        deadline_s = self._controller.deadline_s
        link.send(Welcome(MAGIC, PROTOCOL_VERSION, peer, str(self.address), pass_of(self._cluster, peer), deadline_s))
        if self._revoked and message.role == "worker":
            link.send(Revoked(self._revoked))
        if self._journal is not None and message.role == "worker":
            self._journal.roster.came(peer)  # before it gets any work, or that would be missed too early
        host = link.peer_address.host
        name = printable(message.name) or f"{message.role}-{peer}"
        came = "came back" if back else "joined"
        _log.info("%s %s %s from %s (pid %d)", message.role, name, came, host, message.pid)
        self._handle(
            events.Joined(
                peer,
                message.role,
                name,
                printable(message.host),
                message.pid,
                message.slots,
                Address(host, message.port),
                back,
            )
        )
        return None

    def _look_at_peers(self, before: float) -> None:
        """Now and then: who has no business here any more?"""
        if self._stopped:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        loop.call_later(limits.REVOKED_LOOK_S, self._look_at_peers, now)
        if self._gate is not None:
            self._look_at_tokens(self._gate)
        most = limits.CHATTER_PER_S * max(now - before, limits.REVOKED_LOOK_S)
        for link in list(self._peers):
            if not link.throttled and link.heard - self._heard.get(link, 0) > most:
                link.abort(f"it says more than {limits.CHATTER_PER_S:,} messages a second")
        self._heard = {link: link.heard for link in self._peers}

    def _look_at_tokens(self, gate: Gate) -> None:
        """Who came in with a token that was revoked since is sent away, and workers hear of it."""
        revoked = gate.revoked()
        if revoked == self._revoked:
            return
        self._revoked = revoked
        for link in list(self._peers):
            if link.identity is not None and link.identity.token in revoked:
                link.abort(f"the token {link.identity.token}, which it came in with, was revoked")
            elif not link.throttled:
                link.send(Revoked(revoked))

    def _renew(self, link: Link, message: Renew) -> None:
        if self._gate is None or link.identity is None:
            raise RemoteProtocolError("no certificate is needed here")
        try:
            link.send(Renewed(self._gate.renew(link.identity, message.public_key)))
        except UsageError as error:
            raise RemoteProtocolError(f"no certificate can be issued: {error}") from None

    def _next_peer(self) -> PeerId | None:
        """An id that nobody had before, None if there is none left."""
        if not self._fresh and self._journal is not None:
            self._reserve_peers(self._journal)
        if not self._fresh:
            return None
        peer, self._fresh = self._fresh[0], self._fresh[1:]
        return PeerId(peer)

    def _reserve_peers(self, journal: Journal) -> None:
        first = min(journal.reserve_peers(_PEERS_RESERVED), limits.PEERS_MAX)
        self._fresh = range(first, min(first + _PEERS_RESERVED, limits.PEERS_MAX))

    def _on_message(self, link: Link, message: Message) -> None:
        if isinstance(message, Goodbye):
            self._gone(link, f"it left: {printable(message.reason)}", logging.INFO, on_purpose=True)
            link.abort("it left")
            return
        if isinstance(message, Renew):
            self._renew(link, message)
            return
        if isinstance(message, Ask):
            self._controller.journal = state_of(self._journal)
        if type(message) is Function:
            check_function(message)
        self._handle(events.Received(self._peers[link], message))
        if isinstance(message, Submit):
            self._look_at_inputs(link, len(message.batch.payload.data))

    def _look_at_inputs(self, link: Link, size_bytes: int) -> None:
        """A client that submits faster than tasks end is not read until half of what waits has ended."""
        self._fresh_inputs_bytes += size_bytes
        if self._fresh_inputs_bytes < limits.INPUTS_LOOK_BYTES:
            return
        self._fresh_inputs_bytes = 0
        held = self._controller.input_bytes
        if held > limits.INPUTS_BYTES_MAX and link in self._peers:
            self._stuffed.add(link)
            self._hold(link)
            text = f"{held / 1e6:,.0f} MB of inputs wait for their tasks: more are read when half of them have ended"
            _log.info("client %d: %s", self._peers[link], text)
            link.send(Notice(text))

    def _hold(self, link: Link) -> None:
        """Read nothing from a peer, or read on."""
        link.hold(("client" if link.throttled else "worker") in self._unread or link in self._stuffed)

    def _on_closed(self, link: Link, reason: str) -> None:
        self._gone(link, reason, logging.WARNING)

    def _gone(self, link: Link, reason: str, level: int, *, on_purpose: bool = False) -> None:
        peer = self._peers.pop(link, None)
        self._stuffed.discard(link)
        if peer is not None and not self._stopped:
            del self._links[peer]
            _log.log(level, "peer %d (%s) is gone: %s", peer, link.peer_address, reason)
            if self._journal is not None:
                self._journal.roster.left(peer)
            self._handle(events.Left(peer, reason, on_purpose))

    def _miss(self, journal: Journal) -> None:
        """Workers of before that are not back by now are not waited for once more, by yet another controller."""
        if not self._stopped:
            for peer in journal.roster.there - self._links.keys():
                journal.roster.left(peer)

    # --- the journal ----------------------------------------------------------------------------

    def _persist(self, effect: effects.Persist) -> None:
        assert self._journal is not None, "a controller without a journal keeps nothing"
        addition = Addition(
            effect.job,
            tuple(encode(record) for record in effect.records),
            effect.whole,
            effect.aside_from,
            tuple(encode(outcome) for outcome in effect.aside),
            max(map(taken_by, effect.records), default=0),
        )
        self._journal.append(addition, urgent=effect.urgent)
        self._hold_peers()

    def _fetch(self, effect: effects.Fetch) -> None:
        assert self._journal is not None, "nothing is set aside without one"
        loop = asyncio.get_running_loop()

        def got(bodies: list[bytes], problem: str) -> None:
            try:
                outcomes = tuple(decode_outcome(body) for body in bodies)
            except RemoteProtocolError as error:
                outcomes, problem = (), str(error)
            _soon(loop, self._on_fetched, events.Fetched(effect.job, effect.begin, outcomes, problem))

        self._journal.fetch(effect.job, effect.begin, effect.end, got)

    def _on_fetched(self, event: events.Fetched) -> None:
        if event.problem:
            _log.error("results of job %d cannot be read: %s", event.job, event.problem)
        if not self._stopped:
            self._handle(event)

    def _on_failed(self, error: JournalError) -> None:
        self._failing = True
        _log.error("%s", error)
        if not self._stopped:
            self._handle(events.Trouble(str(error)))

    def _on_persisted(self, count: int) -> None:
        if self._failing:
            self._failing = False
            text = "the journal can be written again: what waited for it goes on"
            _log.warning("%s", text)
            if not self._stopped:
                self._handle(events.Trouble(text, over=True))
        if not self._stopped:
            self._hold_peers()
            self._handle(events.Persisted(count))

    def _hold_peers(self) -> None:
        """While too much waits for the disk, clients are not read, and at last workers are not."""
        assert self._journal is not None, "who asks has one"
        pending = self._journal.pending_bytes
        unread = frozenset(
            role
            for role, most in (("client", limits.JOURNAL_PENDING_BYTES), ("worker", limits.JOURNAL_PENDING_BYTES_MAX))
            if pending > (most // 2 if role in self._unread else most)
        )
        if unread != self._unread:
            self._unread = unread
            for link in self._peers:
                self._hold(link)

    # --- the core -------------------------------------------------------------------------------

    def _handle(self, event: Event) -> None:
        for effect in self._decide(event, asyncio.get_running_loop().time()):
            self._perform(effect)
        if self._stuffed and self._controller.input_bytes < limits.INPUTS_BYTES_MAX // 2:
            stuffed, self._stuffed = self._stuffed, set()
            for link in stuffed:
                self._hold(link)
        self._strategy_log.look(self._controller.strategy_error)

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, effects.Send):
            link = self._links.get(effect.to)
            if link is not None:
                link.send(effect.message)
        elif isinstance(effect, effects.Persist):
            self._persist(effect)
        elif isinstance(effect, effects.Fetch):
            self._fetch(effect)
        elif isinstance(effect, effects.Disconnect):
            link = self._links.get(effect.peer)
            if link is not None:
                link.abort(effect.sentence)
        elif isinstance(effect, effects.SetTimer):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_at(
                effect.at + limits.TIMER_STEP_S, self._handle, events.Tick()
            )
        else:
            raise AssertionError(f"a controller has no {type(effect).__name__}")


def pass_of(cluster: bytes, peer: PeerId) -> bytes:
    """What somebody must show to be known by an id again: only it is told, and it outlives the controller's process."""
    return hmac.digest(cluster, int(peer).to_bytes(8), hashlib.sha256)[:CLUSTER_BYTES]


def _bound_to(host: str, port: int) -> list[socket.socket]:
    """Sockets at all addresses that ``host`` stands for, and at one port."""
    check_port(port)
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, name in socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            at = sockets[0].getsockname()[1] if sockets else name[1]
            sockets.append(socket.create_server((name[0], at, *name[2:]), family=family))
    except OSError as error:
        # A machine may have a name for a kind of address that it cannot use.
        if sockets and error.errno in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
            return sockets
        for sock in sockets:
            sock.close()
        raise
    return sockets


def bound(host: str) -> socket.socket:
    """A socket that listens on an interface, at a port that nobody had.

    Raises:
        UsageError: there is no such interface here; the sentence says why.
    """
    try:
        family, _, _, _, name = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(name, family=family)
    except (OSError, ValueError) as error:
        raise _cannot_listen(Address(host, 0), error) from None


def _cannot_listen(address: Address, error: OSError | ValueError) -> UsageError:
    hint = _HINTS.get(getattr(error, "errno", None) or 0, "check --host and --port")
    return UsageError(f"cannot listen on {address} ({words(error)}): {hint}")


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[..., object], argument: object) -> None:
    """From the journal's thread; a loop that has ended wants to hear nothing."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(call, argument)
