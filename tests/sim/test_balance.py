"""Where the time goes on a simulated cluster: the causes are those that the model was made to have."""

from __future__ import annotations

from typing import Any

import pytest

import lbnet
from lbnet.sim.costs import Costs
from lbnet.sim.flat import Flat
from lbnet.sim.result import SimulationResult
from lbnet.sim.run import simulate_once
from lbnet.strategies import registry
from lbnet.types import BalanceReport

WORKLOADS = ("flat:lognormal:500:1ms", "divisible:1500:1ms", "uts:default:20us")

SLOW = Costs(
    latency_s=1.0, bandwidth_bytes_s=1e12, connect_s=0.0, controller_event_s=0.0, controller_message_s=0.0,
    worker_event_s=0.0, worker_message_s=0.0, client_event_s=0.0, client_message_s=0.0, client_item_s=0.0, byte_s=0.0,
    pipe_s=0.25, ticket_s=0.125, task_s=0.0,
)  # fmt: skip


def balance(result: SimulationResult) -> BalanceReport:
    found = result.report.balance
    assert isinstance(found, BalanceReport)
    return found


def adds_up(report: BalanceReport) -> None:
    for part in (report, *report.workers):
        assert sum(part.causes.values()) == pytest.approx(part.slot_s - part.busy_s, abs=1e-9)
        assert min(part.causes.values()) >= -1e-9
        assert 0 <= part.busy_s <= part.slot_s + 1e-9


@pytest.mark.parametrize("strategy", registry.BUILT_IN)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_causes_are_all_that_was_not_busy(strategy: str, workload: str) -> None:
    result = lbnet.simulate(workload, strategy=strategy, workers=6, slots=2, seed=7, balance=True)
    report = balance(result)
    adds_up(report)
    assert report.slot_s == pytest.approx(result.report.slots * result.makespan_s)
    assert report.busy_s == pytest.approx(result.report.busy_s)
    assert sum(report.causes.values()) == pytest.approx(result.report.overhead_s)
    assert (report.causes["unknown"], report.causes["failures"], report.causes["other jobs"]) == (0.0, 0.0, 0.0)
    assert (
        result.report.balance
        == lbnet.simulate(workload, strategy=strategy, workers=6, slots=2, seed=7, balance=True).report.balance
    )


@pytest.mark.parametrize("strategy", registry.BUILT_IN)
def test_asking_changes_nothing(strategy: str) -> None:
    asked, not_asked = (
        lbnet.simulate("uts:default:20us", strategy=strategy, workers=6, seed=7, balance=balance)
        for balance in (True, False)
    )
    assert asked.digest == not_asked.digest
    assert not_asked.report.balance is None


@pytest.mark.parametrize("seed", range(5))
def test_workers_that_come_and_die_count_for_their_part(seed: int) -> None:
    result = lbnet.simulate(
        "divisible:3000:1ms", workers=4, slots=2, seed=seed, joins=[0.05, 0.1], leaves=[(0.15, 1)], balance=True
    )
    report = balance(result)
    adds_up(report)
    # Two slots each: four from the start, of which one dies, and two that come. The controller hears of it a bit later.
    assert report.slot_s == pytest.approx(2 * (5 * result.makespan_s + 0.15 - 0.05 - 0.1), abs=0.01)
    dead = [worker for worker in report.workers if not worker.answered]
    assert [worker.name for worker in dead] == ["worker-1"]
    assert report.causes["unknown"] == dead[0].causes["unknown"] > 0
    assert report.busy_s <= result.report.busy_s + 1e-9


def test_one_task_on_a_slow_network() -> None:
    report = balance(simulate_once(Flat("flat", [8.0]), workers=1, costs=SLOW, balance=True))
    # In the ticket, twice the pipe and what a ticket costs. The words that it is done and that the job has ended take
    # a second each; so does the work on its way there, which the end, where the clocks are laid over each other, hides.
    assert report.busy_s == 8.0
    assert report.causes["serialising"] == pytest.approx(2 * 0.25 + 0.125)
    assert report.causes["tail"] == pytest.approx(2.0)
    assert report.causes["start"] == pytest.approx(0.0, abs=1e-6)
    assert report.makespan_s == pytest.approx(10.625)


def largest(**given: Any) -> tuple[str, str]:
    report = balance(lbnet.simulate(**{"workers": 4, "seed": 1} | given, balance=True))
    return max(report.causes, key=report.causes.__getitem__), report.advice


@pytest.mark.parametrize(
    ("given", "cause", "advice"),
    [
        ({"workload": "flat:constant:2:100ms"}, "start", "One task took 100 ms, more than the ideal of 5"),
        (
            {"workload": "flat:constant:300000:1us", "costs": Costs(task_s=1e-5, ticket_s=2e-3)},
            "serialising",
            "your tasks take 11 µs, and 1",
        ),
        ({"workload": "flat:constant:80:10ms", "costs": Costs(latency_s=0.5)}, "network", "Network took"),
        ({"workload": "flat:constant:5:100ms"}, "tail", "Tail took 3"),
    ],
)
def test_the_largest_cause_is_the_one_that_was_planted(given: dict[str, Any], cause: str, advice: str) -> None:
    found, said = largest(**given)
    assert found == cause
    assert advice in said


def test_a_balanced_job_of_small_tasks_is_told_what_batching_saved() -> None:
    result = lbnet.simulate("flat:constant:100000:40us", workers=2, seed=1, costs=Costs(ticket_s=0.0002), balance=True)
    report = balance(result)
    assert report.gap_percent < 5
    assert report.advice.startswith("Your tasks are 40.2 µs; batching, ")


def test_a_cluster_of_a_thousand_workers_has_a_row_each() -> None:
    report = balance(lbnet.simulate("flat:constant:4000:10ms", workers=1_000, balance=True))
    assert len(report.workers) == 1_000
    adds_up(report)
