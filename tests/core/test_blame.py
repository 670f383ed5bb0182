"""The words of a failure whose task was with its slot when that died."""

from __future__ import annotations

from typing import Any

import pytest

from lbnet import limits
from lbnet.core.blame import last_failure
from lbnet.core.events import SlotDied, SlotOutput
from lbnet.types import FAILED, ROOT, Batch, Failure, Group, JobId, Member, Payload, RunId, SlotId

JOB, RUN = JobId(4), RunId(9)
TRIED = Batch(JOB, RUN, 5, 6, 2, ROOT, 1, Payload(0, 10, b"f", b""), failures=3, crashes=2)


def died(timed_out: bool = False, where: str = "host h, pid 7") -> SlotDied:
    return SlotDied(SlotId(0), 1, 5, timed_out, False, "exited with code 1", where)


def printed(text: bytes, **changes: Any) -> SlotOutput:
    facts: dict[str, Any] = {"slot": SlotId(0), "job": JOB, "origin": RUN, "index": 5, "text": text, "dropped": 0}
    return SlotOutput(**{**facts, **changes})


def failure_of(event: SlotDied, output: SlotOutput | None = None) -> Failure:
    failure = last_failure(TRIED, event, output, "w").failure
    assert failure is not None
    return failure


def test_it_is_the_result_of_this_one_task() -> None:
    group = last_failure(TRIED, died(), None, "w")
    assert group == Group(FAILED, b"", (Member(RUN, 5, 6, 2, ROOT, 1, ROOT, ()),), 0.0, group.failure)


@pytest.mark.parametrize(
    ("timed_out", "kind", "tries"), [(False, "TaskCrashedError", "2 of 2"), (True, "TaskTimeoutError", "3 of 3")]
)
def test_it_says_how_how_often_and_where(timed_out: bool, kind: str, tries: str) -> None:
    text = f"exited with code 1; attempt {tries}"
    assert failure_of(died(timed_out)) == Failure(kind, text, "", "worker w, host h, pid 7", b"")
    assert failure_of(died(timed_out, where="")).where == "worker w"


def test_the_last_lines_of_its_output_are_told() -> None:
    lines = [b"line %d" % number for number in range(100)]
    message = failure_of(died(), printed(b"\n".join(lines) + b"\n\n")).message
    head, *told = message.split("\n")
    assert head == "exited with code 1; attempt 2 of 2; the last that it printed:"
    assert told == [line.decode() for line in lines[-limits.OUTPUT_LAST_LINES :]]


def test_one_endless_line_is_cut_and_what_is_no_text_is_told_all_the_same() -> None:
    message = failure_of(died(), printed(b"a" * 100_000 + b"\xff")).message
    assert message.endswith("a" * 100 + "\\xff")
    assert len(message) < limits.OUTPUT_LAST_CHARS + 200


@pytest.mark.parametrize(
    "output",
    [
        None,
        printed(b" \n"),
        printed(b"x", index=4),
        printed(b"x", origin=ROOT),
        printed(b"x", job=JobId(5)),
    ],
)
def test_what_another_task_printed_is_not_told(output: SlotOutput | None) -> None:
    assert failure_of(died(), output).message == "exited with code 1; attempt 2 of 2"
