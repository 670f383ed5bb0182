"""Which outcomes of a job its reader has really got: the controller forgets those, and keeps all others.

Pure. It must not know what the outcomes are, only which item each belongs to.
"""

from __future__ import annotations

from lbnet.client.standing import TAKEN_BYTES, TAKEN_EVERY


class Receipts:
    """Numbers outcomes as they come. TAKEN counts from the beginning, so one that was not got holds up those after it.

    Args:
        begin: the number of the first outcome that comes.
    """

    def __init__(self, begin: int = 0) -> None:
        self._came = begin
        self._waiting: dict[int, list[int]] = {}
        self._got: set[int] = set()
        self._upto = self._told = begin
        self._untold_bytes = 0
        self._read = begin
        self._read_bytes = 0

    def came(self, item: int, size_bytes: int = 0) -> int | None:
        """An outcome of this item came. Returns how many did, if it is time to say that, else None."""
        self._waiting.setdefault(item, []).append(self._came)
        self._came += 1
        self._read_bytes += size_bytes
        if self._came - self._read < TAKEN_EVERY and self._read_bytes < TAKEN_BYTES:
            return None
        self._read, self._read_bytes = self._came, 0
        return self._came

    def got(self, item: int, size_bytes: int) -> None:
        """The reader has what there is of this item, or of the items from this one on that came together."""
        self._got.update(self._waiting.pop(item, ()))
        self._untold_bytes += size_bytes
        while self._upto in self._got:
            self._got.discard(self._upto)
            self._upto += 1

    def got_all(self) -> None:
        """The reader has everything, and the word that it is everything."""
        self._waiting.clear()
        self._got.clear()
        self._came += 1
        self._upto = self._came

    def due(self, *, now: bool = False) -> int | None:
        """What to say that was taken; None while it is not worth a message. ``now``: however little it is."""
        fresh = self._upto - self._told
        if not fresh or not (now or fresh >= TAKEN_EVERY or self._untold_bytes >= TAKEN_BYTES):
            return None
        self._told, self._untold_bytes = self._upto, 0
        return self._upto
