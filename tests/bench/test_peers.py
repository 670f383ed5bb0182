"""Adapters do what they say in the words of their libraries, which need not be here; an absent one is a reason."""

from __future__ import annotations

import csv
import operator
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from bench import catalog
from bench.environments import Environment
from bench.experiments import peers
from bench.harness import LocalSeat, close_all, compare
from bench.peers.base import Adapter, ready, until_ready
from bench.peers.dask import Dask
from bench.peers.futures import grow
from bench.peers.joblib_parallel import Joblib
from bench.peers.lbnet_cluster import LbnetService
from bench.peers.mpi_pool import MpiPool
from bench.peers.parsl_htex import Parsl
from bench.peers.ray_tasks import Ray
from bench.peers.sequential import Sequential
from bench.seats import ProcessSeat
from bench.workload import Kind, Workload

LIST = Workload("doubles", lambda item: 2 * item, range, 10)
TREE = Workload("tree", lambda item: (1, [item // 2, item - item // 2] if item > 1 else []), lambda _: [5, 1, 3], 3,
                kind=Kind.GROWS, reduce=operator.add)  # fmt: skip
THIRD_PARTY = {
    "joblib": Joblib(),
    "distributed": Dask(),
    "ray": Ray(),
    "parsl": Parsl(),
    "mpi4py": MpiPool(),
}


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


class FakeRay:
    """As much of Ray as its adapter uses: references are numbers, and tasks run when they are submitted."""

    def __init__(self) -> None:
        self.values: dict[int, Any] = {}

    def remote(self, fn: Callable[..., Any]) -> Any:
        def submit(*args: Any) -> int:
            self.values[len(self.values)] = fn(*args)
            return len(self.values) - 1

        return SimpleNamespace(remote=submit)

    def get(self, what: Any) -> Any:
        return [self.values[number] for number in what] if isinstance(what, list) else self.values[what]

    def wait(self, references: list[int], num_returns: int) -> tuple[list[int], list[int]]:
        # The newest is ready first.
        return references[-num_returns:], references[:-num_returns]


def ray_of(batch: int) -> tuple[Ray, FakeRay]:
    adapter, library = Ray(batch=batch), FakeRay()
    adapter._ray = library
    return adapter, library


def parsl_of(batch: int, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> tuple[Parsl, list[Any]]:
    submitted: list[Any] = []

    def python_app(fn: Callable[..., Any], data_flow_kernel: Any) -> Callable[..., Future[Any]]:
        def app(*args: Any) -> Future[Any]:
            submitted.append(args)
            return threads.submit(fn, *args)

        return app

    module: Any = ModuleType("parsl")
    module.python_app = python_app
    monkeypatch.setitem(sys.modules, "parsl", module)
    return Parsl(batch=batch), submitted


def joblib_of(batch: int) -> tuple[Joblib, list[dict[str, Any]]]:
    asked: list[dict[str, Any]] = []

    def parallel(**options: Any) -> Callable[[Iterable[Any]], list[Any]]:
        asked.append(options)
        return lambda calls: [call() for call in calls]

    adapter = Joblib(batch=batch)
    adapter._joblib = SimpleNamespace(Parallel=parallel, delayed=lambda fn: lambda item: lambda: fn(item))
    return adapter, asked


# --- what an adapter makes of a workload ----------------------------------------------------------


@pytest.mark.parametrize(("batch", "tasks"), [(0, 10), (3, 4), (100, 1)])
def test_ray_gets_a_task_an_item_or_a_batch_and_results_are_in_order(batch: int, tasks: int) -> None:
    adapter, library = ray_of(batch)
    assert adapter.run(LIST, LIST.items()) == LIST.sequentially(LIST.items())
    assert len(library.values) == tasks


def test_ray_follows_work_that_grows_and_does_single_calls() -> None:
    adapter, _ = ray_of(0)
    assert adapter.run(TREE, TREE.items()) == TREE.sequentially(TREE.items())
    assert adapter.call(abs, -3) == 3


@pytest.mark.parametrize(("batch", "apps"), [(0, 10), (3, 4), (100, 1)])
def test_parsl_gets_an_app_an_item_or_a_batch_and_results_are_in_order(
    batch: int, apps: int, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter, submitted = parsl_of(batch, threads, monkeypatch)
    assert adapter.run(LIST, LIST.items()) == LIST.sequentially(LIST.items())
    assert len(submitted) == apps


def test_parsl_follows_work_that_grows_and_does_single_calls(
    threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter, _ = parsl_of(0, threads, monkeypatch)
    assert adapter.run(TREE, TREE.items()) == TREE.sequentially(TREE.items())
    assert adapter.call(abs, -3) == 3


@pytest.mark.parametrize(("batch", "size"), [(0, "auto"), (1_000, 1_000)])
def test_joblib_chooses_its_batches_unless_told_and_begins_anew_with_each_call(batch: int, size: str | int) -> None:
    adapter, asked = joblib_of(batch)
    assert adapter.run(LIST, LIST.items()) == LIST.sequentially(LIST.items())
    assert adapter.call(abs, -3) == 3
    assert asked == [{"n_jobs": 2, "batch_size": size}] * 2


@pytest.mark.parametrize("chunksize", [1, 3])
def test_the_mpi_pool_is_an_executor(chunksize: int, threads: ThreadPoolExecutor) -> None:
    adapter = MpiPool(chunksize=chunksize)
    adapter._pool = threads
    assert adapter.run(LIST, LIST.items()) == LIST.sequentially(LIST.items())
    assert adapter.run(TREE, TREE.items()) == TREE.sequentially(TREE.items())
    assert adapter.call(abs, -3) == 3


def test_a_step_that_fails_ends_the_loop_over_work_that_grows(threads: ThreadPoolExecutor) -> None:
    def broken(item: int) -> Any:
        raise RuntimeError(f"no {item}")

    with pytest.raises(RuntimeError, match="no 5"):
        grow(TREE, [5], lambda item: threads.submit(broken, item))


# --- who is not there -----------------------------------------------------------------------------


@pytest.mark.parametrize("module", THIRD_PARTY)
def test_an_absent_library_is_a_row_with_a_reason_and_the_rest_goes_on(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter: Adapter = THIRD_PARTY[module]
    for name in (module, "mpi4py.MPI"):
        monkeypatch.setitem(sys.modules, name, None)
    comparison = compare(LIST, [LocalSeat(adapter), LocalSeat(Sequential())], repeats=1)
    absent, there = comparison.rows
    assert absent.reason.startswith(f"cannot import {module}")
    assert absent.reason.endswith("; the comparison of peers installs it")
    assert (absent.measured, there.measured, comparison.failed) == (False, True, False)


def test_all_third_party_peers_are_covered_here() -> None:
    assert {adapter.name for adapter in THIRD_PARTY.values()} == set(peers.NEEDS)


@pytest.mark.parametrize("adapter", THIRD_PARTY.values(), ids=lambda adapter: adapter.name)
def test_what_was_never_started_can_be_stopped(adapter: Adapter) -> None:
    adapter.stop()
    adapter.stop()
    assert adapter.facts() == {}


def test_a_peer_that_cannot_be_installed_is_in_the_files_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peers, "environment", lambda *_: Environment(sys.executable, "no network"))
    chosen = ["--quick", "--workload", "submit", "--peer", "joblib", "--out", str(tmp_path)]
    assert peers.main(chosen) == 0
    assert "- joblib (batch_size='auto'): no network (one submit)" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "peers.csv").read_text().splitlines()))
    assert [(row["peer"], row["reason"]) for row in rows] == [
        ("sequential", ""),
        ("joblib", "no network"),
        ("joblib", "no network"),
    ]


def test_only_environments_that_are_wanted_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def environment(name: str, needs: Any, tell: Any) -> Environment:
        made.append(name)
        return Environment(f"/python of {name}")

    monkeypatch.setattr(peers, "environment", environment)
    assert peers.made({"sequential", "lbnet", "Ray"}) == {"Ray": Environment("/python of Ray")}
    assert made == ["Ray"]


# --- who is ready ---------------------------------------------------------------------------------


def test_a_slot_that_is_ready_has_the_workloads_and_says_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "bench.catalog")
    assert ready(0.0) == os.getpid()
    assert "bench.catalog" in sys.modules


def test_naps_are_repeated_until_every_slot_has_answered() -> None:
    answers = iter([[1, 1], [1, 1], [1, 2]])
    until_ready(2, lambda count: next(answers)[:count])
    assert next(answers, None) is None


def test_a_slot_that_never_answers_is_an_error() -> None:
    with pytest.raises(TimeoutError, match="1 of 2 processes"):
        until_ready(2, lambda _: [7], limit_s=0.01)


# --- lbnet as its commands start it ---------------------------------------------------------------


def test_a_cluster_of_the_command_line_does_every_kind_and_leaves_nothing_in_the_users_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    seats = [ProcessSeat(Sequential()), ProcessSeat(LbnetService(1))]
    try:
        for workload in (catalog.noop(100), catalog.subtrees(4)):
            assert [row.reason for row in compare(workload, seats, repeats=1).rows] == ["", ""]
    finally:
        close_all(seats)
    assert list(tmp_path.iterdir()) == []
