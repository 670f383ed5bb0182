"""Standard output and error of a slot process, each write with a header that says which task made it.

What a task prints would else be told from what the next one prints only by the time at which it is read. What does
not pass through here, such as the output of C code, has no header. It must not know who reads.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import struct
import sys
from collections.abc import Callable
from typing import Any

TOKEN_BYTES = 12
"""A random word, made for each slot process, begins every header: other output does not contain it by chance."""

_HEADER = struct.Struct("<qqI")
HEADER_BYTES = TOKEN_BYTES + _HEADER.size
PIECE_BYTES = getattr(select, "PIPE_BUF", 512) - HEADER_BYTES
"""Of one write: with its header it is never mixed with what others write at the same time."""


def header(token: bytes, ticket: int, index: int, size: int) -> bytes:
    """What stands before ``size`` bytes that the task printed; ticket and index are -1 for no task."""
    return token + _HEADER.pack(ticket, index, size)


def read_header(data: bytes, at: int) -> tuple[int, int, int]:
    """Ticket, index and size of the header that begins at ``at``."""
    return _HEADER.unpack_from(data, at + TOKEN_BYTES)


class _Marked(io.RawIOBase):
    """Writes to a descriptor, with headers for as long as it leads where it led at first."""

    def __init__(self, fd: int, token: bytes, running: Callable[[], tuple[int, int]]) -> None:
        super().__init__()
        self._fd = fd
        self._token = token
        self._running = running
        self._home = _identity(fd)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return False

    def write(self, data: Any) -> int:
        if _identity(self._fd) != self._home:
            return os.write(self._fd, data)  # a task has turned it elsewhere, perhaps into a file of its own
        piece = memoryview(data).cast("B")[:PIECE_BYTES]
        ticket, index = self._running()
        os.write(self._fd, header(self._token, ticket, index, len(piece)) + piece)
        return len(piece)


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


class Streams:
    """Replaces :data:`sys.stdout` and :data:`sys.stderr`.

    Args:
        token: of the headers.
        running: says ticket and index of the task that runs now, -1 if none does.
        output: the descriptor of the one.
        errors: the descriptor of the other.
    """

    def __init__(
        self, token: bytes, running: Callable[[], tuple[int, int]], *, output: int = 1, errors: int = 2
    ) -> None:
        # A slot is ended without notice: what is printed leaves with every line.
        self._streams = [
            io.TextIOWrapper(
                io.BufferedWriter(_Marked(fd, token, running)),
                encoding=old.encoding if old is not None else "utf-8",
                errors="backslashreplace",
                line_buffering=True,
            )
            for fd, old in ((output, sys.stdout), (errors, sys.stderr))
        ]
        sys.stdout, sys.stderr = self._streams
        sys.__stdout__, sys.__stderr__ = self._streams  # type: ignore[misc]

    def flush(self) -> None:
        """Let the beginnings of lines leave, too. Never raises."""
        for stream in self._streams:
            with contextlib.suppress(Exception):  # closed, or its descriptor is
                stream.flush()
