"""One sentence on what would bring a job nearer to the ideal, from measured numbers only; none if it is near, or if
nothing is known to help.

Pure. It must not know how the numbers came about.
"""

from __future__ import annotations

from dataclasses import dataclass

from lbnet.types import BalanceReport

_NEAR = 0.05
"""A gap of less than this part of all slot seconds needs no advice."""

_SMALL_S = 0.001
"""Tasks shorter than this are worth a word on batches."""

_SAVED_LEAST = 0.5
"""And if these have saved less than this part, they are not."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured of a job.

    Attributes:
        tasks: that slots have finished.
        tickets: batches that they were handed.
        told_s: seconds in the tasks.
        serialising_s: seconds in the batches, outside of tasks.
        longest_s: the longest task.
        slots: of the workers that answered.
        unused: of those, slots that had none of the job.
    """

    tasks: int
    tickets: int
    told_s: float
    serialising_s: float
    longest_s: float
    slots: int
    unused: int

    @property
    def mean_s(self) -> float:
        """Of one task."""
        return self.told_s / self.tasks if self.tasks else 0.0

    @property
    def saved(self) -> float:
        """The part of all slot seconds that batching saved.

        A batch cost ``serialising_s / tickets`` on average. If each task had been a batch of its own, and that had cost
        as much, the tasks would have taken ``told_s + tasks * serialising_s / tickets``; they took ``told_s +
        serialising_s``. It is a little too high, as a batch of one has less to pickle.
        """
        if not self.tickets or self.tasks <= self.tickets or self.serialising_s <= 0:
            return 0.0
        alone_s = self.told_s + self.tasks * self.serialising_s / self.tickets
        return 1 - (self.told_s + self.serialising_s) / alone_s

    @property
    def is_saved(self) -> bool:
        """Whether that is worth a word."""
        return self.mean_s < _SMALL_S and self.saved >= _SAVED_LEAST


def advice(report: BalanceReport, evidence: Evidence) -> str:
    """The sentence, or nothing."""
    if report.slot_s <= 0 or not evidence.tasks:
        return ""
    if report.slot_s - report.busy_s < _NEAR * report.slot_s:
        return _of_small_tasks(evidence)
    cause = max(report.causes, key=lambda cause: report.causes[cause])
    cost = f"{cause} took {_time(report.causes[cause])} of {_time(report.slot_s)} of slot time"
    if cause in {"start", "waiting for work", "tail"} and evidence.longest_s > report.ideal_s:
        return (
            f"One task took {_time(evidence.longest_s)}, more than the ideal of {_time(report.ideal_s)} for the whole "
            "job: split it (lbnet.spawn, lbnet.WorkUnit), or submit it first."
        )
    if cause == "start" and 2 * evidence.unused >= evidence.slots:
        return (
            f"{evidence.unused} of {evidence.slots} slots never had a task: the job had {evidence.tasks:,} in all; "
            "split them into more, or do with fewer slots."
        )
    if cause == "serialising":
        more_s = evidence.serialising_s / evidence.tasks
        each = f"your tasks take {_time(evidence.mean_s)}, and {_time(more_s)} more each"
        saved = f", although batching saved {100 * evidence.saved:.0f} %" if evidence.is_saved else ""
        remedy = "do more in a task, or pass paths and small results instead of large objects"
        return f"{_first(cost)}: {each}{saved}; {remedy}."
    return f"{_first(cost)}: {_REMEDY[cause]}." if cause in _REMEDY else ""


_REMEDY = {
    "start": "until slots were up and had their first task; one job of more items, on a cluster that is kept open, "
    "begins once",
    "network": "work was on its way; tasks that do more, or workers that are nearer, need fewer messages",
    "waiting for work": "the input came more slowly than it was worked off, or tasks split too late",
    "tail": "slots had run out while the last tasks ran; submit long tasks first, or split them",
    "failures": "lbnet audit and lbnet logs show which tasks failed, were lost, or ran twice",
    "other jobs": "with_options(priority=...) lets the tasks of a job start before those of others",
}


def _of_small_tasks(evidence: Evidence) -> str:
    if not evidence.is_saved:
        return ""
    return (
        f"Your tasks are {_time(evidence.mean_s)}; batching, {evidence.tasks / evidence.tickets:,.0f} at a time, saved "
        f"{100 * evidence.saved:.0f} % of the time that they would have taken one by one."
    )


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def _first(text: str) -> str:
    return text[0].upper() + text[1:]
