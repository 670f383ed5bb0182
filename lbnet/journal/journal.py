"""A journal that nobody waits for: what is to be kept is handed to a thread, which says when it is safe.

The thread takes all that waits into one transaction, so that the busier it is, the less each record costs.
"""

from __future__ import annotations

import math
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from lbnet import limits
from lbnet.errors import JournalError
from lbnet.journal.lock import DirectoryLock
from lbnet.journal.roster import Roster
from lbnet.journal.store import Addition, Store
from lbnet.journal.syncing import sync_directory

LOCK_NAME = "lock"
ROSTER_NAME = "workers"
TRANSACTION_BYTES = 8 << 20
"""Of records in one transaction, about: what waits behind it waits for so long."""

TRY_AGAIN_S = 0.5
"""After a write that failed."""


class Journal:
    """The journal in one directory, which no other process has meanwhile.

    Args:
        directory: made if it does not exist.

    Raises:
        JournalError: it cannot be used; the sentence says why.
    """

    def __init__(self, directory: Path) -> None:
        _make(directory)
        self.directory = directory
        self._lock = DirectoryLock(directory / LOCK_NAME)
        try:
            self._store = Store(directory)
        except BaseException:
            self._lock.release()
            raise
        self.roster = Roster(directory / ROSTER_NAME)
        """Which workers are there."""
        self._writing = threading.Lock()
        self._wake = threading.Condition()
        self._waiting: deque[tuple[Addition, int]] = deque()
        self._pending_bytes = 0
        self._due_at = math.inf
        self._fetches: deque[tuple[int, int, int, int, Callable[[list[bytes], str], None]]] = deque()
        self._appended = 0
        self._safe = 0
        self._stop = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None
        self.problem: str | None = None
        """Why nothing can be written now, None if it can."""

    @property
    def cluster(self) -> bytes:
        """The id of this state, made with it."""
        return self._store.cluster

    @property
    def pending_bytes(self) -> int:
        """Of records that are not safe yet."""
        return self._pending_bytes

    @property
    def size_bytes(self) -> int:
        """Of its files."""
        return self._store.size_bytes

    def records(self) -> Iterator[bytes]:
        """All records in order; before :meth:`start`.

        Raises:
            JournalError: one of them is damaged.
        """
        return self._store.records()

    def reserve_peers(self, count: int) -> int:
        """The first of ``count`` ids that were never given by a controller with this journal.

        Raises:
            JournalError: that could not be written down.
        """
        with self._writing:
            try:
                return self._store.reserve_peers(count)
            except sqlite3.Error as error:
                raise JournalError(f"the journal in {self.directory} cannot be written: {error}") from None

    def start(self, safe: Callable[[int], None], failed: Callable[[JournalError], None]) -> None:
        """Write from now on.

        Args:
            safe: called, in the journal's thread, with how many :meth:`append` calls are on the disk.
            failed: called there when writing fails; what waits is tried again until it succeeds.
        """
        self._thread = threading.Thread(target=self._run, args=(safe, failed), name="lbnet-journal", daemon=True)
        self._thread.start()

    def append(self, addition: Addition, *, urgent: bool = True) -> None:
        """Keep records of a job. It returns at once.

        Args:
            addition: the records.
            urgent: somebody waits for it; else it may wait ``limits.JOURNAL_GROUP_S`` for others.
        """
        size = sum(map(len, addition.bodies)) + sum(map(len, addition.aside))
        with self._wake:
            self._waiting.append((addition, size))
            self._appended += 1
            self._pending_bytes += size
            asleep, due_at = self._due_at == math.inf, self._due_at
            if urgent or self._pending_bytes >= limits.JOURNAL_GROUP_BYTES:
                self._due_at = 0.0
            elif asleep:
                self._due_at = time.monotonic() + limits.JOURNAL_GROUP_S
            if self._due_at != due_at:
                self._wake.notify()

    def fetch(self, job: int, begin: int, end: int, got: Callable[[list[bytes], str], None]) -> None:
        """Read outcomes of a job that were set aside, once all that was appended before is written.

        Args:
            job: its number.
            begin: the number of the first.
            end: that after the last.
            got: called, in the journal's thread, with some of them from the first one on; or none, and why.
        """
        with self._wake:
            self._fetches.append((self._appended, job, begin, end, got))
            self._due_at = 0.0
            self._wake.notify()

    def aside(self, job: int) -> tuple[int, int]:
        """How many outcomes of a job are set aside, and the number of the first; before :meth:`start`."""
        return self._store.numbers_aside(job)

    def close(self, timeout_s: float) -> bool:
        """Write what waits, and end. Returns whether all of it was written in time."""
        with self._wake:
            self._stop.set()
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                return False  # it is a daemon, and holds files that the end of the process closes
        if not self._closed:
            self._closed = True
            self._store.close()
            self._lock.release()
        return not self._waiting

    # --- the thread ---------------------------------------------------------------------------------

    def _run(self, safe: Callable[[int], None], failed: Callable[[JournalError], None]) -> None:
        untidy = False
        while True:
            with self._wake:
                while not self._stop.is_set() and not untidy and (wait_s := self._due_at - time.monotonic()) > 0:
                    self._wake.wait(None if wait_s == math.inf else wait_s)
                if not self._waiting and self._stop.is_set():
                    return
                batch = self._next()
                if len(batch) == len(self._waiting):
                    self._due_at = math.inf
            if batch and self._write(batch, failed):
                with self._wake:
                    for addition, size in batch:
                        self._pending_bytes -= size
                        assert self._waiting[0][0] is addition, "nobody else takes from it"
                        self._waiting.popleft()
                self._safe += len(batch)
                safe(self._safe)
                self._fetch()
            elif batch:
                self._due_at = 0.0
                if self._stop.is_set():
                    return
                self._stop.wait(TRY_AGAIN_S)
                continue
            else:
                self._fetch()
            if untidy or any(addition.whole for addition, _ in batch):  # else nothing was given up
                with self._writing:
                    untidy = self._store.tidy()

    def _fetch(self) -> None:
        """Read what was asked for, as far as it comes after what is written."""
        while self._fetches and self._fetches[0][0] <= self._safe:
            _, job, begin, end, got = self._fetches.popleft()
            try:
                with self._writing:
                    found, problem = self._store.fetch(job, begin, end, limits.FETCH_BYTES), ""
            except (JournalError, MemoryError) as error:
                found, problem = [], str(error) or "no memory"
            got(found, problem)

    def _next(self) -> list[tuple[Addition, int]]:
        batch: list[tuple[Addition, int]] = []
        size = 0
        for addition, bytes_ in self._waiting:
            if batch and size + bytes_ > TRANSACTION_BYTES:
                break
            batch.append((addition, bytes_))
            size += bytes_
        return batch

    def _write(self, batch: list[tuple[Addition, int]], failed: Callable[[JournalError], None]) -> bool:
        try:
            with self._writing:
                self._store.add([addition for addition, _ in batch])
        except (sqlite3.Error, OSError, MemoryError) as error:
            if self.problem is None:
                self.problem = str(error) or "no memory"
                failed(
                    JournalError(
                        f"the journal in {self.directory} cannot be written ({self.problem}): no more work is taken "
                        "in, and results are held back, until there is room; what was acknowledged is safe"
                    )
                )
            return False
        self.problem = None
        return True


def _make(directory: Path) -> None:
    """Make a directory that a power loss does not take away again, with the journal in it."""
    made = [path for path in (directory, *directory.parents) if not path.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in made:
            sync_directory(path.parent)
    except OSError as error:
        raise JournalError(f"{directory} cannot be made ({error.strerror}): choose another --state-dir") from None
