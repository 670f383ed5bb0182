"""The journal's file: records in the order in which they came, each with a checksum, in SQLite.

A record is safe when its transaction is: SQLite's write-ahead log is synced at every commit (``synchronous=FULL``), so
that neither the death of the process nor that of the machine takes it back. A torn end was never acknowledged, and is
dropped. Three things show that anything else is missing: a head for each job (how many records, and the last of them),
one for the whole, and beside the file a mark with the last number that was acknowledged, for SQLite itself forgets
quietly what follows a damaged page of its log.

It must not know of threads.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lbnet.errors import JournalError
from lbnet.journal.sums import MARK, mark, read_mark, sum_of

NAME = "journal.sqlite3"
MARK_NAME = "journal.mark"
APPLICATION_ID = 0x6C626E74
VERSION = 1
CLUSTER_BYTES = 16
PAGE_BYTES = 4096

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE records (seq INTEGER PRIMARY KEY, job INTEGER NOT NULL, body BLOB NOT NULL, sum BLOB NOT NULL);
CREATE INDEX records_of_job ON records (job);
CREATE TABLE heads (job INTEGER PRIMARY KEY, records INTEGER NOT NULL, last INTEGER NOT NULL, sum BLOB NOT NULL);
"""

_FREE_PAGES = 256
_WAL_BYTES_MAX = 64 << 20


@dataclass(frozen=True, slots=True)
class Addition:
    """Records of one job. ``whole``: they replace all that there are; with none, the job is forgotten."""

    job: int
    bodies: tuple[bytes, ...]
    whole: bool


