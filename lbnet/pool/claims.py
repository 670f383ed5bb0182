"""The memory that a worker shares with one slot process: who may run which tasks of a batch.

A batch that was handed to a slot can be taken back from its tail while the slot is busy with an
earlier task. Both sides agree without a lock, with two words a ticket that have one writer each:

    slot                                    worker
    claimed := j      (tasks below j mine)  limit := m     (tasks from m on revoked)
    read limit                              read claimed = c
    limit < j: shorten to max(i, limit)     takes back [max(m, c), hi)

where the slot is about to run ``[i, j)``. Each side writes before it reads, so at least one of them sees the
other: either the slot shortens its group, or the worker leaves the group alone, or both. When both
yield, the tasks between are run by neither; FINISHED says how far the slot really came, and the
worker queues the gap again. A processor that lets the read overtake the write can make neither
side yield: then some tasks run twice, which the ledger drops. **A task is never lost**, because
the slot runs exactly ``[lo, ran_to)`` and the worker keeps everything from ``min(ran_to, taken_from)`` on.

A slot may lower ``claimed`` again to what it has really started: that only allows the worker more.

``current`` is the index of the running task, or -1: it names the one to blame when the process
dies. It must not know what tasks are.
"""

from __future__ import annotations

import mmap
import os
import tempfile

from lbnet import limits

_WORDS_PER_ENTRY = 8  # a cache line for each ticket, so that a busy slot does not slow its worker's reads
_CLAIMED, _LIMIT, _CURRENT, _STARTED = range(4)
_HUNGRY, _ENDING = range(2)
_BYTES = 8 * _WORDS_PER_ENTRY * (1 + limits.CLAIM_ENTRIES)


def _anonymous_file() -> int:
    """A descriptor of a new file of zeros that has no name."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("lbnet-claims")
    else:  # pragma: no cover - not on Linux
        fd, path = tempfile.mkstemp(prefix="lbnet-claims-")
        os.unlink(path)  # noqa: PTH108 - as light as can be
    os.ftruncate(fd, _BYTES)
    return fd


class Claims:
    """The shared words, seen from either side.

    Args:
        fd: the file to share; None makes one. It is closed by :meth:`close_file`.

    Entries are numbered below ``limits.CLAIM_ENTRIES``; indices are those of the tasks.
    """

    __slots__ = ("_map", "_reals", "_words", "fd")

    def __init__(self, fd: int | None = None) -> None:
        self.fd = _anonymous_file() if fd is None else fd
        try:
            self._map = mmap.mmap(self.fd, _BYTES)
        except OSError:
            self.close_file()
            raise
        view = memoryview(self._map)
        self._words = view.cast("q")
        self._reals = view.cast("d")

    def close_file(self) -> None:
        """Close the descriptor; the memory stays."""
        os.close(self.fd)
        self.fd = -1

    def close(self) -> None:
        """Give the memory back. Views made before must have been released."""
        self._words.release()
        self._reals.release()
        if self.fd >= 0:
            self.close_file()
        self._map.close()

    # --- both sides: one word each -----------------------------------------------------------

    def flag(self) -> memoryview:
        """A view of the hungry flag: ``flag[0] != 0`` while somebody would take work."""
        return self._words[_HUNGRY : _HUNGRY + 1]

    def current(self, entry: int) -> memoryview:
        """A view of the index that runs now, for the slot to write; -1 when none does."""
        word = _WORDS_PER_ENTRY * (1 + entry) + _CURRENT
        return self._words[word : word + 1]

    def started(self, entry: int) -> memoryview[float]:
        """A view of when the running task began, in seconds of the monotonic clock, for the slot to write first."""
        word = _WORDS_PER_ENTRY * (1 + entry) + _STARTED
        return self._reals[word : word + 1]

    # --- the worker's side ---------------------------------------------------------------------

    def set_hungry(self, hungry: bool) -> None:
        """Let ``lbnet.hungry()`` answer ``hungry`` in the slot."""
        self._words[_HUNGRY] = int(hungry)

    def set_ending(self) -> None:
        """Let the slot know that a SIGTERM is meant for it."""
        self._words[_ENDING] = 1

    def issue(self, entry: int, lo: int, hi: int) -> None:
        """Prepare an entry for a ticket of the tasks ``[lo, hi)``, before the slot hears of it."""
        word = _WORDS_PER_ENTRY * (1 + entry)
        self._words[word + _CLAIMED] = lo
        self._words[word + _LIMIT] = hi
        self._words[word + _CURRENT] = -1
        self._reals[word + _STARTED] = 0.0

    def revoke(self, entry: int, limit: int) -> None:
        """First half of taking back: tasks from ``limit`` on must not be claimed any more. Never raises the limit."""
        word = _WORDS_PER_ENTRY * (1 + entry) + _LIMIT
        self._words[word] = min(self._words[word], limit)

    def taken_from(self, entry: int) -> int:
        """Second half: the first index that the slot will not run."""
        word = _WORDS_PER_ENTRY * (1 + entry)
        return max(self._words[word + _LIMIT], self._words[word + _CLAIMED])

    def running(self, entry: int) -> tuple[int, float]:
        """The index that runs now, or -1, and when it began if its ticket is timed (else 0)."""
        word = _WORDS_PER_ENTRY * (1 + entry)
        return self._words[word + _CURRENT], self._reals[word + _STARTED]

    # --- the slot's side -----------------------------------------------------------------------

    @property
    def ending(self) -> bool:
        """Whether the worker is ending this slot."""
        return bool(self._words[_ENDING])

    def announce(self, entry: int, upto: int) -> None:
        """First half of claiming, or the lowering of a claim: tasks below ``upto`` are mine."""
        self._words[_WORDS_PER_ENTRY * (1 + entry) + _CLAIMED] = upto

    def granted(self, entry: int, begin: int, end: int) -> int:
        """Second half: of the group ``[begin, end)`` just announced, the end that may be run."""
        limit: int = self._words[_WORDS_PER_ENTRY * (1 + entry) + _LIMIT]
        if limit >= end:
            return end
        end = max(begin, limit)
        self.announce(entry, end)
        return end

    def claim(self, entry: int, begin: int, end: int) -> int:
        """Claim ``[begin, end)``; the end of what may be run of it, ``begin`` if nothing."""
        self.announce(entry, end)
        return self.granted(entry, begin, end)
