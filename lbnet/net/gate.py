"""The controller's side of trust: who it is itself, whom it gives a certificate, and whom it lets in no more.

It must not know sockets.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import secrets
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from lbnet import limits
from lbnet.errors import RemoteProtocolError, UsageError
from lbnet.protocol.messages import PROTOCOL_VERSION
from lbnet.security import entry
from lbnet.security.authority import Credential, Identity, KeyPair, utc_now
from lbnet.security.links import context_of
from lbnet.security.place import Place
from lbnet.security.tokens import Grant

_HOW_TO = "on the controller's machine, lbnet token create makes a new one"


@dataclass(frozen=True, slots=True)
class Entrance:
    """What a newcomer's request led to: bytes for it, and a sentence for the log if it was refused."""

    answer: bytes
    refused: str


class Gate:
    """Decides who comes in, by the secrets of one place.

    Args:
        place: of the cluster.
        now: the time.

    Raises:
        UsageError: its secrets cannot be used.
    """

    def __init__(self, place: Place, now: Callable[[], dt.datetime] = utc_now) -> None:
        self._place = place
        self._now = now
        self._renewed_at = now()
        self._context = self._new_context(self._renewed_at)
        self.cluster = place.authority.cluster
        self._revoked: tuple[str, ...] = ()
        self._good: dict[str, bool] = {}

    @property
    def context(self) -> ssl.SSLContext:
        """How links that come are protected, by a certificate that is not old."""
        now = self._now()
        if not self._renewed_at <= now < self._renewed_at + _HALF_LIFE:
            self._context = self._new_context(now)
            self._renewed_at = now
        return self._context

    def _new_context(self, now: dt.datetime) -> ssl.SSLContext:
        authority, pair = self._place.authority, KeyPair()
        certificate = authority.issue(pair.public, "controller", secrets.token_hex(8), _LIFETIME, now)
        credential = Credential(certificate, pair.private, authority.certificate)
        return context_of(credential, server=True, strangers=True)

    # --- newcomers ----------------------------------------------------------------------------------

    def offer(self) -> bytes:
        """What somebody without a certificate is told first."""
        return entry.offer(PROTOCOL_VERSION, self._now().timestamp(), self._place.authority.der)

    def request(self, data: bytes) -> Entrance:
        """Somebody without a certificate asks for one."""
        try:
            asked = entry.read_request(data)
        except RemoteProtocolError as error:
            return Entrance(b"", str(error))
        refused, grant = self._refusal(asked)
        content = b""
        if grant is not None and not refused:
            try:
                content = self._issue(asked.public_key, grant.role, grant.id)
            except UsageError as error:
                refused = str(error)
        return Entrance(entry.answer(granted=not refused, content=content or refused.encode()), refused)

    def _refusal(self, asked: entry.Request) -> tuple[str, Grant | None]:
        if asked.version != PROTOCOL_VERSION:
            return version_sentence(asked.version), None
        try:
            grant = self._place.tokens.grant_of(asked.secret)
        except UsageError as error:
            return f"the controller cannot read its tokens: {error}", None
        if grant is None:
            return f"the token is none of this cluster's: paste it again, or if it was lost, {_HOW_TO}", None
        state = grant.state(self._now())
        if state == "revoked":
            return f"the token {grant.id} was revoked: {_HOW_TO}", None
        if state == "expired":
            return f"the token {grant.id} has expired, on {grant.expires_at}: {_HOW_TO}", None
        if grant.role != asked.role:
            return f"the token is for a {grant.role}, and you are a {asked.role}: {_HOW_TO}", None
        return "", grant

    def _issue(self, public_key: bytes, role: str, token: str) -> bytes:
        name = f"{token}-{secrets.token_hex(8)}"
        return self._place.authority.issue(public_key, role, name, _LIFETIME, self._now())

    # --- members ------------------------------------------------------------------------------------

    def renew(self, identity: Identity, public_key: bytes) -> bytes:
        """A new certificate for somebody who is let in, under the same name (PEM).

        Raises:
            UsageError: that is no such key, or its token was revoked.
        """
        if not self._is_good(identity.token):
            raise UsageError("the token was revoked")
        return self._place.authority.issue(public_key, identity.role, identity.name, _LIFETIME, self._now())

    def problem_of(self, identity: Identity, role: str) -> str | None:
        """Why somebody with this certificate is not let in as ``role``, if so."""
        if identity.cluster != self.cluster:
            return "your certificate is another cluster's"
        if identity.role != role:
            return f"your certificate is a {identity.role}'s, and you say that you are a {role}"
        if not self._is_good(identity.token):
            return f"the token {identity.token}, which you came in with, was revoked: {_HOW_TO}"
        return None

    def _is_good(self, token: str) -> bool:
        """Whether a token is known, and was not revoked. That it has expired lets nobody new in, and sends nobody away.

        What cannot be read is as it was.
        """
        with contextlib.suppress(UsageError):
            grant = self._place.tokens.get(token)
            self._good[token] = grant is not None and not grant.revoked
        return self._good.get(token, False)

    def revoked(self) -> tuple[str, ...]:
        """The ids of tokens that were revoked: who came in with them is let in no more.

        What cannot be read is as it was.
        """
        with contextlib.suppress(UsageError):
            self._revoked = tuple(grant.id for grant in self._place.tokens.all() if grant.revoked)
        return self._revoked


def version_sentence(version: int) -> str:
    """For somebody who speaks another version."""
    return f"protocol version {PROTOCOL_VERSION} is spoken here, yours is {version}: install the same lbnet"


_LIFETIME = dt.timedelta(seconds=limits.CERTIFICATE_S)
_HALF_LIFE = _LIFETIME / 2
