"""What is kept of what tasks print: the ends of each, the latest of all, and never more than so many bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet import limits
from lbnet.core.events import SlotOutput
from lbnet.pool.logs import Logs
from lbnet.types import ROOT, JobId, RunId, SlotId

SLOT, JOB = SlotId(2), JobId(7)


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OUTPUT_HEAD_BYTES", 10)
    monkeypatch.setattr(limits, "OUTPUT_TAIL_BYTES", 10)
    monkeypatch.setattr(limits, "OUTPUT_JOB_BYTES", 2_000)
    monkeypatch.setattr(limits, "OUTPUT_WORKER_BYTES", 5_000)


def add(logs: Logs, data: bytes, *, ticket: int = 1, index: int = 0, job: JobId = JOB, origin: RunId = ROOT) -> int:
    return logs.add(SLOT, ticket, job, origin, index, data)


def texts(logs: Logs, index: int | None = None, job: JobId = JOB) -> list[bytes]:
    return [output.text for output in logs.of_job(job, index)]


def test_what_is_short_is_kept_whole() -> None:
    logs = Logs()
    assert [add(logs, data) for data in (b"one\n", b"two\n", b"three\n")] == [4, 4, 2]
    assert logs.of_job(JOB) == [SlotOutput(SLOT, JOB, ROOT, 0, b"one\ntwo\nthree\n", 0)]
    assert logs.of_execution(SLOT, 1, JOB, 0) == logs.of_job(JOB)[0]


def test_of_what_is_long_the_ends_are_kept_and_the_rest_is_counted() -> None:
    logs = Logs()
    for number in range(1_000):
        add(logs, b"%03d," % number)
    (output,) = logs.of_job(JOB)
    assert output.text == b"000,001,00\n... 3980 bytes left out ...\n7,998,999,"
    assert output.dropped == 3_980


def test_each_run_of_a_task_has_its_own() -> None:
    logs = Logs()
    add(logs, b"first", ticket=1)
    add(logs, b"other", ticket=1, index=1)
    add(logs, b"child", ticket=1, origin=RunId(9), index=0)
    add(logs, b"again", ticket=2)
    add(logs, b"spawned", ticket=3, origin=RunId(9), index=0)
    assert texts(logs) == [b"firstchild", b"other", b"again", b"spawned"]
    assert texts(logs, 0) == [b"firstchild", b"again"]
    assert texts(logs, 5) == []


def test_what_is_not_known_has_printed_nothing() -> None:
    logs = Logs()
    add(logs, b"x")
    assert texts(logs, job=JobId(8)) == []
    assert logs.of_execution(SLOT, 2, JOB, 0) is None
    assert logs.of_execution(SLOT, 1, JobId(8), 0) is None


def test_a_job_keeps_its_latest_tasks() -> None:
    logs = Logs()
    for index in range(50):
        add(logs, b"%d" % index, index=index)
    kept = [int(text) for text in texts(logs)]
    assert kept == list(range(50 - len(kept), 50))
    assert 1 < len(kept) < 50


def test_a_worker_keeps_its_latest_jobs() -> None:
    logs = Logs()
    for job in range(10):
        for index in range(5):
            add(logs, b"x", index=index, job=JobId(job))
    kept = [job for job in range(10) if texts(logs, job=JobId(job))]
    assert kept == list(range(10 - len(kept), 10))
    assert 1 < len(kept) < 10


def test_the_job_that_prints_is_not_the_one_to_go() -> None:
    logs = Logs()
    add(logs, b"first", job=JobId(0))
    for job in range(1, 6):
        for index in range(3):
            add(logs, b"x", index=index, job=JobId(job))
    add(logs, b"more", ticket=2, job=JobId(0))
    for index in range(3, 8):
        add(logs, b"y", index=index, job=JobId(0))
    assert b"y" in texts(logs, job=JobId(0))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5), st.integers(1, 60)), max_size=150))
def test_it_is_never_over_its_limits(steps: list[tuple[int, int, int]]) -> None:
    logs = Logs()
    for job, index, size in steps:
        add(logs, b"z" * size, index=index, job=JobId(job))
        assert logs.size_bytes == sum(each.size_bytes for each in logs._jobs.values())
        assert logs.size_bytes <= limits.OUTPUT_WORKER_BYTES
        (kept,) = (logs.of_execution(SLOT, 1, JobId(job), index),)
        assert kept is not None
    for job in range(21):
        logs.of_job(JobId(job))
    assert logs.size_bytes == sum(kept.size_bytes for each in logs._jobs.values() for kept in each.kept.values())
