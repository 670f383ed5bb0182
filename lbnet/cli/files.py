"""Files of JSON lines that commands read and write, ``-`` for standard input and output."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from lbnet.errors import UsageError


@contextlib.contextmanager
def reading(name: str) -> Iterator[IO[bytes]]:
    """Not sys.stdin, nor a file that is closed as a whole: that waits for a thread which waits for a line.

    Raises:
        UsageError: it cannot be read.
    """
    file: Any = os.fdopen(os.dup(0), "rb", buffering=0) if name == "-" else _opened(name, "rb", "read", buffering=0)
    with file:
        yield io.BufferedReader(file)


@contextlib.contextmanager
def writing(name: str) -> Iterator[IO[str]]:
    """Lines leave at once: the next one may take long. What a file holds stays.

    Raises:
        UsageError: it cannot be written.
    """
    more: dict[str, Any] = {"encoding": "utf-8", "buffering": 1}
    file: IO[str] = os.fdopen(os.dup(1), "w", **more) if name == "-" else _opened(name, "a", "write", **more)
    with file:
        yield file


def _opened(name: str, mode: str, verb: str, **more: Any) -> IO[Any]:
    try:
        return Path(name).open(mode, **more)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot {verb} {name}: {getattr(error, 'strerror', None) or error}") from None
