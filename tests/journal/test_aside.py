"""Outcomes that were set aside are kept until they are taken, whatever becomes of the other records of their job."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet.errors import JournalError
from lbnet.journal.journal import Journal
from lbnet.journal.store import NAME, Addition, Store

MUCH = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.close()


def numbered(lo: int, hi: int) -> tuple[bytes, ...]:
    return tuple(b"%d" % number for number in range(lo, hi))


def test_they_outlive_the_records_of_their_job_and_the_process(tmp_path: Path) -> None:
    first = Store(tmp_path)
    first.add([Addition(7, (b"opened",), whole=False, aside_from=0, aside=numbered(0, 5))])
    first.add([Addition(7, (b"books",), whole=True, aside_from=5, aside=numbered(5, 7))])
    first.add([Addition(8, (b"another",), whole=False, aside_from=0, aside=(b"its own",))])
    first.close()
    with closing(Store(tmp_path)) as again:
        assert list(again.records()) == [b"books", b"another"]
        assert again.numbers_aside(7) == (7, 0)
        assert again.numbers_aside(9) == (0, 0)
        assert tuple(again.fetch(7, 2, 7, MUCH)) == numbered(2, 7)
        assert again.fetch(8, 0, 1, MUCH) == [b"its own"]


def test_those_that_were_taken_and_those_of_a_forgotten_job_are_gone(store: Store) -> None:
    store.add([Addition(7, (b"opened",), whole=False, aside_from=0, aside=numbered(0, 10))])
    store.add([Addition(7, (b"taken",), whole=False, taken=4)])
    assert store.numbers_aside(7) == (6, 4)
    with pytest.raises(JournalError, match="outcome 3 of job 7 is not there"):
        store.fetch(7, 3, 10, MUCH)
    store.add([Addition(7, (), whole=True)])
    assert store.numbers_aside(7) == (0, 0)
    assert list(store.records()) == []
    with closing(sqlite3.connect(store.path)) as database:
        assert database.execute("SELECT count(*) FROM records").fetchone() == (0,)


def test_so_many_bytes_come_at_once_and_one_in_any_case(store: Store) -> None:
    store.add([Addition(7, (b"opened",), whole=False, aside_from=0, aside=tuple(bytes(1_000) for _ in range(10)))])
    assert len(store.fetch(7, 0, 10, 2_500)) == 3
    assert len(store.fetch(7, 3, 4, MUCH)) == 1
    assert len(store.fetch(7, 9, 10, 1)) == 1


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.data())
def test_whatever_was_asked_before_the_right_ones_come(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory, closing(Store(Path(directory))) as store:
        end = taken = 0
        for _ in range(data.draw(st.integers(1, 6))):
            aside = numbered(end, end + data.draw(st.integers(0, 8)))
            taken = max(taken, data.draw(st.integers(0, end)))
            whole = data.draw(st.booleans())
            store.add([Addition(7, (b"r",), whole=whole, aside_from=end, aside=aside, taken=taken)])
            end += len(aside)
            assert store.numbers_aside(7) == ((end - taken, taken) if end > taken else (0, 0))
            for begin in data.draw(st.lists(st.integers(taken, end - 1), max_size=4)) if end > taken else ():
                limit = data.draw(st.integers(begin + 1, end))
                found = store.fetch(7, begin, limit, data.draw(st.integers(1, 60)))
                assert tuple(found) == numbered(begin, begin + len(found))
                assert 0 < len(found) <= limit - begin


def test_one_that_is_damaged_is_not_given_out(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        store.add([Addition(7, (b"opened",), whole=False, aside_from=0, aside=(b"whole", b"damaged"))])
    with closing(sqlite3.connect(tmp_path / NAME)) as database:
        database.execute("UPDATE records SET body = zeroblob(15) WHERE seq = 3")
        database.commit()
    with closing(Store(tmp_path)) as store:
        with pytest.raises(JournalError, match="does not fit its checksum"):
            store.fetch(7, 1, 2, MUCH)
        with pytest.raises(JournalError, match="does not fit its checksum"):
            list(store.records())


def test_what_is_asked_for_is_read_when_all_before_is_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    said: list[object] = []
    journal.append(Addition(7, (b"opened",), whole=False), urgent=False)
    journal.append(Addition(7, (b"r",), whole=False, aside_from=0, aside=numbered(0, 3)), urgent=False)
    journal.fetch(7, 0, 3, lambda bodies, problem: said.append((bodies, problem)))
    journal.fetch(9, 0, 3, lambda bodies, problem: said.append((bodies, problem)))
    journal.start(said.append, said.append)
    assert journal.close(30)
    assert said[:2] == [2, ([b"0", b"1", b"2"], "")]
    assert "outcome 0 of job 9 is not there" in str(said[2])
