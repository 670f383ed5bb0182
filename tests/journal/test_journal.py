"""The thread that writes, and whom a directory belongs to."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lbnet import limits
from lbnet.errors import JournalError
from lbnet.journal.journal import Journal
from lbnet.journal.lock import DirectoryLock
from lbnet.journal.store import Addition, Store


class Ear:
    """Hears what is safe, and lets a test wait for it."""

    def __init__(self) -> None:
        self.safe = 0
        self.failures: list[JournalError] = []
        self._changed = threading.Condition()

    def heard(self, count: int) -> None:
        with self._changed:
            assert count > self.safe, "it grows"
            self.safe = count
            self._changed.notify_all()

    def failed(self, error: JournalError) -> None:
        with self._changed:
            self.failures.append(error)
            self._changed.notify_all()

    def wait_for_safe(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.safe >= count, 30)

    def wait_for_failure(self) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.failures, 30)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "state")
    yield made
    made.close(30)


def append(journal: Journal, job: int, bodies: Sequence[bytes], *, whole: bool, urgent: bool = True) -> None:
    journal.append(Addition(job, tuple(bodies), whole), urgent=urgent)


def problem_of(journal: Journal) -> str | None:
    return journal.problem


def again(directory: Path) -> list[bytes]:
    found = Journal(directory)
    try:
        return list(found.records())
    finally:
        found.close(1)


def test_what_is_safe_is_there_when_it_is_opened_again(journal: Journal) -> None:
    ear = Ear()
    journal.start(ear.heard, ear.failed)
    for number in range(100):
        append(journal, 1 + number % 2, [b"%d" % number], whole=False)
    ear.wait_for_safe(100)
    assert journal.pending_bytes == 0
    assert journal.close(30)
    assert again(journal.directory) == [b"%d" % number for number in range(100)]


def test_the_books_of_a_job_replace_what_was_kept_of_it_and_of_no_other(journal: Journal) -> None:
    ear = Ear()
    journal.start(ear.heard, ear.failed)
    append(journal, 1, [b"a", b"b"], whole=False)
    append(journal, 2, [b"c"], whole=False)
    append(journal, 1, [b"books"], whole=True)
    append(journal, 1, [b"after"], whole=False)
    append(journal, 3, [b"gone"], whole=False)
    append(journal, 3, [], whole=True)
    ear.wait_for_safe(6)
    journal.close(30)
    assert again(journal.directory) == [b"c", b"books", b"after"]


def test_closing_writes_what_waits(journal: Journal) -> None:
    ear = Ear()
    journal.start(ear.heard, ear.failed)
    for number in range(1_000):
        append(journal, 1, [b"%d" % number], whole=False)
    assert journal.close(30)
    assert len(again(journal.directory)) == 1_000


def test_its_id_stays_and_ids_of_peers_are_given_once(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    cluster = first.cluster
    given = [first.reserve_peers(64), first.reserve_peers(64)]
    first.close(1)
    second = Journal(tmp_path)
    given.append(second.reserve_peers(64))
    assert second.cluster == cluster
    assert len(cluster) == 16
    assert given == [1, 65, 129]
    second.close(1)


def test_a_directory_has_one_owner_who_is_named(journal: Journal) -> None:
    with pytest.raises(JournalError, match=f"process {os.getpid()}.*--state-dir"):
        Journal(journal.directory)


def test_what_nobody_waits_for_is_written_with_what_is_waited_for(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "JOURNAL_GROUP_S", 1e6)
    written = []
    add = journal._store.add
    monkeypatch.setattr(journal._store, "add", lambda batch: (written.append(len(batch)), add(batch)))
    ear = Ear()
    journal.start(ear.heard, ear.failed)
    for number in range(10):
        append(journal, 1, [b"%d" % number], whole=False, urgent=False)
    assert ear.safe == 0
    append(journal, 1, [b"now"], whole=False)
    ear.wait_for_safe(11)
    assert written == [11]
    append(journal, 1, [bytes(limits.JOURNAL_GROUP_BYTES)], whole=False, urgent=False)
    ear.wait_for_safe(12)
    append(journal, 1, [b"last"], whole=False, urgent=False)
    assert journal.close(30)
    assert again(journal.directory)[10::2] == [b"now", b"last"]


def test_or_by_itself_after_a_moment(journal: Journal) -> None:
    ear = Ear()
    journal.start(ear.heard, ear.failed)
    for count in (1, 2):
        append(journal, 1, [b"alone"], whole=False, urgent=False)
        ear.wait_for_safe(count)


def test_what_was_acknowledged_survives_the_death_of_its_process(tmp_path: Path) -> None:
    code = f"""
