"""Inputs that are almost right: valid ones with bytes changed, cut, doubled. It must not know what they mean."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence

_LENGTHS = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_TAGS = bytes((0xC1, 0xC7, 0xC9, 0xCF, 0xD9, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF, 0x90, 0x9F, 0x80, 0x8F))
"""Of msgpack: what is never used, and what announces long contents."""


class Mutator:
    """Makes inputs from valid ones.

    Args:
        corpus: valid inputs.
        rng: decides.
    """

    def __init__(self, corpus: Sequence[bytes], rng: random.Random) -> None:
        self._corpus = corpus
        self._rng = rng
        self._ways: tuple[Callable[[bytearray], None], ...] = (
            self._flip,
            self._flip,
            self._cut,
            self._double,
            self._number,
            self._tag,
            self._splice,
            self._noise,
            self._nest,
        )

    def next(self) -> bytes:
        """One more input."""
        return self.change(self._rng.choice(self._corpus))

    def change(self, valid: bytes) -> bytes:
        """The same with a few changes."""
        data = bytearray(valid)
        for _ in range(self._rng.choice((1, 1, 1, 2, 4))):
            self._rng.choice(self._ways)(data)
        return bytes(data)

    def _at(self, data: bytearray) -> int:
        return self._rng.randrange(len(data)) if data else 0

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self._at(data)] ^= 1 << self._rng.randrange(8)

    def _cut(self, data: bytearray) -> None:
        at = self._at(data)
        del data[at : at + self._rng.choice((1, 2, 8, len(data)))]

    def _double(self, data: bytearray) -> None:
        at = self._at(data)
        data[at:at] = data[at : at + self._rng.randrange(1, 16)]

    def _number(self, data: bytearray) -> None:
        at = self._at(data)
        data[at : at + 4] = struct.pack(">I", self._rng.choice(_LENGTHS))

    def _tag(self, data: bytearray) -> None:
        if data:
            data[self._at(data)] = self._rng.choice(_TAGS)

    def _splice(self, data: bytearray) -> None:
        other = self._rng.choice(self._corpus)
        data[self._at(data) :] = other[self._rng.randrange(len(other) or 1) :]

    def _noise(self, data: bytearray) -> None:
        at = self._at(data)
        data[at:at] = self._rng.randbytes(self._rng.randrange(1, 24))

    def _nest(self, data: bytearray) -> None:
        at = self._at(data)
        data[at:at] = self._rng.choice((b"\x91", b"\x81", b"\x93")) * self._rng.choice((3, 40, 1_200))
