from __future__ import annotations

from lbnet import limits
from lbnet.sim.book import Book
from lbnet.sim.groups import Entry, counted, groups_of, plain_groups
from lbnet.types import COMBINED, ROOT, SILENT, VALUES, Batch, JobId, Payload, RunId
from tests.sim.work import Flat

BOOK = Book(Flat(100, 1.0))
ITEMS = Batch(JobId(1), ROOT, 0, 100, 0, ROOT, 0, Payload(0, 100, b"f", b""))
SPAWNED = Batch(JobId(1), RunId(5), 0, 100, 7, ROOT, 7, Payload(0, 100, b"f", b""))


def _entries(*values: tuple[int, int, int]) -> list[Entry]:
    return [Entry(index, value, RunId(run), 0.5) for index, value, run in values]


def _shape(groups):
    return [
        (
            group.kind,
            group.data.strip(b" \0"),
            [(member.lo, member.hi, member.run) for member in group.members],
            group.seconds,
        )
        for group in groups
    ]


def test_items_have_a_value_each():
    groups = groups_of(BOOK, ITEMS, _entries((3, 8, 0), (4, 9, 0), (5, 1, 0)), reduce=True)
    assert _shape(groups) == [(VALUES, b"8,9,1", [(3, 6, 0)], 1.5)]
    assert [counted(groups[0].data, first, count) for first, count in ((0, 3), (1, 1), (2, 1))] == [18, 9, 1]


def test_parents_stand_alone_and_spawned_values_are_combined():
    entries = _entries((0, 2, 0), (1, 3, 77), (2, 4, 0), (3, 5, 0))
    assert _shape(groups_of(BOOK, ITEMS, entries, reduce=True)) == [
        (VALUES, b"2", [(0, 1, 0)], 0.5),
        (COMBINED, b"3", [(1, 2, 77)], 0.5),
        (VALUES, b"4,5", [(2, 4, 0)], 1.0),
    ]
    assert _shape(groups_of(BOOK, SPAWNED, entries, reduce=True)) == [
        (COMBINED, b"3", [(1, 2, 77)], 0.5),
        (COMBINED, b"11", [(0, 1, 0), (2, 4, 0)], 1.5),
    ]
    assert [group.kind for group in groups_of(BOOK, SPAWNED, entries, reduce=False)] == [SILENT, SILENT, SILENT]
    assert [group.kind for group in groups_of(BOOK, ITEMS, entries, reduce=False)] == [VALUES, VALUES, VALUES]


def test_plain_tasks_count_one_each():
    (group,) = plain_groups(BOOK, ITEMS, 10, 40, 3.0, reduce=False)
    assert (group.kind, len(group.data), counted(group.data, 5, 25)) == (VALUES, 30 * BOOK.workload.result_bytes, 25)
    (group,) = plain_groups(BOOK, SPAWNED, 10, 40, 3.0, reduce=True)
    assert (group.kind, int(group.data), group.members[0].root) == (COMBINED, 30, 7)
    (group,) = plain_groups(BOOK, SPAWNED, 10, 40, 3.0, reduce=False)
    assert (group.kind, group.data) == (SILENT, b"")


def test_large_results_travel_in_portions():
    workload = Flat(100, 1.0)
    workload.result_bytes = limits.LINK_BUFFER_HIGH_BYTES // 10
    groups = plain_groups(Book(workload), ITEMS, 0, 25, 5.0, reduce=False)
    assert [(group.members[0].lo, group.members[0].hi) for group in groups] == [(0, 10), (10, 20), (20, 25)]
    assert sum(group.seconds for group in groups) == 5.0
