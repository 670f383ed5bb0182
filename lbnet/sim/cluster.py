"""A whole cluster in virtual time: one controller, one client with one job, and workers that join and leave.

The controller and the workers are the very objects that run on a real network. Everything is decided by the plan and
its seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from lbnet.core.controller import Controller
from lbnet.core.events import Joined, Unreachable
from lbnet.core.worker import Worker
from lbnet.errors import UsageError
from lbnet.sim.book import Book
from lbnet.sim.client import ClientNode
from lbnet.sim.controller import ControllerNode
from lbnet.sim.costs import Costs
from lbnet.sim.engine import Engine
from lbnet.sim.links import Node
from lbnet.sim.process import Cores, Item
from lbnet.sim.record import Record
from lbnet.sim.timeline import Timeline
from lbnet.sim.work import Workload
from lbnet.sim.worker import WorkerNode
from lbnet.strategies.base import Strategy
from lbnet.types import Address, JobReport, PeerId
from lbnet.version import VERSION

_PORT = 5000
_RETRY_S = 0.0001
_SETTLE_S = 0.005
_SETTLE_TIMES = 1_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be simulated.

    Attributes:
        workload: the job.
        load: makes the strategy of a name.
        strategy: that name.
        placement: where new work goes.
        speeds: of all workers, those that are there from the start and those that join later.
        slots: of each worker.
        joins: when the last ones of ``speeds`` join, in seconds after the job was opened.
        leaves: when which worker dies, likewise; workers are counted from 0.
        costs: what everything costs.
        seed: of all that is random.
        timeline: whether to record what each worker does.
        events_max: see :class:`~lbnet.sim.engine.Engine`.
        virtual_s_max: see there.
        balance: whether to ask the workers where the time of their slots went.
    """

    workload: Workload
    load: Callable[[str], Strategy]
    strategy: str
    placement: str
    speeds: tuple[float, ...]
    slots: int
    joins: tuple[float, ...]
    leaves: tuple[tuple[float, int], ...]
    costs: Costs
    seed: int
    timeline: bool
    events_max: int
    virtual_s_max: float
    balance: bool = False


