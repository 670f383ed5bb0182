"""A small disk of its own for the controller's state directory, which can be filled to the last byte."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

from lbnet.errors import UsageError

SIZE = "256m"
"""Room for the journal of a run, with inputs and results of several large jobs at a time, and quickly filled."""

_BALLAST = "ballast"
_CHUNK = bytes(1 << 20)
_LIMIT_S = 20.0


class SmallDisk:
    """A tmpfs.

    Args:
        where: a folder that is made for it.

    Raises:
        UsageError: it cannot be mounted here.
    """

    def __init__(self, where: Path) -> None:
        self.where = where
        where.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(where)],
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
        if done.returncode:
            raise UsageError(f"no small disk can be mounted at {where}: {done.stderr.strip()}")

    def fill(self) -> None:
        """Take all the room that is left."""
        with (self.where / _BALLAST).open("ab", buffering=0) as file:
            size = len(_CHUNK)
            while size:
                try:
                    file.write(_CHUNK[:size])
                except OSError:
                    size //= 2

    def clear(self) -> None:
        """Give it back."""
        (self.where / _BALLAST).unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount it."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(["umount", "-l", str(self.where)], timeout=_LIMIT_S, check=False, capture_output=True)


def can_mount() -> bool:
    """Whether it is worth a try."""
    return os.geteuid() == 0
