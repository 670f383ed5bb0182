"""Reads a trace, or says in one sentence why it cannot be read.

It gives back what was recorded, in the order in which it was; it must not know which of the results counted.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from lbnet.errors import UsageError
from lbnet.trace.records import Cancelled, Ended, Finished, Opened, record_of
from lbnet.trace.writer import FORMAT, FORMAT_VERSION, footer

_HEADER_BYTES_MAX = 4 << 10
"""What is no trace may have no lines at all."""

_LINE_BYTES_MAX = 256 << 20
"""Longer than a line with as many members as a message can have."""

_MAGIC = f'{{"format":"{FORMAT}"'.encode()


@dataclass(frozen=True, slots=True)
class RecordedJob:
    """One job of a trace: its beginning, what happened, in order, and its end."""

    opened: Opened
    events: tuple[Finished | Cancelled, ...]
    ended: Ended

    @property
    def seconds(self) -> float:
        """The seconds that all its recorded tasks took, duplicates and orphans included."""
        return sum(event.seconds for event in self.events if isinstance(event, Finished))


@dataclass(frozen=True, slots=True)
class Trace:
    """A whole trace. ``lbnet`` is the version that wrote it; ``jobs`` are in the order in which they were opened."""

    lbnet: str
    jobs: Mapping[int, RecordedJob]


def read(path: Path) -> Trace:
    """Read a whole trace.

    Raises:
        UsageError: it cannot be read, is no trace or one of another version, is cut off or damaged.
    """
    try:
        with path.open("rb") as file:
            return _Reader(path, file).read()
    except OSError as error:
        raise UsageError(f"cannot read the trace {path} ({error.strerror or error}): check the path") from None


class _Reader:
    """Goes through a file, line by line."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._line = 0
        self._crc32 = 0
        self._opened: dict[int, Opened] = {}
        self._events: dict[int, list[Finished | Cancelled]] = {}
        self._ended: dict[int, Ended] = {}

    def read(self) -> Trace:
        lbnet = self._header()
        while True:
            data = self._next(_LINE_BYTES_MAX)
            if not data:
                self._fail_cut(f"after line {self._line - 1}")
            if data.startswith(b'{"records":'):
                break
            self._take(data)
        self._check_end(data)
        with self._damage():
            jobs = {
                job: RecordedJob(opened, tuple(self._events[job]), self._ended[job])
                for job, opened in self._opened.items()
            }
        return Trace(lbnet, jobs)

    def _header(self) -> str:
        data = self._next(_HEADER_BYTES_MAX)
        if not data:
            raise UsageError(f"the trace {self._path} is empty: nothing has been recorded to it")
        if not data.startswith(_MAGIC):
            if not data.endswith(b"\n") and _MAGIC.startswith(data):
                self._fail_cut("in line 1")
            raise UsageError(f"{self._path} is not an lbnet trace: name a file that was written with --trace")
        facts: Any = None
        with self._damage(data):
            facts = json.loads(data)
            if not all(type(facts[name]) is kind for name, kind in (("version", int), ("lbnet", str))):
                raise ValueError
        if facts["version"] != FORMAT_VERSION:
            raise UsageError(
                f"the trace {self._path} is of format version {facts['version']}, and this lbnet reads version "
                f"{FORMAT_VERSION}: use lbnet {facts['lbnet']}, which wrote it, or record again"
            )
        if not data.endswith(b"\n"):
            self._fail_cut("in line 1")
        self._crc32 = zlib.crc32(data)
        return str(facts["lbnet"])

    def _take(self, data: bytes) -> None:
        with self._damage(data):
            record = record_of(data)
            if isinstance(record, Opened):
                _add(self._opened, record.job, record)
                self._events[record.job] = []
            elif record.job in self._ended or record.job not in self._opened:
                raise ValueError
            elif isinstance(record, Ended):
                _add(self._ended, record.job, record)
            else:
                self._events[record.job].append(record)
        if not data.endswith(b"\n"):
            self._fail_cut(f"in line {self._line}")
        self._crc32 = zlib.crc32(data, self._crc32)

    def _check_end(self, data: bytes) -> None:
        right = footer(self._line - 2, self._crc32)
        if data != right:
            if right.startswith(data):
                self._fail_cut(f"in line {self._line}")
            raise UsageError(
                f"the trace {self._path} is damaged: the checksum in line {self._line} is not that of the lines "
                "before it; record again"
            )
        if self._file.read(1):
            self._fail_damaged(self._line + 1)

    def _next(self, bytes_max: int) -> bytes:
        self._line += 1
        return self._file.readline(bytes_max)

    @contextmanager
    def _damage(self, data: bytes = b"\n") -> Iterator[None]:
        """What does not make sense is damaged; at the end of a file without an end of line, it is cut off."""
        try:
            yield
        except (ValueError, LookupError, TypeError, RecursionError):
            if not data.endswith(b"\n"):
                self._fail_cut(f"in line {self._line}")
            self._fail_damaged(self._line)

    def _fail_cut(self, where: str) -> NoReturn:
        raise UsageError(
            f"the trace {self._path} is cut off {where}: the program that wrote it did not end in good order; "
            "record again"
        ) from None

    def _fail_damaged(self, line: int) -> NoReturn:
        raise UsageError(f"the trace {self._path} is damaged in line {line}: record again") from None


def _add(records: dict[int, Any], job: int, record: Any) -> None:
    if job in records:
        raise ValueError
    records[job] = record
