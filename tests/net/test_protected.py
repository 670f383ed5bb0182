"""Protected links on a real network: who comes in, with what, and what is said to who does not."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lbnet import limits
from lbnet.client.connection import Connection
from lbnet.core.controller import Controller
from lbnet.errors import AccessError, ConnectError
from lbnet.net import gate as gate_module
from lbnet.net import member as member_module
from lbnet.net.controller_server import ControllerServer
from lbnet.net.gate import Gate
from lbnet.net.greeting import connect, hello
from lbnet.net.link import Link
from lbnet.net.member import Member
from lbnet.net.worker_node import WorkerNode
from lbnet.protocol.messages import (
    PROTOCOL_VERSION,
    SAID_BY,
    Message,
    Renew,
    Renewed,
    Revoked,
    Welcome,
)
from lbnet.security import entry, token
from lbnet.security.authority import KeyPair, identity_of, utc_now
from lbnet.security.links import stranger_context
from lbnet.security.place import Place
from lbnet.strategies import registry
from lbnet.types import Address, PeerId
from tests.net.cluster import RawPeer, SilentPool, until

pytestmark = pytest.mark.usefixtures("nothing_is_left")

DAY = dt.timedelta(days=1)


@dataclass
class House:
    """A controller with a door that is guarded, and the time that it believes."""

    server: ControllerServer
    place: Place
    off: dt.timedelta = field(default_factory=dt.timedelta)

    @property
    def address(self) -> Address:
        return self.server.address

    def now(self) -> dt.datetime:
        return utc_now() + self.off

    def member(self, role: str = "client", now: Callable[[], dt.datetime] = utc_now) -> Member:
        return Member(role, self.place.account_token(role, utc_now()), now)


@contextlib.asynccontextmanager
async def guarded(directory: Path) -> AsyncIterator[House]:
    place = Place(directory, utc_now())
    core = Controller(registry.load, strategy="sb", placement="spread")
    off = dt.timedelta()
    made: list[House] = []
    gate = Gate(place, lambda: utc_now() + (made[0].off if made else off))
    server = ControllerServer(core, gate=gate)
    made.append(House(server, place))
    await server.start("127.0.0.1", 0)
    try:
        yield made[0]
    finally:
        await server.stop()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with guarded(tmp_path / "state") as made:
        yield made


class Caller:
    """Somebody who says HELLO, and remembers what it hears."""

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self.link: Link | None = None
        self.closed = ""

    def _on_welcome(self, link: Link, welcome: Welcome) -> None:
        self.link = link
        self.heard.append(welcome)

    async def calls(self, address: Address, member: Member | None, says: str = "client") -> Link:
        await connect(
            address,
            lambda _: hello(says, name="me", slots=1, port=1),
            may_say=SAID_BY[f"controller-to-{says}"],
            on_welcome=self._on_welcome,
            on_message=lambda _, message: self.heard.append(message),
            on_closed=lambda _, reason: setattr(self, "closed", reason),
            timeout_s=10.0,
            member=member,
        )
        assert self.link is not None
        return self.link


@contextlib.asynccontextmanager
async def calling(house: House, member: Member | None, says: str = "client") -> AsyncIterator[Caller]:
    caller = Caller()
    link = await caller.calls(house.address, member, says)
    try:
        yield caller
    finally:
        link.abort("the test is over")
        await link.closed.wait()


async def refusal(house: House, member: Member | None, says: str = "client") -> str:
    """The sentence that somebody reads who is not let in."""
    with pytest.raises(ConnectError) as refused:
        async with calling(house, member, says):
            pass
    return str(refused.value).removeprefix(f"{house.address} ")


# --- who comes in ---------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["worker", "client"])
async def test_who_has_a_token_is_let_in_and_both_know_who_the_other_is(house: House, role: str) -> None:
    async with calling(house, house.member(role), role) as caller:
        assert type(caller.heard[0]) is Welcome
        assert caller.link is not None
        assert caller.link.identity is not None
        assert (caller.link.identity.role, caller.link.identity.cluster) == (
            "controller",
            house.place.authority.cluster,
        )
        (theirs,) = house.server._peers
        assert theirs.identity is not None
        assert theirs.identity.role == role


async def test_a_certificate_is_fetched_once_and_again_when_it_is_old(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CLOCK_OFF_MAX_S", 1e9)  # only this member believes that time has passed
    later = dt.timedelta()
    member = house.member(now=lambda: utc_now() + later)
    serials = []
    for passed in (dt.timedelta(), dt.timedelta(minutes=20), dt.timedelta(seconds=limits.CERTIFICATE_S)):
        later = passed
        async with calling(house, member):
            (theirs,) = house.server._peers
            assert theirs.identity is not None
            serials.append(theirs.identity.serial)
        await until(lambda: not house.server._peers)
    assert serials[0] == serials[1] != serials[2]


async def test_a_certificate_is_renewed_on_an_open_link(house: House) -> None:
    later = dt.timedelta()
    member = house.member(now=lambda: utc_now() + later)
    async with calling(house, member) as caller:
        assert member.renewal() is None
        later = dt.timedelta(seconds=limits.CERTIFICATE_S * 0.6)
        public_key = member.renewal()
        assert public_key is not None
        assert caller.link is not None
        caller.link.send(Renew(public_key))
        await until(lambda: isinstance(caller.heard[-1], Renewed))
        answer = caller.heard[-1]
        assert isinstance(answer, Renewed)
        (theirs,) = house.server._peers
        assert theirs.identity is not None
        assert identity_of(answer.certificate).name == theirs.identity.name
        member.renewed(answer.certificate)
        assert member.renewal() is not None  # it began when the controller's clock said so
    async with calling(house, member):
        (theirs,) = house.server._peers
        assert theirs.identity is not None
        assert theirs.identity.serial == identity_of(answer.certificate).serial


async def test_a_worker_renews_its_certificate_by_itself(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lbnet.net.worker_node.Pool", SilentPool)
    monkeypatch.setattr(limits, "RENEW_LOOK_S", 0.05)
    monkeypatch.setattr(member_module, "_HALF_LIFE", 2 * DAY)  # it is always past it
    member = house.member("worker")
    node = WorkerNode(slots=1, name="", load=registry.load, member=member)
    await node.start(house.address)
    try:
        assert member._identity is not None
        first = member._identity
        await until(lambda: member._identity is not None and member._identity.serial != first.serial)
        assert member._identity.name == first.name
        assert set(node._links) == {0}
    finally:
        await node.stop()


async def test_a_client_renews_its_certificate_by_itself(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WORKERS_HINT_S", 0.2)
    monkeypatch.setattr(member_module, "_HALF_LIFE", 2 * DAY)
    member = house.member()
    connection = Connection(house.address, member=member)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, connection.open, 10.0)
    try:
        assert member._identity is not None
        first = member._identity
        await until(lambda: member._identity is not None and member._identity.serial != first.serial)
        assert not connection.lost
    finally:
        await loop.run_in_executor(None, connection.close)


async def test_what_is_no_key_gets_no_certificate(house: House) -> None:
    async with calling(house, house.member()) as caller:
        assert caller.link is not None
        caller.link.send(Renew(b"key"))
        await until(lambda: bool(caller.closed))


@pytest.mark.parametrize("certificate", [b"", b"no certificate"])
async def test_a_certificate_that_nobody_asked_for_ends_the_link(house: House, certificate: bytes) -> None:
    member = house.member()
    async with calling(house, member):
        member.renewal()
        with pytest.raises(Exception, match="a certificate came"):
            member.renewed(certificate)


# --- who does not ---------------------------------------------------------------------------------


def _expired(house: House) -> Member:
    _, made = house.place.tokens.create(house.place.authority.der, "client", utc_now() - DAY, DAY / 2)
    return Member("client", made)


def _revoked(house: House) -> Member:
    grant, made = house.place.tokens.create(house.place.authority.der, "client", utc_now())
    house.place.tokens.revoke(grant.id)
    return Member("client", made)


def _wrong(house: House) -> Member:
    return Member("client", token.draw(house.place.authority.der))


def _of_another_cluster(house: House) -> Member:
    other = Place(house.place.directory.parent / "other", utc_now())
    return Member("client", other.account_token("client", utc_now()))


def _as(role: str, of: str) -> Callable[[House], Member]:
    return lambda house: Member(role, house.place.account_token(of, utc_now()))


HOW = "on the controller's machine, lbnet token create makes a new one"
NO_TOKEN = (
    r"the controller at 127.0.0.1:\d+ lets nobody in without a token, and none was found: put the one that it printed "
    r"into a file of mode 600 and name that \(--token-file, token_file=\), or set LBNET_TOKEN; the account that runs "
    r"the controller needs none"
)
OTHER_CLUSTER = (
    r"the controller at \S+ is of another cluster than the token: check the address, or paste the token that this "
    r"controller printed"
)
REFUSALS: dict[str, tuple[Callable[[House], Member | None], str, str]] = {
    "no token": (lambda _: Member("client", lambda: None), "client", NO_TOKEN),
    "a wrong token": (
        _wrong,
        "client",
        f"refused us: the token is none of this cluster's: paste it again, or if it was lost, {HOW}",
    ),
    "an expired token": (_expired, "client", rf"refused us: the token \w{{8}} has expired, on 20\S+: {HOW}"),
    "a revoked token": (_revoked, "client", rf"refused us: the token \w{{8}} was revoked: {HOW}"),
    "another cluster's token": (_of_another_cluster, "client", OTHER_CLUSTER),
    "a worker's token, used as a client": (
        _as("client", "worker"),
        "client",
        f"refused us: the token is for a worker, and you are a client: {HOW}",
    ),
    "a client's token, used as a worker": (
        _as("worker", "client"),
        "worker",
        f"refused us: the token is for a client, and you are a worker: {HOW}",
    ),
    "a worker's certificate, used as a client": (
        _as("worker", "worker"),
        "client",
        "refused us: your certificate is a worker's, and you say that you are a client",
    ),
    "a client's certificate, used as a worker": (
        _as("client", "client"),
        "worker",
        "refused us: your certificate is a client's, and you say that you are a worker",
    ),
    "no TLS": (lambda _: None, "client", r"is not an lbnet controller: .*"),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_who_is_refused_reads_why(house: House, name: str) -> None:
    make, says, sentence = REFUSALS[name]
    text = await refusal(house, make(house), says)
    assert re.fullmatch(sentence, text), text
    assert not house.server._peers


async def test_who_speaks_plainly_is_told_that_links_are_protected(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    await refusal(house, None)
    assert "it does not speak TLS: perhaps it was started with --insecure" in caplog.text


async def test_who_speaks_no_tls_1_3_is_not_let_in(house: House, caplog: pytest.LogCaptureFixture) -> None:
    context = stranger_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(OSError):  # noqa: PT011 - by the loop, an alert or a reset
        await asyncio.open_connection(house.address.host, house.address.port, ssl=context, server_hostname="")
    await until(lambda: "it speaks no TLS 1.3" in caplog.text, lambda: caplog.text)


@pytest.mark.parametrize(("hours", "which"), [(2, "behind"), (-2, "ahead of")])
async def test_whose_clock_is_off_is_told_by_how_much(house: House, hours: int, which: str) -> None:
    house.off = dt.timedelta(hours=hours)
    text = await refusal(house, house.member())
    assert text.startswith(
        f"the clock of this machine is 120 minutes {which} that of the controller at {house.address}"
    )


async def test_who_speaks_another_version_is_told_so(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "PROTOCOL_VERSION", PROTOCOL_VERSION + 1)
    assert await refusal(house, house.member()) == (
        f"speaks protocol version {PROTOCOL_VERSION + 1}, here it is {PROTOCOL_VERSION}: install the same lbnet"
    )


async def test_the_controller_tells_an_older_newcomer_so(house: House) -> None:
    data = entry.request(PROTOCOL_VERSION - 1, "client", bytes(20), KeyPair().public)
    gate = Gate(house.place)
    assert gate.request(data).refused.endswith(f"yours is {PROTOCOL_VERSION - 1}: install the same lbnet")


async def test_a_worker_accepts_nobody_but_workers_of_its_cluster(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("lbnet.net.worker_node.Pool", SilentPool)
    node = WorkerNode(slots=1, name="", load=registry.load, member=house.member("worker"))
    await node.start(house.address)
    try:
        at = Address("127.0.0.1", node._port)
        async with guarded(tmp_path / "other") as other:
            for member in (house.member("client"), other.member("worker"), None):
                if member is not None:
                    await member.join((house if member.role == "client" else other).address, 10.0)
                with pytest.raises(ConnectError):
                    await connect(
                        at,
                        lambda _: hello("peer", name="me", peer=node.peer + 1),  # type: ignore[arg-type]
                        may_say=SAID_BY["peer"],
                        on_welcome=lambda link, _: link.abort("it should not be welcome"),
                        on_message=lambda *_: None,
                        on_closed=lambda *_: None,
                        timeout_s=10.0,
                        member=member,
                        role="worker",
                    )
            assert set(node._links) == {0}
    finally:
        await node.stop()


async def test_who_claims_to_be_the_controller_must_prove_it(house: House) -> None:
    """Its authority is public: whoever shows it, and has not its key, hears no secret."""
    other = Place(house.place.directory.parent / "other", utc_now())
    heard = bytearray()

    class Impostor(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            transport.write(entry.offer(PROTOCOL_VERSION, utc_now().timestamp(), house.place.authority.der))

        def data_received(self, data: bytes) -> None:
            heard.extend(data)

    server = await asyncio.get_running_loop().create_server(Impostor, "127.0.0.1", 0, ssl=Gate(other).context)
    address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
    with pytest.raises(AccessError, match="claims to be the controller, and cannot prove it"):
        await house.member().join(address, 10.0)
    server.close()
    assert not heard


# --- revoking -------------------------------------------------------------------------------------


async def test_a_token_that_is_revoked_closes_links_and_lets_nobody_back(house: House) -> None:
    grant, made = house.place.tokens.create(house.place.authority.der, "client", utc_now())
    member = Member("client", made)
    async with calling(house, member) as caller, calling(house, house.member("worker"), "worker") as worker:
        house.place.tokens.revoke(grant.id)
        await until(lambda: bool(caller.closed))
        await until(lambda: Revoked((grant.id,)) in worker.heard)
        assert not worker.closed
        # It has a certificate, which is good for a day, and is refused at once.
        assert await refusal(house, member) == (
            f"refused us: the token {grant.id}, which you came in with, was revoked: on the controller's machine, "
            "lbnet token create makes a new one"
        )
    async with calling(house, house.member("worker"), "worker") as late:
        await until(lambda: Revoked((grant.id,)) in late.heard)


async def test_a_worker_sends_revoked_workers_away(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lbnet.net.worker_node.Pool", SilentPool)
    grant, made = house.place.tokens.create(house.place.authority.der, "worker", utc_now())
    node = WorkerNode(slots=1, name="", load=registry.load, member=house.member("worker"))
    await node.start(house.address)
    try:
        other = Member("worker", made)
        await other.join(house.address, 10.0)
        links: list[Link] = []

        async def call() -> None:
            await connect(
                Address("127.0.0.1", node._port),
                lambda _: hello("peer", name="me", peer=node.peer + 1),  # type: ignore[arg-type]
                may_say=SAID_BY["peer"],
                on_welcome=lambda link, _: links.append(link),
                on_message=lambda *_: None,
                on_closed=lambda *_: None,
                timeout_s=10.0,
                member=other,
                role="worker",
            )

        await call()
        house.place.tokens.revoke(grant.id)
        await asyncio.wait_for(links[0].closed.wait(), 10)
        with pytest.raises(AccessError, match=f"the token {grant.id}, which you came in with, was revoked"):
            await call()
    finally:
        await node.stop()


async def test_a_worker_that_is_revoked_does_not_try_for_ever(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lbnet.net.worker_node.Pool", SilentPool)
    grant, made = house.place.tokens.create(house.place.authority.der, "worker", utc_now())
    node = WorkerNode(slots=1, name="", load=registry.load, rejoin_timeout_s=600, member=Member("worker", made))
    await node.start(house.address)
    try:
        house.place.tokens.revoke(grant.id)
        assert "was revoked" in await asyncio.wait_for(asyncio.shield(node.lost), 10)
    finally:
        await node.stop()


async def test_a_token_that_nobody_knows_any_more_lets_nobody_in(house: House) -> None:
    member = house.member()
    async with calling(house, member) as caller:
        Place(house.place.directory.parent / "other", utc_now()).account_token("client", utc_now())
        (house.place.directory / "tokens.json").write_bytes(
            (house.place.directory.parent / "other" / "tokens.json").read_bytes()
        )
        assert caller.link is not None
        caller.link.send(Renew(KeyPair().public))
        await until(lambda: bool(caller.closed))
        assert "was revoked" in await refusal(house, member)


async def test_a_worker_that_meets_something_else_stays_who_it_is(house: House) -> None:
    member = house.member("worker")
    await member.join(house.address, 10.0)
    server = await asyncio.get_running_loop().create_server(_Rude, "127.0.0.1", 0)
    at = Address("127.0.0.1", server.sockets[0].getsockname()[1])
    with pytest.raises(ConnectError):
        await connect(
            at,
            lambda _: hello("peer", name="me"),
            may_say=SAID_BY["peer"],
            on_welcome=lambda *_: None,
            on_message=lambda *_: None,
            on_closed=lambda *_: None,
            timeout_s=10.0,
            member=member,
            role="worker",
        )
    server.close()
    assert member.outgoing is not None
    async with calling(house, member, "worker"):
        pass


class _Rude(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        transport.write(b"SSH-2.0-x\r\n")


async def test_nobody_takes_the_place_of_another_worker(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lbnet.net.worker_node.Pool", SilentPool)
    node = WorkerNode(slots=1, name="", load=registry.load, member=house.member("worker"))
    await node.start(house.address)
    try:
        links: list[Link] = []

        async def call(member: Member) -> None:
            await member.join(house.address, 10.0)
            await connect(
                Address("127.0.0.1", node._port),
                lambda _: hello("peer", name="me", peer=PeerId(77)),
                may_say=SAID_BY["peer"],
                on_welcome=lambda link, _: links.append(link),
                on_message=lambda *_: None,
                on_closed=lambda *_: None,
                timeout_s=10.0,
                member=member,
                role="worker",
            )

        first = house.member("worker")
        await call(first)
        await call(first)  # the same one may have two
        with contextlib.suppress(ConnectError):
            await call(house.member("worker"))  # the same token, and somebody else
        await until(lambda: len(node._peers) == 3)  # the controller's, and two
        assert links[0].closed.is_set() is False
        assert {link.identity.name for link, at in node._peers.items() if at == 77 and link.identity} == {
            node._links[PeerId(77)].identity.name  # type: ignore[union-attr]
        }
        for link in links:
            link.abort("the test is over")
            await link.closed.wait()
    finally:
        await node.stop()


# --- before anybody is let in ---------------------------------------------------------------------


async def test_a_stranger_says_a_request_and_nothing_else(house: House, caplog: pytest.LogCaptureFixture) -> None:
    for data, reason in (
        (bytes(entry.REQUEST_BYTES), "it showed no certificate, and did not ask for one"),
        (bytes(entry.REQUEST_BYTES + 1), "it said more than a request"),
    ):
        reader, writer = await asyncio.open_connection(
            house.address.host, house.address.port, ssl=stranger_context(), server_hostname=""
        )
        await reader.readexactly(entry.OFFER_HEAD_BYTES)
        writer.write(data)
        assert len(await reader.read()) < 1_000  # what is left of the offer
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        expected = reason
        await until(lambda: expected in caplog.text, lambda: caplog.text)  # noqa: B023 - it is called here


async def test_who_has_had_an_answer_counts_until_it_is_gone(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "GREETING_TIMEOUT_S", 0.5)
    data = entry.request(PROTOCOL_VERSION, "client", bytes(20), KeyPair().public)
    for end in (False, True):
        sock, tls, outgoing = await _stranger(house.address)
        tls.write(data)
        await asyncio.get_running_loop().sock_sendall(sock, outgoing.read())
        await asyncio.sleep(0.1)
        assert len(house.server._reception._waiting) == 1
        if end:
            sock.close()
        await until(lambda: not house.server._reception._waiting)
        sock.close()


async def _stranger(address: Address) -> tuple[socket.socket, ssl.SSLObject, ssl.MemoryBIO]:
    """Somebody in TLS who never answers when it is told that the link is closing."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    await loop.sock_connect(sock, (address.host, address.port))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = stranger_context().wrap_bio(incoming, outgoing)
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            await loop.sock_sendall(sock, outgoing.read())
            incoming.write(await loop.sock_recv(sock, 1 << 16))
        else:
            await loop.sock_sendall(sock, outgoing.read())
            return sock, tls, outgoing


async def test_more_than_may_wait_push_the_oldest_out_and_others_come_in(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "HALF_OPEN_MAX", 5)
    idle = [await RawPeer.open(house.address) for _ in range(12)]
    await until(lambda: len(house.server._reception._waiting) == 5)
    async with calling(house, house.member()):
        assert len(house.server._peers) == 1
    for raw in idle:
        raw.close()
    assert sum("waited longest" in record.getMessage() for record in caplog.records) >= 7


async def test_who_says_nothing_is_dropped_in_time(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "GREETING_TIMEOUT_S", 0.2)
    silent = await RawPeer.open(house.address)
    half, _ = await asyncio.open_connection(
        house.address.host, house.address.port, ssl=stranger_context(), server_hostname=""
    )
    assert await asyncio.wait_for(silent.hear_end(), 10) == []
    await asyncio.wait_for(half.read(), 10)
    await until(lambda: not house.server._reception._waiting)
    _.close()
    with contextlib.suppress(OSError):
        await _.wait_closed()
