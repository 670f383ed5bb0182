"""The controller's decisions: who gets new work, who is told of whom, and when a job is done.

Pure: :meth:`Controller.handle` takes an event and the time, and returns the effects to carry out in
order. It must not know how messages travel, and it never looks into a payload.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any

from lbnet import limits
from lbnet.core import checks, effects, events, placement
from lbnet.core.durations import Durations
from lbnet.core.effects import Effect
from lbnet.core.events import Event
from lbnet.core.introductions import Introductions
from lbnet.core.inventory import InventoryRound
from lbnet.core.job import Job, Tally
from lbnet.core.ledger import Committed, Requeue, RootSettled
from lbnet.core.stall import StallWatch
from lbnet.protocol import messages
from lbnet.strategies.base import AskToSplit, ControllerDecision, ControllerStrategy, Pair
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
    """A worker as the controller sees it.

    ``dry``: as far as it has told, it has a free slot, and this controller has sent it nothing since. Unlike the idle
    list, a MATCH does not change it: it promises work, and may come to nothing.
    """

    name: str
    host: str
    pid: int
    slots: int
    address: Address
    told: Introductions = field(default_factory=Introductions)
    dry: bool = True
    tasks_done: int = 0
    busy_s: float = 0.0


class Controller:
    """The state machine of the controller. It is also the view that its strategy gets.

    Args:
        strategy: the controller's half of the strategy.
        strategy_name: for reports.
        placement: ``first`` or ``spread``, for jobs that do not say.
        no_workers_timeout_s: how long jobs wait for a worker after the last one was lost.
    """

    def __init__(
        self,
        strategy: ControllerStrategy,
        *,
        strategy_name: str,
        placement: str,
        version: str = "",
        no_workers_timeout_s: float = limits.NO_WORKERS_TIMEOUT_S,
    ) -> None:
        self._strategy = strategy
        self._strategy_name = strategy_name
        self._placement = placement
        self._version = version
        self._workers: dict[PeerId, _Worker] = {}
        self._clients: set[PeerId] = set()
        self._jobs: dict[JobId, Job] = {}
        self._ended: dict[JobId, Job] = {}
        self._idle: dict[PeerId, float] = {}
        self._offers: dict[PeerId, float] = {}
        self._asked: set[PeerId] = set()
        self._matched: dict[PeerId, PeerId] = {}
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
        self.strategy_error: Exception | None = None
        """What the strategy raised last, for people; such a step goes on without its decisions."""

    # --- what the strategy may see ----------------------------------------------------------------

    @property
    def workers(self) -> Sequence[PeerId]:
        """All workers, in the order in which they joined."""
        return list(self._workers)

    @property
    def idle(self) -> Mapping[PeerId, float]:
        """Workers that want work, with the seconds that they still had when they said so."""
        return MappingProxyType(self._idle)

    @property
    def offers(self) -> Mapping[PeerId, float]:
        """Standing offers of surplus, in seconds."""
        return MappingProxyType(self._offers)

    @property
    def asked_to_split(self) -> frozenset[PeerId]:
        """Workers that were told of hunger and have not offered since."""
        return frozenset(self._asked)

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
            strategy=self._strategy_name,
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
                    state="idle" if self._idle.get(peer, 1.0) <= 0 else "working",
                    surplus_s=self._offers.get(peer, 0.0),
                    tasks_done=worker.tasks_done,
                    busy_s=worker.busy_s,
                )
                for peer, worker in self._workers.items()
            ),
            jobs=tuple(job.report(self._now) for job in (*self._ended.values(), *self._jobs.values())),
        )

    def _on_message(self, peer: PeerId, message: messages.Message) -> None:
        table = _FROM_WORKER if peer in self._workers else _FROM_CLIENT if peer in self._clients else {}
        handler = table.get(type(message))
        if handler is None:
            self._do(effects.Disconnect(peer, f"{type(message).__name__} is not expected from this peer"))
        else:
            handler(self, peer, message)

    def _on_joined(self, event: events.Joined) -> None:
        if event.role == "client":
            self._clients.add(event.peer)
            return
        self._workers[event.peer] = _Worker(event.name, event.host, event.pid, event.slots, event.address)
        self._no_workers_at = None
        slots = sum(worker.slots for worker in self._workers.values())
        for job in self._jobs.values():
            job.slots = max(job.slots, slots)

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
        self._idle.pop(peer, None)
        self._offers.pop(peer, None)
        self._asked.discard(peer)
        self._matched.pop(peer, None)
        for requester in [requester for requester, donor in self._matched.items() if donor == peer]:
            del self._matched[requester]
            self._send(requester, messages.NoWork(peer, requester))
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
        self._balance()
        self._watch()

    def _place(self) -> None:
        """Hand the backlog to workers that want work: the controller is just another sender."""
        if not self._workers or not any(job.backlog for job in self._jobs.values()):
            return
        first = next(iter(self._workers))
        for job in self._jobs.values():
            if job.options.placement == "first" and job.backlog:
                for batches in placement.everything(job):
                    self._send_work(first, batches)
        slots_all = sum(worker.slots for worker in self._workers.values())
        for peer in sorted(self._idle, key=lambda peer: self._idle[peer]):
            batches = placement.grant(list(self._jobs.values()), self._durations, self._workers[peer].slots, slots_all)
            if batches:
                self._send_work(peer, batches)
                # The job that was served goes to the end of the line.
                self._jobs[batches[0].job] = self._jobs.pop(batches[0].job)

    def _balance(self) -> None:
        """The load-balancing step. Decisions that make no sense are ignored."""
        for decision in self._decisions():
            if isinstance(decision, Pair):
                self._pair(decision.donor, decision.requester)
            elif isinstance(decision, AskToSplit) and self._can_be_asked(decision.worker):
                self._asked.add(decision.worker)
                self._send(decision.worker, messages.Hungry(len(self._idle)))

    def _pair(self, donor: PeerId, requester: PeerId) -> None:
        """Match them, if that makes sense. Whoever is matched is not idle any more, so that nobody else is sent to it.

        The donor gives half of its surplus, so half of its offer stands.
        """
        if donor == requester or not self._is_worker(donor) or not self._is_idle(requester):
            return
        rest_s = self._offers.pop(donor, 0.0) / 2
        if rest_s >= limits.SURPLUS_MIN_S:
            self._offers[donor] = rest_s
        del self._idle[requester]
        self._matched[requester] = donor
        address = self._workers[requester].address
        self._send(donor, messages.Match(requester, address.host, address.port))

    def _decisions(self) -> list[ControllerDecision]:
        try:
            return list(self._strategy.balance(self))
        except Exception as error:  # noqa: BLE001 - a strategy may be anybody's code: it can make lbnet slow, never wrong
            self.strategy_error = error
            return []

    def _is_worker(self, peer: object) -> bool:
        return type(peer) is int and peer in self._workers

    def _is_idle(self, peer: object) -> bool:
        return type(peer) is int and peer in self._idle

    def _can_be_asked(self, peer: object) -> bool:
        return self._is_worker(peer) and peer not in self._asked

    def _watch(self) -> None:
        """What must happen although nobody says anything."""
        if self._no_workers_at is not None and self._now >= self._no_workers_at:
            self._no_workers_at = None
            self._fail_all()
        still = (
            bool(self._workers)
            and self._round is None
            and all(worker.dry for worker in self._workers.values())
            and any(not job.ledger.empty and not job.backlog for job in self._jobs.values())
        )
        if self._stall.due(still, self._now):
            self._ask_inventory()
        times = [at for at in (self._no_workers_at, self._stall.at) if at is not None]
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
            strategy=message.options.strategy or self._strategy_name,
        )
        slots = sum(worker.slots for worker in self._workers.values())
        job = Job(message.job, peer, options, self._now, slots)
        if options.strategy == self._strategy_name:
            self._jobs[job.id] = job
            return
        job.end("refused", self._now)
        self._remember(job)
        reason = (
            f"this cluster balances by {self._strategy_name!r}, the job asks for {options.strategy!r}: "
            f"start the controller and its workers with --strategy {options.strategy}"
        )
        self._send(peer, messages.JobRefused(job.id, reason))

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
        self._matched.pop(peer, None)
        queued_s = checks.plausible_s(message.queued_s)
        self._idle[peer] = queued_s
        self._workers[peer].dry = queued_s <= 0
        if queued_s <= 0:
            self._offers.pop(peer, None)
            self._asked.discard(peer)

    def _on_nonidle(self, peer: PeerId, message: messages.NonIdle) -> None:
        self._asked.discard(peer)
        if message.surplus_s > 0:
            self._offers[peer] = message.surplus_s

    def _on_no_work(self, peer: PeerId, message: messages.NoWork) -> None:
        """The donor had nothing after all, and no link to the requester."""
        if message.requester in self._workers:
            self._matched.pop(message.requester, None)
            self._send(message.requester, messages.NoWork(peer, message.requester))

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
        if job.id in self._jobs and job.complete:
            self._end(job, "done")

    def _end(self, job: Job, state: str) -> None:
        del self._jobs[job.id]
        job.end(state, self._now)
        self._remember(job)
        if job.client in self._clients:
            self._send(job.client, messages.JobDone(job.id))
        for peer, worker in self._workers.items():
            if worker.told.knows(job.id):
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
        self._idle.pop(peer, None)
        self._transfers += 1
        self._deliver(peer, self._transfers, CONTROLLER, tuple(batches))

    def _deliver(self, peer: PeerId, transfer: int, donor: PeerId, batches: tuple[Batch, ...]) -> None:
        self._workers[peer].dry = False
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
}
