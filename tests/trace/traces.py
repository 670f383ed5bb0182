"""Traces to write and read: a small one of every kind of record, and any that a recorder could make."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from lbnet.trace.records import Cancelled, Ended, Finished, Opened, Record, Tasks
from lbnet.trace.writer import TraceWriter
from lbnet.types import COMBINED, FAILED, ROOT, SILENT, VALUES, JobId, PeerId, RunId

JOB, WORKER, RUN = JobId(5), PeerId(2), RunId(77)

OPENED = Opened(JOB, "näme\n\ud800", "sb", "spread", False, 0.5)
SMALL: tuple[Record, ...] = (
    OPENED,
    Finished(JOB, WORKER, VALUES, 0.25, (Tasks(0, 100),)),
    Finished(JOB, WORKER, VALUES, 1.0, (Tasks(100, 101, run=RUN, children=6),)),
    Finished(JOB, WORKER, SILENT, 0.5, (Tasks(0, 2, RUN, ROOT, 100),)),
    Finished(JOB, WORKER, FAILED, 0.125, (Tasks(2, 3, RUN, ROOT, 100),)),
    Finished(JOB, WORKER, COMBINED, 2.0, (Tasks(3, 4, RUN, ROOT, 100), Tasks(5, 6, RUN, ROOT, 100))),
    Finished(JOB, WORKER, SILENT, 2.0, (Tasks(4, 5, RUN, ROOT, 100, RunId(78), 1),)),
    Cancelled(JOB, 101, 103),
    Ended(JOB, "done", 103, 4, 0.75),
)
"""One job with a record of every kind."""


def write(path: Path, *records: Record) -> Path:
    """A whole trace. Returns its path."""
    writer = TraceWriter(path)
    writer.write(records)
    writer.finish()
    return path


_count = st.integers(0, 2**63)
_seconds = st.floats(0, 1e12, allow_nan=False)
_runs = st.integers(1, 2**63).map(RunId)


@st.composite
def _tasks(draw: st.DrawFn, single: bool = False) -> Tasks:
    lo = draw(_count)
    hi = lo + (1 if single else draw(st.integers(1, 10_000)))
    parent = (draw(_runs), draw(st.just(ROOT) | _runs), draw(_count)) if draw(st.booleans()) else (ROOT, ROOT, 0)
    if hi - lo == 1 and draw(st.booleans()):
        return Tasks(lo, hi, *parent, draw(_runs), draw(_count))
    return Tasks(lo, hi, *parent)


@st.composite
def _finished(draw: st.DrawFn, job: JobId) -> Finished:
    kind = draw(st.sampled_from([VALUES, COMBINED, SILENT, FAILED]))
    members = draw(st.lists(_tasks(single=kind == FAILED), min_size=1, max_size=4 if kind == COMBINED else 1))
    return Finished(job, PeerId(draw(_count)), kind, draw(_seconds), tuple(members))


@st.composite
def _cancelled(draw: st.DrawFn, job: JobId) -> Cancelled:
    lo = draw(_count)
    return Cancelled(job, lo, lo + draw(st.integers(1, 100)))


@st.composite
def jobs(draw: st.DrawFn) -> list[list[Record]]:
    """Records of some jobs, each in order."""
    made: list[list[Record]] = []
    for number in draw(st.lists(_count, unique=True, max_size=3)):
        job = JobId(number)
        events = draw(st.lists(_finished(job) | _cancelled(job), max_size=6))
        text = st.text(max_size=20)
        opened = Opened(job, draw(text), draw(text), draw(text), draw(st.booleans()), draw(_seconds))
        made.append([opened, *events, Ended(job, draw(text), draw(_count), draw(_count), draw(_seconds))])
    return made


@st.composite
def mixed(draw: st.DrawFn) -> list[Record]:
    """Records of some jobs that ran at the same time."""
    queues = draw(jobs())
    records: list[Record] = []
    while queues := [queue for queue in queues if queue]:
        records.append(draw(st.sampled_from(queues)).pop(0))
    return records
