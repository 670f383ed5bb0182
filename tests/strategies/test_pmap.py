"""The classical baseline: one item at a time, to whoever is free."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet.strategies.base import TellIdle, WorkerView
from lbnet.strategies.pmap import ParallelMap
from tests.core.team import JOB, Team
from tests.strategies.views import Board, view_of


@pytest.mark.parametrize("tasks", [1, 2, 1_000_000])
def test_the_controller_grants_one_item(tasks: int) -> None:
    assert ParallelMap().controller().grant(tasks) == 1


def test_nobody_is_paired_and_nobody_asked_to_split() -> None:
    board = Board(5, idle={2: 0.0, 3: 0.0}, offers={1: 9.0, 4: 9.0})
    assert board.follow(ParallelMap().controller()) == []


def decides(view: WorkerView) -> list[object]:
    return list(ParallelMap().worker().balance(view))


def test_idle_is_said_when_a_slot_is_free_and_not_before() -> None:
    assert decides(view_of(free_slots=1, told_idle_s=None)) == [TellIdle()]
    assert decides(view_of(free_slots=0, told_idle_s=None)) == []
    assert decides(view_of(free_slots=1, told_idle_s=0.0)) == []


@settings(derandomize=True, deadline=None)
@given(
    free=st.integers(0, 2),
    surplus_s=st.floats(0, 100),
    told=st.sampled_from([None, 0.0, 0.01]),
    work=st.booleans(),
)
def test_nothing_else_is_ever_said(free: int, surplus_s: float, told: float | None, work: bool) -> None:
    view = view_of(
        slots=2, free_slots=free, surplus_s=surplus_s, stock_s=surplus_s, told_idle_s=told, work_exists=work,
        unit_completed=True, idle_peers=view_of().peers,
    )  # fmt: skip
    assert decides(view) in ([], [TellIdle()])


def test_no_worker_ever_holds_more_than_it_runs_and_nothing_moves() -> None:
    at = Team(3, "pmap", placement="spread")
    at.submit(20)
    for _ in range(100):
        assert all(at.tasks(peer) <= 1 for peer in at.posts)
        if not sum(at.finish(peer, 1e-6) for peer in (1, 2, 3, 1)):
            break
    job = at.controller.job(JOB)
    assert job is not None
    assert job.state == "done"
    assert at.between_workers() == {}
    assert at.kinds()["SendWork"] == 20
    assert at.kinds()["Match"] == at.kinds()["Hungry"] == 0


def test_what_a_task_spawns_stays_where_it_is() -> None:
    at = Team(2, "pmap", placement="spread")
    at.submit(1)
    at.spawn(1, 8)
    at.advance(10.0)
    assert (at.tasks(1), at.tasks(2)) == (9, 0)
    assert at.run_out() == {1: 9}
