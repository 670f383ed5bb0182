"""Handshakes in memory: peers of one cluster find each other, and nobody else gets in."""

from __future__ import annotations

import datetime as dt
import ssl
import tempfile
from pathlib import Path
from typing import Any

import pytest

from lbnet.errors import UsageError
from lbnet.security.authority import Authority, Credential, Identity, KeyPair
from lbnet.security.links import context_of, peer_of

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)
OURS, THEIRS = Authority.create("ours", NOW), Authority.create("theirs", NOW)


def issued(role: str, name: str = "1", authority: Authority = OURS, now: dt.datetime = NOW) -> Credential:
    pair = KeyPair()
    return Credential(authority.issue(pair.public, role, name, DAY, now), pair.private, authority.certificate)


CONTROLLER, WORKER = issued("controller"), issued("worker", "7")


class End:
    """One end of a link in memory."""

    def __init__(self, context: ssl.SSLContext, *, server: bool) -> None:
        self.came, self.goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.link = context.wrap_bio(self.came, self.goes, server_side=server)
        self.done = False

    def step(self) -> None:
        if not self.done:
            try:
                self.link.do_handshake()
            except ssl.SSLWantReadError:
                return
            self.done = True


def meet(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[End, End]:
    """Both ends, once they are sure of each other.

    Raises:
        ssl.SSLError: one of them is not.
    """
    ends = End(server, server=True), End(client, server=False)
    for _ in range(8):
        for end, other in (ends, ends[::-1]):
            end.step()
            if end.goes.pending:
                other.came.write(end.goes.read())
    server_end, client_end = ends
    assert server_end.done
    assert client_end.done
    client_end.link.write(b"hello")
    server_end.came.write(client_end.goes.read())
    assert server_end.link.read() == b"hello"
    return ends


def roles(*ends: End) -> list[tuple[str, str] | None]:
    found: list[Identity | None] = [peer_of(end.link) for end in ends]
    return [None if each is None else (each.role, each.name) for each in found]


def test_each_end_knows_who_the_other_is() -> None:
    server, client = meet(context_of(CONTROLLER, server=True), context_of(WORKER, server=False))
    assert roles(server, client) == [("worker", "7"), ("controller", "1")]
    assert client.link.version() == "TLSv1.3"


def test_who_has_no_certificate_is_let_in_where_strangers_may_join_and_nowhere_else() -> None:
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stranger.check_hostname = False
    stranger.load_verify_locations(cadata=OURS.certificate.decode())
    server, client = meet(context_of(CONTROLLER, server=True, strangers=True), stranger)
    assert roles(server, client) == [None, ("controller", "1")]
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        meet(context_of(CONTROLLER, server=True), stranger)


@pytest.mark.parametrize("strangers", [False, True])
def test_another_cluster_gets_in_nowhere(strangers: bool) -> None:
    theirs = issued("worker", authority=THEIRS)
    # It trusts our authority, and shows its own certificate.
    spy = Credential(theirs.certificate, theirs.key, OURS.certificate)
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED|CERT"):
        meet(context_of(CONTROLLER, server=True, strangers=strangers), context_of(spy, server=False))
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        meet(context_of(issued("controller", authority=THEIRS), server=True), context_of(WORKER, server=False))


def test_a_certificate_ends_with_its_time() -> None:
    old = issued("worker", now=NOW - 2 * DAY)
    with pytest.raises(ssl.SSLError, match="certificate has expired"):
        meet(context_of(CONTROLLER, server=True), context_of(old, server=False))
    early = issued("worker", now=NOW + 2 * DAY)
    with pytest.raises(ssl.SSLError, match="certificate is not yet valid"):
        meet(context_of(CONTROLLER, server=True), context_of(early, server=False))


def test_nothing_older_than_tls_1_3_is_spoken() -> None:
    client = context_of(WORKER, server=False)
    client.minimum_version = client.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION"):
        meet(context_of(CONTROLLER, server=True), client)


def test_no_key_is_left_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    context_of(WORKER, server=False)
    with pytest.raises(UsageError, match="cannot be used"):
        context_of(Credential(WORKER.certificate, b"no key", OURS.certificate), server=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", [{"certificate": b"\xff"}, {"key": CONTROLLER.key}, {"authority": b"nonsense"}])
def test_a_credential_that_is_damaged_is_said_in_a_sentence(change: dict[str, Any]) -> None:
    facts = {"certificate": WORKER.certificate, "key": WORKER.key, "authority": OURS.certificate} | change
    with pytest.raises(UsageError, match="join again, with a token"):
        context_of(Credential(**facts), server=False)
