"""Entries of finished tasks to groups: every task is in one group, with its value and its share of the time."""

from __future__ import annotations

import operator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbnet import limits, pickling
from lbnet.errors import ResultSerializeError
from lbnet.pool.results import FOLDED, Combined, Failed, Parent, frozen, groups_of
from lbnet.types import COMBINED, FAILED, ROOT, SILENT, VALUES, Batch, Failure, Group, JobId, Payload, RunId
from tests.pool import slot_tasks

FAILURE = Failure("exception", "ValueError: no", "", "here", b"")
ITEMS = Batch(JobId(1), ROOT, 10, 1_000, 0, ROOT, 0, Payload(0, 1_000, b"f", b""))
SPAWNED = Batch(JobId(1), RunId(77), 10, 1_000, 4, RunId(66), 5, Payload(0, 1_000, b"f", b""))


def combined_of(batch: Batch) -> Combined:
    return Combined(batch, "here")


def indices(groups: list[Group]) -> list[int]:
    return [index for group in groups for member in group.members for index in range(member.lo, member.hi)]


def values(groups: list[Group]) -> dict[int, Any]:
    found = {}
    for group in groups:
        if group.kind in {VALUES, COMBINED}:
            reader = pickling.load_values(group.data)
            found.update({group.members[0].lo + place: reader.get(place) for place in range(len(reader))})
    return found


# --- groups -----------------------------------------------------------------------------------------

plain = st.none() | st.integers() | st.text(max_size=5) | st.tuples(st.integers(), st.binary(max_size=5))
entry = st.one_of(
    plain,
    plain,
    st.lists(st.integers(), max_size=3).map(lambda value: frozen(value, "here")),
    st.just(FOLDED),
    st.builds(Failed, st.just(FAILURE)),
    st.builds(Parent, st.integers(1, 99).map(RunId), st.sampled_from([VALUES, COMBINED, SILENT]), plain),
)


def value_of(one: Any) -> Any:
    if isinstance(one, Parent):
        return value_of(one.value)
    return pickling.load_values(pickling.dump_values([one]).data).get(0)


@given(entries=st.lists(entry, min_size=1, max_size=30), first=st.integers(0, 900), seconds=st.floats(0, 1e6))
def test_every_task_is_in_one_group_with_its_value_and_its_time(entries: list[Any], first: int, seconds: float) -> None:
    combined = combined_of(ITEMS)
    groups = groups_of(ITEMS, first, entries, seconds, combined)
    expected = {}
    for index, one in enumerate(entries, first):
        if one is not FOLDED and type(one) is not Failed and not (type(one) is Parent and one.kind == SILENT):
            expected[index] = value_of(one)
    assert values(groups) == expected
    assert indices(groups) == [index for index, one in enumerate(entries, first) if one is not FOLDED]
    assert sum(group.seconds for group in groups) + combined.seconds == pytest.approx(seconds)
    failed = {group.members[0].lo for group in groups if group.kind == FAILED}
    assert failed == {index for index, one in enumerate(entries, first) if type(one) is Failed}
    runs = {member.lo: member.run for group in groups for member in group.members if member.run != ROOT}
    assert runs == {index: one.run for index, one in enumerate(entries, first) if type(one) is Parent}


def test_neighbours_share_a_group_and_special_ones_stand_alone() -> None:
    entries = [1, 2, Failed(FAILURE), 3, Parent(RunId(9), SILENT, None), 4, 5]
    groups = groups_of(ITEMS, 20, entries, 7.0, combined_of(ITEMS))
    shape = [(g.kind, g.members[0].lo, g.members[0].hi, g.seconds) for g in groups]
    assert shape == [
        (VALUES, 20, 22, 2.0),
        (FAILED, 22, 23, 1.0),
        (VALUES, 23, 24, 1.0),
        (SILENT, 24, 25, 1.0),
        (VALUES, 25, 27, 2.0),
    ]
    assert groups[1].failure == FAILURE
    assert groups[3].members[0].run == 9


def test_items_descend_from_themselves_and_spawned_tasks_from_their_item() -> None:
    (member,) = groups_of(ITEMS, 20, [1], 1.0, combined_of(ITEMS))[0].members
    assert (member.origin, member.root, member.run) == (ROOT, 20, ROOT)
    (group,) = groups_of(SPAWNED, 20, [None, None], 1.0, combined_of(SPAWNED))
    (member,) = group.members
    assert (group.kind, group.data) == (SILENT, b"")
    assert (member.origin, member.lo, member.hi, member.root) == (77, 20, 22, 4)
    assert (member.parent_origin, member.parent_index, member.run) == (66, 5, ROOT)


def test_large_values_do_not_share_one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each may fill a frame: together they would not fit one.
    monkeypatch.setattr(limits, "LINK_BUFFER_HIGH_BYTES", 10_000)
    entries = [b"a" * 6_000, frozen(bytearray(6_000), ""), 1, 2, ("b" * 20_000,), 3, b"c" * 4_000, b"d" * 4_000]
    groups = groups_of(ITEMS, 0, entries, 8.0, combined_of(ITEMS))
    assert [(g.members[0].lo, g.members[0].hi) for g in groups] == [(0, 1), (1, 4), (4, 5), (5, 8)]
    assert [g.seconds for g in groups] == [1, 3, 1, 3]
    assert values(groups) == {0: b"a" * 6_000, 1: bytearray(6_000), **dict(enumerate(entries[2:], 2))}


