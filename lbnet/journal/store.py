"""The journal's file: records in the order in which they came, each with a checksum, in SQLite.

A record is safe when its transaction is: SQLite's write-ahead log is synced at every commit (``synchronous=FULL``;
``NORMAL`` syncs at checkpoints only, so that a power loss would take acknowledged commits back), and with
``fullfsync`` macOS empties the disk's own cache, too. So neither the death of the process nor that of the machine
takes it back. A torn end was never acknowledged, and is dropped.

SQLite itself forgets quietly what follows a damaged page of its log. So every change has a number, records or not, and
beside the file a mark holds the last one that was acknowledged. Large records are in files, see
:mod:`lbnet.journal.bodies`.

It must not know of threads.
"""

from __future__ import annotations

import secrets
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lbnet.errors import JournalError
from lbnet.journal.bodies import LARGE_BYTES, Bodies
from lbnet.journal.markfile import MarkFile
from lbnet.journal.reading import APPLICATION_ID, VERSION, Contents, Reader, check_header, damaged, refused
from lbnet.journal.sums import mark, state, sum_of

NAME = "journal.sqlite3"
MARK_NAME = "journal.mark"
BODIES_NAME = "bodies"
CLUSTER_BYTES = 16
PAGE_BYTES = 4096

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE records (seq INTEGER PRIMARY KEY, job INTEGER NOT NULL, body BLOB NOT NULL, sum BLOB NOT NULL);
CREATE INDEX records_of_job ON records (job);
CREATE TABLE heads (job INTEGER PRIMARY KEY, records INTEGER NOT NULL, last INTEGER NOT NULL, sum BLOB NOT NULL);
"""

NUMBER = struct.Struct("<Q")
"""In front of an outcome that was set aside."""

_EVERYTHING = 1 << 63

_FREE_PAGES = 256
"""So many unused pages, or a quarter of all, stay in the file for what comes next."""

_TIDY_PAGES = 1024
"""Given back at once: what is to be written waits for so long."""

_WAL_BYTES_MAX = 64 << 20


@dataclass(frozen=True, slots=True)
class Addition:
    """Records of one job. ``whole``: they replace all that there are; with none, the job is forgotten.

    ``aside``: numbered from ``aside_from`` on, they stay until they are ``taken``, or the job is forgotten.
    """

    job: int
    bodies: tuple[bytes, ...]
    whole: bool
    aside_from: int = 0
    aside: tuple[bytes, ...] = ()
    taken: int = 0


class Store:
    """One journal, open for one thread at a time.

    Args:
        directory: where its files are, or will be; it exists.
        page_bytes: of SQLite, for a new one.

    Raises:
        JournalError: it cannot be used, is damaged, or of another version. Its files are as they were.
    """

    def __init__(self, directory: Path, page_bytes: int = PAGE_BYTES) -> None:
        self.path = directory / NAME
        self._wal_path = directory / f"{NAME}-wal"
        self._bodies = Bodies(directory / BODIES_NAME)
        try:
            self._mark = MarkFile(directory / MARK_NAME)
        except OSError as error:
            raise JournalError(
                f"{directory} cannot be written ({error.strerror}): choose another --state-dir"
            ) from None
        try:
            acknowledged = self._mark.read()
            contents = self._examine(acknowledged)
            self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            try:
                contents = self._begin(page_bytes) if contents is None else contents
                self._set_up()
                self._bodies.found(contents.large)
            except BaseException:
                self._db.close()
                raise
        except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter from a damaged text of SQLite's own
            self._mark.close()
            raise refused(self.path, error) from None
        except BaseException:
            self._mark.close()
            raise
        self._reader = Reader(self._db, self.path, self._bodies)
        self.cluster = contents.cluster
        self.last = contents.last
        self._peers = contents.peers
        self._counts = dict(contents.counts)
        self._places: dict[int, tuple[int, int]] = {}
        """Of jobs that are being fetched from: a number that was set aside comes after this record."""
        if acknowledged is None:
            self._mark.write(self.last, sync=True)

    def _examine(self, acknowledged: int | None) -> Contents | None:
        """What is there, None for nothing yet. A connection that could write would change files by being closed."""
        if acknowledged is not None or _size_of(self._wal_path):
            check_header(self.path)
        elif not _size_of(self.path):
            return None
        with closing(sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)) as db:
            contents = Reader(db, self.path, self._bodies).contents()
        end = 0 if contents is None else contents.last
        if acknowledged is not None and (contents is None or acknowledged > end):
            raise damaged(self.path, f"it ends at number {end}, where {acknowledged} was acknowledged")
        return contents

    def _set_up(self) -> None:
        for setting in ("journal_mode = WAL", "synchronous = FULL", "fullfsync = ON"):
            self._db.execute(f"PRAGMA {setting}")
        self._db.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_MAX}")

    def _begin(self, page_bytes: int) -> Contents:
        """A new journal, all of it or nothing."""
        self._db.execute(f"PRAGMA page_size = {page_bytes}")
        self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        self._set_up()
        cluster = secrets.token_bytes(CLUSTER_BYTES)
        with self._transaction():
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
            self._set("cluster", cluster + sum_of(0, 0, cluster))
            self._set("peers", mark(1))
            self._set("state", state(0, 0))
            self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version = {VERSION}")
        return Contents(cluster, peers=1, last=0, counts={}, large=())

    # --- reading ------------------------------------------------------------------------------------

    def records(self) -> Iterator[bytes]:
        """All records in order. Read to the end, the journal is whole, and what it does not name is removed.

        Raises:
            JournalError: one of them is damaged.
        """
        yield from self._reader.records(sum(self._counts.values()))
        self._bodies.tidy()

    def numbers_aside(self, job: int) -> tuple[int, int]:
        """How many outcomes of a job are set aside, and the number of the first; 0 and 0 for none.

        Raises:
            JournalError: they cannot be read.
        """
        try:
            row = self._db.execute(
                "SELECT body FROM records WHERE job = ? ORDER BY seq LIMIT 1", (_aside(job),)
            ).fetchone()
            return (0, 0) if row is None else (self._counts.get(_aside(job), 0), NUMBER.unpack_from(row[0])[0])
        except (sqlite3.Error, UnicodeDecodeError, TypeError, struct.error) as error:
            raise refused(self.path, error) from None

    @property
    def size_bytes(self) -> int:
        """Of its files."""
        return _size_of(self.path) + _size_of(self._wal_path) + self._bodies.size_bytes

    # --- writing ------------------------------------------------------------------------------------

    def add(self, additions: Sequence[Addition]) -> None:
        """Keep these, all or none: they are safe when this returns.

        Raises:
            sqlite3.Error, OSError: they could not be written; nothing has changed.
        """
        counts: dict[int, int] = {}
        last = self.last
        with self._transaction():
            for addition in additions:
                job = addition.job
                if addition.whole:
                    self._db.execute("DELETE FROM records WHERE job = ?", (job,))
                    self._bodies.give_up(job)
                    counts[job] = 0
                    if not addition.bodies:
                        self._delete_aside(job, _EVERYTHING, counts)
                        self._places.pop(job, None)
                self._delete_aside(job, addition.taken, counts)
                numbered = [*enumerate(addition.bodies, last + 1)]
                last += max(len(numbered), 1)  # what only deletes has a number, too, or its loss would not be seen
                self._insert(job, numbered, counts)
                aside = [NUMBER.pack(at) + body for at, body in enumerate(addition.aside, addition.aside_from)]
                self._insert(_aside(job), [*enumerate(aside, last + 1)], counts)
                last += len(aside)
            for job, count in counts.items():
                self._set_head(job, count)
            kept = {job: count for job, count in (self._counts | counts).items() if count}
            self._set("state", state(last, len(kept)))
        self._counts = kept
        self._acknowledge(last)

    def _insert(self, job: int, numbered: Sequence[tuple[int, bytes]], counts: dict[int, int]) -> None:
        if numbered or job >= 0:
            rows = [(seq, job, self._placed(job, seq, body), sum_of(seq, job, body)) for seq, body in numbered]
            self._db.executemany("INSERT INTO records VALUES (?, ?, ?, ?)", rows)
            counts[job] = counts.get(job, self._counts.get(job, 0)) + len(rows)

    def _placed(self, job: int, seq: int, body: bytes) -> bytes | str:
        """What the journal itself holds of a record: all of it, or its place. What is set aside stays whole."""
        return body if len(body) < LARGE_BYTES or job < 0 else self._bodies.write(job, seq, body)

    def _delete_aside(self, job: int, upto: int, counts: dict[int, int]) -> None:
        """Those of a job's below number ``upto`` are not needed any more."""
        kept = counts.get(_aside(job), self._counts.get(_aside(job), 0))
        if not kept or upto <= 0:
            return
        gone = []
        for seq, number in self._db.execute(
            "SELECT seq, substr(body, 1, ?) FROM records WHERE job = ? ORDER BY seq", (NUMBER.size, _aside(job))
        ):
            if NUMBER.unpack(number)[0] >= upto:
                break
            gone.append((seq,))
        self._db.executemany("DELETE FROM records WHERE seq = ?", gone)
        counts[_aside(job)] = kept - len(gone)

    def fetch(self, job: int, begin: int, end: int, size_bytes: int) -> list[bytes]:
        """Those that were set aside of a job, from number ``begin`` on and below ``end``: one, and more up to a size.

        Raises:
            JournalError: they are not there, damaged, or cannot be read.
        """
        try:
            found = self._fetch(job, begin, end, size_bytes)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise refused(self.path, error) from None
        if not found:
            raise damaged(self.path, f"outcome {begin} of job {job} is not there")
        return found

    def _fetch(self, job: int, begin: int, end: int, size_bytes: int) -> list[bytes]:
        found: list[bytes] = []
        size = 0
        place, seq = self._places.get(job, (begin + 1, 0))
        with closing(
            self._db.execute(
                "SELECT seq, body, sum FROM records WHERE job = ? AND seq > ? ORDER BY seq",
                (_aside(job), seq if place <= begin else 0),
            )
        ) as rows:
            for seq, body, checksum in rows:
                if not isinstance(body, bytes) or checksum != sum_of(seq, _aside(job), body):
                    raise damaged(self.path, f"record {seq} does not fit its checksum")
                number = NUMBER.unpack_from(body)[0]
                if number < begin:
                    continue
                if number != begin + len(found) or number >= end or (found and size >= size_bytes):
                    break
                found.append(body[NUMBER.size :])
                size += len(body)
                self._places[job] = (number + 1, seq)
        return found

    def reserve_peers(self, count: int) -> int:
        """The first of ``count`` ids that were never given.

        Raises:
            sqlite3.Error: that could not be written; nothing has changed.
        """
        first = self._peers
        with self._transaction():
            self._set("peers", mark(first + count))
            self._set("state", state(self.last + 1, len(self._counts)))
        self._peers = first + count
        self._acknowledge(self.last + 1)
        return first

    def tidy(self) -> bool:
        """Give some unused pages back to the file system. Returns whether there are more.

        A failure is no error: they stay for later records.
        """
        try:
            if not self._untidy():
                return False
            self._db.executescript(f"PRAGMA incremental_vacuum({_TIDY_PAGES})")  # execute() would take one step, a page
            if self._untidy():
                return True
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the file shrinks by that, and not before
        except sqlite3.Error:
            pass
        return False

    def close(self) -> None:
        """Close its files."""
        self._db.close()
        self._mark.close()

    # --- small things -------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._bodies.sync()
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._bodies.undone()
            raise
        self._bodies.committed()

    def _acknowledge(self, last: int) -> None:
        self.last = last
        self._mark.write(last)

    def _untidy(self) -> bool:
        unused, pages = self._reader.pragma("freelist_count"), self._reader.pragma("page_count")
        return unused > max(_FREE_PAGES, pages // 4)

    def _set_head(self, job: int, count: int) -> None:
        if not count:
            self._db.execute("DELETE FROM heads WHERE job = ?", (job,))
            return
        (last,) = self._db.execute("SELECT max(seq) FROM records WHERE job = ?", (job,)).fetchone()
        head = (job, count, last, sum_of(job, last, str(count).encode()))
        self._db.execute("INSERT OR REPLACE INTO heads VALUES (?, ?, ?, ?)", head)

    def _set(self, name: str, value: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))


def _aside(job: int) -> int:
    """Where the outcomes of a job are that were set aside: as the records of a job that does not exist."""
    return -job - 1


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
