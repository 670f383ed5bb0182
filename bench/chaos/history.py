"""What clients got, one JSON line for each thing that happened, written as it happens.

Each life of a client has a file of its own: the last line of one that was killed may be torn.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class What(StrEnum):
    """What happened to a job, as its client saw it."""

    OPEN = "open"
    """It is about to be submitted; with the facts of the job."""
    VALUE = "value"
    """An item has a value."""
    ERROR = "error"
    """An item has failed; the value is the name of the exception's type."""
    CANCEL = "cancel"
    """The client gave the job up."""
    WITHDRAW = "withdraw"
    """The client does not want this item any more, and nothing of it will come."""
    HANDED_IN = "handed in"
    """The controller keeps the job, whatever becomes of its client; the value is the job's id."""
    READ = "read"
    """Somebody begins to read a job that was handed in."""
    END = "end"
    """Nothing more will come."""
    BROKEN = "broken"
    """The client got an error that is no task's."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line.

    Attributes:
        what: happened.
        job: the name of the job, unique in a run.
        index: of the item, for outcomes.
        value: of an outcome, or what :class:`What` says.
        at_s: when, in seconds since 1970.
    """

    what: What
    job: str
    index: int = -1
    value: Any = None
    at_s: float = 0.0


class Writer:
    """Appends entries; several threads may.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._lock = threading.Lock()

    def write(self, what: What, job: str, index: int = -1, value: Any = None) -> None:
        """Write an entry, now: what a killed process has written stays."""
        line = json.dumps({"what": what, "job": job, "index": index, "value": value, "at_s": time.time()})
        with self._lock:
            os.write(self._fd, f"{line}\n".encode())


@dataclass
class Reader:
    """Reads what was appended since the last time."""

    path: Path
    _offset: int = 0
    _rest: bytes = field(default=b"")

    def entries(self) -> list[Entry]:
        """New entries. A line that is not whole yet is left for later.

        Raises:
            ValueError: a whole line is no entry.
        """
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [_entry(json.loads(line)) for line in lines]


def _entry(facts: Mapping[str, Any]) -> Entry:
    return Entry(**{**facts, "what": What(facts["what"])})
