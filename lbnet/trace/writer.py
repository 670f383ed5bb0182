"""Writes a trace: to ``FILE.part`` while it grows, which becomes ``FILE`` when it is whole.

So ``FILE`` is never there by half, whatever ends the program; a ``FILE.part`` that was left behind is recognised by
its missing footer, and replaced by the next recording to ``FILE``. It must not know where records come from, nor of
threads: calls come one after the other.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from lbnet.errors import UsageError
from lbnet.trace.records import Record, line_of
from lbnet.version import VERSION

FORMAT = "lbnet-trace"
"""The first thing in a trace."""

FORMAT_VERSION = 1
"""The version of the format that is written, and the only one that is read."""


def header() -> bytes:
    """The first line of a trace, with its end."""
    facts = {"format": FORMAT, "version": FORMAT_VERSION, "lbnet": VERSION}
    return json.dumps(facts, separators=(",", ":")).encode() + b"\n"


def footer(records: int, crc32: int) -> bytes:
    """The last line of a trace, with its end. ``crc32`` is that of all bytes before it."""
    return b'{"records":%d,"crc32":"%08x"}\n' % (records, crc32)


def check_new(path: Path) -> None:
    """Look early whether a trace can be written to ``path``.

    Raises:
        UsageError: something is there already, or no file can be made there; the sentence says what to do.
    """
    if os.path.lexists(path):
        raise UsageError(f"{path} exists already: name another file for the trace, or remove it")
    if not path.parent.is_dir():
        raise UsageError(f"cannot write the trace {path}: there is no directory {path.parent}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write the trace {path}: no files can be made in {path.parent}; name another one")


class TraceWriter:
    """A trace that is being written.

    Args:
        path: where it will be once it is whole.

    Attributes:
        path: the same.
        part: where it is until then.

    Raises:
        UsageError: something is at ``path`` already, another run is being recorded to it, or it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        check_new(path)
        self.path = path
        self.part = path.with_name(f"{path.name}.part")
        self._crc32 = zlib.crc32(header())
        self._records = 0
        try:
            self._file = self._begin()
        except OSError as error:
            raise UsageError(
                f"cannot write the trace {self.part} ({error.strerror or error}): name another file for it"
            ) from None

    def write(self, records: Iterable[Record]) -> None:
        """Add records, and hand them to the system.

        Raises:
            OSError: they cannot be written, for example because the disk is full: call :meth:`abandon`.
        """
        lines = [line_of(record) for record in records]
        self._records += len(lines)
        self._put("".join(f"{line}\n" for line in lines).encode())

    def finish(self) -> None:
        """Nothing follows: the trace is whole, and moves to ``path``.

        Raises:
            FileExistsError: something else is at ``path`` by now; the whole trace is at ``part``.
            OSError: it cannot be written or moved.
        """
        self._put(footer(self._records, self._crc32))
        # While it is locked nobody else records to this name, so nothing of ours can come in between.
        if os.path.lexists(self.path):
            raise FileExistsError(errno.EEXIST, "File exists", str(self.path))
        self.part.rename(self.path)
        self._file.close()

    def abandon(self) -> None:
        """Close the file without a footer: what could be written stays at ``part``."""
        # Closing tries to write again what could not be written before, and closes in any case.
        with contextlib.suppress(OSError):
            self._file.close()

    def _begin(self) -> BinaryIO:
        """Open ``part`` for us alone, and begin it anew: a part that nobody holds was left behind by a crash."""
        descriptor = os.open(self.part, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            self._lock(descriptor)
            # Whoever held it until now may have finished: then it is no part any more.
            check_new(self.path)
            os.ftruncate(descriptor, 0)
            os.write(descriptor, header())
        except BaseException:
            os.close(descriptor)
            raise
        return os.fdopen(descriptor, "wb")

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another run is being recorded to {self.path}: name another file for the trace") from None
        except OSError:
            # Some file systems have no locks: there, two recordings to one name are the user's own care.
            return

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()
        self._crc32 = zlib.crc32(data, self._crc32)
