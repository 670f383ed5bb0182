"""What the controller knows of where one item of a job is, as plain facts.

Pure. It must not know what workers say of it, nor how it is put into words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lbnet.core.job import Job


def facts_of(job: Job | None, index: int, line: Sequence[Job]) -> dict[str, Any]:
    """What is known of an item.

    Args:
        job: None if it is not known here.
        index: of the item.
        line: the running jobs in the order in which they are served.

    Returns:
        ``state`` of the job, or ``unknown``; of the item whether it was ``submitted``, is ``outstanding``, and how many
        of its ``descendants`` are; if it waits here, how many tasks of its job wait ``before`` it, and how many of the
        jobs that come first (``jobs_before``).
    """
    if job is None:
        return {"state": "unknown"}
    outstanding, descendants = job.ledger.item(index)
    before = _before(job, index)
    ahead = [other for other in line if other is not job and other.options.priority > job.options.priority]
    return {
        "state": job.state,
        "name": job.options.name,
        "priority": job.options.priority,
        "submitted": 0 <= index < job.ledger.submitted,
        "items": job.ledger.submitted,
        "closed": job.total is not None,
        "outstanding": outstanding,
        "descendants": descendants,
        "before": before,
        "jobs_before": {str(int(other.id)): other.backlog_tasks for other in ahead if other.backlog},
        "requeues": dict(job.requeues),
    }


def _before(job: Job, index: int) -> int | None:
    """How many tasks wait to be placed before this item, None if it does not wait here."""
    before = 0
    for batch in job.backlog:
        if batch.has_item(job.id, index):
            return before + index - batch.lo
        before += len(batch)
    return None