import os, threading
from pathlib import Path
from lbnet.journal.journal import Journal
from lbnet.journal.store import Addition
journal = Journal(Path({str(tmp_path)!r}))
done = threading.Event()
journal.start(lambda count: done.set() if count >= 50 else None, lambda error: None)
for number in range(50):
    journal.append(Addition(7, (b"%d" % number,), whole=False))
done.wait()
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert again(tmp_path) == [b"%d" % number for number in range(50)]


def test_a_full_disk_loses_nothing_and_it_goes_on_when_there_is_room(journal: Journal) -> None:
    database = journal._store._db
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages + 2}")
    ear = Ear()
    journal.start(ear.heard, ear.failed)
    append(journal, 1, [b"small"], whole=False)
    ear.wait_for_safe(1)
    append(journal, 1, [b"x" * 100_000], whole=False)
    append(journal, 1, [b"behind it"], whole=False)
    ear.wait_for_failure()
    assert "full" in str(ear.failures[0])
    assert problem_of(journal) is not None
    assert ear.safe == 1
    with journal._writing:
        database.execute("PRAGMA max_page_count = 100000")
    ear.wait_for_safe(3)
    assert problem_of(journal) is None
    assert len(ear.failures) == 1
    journal.close(30)
    assert again(journal.directory) == [b"small", b"x" * 100_000, b"behind it"]


def test_room_that_cannot_be_given_back_writes_nothing_twice(journal: Journal) -> None:
    journal._store._db.set_authorizer(
        lambda action, name, *_: sqlite3.SQLITE_DENY if name == "incremental_vacuum" else sqlite3.SQLITE_OK
    )
    ear = Ear()
    journal.start(ear.heard, ear.failed)
    for number in range(64):
        append(journal, number, [bytes(64 << 10)], whole=False)
    ear.wait_for_safe(64)
    for number in range(64):
        append(journal, number, [b"books %d" % number], whole=True)
        ear.wait_for_safe(65 + number)
    assert ear.failures == []
    with journal._writing:  # the thread may be at it
        journal._store._db.set_authorizer(None)
    journal.close(30)
    assert again(journal.directory) == [b"books %d" % number for number in range(64)]


def test_a_lock_that_cannot_say_whose_it_is_holds(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        lock = DirectoryLock(tmp_path / "lock")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with pytest.raises(JournalError, match="process unknown"):
        DirectoryLock(tmp_path / "lock")
    lock.release()
    DirectoryLock(tmp_path / "lock").release()


def test_its_files_shrink_when_jobs_are_forgotten(journal: Journal) -> None:
    ear = Ear()
    journal.start(ear.heard, ear.failed)
    for number in range(64):
        append(journal, number, [bytes(64 << 10)], whole=False)
    ear.wait_for_safe(64)
    full = journal.size_bytes
    for number in range(64):
        append(journal, number, [], whole=True)
        ear.wait_for_safe(65 + number)
    journal.close(30)
    store = Store(journal.directory)
    assert store.size_bytes < full / 8
    store.close()


def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(JournalError, match="--state-dir"):
        Journal(tmp_path / "file" / "state")
