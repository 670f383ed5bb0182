"""The tokens of a cluster: who may still come in with which secret. Of secrets, hashes are kept.

It is one small file in the controller's state directory, read again whenever it has changed: the command that makes or
revokes a token and the controller need not talk to each other.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lbnet.errors import UsageError
from lbnet.security import private, token
from lbnet.security.token import Token

ROLES = ("worker", "client")
TOKENS_MAX = 10_000
_FILE_BYTES_MAX = 1_000 * TOKENS_MAX


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token lets somebody in as, and until when. ``id`` is for people, and no secret.

    Attributes:
        id: names it in ``lbnet token list``.
        role: ``worker`` or ``client``.
        hash: of the secret, as hex.
        made_at: ISO 8601, UTC.
        expires_at: the same; empty for never.
        revoked: it lets nobody in any more.
    """

    id: str
    role: str
    hash: str
    made_at: str
    expires_at: str
    revoked: bool

    def state(self, now: dt.datetime) -> str:
        """``valid``, ``expired`` or ``revoked``."""
        if self.revoked:
            return "revoked"
        expired = self.expires_at and now >= dt.datetime.fromisoformat(self.expires_at)
        return "expired" if expired else "valid"


class Tokens:
    """Those in one file.

    Args:
        path: in a private directory; it need not exist.

    Raises:
        UsageError: it is damaged, or open to others.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._grants: dict[str, Grant] = {}
        self._look()

    def all(self) -> list[Grant]:
        """The oldest first."""
        self._look()
        return list(self._grants.values())

    def create(
        self, certificate: bytes, role: str, now: dt.datetime, lifetime: dt.timedelta | None = None
    ) -> tuple[Grant, Token]:
        """A new one. The secret is in the token, and nowhere else.

        Args:
            certificate: of the cluster's authority, DER.
            role: ``worker`` or ``client``.
            now: the time.
            lifetime: None for ever.

        Raises:
            UsageError: there is no such role, or there are too many tokens.
        """
        if role not in ROLES:
            raise UsageError(f"a token is for a {' or a '.join(ROLES)}, not for {role!r}")
        made = token.draw(certificate)
        expires_at = "" if lifetime is None else (now + lifetime).isoformat(timespec="seconds")
        kept = token.hash_of(made.secret).hex()
        grant = Grant(secrets.token_hex(4), role, kept, now.isoformat(timespec="seconds"), expires_at, revoked=False)
        with self._changing():
            if len(self._grants) >= TOKENS_MAX:
                raise UsageError(f"there are {TOKENS_MAX:,} tokens: begin anew, with another --state-dir")
            self._write({**self._grants, grant.id: grant})
        return grant, made

    def revoke(self, id_: str) -> Grant:
        """Let nobody in with this one any more.

        Raises:
            UsageError: there is no such token.
        """
        with self._changing():
            if id_ not in self._grants:
                there = ", ".join(self._grants) or "there is none"
                raise UsageError(f"there is no token {id_!r}: {there}")
            grant = replace(self._grants[id_], revoked=True)
            self._write({**self._grants, id_: grant})
        return grant

    def get(self, id_: str) -> Grant | None:
        """The one with this id, None if there is none."""
        self._look()
        return self._grants.get(id_)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Nobody else changes the file between what is read and what is written."""
        with private.locked(self._path.with_suffix(".lock")):
            self._look()
            yield

    def grant_of(self, secret: bytes) -> Grant | None:
        """What is known of a secret, None if it is none of this cluster's."""
        self._look()
        found = None
        for grant in self._grants.values():  # all of them, whichever it is
            if token.fits(secret, bytes.fromhex(grant.hash)):
                found = grant
        return found

    def _look(self) -> None:
        """Read the file, if it has changed. One that was moved away makes nobody forget who was revoked."""
        try:
            found = self._path.lstat()
        except FileNotFoundError:
            return
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
        if stamp == self._stamp:
            return
        content = private.read(self._path, _FILE_BYTES_MAX)
        try:
            facts = json.loads(content)
            self._grants = {grant.id: grant for grant in map(_grant, facts["tokens"])}
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{self._path} is damaged ({error!r}): restore it, or move it away to begin anew"
            ) from None
        self._stamp = stamp

    def _write(self, grants: dict[str, Grant]) -> None:
        facts = {"tokens": [asdict(grant) for grant in grants.values()]}
        try:
            private.replace(self._path, json.dumps(facts, indent=1).encode())
        except OSError as error:
            raise UsageError(f"{self._path} cannot be written: {error.strerror}") from None
        self._look()


def _grant(facts: dict[str, Any]) -> Grant:
    grant = Grant(**facts)
    if not all(isinstance(getattr(grant, name), str) for name in ("id", "role", "hash", "made_at", "expires_at")):
        raise TypeError("a field of a token is no text")
    if len(bytes.fromhex(grant.hash)) != 32 or not isinstance(grant.revoked, bool) or grant.role not in ROLES:
        raise ValueError("a token has an impossible value")
    if grant.expires_at:
        dt.datetime.fromisoformat(grant.expires_at)
    return grant