def test_many_short_values_share_one_group() -> None:
    (group,) = groups_of(ITEMS, 0, [True] * 900, 1.0, combined_of(ITEMS))
    assert values([group]) == dict.fromkeys(range(900), True)


@pytest.fixture
def short_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickling, "_VALUE_BYTES_MAX", 10_000)
    monkeypatch.setattr(limits, "LINK_BUFFER_HIGH_BYTES", 5_000)


def test_a_value_that_fits_no_frame_fails_its_task_alone(short_frames: None) -> None:
    entries = [1, b"x" * 20_000, Parent(RunId(5), VALUES, b"y" * 20_000), "z"]
    groups = groups_of(ITEMS, 0, entries, 4.0, combined_of(ITEMS))
    assert [g.kind for g in groups] == [VALUES, FAILED, FAILED, VALUES]
    assert values(groups) == {0: 1, 3: "z"}
    for group in groups[1:3]:
        assert group.failure is not None
        assert group.failure.kind == "ResultSerializeError"
        assert "the limit is 10,000" in group.failure.message
        assert group.members[0].run == ROOT


# --- combined values --------------------------------------------------------------------------------


def test_values_are_combined_and_their_tasks_committed_together() -> None:
    combined = combined_of(SPAWNED)
    assert combined.take() == []
    for index in (10, 11, 12, 20, 22, 23):
        assert combined.fold(index, index, operator.add) == []
    combined.seconds = 3.0
    (group,) = combined.take()
    assert group.kind == COMBINED
    assert pickling.load_values(group.data).get(0) == 98
    assert [(m.lo, m.hi, m.root, m.origin) for m in group.members] == [
        (10, 13, 4, 77),
        (20, 21, 4, 77),
        (22, 24, 4, 77),
    ]
    assert group.seconds == 3.0
    assert combined.take() == []
    assert combined.seconds == 0


@given(st.lists(st.tuples(st.integers(1, 3), st.booleans()), max_size=20))
def test_what_is_taken_in_pieces_is_the_whole(steps: list[tuple[int, bool]]) -> None:
    combined = combined_of(SPAWNED)
    groups: list[Group] = []
    index = 10
    expected = []
    for gap, take in steps:
        expected.append(index)
        assert combined.fold(index, (index,), operator.add) == []
        index += gap
        if take:
            groups += combined.take()
    groups += combined.take()
    assert indices(groups) == expected
    assert sum((pickling.load_values(g.data).get(0) for g in groups), ()) == tuple(expected)


def test_a_reduce_that_raises_fails_all_that_is_in_it() -> None:
    combined = combined_of(SPAWNED)
    combined.fold(10, 1, operator.add)
    combined.fold(11, 2, operator.add)
    combined.seconds = 3.0
    groups = combined.fold(13, "three", operator.add)
    assert [g.kind for g in groups] == [FAILED] * 3
    assert indices(groups) == [10, 11, 13]
    assert sum(g.seconds for g in groups) == pytest.approx(3.0)
    for group in groups:
        assert group.failure is not None
        assert group.failure.kind == "exception"
        assert "unsupported operand" in group.failure.message
        assert group.failure.where == "here"
    # It begins anew with the next value.
    assert combined.fold(14, 4, operator.add) == []
    (group,) = combined.take()
    assert indices([group]) == [14]


@pytest.mark.parametrize("value", [slot_tasks.Unpicklable(), slot_tasks.PickledByInterrupt()], ids=["error", "Ctrl-C"])
def test_a_combined_value_that_cannot_be_pickled_fails_all_that_is_in_it(value: object) -> None:
    combined = combined_of(SPAWNED)
    combined.fold(10, value, slot_tasks.keep_left)
    combined.fold(11, 0, slot_tasks.keep_left)
    groups = combined.take()
    assert [g.kind for g in groups] == [FAILED, FAILED]
    assert all(g.failure is not None and g.failure.kind == "ResultSerializeError" for g in groups)
    assert combined.take() == []


def test_a_combined_value_that_fits_no_frame_fails(short_frames: None) -> None:
    combined = combined_of(SPAWNED)
    combined.fold(10, b"x" * 20_000, operator.add)
    (group,) = combined.take()
    assert group.failure is not None
    assert group.failure.kind == "ResultSerializeError"


# --- freezing ---------------------------------------------------------------------------------------


def test_a_frozen_value_is_a_copy_of_now() -> None:
    value = [1]
    entry = frozen(value, "here")
    value.append(2)
    assert pickling.load_values(pickling.dump_values([entry]).data).get(0) == [1]


def test_plain_values_stay_themselves() -> None:
    for value in (None, 1, "a", (1, b"b")):
        assert frozen(value, "here") is value


def test_a_value_that_cannot_be_pickled_is_a_failure_with_its_traceback() -> None:
    entry = frozen(slot_tasks.Unpicklable(), "here")
    assert type(entry) is Failed
    failure = entry.failure
    assert (failure.kind, failure.where, failure.data) == ("ResultSerializeError", "here", b"")
    assert "a result of type Unpicklable cannot be pickled: ValueError: no pickles here" in failure.message
    assert "__reduce__" in failure.traceback
    error = pickling.load_exception(failure.kind, failure.message, failure.traceback, failure.where, failure.data)
    assert type(error) is ResultSerializeError
