"""The messages between roles, to bytes and back. It must not know who may say what, or when."""

from __future__ import annotations

from lbnet.protocol.messages import KINDS, Message
from lbnet.protocol.shapes import Codec

_CODEC = Codec(KINDS)


def encode(message: Message) -> bytes:
    """The body of the frame that carries ``message`` between roles."""
    return _CODEC.encode(message)


def decode(body: bytes) -> Message:
    """The message between roles in the body of a frame.

    Raises:
        RemoteProtocolError: the bytes are not a message.
    """
    return _CODEC.decode(body)  # type: ignore[no-any-return]
