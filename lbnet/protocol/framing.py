"""A frame is a 4-byte big-endian length and that many bytes. It must not know what the bytes mean.

:class:`FrameReader` takes whatever a link delivers, in pieces of any size, and returns whole frames.
"""

from __future__ import annotations

import struct

from lbnet import limits
from lbnet.errors import LocalProtocolError, RemoteProtocolError

_LENGTH = struct.Struct(">I")
HEADER_BYTES = _LENGTH.size


def frame(body: bytes) -> bytes:
    """The bytes of one frame.

    Raises:
        LocalProtocolError: ``body`` is longer than ``limits.FRAME_BYTES_MAX``.
    """
    if len(body) > limits.FRAME_BYTES_MAX:
        raise LocalProtocolError(f"a frame of {len(body):,} bytes is over the limit of {limits.FRAME_BYTES_MAX:,}")
    return _LENGTH.pack(len(body)) + body


class FrameReader:
    """Cuts a stream of bytes into frames.

    ``frame_bytes_max`` may be raised once the peer is known.
    """

    __slots__ = ("_buffer", "_start", "frame_bytes_max")

    def __init__(self, frame_bytes_max: int = limits.FRAME_BYTES_MAX) -> None:
        self.frame_bytes_max = frame_bytes_max
        self._buffer = bytearray()
        self._start = 0

    @property
    def pending_bytes(self) -> int:
        """Bytes of a frame that is not yet whole."""
        return len(self._buffer) - self._start

    def feed(self, data: bytes) -> None:
        """Take what the link delivered."""
        self._buffer += data

    def next(self) -> bytes | None:
        """The next whole frame, or None until more bytes come.

        Raises:
            RemoteProtocolError: the peer announced a frame over the limit.
        """
        available = len(self._buffer) - self._start
        if available < HEADER_BYTES:
            self._compact()
            return None
        (length,) = _LENGTH.unpack_from(self._buffer, self._start)
        if length > self.frame_bytes_max:
            raise RemoteProtocolError(
                f"the peer announced a frame of {length:,} bytes; the limit here is {self.frame_bytes_max:,}"
            )
        if available < HEADER_BYTES + length:
            self._compact()
            return None
        begin = self._start + HEADER_BYTES
        with memoryview(self._buffer) as view:
            body = bytes(view[begin : begin + length])
        self._start = begin + length
        return body

    def _compact(self) -> None:
        if self._start:
            del self._buffer[: self._start]
            self._start = 0
