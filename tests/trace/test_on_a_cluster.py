"""Real runs, recorded and read back: what was recorded is what the cluster's own report says."""

from __future__ import annotations

import operator
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

import lbnet
from lbnet import LocalCluster
from lbnet.client import local_cluster
from lbnet.errors import UsageError
from lbnet.sim.recorded import Recorded, Spawning, recorded
from lbnet.sim.work import Task
from lbnet.trace.reader import read
from lbnet.trace.records import Cancelled, Finished
from lbnet.types import COMBINED, FAILED, JobReport
from lbnet.workloads.synthetic import burn


def short(seconds: float) -> float:
    burn(seconds)
    return seconds


def odd(number: int) -> int:
    if number % 2:
        raise ValueError(number)
    return number


def grow(depth: int) -> int:
    for _ in range(3 if depth else 0):
        lbnet.spawn(grow, depth - 1)
    return 1


def grow_or_fail(depth: int) -> None:
    for number in range(2 if depth else 0):
        lbnet.spawn(grow_or_fail, depth - 1 if number else 0)
    if not depth:
        raise ValueError("a leaf")


def wait(path: str) -> None:
    Path(path).touch()
    time.sleep(600)


def flatten(task: Task) -> Iterator[float]:
    """The seconds of a task and of all that it spawns, and what it counts for."""
    if not isinstance(task, Spawning):
        yield task  # type: ignore[misc]
        return
    yield task.run(task.left_s())
    assert task.done
    for child in task.take_spawned():
        yield from flatten(child)


def seconds_of(replay: Recorded) -> list[float]:
    return [seconds for index in range(replay.items) for seconds in flatten(replay.task(index))]


