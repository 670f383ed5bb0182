"""A ticket of plain tasks: what it will do until it next tells its worker something is worked out at once.

So a thousand tasks cost one event of the engine. What is taken back meanwhile changes the rest of the plan.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import NamedTuple

from lbnet import limits
from lbnet.core.effects import Run
from lbnet.core.events import Event
from lbnet.sim.book import Tasks
from lbnet.sim.groups import plain_groups
from lbnet.sim.slots import Slot, Ticket


class _Group(NamedTuple):
    """Tasks that are claimed together: ``[lo, claimed)`` at first, ``[lo, hi)`` once a long one among them lasts."""

    start: float
    lo: int
    claimed: int
    hi: int
    end: float
    next_size: int


class PlainTicket(Ticket):
    """See :class:`~lbnet.sim.slots.Ticket`."""

    def __init__(self, slot: Slot, effect: Run, tasks: Tasks) -> None:
        super().__init__(slot, effect, tasks)
        assert tasks.sums is not None, "units have a ticket of another kind"
        self._sums = tasks.sums
        self._base = tasks.base
        self._first: _Group | None = None
        self._last: _Group | None = None

    def start(self) -> None:
        """Claim the first task, if it was not taken back on the way."""
        lo = self.batch.lo
        if lo < self.limit:
            self._plan(self._claim(self.slot.engine.now, lo, 1))
        else:
            self.slot.end([self.finished(lo)])

    def claimed(self) -> int:
        """A group is claimed as a whole; of one that lasts, all but the running task is let go."""
        now = self.slot.engine.now
        self._first, _ = self._walk(now)
        return self._first.claimed if now < self._first.start + limits.RESULT_FLUSH_S else self._first.hi

    def limited(self) -> None:
        """What has not begun is planned anew."""
        assert self._first is not None, "what is claimed was asked before"
        self._last, when = self._walk(math.inf)
        # It may be due already, and wait for a core.
        self.again(max(when, self.slot.engine.now), self._tell)

    # --- planning ---------------------------------------------------------------------------------

    def _plan(self, group: _Group) -> None:
        """From this group on, up to the next moment when something is told."""
        self._first = group
        self._last, when = self._walk(math.inf)
        self.again(when, self._tell)

    def _walk(self, until: float) -> tuple[_Group, float]:
        """From the first planned group on, to the one that is in hand at ``until``, or at which something is told.

        Returns:
            That group, and when something is told.
        """
        assert self._first is not None, "a ticket that has started has a group in its hand"
        group = self._first
        flushed_at, flush_s, latest_s = self.slot.flushed_at, limits.RESULT_FLUSH_S, limits.REPORT_LATEST_S
        while True:
            when = max(flushed_at, group.start) + flush_s
            if when < group.end and self._running_at(group, when) > self.told:
                break  # a long task runs, and results wait behind it
            when = group.end
            since_s = when - flushed_at
            if group.hi >= self.limit or when > until:
                break
            if since_s >= flush_s and since_s + self._left_s(group) > latest_s:
                break
            lo = group.hi
            if group.next_size == 1:
                when, lo = self._skip(when, lo, min(until, flushed_at + flush_s))
            group = self._claim(when, lo, group.next_size)
        return group, when

    def _left_s(self, group: _Group) -> float:
        """What the slot believes that the rest of the ticket takes, when it has run this group."""
        return (self.batch.hi - group.hi) * (group.end - group.start) / (group.hi - group.lo)

    def _skip(self, when: float, lo: int, until: float) -> tuple[float, int]:
        """Go on over groups of one task each, for as long as nothing happens but the next of them.

        Each is a claim, and there are as many as tasks: this is what claiming them one by one comes to.
        """
        sums, base, speed, task_s = self._sums, self._base, self.slot.speed, self.slot.task_s
        while lo + 1 < self.limit:
            took_s = (sums[lo + 1 - base] - sums[lo - base]) / speed + task_s
            end = when + took_s
            if not limits.GROUP_S / 2 < took_s < limits.RESULT_FLUSH_S or end >= until:
                break
            when, lo = end, lo + 1
        return when, lo

    def _claim(self, when: float, lo: int, size: int) -> _Group:
        sums, base, slot = self._sums, self._base, self.slot
        hi = claimed = min(self.limit, lo + size)
        took_s = (sums[hi - base] - sums[lo - base]) / slot.speed + (hi - lo) * slot.task_s
        if took_s > limits.RESULT_FLUSH_S and hi - lo > 1:
            whole = _Group(when, lo, hi, hi, when + took_s, 1)
            hi = self._running_at(whole, when + limits.RESULT_FLUSH_S) + 1
            took_s = self._seconds(lo, hi)
        fitting = int(limits.GROUP_S * (hi - lo) / took_s) if took_s > 0 else limits.PAYLOAD_ITEMS_MAX
        return _Group(when, lo, claimed, hi, when + took_s, max(1, min(fitting, size * limits.SLOT_GROUP_GROWTH)))

    def _seconds(self, lo: int, hi: int) -> float:
        sums, base = self._sums, self._base
        return (sums[hi - base] - sums[lo - base]) / self.slot.speed + (hi - lo) * self.slot.task_s

    def _running_at(self, group: _Group, when: float) -> int:
        """The task of the group that runs then."""
        inside = range(group.lo, group.hi)
        return group.lo + bisect_right(inside, when - group.start, lo=1, key=lambda at: self._seconds(group.lo, at)) - 1

    # --- telling ----------------------------------------------------------------------------------

    def _tell(self) -> None:
        slot, group = self.slot, self._last
        assert group is not None, "something was planned"
        now = slot.engine.now
        if now < group.end:
            slot.owner.from_slot(self._results(self._running_at(group, now)))
            slot.flushed_at = now
            self._plan(group)
            return
        events = self._results(group.hi)
        if group.hi >= self.limit:
            slot.end([*events, self.finished(group.hi)])
            return
        slot.owner.from_slot(events)
        slot.flushed_at = now
        self._plan(self._claim(now, group.hi, group.next_size))

    def _results(self, upto: int) -> list[Event]:
        told = self.told
        if upto <= told:
            return []
        groups = plain_groups(
            self.slot.book, self.batch, told, upto, self._seconds(told, upto), reduce=bool(self.effect.reduce)
        )
        return self.done(upto, groups)
