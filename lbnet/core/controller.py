"""The controller's decisions: who gets new work, who is told of whom, and when a job is done.

Pure: :meth:`Controller.handle` takes an event and the time, and returns the effects to carry out in
order. It must not know how messages travel, and it never looks into a payload.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from lbnet import limits
from lbnet.core import checks, effects, events, placement
from lbnet.core.balancer import Balancer, Load
from lbnet.core.durations import Durations
from lbnet.core.effects import Effect
from lbnet.core.events import Event
from lbnet.core.introductions import Introductions
from lbnet.core.inventory import InventoryRound
from lbnet.core.job import Job, Tally
from lbnet.core.ledger import Committed, Requeue, RootSettled
from lbnet.core.stall import StallWatch
from lbnet.protocol import messages
from lbnet.types import (
    COMBINED,
    CONTROLLER,
    FAILED,
    ROOT,
    VALUES,
    Address,
    Batch,
    ClusterStatus,
    Failure,
    Group,
    JobId,
    PeerId,
    WorkerStatus,
)


@dataclass(slots=True)
class _Worker:
    """A worker as the controller sees it."""

    name: str
    host: str
    pid: int
    slots: int
    address: Address
    told: Introductions = field(default_factory=Introductions)
    tasks_done: int = 0
    busy_s: float = 0.0


class Controller:
    """The state machine of the controller.

    Args:
        load: makes the load-balancing strategy of a name; raises where there is none.
        strategy: name of the strategy for jobs that do not say.
        placement: ``first`` or ``spread``, for jobs that do not say.
        no_workers_timeout_s: how long jobs wait for a worker after the last one was lost.
    """

    def __init__(
        self,
        load: Load,
        *,
        strategy: str,
        placement: str,
        version: str = "",
        no_workers_timeout_s: float = limits.NO_WORKERS_TIMEOUT_S,
    ) -> None:
        self._balancer = Balancer(load, strategy, self._send)
        self._strategy = strategy
        self._placement = placement
        self._version = version
        self._workers: dict[PeerId, _Worker] = {}
        self._wet: set[PeerId] = set()
        self._slots = 0
        self._clients: set[PeerId] = set()
        self._jobs: dict[JobId, Job] = {}
        self._ended: dict[JobId, Job] = {}
        self._governing: Job | None = None
        self._opened = 0
        self._relays: dict[int, tuple[PeerId, int, PeerId]] = {}
        self._transfers = 0
        self._durations = Durations()
        self._round: InventoryRound | None = None
        self._rounds = 0
        self._stall = StallWatch()
        self._no_workers_timeout_s = no_workers_timeout_s
        self._no_workers_at: float | None = None
        self._last_worker_lost = ""
        self._started_at: float | None = None
        self._now = 0.0
        self._effects: list[Effect] = []
        self._got: dict[type, int] = {}
        self._said: dict[type, int] = {}

    @property
    def strategy_error(self) -> Exception | None:
        """What the strategy raised last, for people; such a step goes on without its decisions."""
        return self._balancer.error

    # --- events -----------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take an event; returns what is to be done, in order. Never raises, whatever a peer sent."""
        self._now = now
        if self._started_at is None:
            self._started_at = now
        if isinstance(event, events.Received):
            self._on_message(event.peer, event.message)
        elif isinstance(event, events.Joined):
            self._on_joined(event)
        elif isinstance(event, events.Left):
            self._on_left(event)
        else:
            assert isinstance(event, events.Tick), event
        self._look()
        done, self._effects = self._effects, []
        return done

    def job(self, job: JobId) -> Job | None:
        """A job that is running or has ended."""
        return self._jobs.get(job) or self._ended.get(job)

    def status(self, address: str = "") -> ClusterStatus:
        """The whole cluster as it is seen here."""
        return ClusterStatus(
            version=self._version,
            address=address,
            strategy=self._strategy,
            placement=self._placement,
            uptime_s=self._now - (self._started_at or self._now),
            clients=len(self._clients),
            workers=tuple(
                WorkerStatus(
                    id=peer,
                    name=worker.name,
                    host=worker.host,
                    pid=worker.pid,
                    address=str(worker.address),
                    slots=worker.slots,
                    state="idle" if self._balancer.idle.get(peer, 1.0) <= 0 else "working",
                    surplus_s=self._balancer.offers.get(peer, 0.0),
                    tasks_done=worker.tasks_done,
                    busy_s=worker.busy_s,
                )
                for peer, worker in self._workers.items()
            ),
            jobs=tuple(job.report(self._now) for job in (*self._ended.values(), *self._jobs.values())),
            got={kind.__name__: count for kind, count in self._got.items()},
            sent={kind.__name__: count for kind, count in self._said.items()},
        )

    def _on_message(self, peer: PeerId, message: messages.Message) -> None:
        table = _FROM_WORKER if peer in self._workers else _FROM_CLIENT if peer in self._clients else {}
        kind = type(message)
        self._got[kind] = self._got.get(kind, 0) + 1
        handler = table.get(kind)
        if handler is None:
            self._do(effects.Disconnect(peer, f"{kind.__name__} is not expected from this peer"))
        else:
            handler(self, peer, message)

    def _on_joined(self, event: events.Joined) -> None:
        if event.role == "client":
            self._clients.add(event.peer)
            return
        self._workers[event.peer] = _Worker(event.name, event.host, event.pid, event.slots, event.address)
        self._balancer.joined(event.peer, event.address)
        self._no_workers_at = None
        self._slots += event.slots
        for job in self._jobs.values():
            job.slots = max(job.slots, self._slots)

    def _on_left(self, event: events.Left) -> None:
        if event.peer in self._clients:
            self._clients.discard(event.peer)
            for job in [job for job in self._jobs.values() if job.client == event.peer]:
                job.ledger.cancel_all()
                self._end(job, "cancelled")
        elif event.peer in self._workers:
            self._lose(event.peer, event.reason)

    def _lose(self, peer: PeerId, reason: str) -> None:
        """A worker is gone: forget its flags, and ask the living who holds what."""
        worker = self._workers.pop(peer)
        self._wet.discard(peer)
        self._slots -= worker.slots
        self._balancer.left(peer)
        for number in [number for number, relay in self._relays.items() if relay[2] == peer]:
            donor, transfer, _ = self._relays.pop(number)
            self._send(donor, messages.Ack(transfer))
        if self._workers:
            self._ask_inventory()
            return
        self._round = None
        self._last_worker_lost = f"{worker.name}: {reason}"
        self._no_workers_at = self._now + self._no_workers_timeout_s

    # --- after every event ------------------------------------------------------------------------

    def _look(self) -> None:
        self._finish_round()
        self._place()
        self._watch(self._balancer.look(self._now))

    def _place(self) -> None:
        """Hand the backlog to workers that want work: the controller is just another sender."""
        for job in self._jobs.values():
            if job.backlog:
                break
        else:
            return
        if not self._workers:
            return
        first = next(iter(self._workers))
        for job in self._jobs.values():
            if job.options.placement == "first" and job.backlog:
                for batches in placement.everything(job):
                    self._send_work(first, batches)
        idle = self._balancer.idle
        for peer in sorted(idle, key=idle.__getitem__):
            slots = self._workers[peer].slots
            batches = placement.grant(
                list(self._jobs.values()), self._durations, slots, self._slots, self._balancer.grant
            )
            if not batches:
                break
            self._send_work(peer, batches)
            # The job that was served goes to the end of the line.
            self._jobs[batches[0].job] = self._jobs.pop(batches[0].job)

    def _govern(self, job: Job) -> None:
        """The strategy of the job that was opened last, of those that have tasks, is the one in force."""
        governing = self._governing
        if governing is None or governing.ledger.empty or job.number > governing.number:
            self._governing = governing = job
        self._balancer.govern(governing.options.strategy, work=True)

    def _govern_anew(self) -> None:
        """A job has ended: the strategy of another one may be in force again."""
        working = [job for job in self._jobs.values() if not job.ledger.empty]
        self._governing = max(working, key=lambda job: job.number, default=None)
        name = self._balancer.name if self._governing is None else self._governing.options.strategy
        self._balancer.govern(name, work=self._governing is not None)

    def _watch(self, look_at: float | None) -> None:
        """What must happen although nobody says anything."""
        if self._no_workers_at is not None and self._now >= self._no_workers_at:
            self._no_workers_at = None
            self._fail_all()
        still = (
            bool(self._workers)
            and self._round is None
            and not self._wet
            and any(not job.ledger.empty and not job.backlog for job in self._jobs.values())
        )
        if self._stall.due(still, self._now):
            self._ask_inventory()
        times = [at for at in (self._no_workers_at, self._stall.at, look_at) if at is not None]
        if times:
            self._do(effects.SetTimer(min(times)))

    def _fail_all(self) -> None:
        for job in list(self._jobs.values()):
            text = f"no worker is left; the last one was lost ({self._last_worker_lost})"
            failure = Failure("NoWorkersError", text, "", "controller", b"")
            for root in job.ledger.unsettled():
                self._tell_failure(job, root, failure, spawned=False)
            job.ledger.fail_all()
            self._end(job, "failed")

    # --- clients ----------------------------------------------------------------------------------

    def _on_open_job(self, peer: PeerId, message: messages.OpenJob) -> None:
        if self.job(message.job) is not None:
            self._do(effects.Disconnect(peer, f"job {message.job} exists already"))
            return
        options = replace(
            message.options,
            placement=message.options.placement or self._placement,
            strategy=message.options.strategy or self._strategy,
        )
        self._opened += 1
        job = Job(message.job, peer, options, self._now, self._slots, self._opened)
        problem = self._balancer.problem_of(options.strategy)
        if problem is None:
            self._jobs[job.id] = job
            return
        job.end("refused", self._now)
        self._remember(job)
        self._send(peer, messages.JobRefused(job.id, f"the controller knows no such strategy: {problem}"))

    def _on_client_function(self, peer: PeerId, message: messages.Function) -> None:
        job = self._own_job(peer, message.job)
        if job is not None:
            job.functions.setdefault(message.digest, message.data)

    def _on_submit(self, peer: PeerId, message: messages.Submit) -> None:
        batch = message.batch
        job = self._own_job(peer, batch.job)
        if job is None:
            return
        payload = batch.payload
        in_order = batch.origin == ROOT and batch.lo == payload.base == job.ledger.submitted
        known = checks.problem_of_batch(batch, job.functions) is None
        known = known and (not job.options.reduce or job.options.reduce in job.functions)
        if not in_order or len(batch) != payload.count or not known or job.total is not None:
            self._do(effects.Disconnect(peer, f"items of job {batch.job} came out of order or without their function"))
            return
        job.submit(batch)
        self._govern(job)

    def _on_close_job(self, peer: PeerId, message: messages.CloseJob) -> None:
        job = self._own_job(peer, message.job)
        if job is None:
            return
        if message.total != job.ledger.submitted:
            self._do(effects.Disconnect(peer, f"job {message.job} was closed with a wrong total"))
            return
        job.total = message.total
        self._end_if_complete(job)

    def _on_cancel(self, peer: PeerId, message: messages.Cancel) -> None:
        job = self._own_job(peer, message.job)
        if job is None:
            return
        if message.lo <= 0 and message.hi >= job.ledger.submitted:
            job.ledger.cancel_all()
            self._end(job, "cancelled")
            return
        for lo, hi in job.cancel_waiting(message.lo, message.hi):
            self._send(peer, messages.Cancelled(job.id, lo, hi))
        self._end_if_complete(job)

    def _on_ask(self, peer: PeerId, message: messages.Ask) -> None:
        facts: dict[str, Any] | None = None
        if message.what == "status":
            facts = asdict(self.status())
        elif message.what == "report":
            job = self.job(message.job)
            facts = None if job is None else asdict(job.report(self._now))
        self._send(peer, messages.Answer(message.request, json.dumps(facts)))

    def _own_job(self, peer: PeerId, number: JobId) -> Job | None:
        """The running job of this client. What comes for one that has ended is late, and ignored."""
        job = self._jobs.get(number)
        if job is not None and job.client == peer:
            return job
        if job is not None or number not in self._ended:
            self._do(effects.Disconnect(peer, f"job {number} is not yours"))
        return None

    # --- workers ----------------------------------------------------------------------------------

    def _on_idle(self, peer: PeerId, message: messages.Idle) -> None:
        stock_s = checks.plausible_s(message.queued_s)
        self._balancer.is_idle(peer, stock_s)
        if stock_s <= 0:
            self._wet.discard(peer)
        else:
            self._wet.add(peer)

    def _on_nonidle(self, peer: PeerId, message: messages.NonIdle) -> None:
        self._balancer.offers_work(peer, checks.plausible_s(message.surplus_s), message.tasks)

    def _on_no_work(self, peer: PeerId, message: messages.NoWork) -> None:
        """The donor had nothing after all, and no link to the requester."""
        if self._balancer.refused(message.requester):
            self._send(message.requester, messages.NoWork(peer, message.requester))

    def _on_ask_through(self, peer: PeerId, message: messages.AskThrough) -> None:
        self._balancer.asks_through(peer, message.donor)

    def _on_ask_target(self, peer: PeerId, message: messages.AskTarget) -> None:  # noqa: ARG002
        self._balancer.asks_target(peer)

    def _on_asked(self, peer: PeerId, message: messages.Asked) -> None:
        job = self.job(message.job)
        if job is not None:
            tally = self._tally(job, peer)
            tally.asks += message.asks
            tally.refusals += message.refusals

    def _on_worker_function(self, peer: PeerId, message: messages.Function) -> None:  # noqa: ARG002
        job = self._jobs.get(message.job)
        if job is not None:
            job.functions.setdefault(message.digest, message.data)

    def _on_relay(self, peer: PeerId, message: messages.Relay) -> None:
        """A donor could not reach a requester: the work goes this way."""
        batches = tuple(batch for batch in message.batches if batch.job in self._jobs)
        for batch in batches:
            problem = checks.problem_of_batch(batch, self._jobs[batch.job].functions)
            if problem is not None:
                self._do(effects.Disconnect(peer, problem))
                return
        if message.requester in self._workers and batches:
            self._transfers += 1
            self._relays[self._transfers] = (peer, message.transfer, message.requester)
            self._deliver(message.requester, self._transfers, peer, batches)
            return
        for batch in batches:
            self._jobs[batch.job].give_back(batch)
        self._send(peer, messages.Ack(message.transfer))

    def _on_ack(self, peer: PeerId, message: messages.Ack) -> None:
        relay = self._relays.get(message.transfer)
        if relay is not None and relay[2] == peer:
            del self._relays[message.transfer]
            self._send(relay[0], messages.Ack(relay[1]))

    def _on_inventory(self, peer: PeerId, message: messages.Inventory) -> None:
        if self._round is not None and self._round.number == message.round:
            self._round.answered(peer, message.spans)

    def _on_result(self, peer: PeerId, message: messages.Result) -> None:
        worker = self._workers[peer]
        job = self.job(message.job)
        if job is not None:
            tally = self._tally(job, peer)
            for moved in message.moved:
                tally.batches_received += moved.batches
                if moved.donor in self._workers or moved.donor in job.tallies:
                    self._tally(job, moved.donor).batches_sent += moved.batches
        if job is None or message.job not in self._jobs:
            if message.groups:
                self._send(peer, messages.JobEnded(message.job))
            return
        for group in message.groups:
            problem = checks.problem_of_group(group, job.id, job.options.reduce, job.functions)
            if problem is not None:
                self._do(effects.Disconnect(peer, problem))
                break
            self._stall.moves(self._now)
            tasks = sum(member.hi - member.lo for member in group.members)
            seconds = checks.plausible_s(group.seconds)
            worker.tasks_done += tasks
            worker.busy_s += seconds
            # Not when it is committed: that may be much later, by another worker's RESULT.
            tally.tasks += tasks
            tally.busy_s += seconds
            self._learn(job, group, tasks)
            self._commit(job, group)
        self._end_if_complete(job)

    def _learn(self, job: Job, group: Group, tasks: int) -> None:
        function = job.store.function_of(group.members[0].origin, group.members[0].lo)
        if function is not None:
            self._durations.observe(function, tasks, checks.plausible_s(group.seconds))

    # --- committing -------------------------------------------------------------------------------

    def _commit(self, job: Job, group: Group) -> None:
        for news in job.ledger.commit(group):
            if isinstance(news, Committed):
                self._on_committed(job, news)
            elif isinstance(news, RootSettled):
                if news.failure is None:
                    self._send(job.client, messages.Settled(job.id, news.root))
                else:
                    self._tell_failure(job, news.root, news.failure, spawned=True)
            else:
                assert isinstance(news, Requeue)
                job.requeue(news.origin, news.lo, news.hi)

    def _on_committed(self, job: Job, news: Committed) -> None:
        group = news.group
        for member, fresh in news.parts:
            for child in member.children if group.kind != FAILED else ():
                job.store.add(child)
            for lo, hi in fresh:
                job.store.settle(member.origin, lo, hi)
                if group.kind == VALUES and member.origin == ROOT:
                    open_ = bool(member.children)
                    self._send(job.client, messages.Values(job.id, lo, hi, member.lo, group.data, open_))
                elif group.kind == FAILED and member.origin == ROOT and group.failure is not None:
                    self._tell_failure(job, member.lo, group.failure, spawned=False)
        if group.kind == COMBINED:
            member = group.members[0]
            root = member.lo if member.origin == ROOT else member.root
            self._send(job.client, messages.Partial(job.id, root, group.data))

    def _tell_failure(self, job: Job, root: int, failure: Failure, *, spawned: bool) -> None:
        self._send(
            job.client,
            messages.Failed(
                job.id, root, spawned, failure.kind, failure.message, failure.traceback, failure.where, failure.data
            ),
        )

    def _end_if_complete(self, job: Job) -> None:
        if job.id not in self._jobs:
            return
        if job.complete:
            self._end(job, "done")
        elif job is self._governing and job.ledger.empty:
            self._govern_anew()

    def _end(self, job: Job, state: str) -> None:
        del self._jobs[job.id]
        job.end(state, self._now)
        self._remember(job)
        if job is self._governing:
            self._govern_anew()
        if job.client in self._clients:
            self._send(job.client, messages.JobDone(job.id))
        for peer, worker in self._workers.items():
            # Who got all of its work from other workers was told by them.
            if worker.told.knows(job.id) or peer in job.tallies:
                worker.told.forget(job.id)
                self._send(peer, messages.JobEnded(job.id))

    def _remember(self, job: Job) -> None:
        """Keep the report of a job that has ended."""
        self._ended[job.id] = job
        if len(self._ended) > limits.REPORTS_KEPT:
            del self._ended[next(iter(self._ended))]

    # --- recovery ---------------------------------------------------------------------------------

    def _ask_inventory(self) -> None:
        if not self._jobs:
            return
        self._rounds += 1
        self._round = InventoryRound(self._rounds, set(self._workers))
        for peer in self._workers:
            self._send(peer, messages.AskInventory(self._rounds))

    def _finish_round(self) -> None:
        if self._round is None:
            return
        self._round.pending &= self._workers.keys()
        if self._round.pending:
            return
        finished, self._round = self._round, None
        for job in self._jobs.values():
            for origin, lo, hi in finished.missing(job):
                if job.requeue(origin, lo, hi):
                    self._stall.moved()

    # --- sending ----------------------------------------------------------------------------------

    def _send_work(self, peer: PeerId, batches: Sequence[Batch]) -> None:
        self._balancer.gets_work(peer)
        self._transfers += 1
        self._deliver(peer, self._transfers, CONTROLLER, tuple(batches))

    def _deliver(self, peer: PeerId, transfer: int, donor: PeerId, batches: tuple[Batch, ...]) -> None:
        self._wet.add(peer)
        told = self._workers[peer].told
        for batch in batches:
            job = self._jobs[batch.job]
            for message in told.before(batch, job.options, job.functions):
                self._send(peer, message)
        if self._round is not None:
            self._round.placed(batches)
        self._send(peer, messages.SendWork(transfer, donor, batches))

    def _tally(self, job: Job, peer: PeerId) -> Tally:
        tally = job.tallies.get(peer)
        if tally is None:
            worker = self._workers[peer]
            tally = job.tallies[peer] = Tally(worker.name, worker.slots)
        return tally

    def _send(self, to: PeerId, message: messages.Message) -> None:
        kind = type(message)
        self._said[kind] = self._said.get(kind, 0) + 1
        self._effects.append(effects.Send(to, message))

    def _do(self, effect: Effect) -> None:
        self._effects.append(effect)


_FROM_CLIENT: dict[type, Callable[[Controller, PeerId, Any], None]] = {
    messages.OpenJob: Controller._on_open_job,
    messages.Function: Controller._on_client_function,
    messages.Submit: Controller._on_submit,
    messages.CloseJob: Controller._on_close_job,
    messages.Cancel: Controller._on_cancel,
    messages.Ask: Controller._on_ask,
}

_FROM_WORKER: dict[type, Callable[[Controller, PeerId, Any], None]] = {
    messages.Function: Controller._on_worker_function,
    messages.NonIdle: Controller._on_nonidle,
    messages.Idle: Controller._on_idle,
    messages.NoWork: Controller._on_no_work,
    messages.Relay: Controller._on_relay,
    messages.Ack: Controller._on_ack,
    messages.Inventory: Controller._on_inventory,
    messages.Result: Controller._on_result,
    messages.AskThrough: Controller._on_ask_through,
    messages.AskTarget: Controller._on_ask_target,
    messages.Asked: Controller._on_asked,
}
