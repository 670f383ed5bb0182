"""How somebody without a certificate asks for one: three short texts of fixed shape, inside of TLS.

The controller *offers* its authority, so that whoever has a token can see whether it is the right one. Only then does
the newcomer say the secret, in a *request* that is as long as any other, with the public key that it wants a
certificate for. The *answer* is the certificate, or a sentence that says why not. Pure: bytes in, bytes out.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from lbnet.errors import RemoteProtocolError
from lbnet.security.token import SECRET_BYTES

PUBLIC_KEY_BYTES: Final = 91
"""A P-256 public key in DER."""

CERTIFICATE_BYTES_MAX: Final = 4_096

_OFFER: Final = struct.Struct(">8sHQH")
_REQUEST: Final = struct.Struct(f">8sHB{SECRET_BYTES}s{PUBLIC_KEY_BYTES}s")
_ANSWER: Final = struct.Struct(">8s?H")
_OFFER_MAGIC, _REQUEST_MAGIC, _ANSWER_MAGIC = b"lbnet-of", b"lbnet-rq", b"lbnet-an"

OFFER_HEAD_BYTES: Final = _OFFER.size
REQUEST_BYTES: Final = _REQUEST.size
ANSWER_HEAD_BYTES: Final = _ANSWER.size

_ROLES = ("worker", "client")


@dataclass(frozen=True, slots=True)
class Request:
    """Who wants to come in as what, with which secret, for which public key (DER)."""

    version: int
    role: str
    secret: bytes
    public_key: bytes

    def __repr__(self) -> str:
        return f"Request({self.role}, ...)"


def offer(version: int, time_s: float, authority: bytes) -> bytes:
    """The bytes of an offer: our version of the protocol, the time in seconds since 1970, and our authority (DER)."""
    assert len(authority) <= CERTIFICATE_BYTES_MAX, "our own authority is a small certificate"
    return _OFFER.pack(_OFFER_MAGIC, version, max(int(time_s), 0), len(authority)) + authority


def offer_head(data: bytes) -> tuple[int, int, int]:
    """Version, time and length of the authority, from the first :data:`OFFER_HEAD_BYTES` of an offer.

    Raises:
        RemoteProtocolError: it is none.
    """
    magic, version, time_s, length = _OFFER.unpack(data)
    if magic != _OFFER_MAGIC or length > CERTIFICATE_BYTES_MAX:
        raise RemoteProtocolError("it does not begin as an lbnet controller does")
    return version, time_s, length


def request(version: int, role: str, secret: bytes, public_key: bytes) -> bytes:
    """The bytes of a request."""
    assert len(secret) == SECRET_BYTES, "a token has just that"
    assert len(public_key) == PUBLIC_KEY_BYTES, "all of our keys are of one kind"
    return _REQUEST.pack(_REQUEST_MAGIC, version, _ROLES.index(role), secret, public_key)


def read_request(data: bytes) -> Request:
    """The request in exactly :data:`REQUEST_BYTES` bytes.

    Raises:
        RemoteProtocolError: they are none.
    """
    if len(data) != REQUEST_BYTES:
        raise RemoteProtocolError(f"a request has {REQUEST_BYTES} bytes, not {len(data)}")
    magic, version, role, secret, public_key = _REQUEST.unpack(data)
    if magic != _REQUEST_MAGIC or role >= len(_ROLES):
        raise RemoteProtocolError("it showed no certificate, and did not ask for one")
    return Request(version, _ROLES[role], secret, public_key)


def answer(*, granted: bool, content: bytes) -> bytes:
    """The bytes of an answer: a certificate (PEM) if it is ``granted``, else why not."""
    content = content[:CERTIFICATE_BYTES_MAX]
    return _ANSWER.pack(_ANSWER_MAGIC, granted, len(content)) + content


def answer_head(data: bytes) -> tuple[bool, int]:
    """Whether it is granted, and the length of what follows the first :data:`ANSWER_HEAD_BYTES`.

    Raises:
        RemoteProtocolError: it is no answer.
    """
    magic, granted, length = _ANSWER.unpack(data)
    if magic != _ANSWER_MAGIC or length > CERTIFICATE_BYTES_MAX:
        raise RemoteProtocolError("it did not answer as an lbnet controller does")
    return granted, length