class Cluster:
    """Runs one plan, once.

    Args:
        plan: what to run.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.engine = Engine(plan.events_max, plan.virtual_s_max)
        self.record = Record(Timeline() if plan.timeline else None)
        self._book = Book(plan.workload)
        self._cores = Cores(self.engine, plan.costs.host_cores) if plan.costs.host_cores is not None else None
        core = Controller(plan.load, strategy=plan.strategy, placement=plan.placement, version=VERSION)
        self.controller = ControllerNode(
            core, self.engine, plan.costs, self.record, self._random("controller"), self._cores
        )
        self.workers: list[WorkerNode] = []
        self._by_peer: dict[PeerId, WorkerNode] = {}
        self._next_peer = 1
        self._watch(self.controller)
        for _ in plan.speeds[: len(plan.speeds) - len(plan.joins)]:
            self._join(None)
        self.opened_at = 0.0
        self.done_at = 0.0
        self.busy_s = 0.0
        """Of the controller, from the opening of the job to its end."""
        self.messages: dict[str, dict[str, int]] = {}
        """Handled in that time."""
        self.client = self._settle_and_open()

    def run(self) -> JobReport:
        """Run the job to its end. Returns its balance.

        Raises:
            UsageError: the job cannot be run, or comes to no end.
        """
        if not self.engine.run():
            raise UsageError(
                f"nothing moves any more at {self.engine.now:g} virtual seconds, and the job is not done: "
                f"strategy {self.plan.strategy!r} leaves somebody waiting for ever"
            )
        # What workers had still to say of the job changes its report, not its end.
        costs, workers = self.plan.costs, len(self.workers)
        rest_s = _SETTLE_S + 2 * costs.latency_s + 4 * workers * (costs.controller_event_s + costs.controller_message_s)
        self.engine.run(until=self.engine.now + rest_s)
        return self._report()

    def strategy_errors(self) -> list[str]:
        """What strategies raised, the last of each role that they raised in."""
        errors = [self.controller.core.strategy_error, *(worker.core.strategy_error for worker in self.workers)]
        return sorted({repr(error) for error in errors if error is not None})

    # --- the beginning and the end --------------------------------------------------------------------

    def _settle_and_open(self) -> ClientNode:
        """Wait until all have joined and said what they say at first; then the job is opened."""
        engine, costs = self.engine, self.plan.costs
        engine.run(until=costs.slot_start_s + 4 * (costs.latency_s + costs.pipe_s))
        for _ in range(_SETTLE_TIMES):
            engine.run(until=engine.now + _SETTLE_S)
            if not self.controller.waiting and not any(worker.waiting for worker in self.workers):
                break
        client = self._client()
        self.opened_at = engine.now
        self.busy_s = self.controller.busy_s
        self.record.start()
        for when in self.plan.joins:
            engine.at(self.opened_at + when, self._join, None)
        for when, worker in self.plan.leaves:
            engine.at(self.opened_at + when, self._leave, worker)
        client.open()
        return client

    def _client(self) -> ClientNode:
        plan, peer = self.plan, self._new_peer()
        options = plan.workload.options(plan.strategy, plan.placement)
        client = ClientNode(
            peer,
            options,
            self._book,
            self.engine,
            plan.costs,
            self.record,
            self._random("client"),
            self._cores,
            self._on_done,
        )
        self.controller.client = peer
        link = client.link(self.controller)
        joined = Joined(peer, "client", "client", "client", 1, 0, Address("client", 0))
        self.controller.post(Item(self.controller.decoding_s(joined), joined, link))
        return client

    def _on_done(self) -> None:
        self.done_at = self.engine.now
        self.busy_s = self.controller.busy_s - self.busy_s
        self.messages = self.record.messages()
        self.engine.stop()

    def _report(self) -> JobReport:
        job = self.controller.core.job(self.client.job)
        assert job is not None, "the job was opened"
        if not self.plan.balance:
            return job.report(self.engine.now)
        # Not by messages: the run is over, and the same whether somebody asks or not.
        accounts = {worker.peer: worker.core.account(job.id) for worker in self.workers if worker.alive}
        return self.controller.core.report_of(job, accounts, self._round_trip_s())

    def _round_trip_s(self) -> float:
        """How long a worker would take to answer a short question of the controller if nobody said anything else."""
        costs = self.plan.costs
        at_worker_s = costs.worker_event_s + 2 * costs.worker_message_s
        return 2 * (costs.latency_s + costs.controller_message_s) + costs.controller_event_s + at_worker_s

    # --- workers --------------------------------------------------------------------------------------

    def _new_peer(self) -> PeerId:
        self._next_peer += 1
        return PeerId(self._next_peer - 1)

    def _random(self, who: str) -> Callable[[], float]:
        return random.Random(f"{self.plan.seed} {who}").random  # noqa: S311 - it shall be predictable

    def _watch(self, node: Node) -> None:
        if self.record.timeline is not None:
            node.watch = self.record.timeline.said

    def _join(self, _: None) -> None:
        plan, costs, index, peer = self.plan, self.plan.costs, len(self.workers), self._new_peer()
        name, address = f"worker-{index}", Address(f"host-{index}", _PORT)
        worker = WorkerNode(
            Worker(peer, name, plan.slots, plan.load, self._random(f"strategy {index}")),
            plan.slots,
            plan.speeds[index],
            address,
            self,
            self._book,
            self.engine,
            costs,
            self.record,
            self._random(f"worker {index}"),
            self._cores,
        )
        self.workers.append(worker)
        self._by_peer[peer] = worker
        if self.record.timeline is not None:
            self.record.timeline.joined(peer, self.engine.now)
        self._watch(worker)
        link = worker.link(self.controller)
        joined = Joined(peer, "worker", name, address.host, index + 1, plan.slots, address)
        self.controller.post(Item(self.controller.decoding_s(joined), joined, link))
        self.engine.at(self.engine.now + costs.slot_start_s, _start_slots, worker)

    def _leave(self, index: int) -> None:
        worker = self.workers[index]
        if worker.alive:
            worker.die("its process ended")
            if self.record.timeline is not None:
                self.record.timeline.left(worker.peer, self.engine.now)

    def connect(self, worker: WorkerNode, peer: PeerId, address: Address, when: float) -> None:
        """A worker opens a direct link to another one."""
        self.engine.at(when + self.plan.costs.connect_s, self._connected, (worker, peer, address))

    def _connected(self, argument: tuple[WorkerNode, PeerId, Address]) -> None:
        worker, peer, address = argument
        if not worker.alive:
            return
        target = self._by_peer.get(peer)
        if target is None or not target.alive or target.address != address:
            worker.post(Item(worker.event_s, Unreachable(peer, "nobody answers at its address")))
            return
        link = worker.links.get(peer)
        if link is not target.links.get(worker.peer):
            # One side has not seen the end of an earlier link yet.
            self.connect(worker, peer, address, self.engine.now + _RETRY_S)
            return
        if link is None:
            link = worker.link(target)
            target.post(_peer_joined(target, worker, link, self.plan.costs.handshake_s))
        worker.post(_peer_joined(worker, target, link))


def _peer_joined(node: Node, other: Node, link: object, handshake_s: float = 0.0) -> Item:
    event = Joined(other.peer, "peer", "", "", 0, 0, Address("", 0))
    return Item(handshake_s + node.decoding_s(event), event, link)


def _start_slots(worker: WorkerNode) -> None:
    if worker.alive:
        worker.start_slots()
