"""A small real journal, with every byte flipped, and cut at each seventh: what is read is the truth, or an error."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lbnet.errors import JournalError
from lbnet.journal import store as store_module
from lbnet.journal.store import BODIES_NAME, MARK_NAME, NAME, Addition, Store

WAL_NAME = NAME + "-wal"

MEMORY = "/dev/shm"  # noqa: S108 - a folder of its own is made there

STEP = 7
"""Of the sizes that a file is cut to: it shares no divisor with those of pages and frames, so all places come about."""

Files = dict[str, bytes]
States = list[list[bytes]]


@dataclass(frozen=True, slots=True)
class Found:
    """What a controller finds: the records, the id of the state, the next peer id, and what was set aside."""

    records: list[bytes]
    cluster: bytes
    peer: int
    aside: list[bytes]


@dataclass(frozen=True, slots=True)
class Written:
    """A journal: how it ended, its files, what is in it, and the records that it held at each moment."""

    ending: str
    files: Files
    truth: Found
    states: States


def files_of(directory: Path) -> Files:
    """All but the index of the log, which SQLite makes anew."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and not path.name.endswith(("-shm", "lock"))
    }


def written(directory: Path, ending: str) -> Written:
    """Fill a journal. It ends ``killed``, all in the log; ``overwritten``, the log begun anew; or ``closed``."""
    directory.mkdir()
    store = Store(directory, page_bytes=512)
    states: States = [[]]
    kept: list[tuple[int, bytes]] = []
    additions = [
        Addition(1, (b"opened one", b"x" * 600), whole=False),
        Addition(2, (b"opened two", b"results two"), whole=False),
        Addition(2, (b"books two",), whole=True),
        Addition(2, (b"three are set aside",), whole=False, aside_from=5, aside=(b"five", b"six", b"seven")),
        Addition(2, (b"one was taken",), whole=False, taken=6),
        Addition(1, (), whole=True),
    ]
    for at, addition in enumerate(additions):
        if at == 2 and ending == "overwritten":
            store._db.execute("PRAGMA wal_checkpoint(RESTART)")
        store.add([addition])
        if addition.whole:
            kept = [one for one in kept if one[0] != addition.job]
        kept += [(addition.job, body) for body in addition.bodies]
        states.append([body for _, body in kept])
    assert store.reserve_peers(64) == 1
    killed = files_of(directory)
    store.close()  # the last one to leave moves the log into the file
    return Written(
        ending,
        files_of(directory) if ending == "closed" else killed,
        Found(states[-1], store.cluster, 65, [b"six", b"seven"]),
        states,
    )


