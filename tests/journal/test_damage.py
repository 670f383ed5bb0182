"""A small real journal, cut at every byte and with every byte flipped: what is read is the truth, or an error."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lbnet.errors import JournalError
from lbnet.journal.store import MARK_NAME, NAME, Addition, Store

WAL_NAME = NAME + "-wal"

States = list[list[bytes]]


def written(directory: Path) -> States:
    """Fill a journal, and leave its files as a process that is killed would. Returns what it held at each moment."""
    directory.mkdir()
    store = Store(directory, page_bytes=512)
    states: States = [[]]
    kept: list[tuple[int, bytes]] = []
    additions = [
        Addition(1, (b"opened one", b"x" * 600), whole=False),
        Addition(2, (b"opened two", b"results two"), whole=False),
        Addition(2, (b"books two",), whole=True),
        Addition(1, (), whole=True),
    ]
    for addition in additions:
        store.add([addition])
        if addition.whole:
            kept = [one for one in kept if one[0] != addition.job]
        kept += [(addition.job, body) for body in addition.bodies]
        states.append([body for _, body in kept])
    shutil.copytree(directory, directory.with_name("killed"))
    store.close()  # the last one to leave moves the log into the file
    return states


@pytest.fixture(scope="module", params=["killed", "closed"])
def journal(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, bytes], States]:
    """The files of a journal, and what it held at each moment."""
    base = tmp_path_factory.mktemp("journal")
    states = written(base / "closed")
    files = {
        path.name: path.read_bytes() for path in (base / request.param).iterdir() if not path.name.endswith("-shm")
    }
    return files, states


def read(files: dict[str, bytes], directory: Path) -> list[bytes] | None:
    """What a controller would find; None if it is refused."""
    directory.mkdir(exist_ok=True)
    for old in directory.iterdir():
        old.unlink()
    for name, content in files.items():
        (directory / name).write_bytes(content)
    try:
        store = Store(directory)
        try:
            return list(store.records())
        finally:
            store.close()
    except JournalError:
        return None


def test_it_is_read_as_it_was_written(journal: tuple[dict[str, bytes], States], tmp_path: Path) -> None:
    files, states = journal
    assert read(files, tmp_path) == states[-1]


def test_flipped_at_any_byte_it_is_the_truth_or_an_error(
    journal: tuple[dict[str, bytes], States], tmp_path: Path
) -> None:
    files, states = journal
    refused = 0
    for name, whole in files.items():
        for at in range(len(whole)):
            flipped = bytearray(whole)
            flipped[at] ^= 0x55
            found = read(files | {name: bytes(flipped)}, tmp_path)
            assert found is None or found == states[-1], f"byte {at} of {name}"
            refused += found is None
    assert refused > 100


def test_cut_at_any_byte_it_is_the_truth_or_an_error(journal: tuple[dict[str, bytes], States], tmp_path: Path) -> None:
    files, states = journal
    refused = 0
    for name, whole in files.items():
        for size in range(len(whole)):
            found = read(files | {name: whole[:size]}, tmp_path)
            assert found is None or found == states[-1], f"{name} cut to {size} bytes"
            refused += found is None
    assert refused > 100


def test_cut_as_a_crash_of_the_machine_does_it_the_end_is_missing_and_no_more(
    journal: tuple[dict[str, bytes], States], tmp_path: Path
) -> None:
    """What was not acknowledged may be lost with the end of the log: the mark is older then."""
    files, states = journal
    log = files.get(WAL_NAME, b"")
    rest = {name: content for name, content in files.items() if name not in {WAL_NAME, MARK_NAME}}
    seen = set()
    for size in range(0, len(log) + 1, 16):
        found = read(rest | {WAL_NAME: log[:size]}, tmp_path)
        assert found is None or found in states, size
        if found is not None:
            seen.add(tuple(found))
    assert len(seen) > 3 or not log
