"""Is a journal whole, and what is in it? It reads, and must not write: what it refuses stays as it was found.

SQLite finds damage in its own structures (``integrity_check``). The rest is found by checksums: each record has one
over its number, its job and its bytes; a head says how many records each job has, and which is the last; the state
says how many jobs there are, and the last number given.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lbnet.errors import JournalError
from lbnet.journal.bodies import Bodies
from lbnet.journal.sums import SUM_BYTES, read_mark, read_state, sum_of

APPLICATION_ID = 0x6C626E74
VERSION = 4

_MAY_PASS = frozenset({
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOMEM,
})  # fmt: skip
"""What SQLite says of the disk, the file's mode, or the memory. All else is damage."""

_HEADER = b"SQLite format 3\0"
_HEADER_BYTES = 20
_SMALLEST_PAGE_BYTES = 512


@dataclass(frozen=True, slots=True)
class Contents:
    """What a journal says of itself."""

    cluster: bytes
    peers: int
    """The first peer id that was never given."""

    last: int
    """The last number given, to a record or to a change that has none."""

    counts: dict[int, int]
    """How many records each job has."""

    large: tuple[tuple[int, str], ...]
    """Job and place of each record that is in a file."""


def check_header(path: Path) -> None:
    """See whether SQLite would take this for a database with a log, and one that it may write to.

    It would delete the log beside a file that it thinks empty, and not say before the first write that it cannot write.

    Raises:
        JournalError: it would not.
    """
    try:
        with path.open("rb") as file:
            header = file.read(_SMALLEST_PAGE_BYTES)
    except FileNotFoundError:
        raise damaged(path, "it is missing") from None
    except OSError as error:
        raise JournalError(f"{path} cannot be read ({error.strerror}): see to its disk, and who may read it") from None
    page_bytes = int.from_bytes(header[16:18], "big")
    page_bytes = 1 << 16 if page_bytes == 1 else page_bytes
    if len(header) < _SMALLEST_PAGE_BYTES or path.stat().st_size < page_bytes:
        raise damaged(path, "it has not even one page")
    if header[:16] != _HEADER or header[18:_HEADER_BYTES] != b"\2\2":
        raise damaged(path, "its first bytes (offset 0 to 19) are not those of a journal")


class Reader:
    """Reads one journal.

    Args:
        db: a connection to it.
        path: of its file, for sentences.
        bodies: its large records.
    """

    def __init__(self, db: sqlite3.Connection, path: Path, bodies: Bodies) -> None:
        self._db = db
        self._path = path
        self._bodies = bodies

    def contents(self) -> Contents | None:
        """What there is, None if it was never begun.

        Raises:
            JournalError: it is damaged, of another version, or no journal.
            sqlite3.Error: it cannot be read.
        """
        application, version = self.pragma("application_id"), self.pragma("user_version")
        tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if (application, version, tables) == (0, 0, 0):
            return None
        if application != APPLICATION_ID:
            raise JournalError(f"{self._path} is no journal of lbnet: choose another --state-dir")
        if version > VERSION:
            raise JournalError(
                f"{self._path} is of version {version}, and this lbnet reads up to version {VERSION}: "
                "install the newer one"
            )
        if version < VERSION:
            raise JournalError(
                f"{self._path} is of version {version}, and this lbnet reads version {VERSION} only: let the older "
                "one finish its jobs, or choose another --state-dir"
            )
        problem = self._db.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if problem != "ok":
            raise damaged(self._path, str(problem))
        cluster = self._value("cluster")
        cluster, checksum = cluster[:-SUM_BYTES], cluster[-SUM_BYTES:]
        if checksum != sum_of(0, 0, cluster):
            raise damaged(self._path, "its id does not fit its checksum")
        peers = read_mark(self._value("peers"))
        if peers is None:
            raise damaged(self._path, "the number of its peers does not fit its checksum")
        state = read_state(self._value("state"))
        if state is None:
            raise damaged(self._path, "its state does not fit its checksum")
        last, jobs = state
        counts = self._counts()
        if len(counts) != jobs:
            raise damaged(self._path, f"it has {len(counts)} jobs, where {jobs} were kept")
        large = self._db.execute("SELECT job, body FROM records WHERE typeof(body) = 'text'").fetchall()
        return Contents(cluster, peers, last, counts, tuple(large))

    def _counts(self) -> dict[int, int]:
        counts: dict[int, int] = {}
        for job, count, last, checksum in self._db.execute("SELECT job, records, last, sum FROM heads"):
            if checksum != sum_of(job, last, str(count).encode()):
                raise damaged(self._path, f"the head of job {job} does not fit its checksum")
            found, end = self._db.execute("SELECT count(*), max(seq) FROM records WHERE job = ?", (job,)).fetchone()
            if (found, end) != (count, last):
                raise damaged(
                    self._path, f"job {job} has {found} records up to {end}, where {count} up to {last} were kept"
                )
            counts[job] = count
        return counts

    def records(self, total: int) -> Iterator[bytes]:
        """All records in order, without the outcomes that were set aside: those are only looked at.

        Args:
            total: how many there are, with those.

        Raises:
            JournalError: one of them is damaged, or missing, or cannot be read.
        """
        count = 0
        try:
            for seq, job, kept, checksum in self._db.execute("SELECT seq, job, body, sum FROM records ORDER BY seq"):
                body = self._bodies.read(kept) if isinstance(kept, str) else kept
                if not isinstance(body, bytes) or checksum != sum_of(seq, job, body):
                    raise damaged(self._path, f"record {seq} does not fit its checksum")
                count += 1
                if job >= 0:
                    yield body
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise refused(self._path, error, f"after {count} records: ") from None
        except OSError as error:
            raise JournalError(
                f"{error.filename} cannot be read ({error.strerror}): see to its disk, and who may read it"
            ) from None
        if count != total:
            raise damaged(self._path, f"{count} records were read, where {total} were kept")

    def pragma(self, name: str) -> int:
        """The number that a pragma has."""
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    def _value(self, name: str) -> bytes:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        if row is None or not isinstance(row[0], bytes):
            raise damaged(self._path, f"it has no {name}")
        return row[0]


def damaged(path: Path, what: str) -> JournalError:
    """What to say of a journal that is not what was written."""
    return JournalError(
        f"the journal {path} is damaged: {what}; nothing was changed: restore the directory from a copy, or move it "
        "away to begin without it"
    )


def refused(path: Path, error: Exception, where: str = "") -> JournalError:
    """What to say of an error of SQLite: a disk that is full is no damage, and no reason to give a journal up."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in _MAY_PASS:
        return JournalError(
            f"the journal {path} cannot be used now ({where}{error}): see whether its disk is full or failing, and who "
            "may write to it; what was acknowledged was not touched"
        )
    return damaged(path, f"{where}{error}")
