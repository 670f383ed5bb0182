"""Whole simulated runs: the books balance, the same seed does the same, and small cases take what they must take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import lbnet.net.controller_server as real_controller
import lbnet.net.worker_node as real_worker
from lbnet.errors import UsageError
from lbnet.sim.cluster import Cluster, Plan
from lbnet.sim.costs import Costs
from lbnet.sim.result import SimulationResult
from lbnet.sim.run import simulate_once
from lbnet.sim.work import Workload
from lbnet.strategies import registry
from lbnet.strategies.base import ControllerStrategy
from lbnet.strategies.sb import SchedulerBased
from tests.sim.work import Flat, Node, Stepped, Sum, Units

REPOSITORY = Path(__file__).parents[2]


def _divisible(pieces: int = 20_000) -> Units:
    return Units(1, Sum(pieces, 1e-4), expected=pieces)


def _kept(result: SimulationResult) -> SimulationResult:
    """The result, if nothing was lost, and nothing done twice."""
    report = result.report
    assert (report.state, report.outstanding, report.failed) == ("done", 0, 0)
    assert report.balanced
    assert result.total == result.expected
    assert result.strategy_errors == ()
    return result


def _plan(workload: Workload) -> Plan:
    return Plan(
        workload=workload,
        load=registry.load,
        strategy="sb",
        placement="spread",
        speeds=(1.0, 1.0),
        slots=1,
        joins=(),
        leaves=(),
        costs=Costs(),
        seed=0,
        timeline=False,
        events_max=10**6,
        virtual_s_max=1e6,
    )


# --- the same objects ---------------------------------------------------------------------------------


def test_the_simulator_runs_the_classes_of_the_real_network():
    cluster = Cluster(_plan(Flat(1, 0.001)))
    assert type(cluster.controller.core) is real_controller.Controller
    assert {type(worker.core) for worker in cluster.workers} == {real_worker.Worker}


# --- time ---------------------------------------------------------------------------------------------

SLOW = Costs(
    latency_s=1.0, bandwidth_bytes_s=1e12, connect_s=0.0, controller_event_s=0.0, controller_message_s=0.0,
    worker_event_s=0.0, worker_message_s=0.0, client_event_s=0.0, client_message_s=0.0, client_item_s=0.0, byte_s=0.0,
    pipe_s=0.25, ticket_s=0.125, task_s=0.0,
)  # fmt: skip


def test_one_task_takes_its_way_there_its_time_and_its_way_back():
    result = _kept(simulate_once(Flat(1, 8.0), workers=1, costs=SLOW))
    # The controller has the job as it opens it, sends the work (1.0), the worker hands it over (0.25 + 0.125), it runs
    # (8), and says so (0.25), and so does the worker (1.0).
    assert result.makespan_s == pytest.approx(1.0 + 0.25 + 0.125 + 8.0 + 0.25 + 1.0)
    assert result.report.busy_s == 8.0
    assert result.efficiency == pytest.approx(8.0 / result.makespan_s)


def test_a_fast_worker_needs_less():
    result = _kept(simulate_once(Flat(1, 8.0), workers=1, costs=SLOW, speeds=[4.0]))
    assert result.makespan_s == pytest.approx(1.0 + 0.25 + 0.125 + 2.0 + 0.25 + 1.0)


def test_large_items_wait_for_the_network_card():
    fast = _kept(simulate_once(Flat(64, 0.001, item_bytes=100_000), workers=2))
    slow = _kept(
        simulate_once(Flat(64, 0.001, item_bytes=100_000), workers=2, costs=replace(Costs(), bandwidth_bytes_s=1e7))
    )
    # 64 items of 100 kB pass the client's card once, at 10 MB/s.
    assert fast.makespan_s < 0.64 < slow.makespan_s


def test_a_hundred_workers_with_tiny_tasks_saturate_the_controller():
    few = _kept(simulate_once(Flat(2_000, 0.01), workers=10))
    many = _kept(simulate_once(Flat(20_000, 0.0001), workers=100))
    assert few.controller_busy < 0.5
    assert many.controller_busy > 0.9
    assert few.efficiency > 0.9 > many.efficiency


def test_one_core_for_all_messaging_is_slower_than_one_each():
    own = _kept(simulate_once(Flat(4_000, 0.001), workers=16))
    shared = _kept(simulate_once(Flat(4_000, 0.001), workers=16, costs=Costs(host_cores=1)))
    assert shared.makespan_s > own.makespan_s


# --- nothing is lost ------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", registry.names())
@pytest.mark.parametrize(
    "workload",
    [
        Flat(500, 0.0001, 0.003, 0.02),
        _divisible(),
        Units(3, Stepped(3_000, 1e-4), expected=9_000),
        Units(2, Node(4, 4, 0.002), expected=2 * (1 + 4 + 16 + 64 + 256)),
        Units(40, 0.01, Sum(100, 1e-4), expected=20 + 2_000),
    ],
    ids=["flat", "divisible", "stepped", "tree", "mixed"],
)
def test_every_strategy_keeps_the_books(strategy: str, workload: Any):
    result = _kept(simulate_once(workload, strategy=strategy, workers=5, slots=2))
    assert result.report.strategy == strategy
    assert result.report.slots == 10


@pytest.mark.parametrize("seed", range(6))
def test_workers_that_join_and_die_lose_nothing(seed: int):
    joins = [0.05 + 0.01 * seed, 0.2]
    leaves = [(0.03 + 0.017 * seed, 0), (0.1, 2), (0.25 + 0.013 * seed, 5)]
    for workload in (_divisible(), Flat(1_500, 0.001), Units(2, Node(4, 4, 0.002), expected=682)):
        result = _kept(
            simulate_once(
                workload,
                strategy=registry.names()[seed % len(registry.names())],
                workers=4,
                seed=seed,
                joins=joins,
                leaves=leaves,
                placement=("first", "spread")[seed % 2],
            )  # fmt: skip
        )
        assert result.report.requeued > 0 or result.report.makespan_s < 0.1


def test_a_cluster_of_late_comers():
    result = _kept(simulate_once(Flat(200, 0.01), workers=1, joins=[0.1, 0.1, 0.1], leaves=[(0.5, 0)]))
    assert result.report.slots == 4
    assert len(result.report.workers) == 4


def test_uneven_workers_share_unevenly():
    result = _kept(simulate_once(Flat(4_000, 0.001), workers=4, speeds=lambda index: 1.0 + index))
    tasks = {worker.name: worker.tasks for worker in result.report.workers}
    assert tasks["worker-0"] * 2 < tasks["worker-3"]


# --- the same again -------------------------------------------------------------------------------------

SCRIPT = """
from lbnet.sim.costs import Costs
from lbnet.sim.run import simulate_once
from tests.sim.work import Sum, Units
work = Units(2, Sum(9000, 1e-4))
for strategy in ("sb", "rp"):
    print(simulate_once(work, strategy=strategy, workers=7, seed=3, costs=Costs(jitter=0.1)).digest)
