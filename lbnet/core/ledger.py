"""Which tasks of one job exist and which are done: the only thing that decides when a job ends.

The ledger holds the ids of outstanding tasks, as ranges. A result removes ids and adds those of the
tasks they spawned in the same step. Every live task is outstanding or has an outstanding ancestor,
so "nothing is outstanding" is exact, whatever any flag or counter says.

* The first result of an id is committed; later ones are dropped and counted.
* A child exists only if the committed result of its parent names its run. A child's result that
  comes first is remembered; one of a run that lost is an orphan, dropped and counted.
* A combined value stands for a set of ids: all are committed, or none.

At every instant: submitted + spawned = done + failed + cancelled + outstanding. The ledger must not
know where a task is, nor what it computes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto

from lbnet import limits
from lbnet.core.ranges import RangeSet
from lbnet.protocol.records import EarlyBooks, FamilyBooks, LedgerBooks, Range, RunBooks
from lbnet.types import COMBINED, FAILED, ROOT, Batch, Failure, Group, Member, RunId


@dataclass(frozen=True, slots=True)
class Committed:
    """One group, or the part of it that was new. ``parts`` are the members with their new ranges."""

    group: Group
    parts: tuple[tuple[Member, tuple[tuple[int, int], ...]], ...]


@dataclass(frozen=True, slots=True)
class RootSettled:
    """An item that had spawned: it and all its descendants are done. ``failure`` is the first of theirs."""

    root: int
    failure: Failure | None


@dataclass(frozen=True, slots=True)
class Requeue:
    """A combined value was dropped: these tasks of it must run again."""

    origin: RunId
    lo: int
    hi: int


LedgerNews = Committed | RootSettled | Requeue


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Items that were cancelled: as ranges of those that were not settled; and all their tasks that will not run.

    ``requeue``: tasks of others, whose combined value stood for one of these, too.
    """

    items: tuple[tuple[int, int], ...]
    tasks: tuple[tuple[RunId, int, int], ...]
    requeue: tuple[Requeue, ...]


class _Status(Enum):
    OUTSTANDING = auto()
    EARLY = auto()
    GONE = auto()


@dataclass(slots=True)
class _Run:
    """The outstanding children of one committed run."""

    root: int
    ranges: RangeSet


