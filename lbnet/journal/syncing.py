"""What a loss of power does not take back: the bytes of a file, and the names in a directory."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path
from typing import BinaryIO


def sync_file(file: BinaryIO) -> None:
    """The bytes that were written are on the disk when this returns, on macOS not in the disk's own cache either.

    Raises:
        OSError: they are not.
    """
    file.flush()
    if sys.platform == "darwin":
        fcntl.fcntl(file, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(file.fileno())


def sync_directory(directory: Path) -> None:
    """What was made in it, or removed, stays so.

    Raises:
        OSError: that is not certain.
    """
    entry = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(entry)
    finally:
        os.close(entry)
