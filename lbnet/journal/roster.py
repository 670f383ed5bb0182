"""Which workers are there, written down for the controller that comes after a crash: it waits for these and no others.

A hint, and no more: it is not synced, and where it cannot be written or read, the next controller knows of nobody, and
waits for as long as a worker may need to come back. It must not know what workers do.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from lbnet.types import PeerId


class Roster:
    """The roster in one file, which is rewritten whenever somebody comes or leaves.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.before = _read(path)
        """Who was there when the last controller ended; None if that is not known."""
        self.there = set(self.before or ())
        """Who is there, or may still come back."""

    def came(self, worker: PeerId) -> None:
        """A worker is there."""
        self.there.add(worker)
        self._write()

    def left(self, worker: PeerId) -> None:
        """A worker is gone. Others are not known here."""
        if worker in self.there:
            self.there.remove(worker)
            self._write()

    def nobody(self) -> None:
        """All workers were told that this is the end."""
        self.there.clear()
        self._write()

    def _write(self) -> None:
        new = self._path.with_suffix(".new")
        try:
            new.write_text(" ".join(map(str, sorted(self.there))) + "\n")
            new.replace(self._path)
        except OSError:  # a full disk: better nothing than what is not true any more
            for path in (new, self._path):
                with suppress(OSError):
                    path.unlink()


def _read(path: Path) -> frozenset[PeerId] | None:
    try:
        text = path.read_text()
        return frozenset(PeerId(int(word)) for word in text.split()) if text.endswith("\n") else None
    except (OSError, ValueError):
        return None
