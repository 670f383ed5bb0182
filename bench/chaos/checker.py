"""Compares what clients got with the truth. It must not know how the run was made, nor read any file.

The rules: what went in came out, exactly once, with its true value; nothing came that nobody asked for, and nothing
after the end. A reduced value is exact. The controller's books balance, and agree with the clients'.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.chaos import jobs
from bench.chaos.history import Entry, What
from bench.chaos.jobs import Answer, Job, JobKind

_SHOWN = 5
_CALLS = (JobKind.CALLS, JobKind.WITHDRAWN)
"""Each outcome of these comes for itself: they have no order."""


class ViolationError(Exception):
    """A rule was violated; the text says which, and where."""


@dataclass
class Books:
    """One job, as its client saw it.

    Attributes:
        kept: it was handed in: every life of its client reads it, until one gets to the end.
        got: items that have an outcome.
        earlier: those that an earlier reader has got. The last of them may come again.
        withdrawn: items that nobody wants any more.
    """

    job: Job
    answers: list[Answer]
    got: set[int] = field(default_factory=set)
    earlier: set[int] = field(default_factory=set)
    withdrawn: set[int] = field(default_factory=set)
    kept: bool = False
    cancelled: bool = False
    ended: bool = False

    def missing(self) -> list[int]:
        """Items without an outcome."""
        return [index for index in range(self.job.count) if index not in self.got and index not in self.withdrawn]


@dataclass(frozen=True, slots=True)
class Repeats:
    """Executions by the log of tasks: how many there were, and how many more than in a world without faults."""

    executions: int
    repeated: int


class Checker:
    """Takes entries as they come, and raises :class:`ViolationError` at the first that cannot be."""

    def __init__(self) -> None:
        self.books: dict[str, Books] = {}
        self.outcomes = 0
        self.failed = 0
        self._abandoned: list[str] = []

    def take(self, entry: Entry) -> None:
        """The next entry of a client.

        Raises:
            ViolationError: a rule was violated.
        """
        if entry.what is What.OPEN:
            if entry.job in self.books:
                raise ViolationError(f"job {entry.job} was opened twice: a fault of the harness")
            job = jobs.job_of(entry.value)
            self.books[entry.job] = Books(job, jobs.answers(job))
            return
        books = self.books.get(entry.job)
        if books is None:
            raise ViolationError(f"outcome of nobody: {entry.what} for job {entry.job}, which no client has opened")
        match entry.what:
            case What.CANCEL:
                books.cancelled = True
            case What.WITHDRAW:
                books.withdrawn.add(entry.index)
            case What.HANDED_IN:
                books.kept = True
            case What.READ:
                books.earlier = set(books.got)
            case What.BROKEN:
                raise ViolationError(f"job {entry.job} ({books.job.kind}) broke at its client: {entry.value}")
            case What.END:
                self._end(entry.job, books)
            case What.VALUE | What.ERROR:
                self._outcome(entry, books)

    def abandon(self, prefix: str) -> None:
        """The client whose jobs have names that begin so was killed: it takes no more outcomes."""
        self._abandoned.append(prefix)

    def finish(self) -> None:
        """Everything had time to settle.

        Raises:
            ViolationError: a job that was not abandoned has not ended.
        """
        stuck = self.unfinished()
        if stuck:
            raise ViolationError("not settled: " + "; ".join(stuck))

    def unfinished(self) -> list[str]:
        """What is still open, in words."""
        return [
            f"job {name} ({books.job.kind}) lacks {_some(books.missing())} of {books.job.count:,} outcomes"
            for name, books in self.books.items()
            if not books.ended and (books.kept or not name.startswith(tuple(self._abandoned)))
        ]

    def _outcome(self, entry: Entry, books: Books) -> None:
        where = f"job {entry.job} ({books.job.kind}), item {entry.index}"
        if not 0 <= entry.index < books.job.count:
            raise ViolationError(f"outcome of nobody: {where}: the job has {books.job.count:,} items")
        if books.ended:
            raise ViolationError(f"late outcome: {where}: its job has ended")
        if entry.index in books.withdrawn:
            raise ViolationError(f"late outcome: {where} was withdrawn, and has got {entry.what} {entry.value!r}")
        again = entry.index in books.earlier
        if entry.index in books.got and not again:
            raise ViolationError(f"duplicate: {where} has got a second outcome, {entry.what} {entry.value!r}")
        if books.job.ordered and books.job.kind not in _CALLS and entry.index != len(books.got):
            raise ViolationError(f"out of order: {where} came when item {len(books.got)} was due")
        true = books.answers[entry.index]
        got = Answer(entry.value) if entry.what is What.VALUE else Answer(error=str(entry.value))
        if got != true:
            raise ViolationError(f"wrong outcome: {where}: got {_said(got)}, the truth is {_said(true)}")
        books.earlier.discard(entry.index)
        if again:
            return
        books.got.add(entry.index)
        self.outcomes += 1
        self.failed += entry.what is What.ERROR

    def _end(self, name: str, books: Books) -> None:
        if books.ended:
            raise ViolationError(f"job {name} ended twice: a fault of the harness")
        missing = books.missing()
        if missing and not books.cancelled:
            raise ViolationError(
                f"missing: job {name} ({books.job.kind}) ended without {_some(missing)} of {books.job.count:,} outcomes"
            )
        books.ended = True

    # --- other witnesses --------------------------------------------------------------------------------

    def check_status(self, status: Mapping[str, Any], *, settled: bool) -> None:
        """Compare with what ``lbnet status --json`` says.

        Args:
            status: its output.
            settled: all clients have ended their jobs: then those have nothing outstanding, and all of their tasks.

        Raises:
            ViolationError: the books do not balance, or are not those of the clients.
        """
        for report in status["jobs"]:
            name = report["name"]
            counts = {key: int(report[key]) for key in _COUNTS}
            accounted = sum(counts[key] for key in ("done", "failed", "cancelled", "outstanding"))
            if counts["submitted"] + counts["spawned"] != accounted or not report["balanced"]:
                raise ViolationError(f"unbalanced: status of job {name} says {counts}")
            books = self.books.get(name)
            if not settled or books is None or not books.ended:
                continue
            if counts["outstanding"]:
                raise ViolationError(f"left over: job {name} has ended at its client, and status says {counts}")
            if not books.cancelled:
                self._compare(name, books, counts)

    def _compare(self, name: str, books: Books, counts: Mapping[str, int]) -> None:
        spawned = jobs.spawned(books.job)
        spawned = counts["spawned"] if spawned is None else spawned
        failed = sum(bool(answer.error) for answer in books.answers)
        # What was withdrawn may have been done before that was heard.
        cancelled = min(counts["cancelled"], len(books.withdrawn))
        done = books.job.count + spawned - failed - cancelled
        true = {
            "submitted": books.job.count,
            "spawned": spawned,
            "done": done,
            "failed": failed,
            "cancelled": cancelled,
        }
        if any(counts[key] != number for key, number in true.items()):
            raise ViolationError(f"wrong books: status of job {name} says {counts}, the truth is {true}")

    def check_executions(self, log: Iterable[str]) -> Repeats:
        """Compare with the log of tasks.

        Args:
            log: its lines.

        Raises:
            ViolationError: a task that nobody made was run, or an outcome came for one that never was.
        """
        counts: dict[str, Counter[str]] = {}
        for line in log:
            name, key = line.split()
            counts.setdefault(name, Counter())[key] += 1
        repeated = 0
        for name, found in counts.items():
            if name not in self.books:
                raise ViolationError(f"task of nobody: job {name} was run, and no client has opened it")
            books = self.books[name]
            expected = jobs.executions(books.job)
            strange = [key for key in found if key not in expected]
            if strange:
                raise ViolationError(f"task of nobody: job {name} ran {_some(strange)}")
            repeated += sum(max(count - expected[key], 0) for key, count in found.items())
        for name, books in self.books.items():
            never = [
                index for index in sorted(books.got) if not _was_run(books.job, index, counts.get(name, Counter()))
            ]
            if never:
                raise ViolationError(f"never run: job {name} has outcomes for {_some(never)}, which no worker has run")
        return Repeats(sum(found.total() for found in counts.values()), repeated)


_COUNTS = ("submitted", "spawned", "done", "failed", "cancelled", "outstanding")


def _was_run(job: Job, index: int, found: Mapping[str, int]) -> bool:
    # The nodes of a tree have names of their own, and its sum is exact only if each was run.
    return bool(found) if job.kind is JobKind.TREE else str(index) in found


def _said(answer: Answer) -> str:
    return answer.error or repr(answer.value)


def _some(names: list[Any]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(map(str, names[:_SHOWN])) + more
