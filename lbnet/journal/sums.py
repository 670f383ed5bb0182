"""Checksums: whatever is read is what was written, or it is noticed. It must not know where things are kept."""

from __future__ import annotations

import hashlib
import struct

SUM_BYTES = 8

MARK = struct.Struct("<Q8s")
"""A number that is kept by itself, and a checksum."""


def sum_of(one: int, other: int, body: bytes = b"") -> bytes:
    """A checksum over two numbers and some bytes. A damaged number may be anything.

    SHA-256, which most processors have instructions for: with large records it took two fifths of BLAKE2's time.
    """
    checksum = hashlib.sha256(f"{one!r} {other!r} ".encode(), usedforsecurity=False)
    checksum.update(body)
    return checksum.digest()[:SUM_BYTES]


def mark(number: int) -> bytes:
    """The bytes of a mark."""
    return MARK.pack(number, sum_of(number, 0))


def read_mark(data: bytes) -> int | None:
    """The number of a mark, None if these bytes are none."""
    if len(data) != MARK.size:
        return None
    number, checksum = MARK.unpack(data)
    return int(number) if checksum == sum_of(number, 0) else None


def state(last: int, jobs: int) -> bytes:
    """The bytes of what a journal says of itself: the last number given, and how many jobs it has."""
    return last.to_bytes(8, "little") + jobs.to_bytes(8, "little") + sum_of(last, jobs)


def read_state(data: bytes) -> tuple[int, int] | None:
    """What was given to :func:`state`, None if these bytes are none."""
    last, jobs = int.from_bytes(data[:8], "little"), int.from_bytes(data[8:16], "little")
    return (last, jobs) if data == state(last, jobs) else None