def until(condition: Callable[[], bool]) -> None:
    """Poll until ``condition`` holds."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


def check(path: Path, report: JobReport) -> Recorded:
    """The only job of a trace against its report. Returns its replay."""
    (job,) = read(path).jobs.values()
    assert (job.opened.job, job.opened.name) == (report.job, report.name)
    assert (job.opened.strategy, job.opened.placement) == (report.strategy, report.placement)
    assert (job.ended.state, job.ended.items, job.ended.slots) == ("done", report.submitted, report.slots)
    assert job.ended.at_s - job.opened.at_s == pytest.approx(report.makespan_s, abs=1e-5)
    close = pytest.approx(report.busy_s, abs=1e-9 * len(job.events))  # each was rounded to a nanosecond
    assert job.seconds == close
    replay = recorded(path)
    assert replay.items == report.submitted
    assert replay.expected() == report.done + report.failed
    seconds = seconds_of(replay)
    assert len(seconds) == report.submitted + report.spawned
    assert sum(seconds) == close
    return replay


def test_a_flat_list(path: Path) -> None:
    items = [0.0, 0.03] * 5 + [0.0] * 5_000
    with LocalCluster(workers=2, slots=1, trace=path) as cluster, cluster.client() as client:
        results = client.with_options(name="flat").map(short, items)
        assert list(results) == items
        report = client.report(results)
        assert not path.exists()
    replay = check(path, report)
    assert replay.name == "recorded:flat"
    assert not replay.reduce
    assert all(isinstance(replay.task(index), float) for index in range(replay.items))
    assert max(seconds_of(replay)) >= 0.01
    assert path.read_bytes().count(b"\n") < 500


def test_work_that_makes_work_and_is_combined(path: Path) -> None:
    with LocalCluster(workers=2, slots=1, trace=str(path)) as cluster, cluster.client() as client:
        results = client.map(grow, [4, 0, 2], reduce=operator.add)
        assert list(results) == [121, 1, 13]
        report = client.report(results)
    assert report.spawned == 120 + 12
    replay = check(path, report)
    assert replay.reduce
    (job,) = read(path).jobs.values()
    assert any(isinstance(event, Finished) and event.kind == COMBINED for event in job.events)
    shapes = [len(list(flatten(replay.task(index)))) for index in range(3)]
    assert shapes == [121, 1, 13]


def test_tasks_that_fail(path: Path) -> None:
    with LocalCluster(slots=2, trace=path) as cluster, cluster.client() as client:
        results = client.map(odd, range(101), return_exceptions=True)
        assert sum(isinstance(result, ValueError) for result in results) == 50
        report = client.report(results)
    assert (report.done, report.failed) == (51, 50)
    check(path, report)
    (job,) = read(path).jobs.values()
    assert sum(isinstance(event, Finished) and event.kind == FAILED for event in job.events) == 50


def test_spawned_tasks_that_fail(path: Path) -> None:
    with LocalCluster(slots=2, trace=path) as cluster, cluster.client() as client:
        results = client.map(grow_or_fail, [3, 1], return_exceptions=True)
        assert len(list(results)) == 2
        report = client.report(results)
    assert report.failed == 4 + 2
    check(path, report)


def test_a_job_that_is_cancelled_is_marked_so_and_what_it_did_can_be_replayed(path: Path, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    with LocalCluster(slots=1, trace=path) as cluster, cluster.client() as client:
        done = client.map(short, [0.001] * 10)
        assert len(list(done)) == 10
        results = client.map(wait, [str(begun)] * 5)
        until(begun.exists)
        results.close()
        number = client.report(results).job
        finished = client.report(done).job
    trace = read(path)
    assert {job.opened.job: job.ended.state for job in trace.jobs.values()} == {finished: "done", number: "cancelled"}
    assert trace.jobs[number].ended.items == 5
    assert Recorded(trace).job == finished
    with pytest.raises(UsageError) as caught:
        Recorded(trace, number)
    assert str(caught.value) == (
        f"no task of job {number} has finished: replay another one; it holds {finished} (done), {number} (cancelled)"
    )


def test_items_that_are_cancelled_one_by_one_are_marked_so(path: Path, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    cluster = LocalCluster(slots=1, trace=path)
    client = cluster.client()
    futures = [client.submit(wait, str(begun)) for _ in range(4)]
    until(begun.exists)
    assert futures[2].cancel()
    until(lambda: client.report(futures[0]).cancelled == 1)
    cluster.close()
    client.close()
    (job,) = read(path).jobs.values()
    assert job.events == (Cancelled(job.opened.job, 2, 3),)
    assert (job.ended.state, job.ended.items) == ("running", 4)


def test_what_runs_when_the_cluster_is_closed_is_marked_as_cut(path: Path, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    cluster = LocalCluster(slots=1, trace=path)
    client = cluster.client()
    client.submit(wait, str(begun))
    until(begun.exists)
    cluster.close()
    client.close()
    (job,) = read(path).jobs.values()
    assert job.ended.state == "running"
    assert job.events == ()


def test_a_controller_that_is_killed_leaves_a_part_that_is_recognised(path: Path) -> None:
    with LocalCluster(slots=1, trace=path) as cluster:
        with cluster.client() as client:
            assert list(client.map(abs, range(10))) == list(range(10))
        psutil.Process(cluster.pids[0]).send_signal(signal.SIGKILL)
    assert not path.exists()
    with pytest.raises(UsageError, match=r"run\.jsonl\.part is cut off "):
        read(path.with_name("run.jsonl.part"))


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """Processes that are started in here can write no longer files: as on a full disk, that is an error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_ends_the_recording_with_one_warning_and_not_the_run(
    path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with files_of_at_most(64 << 10):
        cluster = LocalCluster(slots=1, trace=path)
    with cluster, cluster.client() as client:
        results = client.map(odd, range(4_001), return_exceptions=True)
        assert sum(isinstance(result, ValueError) for result in results) == 2_000
        assert client.report(results).failed == 2_000
    assert not path.exists()
    warnings = [line for line in capfd.readouterr().err.splitlines() if "WARNING" in line]
    assert len(warnings) == 1
    assert warnings[0].endswith(
        f"recording to {path} has stopped (File too large), the run goes on; what was recorded until then is in "
        f"{path}.part"
    )
    with pytest.raises(UsageError, match="is cut off in line"):
        read(path.with_name("run.jsonl.part"))


@pytest.mark.parametrize("trace", [".", "none/run.jsonl", __file__, 7, b"run.jsonl"])
def test_a_trace_that_cannot_be_written_is_refused_before_anything_starts(
    trace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_process(*_: object) -> None:
        raise AssertionError("it started something")

    monkeypatch.setattr(local_cluster, "Launched", no_process)
    with pytest.raises(
        UsageError, match="exists already|there is no directory|trace is the path of a new file; it is "
    ):
        LocalCluster(trace=trace)
