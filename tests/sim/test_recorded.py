"""A recorded job is replayed as it ran: what the ledger counted, in the shape that it had."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbnet.errors import UsageError
from lbnet.sim.recorded import PIECE_S, Recorded, Spawning, recorded
from lbnet.sim.work import Task
from lbnet.trace.reader import RecordedJob, Trace
from lbnet.trace.records import Cancelled, Ended, Finished, Opened, Tasks
from lbnet.types import COMBINED, FAILED, SILENT, VALUES, JobId, PeerId, RunId
from tests.trace.traces import SMALL, write

WORKER = PeerId(2)


def values(lo: int, hi: int, seconds: float, *, run: int = 0, children: int = 0, job: int = 1) -> Finished:
    """Items that are done."""
    tasks = Tasks(lo, hi, run=RunId(run), children=children)
    return Finished(JobId(job), WORKER, VALUES, seconds, (tasks,))


def child(
    lo: int, hi: int, seconds: float, of: int, parent: tuple[int, int], kind: int = SILENT, run: int = 0, n: int = 0
) -> Finished:
    """Spawned tasks that are done: those of the run ``of`` of the task ``parent``, an origin and an index."""
    tasks = Tasks(lo, hi, RunId(of), RunId(parent[0]), parent[1], RunId(run), n)
    return Finished(JobId(1), WORKER, kind, seconds, (tasks,))


def a_job(
    *happened: Finished | Cancelled, items: int = 1, state: str = "done", job: int = 1, reduce: bool = False
) -> RecordedJob:
    opened = Opened(JobId(job), "", "sb", "spread", reduce, 0.0)
    return RecordedJob(opened, happened, Ended(JobId(job), state, items, 2, 1.0))


def replay(*happened: Finished | Cancelled, items: int = 1) -> Recorded:
    return Recorded(Trace("", {1: a_job(*happened, items=items)}))


def shape(task: Task) -> object:
    """A task as its seconds, or as a pair of those and of its children."""
    if not isinstance(task, Spawning):
        return task
    seconds = task.run(task.left_s())
    return seconds, [shape(each) for each in task.take_spawned()]


def shapes(workload: Recorded) -> list[object]:
    return [shape(workload.task(index)) for index in range(workload.items)]


# --- what counted ---------------------------------------------------------------------------------


def test_a_flat_list_with_the_seconds_of_a_group_spread_over_its_tasks() -> None:
    workload = replay(values(2, 6, 2.0), values(0, 2, 3.0), items=6)
    assert shapes(workload) == [1.5, 1.5, 0.5, 0.5, 0.5, 0.5]
    assert workload.expected() == 6
    assert not workload.reduce


def test_the_first_result_of_a_task_counts() -> None:
    workload = replay(values(0, 2, 2.0), values(1, 4, 9.0), values(0, 4, 100.0), items=4)
    assert shapes(workload) == [1.0, 1.0, 3.0, 3.0]
    assert workload.expected() == 4


def test_failures_take_their_time() -> None:
    failed = Finished(JobId(1), WORKER, FAILED, 4.0, (Tasks(1, 2),))
    workload = replay(values(0, 1, 1.0), failed, items=2)
    assert shapes(workload) == [1.0, 4.0]
    assert workload.expected() == 2


def test_the_tree_of_tasks_is_rebuilt() -> None:
    workload = replay(
        values(0, 1, 1.0, run=7, children=3),
        child(1, 3, 4.0, 7, (0, 0)),
        child(0, 1, 5.0, 7, (0, 0), run=8, n=1),
        child(0, 1, 6.0, 8, (7, 0)),
        values(1, 2, 9.0),
        items=2,
    )
    assert shapes(workload) == [(1.0, [(5.0, [6.0]), 2.0, 2.0]), 9.0]
    assert workload.expected() == 6


def test_a_child_may_be_reported_before_its_parent() -> None:
    workload = replay(
        child(0, 1, 6.0, 8, (7, 0)),
        child(0, 1, 5.0, 7, (0, 0), run=8, n=1),
        values(0, 1, 1.0, run=7, children=1),
    )
    assert shapes(workload) == [(1.0, [(5.0, [6.0])])]
    assert workload.expected() == 3


def test_children_of_a_run_that_lost_are_no_work() -> None:
    workload = replay(
        child(0, 2, 50.0, 9, (0, 0)),
        values(0, 1, 1.0, run=7, children=1),
        values(0, 1, 80.0, run=9, children=2),
        child(0, 2, 50.0, 9, (0, 0)),
        child(0, 1, 2.0, 7, (0, 0)),
    )
    assert shapes(workload) == [(1.0, [2.0])]
    assert workload.expected() == 2


def test_a_combined_group_counts_as_a_whole_or_not_at_all() -> None:
    both = Finished(JobId(1), WORKER, COMBINED, 8.0, (Tasks(0, 1, RunId(7)), Tasks(2, 3, RunId(7))))
    late = Finished(JobId(1), WORKER, COMBINED, 50.0, (Tasks(1, 2, RunId(7)), Tasks(2, 3, RunId(7))))
    workload = replay(values(0, 1, 1.0, run=7, children=3), both, late, child(1, 2, 2.0, 7, (0, 0), kind=COMBINED))
    assert shapes(workload) == [(1.0, [4.0, 2.0, 4.0])]
    assert workload.expected() == 4


def test_a_task_that_failed_has_no_children() -> None:
    failed = Finished(JobId(1), WORKER, FAILED, 4.0, (Tasks(0, 1, run=RunId(7), children=2),))
    assert shapes(replay(failed, child(0, 2, 1.0, 7, (0, 0)))) == [4.0]


def test_cancelled_items_are_left_out_and_those_behind_them_move_up() -> None:
    workload = replay(
        values(0, 1, 1.0), Cancelled(JobId(1), 1, 3), values(1, 2, 50.0), values(3, 4, 2.0, run=7, children=1),
        child(0, 1, 3.0, 7, (0, 3)), items=4,
    )  # fmt: skip
    assert shapes(workload) == [1.0, (2.0, [3.0])]
    assert workload.items == 2
    assert workload.expected() == 3


def test_of_a_job_that_was_cut_what_has_finished_is_replayed() -> None:
    happened = (values(2, 3, 1.0, run=7, children=5), child(4, 5, 2.0, 7, (0, 2)), values(0, 1, 3.0, run=8, children=1))
    workload = Recorded(Trace("", {1: a_job(*happened, items=9, state="cancelled")}), 1)
    assert shapes(workload) == [3.0, (1.0, [2.0])]


def test_a_deep_chain_needs_no_deep_stack() -> None:
    depth = 20_000
    chain = [values(0, 1, 1.0, run=1, children=1)]
    chain += [child(0, 1, 1.0, n, (n - 1, 0), run=n + 1, n=1) for n in range(1, depth)]
    workload = replay(*chain)
    task, seen = workload.task(0), 1
    while isinstance(task, Spawning):
        task.run(math.inf)
        (task,) = task.take_spawned()
        seen += 1
    assert seen == workload.expected() == depth


# --- the unit -------------------------------------------------------------------------------------


def spawning(seconds: float, children: int) -> Spawning:
    task = replay(
        values(0, 1, seconds, run=7, children=children), *(child(n, n + 1, n + 1.0, 7, (0, 0)) for n in range(children))
    ).task(0)
    assert isinstance(task, Spawning)
    return task


def test_children_appear_evenly_spread_over_the_run() -> None:
    task = spawning(4.0, 3)
    assert task.take_spawned() == []
    for number in range(3):
        assert task.run(0.99) == 0.99
        assert task.take_spawned() == []
        assert task.run(0.01) == 0.01
        assert task.take_spawned() == [number + 1.0]
        assert task.take_spawned() == []
        assert not task.done
    assert task.left_s() == pytest.approx(1.0)
    assert task.run(5.0) == pytest.approx(1.0)
    assert task.done
    assert task.left_s() == 0.0
    assert task.take_spawned() == []
    assert task.result() == 1
    assert task.split() is None


def test_all_children_have_appeared_at_the_end() -> None:
    task = spawning(4.0, 3)
    task.run(4.0)
    assert task.take_spawned() == [1.0, 2.0, 3.0]


def test_a_task_that_took_no_time_is_done_with_all_its_children() -> None:
    task = spawning(0.0, 2)
    assert task.done
    assert task.left_s() == 0.0
    assert task.run(1.0) == 0.0
    assert task.take_spawned() == [1.0, 2.0]


def test_it_runs_for_a_piece_at_least() -> None:
    task = spawning(4.0, 1)
    assert task.run(0.0) == PIECE_S
    assert task.left_s() == 4.0 - PIECE_S


@given(st.floats(1e-6, 1e6), st.integers(1, 50), st.lists(st.floats(0, 1), max_size=30))
def test_however_it_is_run_it_takes_its_seconds_and_every_child_appears_once(
    seconds: float, children: int, budgets: list[float]
) -> None:
    task = spawning(seconds, children)
    ran, seen = 0.0, list(task.take_spawned())
    for budget in [*(each * seconds for each in budgets), math.inf]:
        ran += task.run(budget)
        seen += task.take_spawned()
    assert task.done
    assert ran == pytest.approx(seconds)
    assert seen == [n + 1.0 for n in range(children)]


def test_a_copy_is_on_its_own() -> None:
    task = spawning(4.0, 3)
    task.run(1.5)
    task.take_spawned()
    copied = task.copy()
    assert copied.left_s() == 2.5
    task.run(4.0)
    assert task.take_spawned() == [2.0, 3.0]
    assert not copied.done
    assert copied.take_spawned() == []
    copied.run(0.5)
    assert copied.take_spawned() == [2.0]


def test_an_item_is_a_new_unit_each_time() -> None:
    workload = replay(values(0, 1, 4.0, run=7, children=1), child(0, 1, 1.0, 7, (0, 0)))
    first, second = workload.task(0), workload.task(0)
    assert isinstance(first, Spawning)
    assert isinstance(second, Spawning)
    first.run(4.0)
    assert second.left_s() == 4.0


# --- which job ------------------------------------------------------------------------------------


def jobs(*made: RecordedJob) -> Trace:
    return Trace("", {job.opened.job: job for job in made})


TWO = jobs(
    a_job(values(0, 1, 1.0, job=1), job=1),
    a_job(values(0, 1, 3.0, job=2), job=2, reduce=True),
    a_job(values(0, 1, 9.0, job=3), job=3, state="cancelled"),
    a_job(job=4, items=0),
)


def test_the_finished_job_with_the_most_work_is_chosen() -> None:
    workload = Recorded(TWO)
    assert (workload.job, workload.name, workload.reduce) == (2, "recorded:2", True)
    assert workload.options("sb", "first").reduce == b"sum"


@pytest.mark.parametrize(("job", "seconds"), [(1, 1.0), (2, 3.0), (3, 9.0)])
def test_a_job_may_be_named(job: int, seconds: float) -> None:
    assert shapes(Recorded(TWO, job)) == [seconds]


def said(trace: Trace, job: int | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        Recorded(trace, job)
    return str(caught.value)


def test_what_cannot_be_replayed_is_answered_with_what_can() -> None:
    held = "it holds 1 (done), 2 (done), 3 (cancelled), 4 (done)"
    assert said(TWO, 7) == f"the trace has no job 7: name another one; {held}"
    assert said(TWO, 4) == f"no task of job 4 has finished: replay another one; {held}"
    cut = jobs(a_job(job=3, state="running"))
    assert said(cut) == (
        "no job of the trace has finished: record again, or name one to replay what was done of it; "
        "it holds 3 (running)"
    )
    assert said(jobs()).endswith("; it holds no job at all")
    assert said(jobs(), 1) == "the trace has no job 1: name another one; it holds no job at all"
    many = jobs(*(a_job(job=number) for number in range(40)))
    assert said(many, 99).endswith(
        f"; it holds {', '.join(f'{number} (done)' for number in range(30, 40))}, the last of 40"
    )


# --- from a file ----------------------------------------------------------------------------------


def test_a_file_is_replayed(tmp_path: Path) -> None:
    path = write(tmp_path / "run.jsonl", *SMALL)
    for workload in (recorded(path), recorded(path, 5)):
        assert workload.name == "recorded:näme\n\ud800"
        assert workload.items == 101
        assert workload.expected() == 107
        assert shape(workload.task(100)) == (1.0, [0.25, 0.25, 0.125, 1.0, 2.0, 1.0])
    with pytest.raises(UsageError, match="the trace has no job 6: "):
        recorded(path, 6)


def test_a_file_that_is_no_trace_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the trace"):
        recorded(tmp_path)


# --- size -----------------------------------------------------------------------------------------


def big(groups: int) -> Iterator[Finished]:
    """A million tasks for each ten groups, in no order."""
    rng = random.Random(1)
    order = sorted(range(groups), key=lambda _: rng.random())
    for at in order:
        yield values(at * 100_000, (at + 1) * 100_000, 1.0)


def test_millions_of_tasks_cost_a_few_bytes_each() -> None:
    workload = replay(*big(50), items=5_000_000)
    assert workload.items == workload.expected() == 5_000_000
    assert workload._tasks.seconds.itemsize * workload.items == 40_000_000
    assert workload._tasks.families == {}
    few = sum(workload.task(index) for index in range(0, 5_000_000, 500))  # type: ignore[misc]
    assert few == pytest.approx(10_000 * 1e-5)
