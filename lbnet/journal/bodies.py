"""Large records, in files beside the journal, which holds their places and checksums.

SQLite cuts what is large into pages, writes each of them twice, and reads them all to give them up: writing megabytes
took it more than three times as long as files do, and replacing them more than four times. Each transaction has one
file, synced before the records that name it are committed, and removed once the last of them is given up. What a crash
leaves between the two is removed when the journal has been read, and is whole.

It must not know what a record means, or how the journal finds damage.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from lbnet.journal.syncing import sync_directory, sync_file

LARGE_BYTES = 128 << 10
"""A record of so many is in a file: below, making one costs more than it saves."""

_PLACE = re.compile(r"(\d{1,19}) (\d{1,19}) (\d{1,19})", re.ASCII)
"""The name of a file; where in it a record begins, and its size, in bytes."""


class Bodies:
    """The large records of one journal.

    Args:
        folder: for their files; made with the first of them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._records: dict[int, list[str]] = {}
        """The file of each record, by job."""
        self._uses: Counter[str] = Counter()
        """Records in each file."""
        self._sizes: dict[str, int] = {}
        self._file: BinaryIO | None = None
        self._name = ""
        """Of the file of this transaction."""
        self._written: list[int] = []
        """The job of each record in it."""
        self._given_up: list[int] = []

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(self._sizes.values())

    def read(self, place: str) -> bytes | None:
        """The bytes of a record, None if they are not there, or not so many.

        Raises:
            OSError: they cannot be read.
        """
        found = _PLACE.fullmatch(place)
        if found is None:
            return None
        name, offset, size_bytes = found[1], int(found[2]), int(found[3])
        try:
            with (self._folder / name).open("rb") as file:
                if offset + size_bytes > os.fstat(file.fileno()).st_size:
                    return None
                file.seek(offset)
                return file.read(size_bytes)
        except FileNotFoundError:
            return None

    def found(self, places: Iterable[tuple[int, str]]) -> None:
        """The journal was opened, and has these and no others: job and place of each."""
        for job, place in places:
            found = _PLACE.fullmatch(place)
            if found is not None:  # else that is noticed when it is read
                self._keep(job, found[1])
        for name in self._uses:
            with suppress(OSError):  # it is missed when it is read
                self._sizes[name] = (self._folder / name).stat().st_size

    def tidy(self) -> None:
        """Remove what is not named by any record. A failure is no error: it only takes room."""
        with suppress(OSError):
            for path in list(self._folder.iterdir()):
                if path.name not in self._uses:
                    path.unlink()

    # --- one transaction ----------------------------------------------------------------------------

    def write(self, job: int, seq: int, body: bytes) -> str:
        """Write one, not synced yet. Returns its place.

        Raises:
            OSError: it could not be written.
        """
        if self._file is None:
            if not self._folder.is_dir():
                self._folder.mkdir(mode=0o700)
                sync_directory(self._folder.parent)
            self._name = str(seq)
            self._file = (self._folder / self._name).open("wb")
        self._written.append(job)
        offset = self._file.tell()
        self._file.write(body)
        return f"{self._name} {offset} {len(body)}"

    def give_up(self, job: int) -> None:
        """All that the job has had before this transaction."""
        self._given_up.append(job)

    def sync(self) -> None:
        """What was written is safe when this returns.

        Raises:
            OSError: it is not.
        """
        if self._file is not None:
            sync_file(self._file)
            sync_directory(self._folder)

    def committed(self) -> None:
        """The records are safe, and those that were given up are gone."""
        for job in self._given_up:
            for name in self._records.pop(job, ()):
                self._uses[name] -= 1
                if not self._uses[name]:
                    del self._uses[name]
                    self._sizes.pop(name, None)
                    self._remove(name)
        for job in self._written:
            self._keep(job, self._name)
        if self._file is not None:
            self._sizes[self._name] = self._file.tell()
        self._end()

    def undone(self) -> None:
        """Nothing has changed."""
        if self._file is not None:
            self._remove(self._name)
        self._end()

    # --- small things -------------------------------------------------------------------------------

    def _keep(self, job: int, name: str) -> None:
        self._records.setdefault(job, []).append(name)
        self._uses[name] += 1

    def _end(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # a full disk may say so once more
                self._file.close()
            self._file = None
        self._written.clear()
        self._given_up.clear()

    def _remove(self, name: str) -> None:
        with suppress(OSError):  # it is found when the journal is opened again
            (self._folder / name).unlink()
