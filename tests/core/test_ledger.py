"""The books of a job: every task is counted once, in whatever order, and however often, its result comes."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lbnet import limits
from lbnet.core.ledger import Committed, Ledger, LedgerNews, Requeue, RootSettled, Withdrawn, children_of, len_of
from lbnet.types import COMBINED, FAILED, ROOT, SILENT, VALUES, Batch, Failure, Group, JobId, Member, Payload, RunId

BOOM = Failure("exception", "boom", "", "worker a", b"")
LATER = Failure("exception", "later", "", "worker b", b"")
Id = tuple[int, int]
"""Origin and index."""


def child_batch(run: int, lo: int, hi: int, parent: Id = (ROOT, 0), root: int = 0) -> Batch:
    return Batch(JobId(1), RunId(run), lo, hi, root, RunId(parent[0]), parent[1], Payload(lo, hi - lo, b"f", b""))


def member(
    lo: int, hi: int, origin: int = ROOT, *, parent: Id = (ROOT, 0), root: int = 0, run: int = ROOT, children: int = 0
) -> Member:
    """Tasks of one origin; a single task may have spawned ``children`` in its run ``run``."""
    spawned = (child_batch(run, 0, children, (origin, lo), root),) if children else ()
    return Member(RunId(origin), lo, hi, root, RunId(parent[0]), parent[1], RunId(run), spawned)


def group(kind: int, *members: Member, failure: Failure | None = None) -> Group:
    return Group(kind, b"data", members, 0.001, failure)


def values(lo: int, hi: int) -> Group:
    return group(VALUES, member(lo, hi))


def ledger_of(items: int) -> Ledger:
    ledger = Ledger()
    if items:
        ledger.submit(0, items)
    return ledger


def same_again(ledger: Ledger) -> Ledger:
    """Another one, from its books."""
    books = ledger.books()
    again = Ledger.of(books)
    assert again == ledger
    assert again is not ledger
    assert again.books() == books
    return again


def fresh_of(news: list[LedgerNews]) -> list[tuple[int, int, int]]:
    """What was committed, as ranges by origin."""
    return [
        (part.origin, lo, hi)
        for entry in news
        if isinstance(entry, Committed)
        for part, ranges in entry.parts
        for lo, hi in ranges
    ]


def settled(news: list[LedgerNews]) -> list[int]:
    return [entry.root for entry in news if isinstance(entry, RootSettled)]


def assert_balanced(ledger: Ledger) -> None:
    assert ledger.submitted + ledger.spawned == ledger.done + ledger.failed + ledger.cancelled + ledger.outstanding
    assert ledger.empty == (ledger.outstanding == 0)
    assert sum(hi - lo for _, lo, hi in ledger.outstanding_ranges()) == ledger.outstanding


# --- items


def test_a_ledger_without_tasks_is_empty() -> None:
    assert Ledger().empty
    assert_balanced(Ledger())


def test_items_are_outstanding_until_their_results_come() -> None:
    ledger = ledger_of(3)
    assert not ledger.empty
    assert fresh_of(ledger.commit(values(1, 2))) == [(ROOT, 1, 2)]
    assert ledger.outstanding_ranges() == [(ROOT, 0, 1), (ROOT, 2, 3)]
    assert (ledger.done, ledger.outstanding, ledger.empty) == (1, 2, False)
    ledger.commit(values(0, 1))
    ledger.commit(values(2, 3))
    assert ledger.empty
    assert_balanced(ledger)


def test_items_are_submitted_one_after_the_other() -> None:
    ledger = ledger_of(3)
    for lo, hi in ((2, 5), (4, 5), (3, 3)):
        with pytest.raises(AssertionError):
            ledger.submit(lo, hi)
    ledger.submit(3, 5)
    assert ledger.outstanding_ranges() == [(ROOT, 0, 5)]


def test_the_first_result_wins_and_later_ones_are_counted() -> None:
    ledger = ledger_of(2)
    first, second = values(0, 1), group(FAILED, member(0, 1), failure=BOOM)
    assert ledger.commit(first) == [Committed(first, ((first.members[0], ((0, 1),)),))]
    assert ledger.commit(second) == []
    assert ledger.commit(values(0, 1)) == []
    assert (ledger.done, ledger.failed, ledger.duplicates) == (1, 0, 2)
    assert_balanced(ledger)


def test_only_the_new_part_of_a_range_is_committed() -> None:
    ledger = ledger_of(10)
    ledger.commit(values(2, 4))
    ledger.commit(values(6, 7))
    assert fresh_of(ledger.commit(values(0, 8))) == [(ROOT, 0, 2), (ROOT, 4, 6), (ROOT, 7, 8)]
    assert (ledger.done, ledger.duplicates) == (8, 3)
    assert_balanced(ledger)


def test_a_result_of_an_item_that_was_never_submitted_changes_nothing() -> None:
    ledger = ledger_of(2)
    assert ledger.commit(values(5, 9)) == []
    assert ledger.outstanding == 2
    assert_balanced(ledger)


def test_a_failed_item_is_settled() -> None:
    ledger = ledger_of(1)
    failed = group(FAILED, member(0, 1), failure=BOOM)
    assert fresh_of(ledger.commit(failed)) == [(ROOT, 0, 1)]
    assert (ledger.done, ledger.failed, ledger.empty) == (0, 1, True)
    assert_balanced(ledger)


# --- children


def test_children_exist_from_the_result_of_their_parent_on() -> None:
    ledger = ledger_of(1)
    ledger.commit(group(VALUES, member(0, 1, run=7, children=3)))
    assert (ledger.done, ledger.spawned, ledger.outstanding, ledger.empty) == (1, 3, 3, False)
    assert ledger.outstanding_ranges() == [(7, 0, 3)]
    assert_balanced(ledger)


def test_an_item_is_settled_after_the_last_of_its_descendants() -> None:
    ledger = ledger_of(2)
    assert settled(ledger.commit(group(VALUES, member(1, 2, root=1, run=7, children=2)))) == []
    assert settled(ledger.commit(group(SILENT, member(0, 1, 7, parent=(ROOT, 1), root=1, run=8, children=1)))) == []
    assert settled(ledger.commit(group(SILENT, member(1, 2, 7, parent=(ROOT, 1), root=1)))) == []
    assert list(ledger.unsettled()) == [(0, 2)]
    last = ledger.commit(group(SILENT, member(0, 1, 8, parent=(7, 0), root=1)))
    assert last[-1] == RootSettled(1, None)
    assert list(ledger.unsettled()) == [(0, 1)]
    assert_balanced(ledger)


def test_an_item_that_spawned_nothing_is_settled_by_its_value_alone() -> None:
    ledger = ledger_of(2)
    assert settled(ledger.commit(values(0, 2))) == []
    assert not ledger.unsettled()


def test_the_first_failure_of_a_family_is_told_when_it_is_settled() -> None:
    ledger = ledger_of(1)
    ledger.commit(group(VALUES, member(0, 1, run=7, children=3)))
    ledger.commit(group(SILENT, member(0, 1, 7)))
    ledger.commit(group(FAILED, member(2, 3, 7), failure=BOOM))
    assert ledger.commit(group(FAILED, member(1, 2, 7), failure=LATER))[-1] == RootSettled(0, BOOM)
    assert (ledger.done, ledger.failed) == (2, 2)
    assert_balanced(ledger)


def test_a_task_that_failed_has_no_children() -> None:
    ledger = ledger_of(1)
    ledger.commit(group(FAILED, member(0, 1, run=7, children=3), failure=BOOM))
    assert ledger.empty
    assert ledger.spawned == 0
    assert ledger.commit(group(SILENT, member(0, 3, 7))) == []
    assert ledger.orphans == 3
    assert_balanced(ledger)


def test_a_childs_result_that_comes_first_is_remembered() -> None:
    ledger = ledger_of(1)
    child = group(SILENT, member(0, 2, 7))
    assert ledger.commit(child) == []
    assert (ledger.done, ledger.outstanding, ledger.orphans) == (0, 1, 0)
    news = ledger.commit(group(VALUES, member(0, 1, run=7, children=2)))
    assert fresh_of(news) == [(ROOT, 0, 1), (7, 0, 2)]
    assert settled(news) == [0]
    assert ledger.empty
    assert_balanced(ledger)


def test_results_of_three_generations_may_come_youngest_first() -> None:
    ledger = ledger_of(1)
    assert ledger.commit(group(SILENT, member(0, 1, 9, parent=(8, 0)))) == []
    assert ledger.commit(group(SILENT, member(0, 1, 8, parent=(7, 0), run=9, children=1))) == []
    assert ledger.commit(group(SILENT, member(0, 1, 7, parent=(ROOT, 0), run=8, children=1))) == []
    assert not ledger.empty
    news = ledger.commit(group(VALUES, member(0, 1, run=7, children=1)))
    assert fresh_of(news) == [(ROOT, 0, 1), (7, 0, 1), (8, 0, 1), (9, 0, 1)]
    assert settled(news) == [0]
    assert ledger.empty


def test_of_two_results_that_come_before_the_parent_the_first_wins() -> None:
    ledger = ledger_of(1)
    ledger.commit(group(FAILED, member(0, 1, 7), failure=BOOM))
    ledger.commit(group(SILENT, member(0, 1, 7)))
    assert ledger.commit(group(VALUES, member(0, 1, run=7, children=1)))[-1] == RootSettled(0, BOOM)
    assert (ledger.failed, ledger.duplicates + ledger.orphans) == (1, 1)
    assert_balanced(ledger)


def test_children_of_a_run_that_lost_are_orphans() -> None:
    ledger = ledger_of(1)
    early, late = group(SILENT, member(0, 2, 8)), group(SILENT, member(2, 3, 8))
    ledger.commit(early)
    assert fresh_of(ledger.commit(group(VALUES, member(0, 1, run=7, children=1)))) == [(ROOT, 0, 1)]
    assert ledger.orphans == 2
    assert ledger.commit(late) == []
    assert ledger.orphans == 3
    assert ledger.outstanding_ranges() == [(7, 0, 1)]
    assert_balanced(ledger)


def test_two_runs_of_one_parent_that_split_differently_are_counted_once() -> None:
    # The item holds 10 units. Run 7 keeps 6 and gives away 4; run 8 keeps 3 and gives away 5 and 2. Each child has
    # index 0 (and 1) of its run: keyed by the parent alone, or by an attempt number that both runs share, run 8's
    # child of 5 units would settle run 7's child of 4, and 11 units would be counted.
    units = {(ROOT, 0, 7): 6, (7, 0): 4, (ROOT, 0, 8): 3, (8, 0): 5, (8, 1): 2}
    for seed in range(200):
        rng = random.Random(seed)
        ledger = ledger_of(1)
        results = [
            group(SILENT, member(0, 1, run=7, children=1)),
            group(SILENT, member(0, 1, 7)),
            group(SILENT, member(0, 1, run=8, children=2)),
            group(SILENT, member(0, 1, 8)),
            group(SILENT, member(1, 2, 8)),
        ]
        rng.shuffle(results)
        counted = 0
        for result in results:
            for entry in ledger.commit(result):
                if isinstance(entry, Committed):
                    done = entry.group.members[0]
                    key = (done.origin, done.lo, done.run) if done.origin == ROOT else (done.origin, done.lo)
                    counted += units[key]
            assert_balanced(ledger)
            assert not ledger.empty or counted == 10
        assert counted == 10
        assert ledger.empty
        assert ledger.duplicates + ledger.orphans + ledger.done == len(results)


# --- when is a job done: the two tiny counterexamples, worked out as orders of messages


@dataclass
class TinyWorker:
    """As little of a worker as the two rules that fail need: what it holds, and what it last told of itself."""

    holds: int = 0
    told_idle: bool = True
    told_created: int = 0
    told_processed: int = 0


@dataclass
class TinyCluster:
    """Two workers, the transfers in flight, and what each rule would say at this instant."""

    ledger: Ledger = field(default_factory=lambda: ledger_of(1))
    workers: tuple[TinyWorker, TinyWorker] = field(default_factory=lambda: (TinyWorker(), TinyWorker()))
    in_flight: int = 0

    @property
    def all_idle(self) -> bool:
        return all(worker.told_idle for worker in self.workers)

    @property
    def processed_is_created(self) -> bool:
        created = 1 + sum(worker.told_created for worker in self.workers)
        return created == sum(worker.told_processed for worker in self.workers)

    @property
    def work_left(self) -> int:
        return self.in_flight + sum(worker.holds for worker in self.workers)


def test_all_idle_would_say_done_while_a_transfer_is_in_flight() -> None:
    cluster = TinyCluster()
    first, second = cluster.workers
    # The first worker runs the item, which spawns one task in run 7.
    first.holds, first.told_idle = 1, False
    first.holds += 1
    # It is told that the second is idle, and sends it the child: SEND_WORK is on its way.
    first.holds -= 1
    cluster.in_flight = 1
    # It finishes the item itself, says so, and then says IDLE. The second said IDLE long ago.
    first.holds -= 1
    cluster.ledger.commit(group(SILENT, member(0, 1, run=7, children=1)))
    first.told_idle = True
    assert cluster.all_idle
    assert cluster.work_left == 1
    assert not cluster.ledger.empty
    # SEND_WORK arrives, the child runs, and its RESULT is what ends the job.
    cluster.in_flight, second.holds, second.told_idle = 0, 1, False
    second.holds = 0
    cluster.ledger.commit(group(SILENT, member(0, 1, 7)))
    assert cluster.work_left == 0
    assert cluster.ledger.empty


def test_processed_is_created_would_say_done_over_reports_that_are_not_of_one_instant() -> None:
    cluster = TinyCluster()
    first, second = cluster.workers
    # The first worker runs the item. It spawns a task in run 7 and gives it to the second; nothing is reported yet.
    first.holds = 2
    cluster.in_flight, first.holds = 1, 1
    cluster.in_flight, second.holds = 0, 1
    # The second runs the child, which spawns a grandchild in run 8 that stays in its queue. Its report of what it
    # processed leaves at once, the one of what it created with its next report.
    second.holds = 1
    second.told_processed = 1
    cluster.ledger.commit(group(SILENT, member(0, 1, 7, run=8, children=1)))
    # Created: the item alone. Processed: one task. Neither the item nor the grandchild is done.
    assert cluster.processed_is_created
    assert cluster.work_left == 2
    assert not cluster.ledger.empty
    # The first worker's report comes: two created, two processed, and the grandchild is still not done.
    first.holds = 0
    first.told_created, first.told_processed = 1, 1
    cluster.ledger.commit(group(SILENT, member(0, 1, run=7, children=1)))
    assert cluster.processed_is_created
    assert cluster.work_left == 1
    assert cluster.ledger.outstanding_ranges() == [(8, 0, 1)]
    assert not cluster.ledger.empty
    second.holds = 0
    cluster.ledger.commit(group(SILENT, member(0, 1, 8, parent=(7, 0))))
    assert cluster.work_left == 0
    assert cluster.ledger.empty


def test_a_ledger_is_not_empty_while_a_parent_is_outstanding_whose_child_is_done() -> None:
    ledger = ledger_of(1)
    ledger.commit(group(SILENT, member(0, 1, 7)))
    assert not ledger.empty


# --- combined values


def with_children(count: int, run: int = 7) -> Ledger:
    ledger = ledger_of(1)
    ledger.commit(group(SILENT, member(0, 1, run=run, children=count)))
    return ledger


def test_a_combined_value_commits_all_that_it_stands_for() -> None:
    ledger = with_children(6)
    combined = group(COMBINED, member(0, 2, 7), member(4, 6, 7))
    news = ledger.commit(combined)
    assert news == [Committed(combined, tuple((part, ((part.lo, part.hi),)) for part in combined.members))]
    assert ledger.outstanding_ranges() == [(7, 2, 4)]
    assert settled(ledger.commit(group(COMBINED, member(2, 4, 7)))) == [0]
    assert_balanced(ledger)


def test_a_combined_value_is_dropped_when_one_of_its_tasks_is_done_and_the_rest_is_requeued() -> None:
    ledger = with_children(6)
    ledger.commit(group(COMBINED, member(1, 2, 7)))
    news = ledger.commit(group(COMBINED, member(0, 1, 7), member(1, 2, 7), member(4, 6, 7)))
    assert news == [Requeue(RunId(7), 0, 1), Requeue(RunId(7), 4, 6)]
    assert (ledger.done, ledger.duplicates) == (2, 1)
    assert ledger.outstanding_ranges() == [(7, 0, 1), (7, 2, 6)]
    assert_balanced(ledger)


def test_the_rest_of_a_range_that_is_done_in_part_is_requeued_too() -> None:
    ledger = with_children(6)
    ledger.commit(group(COMBINED, member(2, 3, 7)))
    assert ledger.commit(group(COMBINED, member(0, 6, 7))) == [Requeue(RunId(7), 0, 2), Requeue(RunId(7), 3, 6)]
    assert (ledger.done, ledger.duplicates) == (2, 1)
    assert_balanced(ledger)


def test_a_combined_value_that_came_twice_requeues_nothing() -> None:
    ledger = with_children(6)
    combined = group(COMBINED, member(0, 4, 7))
    ledger.commit(combined)
    assert ledger.commit(combined) == []
    assert ledger.duplicates == 4


def test_a_combined_value_waits_for_the_parent_of_its_tasks() -> None:
    ledger = ledger_of(1)
    combined = group(COMBINED, member(0, 3, 7))
    assert ledger.commit(combined) == []
    assert ledger.outstanding_ranges() == [(ROOT, 0, 1)]
    news = ledger.commit(group(SILENT, member(0, 1, run=7, children=3)))
    assert fresh_of(news) == [(ROOT, 0, 1), (7, 0, 3)]
    assert settled(news) == [0]
    assert ledger.empty
    assert_balanced(ledger)


def test_what_waits_with_a_combined_value_is_held_here_and_committed_with_it() -> None:
    ledger = ledger_of(2)
    ledger.commit(group(SILENT, member(0, 1, run=7, children=2)))
    combined = group(COMBINED, member(0, 2, 7), member(0, 1, 8, parent=(ROOT, 1), root=1))
    assert ledger.commit(combined) == []
    assert ledger.done == 1
    assert ledger.held() == [(7, 0, 2), (8, 0, 1)]
    news = ledger.commit(group(SILENT, member(1, 2, root=1, run=8, children=1)))
    assert fresh_of(news) == [(ROOT, 1, 2), (7, 0, 2), (8, 0, 1)]
    assert settled(news) == [0, 1]
    assert ledger.held() == []
    assert ledger.empty


def test_a_combined_value_whose_task_turns_out_an_orphan_is_dropped_and_the_rest_requeued() -> None:
    ledger = ledger_of(2)
    ledger.commit(group(SILENT, member(0, 1, run=7, children=2)))
    ledger.commit(group(COMBINED, member(0, 2, 7), member(0, 1, 8, parent=(ROOT, 1), root=1)))
    news = ledger.commit(group(SILENT, member(1, 2, root=1, run=9, children=1)))
    assert fresh_of(news) == [(ROOT, 1, 2)]
    assert [entry for entry in news if isinstance(entry, Requeue)] == [Requeue(RunId(7), 0, 2)]
    assert (ledger.orphans, ledger.duplicates) == (1, 0)
    assert ledger.outstanding_ranges() == [(7, 0, 2), (9, 0, 1)]
    assert_balanced(ledger)


def test_a_combined_value_of_an_item_that_spawned() -> None:
    ledger = ledger_of(1)
    news = ledger.commit(group(COMBINED, member(0, 1, run=7, children=2)))
    assert fresh_of(news) == [(ROOT, 0, 1)]
    assert ledger.outstanding_ranges() == [(7, 0, 2)]
    assert settled(ledger.commit(group(COMBINED, member(0, 2, 7)))) == [0]


# --- ends


def test_cancelled_items_do_not_run() -> None:
    ledger = ledger_of(10)
    ledger.commit(values(3, 5))
    assert ledger.cancel(0, 6) == Withdrawn(((0, 3), (5, 6)), ((ROOT, 0, 3), (ROOT, 5, 6)), ())
    assert ledger.cancel(0, 6) == Withdrawn((), (), ())
    assert (ledger.cancelled, ledger.outstanding) == (4, 4)
    assert_balanced(ledger)
    ledger.commit(values(0, 10))
    assert (ledger.done, ledger.cancelled, ledger.duplicates) == (6, 4, 6)
    assert_balanced(ledger)


def test_children_of_a_cancelled_item_are_orphans_whenever_they_come() -> None:
    ledger = ledger_of(2)
    ledger.commit(group(SILENT, member(0, 2, 7)))
    assert ledger.cancel(0, 1) == Withdrawn(((0, 1),), ((ROOT, 0, 1),), ())
    ledger.commit(group(SILENT, member(2, 3, 7)))
    assert ledger.orphans == 3
    assert ledger._early == {}
    assert ledger._early_count == 0
    assert_balanced(ledger)


def test_descendants_are_cancelled_with_their_item() -> None:
    ledger = ledger_of(2)
    ledger.commit(group(SILENT, member(0, 1, run=7, children=3)))
    ledger.commit(group(SILENT, member(0, 1, 7, parent=(ROOT, 0), run=8, children=2)))
    withdrawn = ledger.cancel(0, 1)
    assert withdrawn.items == ((0, 1),)
    assert sorted(withdrawn.tasks) == [(7, 1, 3), (8, 0, 2)]
    assert (ledger.cancelled, ledger.outstanding, list(ledger.unsettled())) == (4, 1, [(1, 2)])
    assert ledger.commit(group(SILENT, member(1, 2, 7, parent=(ROOT, 0), run=9, children=5))) == []
    assert ledger.commit(group(SILENT, member(0, 1, 9, parent=(7, 1)))) == [], "what it spawned never existed"
    assert ledger._early == {}
    assert_balanced(ledger)


def test_a_combined_value_of_a_cancelled_item_and_another_is_dropped_and_the_other_runs_again() -> None:
    ledger = ledger_of(2)
    ledger.commit(group(SILENT, member(1, 2, run=7, children=2)))
    both = group(COMBINED, member(0, 1, 5, parent=(ROOT, 0), root=0), member(0, 1, 7, parent=(ROOT, 1), root=1))
    assert ledger.commit(both) == [], "it waits for its first parent"
    assert ledger.cancel(0, 1).requeue == (Requeue(RunId(7), 0, 1),)
    assert (ledger._early, ledger.held()) == ({}, [])
    assert_balanced(ledger)


def test_a_result_that_comes_after_the_cancel_waits_for_no_parent() -> None:
    ledger = ledger_of(2)
    ledger.cancel(0, 1)
    assert ledger.commit(group(COMBINED, member(0, 1, 9, parent=(8, 3), root=0))) == []
    assert ledger._early == {}
    assert Ledger.of(ledger.books()) == ledger


@pytest.mark.parametrize("end", ["fail_all", "cancel_all"])
def test_everything_that_is_outstanding_can_be_ended_at_once(end: str) -> None:
    ledger = ledger_of(5)
    ledger.commit(group(SILENT, member(0, 1, run=7, children=3)))
    ledger.commit(group(SILENT, member(0, 1, 9, parent=(ROOT, 3), root=3)))
    getattr(ledger, end)()
    assert ledger.empty
    assert (ledger.failed, ledger.cancelled) == ((7, 0) if end == "fail_all" else (0, 7))
    assert not ledger.unsettled()
    assert ledger.commit(group(SILENT, member(1, 2, 7))) == []
    assert ledger.commit(values(4, 5)) == []
    assert_balanced(ledger)


def test_only_so_many_results_are_remembered_for_parents_that_have_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EARLY_RESULTS_MAX", 2)
    ledger = ledger_of(1)
    for index in range(4):
        ledger.commit(group(SILENT, member(index, index + 1, 7)))
    assert ledger.orphans == 2
    ledger.commit(group(SILENT, member(0, 1, run=7, children=4)))
    assert ledger.outstanding_ranges() == [(7, 2, 4)]
    assert_balanced(ledger)
    # The places are free again.
    ledger.commit(group(SILENT, member(0, 1, 8, parent=(7, 2))))
    ledger.commit(group(SILENT, member(2, 3, 7, run=8, children=1)))
    ledger.commit(group(SILENT, member(3, 4, 7)))
    assert ledger.empty


def test_only_so_many_bytes_of_them_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EARLY_BYTES_MAX", 2 * len(b"data"))
    ledger = ledger_of(1)
    for index in range(3):
        ledger.commit(group(SILENT, member(index, index + 1, 7)))
    assert ledger.orphans == 1
    assert same_again(ledger)._early_bytes == ledger._early_bytes == 8
    ledger.commit(group(SILENT, member(0, 1, run=7, children=3)))
    assert ledger.outstanding_ranges() == [(7, 2, 3)]
    assert ledger._early_bytes == 0
    # There is room again.
    ledger.commit(group(SILENT, member(0, 1, 8, parent=(7, 2))))
    assert (ledger._early_bytes, ledger.orphans) == (4, 1)
    ledger.cancel(0, 1)
    assert ledger._early_bytes == 0
    assert_balanced(ledger)


def test_results_that_wait_are_counted_in_the_books_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EARLY_RESULTS_MAX", 2)
    ledger = ledger_of(3)
    for index in range(2):
        ledger.commit(group(SILENT, member(0, 1, 7 + index, parent=(ROOT, index), root=index)))
    ledger = same_again(ledger)
    assert (len(ledger.books().early), ledger.orphans) == (2, 0)
    ledger.commit(group(SILENT, member(0, 1, 9, parent=(ROOT, 2), root=2)))
    assert (len(ledger.books().early), ledger.orphans) == (2, 1)
    ledger.commit(group(SILENT, member(0, 1, run=7, children=1)))
    assert (len(ledger.books().early), ledger.done) == (1, 2)


def test_a_ledger_and_the_one_from_its_books_go_their_own_ways() -> None:
    ledger = ledger_of(2)
    ledger.commit(group(SILENT, member(0, 1, run=7, children=2)))
    again = same_again(ledger)
    ledger.commit(group(SILENT, member(0, 2, 7)))
    assert (ledger.outstanding, again.outstanding) == (1, 3)
    assert list(again.unsettled()) == [(0, 2)]


def test_what_waits_with_a_combined_value_is_in_the_books() -> None:
    ledger = ledger_of(2)
    ledger.commit(group(SILENT, member(0, 1, run=7, children=2)))
    ledger.commit(group(COMBINED, member(0, 2, 7), member(0, 1, 8, parent=(ROOT, 1), root=1)))
    ledger = same_again(ledger)
    assert ledger.held() == [(7, 0, 2), (8, 0, 1)]
    assert settled(ledger.commit(group(SILENT, member(1, 2, root=1, run=8, children=1)))) == [0, 1]


def test_many_results_in_one_range_wake_the_few_children_that_wait() -> None:
    ledger = ledger_of(1_000)
    for parent in (0, 500, 999):
        ledger.commit(group(SILENT, member(0, 1, 7 + parent, parent=(ROOT, parent), root=parent)))
    ledger.commit(values(1, 999))
    assert ledger.orphans == 1
    ledger.commit(values(0, 1_000))
    assert ledger.orphans == 3
    assert ledger._early == {}


def test_helpers_count_and_list() -> None:
    one = member(3, 4, run=7, children=2)
    assert (len_of(one), len_of(member(3, 9))) == (1, 6)
    assert children_of([one, member(5, 9)]) == list(one.children)


# --- random trees, runs and orders


@dataclass
class Cluster:
    """Tasks that run, some of them twice and then differently; and the results on their way, in any order.

    ``truth`` keeps what the ledger must say, in plain sets: which ids are settled, and which runs were committed.
    """

    rng: random.Random
    reduce: bool
    results: list[Group] = field(default_factory=list)
    queue: deque[tuple[Id, Id, int, int]] = field(default_factory=deque)
    runs: int = 0

    def add(self, task: Id, parent: Id, root: int, depth: int) -> None:
        self.queue.append((task, parent, root, depth))

    def run(self) -> None:
        """Take some neighbours out of the queue, run them once or twice, and send what came of it."""
        rng = self.rng
        at = rng.randrange(len(self.queue))
        self.queue.rotate(-at)
        task, parent, root, depth = self.queue.popleft()
        lo = hi = task[1]
        hi += 1
        while self.queue and self.queue[0][0] == (task[0], hi) and rng.random() < 0.6:
            self.queue.popleft()
            hi += 1
        for _ in range(1 if rng.random() < 0.7 else 2):
            self._execute(task[0], lo, hi, parent, root, depth)

    def _execute(self, origin: int, lo: int, hi: int, parent: Id, root: int, depth: int) -> None:
        rng = self.rng
        folded: list[Member] = []
        for index in range(lo, hi):
            own_root = index if origin == ROOT else root
            if rng.random() < 0.15:
                self.results.append(group(FAILED, member(index, index + 1, origin, parent=parent), failure=BOOM))
            elif depth < 3 and rng.random() < 0.4:
                self.runs += 1
                children = rng.randint(1, 4)
                parts = member(index, index + 1, origin, parent=parent, root=own_root, run=self.runs, children=children)
                kind = rng.choice([COMBINED, SILENT]) if self.reduce else SILENT
                self.results.append(group(kind, parts))
                for child in range(children):
                    self.add((self.runs, child), (origin, index), own_root, depth + 1)
            elif folded and folded[-1].hi == index:
                folded[-1] = member(folded[-1].lo, index + 1, origin, parent=parent, root=root)
            else:
                folded.append(member(index, index + 1, origin, parent=parent, root=root))
        if self.reduce and origin != ROOT and folded:
            self.results.append(group(COMBINED, *folded))
        else:
            self.results.extend(group(VALUES if origin == ROOT else SILENT, part) for part in folded)


class Truth:
    """What the ledger must say, kept as plainly as possible."""

    def __init__(self, items: int) -> None:
        self.outstanding: set[Id] = {(ROOT, index) for index in range(items)}
        self.existed = set(self.outstanding)
        self.settled: set[Id] = set()

    def take(self, news: list[LedgerNews]) -> list[Requeue]:
        requeued = []
        for entry in news:
            if isinstance(entry, Requeue):
                assert {(entry.origin, index) for index in range(entry.lo, entry.hi)} <= self.outstanding
                requeued.append(entry)
            elif isinstance(entry, Committed):
                for part, ranges in entry.parts:
                    ids = {(part.origin, index) for lo, hi in ranges for index in range(lo, hi)}
                    assert ids <= self.outstanding, "committed twice, or never existed"
                    self.outstanding -= ids
                    self.settled |= ids
                    if entry.group.kind != FAILED:
                        born = {(child.origin, i) for child in part.children for i in range(child.lo, child.hi)}
                        assert not born & self.existed
                        self.existed |= born
                        self.outstanding |= born
        return requeued


@settings(derandomize=True, deadline=None, max_examples=250)
@given(seed=st.integers(0, 2**32), items=st.integers(1, 6), reduce=st.booleans(), lost=st.floats(0, 0.3))
@example(seed=1, items=6, reduce=True, lost=0.3)
def test_the_books_balance_at_every_instant_and_the_job_ends(seed: int, items: int, reduce: bool, lost: float) -> None:
    rng = random.Random(seed)
    ledger, truth, cluster = ledger_of(items), Truth(items), Cluster(rng, reduce)
    parents: dict[Id, tuple[Id, int, int]] = {}
    for index in range(items):
        cluster.add((ROOT, index), (ROOT, 0), 0, 0)
    roots_settled: list[int] = []
    for _ in range(5_000):
        parents.update({task: (parent, root, depth) for task, parent, root, depth in cluster.queue})
        if cluster.queue and (not cluster.results or rng.random() < 0.5):
            if rng.random() < lost:
                cluster.queue.popleft()  # its holder died
            else:
                cluster.run()
        elif cluster.results:
            rng.shuffle(cluster.results)
            result = cluster.results.pop()
            if rng.random() < lost:
                continue
            news = ledger.commit(result)
            requeued = truth.take(news)
            roots_settled += settled(news)
            ledger = same_again(ledger)  # it goes on from its books
            for entry in requeued:
                for index in range(entry.lo, entry.hi):
                    cluster.add((entry.origin, index), *parents[entry.origin, index])
        elif ledger.empty:
            break
        else:
            lost = 0.0  # from here on the stall rule: what is outstanding and held by nobody runs again
            for origin, lo, hi in ledger.outstanding_ranges():
                for index in range(lo, hi):
                    cluster.add((origin, index), *parents[origin, index])
        assert_balanced(ledger)
        assert {(o, index) for o, lo, hi in ledger.outstanding_ranges() for index in range(lo, hi)} == truth.outstanding
        assert ledger.submitted + ledger.spawned == len(truth.existed)
        assert ledger.done + ledger.failed == len(truth.settled)
    assert ledger.empty
    assert truth.settled == truth.existed
    assert len(roots_settled) == len(set(roots_settled))
    assert not ledger.unsettled()


hostile_members = st.builds(
    member,
    lo=st.integers(0, 4),
    hi=st.integers(5, 9),
    origin=st.integers(0, 3),
    parent=st.tuples(st.integers(0, 3), st.integers(0, 9)),
    root=st.integers(0, 9),
    run=st.integers(0, 3),
    children=st.integers(0, 3),
)


@settings(derandomize=True, deadline=None, max_examples=250)
@given(
    groups=st.lists(
        st.builds(
            lambda kind, members, failure: group(
                kind, *(members if kind == COMBINED else members[:1]), failure=failure
            ),
            st.sampled_from([VALUES, COMBINED, SILENT, FAILED]),
            st.lists(hostile_members, min_size=1, max_size=4),
            st.sampled_from([None, BOOM]),
        ),
        max_size=25,
    )
)
def test_results_that_make_no_sense_raise_nothing_and_leave_the_books_balanced(groups: list[Group]) -> None:
    ledger = ledger_of(8)
    for result in groups:
        ledger.commit(result)
        assert_balanced(ledger)
        assert ledger.submitted == 8
        same_again(ledger)
