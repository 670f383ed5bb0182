"""Standard output of a slot: every write says whose it is, for as long as it goes to the worker."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lbnet.pool.output import OutputReader, Piece
from lbnet.pool.streams import PIECE_BYTES, TOKEN_BYTES, Streams

TOKEN = b"t" * TOKEN_BYTES


class Slot:
    """The streams, at the end of a pipe."""

    def __init__(self) -> None:
        self.running = (-1, -1)
        self.read_end, self.output = os.pipe()
        self.errors = os.dup(self.output)
        self.streams = Streams(TOKEN, lambda: self.running, output=self.output, errors=self.errors)

    def close(self) -> None:
        self.streams.flush()
        for fd in (self.read_end, self.output, self.errors):
            os.close(fd)

    def printed(self) -> list[Piece]:
        os.set_blocking(self.read_end, False)
        try:
            return list(OutputReader(TOKEN).feed(os.read(self.read_end, 1 << 20)))
        except BlockingIOError:
            return []


@contextlib.contextmanager
def a_slot() -> Iterator[Slot]:
    """What the streams were comes back. It is no fixture: pytest has others for the test than for its fixtures."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
            patch.setattr(sys, name, getattr(sys, name))
        made = Slot()
        try:
            yield made
        finally:
            made.close()


def test_every_line_says_whose_it_is() -> None:
    with a_slot() as slot:
        slot.running = (3, 14)
        print("one")
        slot.running = (3, 15)
        print("two", file=sys.stderr)
        assert slot.printed() == [Piece(3, 14, b"one\n"), Piece(3, 15, b"two\n")]


def test_the_beginning_of_a_line_leaves_when_it_is_told_to() -> None:
    with a_slot() as slot:
        slot.running = (3, 14)
        print("one", end="")
        assert slot.printed() == []
        slot.streams.flush()
        assert slot.printed() == [Piece(3, 14, b"one")]


def test_long_texts_come_whole_in_writes_that_cannot_be_torn() -> None:
    with a_slot() as slot:
        slot.running = (1, 2)
        text = "".join(f"{number}\n" for number in range(5_000))
        print(text, end="", flush=True)
        pieces = slot.printed()
        assert b"".join(piece.data for piece in pieces) == text.encode()
        assert max(len(piece.data) for piece in pieces) <= PIECE_BYTES
        assert {piece[:2] for piece in pieces} == {(1, 2)}


def test_what_cannot_be_encoded_is_printed_all_the_same() -> None:
    with a_slot() as slot:
        print("a\udc80")
        assert slot.printed() == [Piece(-1, -1, b"a\\udc80\n")]


def test_threads_do_not_tear_the_writes_of_each_other() -> None:
    with a_slot() as slot:
        threads = [
            threading.Thread(target=lambda stream=stream: [print("x" * 50, file=stream) for _ in range(200)])
            for stream in (sys.stdout, sys.stderr)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [piece.data for piece in slot.printed()] == [b"x" * 50 + b"\n"] * 400


def test_what_a_task_turned_into_a_file_of_its_own_has_no_headers(tmp_path: Path) -> None:
    with a_slot() as slot:
        with (tmp_path / "own").open("wb") as file:
            home = os.dup(slot.output)
            os.dup2(file.fileno(), slot.output)
            print("to the file")
            os.dup2(home, slot.output)
            os.close(home)
        slot.running = (1, 2)
        print("to the worker")
        assert (tmp_path / "own").read_bytes() == b"to the file\n"
        assert slot.printed() == [Piece(1, 2, b"to the worker\n")]


def test_closed_streams_can_be_flushed() -> None:
    with a_slot() as slot:
        sys.stdout.close()
        print("half", end="", file=sys.stderr)
        slot.streams.flush()
        assert slot.printed() == [Piece(-1, -1, b"half")]


def test_they_look_like_streams() -> None:
    with a_slot() as slot:
        assert (sys.stdout.fileno(), sys.stderr.fileno()) == (slot.output, slot.errors)
        assert not sys.stdout.isatty()
        sys.stdout.buffer.write(b"\x00\xff")
        sys.stdout.buffer.flush()
        assert slot.printed() == [Piece(-1, -1, b"\x00\xff")]
