"""``lbnet.simulate``: what it takes, and that it says what is wrong with it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import lbnet
from lbnet.errors import UsageError
from lbnet.sim.api import simulate
from lbnet.sim.costs import Costs
from lbnet.sim.workloads import workload
from lbnet.strategies import registry
from lbnet.strategies.base import Strategy, TellIdle, WorkerDecision, WorkerStrategy, WorkerView
from lbnet.strategies.rp import RandomPolling
from tests.sim.work import Flat, Sum, Units

FLAT = "flat:lognormal:200:1ms"


class _Lazy(WorkerStrategy):
    def balance(self, view: WorkerView) -> Iterable[WorkerDecision]:
        if view.idle_is_news:
            yield TellIdle()


class Lonely(Strategy):
    """Nobody gives anything to anybody."""

    name = "lonely"

    def worker(self) -> WorkerStrategy:
        return _Lazy()


class Nameless(Strategy):
    pass


class Broken(Strategy):
    name = "broken"

    def __init__(self, number: int) -> None:
        self.number = number


def test_it_is_a_name_of_the_package() -> None:
    assert lbnet.simulate is simulate


def test_the_example_of_its_docstring_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate.__doc__ is not None
    example = textwrap.dedent(simulate.__doc__.split("Example::\n")[1])
    exec(example, {"lbnet": lbnet})
    assert " s, efficiency 0." in capsys.readouterr().out


def test_a_text_and_its_object_are_the_same_job() -> None:
    by_text = simulate(FLAT, workers=4, seed=3)
    assert by_text.workload == FLAT
    assert by_text.total == by_text.expected == 200
    assert (by_text.workers, by_text.seed, by_text.report.strategy) == (4, 3, registry.DEFAULT)
    assert simulate(workload(FLAT, seed=3), workers=4, seed=3).digest == by_text.digest
    assert simulate(FLAT, workers=4, seed=4).digest != by_text.digest


def test_an_own_workload_is_run() -> None:
    result = simulate(Flat(30, 0.001), workers=2)
    assert result.total == 30
    assert result.report.busy_s == pytest.approx(0.03, rel=1e-3)


@pytest.mark.parametrize(
    ("given", "placement", "found"),
    [
        (Units(1, Sum(100, 1e-3)), None, "first"),
        (Units(2, Sum(100, 1e-3)), None, "spread"),
        (Units(1, Sum(100, 1e-3)), "spread", "spread"),
        (Units(2, Sum(100, 1e-3)), "first", "first"),
    ],
)
def test_work_that_begins_as_one_task_begins_at_the_first_worker(
    given: Units, placement: str | None, found: str
) -> None:
    assert simulate(given, workers=2, placement=placement).report.placement == found


# --- strategies -----------------------------------------------------------------------------------


def test_a_strategy_is_a_name_a_class_an_object_or_where_it_can_be_imported() -> None:
    results = [
        simulate(FLAT, workers=4, strategy=strategy)
        for strategy in ("rp", RandomPolling, RandomPolling(), "lbnet.strategies.rp:RandomPolling")
    ]
    assert [result.report.strategy for result in results] == ["rp", "rp", "rp", "lbnet.strategies.rp:RandomPolling"]
    assert len({result.makespan_s for result in results}) == 1
    assert results[0].makespan_s != simulate(FLAT, workers=4, strategy="sb").makespan_s


def test_an_own_strategy_decides() -> None:
    def moved(strategy: str | type[Strategy]) -> int:
        result = simulate("divisible:1000:1ms", workers=4, strategy=strategy)
        assert result.total == 1_000
        return sum(worker.batches_received for worker in result.report.workers)

    assert moved(Lonely) == 0
    assert moved("sb") > 0


@pytest.mark.parametrize(
    ("strategy", "sentence"),
    [
        ("nonsense", "there is no strategy 'nonsense'; there are: .*sb"),
        ("no_such_module:Mine", "cannot be imported: ModuleNotFoundError"),
        ("lbnet.errors:UsageError", "cannot be used: a strategy is an object or a subclass of lbnet.Strategy"),
        (Nameless, "has no name"),
        (Broken, "cannot be made without arguments"),
        (7, "a strategy is an object or a subclass of lbnet.Strategy, not 7"),
    ],
)
def test_what_is_no_strategy_is_refused(strategy: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        simulate(FLAT, workers=2, strategy=strategy)


# --- the rest -------------------------------------------------------------------------------------


def test_costs_are_an_object_or_a_file(tmp_path: Path) -> None:
    slow = Costs(latency_s=0.01)
    path = tmp_path / "costs.json"
    slow.save(path)
    expected = simulate(FLAT, workers=2, costs=slow).digest
    assert simulate(FLAT, workers=2, costs=path).digest == expected
    assert simulate(FLAT, workers=2, costs=str(path)).digest == expected
    assert simulate(FLAT, workers=2).digest != expected


def test_workers_have_speeds_and_join_and_leave_and_are_watched() -> None:
    result = simulate(
        "divisible:1000:1ms", workers=2, speeds=[1, 1, 0.5], joins=[0.1], leaves=[(0.2, 1)], slots=2, timeline=True
    )
    assert result.total == 1_000
    assert result.report.slots >= 4
    assert result.timeline is not None
    assert len(result.timeline) == 3
    assert result.timeline[2][0][0] == pytest.approx(0.1)
    when, state = result.timeline[1][-1]
    assert when == pytest.approx(0.2)
    assert state == "left"
    assert simulate(FLAT, workers=2).timeline is None


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"workload": "oak"}, "there is no workload 'oak'; there are: flat"),
        ({"workload": 7}, "a workload is a text such as uts:T1, or an object of lbnet.sim.work.Workload, not 7"),
        ({"seed": -1}, "seed must be a whole number, 0 or more; it is -1"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"seed": True}, "seed must be a whole number"),
        ({"workers": 0}, "workers must be a whole number"),
        ({"slots": 0}, "slots must be a whole number"),
        ({"placement": "last"}, "placement must be one of spread, first; it is 'last'"),
        ({"costs": 7}, "costs are an object of lbnet.sim.costs.Costs or the path of a JSON file, not 7"),
        ({"costs": "/no/such/file"}, "costs cannot be read from /no/such/file"),
        ({"speeds": [1]}, "speeds must have one number for each of the 2 workers"),
        ({"leaves": [(0.1, 5)]}, "worker 5 cannot leave"),
    ],
)
def test_what_is_impossible_is_refused(given: dict[str, Any], sentence: str) -> None:
    defaults: dict[str, Any] = {"workload": FLAT, "workers": 2}
    with pytest.raises(UsageError, match=sentence):
        simulate(**defaults | given)