class Store:
    """One journal, open for one thread at a time.

    Args:
        directory: where its files are, or will be; it exists.
        page_bytes: of SQLite, for a new one.

    Raises:
        JournalError: it cannot be read, is damaged, or of another version.
    """

    def __init__(self, directory: Path, page_bytes: int = PAGE_BYTES) -> None:
        self.path = directory / NAME
        self._mark_path = directory / MARK_NAME
        self._counts: dict[int, int] = {}
        try:
            self._mark = os.open(self._mark_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise JournalError(f"{self.path} cannot be opened ({error}): choose another --state-dir") from None
        try:
            self._open(page_bytes)
        except sqlite3.Error as error:
            self.close()
            raise self._damaged(str(error)) from None
        except BaseException:
            self.close()
            raise

    def _open(self, page_bytes: int) -> None:
        db = self._db
        application, version = (self._pragma(name) for name in ("application_id", "user_version"))
        if version == 0 and not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            self._create(page_bytes)
        elif application != APPLICATION_ID:
            raise JournalError(f"{self.path} is no journal of lbnet: choose another --state-dir")
        elif version > VERSION:
            raise JournalError(
                f"{self.path} is of version {version}, and this lbnet reads up to version {VERSION}: "
                "install the newer one"
            )
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_MAX}")
        problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise self._damaged(str(problem))
        self._verify()

    def _create(self, page_bytes: int) -> None:
        """A new journal begins, all of it or nothing."""
        db = self._db
        if self._read_mark() is not None:
            raise self._damaged("it is empty, and records were acknowledged")
        db.execute(f"PRAGMA page_size = {page_bytes}")
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        cluster = secrets.token_bytes(CLUSTER_BYTES)
        self._set("cluster", cluster + sum_of(0, 0, cluster))
        self._set("peers", mark(1))
        self._set("state", _state(0, 0))
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
        os.pwrite(self._mark, mark(0), 0)

    # --- reading ------------------------------------------------------------------------------------

    def _verify(self) -> None:
        cluster = self._get("cluster")
        self.cluster = cluster[:CLUSTER_BYTES]
        if cluster[CLUSTER_BYTES:] != sum_of(0, 0, self.cluster):
            raise self._damaged("its id does not fit its checksum")
        self._peers()
        state = self._get("state")
        self.last, jobs = int.from_bytes(state[:8], "little"), int.from_bytes(state[8:16], "little")
        if state != _state(self.last, jobs):
            raise self._damaged("its state does not fit its checksum")
        self._counts = {}
        for job, count, last, checksum in self._db.execute("SELECT job, records, last, sum FROM heads"):
            if checksum != sum_of(job, last, str(count).encode()):
                raise self._damaged(f"the head of job {job} does not fit its checksum")
            found, end = self._db.execute("SELECT count(*), max(seq) FROM records WHERE job = ?", (job,)).fetchone()
            if (found, end) != (count, last):
                raise self._damaged(f"job {job} has {found} records up to {end}, where {count} up to {last} were kept")
            self._counts[job] = count
        if len(self._counts) != jobs:
            raise self._damaged(f"it has {len(self._counts)} jobs, where {jobs} were kept")
        acknowledged = self._read_mark()
        if acknowledged is not None and acknowledged > self.last:
            raise self._damaged(f"it ends at record {self.last}, where {acknowledged} were acknowledged")

    def records(self) -> Iterator[bytes]:
        """All records in order.

        Raises:
            JournalError: one of them is damaged.
        """
        total = 0
        try:
            for seq, job, body, checksum in self._db.execute("SELECT seq, job, body, sum FROM records ORDER BY seq"):
                if not isinstance(body, bytes) or job not in self._counts or checksum != sum_of(seq, job, body):
                    raise self._damaged(f"record {seq} does not fit its checksum")
                total += 1
                yield body
        except sqlite3.Error as error:
            raise self._damaged(f"after {total} records: {error}") from None
        if total != sum(self._counts.values()):
            raise self._damaged(f"{total} records were read, where {sum(self._counts.values())} were kept")

    def _read_mark(self) -> int | None:
        data = os.pread(self._mark, MARK.size + 1, 0)
        if not data:
            return None
        number = read_mark(data)
        if number is None:
            raise JournalError(f"{self._mark_path} is damaged at offset 0: the journal beside it may lack its end")
        return number

    # --- writing ------------------------------------------------------------------------------------

    def add(self, additions: Sequence[Addition]) -> None:
        """Keep these, all or none: they are safe when this returns.

        Raises:
            sqlite3.Error: they could not be written; nothing has changed.
        """
        db = self._db
        counts: dict[int, int] = {}
        last = self.last
        shrunk = False
        db.execute("BEGIN IMMEDIATE")
        try:
            for addition in additions:
                job = addition.job
                if addition.whole:
                    db.execute("DELETE FROM records WHERE job = ?", (job,))
                    counts[job] = 0
                    shrunk = True
                rows = [(seq, job, body, sum_of(seq, job, body)) for seq, body in enumerate(addition.bodies, last + 1)]
                db.executemany("INSERT INTO records VALUES (?, ?, ?, ?)", rows)
                last += max(len(rows), 1)  # what only deletes has a number, too, or its loss would not be seen
                counts[job] = counts.get(job, self._counts.get(job, 0)) + len(rows)
            for job, count in counts.items():
                self._set_head(job, count)
            jobs = len((self._counts.keys() | counts.keys()) - {job for job, count in counts.items() if not count})
            self._set("state", _state(last, jobs))
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        self.last = last
        self._counts.update(counts)
        for job in [job for job, count in counts.items() if not count]:
            del self._counts[job]
        with suppress(OSError):  # it shows damage, and nothing else; the records are safe
            os.pwrite(self._mark, mark(last), 0)
        if shrunk and self._pragma("freelist_count") > max(_FREE_PAGES, self._pragma("page_count") // 4):
            db.executescript("PRAGMA incremental_vacuum")  # execute() would take one step, a page

    def _set_head(self, job: int, count: int) -> None:
        if not count:
            self._db.execute("DELETE FROM heads WHERE job = ?", (job,))
            return
        (last,) = self._db.execute("SELECT max(seq) FROM records WHERE job = ?", (job,)).fetchone()
        head = (job, count, last, sum_of(job, last, str(count).encode()))
        self._db.execute("INSERT OR REPLACE INTO heads VALUES (?, ?, ?, ?)", head)

    def reserve_peers(self, count: int) -> int:
        """The first of ``count`` ids that were never given.

        Raises:
            sqlite3.Error: that could not be written.
        """
        first = self._peers()
        self._set("peers", mark(first + count))
        return first

    def _peers(self) -> int:
        number = read_mark(self._get("peers"))
        if number is None:
            raise self._damaged("the number of its peers does not fit its checksum")
        return number

    @property
    def size_bytes(self) -> int:
        """Of its files."""
        paths = (self.path, self.path.with_name(NAME + "-wal"))
        return sum(path.stat().st_size for path in paths if path.exists())

    def close(self) -> None:
        """Close its files."""
        self._db.close()
        os.close(self._mark)

    # --- small things -------------------------------------------------------------------------------

    def _get(self, name: str) -> bytes:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        if row is None or not isinstance(row[0], bytes):
            raise self._damaged(f"it has no {name}")
        return row[0]

    def _set(self, name: str, value: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    def _damaged(self, what: str) -> JournalError:
        return JournalError(
            f"the journal {self.path} is damaged: {what}; nothing was changed: restore the directory from a copy, "
            "or move it away to begin without it"
        )


def _state(last: int, jobs: int) -> bytes:
    return last.to_bytes(8, "little") + jobs.to_bytes(8, "little") + sum_of(last, jobs)
