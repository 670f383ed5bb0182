"""What a recorder writes of the events that it hands on, and how it ends when the disk does not take them."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from lbnet.core import effects, events
from lbnet.core.controller import Controller
from lbnet.core.effects import Effect
from lbnet.core.events import Event
from lbnet.core.job import Job
from lbnet.errors import UsageError
from lbnet.net import recorder as module
from lbnet.net.recorder import Recorder
from lbnet.protocol import messages
from lbnet.protocol.records import Opened as JobOpened
from lbnet.trace.reader import Trace, read
from lbnet.trace.records import Cancelled, Ended, Finished, Opened, Tasks
from lbnet.types import (
    COMBINED,
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
from tests.net.cluster import until

CLIENT, WORKER, JOB, RUN = PeerId(1), PeerId(2), JobId(5), RunId(9)
FUNCTION, REDUCE = b"f", b"r"
FAILURE = Failure("exception", "no", "", "", b"")


class Core:
    """Stands in for the controller: jobs begin when they are opened, and end when the test says so."""

    def __init__(self) -> None:
        self.jobs: dict[JobId, Job] = {}
        self.seen: list[Event] = []
        self.answer: list[Effect] = []

    def job(self, number: JobId) -> Job | None:
        return self.jobs.get(number)

    def handle(self, event: Event, now: float) -> list[Effect]:
        self.seen.append(event)
        message = event.message if isinstance(event, events.Received) else None
        if isinstance(message, messages.OpenJob) and message.job not in self.jobs:
            job = self.jobs[message.job] = Job(JobOpened(message.job, CLIENT, 1, message.options, now, 3))
            job.functions.update({FUNCTION: b"", REDUCE: b""})
        return self.answer


def end(job: Job, state: str, at: float) -> None:
    job.state, job.ended_at = state, at


@pytest.fixture
def core() -> Core:
    return Core()


@pytest.fixture
async def recorder(core: Core, tmp_path: Path) -> AsyncIterator[Recorder]:
    recorder = Recorder(cast(Controller, core), tmp_path / "run.jsonl")
    recorder.open()
    yield recorder
    recorder.close()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    # A recorder that gave up does not wait for its thread, which has a file to close.
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("lbnet-trace")]
    for thread in threads:
        thread.join(10)
    assert [thread.name for thread in threads if thread.is_alive()] == []


def result(*groups: Group, job: JobId = JOB) -> Event:
    return events.Received(WORKER, messages.Result(job, groups, ()))


def opening(options: JobOptions | None = None) -> Event:
    return events.Received(CLIENT, messages.OpenJob(JOB, options or JobOptions("f", "spread", "sb")))


def group(lo: int, hi: int, seconds: float = 1.0) -> Group:
    return Group(VALUES, b"", (member(lo, hi),), seconds, None)


def member(lo: int, hi: int, origin: RunId = ROOT, run: RunId = ROOT, children: tuple[Batch, ...] = ()) -> Member:
    return Member(origin, lo, hi, 3, ROOT, 3 if origin else 0, run, children)


def spawned(lo: int, hi: int) -> Batch:
    return Batch(JOB, RUN, lo, hi, 3, ROOT, 3, Payload(lo, hi - lo, FUNCTION, b""))


def trace_of(recorder: Recorder) -> Trace:
    recorder.close()
    return read(recorder._path)


async def test_every_event_is_handed_on_and_every_effect_comes_back(core: Core, recorder: Recorder) -> None:
    core.answer = [effects.Disconnect(WORKER, "")]
    sent: list[Event] = [opening(), result(group(0, 1)), events.Left(WORKER, ""), events.Tick()]
    for event in sent:
        assert recorder.handle(event, 7.0) is core.answer
    assert core.seen == sent


async def test_a_job_with_every_kind_of_result(core: Core, recorder: Recorder) -> None:
    recorder.handle(opening(JobOptions("f", "first", "rp", REDUCE)), 100.0)
    recorder.handle(
        result(
            group(0, 3, 0.1234567891),
            Group(VALUES, b"", (member(3, 4, run=RUN, children=(spawned(0, 2), spawned(2, 7))),), 2.0, None),
            Group(VALUES, b"", (member(4, 5, run=RUN),), 2.0, None),
            Group(SILENT, b"", (member(0, 1, RUN),), 1.0, None),
            Group(COMBINED, b"", (member(1, 3, RUN), member(4, 5, RUN)), 1.0, None),
            Group(FAILED, b"", (member(3, 4, RUN),), 1.0, FAILURE),
        ),
        101.0,
    )
    job = core.jobs[JOB]
    job.ledger.submit(0, 5)
    job.slots = 8
    end(job, "done", 102.5)
    recorder.handle(events.Tick(), 110.0)
    assert trace_of(recorder).jobs[JOB].events == (
        Finished(JOB, WORKER, VALUES, 0.123456789, (Tasks(0, 3),)),
        Finished(JOB, WORKER, VALUES, 2.0, (Tasks(3, 4, run=RUN, children=7),)),
        Finished(JOB, WORKER, VALUES, 2.0, (Tasks(4, 5, run=RUN),)),
        Finished(JOB, WORKER, SILENT, 1.0, (Tasks(0, 1, RUN, ROOT, 3),)),
        Finished(JOB, WORKER, COMBINED, 1.0, (Tasks(1, 3, RUN, ROOT, 3), Tasks(4, 5, RUN, ROOT, 3))),
        Finished(JOB, WORKER, FAILED, 1.0, (Tasks(3, 4, RUN, ROOT, 3),)),
    )
    job = read(recorder._path).jobs[JOB]
    assert job.opened == Opened(JOB, "f", "rp", "first", True, 0.0)
    assert job.ended == Ended(JOB, "done", 5, 8, 2.5)


async def test_what_the_core_ignores_is_not_recorded(core: Core, recorder: Recorder) -> None:
    bad = Group(FAILED, b"", (member(0, 2),), 1.0, FAILURE)
    recorder.handle(result(group(0, 1), job=JobId(6)), 0.0)
    recorder.handle(opening(), 1.0)
    recorder.handle(opening(JobOptions("again")), 1.0)
    recorder.handle(result(group(0, 1), group(1, 2, float("nan")), bad, group(2, 3)), 1.0)
    recorder.handle(result(Group(COMBINED, b"", (member(3, 4),), 1.0, None)), 1.0)
    end(core.jobs[JOB], "done", 2.0)
    recorder.handle(result(group(4, 5)), 3.0)
    trace = trace_of(recorder)
    assert list(trace.jobs) == [JOB]
    assert trace.jobs[JOB].events == (
        Finished(JOB, WORKER, VALUES, 1.0, (Tasks(0, 1),)),
        Finished(JOB, WORKER, VALUES, 0.0, (Tasks(1, 2),)),
    )
    assert trace.jobs[JOB].opened.name == "f"


async def test_items_count_as_cancelled_when_the_core_says_so(core: Core, recorder: Recorder) -> None:
    recorder.handle(opening(), 1.0)
    asked = events.Received(CLIENT, messages.Cancel(JOB, 0, 9))
    recorder.handle(asked, 1.0)
    core.answer = [
        effects.SetTimer(2.0),
        effects.Send(CLIENT, messages.Cancelled(JOB, 2, 4)),
        effects.Send(CLIENT, messages.Cancelled(JOB, 6, 7)),
    ]
    recorder.handle(asked, 1.0)
    assert trace_of(recorder).jobs[JOB].events == (Cancelled(JOB, 2, 4), Cancelled(JOB, 6, 7))


async def test_with_a_journal_they_do_when_that_is_safe(core: Core, recorder: Recorder) -> None:
    recorder.handle(opening(), 1.0)
    recorder.handle(events.Received(CLIENT, messages.Cancel(JOB, 0, 9)), 1.0)
    core.answer = [effects.Send(CLIENT, messages.Cancelled(JOB, 2, 4))]
    recorder.handle(events.Persisted(1), 2.0)
    assert trace_of(recorder).jobs[JOB].events == (Cancelled(JOB, 2, 4),)


@pytest.mark.parametrize("state", ["cancelled", "failed", "refused"])
async def test_a_job_ends_as_its_report_says(core: Core, recorder: Recorder, state: str) -> None:
    recorder.handle(opening(), 1.0)
    end(core.jobs[JOB], state, 4.0)
    assert trace_of(recorder).jobs[JOB].ended == Ended(JOB, state, 0, 3, 3.0)


async def test_a_job_that_has_not_ended_runs_until_the_recording_ends(core: Core, recorder: Recorder) -> None:
    recorder.handle(opening(), 1.0)
    recorder.handle(events.Tick(), 6.0)
    assert trace_of(recorder).jobs[JOB].ended == Ended(JOB, "running", 0, 3, 5.0)


async def test_records_are_written_while_the_run_goes_on(
    core: Core, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WRITE_EVERY_S", 0.001)
    part = recorder._path.with_name("run.jsonl.part")
    recorder.handle(opening(), 1.0)
    await until(lambda: b'{"open":5' in part.read_bytes())
    assert recorder._timer is None
    recorder.handle(result(group(0, 1)), 1.0)
    await until(lambda: b'{"done":5' in part.read_bytes())
    end(core.jobs[JOB], "done", 2.0)
    recorder.handle(events.Tick(), 2.0)
    await until(lambda: b'{"end":5,"state":"done"' in part.read_bytes())
    recorder.handle(events.Tick(), 2.0)
    assert recorder._timer is None
    assert [type(event) for event in trace_of(recorder).jobs[JOB].events] == [Finished]


async def test_records_keep_their_order_while_a_write_lasts(
    core: Core, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WRITE_EVERY_S", 0.001)
    go, writer = threading.Event(), recorder._writer
    assert writer is not None
    write = writer.write

    def slowly(records: Any) -> None:
        assert go.wait(20)
        write(records)

    monkeypatch.setattr(writer, "write", slowly)
    recorder.handle(opening(), 1.0)
    await until(lambda: recorder._writing is not None)
    for index in range(100):
        recorder.handle(result(group(index, index + 1)), 1.0)
        await asyncio.sleep(0.0005)
    assert recorder._writing is not None
    assert not recorder._writing.done()
    go.set()
    done = trace_of(recorder).jobs[JOB].events
    assert [event.members[0].lo for event in done if isinstance(event, Finished)] == list(range(100))


def fill_disk(recorder: Recorder) -> None:
    """From now on the file takes nothing."""
    assert recorder._writer is not None
    descriptor = os.open("/dev/full", os.O_WRONLY)
    os.dup2(descriptor, recorder._writer._file.fileno())
    os.close(descriptor)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("at_the_end", [False, True])
async def test_a_full_disk_ends_the_recording_with_one_warning(
    core: Core,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    at_the_end: bool,
) -> None:
    monkeypatch.setattr(module, "WRITE_EVERY_S", 600.0 if at_the_end else 0.001)
    path = recorder._path
    fill_disk(recorder)
    recorder.handle(opening(), 1.0)
    if not at_the_end:
        # The next record finds that the last ones could not be written.
        await until(lambda: recorder._writing is not None and recorder._writing.done())
        recorder.handle(result(group(0, 1)), 1.0)
        await until(lambda: recorder._writer is None)
        core.answer = [effects.SetTimer(1.0)]
        assert recorder.handle(result(group(1, 2)), 1.0) is core.answer
        assert core.seen[-1] == result(group(1, 2))
        assert recorder._timer is None
    recorder.close()
    recorder.close()
    (said,) = warnings(caplog)
    assert said == (
        f"recording to {path} has stopped (No space left on device), the run goes on; what was recorded until then "
        f"is in {path}.part"
    )
    assert not path.exists()
    with pytest.raises(UsageError, match="is cut off after line 1: "):
        read(path.with_name("run.jsonl.part"))


async def test_a_disk_that_hangs_ends_the_recording_before_memory_is_full(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "WRITE_EVERY_S", 0.001)
    monkeypatch.setattr(module, "WAITING_RECORDS_MAX", 10)
    go, writer, path = threading.Event(), recorder._writer, recorder._path
    assert writer is not None
    monkeypatch.setattr(writer, "write", lambda records: go.wait(20))
    recorder.handle(opening(), 1.0)
    await until(lambda: recorder._writing is not None)
    recorder.handle(result(*(group(index, index + 1) for index in range(11))), 1.0)
    await until(lambda: recorder._writer is None)
    assert recorder._waiting == []
    go.set()
    await until(lambda: writer._file.closed)
    (said,) = warnings(caplog)
    assert said.startswith(f"recording to {path} has stopped (11 records wait for the disk), the run goes on; ")
    recorder._thread.shutdown()


async def test_a_name_that_is_taken_by_the_end_is_kept(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    path = recorder._path
    recorder.handle(opening(), 1.0)
    path.write_text("mine")
    recorder.close()
    recorder._thread.shutdown()
    assert path.read_text() == "mine"
    assert warnings(caplog)[0].startswith(f"recording to {path} has stopped (File exists), ")
    assert list(read(path.with_name("run.jsonl.part")).jobs) == [JOB]


async def test_a_path_that_cannot_be_written_is_refused_when_it_opens(core: Core, tmp_path: Path) -> None:
    recorder = Recorder(cast(Controller, core), tmp_path)
    with pytest.raises(UsageError, match="exists already"):
        recorder.open()
    assert recorder.handle(events.Tick(), 0.0) == []
    recorder.close()
