"""Large records: in files of their own, as safe as the others, and gone with them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lbnet.errors import JournalError
from lbnet.journal import bodies
from lbnet.journal.bodies import LARGE_BYTES, Bodies
from lbnet.journal.store import BODIES_NAME, NAME, Addition, Store
from tests.journal.disk import no_room

SMALL = b"small"


def large(mark: int) -> bytes:
    return bytes([mark]) * (LARGE_BYTES + mark)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.close()


def files_in(directory: Path) -> int:
    folder = directory / BODIES_NAME
    return len(list(folder.iterdir())) if folder.exists() else 0


def fill(directory: Path, *records: bytes) -> None:
    """Each in a transaction of its own."""
    with closing(Store(directory)) as store:
        for body in records:
            store.add([Addition(1, (body,), whole=False)])


def reopened(directory: Path) -> list[bytes]:
    with closing(Store(directory)) as store:
        return list(store.records())


def test_what_is_read_is_what_was_written_in_its_order(tmp_path: Path) -> None:
    written = [SMALL, large(1), SMALL, large(2), bytes(LARGE_BYTES - 1), bytes(LARGE_BYTES)]
    with closing(Store(tmp_path)) as store:
        store.add([Addition(1, tuple(written[:4]), whole=False), Addition(2, tuple(written[4:]), whole=False)])
        assert list(store.records()) == written
    assert files_in(tmp_path) == 1, "one file, however many records"
    assert (tmp_path / NAME).stat().st_size < 2 * LARGE_BYTES
    assert reopened(tmp_path) == written


def test_small_records_have_no_files(store: Store, tmp_path: Path) -> None:
    store.add([Addition(1, (SMALL, bytes(LARGE_BYTES - 1)), whole=False)])
    assert not (tmp_path / BODIES_NAME).exists()


def test_a_file_goes_with_the_last_of_its_records(store: Store, tmp_path: Path) -> None:
    store.add([Addition(1, (large(1),), whole=False), Addition(2, (large(2),), whole=False)])
    store.add([Addition(1, (large(3),), whole=False)])
    assert files_in(tmp_path) == 2
    assert store.size_bytes > 3 * LARGE_BYTES
    store.add([Addition(1, (SMALL,), whole=True)])
    assert files_in(tmp_path) == 1
    assert list(store.records()) == [large(2), SMALL]
    store.add([Addition(2, (large(4),), whole=True)])
    assert list(store.records()) == [SMALL, large(4)]
    store.add([Addition(2, (), whole=True)])
    assert files_in(tmp_path) == 0
    assert store.size_bytes < 2 * LARGE_BYTES


def test_it_goes_after_a_new_start_too(tmp_path: Path) -> None:
    fill(tmp_path, large(1), large(2))
    with closing(Store(tmp_path)) as again:
        assert again.size_bytes > 2 * LARGE_BYTES
        again.add([Addition(1, (SMALL,), whole=True)])
        assert files_in(tmp_path) == 0
        assert list(again.records()) == [SMALL]


def test_what_could_not_be_written_is_as_if_it_never_was(store: Store, tmp_path: Path) -> None:
    store.add([Addition(1, (large(1),), whole=False)])
    with no_room(4096), pytest.raises(OSError, match="large"):
        store.add([Addition(1, (large(2), large(3)), whole=True)])
    assert list(store.records()) == [large(1)]
    assert files_in(tmp_path) == 1
    store.add([Addition(1, (large(4),), whole=True)])
    assert list(store.records()) == [large(4)]
    assert files_in(tmp_path) == 1


def test_a_record_that_is_refused_after_its_bytes_were_written_leaves_nothing(store: Store, tmp_path: Path) -> None:
    store._db.set_authorizer(lambda action, name, *_: sqlite3.SQLITE_DENY if name == "heads" else sqlite3.SQLITE_OK)
    with pytest.raises(sqlite3.Error, match="not authorized"):
        store.add([Addition(1, (large(1),), whole=False)])
    store._db.set_authorizer(None)
    assert files_in(tmp_path) == 0
    assert list(store.records()) == []


def test_the_files_are_synced_before_the_journal_names_them(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, committed = Bodies.sync, Bodies.committed
    sync_file, sync_directory = bodies.sync_file, bodies.sync_directory
    monkeypatch.setattr(bodies, "sync_file", lambda file: (done.append("file"), sync_file(file)))
    monkeypatch.setattr(bodies, "sync_directory", lambda place: (done.append(place.name), sync_directory(place)))
    monkeypatch.setattr(Bodies, "sync", lambda self: (sync(self), done.append("synced")))
    monkeypatch.setattr(Bodies, "committed", lambda self: (done.append("committed"), committed(self)))
    store._db.set_trace_callback(lambda statement: done.append(statement) if statement == "COMMIT" else None)
    store.add([Addition(1, (large(1), large(2)), whole=False)])
    assert done == [tmp_path.name, "file", BODIES_NAME, "synced", "COMMIT", "committed"]


def test_what_a_crash_left_is_removed_once_the_journal_is_known_to_be_whole(tmp_path: Path) -> None:
    fill(tmp_path, large(1))
    (tmp_path / BODIES_NAME / "99").write_bytes(b"never named")
    again = Store(tmp_path)
    assert files_in(tmp_path) == 2
    assert list(again.records()) == [large(1)]
    assert files_in(tmp_path) == 1
    again.close()


@pytest.mark.parametrize("damage", ["flipped", "cut", "missing"])
def test_damage_is_noticed_and_nothing_is_removed(tmp_path: Path, damage: str) -> None:
    fill(tmp_path, large(1), large(2))
    first, second = sorted((tmp_path / BODIES_NAME).iterdir())
    content = first.read_bytes()
    if damage == "missing":
        first.unlink()
    else:
        first.write_bytes(content[:-1] if damage == "cut" else content[:-1] + b"?")
    again = Store(tmp_path)
    with pytest.raises(JournalError, match="record 1 does not fit"):
        list(again.records())
    again.close()
    assert second.read_bytes() == large(2)


@pytest.mark.parametrize(
    "place", ["", "1", "1 0", "../journal.mark 0 1", "1 0 99999999999999999999", "1 -1 5", "1 2 3 4"]
)
def test_a_place_that_is_none_is_damage(tmp_path: Path, place: str) -> None:
    fill(tmp_path, large(1))
    with closing(sqlite3.connect(tmp_path / NAME)) as database:
        database.execute("UPDATE records SET body = ?", (place,))
        database.commit()
    again = Store(tmp_path)
    with pytest.raises(JournalError, match="record 1 does not fit"):
        list(again.records())
    again.close()
    assert files_in(tmp_path) == 1


def test_what_cannot_be_read_is_not_called_damage(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add([Addition(1, (large(1),), whole=False)])

    def fails(*_: object) -> bytes:
        raise OSError(5, "Input/output error", str(tmp_path / BODIES_NAME / "1"))

    monkeypatch.setattr(Bodies, "read", fails)
    with pytest.raises(JournalError, match="bodies/1 cannot be read .Input/output error.: see to its disk") as caught:
        list(store.records())
    assert "damaged" not in str(caught.value)


def test_what_is_set_aside_stays_in_the_journal(store: Store, tmp_path: Path) -> None:
    store.add([Addition(1, (SMALL,), whole=False, aside_from=0, aside=(large(1), large(2)))])
    assert files_in(tmp_path) == 0
    assert store.fetch(1, 0, 2, 1 << 30) == [large(1), large(2)]
