"""What the controller knows of an item, at each station of its life."""

from __future__ import annotations

from typing import Any

from lbnet.core.explaining import facts_of
from lbnet.core.job import Job
from lbnet.protocol import messages, records
from lbnet.types import (
    FAILED,
    ROOT,
    SILENT,
    VALUES,
    Batch,
    Failure,
    Group,
    JobId,
    JobOptions,
    Member,
    Payload,
    PeerId,
    RunId,
)

RUN = RunId(9 << 44)


def job(items: int = 10, number: int = 7, priority: int = 0) -> Job:
    made = Job(records.Opened(JobId(number), PeerId(1), number, JobOptions(name="n", priority=priority), 0.0, 2))
    made.apply(messages.Function(made.id, b"f", b"f"))
    for lo in range(0, items, 5):
        made.apply(messages.Submit(Batch(made.id, ROOT, lo, lo + 5, 0, ROOT, 0, Payload(lo, 5, b"f", b""))))
    return made


def facts(of: Job, index: int, *line: Job) -> dict[str, Any]:
    return facts_of(of, index, line or (of,))


def results(of: Job, *groups: Group) -> None:
    of.apply(records.Results(of.id, PeerId(2), "w", 1, groups))


def test_a_job_that_nobody_knows() -> None:
    assert facts_of(None, 0, ()) == {"state": "unknown"}


def test_an_item_that_waits_to_be_placed_is_found_in_the_line() -> None:
    made = job()
    assert [facts(made, index)["before"] for index in (0, 4, 7)] == [0, 4, 7]
    made.take(2)
    assert [facts(made, index)["before"] for index in (0, 4, 7)] == [None, 2, 5]
    assert facts(made, 0)["outstanding"]


def test_an_item_that_is_not_there_yet() -> None:
    made = job()
    assert [facts(made, index)["submitted"] for index in (-1, 9, 10)] == [False, True, False]
    assert not facts(made, 10)["closed"]
    made.apply(messages.CloseJob(made.id, 10))
    assert facts(made, 10)["closed"]


def test_an_item_that_ran_and_its_children() -> None:
    made = job()
    child = Batch(made.id, RUN, 0, 2, 3, ROOT, 3, Payload(0, 2, b"f", b""))
    results(made, Group(VALUES, b"", (Member(ROOT, 3, 4, 3, ROOT, 0, RUN, (child,)),), 0.1, None))
    assert (facts(made, 3)["outstanding"], facts(made, 3)["descendants"]) == (False, 2)
    results(made, Group(SILENT, b"", (Member(RUN, 0, 2, 3, ROOT, 3, ROOT, ()),), 0.1, None))
    assert (facts(made, 3)["outstanding"], facts(made, 3)["descendants"]) == (False, 0)
    why = Failure("exception", "", "", "", b"")
    results(made, Group(FAILED, b"", (Member(ROOT, 4, 5, 4, ROOT, 0, ROOT, ()),), 0.1, why))
    assert not facts(made, 4)["outstanding"]


def test_jobs_of_a_higher_priority_that_have_tasks_come_first() -> None:
    low, high, empty, equal = job(), job(5, 8, priority=3), job(0, 9, priority=9), job(5, 10)
    assert facts(low, 0, empty, high, low, equal)["jobs_before"] == {"8": 5}
