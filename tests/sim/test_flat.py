"""Lists of durations as workloads."""

from __future__ import annotations

from lbnet.sim.flat import Flat
from lbnet.sim.work import Unit


def test_tasks_are_the_durations_in_order() -> None:
    work = Flat("some", [0.5, 0.25, 1e-9])
    assert work.items == 3
    assert [work.task(index) for index in range(3)] == [0.5, 0.25, 1e-9]
    assert not isinstance(work.task(0), Unit)


def test_each_result_counts_one_and_is_not_combined() -> None:
    work = Flat("some", (0.001 for _ in range(7)))
    assert work.expected() == 7
    assert work.name == "some"
    assert work.options("sb", "first").reduce == b""


def test_no_tasks_are_a_workload() -> None:
    work = Flat("none", [])
    assert work.items == work.expected() == 0
