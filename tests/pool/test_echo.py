"""What tasks print is shown, and a terminal that stands still holds up nobody."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from lbnet import limits
from lbnet.pool.echo import Echo


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_everything_is_shown_in_order_before_the_end(pipe: tuple[int, int]) -> None:
    echo = Echo(pipe[1])
    for number in range(100):
        echo.show(b"%d\n" % number)
    echo.stop(10)
    assert os.read(pipe[0], 1 << 16) == b"".join(b"%d\n" % number for number in range(100))
    echo.show(b"too late")
    os.set_blocking(pipe[0], False)
    with pytest.raises(BlockingIOError):
        os.read(pipe[0], 1)


def test_nobody_waits_for_a_reader_that_does_not_read(pipe: tuple[int, int]) -> None:
    echo = Echo(pipe[1])
    block = b"x" * 100_000
    for _ in range(100):
        echo.show(block)
    assert echo._size_bytes <= limits.OUTPUT_ECHO_BYTES
    echo.stop(0)
    assert echo._thread is not None
    shown = b""
    dropped = 0
    while shown.count(b"x") + dropped < 10_000_000:
        shown += os.read(pipe[0], 1 << 20)
        dropped = sum(map(int, re.findall(rb"lbnet: (\d+) bytes of output were not shown here\n", shown)))
    assert shown.count(b"x") + dropped == 10_000_000
    assert (
        shown.count(b"x") <= 3 * limits.OUTPUT_ECHO_BYTES
    )  # some in the thread's hand, some waiting, some in the pipe
    echo._thread.join(10)
    assert not echo._thread.is_alive()


def test_that_nobody_can_read_any_more_is_no_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    echo = Echo(write_end)
    echo.show(b"hello")
    echo.stop(10)
    assert echo._thread is not None
    assert not echo._thread.is_alive()
    os.close(write_end)


def test_who_shows_nothing_starts_nothing() -> None:
    echo = Echo()
    echo.stop(10)
    assert echo._thread is None
