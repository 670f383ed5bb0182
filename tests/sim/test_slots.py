"""A slot where cores are shared: what wakes it up has to wait for one."""

from __future__ import annotations

import pytest

from lbnet import limits
from lbnet.core.events import SlotFinished
from lbnet.sim.costs import Costs
from lbnet.sim.work import Workload
from tests.sim.slot_owner import SlotOwner
from tests.sim.work import Flat, Sum, Units

ONE = Costs(ticket_s=0.001, wake_s=0.01, task_s=0.0, pipe_s=0.0, host_cores=1)
TASK_S = 1.0


def tasks(count: int, costs: Costs = ONE) -> SlotOwner:
    return SlotOwner(Flat(count, TASK_S), costs)


def taken(owner: SlotOwner, seconds: float) -> None:
    """Somebody else has the only core for so long from now on."""
    assert owner.cores is not None
    owner.cores.spend(seconds, lambda: None)


def ends(owner: SlotOwner) -> list[float]:
    """When the slot ended its tickets."""
    return [when for when, event in owner.said if isinstance(event, SlotFinished)]


def test_the_batch_and_the_end_of_its_task_each_wake_the_slot() -> None:
    owner = tasks(1)
    owner.run(0, 1)
    owner.until(2)
    assert ends(owner) == [pytest.approx(0.01 + 0.001 + TASK_S + 0.01)]


def test_without_shared_cores_nothing_is_paid_for_waking_up() -> None:
    owner = tasks(1, Costs(ticket_s=0.001, wake_s=0.01, task_s=0.0, pipe_s=0.0))
    owner.run(0, 1)
    owner.until(2)
    assert ends(owner) == [pytest.approx(0.001 + TASK_S)]


def test_a_batch_waits_for_a_core_to_begin_on() -> None:
    owner = tasks(1)
    taken(owner, 0.5)
    owner.run(0, 1)
    owner.until(0.5)
    assert owner.running == 0
    owner.until(2)
    assert ends(owner) == [pytest.approx(0.5 + 0.01 + 0.001 + TASK_S + 0.01)]


def test_a_task_that_has_slept_waits_for_a_core_to_end_on() -> None:
    owner = tasks(1)
    owner.run(0, 1)
    owner.until(0.9)
    taken(owner, 0.5)
    owner.until(2)
    assert ends(owner) == [pytest.approx(0.9 + 0.5 + 0.01)]


def test_a_task_that_runs_holds_no_core() -> None:
    owner = tasks(1)
    owner.run(0, 1)
    owner.until(0.1)
    free: list[float] = []
    assert owner.cores is not None
    owner.cores.want(lambda: free.append(owner.engine.now))
    assert free == [owner.engine.now]


def test_the_next_ticket_begins_on_the_core_where_the_one_before_has_ended() -> None:
    owner = tasks(2)
    owner.run(0, 1)
    owner.run(1, 2, ticket=2)
    first = 0.01 + 0.001 + TASK_S + 0.01
    owner.until(first - 0.005)
    # It has the core now; whoever wants it meanwhile waits until the second ticket has begun, too.
    taken(owner, 0.5)
    owner.until(3)
    assert ends(owner) == [pytest.approx(first), pytest.approx(first + 0.001 + TASK_S + 0.01)]


@pytest.mark.parametrize("workload", [Flat(4, TASK_S), Units(4, Sum(10, TASK_S / 10))])
def test_tasks_can_be_taken_back_while_their_slot_waits_for_a_core(workload: Workload) -> None:
    owner = SlotOwner(workload, ONE)
    owner.run(0, 4)
    owner.until(0.9)
    taken(owner, 0.5)
    owner.until(1.2)
    upto = owner.slot.reclaim(1, 1)
    owner.until(1.2 + 0.5 + limits.RESULT_FLUSH_S)
    assert upto == 1
    assert [event.ran_to for _, event in owner.said if isinstance(event, SlotFinished)] == [1]


def test_a_slot_whose_worker_is_dead_says_nothing_and_gives_its_core_back() -> None:
    owner = tasks(1)
    owner.run(0, 1)
    owner.until(0.005)
    owner.alive = False
    owner.until(2)
    assert owner.running == 0
    assert owner.said == []
    free: list[float] = []
    assert owner.cores is not None
    owner.cores.want(lambda: free.append(owner.engine.now))
    assert free == [owner.engine.now]