@pytest.fixture(scope="module", params=["killed", "overwritten", "closed", "with large records"])
def journal(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    directory = tmp_path_factory.mktemp("journal") / "state"
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "with large records":
            patch.setattr(store_module, "LARGE_BYTES", 12)
            made = written(directory, "closed")
            assert sum(name.startswith(BODIES_NAME) for name in made.files) == 2
            return made
        return written(directory, request.param)


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A folder where thousands of journals are written without waiting for a disk, if this system has one."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        yield Path(directory)


def put(files: Files, directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    for name, content in files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_bytes(content)


def names_it(error: JournalError, directory: Path) -> None:
    assert str(directory) in str(error)


def read(files: Files, directory: Path) -> Found | None:
    """What a controller would find; None if it is refused."""
    put(files, directory)
    try:
        store = Store(directory)
    except JournalError as error:
        names_it(error, directory)
        left = files_of(directory)
        assert {name: left[name] for name in files} == files, "what is refused stays as it was"
        return None
    try:
        aside = store.fetch(2, 6, 9, 1 << 20) if store.numbers_aside(2) == (2, 6) else []
        return Found(list(store.records()), store.cluster, store.reserve_peers(1), aside)
    except JournalError as error:
        names_it(error, directory)
        return None
    finally:
        store.close()


def test_it_is_read_as_it_was_written(journal: Written, tmp_path: Path) -> None:
    assert read(journal.files, tmp_path / "state") == journal.truth


def test_flipped_at_any_byte_it_is_the_truth_or_an_error(journal: Written, in_memory: Path) -> None:
    refused, step = 0, 5 if journal.ending == "overwritten" else 1
    for name, whole in journal.files.items():
        for at in range(0, len(whole), step):
            flipped = bytearray(whole)
            flipped[at] ^= (0x01, 0x55, 0x80, 0xFF)[at % 4]
            found = read(journal.files | {name: bytes(flipped)}, in_memory / "state")
            assert found is None or found == journal.truth, f"byte {at} of {name}"
            refused += found is None
    assert refused > 100


def test_cut_anywhere_it_is_the_truth_or_an_error(journal: Written, in_memory: Path) -> None:
    refused = 0
    for name, whole in journal.files.items():
        for size in range(0, len(whole), 1 if len(whole) < 64 else STEP):
            found = read(journal.files | {name: whole[:size]}, in_memory / "state")
            assert found is None or found == journal.truth, f"{name} cut to {size} bytes"
            refused += found is None
    assert refused > 100


@pytest.mark.parametrize("name", [NAME, WAL_NAME])
def test_without_one_of_its_files_it_is_refused(name: str, tmp_path: Path) -> None:
    files = written(tmp_path / "state", "killed").files
    assert read({other: content for other, content in files.items() if other != name}, tmp_path / "less") is None


def test_cut_as_a_crash_of_the_machine_does_it_the_end_is_missing_and_no_more(in_memory: Path) -> None:
    """What was not acknowledged may be lost with the end of the log: the mark is older then."""
    journal = written(in_memory / "whole", "killed")
    log = journal.files[WAL_NAME]
    rest = {name: content for name, content in journal.files.items() if name not in {WAL_NAME, MARK_NAME}}
    order: list[int] = []
    for size in range(0, len(log) + 1, 16):
        found = read(rest | {WAL_NAME: log[:size]}, in_memory / "state")
        if found is None:
            assert order == [], "once there is a journal, more of its log is no damage"
            continue
        assert found.records in journal.states, size
        order.append(journal.states.index(found.records))
    assert order == sorted(order), "a longer log has no less"
    assert set(order) == set(range(len(journal.states)))


def test_a_log_that_lost_its_end_is_noticed_at_the_last_thing_acknowledged(tmp_path: Path) -> None:
    """Be it records, a job that was forgotten, or ids of peers."""
    lasts: list[Callable[[Store], object]] = [
        lambda store: store.add([Addition(1, (b"more",), whole=False)]),
        lambda store: store.add([Addition(1, (), whole=True)]),
        lambda store: store.reserve_peers(1),
    ]
    for last in lasts:
        put({}, tmp_path / "state")
        store = Store(tmp_path / "state")
        store.add([Addition(1, (b"first",), whole=False)])
        last(store)
        files = files_of(tmp_path / "state")
        store.close()
        log = bytearray(files[WAL_NAME])
        log[-1] ^= 1
        assert read(files, tmp_path / "copy") is not None
        assert read(files | {WAL_NAME: bytes(log)}, tmp_path / "copy") is None


def test_an_index_that_points_elsewhere_is_noticed_though_all_records_are_whole(tmp_path: Path) -> None:
    """What is deleted is found by it, so that a wrong record would go, or a right one stay."""
    directory = tmp_path / "state"
    directory.mkdir()
    store = Store(directory)
    store.add([Addition(7, (b"first", b"second", b"third", b"fourth"), whole=False)])
    store.close()
    files = files_of(directory)
    third, second = (b"\x03\x01\x01\x07" + bytes([number]) for number in (3, 2))  # job 7, record number
    assert files[NAME].count(third) == files[NAME].count(second) == 1
    assert read(files, tmp_path / "copy") is not None
    assert read(files | {NAME: files[NAME].replace(third, second)}, tmp_path / "copy") is None
