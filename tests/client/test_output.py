"""Pieces of output that come mixed are shown as whole lines, each with a word on whose it is."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet import limits
from lbnet.client.connection import Connection
from lbnet.client.options import Options
from lbnet.client.output import Echo, Lines, outputs_of, prefix_of
from lbnet.errors import ConnectionLostError
from lbnet.protocol.messages import Printed
from lbnet.types import ROOT, JobId, RunId, TaskOutput

JOB = JobId(7)


def printed(text: bytes, index: int = 1, dropped: int = 0, origin: RunId = ROOT) -> Printed:
    return Printed(JOB, "w", 0, origin, index, text, dropped)


def texts(lines: Lines, *pieces: Printed) -> list[tuple[int | None, str]]:
    return [(output.item, output.text) for piece in pieces for output in lines.feed(piece)]


def test_lines_of_several_tasks_do_not_mix() -> None:
    lines = Lines()
    assert texts(lines, printed(b"one "), printed(b"two", 2), printed(b"more\nnext"), printed(b" end\n", 2)) == [
        (1, "one more"),
        (2, "two end"),
    ]
    assert [(output.item, output.text) for output in lines.end()] == [(1, "next")]
    assert list(lines.end()) == []


def test_what_was_left_out_is_said_and_the_line_before_it_is_no_part_of_the_next() -> None:
    assert texts(Lines(), printed(b"half"), printed(b"new\n", dropped=5_000)) == [
        (1, "half... 5,000 bytes left out ..."),
        (1, "new"),
    ]


def test_a_line_without_end_is_cut() -> None:
    (output,) = Lines().feed(printed(b"x" * (limits.OUTPUT_LINE_CHARS_MAX + 1)))
    assert len(output.text) == limits.OUTPUT_LINE_CHARS_MAX + 1


def test_tasks_that_do_not_end_their_lines_are_not_remembered_for_ever() -> None:
    lines = Lines()
    count = limits.OUTPUT_LINES_OPEN_MAX + 5
    assert len(texts(lines, *(printed(b"x", index) for index in range(count)))) == 5


@settings(derandomize=True, deadline=None)
@given(st.text(max_size=40), st.lists(st.integers(0, 160), max_size=5))
def test_letters_that_are_cut_apart_are_put_together(text: str, cuts: list[int]) -> None:
    data = text.encode("utf-8", "surrogatepass")
    places = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    lines = Lines()
    pieces = [printed(data[lo:hi]) for lo, hi in zip(places, places[1:], strict=False)]
    found = [output.text for piece in pieces for output in lines.feed(piece)]
    found += [output.text for output in lines.end()]
    expected = data.decode("utf-8", "backslashreplace").split("\n")
    assert found == (expected[:-1] if not expected[-1] else expected)


def test_a_line_begins_with_job_item_and_worker() -> None:
    output = TaskOutput(JOB, 4, "w", 0, "text", 0)
    assert prefix_of(output) == "[7/4 w] "
    assert prefix_of(output, "simulate") == "[simulate/4 w] "
    (spawned,) = Lines().feed(printed(b"x\n", origin=RunId(5)))
    assert prefix_of(spawned) == "[7/spawned w] "


def test_an_answer_is_read_and_what_is_none_is_left_out() -> None:
    good = {"slot": 1, "item": 3, "text": "hello", "dropped": 2}
    workers = [{"worker": "a", "outputs": [good, {"slot": 1}, 5]}, {"worker": "b"}]
    assert outputs_of({"job": 7, "workers": workers}) == [TaskOutput(JOB, 3, "a", 1, "hello", 2)]


class GoneConnection:
    """A link that is away, and will be for long."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def follow(self, job: JobId, sink: Any) -> None:
        sink(printed(b"half a line", 4))

    def has_read(self, job: JobId, size_bytes: int) -> None:
        pass

    def ask(self, what: str, job: JobId, **more: Any) -> None:
        self.asked.append({"what": what, "job": job, **more})
        raise ConnectionLostError("away")


def test_the_end_is_shown_and_waits_neither_for_a_link_nor_for_a_silent_worker(
    capsys: pytest.CaptureFixture[str],
) -> None:
    connection = GoneConnection()
    echo = Echo(cast("Connection", connection))
    echo.opened(JOB, Options(), "quiet")
    echo.opened(JOB, Options(echo=True), "talk")
    echo.finish()
    assert connection.asked == [
        {"what": "flush", "job": JOB, "timeout_s": limits.STOP_TIMEOUT_S, "waits_for_link": False}
    ]
    assert capsys.readouterr().err == "[talk/4 w] half a line\n"
