"""The side of trust of who joins a cluster: its token, its certificate, and whether the other end is who it should be.

A certificate is fetched before the first link, and again when it is old; on an open link it is renewed by RENEW.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ssl
from collections.abc import Callable, Iterable

from lbnet import limits
from lbnet.address import TOKEN_VARIABLE
from lbnet.errors import AccessError, ConnectError, RemoteProtocolError, UsageError
from lbnet.net.link import check_port, words
from lbnet.protocol.messages import PROTOCOL_VERSION
from lbnet.security import entry
from lbnet.security.authority import Credential, Identity, KeyPair, identity_of, is_issued_by, utc_now
from lbnet.security.links import context_of, peer_of, stranger_context
from lbnet.security.token import Token, digest_of
from lbnet.types import Address


class NothingThereError(ConnectError):
    """Nothing listens at an address, or not yet."""


class Member:
    """One worker or client of a cluster.

    Args:
        role: ``worker`` or ``client``.
        token: for this role; or a function that looks for it, as it may lie nearby later.
        now: the time.
    """

    def __init__(
        self, role: str, token: Token | Callable[[], Token | None], now: Callable[[], dt.datetime] = utc_now
    ) -> None:
        self.role = role
        self._find = token if callable(token) else lambda: token
        self._now = now
        self._credential: Credential | None = None
        self._identity: Identity | None = None
        self._revoked: frozenset[str] = frozenset()
        self._next: KeyPair | None = None
        self._joining = asyncio.Lock()
        self._contexts: dict[bool, ssl.SSLContext] = {}

    # --- certificates -------------------------------------------------------------------------------

    async def join(self, address: Address, timeout_s: float) -> None:
        """Have a certificate that will do for a link now; ask the controller at ``address`` for one if need be.

        Raises:
            NothingThereError: nothing listens there.
            AccessError: the controller lets us not in, or is none of our cluster; the sentence says why.
            ConnectError: it is no controller.
        """
        async with self._joining:
            if self._identity is None or not self._identity.not_before <= self._now() < self._identity.not_after:
                pair = KeyPair()
                certificate, authority = await _fetch(address, self._find(), self.role, pair, self._now, timeout_s)
                self._has(Credential(certificate, pair.private, authority))

    def forget(self) -> None:
        """The certificate was not accepted: the next :meth:`join` asks for another one."""
        self._credential = self._identity = None
        self._contexts.clear()

    def renewal(self) -> bytes | None:
        """The public key for RENEW, if the certificate is half way through its life; None if it is not."""
        identity = self._identity
        if identity is None or self._now() < identity.not_after - _HALF_LIFE:
            return None
        self._next = KeyPair()
        return self._next.public

    def renewed(self, certificate: bytes) -> None:
        """RENEWED came.

        Raises:
            RemoteProtocolError: it is no answer to what was asked.
        """
        assert self._credential is not None, "whoever has a link has a certificate"
        pair, self._next = self._next, None
        try:
            if pair is None or not is_issued_by(certificate, self._credential.authority):
                raise RemoteProtocolError("a certificate came that nobody had asked for")
            self._has(Credential(certificate, pair.private, self._credential.authority))
        except UsageError as error:
            raise RemoteProtocolError(f"a certificate came that cannot be used: {error}") from None

    def _has(self, credential: Credential) -> None:
        identity = identity_of(credential.certificate)
        contexts = {server: context_of(credential, server=server) for server in (False, True)}
        self._credential, self._identity, self._contexts = credential, identity, contexts

    # --- links --------------------------------------------------------------------------------------

    @property
    def outgoing(self) -> ssl.SSLContext:
        """For links that we open. There is a certificate."""
        return self._contexts[False]

    @property
    def context(self) -> ssl.SSLContext:
        """For links that others open, workers of the same cluster. There is a certificate."""
        return self._contexts[True]

    def problem_of(self, identity: Identity, role: str) -> str | None:
        """Why somebody with this certificate is not who it should be, if so."""
        assert self._identity is not None, "whoever has a link has a certificate"
        if identity.cluster != self._identity.cluster:
            return "your certificate is another cluster's"
        expected = "worker" if role == "peer" else role
        if identity.role != expected:
            return f"your certificate is a {identity.role}'s, and a {expected} is expected here"
        if identity.token in self._revoked:
            return f"the token {identity.token}, which you came in with, was revoked"
        return None

    def revoke(self, tokens: Iterable[str]) -> None:
        """REVOKED came: the tokens that let nobody in any more."""
        self._revoked = frozenset(tokens)


async def _fetch(
    address: Address, token: Token | None, role: str, pair: KeyPair, now: Callable[[], dt.datetime], timeout_s: float
) -> tuple[bytes, bytes]:
    """A certificate (PEM) for a key, and the authority (PEM) that it is of."""
    try:
        check_port(address.port)
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(
                address.host,
                address.port,
                ssl=stranger_context(),
                server_hostname="",
                ssl_handshake_timeout=min(max(timeout_s, 0.1), limits.GREETING_TIMEOUT_S),
                limit=2 * entry.CERTIFICATE_BYTES_MAX,
            )
            try:
                return await _ask(address, token, role, pair, now(), reader, writer)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (ConnectError, asyncio.CancelledError):
        raise
    except TimeoutError:
        raise ConnectError(f"{address} did not answer within {timeout_s:g} s") from None
    except (ssl.SSLError, ConnectionAbortedError, ConnectionResetError, asyncio.IncompleteReadError, EOFError) as error:
        raise ConnectError(f"{address} {tls_words(error)}") from None
    except RemoteProtocolError as error:
        raise ConnectError(f"{address} is not an lbnet controller: {error}") from None
    except (OSError, ValueError) as error:
        kind = NothingThereError if isinstance(error, OSError) else ConnectError
        raise kind(f"nothing answers at {address} ({words(error)}): is an lbnet controller running there?") from None


async def _ask(
    address: Address,
    token: Token | None,
    role: str,
    pair: KeyPair,
    now: dt.datetime,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> tuple[bytes, bytes]:
    version, time_s, length = entry.offer_head(await reader.readexactly(entry.OFFER_HEAD_BYTES))
    authority = await reader.readexactly(length)
    if token is None:
        raise AccessError(
            f"the controller at {address} lets nobody in without a token, and none was found: put the one that it "
            f"printed into a file of mode 600 and name that (--token-file, token_file=), or set {TOKEN_VARIABLE}; the "
            "account that runs the controller needs none"
        )
    _check_controller(address, authority, token, writer)
    if version != PROTOCOL_VERSION:
        raise AccessError(f"{address} {other_version(version)}")
    off_s = now.timestamp() - time_s
    if abs(off_s) > limits.CLOCK_OFF_MAX_S:
        which = "ahead of" if off_s > 0 else "behind"
        raise AccessError(
            f"the clock of this machine is {abs(off_s) / 60:,.0f} minutes {which} that of the controller at {address}: "
            "certificates cannot be trusted by it; set it right"
        )
    writer.write(entry.request(PROTOCOL_VERSION, role, token.secret, pair.public))
    granted, length = entry.answer_head(await reader.readexactly(entry.ANSWER_HEAD_BYTES))
    content = await reader.readexactly(length)
    if not granted:
        sentence = "".join(char if char.isprintable() else "?" for char in content.decode("utf-8", "replace"))
        raise AccessError(f"{address} refused us: {sentence}")
    if not is_issued_by(content, authority):
        raise RemoteProtocolError("the certificate that it issued is none of its authority's")
    return content, ssl.DER_cert_to_PEM_cert(authority).encode()


def _check_controller(address: Address, authority: bytes, token: Token, writer: asyncio.StreamWriter) -> None:
    """Before the secret is said: whoever hears it is the controller of the token's cluster."""
    if digest_of(authority) != token.digest:
        raise AccessError(
            f"the controller at {address} is of another cluster than the token: check the address, or paste the token "
            "that this controller printed"
        )
    link = writer.get_extra_info("ssl_object")
    leaf = link.getpeercert(binary_form=True)
    try:
        identity = peer_of(link)
    except UsageError as error:
        raise RemoteProtocolError(str(error)) from None
    if leaf is None or identity is None or identity.role != "controller" or not is_issued_by(leaf, authority):
        raise AccessError(f"{address} claims to be the controller, and cannot prove it: something is between us and it")


def other_version(version: int) -> str:
    """What is wrong with somebody who speaks another version, as the rest of a sentence that begins with an address."""
    return f"speaks protocol version {version}, here it is {PROTOCOL_VERSION}: install the same lbnet"


def tls_words(error: BaseException, what: str = "an lbnet controller") -> str:
    """What went wrong with a protected link, as the rest of a sentence that begins with an address."""
    reason = str(getattr(error, "reason", "") or "")
    if "CERTIFICATE_EXPIRED" in reason or "certificate has expired" in str(error):
        return "and this machine do not agree that a certificate is still valid: is a clock wrong?"
    if "not yet valid" in str(error):
        return "showed a certificate that is not yet valid by this machine's clock: is a clock wrong?"
    if "CERTIFICATE" in reason or "UNKNOWN_CA" in reason or "ALERT" in reason:
        return f"did not accept our certificate, or we did not accept its ({reason or error})"
    if isinstance(error, ssl.SSLError):
        return f"is not {what}: it does not protect its links; or it was started with --insecure"
    return f"is not {what}: it closed the connection before it was protected; or it was started with --insecure"


_HALF_LIFE = dt.timedelta(seconds=limits.CERTIFICATE_S) / 2
