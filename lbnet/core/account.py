"""Where the time of a worker's slots went, job by job: what the balance report is made of.

Pure. It is told when the ticket that a slot is in changes, and what slots reported; it adds up, a few numbers a
ticket and none a task, and is only ever read when somebody asks. All times are seconds of this worker's own clock.
It must not know when a job began or ended at the controller, what became of results, or how other workers fare.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lbnet import limits
from lbnet.types import JobId, SlotId

_EMPTY, _HELD_UP, _DOWN, _BUSY = range(4)


@dataclass(frozen=True, slots=True)
class Account:
    """The time of all slots of one worker, from when it heard of a job until it heard that this has ended, or now.

    Attributes:
        window_s: how long that is; each slot has as much.
        inside_s: slots were in tickets of the job: what they reported, and what is lost, is in it.
        told_s: what slots reported as spent in the user's functions, of results that went to the controller.
        retried_s: the same of failed executions that were tried again here.
        lost_s: executions that ended with their slot, since it last reported anything.
        down_s: slots had died, and their successors were not up.
        running_s: what slots are in now, since they last reported anything.
        held_up_s: slots had nothing while tasks were queued here that they could not be given.
        waiting_s: slots had nothing, before a later ticket of the job.
        gaps: how many such waits there were.
        tail_s: slots had nothing, after their last ticket of the job.
        others_s: slots were in tickets of other jobs.
        before_s: of each slot that was, how long it had been in such tickets, without a pause, before the window.
        tasks: finished ones, by what slots reported.
        tickets: batches that slots were handed.
        longest_s: the longest task; of those that were reported together, their mean.
        unused: slots that were in no ticket of the job.
    """

    window_s: float = 0.0
    inside_s: float = 0.0
    told_s: float = 0.0
    retried_s: float = 0.0
    lost_s: float = 0.0
    down_s: float = 0.0
    running_s: float = 0.0
    held_up_s: float = 0.0
    waiting_s: float = 0.0
    gaps: int = 0
    tail_s: float = 0.0
    others_s: float = 0.0
    before_s: tuple[float, ...] = ()
    tasks: int = 0
    tickets: int = 0
    longest_s: float = 0.0
    unused: int = 0

    def facts(self) -> dict[str, Any]:
        """The same, for a message."""
        return asdict(self)

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Account | None:
        """What a worker said; None if it knows nothing of the job. Whatever makes no sense counts as 0."""
        if "window_s" not in facts:
            return None
        said: dict[str, Any] = {name: _seconds(facts.get(name)) for name in _SECONDS}
        said |= {name: _count(facts.get(name)) for name in _COUNTS}
        before = facts.get("before_s")
        return cls(**said, before_s=tuple(map(_seconds, before)) if isinstance(before, list) else ())


_SECONDS = (
    "window_s", "inside_s", "told_s", "retried_s", "lost_s", "down_s", "running_s", "held_up_s", "waiting_s",
    "tail_s", "others_s", "longest_s",
)  # fmt: skip
_COUNTS = ("gaps", "tasks", "tickets", "unused")


_MOST = 1 << 53
"""More of anything is nonsense; and up to this whole numbers are exact as floats."""


def _seconds(value: object) -> float:
    return float(value) if type(value) in {int, float} and 0 <= value <= _MOST else 0.0  # type: ignore[operator, arg-type]


def _count(value: object) -> int:
    return value if type(value) is int and 0 <= value <= _MOST else 0


@dataclass(slots=True)
class _Slot:
    """What a slot does, and has done.

    Attributes:
        number: its place.
        doing: what it does now.
        job: of the ticket that it is in.
        since: what it did before is in ``spent``, by what it was.
        moved_at: it last began a ticket or reported something then.
        streak_at: since then it has been in tickets without a pause; or was, until ``streak_end``.
    """

    number: int
    doing: int = _EMPTY
    job: JobId | None = None
    since: float = 0.0
    spent: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0, 0.0])
    moved_at: float = 0.0
    streak_at: float = 0.0
    streak_end: float = -math.inf

    def streak_s(self, now: float) -> float:
        """How long it has been in tickets without a pause."""
        return now - self.streak_at if self.doing == _BUSY or self.streak_end == now else 0.0


@dataclass(slots=True)
class _Share:
    """What one slot did for one job. ``at``: what the slot had spent when the job was opened.

    ``empty_at``: for how long it had been empty, all in all, when it was last in a ticket of the job; None: never.
    """

    at: tuple[float, ...]
    before_s: float
    inside_s: float = 0.0
    empty_at: float | None = None


@dataclass(slots=True)
class _Open:
    """A job that goes on here."""

    opened_at: float
    shares: list[_Share]
    told_s: float = 0.0
    retried_s: float = 0.0
    lost_s: float = 0.0
    waiting_s: float = 0.0
    gaps: int = 0
    tasks: int = 0
    tickets: int = 0
    longest_s: float = 0.0


class Accounts:
    """Those of all jobs of one worker.

    Args:
        slots: how many it has. Until one of them is up for the first time it counts as one that has nothing to do.

    Attributes:
        held_up: whether slots are kept waiting although tasks are queued.
    """

    def __init__(self, slots: int) -> None:
        self._slots = [_Slot(number) for number in range(slots)]
        self._open: dict[JobId, _Open] = {}
        self._closed: dict[JobId, Account] = {}
        self.held_up = False

    # --- jobs -------------------------------------------------------------------------------------

    def opened(self, job: JobId, now: float) -> None:
        """A job begins here. One that had ended, and goes on, begins anew."""
        shares = []
        for slot in self._slots:
            self._settle(slot, now)
            shares.append(_Share(tuple(slot.spent), slot.streak_s(now)))
        self._open[job] = _Open(now, shares)

    def ended(self, job: JobId, now: float) -> None:
        """A job has ended here; its account is kept for a while. Whatever its slots still do for it is nobody's."""
        if job in self._open:
            self._closed.pop(job, None)
            self._closed[job] = self._account(job, now)
            del self._open[job]
            if len(self._closed) > limits.REPORTS_KEPT:
                del self._closed[next(iter(self._closed))]

    def of(self, job: JobId, now: float) -> Account | None:
        """The account of a job that goes on or has ended; None if it is not known here (any more)."""
        return self._account(job, now) if job in self._open else self._closed.get(job)

    # --- slots ------------------------------------------------------------------------------------

    def up(self, slot: SlotId, now: float) -> None:
        """A slot is ready, and has nothing."""
        self._turn(self._slots[slot], _EMPTY, None, now)

    def began(self, slot: SlotId, job: JobId, now: float, *, front: bool) -> None:
        """A slot was handed a ticket. It is in it at once if it had none (``front``)."""
        books = self._open.get(job)
        if books is not None:
            books.tickets += 1
        if front:
            self._enter(self._slots[slot], job, now)

    def over(self, slot: SlotId, next_job: JobId | None, now: float) -> None:
        """The ticket that a slot was in is over; the next one that it holds, if any, is of ``next_job``."""
        at = self._slots[slot]
        if next_job is None:
            self._turn(at, _EMPTY, None, now)
        elif next_job != at.job:
            self._enter(at, next_job, now)
        at.moved_at = now

    def died(self, slot: SlotId, now: float) -> None:
        """A slot is gone, with the execution that it was in."""
        at = self._slots[slot]
        books = self._open.get(at.job) if at.job is not None else None
        if books is not None:
            books.lost_s += now - at.moved_at
        self._turn(at, _DOWN, None, now)

    def reported(self, slot: SlotId, job: JobId, now: float, seconds: float, tasks: int, longest_s: float) -> None:
        """A slot has finished tasks."""
        self._slots[slot].moved_at = now
        books = self._open.get(job)
        if books is not None:
            books.told_s += seconds
            books.tasks += tasks
            books.longest_s = max(books.longest_s, longest_s)

    def retried(self, job: JobId, seconds: float) -> None:
        """Of what was reported, so much was spent on an execution that failed and is tried again here."""
        books = self._open.get(job)
        if books is not None:
            books.told_s -= seconds
            books.retried_s += seconds

    def hold_up(self, now: float) -> None:
        """Tasks are queued, and slots that have nothing are not given any for now."""
        self.held_up = True
        for slot in self._slots:
            if slot.doing == _EMPTY:
                self._turn(slot, _HELD_UP, None, now)

    def go_on(self, now: float) -> None:
        """They are given tasks again, if there are any."""
        self.held_up = False
        for slot in self._slots:
            if slot.doing == _HELD_UP:
                self._turn(slot, _EMPTY, None, now)

    # --- adding up --------------------------------------------------------------------------------

    def _settle(self, slot: _Slot, now: float) -> None:
        spent_s, slot.since = now - slot.since, now
        slot.spent[slot.doing] += spent_s
        books = self._open.get(slot.job) if slot.job is not None else None
        if books is not None:
            books.shares[slot.number].inside_s += spent_s

    def _turn(self, slot: _Slot, doing: int, job: JobId | None, now: float) -> None:
        self._settle(slot, now)
        if slot.doing == _BUSY:
            slot.streak_end = now
        slot.doing, slot.job = doing, job

    def _enter(self, slot: _Slot, job: JobId, now: float) -> None:
        if not slot.streak_s(now):
            slot.streak_at = now
        self._turn(slot, _BUSY, job, now)
        slot.moved_at = now
        books = self._open.get(job)
        if books is not None:
            share, empty_s = books.shares[slot.number], slot.spent[_EMPTY]
            if share.empty_at is not None and empty_s > share.empty_at:
                books.waiting_s += empty_s - share.empty_at
                books.gaps += 1
            share.empty_at = empty_s

    def _account(self, job: JobId, now: float) -> Account:
        books = self._open[job]
        inside_s = down_s = held_up_s = running_s = tail_s = others_s = 0.0
        unused = 0
        for slot, share in zip(self._slots, books.shares, strict=True):
            self._settle(slot, now)
            inside_s += share.inside_s
            down_s += slot.spent[_DOWN] - share.at[_DOWN]
            held_up_s += slot.spent[_HELD_UP] - share.at[_HELD_UP]
            others_s += slot.spent[_BUSY] - share.at[_BUSY] - share.inside_s
            if slot.job == job:
                running_s += now - slot.moved_at
            if share.empty_at is not None:
                tail_s += slot.spent[_EMPTY] - share.empty_at
            unused += share.empty_at is None
        return Account(
            window_s=now - books.opened_at,
            inside_s=inside_s,
            told_s=books.told_s,
            retried_s=books.retried_s,
            lost_s=books.lost_s,
            down_s=down_s,
            running_s=running_s,
            held_up_s=held_up_s,
            waiting_s=books.waiting_s,
            gaps=books.gaps,
            tail_s=tail_s,
            others_s=others_s,
            before_s=tuple(share.before_s for share in books.shares if share.before_s > 0),
            tasks=books.tasks,
            tickets=books.tickets,
            longest_s=books.longest_s,
            unused=unused,
        )
