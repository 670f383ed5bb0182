"""A ticket of units: quanta, splits, what is not stepped, and what it all adds up to."""

from __future__ import annotations

import random

import pytest

from lbnet import limits
from lbnet.core.events import SlotDone, SlotSpawned
from lbnet.sim.work import Unit
from lbnet.types import COMBINED, ROOT, SILENT, VALUES
from lbnet.work import UNIT_BUDGET_S
from tests.sim.slot_owner import FIRST_RUN, SlotOwner
from tests.sim.work import Node, Stepped, Sum, Units

PIECE_S = UNIT_BUDGET_S / 8


def _owner(*units: Unit | float, reduce: bool = True, speed: float = 1.0) -> SlotOwner:
    return SlotOwner(Units(len(units), *units, reduce=reduce), speed=speed)


def _groups(owner: SlotOwner) -> list[tuple[int, bytes]]:
    return [
        (group.kind, group.data.strip())
        for _, event in owner.said
        if isinstance(event, SlotDone)
        for group in event.groups
    ]


def test_a_unit_that_nobody_wants_a_part_of_is_one_event():
    owner = _owner(Sum(8000, PIECE_S))
    owner.run(0, 1)
    owner.engine.run()
    assert owner.finished() == [(pytest.approx(8000 * PIECE_S), 1)]
    assert _groups(owner) == [(VALUES, b"8000")]
    assert owner.engine.events < 5


@pytest.mark.parametrize("seed", range(60))
def test_one_that_is_not_stepped_does_what_stepping_does(seed: int):
    draw = random.Random(f"units {seed}").random
    sizes = [int(1 + 2000 * draw() ** 3) for _ in range(int(1 + 6 * draw()))]
    speed = (0.5, 1.0, 2.0)[int(3 * draw())]  # whole pieces make a quantum
    changes = sorted(draw() * sum(sizes) * PIECE_S for _ in range(int(6 * draw())))
    seen = []
    for kind in (Sum, Stepped):
        owner = _owner(*(kind(size, PIECE_S) for size in sizes), speed=speed)
        owner.run(0, len(sizes))
        for number, when in enumerate(changes):
            owner.until(when)
            owner.feed(number % 2 == 0)
        owner.feed(hungry=False)
        owner.engine.run()
        said = [(event.upto, event.groups) for _, event in owner.said if isinstance(event, SlotDone)]
        seen.append(
            (
                [(batch.origin, batch.lo, batch.hi) for _, batch in owner.spawned()],
                [upto for upto, _ in said],
                [[(group.kind, group.data, group.members) for group in groups] for _, groups in said],
                owner.finished()[0][1],
            )
        )
        times = [when for when, _ in owner.said]
        assert seen[0] == seen[-1]
        if kind is Sum:
            lazily, events = times, owner.engine.events
        else:
            assert times == pytest.approx(lazily, abs=2e-9)
            assert owner.engine.events >= events


def test_hunger_splits_at_the_end_of_the_quantum_and_after_each_one():
    owner = _owner(Sum(1 << 14, PIECE_S))
    owner.run(0, 1)
    owner.until(100.5 * UNIT_BUDGET_S)
    owner.feed(hungry=True)
    owner.until(103.5 * UNIT_BUDGET_S)
    owner.feed(hungry=False)
    owner.engine.run()
    (first, half), *others = owner.spawned()
    assert [first, *(when for when, _ in others)] == pytest.approx(
        [number * UNIT_BUDGET_S for number in (101, 102, 103)]
    )
    assert [batch.lo for _, batch in others] == [1, 2]
    assert (half.origin, half.root, half.parent_origin, half.parent_index) == (FIRST_RUN, 0, ROOT, 0)
    ((kind, data),) = _groups(owner)
    given = sum(owner.book.tasks(batch.origin, batch.payload).tasks[0].pieces for _, batch in owner.spawned())
    assert (kind, int(data) + given) == (COMBINED, 1 << 14)


def test_spawned_tasks_leave_before_their_parent_and_soon():
    owner = _owner(Node(1, 3, 0.0002), Node(2, 2, 0.0002), Node(0, 0, 0.5))
    owner.run(0, 3)
    owner.engine.run()
    order = [type(event) for _, event in owner.said]
    assert order.index(SlotSpawned) < order.index(SlotDone)
    assert [(batch.origin, len(batch)) for _, batch in owner.spawned()] == [(FIRST_RUN, 3), (FIRST_RUN + 1, 2)]
    assert max(when for when, _ in owner.spawned()) < 0.0002 * 2 + limits.SPAWN_FLUSH_S + 1e-6
    # The third lasts: the results before it leave beside it.
    assert owner.done()[-2][0] < 1.5 * limits.RESULT_FLUSH_S
    assert [kind for kind, _ in _groups(owner)] == [COMBINED, COMBINED, VALUES]


def test_values_of_spawned_tasks_are_combined():
    owner = _owner(Sum(10, 0.0001))
    tasks = [Sum(2, 0.0001), Node(1, 2, 0.0001), Sum(3, 0.0001), Sum(4, 0.0001)]
    owner.book.spawned(FIRST_RUN, 0, tasks)
    owner.run(0, 1, ticket=9)
    owner.feed(hungry=False)
    from lbnet.types import Batch, JobId, Payload, RunId

    batch = Batch(JobId(7), RunId(FIRST_RUN), 0, 4, 5, ROOT, 5, Payload(0, 4, b"f", b""))
    owner.run(0, 4, batch=batch)
    owner.engine.run()
    groups = [
        group for _, event in owner.said if isinstance(event, SlotDone) and event.ticket == 1 for group in event.groups
    ]
    assert sum(int(group.data) for group in groups) == 2 + 1 + 3 + 4
    assert {group.kind for group in groups} == {COMBINED}
    covered = sorted((member.lo, member.hi, member.run) for group in groups for member in group.members)
    assert [hi - lo for lo, hi, run in covered if run != ROOT] == [1]
    assert sum(hi - lo for lo, hi, _ in covered) == 4
    assert all(member.root == 5 for group in groups for member in group.members)


def test_without_reduce_spawned_tasks_are_silent():
    owner = _owner(Node(1, 2, 0.0001), reduce=False)
    owner.run(0, 1)
    owner.engine.run()
    assert _groups(owner) == [(VALUES, b"1")]
    ((_, batch),) = owner.spawned()
    owner.run(0, 2, ticket=2, batch=batch)
    owner.engine.run()
    assert {kind for kind, _ in _groups(owner)[1:]} == {SILENT}


def test_a_task_that_is_run_again_starts_anew():
    owner = _owner(Sum(100, 0.001))
    for ticket in (1, 2):
        owner.run(0, 1, ticket)
    owner.engine.run()
    assert _groups(owner) == [(VALUES, b"100"), (VALUES, b"100")]


def test_what_is_let_go_beside_a_long_unit_can_be_taken_back():
    owner = _owner(*[0.00002] * 3, Sum(1000, 0.001), *[0.00002] * 8)
    owner.run(0, 12)
    owner.until(0.75 * limits.RESULT_FLUSH_S)
    assert owner.slot.reclaim(1, 12) == 12
    owner.until(1.1 * limits.RESULT_FLUSH_S)
    assert owner.slot.reclaim(1, 0) == 4
    owner.engine.run()
    assert owner.finished() == [(pytest.approx(1.00006), 4)]


def test_a_dead_worker_hears_nothing():
    owner = _owner(0.001, Sum(1000, 0.001))
    owner.run(0, 2)
    owner.until(0.01)
    said = len(owner.said)
    owner.alive = False
    owner.engine.run()
    assert len(owner.said) == said
