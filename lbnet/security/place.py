"""Where the secrets of a cluster are: a private directory of the account that runs its controller."""

from __future__ import annotations

import datetime as dt
import secrets
from pathlib import Path
from typing import Final

from lbnet.errors import UsageError
from lbnet.security import private, token
from lbnet.security.authority import Authority
from lbnet.security.token import Token
from lbnet.security.tokens import ROLES, Tokens

AUTHORITY: Final = "authority.pem"
TOKENS: Final = "tokens.json"
_KEY_BEGINS = b"-----BEGIN PRIVATE KEY-----"


class Place:
    """The authority and the tokens in one directory, which are made when they are needed for the first time.

    Args:
        directory: private, or not there yet.
        now: the time.

    Raises:
        UsageError: it cannot be used, or what is in it is damaged; the sentence says what to do.
    """

    def __init__(self, directory: Path, now: dt.datetime) -> None:
        private.make_directory(directory)
        self.directory = directory
        self.authority = _authority(directory / AUTHORITY, now)
        self.tokens = Tokens(directory / TOKENS)

    @classmethod
    def existing(cls, directory: Path, now: dt.datetime) -> Place:
        """The same, if there is one.

        Raises:
            UsageError: there is none, too.
        """
        if not (directory / AUTHORITY).exists():
            raise UsageError(f"{directory} has no secrets of a cluster: name the --state-dir of its controller")
        return cls(directory, now)

    def account_token(self, role: str, now: dt.datetime) -> Token:
        """The token for everybody who can read this directory: the same one for as long as it is valid.

        Raises:
            UsageError: it cannot be kept.
        """
        assert role in ROLES, role
        path = self.directory / f"{role}.token"
        try:
            found = token.parse(private.read(path).decode("ascii", "replace"))
            grant = self.tokens.grant_of(found.secret)
            if found.digest == self.authority.digest and grant is not None and grant.state(now) == "valid":
                return found
        except (FileNotFoundError, UsageError):
            pass
        _, made = self.tokens.create(self.authority.der, role, now)
        try:
            private.replace(path, f"{made}\n".encode())
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}") from None
        return made


def _authority(path: Path, now: dt.datetime) -> Authority:
    """Certificate and key are one file: there are both, or none."""
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    made = Authority.create(secrets.token_hex(8), now)
    try:
        private.write_new(path, made.certificate + made.key)
    except FileExistsError:
        return _read(path)  # another one was quicker
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}): choose another --state-dir") from None
    return made


def _read(path: Path) -> Authority:
    content = private.read(path)
    certificate, begin, key = content.partition(_KEY_BEGINS)
    try:
        return Authority(certificate, begin + key)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
