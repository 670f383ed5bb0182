"""A trace is there when it is whole; until then, and if it never is, its part is there."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from lbnet.errors import UsageError
from lbnet.trace import writer as module
from lbnet.trace.reader import read
from lbnet.trace.writer import TraceWriter, check_new
from tests.trace.traces import SMALL


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


def test_it_grows_as_a_part_and_is_there_in_the_end(path: Path) -> None:
    writer = TraceWriter(path)
    part = path.parent / "run.jsonl.part"
    assert writer.part == part
    sizes = [part.stat().st_size]
    for record in SMALL:
        writer.write([record])
        sizes.append(part.stat().st_size)
    assert sizes == sorted(set(sizes))
    assert not path.exists()
    writer.finish()
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_size > sizes[-1]
    assert len(read(path).jobs) == 1


def test_nothing_to_write_is_a_whole_trace(path: Path) -> None:
    writer = TraceWriter(path)
    writer.write([])
    writer.finish()
    assert read(path).jobs == {}


def test_what_a_crash_leaves_is_recognised_and_replaced_by_the_next_recording(path: Path) -> None:
    crashed = TraceWriter(path)
    crashed.write(SMALL)
    crashed._file.close()
    assert not path.exists()
    with pytest.raises(UsageError, match=r"run\.jsonl\.part is cut off after line 10: "):
        read(crashed.part)
    again = TraceWriter(path)
    again.write(SMALL[:1] + SMALL[-1:])
    again.finish()
    ((job,),) = (read(path).jobs.values(),)
    assert job.events == ()


@pytest.mark.parametrize("there", ["file", "folder", "link"])
def test_what_is_there_already_is_kept(path: Path, there: str) -> None:
    if there == "file":
        path.write_text("mine")
    elif there == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    for attempt in (TraceWriter, check_new):
        with pytest.raises(UsageError) as caught:
            attempt(path)
        assert str(caught.value) == f"{path} exists already: name another file for the trace, or remove it"
    assert list(path.parent.iterdir()) == [path]


def test_what_came_in_the_meantime_is_kept_and_the_trace_stays_beside_it(path: Path) -> None:
    writer = TraceWriter(path)
    writer.write(SMALL)
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        writer.finish()
    writer.abandon()
    assert path.read_text() == "mine"
    assert len(read(writer.part).jobs) == 1


def test_two_recordings_to_one_name_do_not_mix(path: Path) -> None:
    first = TraceWriter(path)
    with pytest.raises(UsageError) as caught:
        TraceWriter(path)
    assert str(caught.value) == f"another run is being recorded to {path}: name another file for the trace"
    first.write(SMALL)
    first.finish()
    assert len(read(path).jobs) == 1


def test_a_part_whose_holder_finishes_just_now_is_not_emptied(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = TraceWriter(path)
    first.write(SMALL)

    def finish_first(descriptor: int, how: int) -> None:
        first.finish()

    monkeypatch.setattr(fcntl, "flock", finish_first)
    with pytest.raises(UsageError, match="exists already"):
        TraceWriter(path)
    assert len(read(path).jobs) == 1


def test_a_file_system_without_locks_will_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    writer = TraceWriter(path)
    writer.finish()
    assert read(path).jobs == {}


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none" / "run.jsonl"
    for attempt in (TraceWriter, check_new):
        with pytest.raises(UsageError) as caught:
            attempt(path)
        assert str(caught.value) == f"cannot write the trace {path}: there is no directory {path.parent}"


def test_a_folder_that_is_not_ours_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UsageError) as caught:
        check_new(path)
    assert str(caught.value) == (
        f"cannot write the trace {path}: no files can be made in {path.parent}; name another one"
    )


def test_a_part_that_cannot_be_opened_is_named(path: Path) -> None:
    path.with_name("run.jsonl.part").mkdir()
    with pytest.raises(UsageError) as caught:
        TraceWriter(path)
    assert str(caught.value) == f"cannot write the trace {path}.part (Is a directory): name another file for it"


def test_a_full_disk_is_an_error_each_time_and_the_part_can_be_left(path: Path) -> None:
    writer = TraceWriter(path)
    writer.write(SMALL)
    descriptor = os.open("/dev/full", os.O_WRONLY)
    os.dup2(descriptor, writer._file.fileno())
    os.close(descriptor)
    for attempt in (lambda: writer.write(SMALL), writer.finish):
        with pytest.raises(OSError, match="No space left"):
            attempt()
    writer.abandon()
    assert writer._file.closed
    assert not path.exists()
    with pytest.raises(UsageError, match="cut off after line 10"):
        read(writer.part)


def test_the_header_says_what_and_by_whom(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VERSION", "9.8.7")
    TraceWriter(path).finish()
    assert path.read_bytes().splitlines()[0] == b'{"format":"lbnet-trace","version":1,"lbnet":"9.8.7"}'
    assert read(path).lbnet == "9.8.7"
