"""How direct links between workers come about in the model."""

from __future__ import annotations

import pytest

from lbnet.core.events import Event
from lbnet.sim.cluster import Cluster, Plan
from lbnet.sim.costs import Costs
from lbnet.sim.process import Item
from lbnet.sim.run import simulate_once
from lbnet.sim.worker import WorkerNode
from lbnet.sim.workloads import workload
from lbnet.strategies import registry
from lbnet.types import Address, PeerId
from tests.sim.work import Flat


def _cluster(monkeypatch: pytest.MonkeyPatch) -> tuple[Cluster, list[tuple[PeerId, Event]]]:
    """Two workers that never hear what is posted to them; it is noted instead."""
    plan = Plan(
        workload=Flat(1, 1.0),
        load=registry.load,
        strategy="sb",
        placement="spread",
        speeds=(1.0, 1.0),
        slots=1,
        joins=(),
        leaves=(),
        costs=Costs(connect_s=0.0),
        seed=0,
        timeline=False,
        events_max=10**5,
        virtual_s_max=1e6,
    )
    cluster = Cluster(plan)
    posted: list[tuple[PeerId, Event]] = []

    def post(self: WorkerNode, item: Item) -> None:
        posted.append((self.peer, item.event))

    monkeypatch.setattr(WorkerNode, "post", post)
    return cluster, posted


def _connect(cluster: Cluster, address: Address) -> None:
    one, two = cluster.workers
    cluster.connect(one, two.peer, address, cluster.engine.now)
    cluster.engine.run(until=cluster.engine.now + 0.001)


def _kinds(posted: list[tuple[PeerId, Event]]) -> list[tuple[int, str]]:
    return [
        (int(peer), type(event).__name__) for peer, event in posted if type(event).__name__ in {"Joined", "Unreachable"}
    ]


def test_both_sides_hear_of_a_new_link_and_only_one_of_a_second_attempt(monkeypatch: pytest.MonkeyPatch):
    cluster, posted = _cluster(monkeypatch)
    _connect(cluster, cluster.workers[1].address)
    assert _kinds(posted) == [(2, "Joined"), (1, "Joined")]
    posted.clear()
    _connect(cluster, cluster.workers[1].address)
    assert _kinds(posted) == [(1, "Joined")]


def test_a_wrong_address_and_a_dead_worker_cannot_be_reached(monkeypatch: pytest.MonkeyPatch):
    cluster, posted = _cluster(monkeypatch)
    _connect(cluster, Address("elsewhere", 1))
    assert _kinds(posted) == [(1, "Unreachable")]
    posted.clear()
    cluster.workers[1].die("killed")
    _connect(cluster, cluster.workers[1].address)
    assert _kinds(posted) == [(1, "Unreachable")]
    posted.clear()
    cluster.workers[0].die("killed")
    _connect(cluster, cluster.workers[1].address)
    assert _kinds(posted) == []


def test_a_link_waits_until_both_have_seen_the_end_of_the_last_one(monkeypatch: pytest.MonkeyPatch):
    cluster, posted = _cluster(monkeypatch)
    one, two = cluster.workers
    _connect(cluster, two.address)
    posted.clear()
    del one.links[two.peer]  # this side has heard of the end
    _connect(cluster, two.address)
    assert _kinds(posted) == []
    del two.links[one.peer]
    cluster.engine.run(until=cluster.engine.now + 0.001)
    assert _kinds(posted) == [(2, "Joined"), (1, "Joined")]
    assert one.links[two.peer] is two.links[one.peer]


def test_both_ends_of_a_new_link_work_for_it() -> None:
    def makespan_s(handshake_s: float) -> float:
        costs = Costs(handshake_s=handshake_s)
        work = workload("divisible:1000:1ms", seed=1)
        return simulate_once(work, workers=2, placement="first", costs=costs).makespan_s

    # The donor proves who it is, then the other one: the work comes after both.
    assert makespan_s(0.2) >= makespan_s(0.0) + 0.15
