"""Which part of the controller's backlog goes to a worker that wants work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from lbnet import limits
from lbnet.core.batching import grant_tasks
from lbnet.core.durations import Durations
from lbnet.core.job import Job
from lbnet.types import Batch


def everything(job: Job) -> Iterator[list[Batch]]:
    """The whole backlog of a job, under ``placement="first"``: the classical experiment.

    Each list is short enough for a message.
    """
    while job.backlog:
        batches: list[Batch] = []
        size_bytes = 0
        while job.backlog and len(batches) < limits.GRANT_BATCHES_MAX:
            size_bytes += len(job.backlog[0].payload.data)
            if batches and size_bytes > limits.GRANT_BYTES_SOFT:
                break
            batches.append(job.take(len(job.backlog[0])))
        yield batches


def grant(
    jobs: Sequence[Job], durations: Durations, slots: int, slots_all: int, limit: Callable[[int], int]
) -> list[Batch]:
    """Work for one worker, taken from the first job that has some.

    Args:
        jobs: in the order in which they are served.
        durations: what is known of their functions.
        slots: slots of the worker.
        slots_all: slots of all workers.
        limit: how many tasks the strategy wants to be placed at once, of so many.
    """
    for job in jobs:
        if job.backlog and job.options.placement != "first" and not _is_clogged(job, durations):
            return _grant_from(job, durations, slots, slots_all, limit)
    return []


def _grant_from(job: Job, durations: Durations, slots: int, slots_all: int, limit: Callable[[int], int]) -> list[Batch]:
    batches: list[Batch] = []
    size_bytes = 0
    seconds_left = limits.GRANT_S * slots
    allowed: dict[bytes, int] = {}
    while job.backlog and seconds_left > 0:
        payload = job.backlog[0].payload
        size_bytes += len(payload.data)
        if batches and size_bytes > limits.GRANT_BYTES_SOFT:
            break
        function = payload.function
        if function not in allowed:
            tasks = grant_tasks(
                durations.typical_s(function), durations.finished(function), job.backlog_tasks, slots, slots_all
            )
            tasks = min(tasks, _results_that_fit(durations.result_bytes(function)))
            allowed[function] = limit(tasks)
            if allowed[function] < tasks:
                seconds_left = 0.0  # the strategy wants no more than this
        if not allowed[function]:
            break
        batch = job.take(allowed[function])
        allowed[function] -= len(batch)
        task_s = durations.typical_s(function)
        seconds_left -= len(batch) * (limits.UNKNOWN_TASK_S if task_s is None else task_s)
        batches.append(batch)
    return batches


def _results_that_fit(result_bytes: float) -> int:
    """How many results should be under way at once from one worker: those of small items may be large."""
    return max(1, int(limits.GRANT_BYTES_SOFT / max(result_bytes, 1.0)))


def _is_clogged(job: Job, durations: Durations) -> bool:
    """Whether so much of a job waits for its client, or will, that nothing more should be begun.

    While anything of it is under way: else what the client waits for might be what has not been begun. A detached job
    has the journal to wait in.
    """
    under_way = job.ledger.outstanding - job.backlog_tasks
    results_bytes = job.outbox.size_bytes + under_way * durations.result_bytes(job.backlog[0].payload.function)
    return under_way > 0 and results_bytes > limits.UNTAKEN_BYTES_MAX and not job.options.detached
