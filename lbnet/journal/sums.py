"""Checksums: whatever is read is what was written, or it is noticed. It must not know where things are kept."""

from __future__ import annotations

import hashlib
import struct

_SUM_BYTES = 8

MARK = struct.Struct("<Q8s")
"""The mark beside a journal: the last safe sequence number, and a checksum."""


def sum_of(one: int, other: int, body: bytes = b"") -> bytes:
    """A checksum over two numbers and some bytes. A damaged number may be anything."""
    return hashlib.blake2b(f"{one!r} {other!r} ".encode() + body, digest_size=_SUM_BYTES).digest()


def mark(number: int) -> bytes:
    """The bytes of a mark."""
    return MARK.pack(number, sum_of(number, 0))


def read_mark(data: bytes) -> int | None:
    """The number of a mark, None if these bytes are none."""
    if len(data) != MARK.size:
        return None
    number, checksum = MARK.unpack(data)
    return int(number) if checksum == sum_of(number, 0) else None
