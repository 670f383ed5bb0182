"""The mark beside a journal: the last number that was acknowledged.

It is written after each commit and not synced, so it may be older than the journal, and never newer. A journal that
ends before its mark has lost what it promised.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from lbnet.errors import JournalError
from lbnet.journal.sums import MARK, mark, read_mark


class MarkFile:
    """One mark, made if it does not exist.

    Args:
        path: of its file.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def read(self) -> int | None:
        """The last number that was acknowledged, None if none was.

        Raises:
            JournalError: the mark is damaged.
        """
        try:
            data = os.pread(self._file, MARK.size + 1, 0)
        except OSError as error:
            raise JournalError(f"{self._path} cannot be read ({error.strerror}): see to its disk") from None
        if not data:
            return None
        number = read_mark(data)
        if number is None:
            raise JournalError(
                f"{self._path} is damaged at offset 0, so nobody can tell whether the journal beside it is whole: "
                "restore the directory from a copy, or delete this file to go on with what the journal has"
            )
        return number

    def write(self, number: int, *, sync: bool = False) -> None:
        """Set it. A failure is no error: the mark shows damage, and nothing else; the records are safe.

        Args:
            number: the last one acknowledged.
            sync: for a new file, which a crash of the machine could leave with a length and no content.
        """
        with suppress(OSError):
            os.pwrite(self._file, mark(number), 0)
            if sync:
                os.fsync(self._file)

    def close(self) -> None:
        """Close its file."""
        os.close(self._file)
