"""The line that lets a machine in: ``LB1-<digest of the authority>-<secret>``.

The digest tells whoever has the token that it talks to the right cluster; the secret tells the cluster that it may come
in. Only a hash of the secret is kept. Pure but for the drawing of secrets.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from lbnet.errors import UsageError

PREFIX = "LB1"
DIGEST_BYTES = 20
SECRET_BYTES = 20
"""160 bits each: nobody finds a second authority of this digest, or guesses a secret."""

_CHARS = DIGEST_BYTES * 8 // 5
_SHAPE = re.compile(rf"{PREFIX}-([A-Z2-7]{{{_CHARS}}})-([A-Z2-7]{{{_CHARS}}})")


@dataclass(frozen=True, slots=True)
class Token:
    """A cluster's digest and a secret of it.

    Attributes:
        digest: of the authority's certificate.
        secret: what lets somebody in; it is never shown by ``repr``.
    """

    digest: bytes
    secret: bytes

    def __str__(self) -> str:
        return f"{PREFIX}-{_text(self.digest)}-{_text(self.secret)}"

    def __repr__(self) -> str:
        return f"Token({_text(self.digest)}, ...)"


def digest_of(certificate: bytes) -> bytes:
    """What a token says of an authority. ``certificate`` is its DER form."""
    return hashlib.sha256(certificate).digest()[:DIGEST_BYTES]


def draw(certificate: bytes) -> Token:
    """A new token for the cluster of this authority."""
    return Token(digest_of(certificate), secrets.token_bytes(SECRET_BYTES))


def parse(text: str) -> Token:
    """A token as it was pasted, with whatever white space came along.

    Raises:
        UsageError: it is none; the sentence says what is wrong, and does not repeat it.
    """
    whole = "".join(text.split()).upper()
    found = _SHAPE.fullmatch(whole)
    if found is None:
        raise UsageError(_problem(whole))
    return Token(base64.b32decode(found[1]), base64.b32decode(found[2]))


def _problem(whole: str) -> str:
    length = len(PREFIX) + 2 + 2 * _CHARS
    if not whole:
        return "the token is empty: paste the whole of what the controller printed"
    if re.fullmatch(r"LB[0-9]+-.*", whole, re.DOTALL) and not whole.startswith(f"{PREFIX}-"):
        return "the token is of another version: install the same lbnet as the controller's"
    if not whole.startswith(f"{PREFIX}-"):
        return f"this is no token: one begins with {PREFIX}-, and the controller prints it when it starts"
    if len(whole) != length:
        return f"the token has {len(whole)} characters, and one has {length}: paste the whole of it, and nothing else"
    return "the token has characters that none has: paste it again"


def hash_of(secret: bytes) -> bytes:
    """What is kept of a secret. It is drawn at random, so that a fast hash is as good as a slow one."""
    return hashlib.sha256(b"lbnet token " + secret).digest()


def fits(secret: bytes, kept: bytes) -> bool:
    """Whether this is the secret of which that was kept, in the same time whatever the answer."""
    return hmac.compare_digest(hash_of(secret), kept)


def _text(data: bytes) -> str:
    return base64.b32encode(data).decode()
