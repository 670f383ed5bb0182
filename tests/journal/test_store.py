"""What the file does when the disk does not, and that it gives room back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lbnet.errors import JournalError
from lbnet.journal.reading import APPLICATION_ID, VERSION
from lbnet.journal.store import NAME, Addition, Store
from tests.journal.disk import no_room


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.close()


def fill(store: Store, jobs: int) -> None:
    for job in range(jobs):
        store.add([Addition(job, (bytes(64 << 10),), whole=False)])


def empty(store: Store, jobs: int) -> None:
    store.add([Addition(job, (), whole=True) for job in range(jobs)])


def test_what_could_not_be_written_is_as_if_it_never_was(store: Store) -> None:
    store.add([Addition(1, (b"before",), whole=False)])
    with no_room():
        with pytest.raises(sqlite3.Error):
            store.add([Addition(1, (b"x" * 10_000,), whole=True), Addition(2, (b"y",), whole=False)])
        with pytest.raises(sqlite3.Error):
            store.reserve_peers(10)
    assert list(store.records()) == [b"before"]
    store.add([Addition(2, (b"after",), whole=False)])
    assert list(store.records()) == [b"before", b"after"]
    assert store.reserve_peers(10) == 1


def test_a_full_disk_is_not_called_damage(tmp_path: Path) -> None:
    first = Store(tmp_path)
    first.add([Addition(1, (b"kept",), whole=False)])
    first.close()
    with no_room(), pytest.raises(JournalError, match="disk") as caught:
        Store(tmp_path)
    assert "damaged" not in str(caught.value)
    assert "move it" not in str(caught.value)
    second = Store(tmp_path)
    assert list(second.records()) == [b"kept"]
    second.close()


def test_room_that_was_used_is_used_again(store: Store) -> None:
    fill(store, 32)
    once = store.size_bytes
    for _ in range(8):
        empty(store, 32)
        fill(store, 32)
    assert store.size_bytes < 3 * once  # the log has its share


def test_room_is_given_back_while_it_is_open(store: Store) -> None:
    fill(store, 128)
    full = store.size_bytes
    empty(store, 128)
    steps = 1
    while store.tidy():
        steps += 1
    assert steps > 1, "others are let in between"
    assert store.size_bytes < full / 4
    assert not store.tidy()


def test_room_that_cannot_be_given_back_is_no_failure_of_what_was_written(store: Store) -> None:
    fill(store, 64)
    empty(store, 64)
    store._db.set_authorizer(
        lambda action, name, *_: sqlite3.SQLITE_DENY if name == "incremental_vacuum" else sqlite3.SQLITE_OK
    )
    with pytest.raises(sqlite3.Error, match="not authorized"):
        store._db.execute("PRAGMA incremental_vacuum(1)")
    assert not store.tidy()
    store.add([Addition(1, (b"once",), whole=False)])
    assert list(store.records()) == [b"once"]


def test_commits_are_synced(store: Store) -> None:
    settings = [
        store._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "fullfsync")
    ]
    assert settings == ["wal", 2, 1]


def test_an_older_version_is_refused(tmp_path: Path) -> None:
    Store(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / NAME)) as database:
        database.execute(f"PRAGMA user_version = {VERSION - 1}")
    with pytest.raises(JournalError, match=f"version {VERSION - 1}.*older"):
        Store(tmp_path)


def test_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    Store(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / NAME)) as database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(JournalError, match=f"version {VERSION + 1}.*newer"):
        Store(tmp_path)
    with closing(sqlite3.connect(tmp_path / NAME)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (VERSION + 1,)


def test_an_error_says_which_file_and_what_to_do(tmp_path: Path) -> None:
    Store(tmp_path).close()
    (tmp_path / NAME).write_bytes(b"")
    with pytest.raises(JournalError, match=f"{tmp_path / NAME} is damaged.*move it away"):
        Store(tmp_path)


@pytest.mark.parametrize("content", [b"no database at all", b"SQLite format 3\0" + bytes(2_000)])
def test_what_is_no_journal_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(JournalError, match=str(tmp_path)):
        Store(tmp_path)
    assert (tmp_path / NAME).read_bytes() == content


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / NAME)) as database:
        database.execute("CREATE TABLE other (x)")
        assert database.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,)
    with pytest.raises(JournalError, match="no journal of lbnet"):
        Store(tmp_path)


def test_a_beginning_that_was_cut_short_begins_again(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / NAME)) as database:
        database.execute("PRAGMA journal_mode = WAL")
    store = Store(tmp_path)
    store.add([Addition(1, (b"kept",), whole=False)])
    store.close()
    again = Store(tmp_path)
    assert list(again.records()) == [b"kept"]
    again.close()
