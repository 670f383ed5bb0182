from __future__ import annotations

import math
from dataclasses import replace

import pytest

from lbnet.core.checks import plausible_s, problem_of_batch, problem_of_group
from lbnet.types import COMBINED, FAILED, ROOT, SILENT, VALUES, Batch, Failure, Group, JobId, Member, Payload, RunId

JOB, RUN, FN, REDUCE = JobId(1), RunId(9 << 44), b"function", b"reduce"
FUNCTIONS = frozenset({FN, REDUCE})
CHILD = Batch(JOB, RUN, 0, 2, 0, ROOT, 0, Payload(0, 2, FN, b""))
NEXT = replace(CHILD, lo=2, hi=3, payload=Payload(2, 1, FN, b""))
TASK = Member(ROOT, 0, 1, 0, ROOT, 0, ROOT, ())
PARENT = replace(TASK, run=RUN, children=(CHILD, NEXT))
WHY = Failure("exception", "", "", "", b"")


def group(kind: int, *members: Member, failure: Failure | None = None) -> Group:
    return Group(kind, b"", members, 0.0, failure)


@pytest.mark.parametrize("part", [CHILD, CHILD.part(0, 1), CHILD.part(1, 2), CHILD.again(1, failures=2, crashes=1)])
def test_work_within_its_payload_is_fine(part: Batch) -> None:
    assert problem_of_batch(part, FUNCTIONS) is None


@pytest.mark.parametrize(
    ("batch", "sentence"),
    [
        (replace(CHILD, hi=3), "outside of its payload"),
        (replace(CHILD, payload=Payload(1, 2, FN, b"")), "outside of its payload"),
        (replace(CHILD, payload=Payload(0, 2, b"?", b"")), "without its function"),
        (replace(CHILD, payload=Payload(0, 2, b"", b"")), "without its function"),
        (replace(CHILD, failures=1), "not one task"),
        (replace(CHILD, hi=1, crashes=-1), "less than never"),
    ],
)
def test_work_that_cannot_be_run_is_refused(batch: Batch, sentence: str) -> None:
    assert sentence in str(problem_of_batch(batch, FUNCTIONS | {b""}))


@pytest.mark.parametrize(
    "good",
    [
        group(VALUES, replace(TASK, hi=9)),
        group(VALUES, PARENT),
        group(SILENT, replace(TASK, origin=RUN)),
        group(COMBINED, PARENT),
        group(COMBINED, TASK, replace(TASK, lo=3, hi=7)),
        group(FAILED, TASK, failure=WHY),
    ],
)
def test_what_workers_say_is_fine(good: Group) -> None:
    assert problem_of_group(good, JOB, REDUCE, FUNCTIONS) is None


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (group(4, TASK), "unknown kind 4"),
        (group(-1, TASK), "unknown kind -1"),
        (group(VALUES), "no task"),
        (group(VALUES, TASK, TASK), "exactly one range"),
        (group(FAILED, TASK), "says why"),
        (group(FAILED, replace(TASK, hi=2), failure=WHY), "one task"),
        (group(VALUES, replace(PARENT, run=ROOT)), "can spawn"),
        (group(VALUES, replace(PARENT, hi=2)), "can spawn"),
        (group(VALUES, replace(PARENT, children=(NEXT,))), "numbered"),
        (group(VALUES, replace(PARENT, children=(CHILD, CHILD))), "numbered"),
        (group(VALUES, replace(PARENT, children=(replace(CHILD, origin=ROOT),))), "numbered"),
        (group(VALUES, replace(PARENT, children=(replace(CHILD, job=JobId(2)),))), "numbered"),
        (group(VALUES, replace(PARENT, children=(replace(CHILD, hi=3),))), "outside of its payload"),
    ],
)
def test_results_that_would_spoil_the_books_are_refused(bad: Group, sentence: str) -> None:
    assert sentence in str(problem_of_group(bad, JOB, REDUCE, FUNCTIONS))


def test_values_are_combined_only_where_the_job_says_how() -> None:
    assert "combines nothing" in str(problem_of_group(group(COMBINED, TASK), JOB, b"", FUNCTIONS))


@pytest.mark.parametrize(
    ("seconds", "plausible"),
    [(0.0, 0.0), (1.5, 1.5), (-1e-18, 0.0), (-5.0, 0.0), (math.nan, 0.0), (math.inf, 0.0), (-math.inf, 0.0)],
)
def test_only_a_duration_is_taken_for_one(seconds: float, plausible: float) -> None:
    assert plausible_s(seconds) == plausible
