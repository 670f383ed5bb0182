"""What tasks print, as their worker sees it: from the bytes of a slot's pipe to pieces of output of one task each.

Pure. It must not know where output is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lbnet.pool.streams import HEADER_BYTES, PIECE_BYTES, read_header


class Piece(NamedTuple):
    """Printed by this task of a ticket; by whichever runs now if ``ticket`` is None, by none if it is -1."""

    ticket: int | None
    task: int
    data: bytes


class OutputReader:
    """Takes the bytes of one slot process as they come.

    Args:
        token: begins each of its headers.
    """

    __slots__ = ("_index", "_left", "_rest", "_ticket", "_token")

    def __init__(self, token: bytes) -> None:
        self._token = token
        self._rest = b""
        self._ticket = self._index = -1
        self._left = 0

    def feed(self, data: bytes) -> Iterator[Piece]:
        """The pieces in these bytes. What may be the beginning of a header waits for the rest of it."""
        data = self._rest + data
        self._rest = b""
        at, end = 0, len(data)
        while at < end:
            if self._left:
                upto = min(end, at + self._left)
                self._left -= upto - at
                yield Piece(self._ticket, self._index, data[at:upto])
                at = upto
                continue
            start = data.find(self._token, at)
            if start < 0:
                start = end - self._begun(data[at:])
            if start > at:
                yield Piece(None, -1, data[at:start])
            if end - start < HEADER_BYTES:
                self._rest = data[start:]
                return
            self._ticket, self._index, size = read_header(data, start)
            self._left = min(size, PIECE_BYTES)
            at = start + HEADER_BYTES

    def end(self) -> Iterator[Piece]:
        """No bytes will come any more: what waited was no header."""
        if self._rest:
            yield Piece(None, -1, self._rest)
            self._rest = b""

    def _begun(self, data: bytes) -> int:
        """How many bytes at the end may be the beginning of a token."""
        for size in range(min(len(self._token) - 1, len(data)), 0, -1):
            if data.endswith(self._token[:size]):
                return size
        return 0
