"""Jobs from the records of a journal. It must not know who asks."""

from __future__ import annotations

from collections.abc import Iterable

from lbnet.core.job import Job
from lbnet.errors import JournalError
from lbnet.protocol import records
from lbnet.protocol.messages import Submit
from lbnet.types import JobId


def rebuilt(kept: Iterable[records.Record]) -> list[Job]:
    """All jobs, in the order in which they were opened; none of their tasks is placed, nor waits to be.

    Raises:
        JournalError: a record belongs to a job of which the beginning is missing.
    """
    jobs: dict[JobId, Job] = {}
    for record in kept:
        if isinstance(record, records.Opened):
            jobs[record.job] = Job(record)
        elif isinstance(record, records.Books):
            jobs[record.opened.job] = Job.of(record)
        else:
            number = job_of(record)
            job = jobs.get(number)
            if job is None:
                raise JournalError(
                    f"the journal holds a {type(record).__name__} of job {number}, and not the beginning of that job: "
                    "part of it is missing; move the state directory away to start without it"
                )
            job.apply(record)
    for job in jobs.values():
        job.backlog.clear()
        job.backlog_tasks = 0
    return sorted(jobs.values(), key=lambda job: job.number)


def job_of(record: records.Record) -> JobId:
    """The job that a record belongs to."""
    if isinstance(record, records.Books):
        return record.opened.job
    if isinstance(record, records.Stored | Submit):
        return record.batch.job
    return record.job