"""


def test_the_same_seed_does_the_same_and_another_one_another():
    costs = Costs(jitter=0.1)
    first, again, other = (simulate_once(_divisible(), workers=7, seed=seed, costs=costs) for seed in (1, 1, 2))
    assert first == again
    assert first.digest != other.digest
    assert (
        simulate_once(_divisible(), workers=7, seed=1).digest == simulate_once(_divisible(), workers=7, seed=2).digest
    )


def test_a_strategy_that_draws_depends_on_the_seed():
    one, other = (simulate_once(_divisible(), strategy="rp", workers=7, seed=seed) for seed in (1, 2))
    assert one.digest != other.digest


def test_the_hashes_of_strings_do_not_matter():
    seen = set()
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.split()) == 2
        seen.add(done.stdout)
    assert len(seen) == 1


# --- what is told ---------------------------------------------------------------------------------------


def test_a_timeline_shows_what_workers_did():
    result = _kept(simulate_once(Flat(400, 0.01), workers=4, joins=[0.2], leaves=[(0.5, 1)], timeline=True))
    assert result.timeline is not None
    assert len(result.timeline) == 5
    for index, changes in enumerate(result.timeline):
        times = [when for when, _ in changes]
        assert times == sorted(times)
        assert times[0] == (0.0 if index < 4 else pytest.approx(0.2))
        busy_s = sum(
            (changes[at + 1][0] if at + 1 < len(changes) else result.makespan_s) - when
            for at, (when, state) in enumerate(changes)
            if state == "busy"
        )
        assert busy_s == pytest.approx(result.report.workers[index].busy_s, abs=0.1)
    assert result.timeline[1][-1] == (pytest.approx(0.5), "left")
    assert {state for changes in result.timeline for _, state in changes} == {"idle", "busy", "transfer", "left"}


def test_the_facts_are_json_and_tell_the_messages():
    result = _kept(simulate_once(Flat(400, 0.001), workers=4))
    facts = json.loads(json.dumps(result.facts()))
    assert facts["report"]["done"] == 400
    assert facts["messages"]["client to controller"] == {
        "Submit": 3, "OpenJob": 1, "Function": 1, "CloseJob": 1,
    }  # fmt: skip
    assert facts["messages"]["controller to client"]["JobDone"] == 1
    handled = sum(sum(facts["messages"][way].values()) for way in ("client to controller", "worker to controller"))
    assert sum(facts["rates"]) * facts["rate_bin_s"] == pytest.approx(handled)
    assert facts["timeline"] is None
    assert 0 < facts["controller_busy"] < 1
    assert facts["report"]["speedup"] == pytest.approx(4 * facts["efficiency"])


def test_a_strategy_of_ones_own_is_tried_under_its_own_name():
    loaded = []

    def load(name: str) -> Any:
        loaded.append(name)
        return SchedulerBased()

    result = _kept(simulate_once(Flat(10, 0.01), strategy="mine", load=load, workers=2))
    assert result.report.strategy == "mine"
    assert set(loaded) == {"mine"}


def test_what_a_strategy_raises_is_told():
    class Half(ControllerStrategy):
        def balance(self, view: Any) -> Any:
            raise RuntimeError("a bug in a strategy")

    class Mine(SchedulerBased):
        name = "mine"

        def controller(self) -> Any:
            return Half()

    result = simulate_once(Flat(10, 0.01), strategy="mine", load=lambda _: Mine(), workers=2)
    assert result.total == 10
    assert result.strategy_errors == ("RuntimeError('a bug in a strategy')",)


def test_a_run_that_stands_still_is_told():
    cluster = Cluster(_plan(Flat(10, 0.01)))
    cluster.client.die("nobody will hear of the end")
    with pytest.raises(UsageError, match="nothing moves any more at .* strategy 'sb' leaves somebody waiting"):
        cluster.run()


# --- what cannot be ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"workers": 0}, "workers must be a whole number, 1 to 100,000; it is 0"),
        ({"workers": True}, "workers must be a whole number"),
        ({"slots": -1}, "slots must be a whole number"),
        ({"placement": "last"}, "placement must be one of spread, first; it is 'last'"),
        ({"strategy": "none"}, "there is no strategy 'none'"),
        ({"speeds": [1.0]}, "speeds must have one number for each of the 3 workers; it has 1"),
        ({"speeds": [1.0, -2.0, 1.0]}, "speed must be a number above 0; that of worker 1 is -2.0"),
        ({"speeds": lambda index: 0.0}, "speed must be a number above 0"),
        ({"joins": [-1.0]}, "joins must hold seconds .* one is -1.0"),
        ({"leaves": [(float("inf"), 0)]}, "leaves must hold seconds"),
        ({"leaves": [(1.0, 3)]}, "worker 3 cannot leave: there are workers 0 to 2"),
        ({"leaves": [(1.0, 0), (2.0, 0)]}, "worker 0 cannot leave twice"),
        ({"leaves": [(1.0, 3)], "joins": [2.0]}, "worker 3 cannot leave at 1 s: it joins at 2 s"),
        ({"leaves": [(1.0, 0), (1.0, 1), (1.0, 2)]}, "all workers leave: let one stay"),
        ({"workload": Flat(0, 1.0)}, "workload 'flat' has no items"),
        ({"events_max": 50}, "not ended after 50 events"),
        ({"virtual_s_max": 0.5}, "not ended after 0.5 virtual seconds"),
    ],
)
def test_impossible_wishes_are_told(wrong: dict[str, Any], sentence: str):
    wishes: dict[str, Any] = {"workload": Flat(10, 1.0), "workers": 3, **wrong}
    with pytest.raises(UsageError, match=sentence):
        simulate_once(wishes.pop("workload"), **wishes)