@dataclass(slots=True)
class _Family:
    """An item that spawned: how many descendants are outstanding, and the first failure among them."""

    outstanding: int = 0
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A combined group that waits for a parent; its outstanding members are held here."""

    group: Group


@dataclass(slots=True)
class Ledger:
    """The books of one job."""

    submitted: int = 0
    spawned: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    duplicates: int = 0
    orphans: int = 0
    _roots: RangeSet = field(default_factory=RangeSet)
    _runs: dict[RunId, _Run] = field(default_factory=dict)
    _families: dict[int, _Family] = field(default_factory=dict)
    _early: dict[tuple[RunId, int], list[Group | _Waiting]] = field(default_factory=dict)
    _early_count: int = 0
    _early_bytes: int = 0
    _withdrawn: RangeSet = field(default_factory=RangeSet)

    @property
    def outstanding(self) -> int:
        """Tasks that exist and are not settled."""
        return len(self._roots) + sum(len(run.ranges) for run in self._runs.values())

    @property
    def unaccounted(self) -> int:
        """The same, by what has become of the others: however many ranges there are, it costs the same."""
        return self.submitted + self.spawned - self.done - self.failed - self.cancelled

    @property
    def empty(self) -> bool:
        """Whether nothing is outstanding. With the input closed, the job is done."""
        return not self._roots and not self._runs

    def submit(self, lo: int, hi: int) -> None:
        """The client adds items ``[lo, hi)``; they must follow those before."""
        assert lo == self.submitted < hi, (lo, hi, self.submitted)
        self._roots.add(lo, hi)
        self.submitted = hi

    def outstanding_ranges(self) -> list[tuple[RunId, int, int]]:
        """All outstanding ids, as ranges by origin."""
        ranges = [(ROOT, lo, hi) for lo, hi in self._roots]
        for origin, run in self._runs.items():
            ranges.extend((origin, lo, hi) for lo, hi in run.ranges)
        return ranges

    def is_outstanding(self, origin: RunId, lo: int, hi: int) -> list[tuple[int, int]]:
        """The parts of ``[lo, hi)`` that are outstanding."""
        ranges = self._ranges(origin)
        return [] if ranges is None else ranges.overlap(lo, hi)

    def item(self, index: int) -> tuple[bool, int]:
        """Whether an item is outstanding itself, and how many of its known descendants are."""
        family = self._families.get(index)
        return index in self._roots, 0 if family is None else family.outstanding

    def held(self) -> list[tuple[RunId, int, int]]:
        """Outstanding ids whose combined value waits here for a parent: nobody else needs to hold them."""
        return [
            (member.origin, member.lo, member.hi)
            for entries in self._early.values()
            for entry in entries
            if isinstance(entry, _Waiting)
            for member in entry.group.members
        ]

    def cancel(self, lo: int, hi: int) -> Withdrawn:
        """Nobody wants items ``[lo, hi)``, nor what they spawned: what is outstanding of that never counts any more."""
        items = self._roots.remove(lo, hi)
        tasks = [(ROOT, left, right) for left, right in items]
        for run in [run for run, books in self._runs.items() if lo <= books.root < hi]:
            tasks.extend((run, left, right) for left, right in self._runs.pop(run).ranges)
        whole = RangeSet(items)
        for root in [root for root in self._families if lo <= root < hi]:
            del self._families[root]
            whole.add(root, root + 1)
        for left, right in whole:
            self._withdrawn.add(left, right)
        self.cancelled += sum(right - left for _, left, right in tasks)
        requeue = [again for group in self._withdrawn_early() for again in self._drop(group)]
        return Withdrawn(tuple(whole), tuple(tasks), tuple(requeue))

    def _withdrawn_early(self) -> list[Group]:
        """Results that wait for a parent which nobody wants any more."""
        dropped: list[Group] = []
        for parent, entries in list(self._early.items()):
            kept = [entry for entry in entries if not any(map(self._is_withdrawn, _group(entry).members))]
            if len(kept) < len(entries):
                dropped += [_group(entry) for entry in entries if entry not in kept]
                self._early_count -= len(entries) - len(kept)
                self._early_bytes -= sum(map(_bytes, entries)) - sum(map(_bytes, kept))
                self._early[parent] = kept
                if not kept:
                    del self._early[parent]
        return dropped

    def _drop(self, group: Group) -> list[Requeue]:
        """This result is of no use. What is outstanding of the tasks that it stood for must run again."""
        requeue: list[Requeue] = []
        for member in group.members:
            rest = self.is_outstanding(member.origin, member.lo, member.hi)
            self._count_dropped(member, rest)
            requeue.extend(Requeue(member.origin, left, right) for left, right in rest)
        return requeue

    def unsettled(self) -> RangeSet:
        """Items that are outstanding, or have outstanding descendants."""
        items = RangeSet(self._roots)
        for root in self._families:
            items.add(root, root + 1)
        return items

    def fail_all(self) -> None:
        """Everything that is outstanding has failed."""
        self.failed += self.outstanding
        self._drop_outstanding()

    def cancel_all(self) -> None:
        """Nothing of the job will run any more."""
        self.cancelled += self.outstanding
        self._drop_outstanding()

    def _drop_outstanding(self) -> None:
        self._roots = RangeSet()
        self._runs.clear()
        self._families.clear()
        self._early.clear()
        self._early_count = self._early_bytes = 0

    def commit(self, group: Group) -> list[LedgerNews]:
        """Take the result of a group of tasks. Returns what followed, in order."""
        news: list[LedgerNews] = []
        work: deque[Group] = deque()
        self._commit_one(group, news, work)
        while work:
            self._commit_one(work.popleft(), news, work)
        return news

    # --- for the journal ----------------------------------------------------------------------

    def books(self) -> LedgerBooks:
        """All of it, as data."""
        return LedgerBooks(
            submitted=self.submitted,
            spawned=self.spawned,
            done=self.done,
            failed=self.failed,
            cancelled=self.cancelled,
            duplicates=self.duplicates,
            orphans=self.orphans,
            roots=_ranges(self._roots),
            runs=tuple(RunBooks(run, books.root, _ranges(books.ranges)) for run, books in self._runs.items()),
            families=tuple(
                FamilyBooks(root, family.outstanding, family.failure) for root, family in self._families.items()
            ),
            withdrawn=_ranges(self._withdrawn),
            early=tuple(
                EarlyBooks(origin, index, isinstance(entry, _Waiting), _group(entry))
                for (origin, index), entries in self._early.items()
                for entry in entries
            ),
        )

    @classmethod
    def of(cls, books: LedgerBooks) -> Ledger:
        """A ledger with these books."""
        ledger = cls(
            books.submitted,
            books.spawned,
            books.done,
            books.failed,
            books.cancelled,
            books.duplicates,
            books.orphans,
            RangeSet((part.lo, part.hi) for part in books.roots),
            _withdrawn=RangeSet((part.lo, part.hi) for part in books.withdrawn),
        )
        for run in books.runs:
            ledger._runs[run.run] = _Run(run.root, RangeSet((part.lo, part.hi) for part in run.outstanding))
        for family in books.families:
            ledger._families[family.root] = _Family(family.outstanding, family.failure)
        for early in books.early:
            entry = _Waiting(early.group) if early.waiting else early.group
            ledger._early.setdefault((early.parent_origin, early.parent_index), []).append(entry)
            ledger._early_count += 1
            ledger._early_bytes += _bytes(entry)
        return ledger

    # --- one group ----------------------------------------------------------------------------

    def _commit_one(self, group: Group, news: list[LedgerNews], work: deque[Group]) -> None:
        if group.kind == COMBINED:
            self._commit_combined(group, news, work)
            return
        (member,) = group.members
        ranges = self._ranges(member.origin)
        if ranges is None and not self._parent_is_done(member) and not self._is_withdrawn(member):
            self._remember(member, group)
            return
        fresh = [] if ranges is None else ranges.remove(member.lo, member.hi)
        if fresh != [(member.lo, member.hi)]:
            self._count_dropped(member, fresh)
        if fresh:
            news.append(Committed(group, ((member, tuple(fresh)),)))
            self._account(member, fresh, group.failure if group.kind == FAILED else None, news, work)

    def _count_dropped(self, member: Member, fresh: Iterable[tuple[int, int]]) -> None:
        """All of a result but its ``fresh`` part was of no use. Children of a run that is not known are orphans."""
        dropped = len_of(member) - sum(hi - lo for lo, hi in fresh)
        if self._ranges(member.origin) is None:
            self.orphans += dropped
        else:
            self.duplicates += dropped

    def _commit_combined(self, group: Group, news: list[LedgerNews], work: deque[Group]) -> None:
        """All members or none.

        A task that spawned is alone in its group, so that no two groups can wait for each other.
        """
        statuses = [self._status(member) for member in group.members]
        if _Status.GONE in statuses:
            # Part of this value has been counted already: drop it, and run the rest again. If a member that
            # is not known yet ever will be, the stall rule finds that nobody holds it.
            news.extend(self._drop(group))
            return
        if _Status.EARLY in statuses:
            self._remember(group.members[statuses.index(_Status.EARLY)], _Waiting(group))
            return
        news.append(Committed(group, tuple((member, ((member.lo, member.hi),)) for member in group.members)))
        for member in group.members:
            ranges = self._ranges(member.origin)
            fresh = [] if ranges is None else ranges.remove(member.lo, member.hi)
            self._account(member, fresh, None, news, work)

    def _status(self, member: Member) -> _Status:
        ranges = self._ranges(member.origin)
        if ranges is None:
            return _Status.GONE if self._parent_is_done(member) or self._is_withdrawn(member) else _Status.EARLY
        return _Status.OUTSTANDING if ranges.covers(member.lo, member.hi) else _Status.GONE

    # --- what a commit changes ------------------------------------------------------------------

    def _account(
        self,
        member: Member,
        fresh: list[tuple[int, int]],
        failure: Failure | None,
        news: list[LedgerNews],
        work: deque[Group],
    ) -> None:
        count = 0
        for lo, hi in fresh:
            count += hi - lo
        if not count:
            return
        if failure is None:
            self.done += count
        else:
            self.failed += count
        root = member.lo if member.origin == ROOT else self._runs[member.origin].root
        if member.origin != ROOT:
            family = self._families[root]
            family.outstanding -= count
            if failure is not None and family.failure is None:
                family.failure = failure
            if not self._runs[member.origin].ranges:
                del self._runs[member.origin]
        if member.run != ROOT and failure is None:
            self._adopt(member, root)
        if self._early:
            work.extend(self._wake_early(member.origin, fresh))
        self._settle(root, news)

    def _adopt(self, member: Member, root: int) -> None:
        """The children that this run spawned exist from now on. A run is one execution: it can be adopted once."""
        children = RangeSet((child.lo, child.hi) for child in member.children)
        if not children or member.run in self._runs:
            return
        self._runs[member.run] = _Run(root, children)
        self.spawned += len(children)
        self._families.setdefault(root, _Family()).outstanding += len(children)

    def _wake_early(self, origin: RunId, fresh: list[tuple[int, int]]) -> list[Group]:
        """Results of these tasks' children that came first: now they are committed, or orphans."""
        woken: list[Group] = []
        for lo, hi in fresh:
            for index in range(lo, hi) if hi - lo <= len(self._early) else self._early_indices(origin, lo, hi):
                for entry in self._early.pop((origin, index), ()):
                    self._early_count -= 1
                    self._early_bytes -= _bytes(entry)
                    woken.append(_group(entry))
        return woken

    def _early_indices(self, origin: RunId, lo: int, hi: int) -> list[int]:
        return [index for parent, index in self._early if parent == origin and lo <= index < hi]

    def _settle(self, root: int, news: list[LedgerNews]) -> None:
        family = self._families.get(root)
        if family is not None and family.outstanding == 0 and root not in self._roots:
            del self._families[root]
            news.append(RootSettled(root, family.failure))

    # --- looking up -----------------------------------------------------------------------------

    def _ranges(self, origin: RunId) -> RangeSet | None:
        if origin == ROOT:
            return self._roots
        run = self._runs.get(origin)
        return None if run is None else run.ranges

    def _is_withdrawn(self, member: Member) -> bool:
        """Whether it descends from an item that was cancelled."""
        return bool(self._withdrawn) and member.origin != ROOT and member.root in self._withdrawn

    def _parent_is_done(self, member: Member) -> bool:
        """Whether the parent is committed, so that a run which is not known now never will be."""
        ranges = self._ranges(member.parent_origin)
        if member.parent_origin == ROOT:
            return member.parent_index < self.submitted and member.parent_index not in self._roots
        return ranges is not None and member.parent_index not in ranges

    def _remember(self, member: Member, entry: Group | _Waiting) -> None:
        size = _bytes(entry)
        if self._early_count >= limits.EARLY_RESULTS_MAX or self._early_bytes + size > limits.EARLY_BYTES_MAX:
            self.orphans += len_of(member)  # the stall rule will have it run again, if it ever existed
            return
        self._early_count += 1
        self._early_bytes += size
        self._early.setdefault((member.parent_origin, member.parent_index), []).append(entry)


def _group(entry: Group | _Waiting) -> Group:
    return entry.group if isinstance(entry, _Waiting) else entry


def _bytes(entry: Group | _Waiting) -> int:
    return _group(entry).size_bytes


def _ranges(ranges: RangeSet) -> tuple[Range, ...]:
    return tuple(Range(lo, hi) for lo, hi in ranges)


def len_of(member: Member) -> int:
    """How many tasks a member stands for."""
    return member.hi - member.lo


def children_of(members: Iterable[Member]) -> list[Batch]:
    """All batches that a committed group spawned."""
    return [child for member in members for child in member.children]
