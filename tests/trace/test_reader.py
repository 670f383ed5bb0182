"""A whole trace is read as it was written; of any other file one sentence says what is wrong with it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lbnet.errors import UsageError
from lbnet.trace.reader import RecordedJob, read
from lbnet.trace.records import Cancelled, Ended, Finished, Opened, Record, line_of
from lbnet.trace.writer import footer, header
from tests.trace.traces import OPENED, SMALL, mixed, write

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


def sentence(path: Path) -> str:
    """What is said of a file that is no whole trace, without its name."""
    with pytest.raises(UsageError) as caught:
        read(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text.replace(str(path), "FILE")


def signed(*lines: str) -> bytes:
    """These lines between a header and the footer that fits them."""
    data = header() + "".join(f"{line}\n" for line in lines).encode()
    return data + footer(len(lines), zlib.crc32(data))


# --- what was written -----------------------------------------------------------------------------


@given(records=mixed())
@in_one_folder
def test_what_is_read_is_what_was_written(tmp_path: Path, records: list[Record]) -> None:
    path = tmp_path / "run.jsonl"
    path.unlink(missing_ok=True)
    trace = read(write(path, *records))
    assert list(trace.jobs) == [record.job for record in records if isinstance(record, Opened)]
    for number, job in trace.jobs.items():
        own = [record for record in records if record.job == number]
        assert [job.opened, *job.events, job.ended] == own


def test_the_seconds_of_a_job_are_those_of_all_its_groups(path: Path) -> None:
    (job,) = read(write(path, *SMALL)).jobs.values()
    assert job.seconds == 0.25 + 1.0 + 0.5 + 0.125 + 2.0 + 2.0
    assert RecordedJob(job.opened, (), job.ended).seconds == 0


# --- what is no trace -----------------------------------------------------------------------------


def test_an_empty_file(path: Path) -> None:
    path.touch()
    assert sentence(path) == "the trace FILE is empty: nothing has been recorded to it"


def test_a_missing_file(path: Path) -> None:
    assert sentence(path) == "cannot read the trace FILE (No such file or directory): check the path"


def test_a_directory(tmp_path: Path) -> None:
    assert sentence(tmp_path) == "cannot read the trace FILE (Is a directory): check the path"


@pytest.mark.parametrize(
    "data",
    [
        b"\n",
        b"{}\n",
        b"\x7fELF" + bytes(range(256)) * 100,
        b"\0" * 100_000,
        b"{" * 100_000,
        b'{"format":"other"}\n',
        b"hello",
        header()[1:],
    ],
)
def test_something_else(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    assert sentence(path) == "FILE is not an lbnet trace: name a file that was written with --trace"


def test_another_version(path: Path) -> None:
    path.write_bytes(b'{"format":"lbnet-trace","version":2,"lbnet":"7.0","more":[]}\nwhatever\n')
    assert sentence(path) == (
        "the trace FILE is of format version 2, and this lbnet reads version 1: use lbnet 7.0, which wrote it, "
        "or record again"
    )


@pytest.mark.parametrize(
    "first",
    [
        b'{"format":"lbnet-trace"}\n',
        b'{"format":"lbnet-trace","version":"1","lbnet":"7.0"}\n',
        b'{"format":"lbnet-trace","version":1}\n',
        b'{"format":"lbnet-trace"' + b"[" * 3_000 + b"\n",
        b'{"format":"lbnet-trace",\xff\n',
    ],
)
def test_a_header_that_makes_no_sense(path: Path, first: bytes) -> None:
    path.write_bytes(first)
    assert sentence(path) == "the trace FILE is damaged in line 1: record again"


# --- what is not whole ----------------------------------------------------------------------------

END = "the program that wrote it did not end in good order; record again"


def test_a_file_that_is_cut_anywhere_says_where(path: Path) -> None:
    data = signed(*map(line_of, SMALL))
    for size in range(1, len(data)):  # every byte of every line
        path.write_bytes(data[:size])
        lines = data[:size].count(b"\n")
        where = f"after line {lines}" if data[:size].endswith(b"\n") else f"in line {lines + 1}"
        assert sentence(path) == f"the trace FILE is cut off {where}: {END}"


def changed(data: bytes, at: int, byte: int) -> bytes:
    return data[:at] + bytes([byte]) + data[at + 1 :]


@given(at=st.integers(0, len(signed(*map(line_of, SMALL))) - 1), byte=st.integers(0, 255))
@in_one_folder
def test_a_changed_byte_is_found(tmp_path: Path, at: int, byte: int) -> None:
    path = tmp_path / "run.jsonl"
    data = signed(*map(line_of, SMALL))
    path.write_bytes(changed(data, at, byte))
    if data[at] == byte:
        read(path)
        return
    text = sentence(path)
    known = ("is damaged", "is not an lbnet trace", "is of format version", "is cut off")
    assert any(each in text for each in known), text


def test_each_changed_digit_is_found_by_the_checksum(path: Path) -> None:
    data = signed(*map(line_of, SMALL))
    where = data.index(b"0.125")
    path.write_bytes(changed(data, where + 2, ord("9")))
    assert sentence(path) == (
        "the trace FILE is damaged: the checksum in line 11 is not that of the lines before it; record again"
    )


def test_a_line_that_is_no_record_is_named(path: Path) -> None:
    data = signed(*map(line_of, SMALL))
    path.write_bytes(data.replace(b'"silent"', b'"sil\x80nt"', 1))
    assert sentence(path) == "the trace FILE is damaged in line 5: record again"


@pytest.mark.parametrize("more", [b"\n", b"x", header()])
def test_what_stands_behind_the_end_is_damage(path: Path, more: bytes) -> None:
    path.write_bytes(signed(*map(line_of, SMALL)) + more)
    assert sentence(path) == "the trace FILE is damaged in line 12: record again"


def test_a_line_without_end_is_not_read_for_ever(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lbnet.trace.reader._LINE_BYTES_MAX", 100)
    path.write_bytes(header() + b" " * 1_000)
    assert sentence(path) == f"the trace FILE is cut off in line 2: {END}"


ENDED = Ended(OPENED.job, "done", 1, 1, 1.0)


@pytest.mark.parametrize(
    ("records", "line"),
    [
        ([OPENED, OPENED, ENDED], 3),
        ([OPENED, ENDED, ENDED], 4),
        ([ENDED], 2),
        ([OPENED, ENDED, SMALL[1]], 4),
        ([SMALL[1]], 2),
        ([Cancelled(OPENED.job, 0, 1)], 2),
        ([OPENED], 3),
    ],
)
def test_records_out_of_order_are_damage_whatever_the_checksum_says(
    path: Path, records: Sequence[Record], line: int
) -> None:
    path.write_bytes(signed(*map(line_of, records)))
    assert sentence(path) == f"the trace FILE is damaged in line {line}: record again"


def test_a_file_that_may_not_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, *SMALL)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert sentence(path) == "cannot read the trace FILE (Permission denied): check the path"


def test_the_order_of_records_of_one_job_is_kept(path: Path) -> None:
    (job,) = read(write(path, *SMALL)).jobs.values()
    assert [type(event) for event in job.events] == [Finished] * 6 + [Cancelled]
