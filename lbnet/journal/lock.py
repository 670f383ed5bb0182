"""One process at a time has a state directory."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from lbnet.errors import JournalError


class DirectoryLock:
    """Held from its creation until :meth:`release`, or the end of the process, however that comes.

    Args:
        path: the lock's file; it holds the process id of whoever has it.

    Raises:
        JournalError: another process has it, or the file cannot be written or locked.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalError(
                f"{path.parent} cannot be written ({error.strerror}): choose another --state-dir"
            ) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._file, 20).decode(errors="replace").strip()
            os.close(self._file)
            raise JournalError(
                f"another controller (process {holder or 'unknown'}) uses the state in {path.parent}: "
                "stop it, or choose another --state-dir"
            ) from None
        except OSError as error:
            os.close(self._file)
            raise JournalError(
                f"{path.parent} cannot be locked ({error.strerror}): choose a --state-dir on a local disk"
            ) from None
        with suppress(OSError):  # a full disk: the lock holds all the same, and says nothing of who has it
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Let others have it."""
        os.close(self._file)
