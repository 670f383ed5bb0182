"""The controller's decisions: who gets new work, who is told of whom, and when a job is done.

Pure: :meth:`Controller.handle` takes an event and the time, and returns the effects to carry out in
order. It must not know how messages travel, and it never looks into a payload.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
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
from lbnet.core.liveness import Liveness
from lbnet.core.promises import Promises
from lbnet.core.rebuilding import rebuilt
from lbnet.core.stall import StallWatch
from lbnet.protocol import messages, records
from lbnet.types import (
    CONTROLLER,
    ROOT,
    Address,
    Batch,
    ClusterStatus,
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
        journal: whether what happens to jobs is kept (``Persist``): the driver answers with ``Persisted``.
        client_grace_s: how long a client whose link broke may be away before its jobs are cancelled.
        deadline_s: how long links may be silent; 0: for ever.
    """

    def __init__(
        self,
        load: Load,
        *,
        strategy: str,
        placement: str,
        version: str = "",
        no_workers_timeout_s: float = limits.NO_WORKERS_TIMEOUT_S,
        journal: bool = False,
        client_grace_s: float = limits.CLIENT_GRACE_S,
        deadline_s: float = 0.0,
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
        self._liveness = Liveness(deadline_s)
        self._watched = deadline_s > 0
        self._armed_at: float | None = None
        self._started_at: float | None = None
        self._now = 0.0
        self._effects: list[Effect] = []
        self._got: dict[type, int] = {}
        self._said: dict[type, int] = {}
        self._client_grace_s = client_grace_s
        self._gone: dict[PeerId, float] = {}
        self._recover_at: float | None = None
        self._promises = Promises(self._do, self._send, journal=journal)
        self.journal = "off"
        """What status says of the journal: the driver knows."""

    @property
    def deadline_s(self) -> float:
        """How long links may be silent, in seconds; 0: for ever."""
        return self._liveness.deadline_s

    @property
    def strategy_error(self) -> Exception | None:
        """What the strategy raised last, for people; such a step goes on without its decisions."""
        return self._balancer.error

    # --- a controller that was there before ---------------------------------------------------------

    def restore(self, kept: Iterable[records.Record], now: float) -> None:
        """Go on where the journal ends. Workers and clients come back by themselves; call it before any event.

        Raises:
            JournalError: the records make no sense in this order.
        """
        self._now = now
        for job in rebuilt(kept):
            job.outbox.safe = job.outbox.end
            job.safe_items = job.ledger.submitted
            job.opened_at = min(job.opened_at, now)  # a machine's clock begins anew when it does
            self._opened = max(self._opened, job.number)
            self._gone[job.client] = now + self._client_grace_s
            if job.state == "running":
                self._jobs[job.id] = job
            else:
                self._ended[job.id] = job
        for job in list(self._jobs.values()):
            self._end_if_complete(job)
        if self._jobs:
            self._recover_at = now + limits.REJOIN_GRACE_S
            self._last_worker_lost = "with the controller, which was started again"
            self._no_workers_at = now + self._no_workers_timeout_s
            self._govern_anew()

    # --- events -----------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take an event; returns what is to be done, in order. Never raises, whatever a peer sent."""
        self._now = now
        if self._started_at is None:
            self._started_at = now
        if isinstance(event, events.Received):
            if self._watched:
                self._liveness.heard(event.peer, now)
            self._on_message(event.peer, event.message)
        elif isinstance(event, events.Joined):
            self._on_joined(event)
        elif isinstance(event, events.Left):
            self._on_left(event)
        elif isinstance(event, events.Persisted):
            self._promises.persisted(event.count)
        elif isinstance(event, events.Heard):
            self._liveness.heard(event.peer, now)
        else:
            assert isinstance(event, events.Tick), event
            self._armed_at = None
        if self._watched and now >= self._liveness.look_at:
            self._look_at_links()
        self._look()
        self._promises.flush()
        done, self._effects = self._effects, []
        if self._watched:
            self._liveness.said(done, now)
        return done

    def job(self, job: JobId) -> Job | None:
        """A job that is running or has ended."""
        return self._jobs.get(job) or self._ended.get(job)

    def jobs(self) -> list[Job]:
        """All jobs that are known: those that have ended, then those that run."""
        return [*self._ended.values(), *self._jobs.values()]

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
            journal=self.journal,
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

    def _on_beat(self, peer: PeerId, message: messages.Beat) -> None:
        """That it came is all that it says."""

    def _on_joined(self, event: events.Joined) -> None:
        self._liveness.opened(event.peer, self._now)
        if event.role == "client":
            self._clients.add(event.peer)
            self._gone.pop(event.peer, None)
            return
        self._workers[event.peer] = _Worker(event.name, event.host, event.pid, event.slots, event.address)
        self._balancer.joined(event.peer, event.address)
        self._no_workers_at = None
        self._slots += event.slots
        for job in self._jobs.values():
            job.slots = max(job.slots, self._slots)

    def _on_left(self, event: events.Left) -> None:
        self._liveness.closed(event.peer)
        if event.peer in self._clients:
            self._clients.discard(event.peer)
            for job in (*self._jobs.values(), *self._ended.values()):
                if job.client == event.peer:
                    job.attached = False
            if event.on_purpose:
                self._give_up_jobs(event.peer)
            else:
                self._gone[event.peer] = self._now + self._client_grace_s
        elif event.peer in self._workers:
            self._lose(event.peer, event.reason)

    def _lose(self, peer: PeerId, reason: str) -> None:
        """A worker is gone: forget its flags, and ask the living who holds what."""
        worker = self._workers.pop(peer)
        self._promises.forget_worker(peer)
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

    def _look_at_links(self) -> None:
        """Say BEAT where nothing else was said, and give up those who are silent: they have left when that is heard."""
        beat, dead = self._liveness.look(self._now)
        for peer in dead:
            self._do(effects.Disconnect(peer, self._liveness.silence(), silent=True))
        for peer in beat:
            self._send(peer, messages.Beat())

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
        if self._recover_at is not None and self._now >= self._recover_at:
            self._recover_at = None
            self._ask_inventory()
            self._finish_round()
            self._place()
        gone_at = self._look_for_clients()
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
        times = [
            at for at in (self._no_workers_at, self._recover_at, self._stall.at, gone_at, look_at) if at is not None
        ]
        at = min(times, default=math.inf)
        if self._watched:
            at = min(at, self._liveness.look_at)
            if at == self._armed_at:
                return
            self._armed_at = at
        if at < math.inf:
            self._do(effects.SetTimer(at))

    def _fail_all(self) -> None:
        for job in list(self._jobs.values()):
            self._end(job, "failed", f"no worker is left; the last one was lost ({self._last_worker_lost})")

    def _give_up_jobs(self, client: PeerId) -> None:
        """A client will not come back: nobody wants what comes of its jobs, but of those that are detached."""
        self._gone.pop(client, None)
        for job in [job for job in (*self._jobs.values(), *self._ended.values()) if job.client == client]:
            if job.options.detached:
                continue
            if job.id in self._jobs:
                self._end(job, "cancelled")
            if len(job.outbox):
                self._take(job, job.outbox.end)

    def _look_for_clients(self) -> float | None:
        """Clients that were away for too long are gone. Returns when the next one will be."""
        if not self._gone:
            return None
        for client in [client for client, at in self._gone.items() if self._now >= at]:
            self._give_up_jobs(client)
        return min(self._gone.values(), default=None)

    # --- clients ----------------------------------------------------------------------------------

    def _on_open_job(self, peer: PeerId, message: messages.OpenJob) -> None:
        known = self.job(message.job)
        if known is not None and known.client == peer and known.state == "refused":
            self._refuse(known)  # the first answer was lost with its link
            return
        if known is not None:
            self._do(effects.Disconnect(peer, f"job {message.job} exists already"))
            return
        options = replace(
            message.options,
            placement=message.options.placement or self._placement,
            strategy=message.options.strategy or self._strategy,
        )
        self._opened += 1
        opened = records.Opened(message.job, peer, self._opened, options, self._now, self._slots)
        job = Job(opened)
        problem = self._balancer.problem_of(options.strategy)
        if problem is None:
            job.attached = True
            self._jobs[job.id] = job
            self._promises.began(job, opened)
            return
        job.state, job.ended_at = "refused", self._now
        self._remember(job)
        self._refuse(job)

    def _refuse(self, job: Job) -> None:
        problem = self._balancer.problem_of(job.options.strategy)
        self._send(job.client, messages.JobRefused(job.id, f"the controller knows no such strategy: {problem}"))

    def _on_client_function(self, peer: PeerId, message: messages.Function) -> None:
        job = self._own_job(peer, message.job)
        if job is not None and message.digest not in job.functions:
            self._promises.happens(job, message)

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
        self._promises.happens(job, message)
        self._promises.submitted(job)
        self._govern(job)

    def _on_close_job(self, peer: PeerId, message: messages.CloseJob) -> None:
        job = self._own_job(peer, message.job)
        if job is None:
            return
        if message.total != job.ledger.submitted:
            self._do(effects.Disconnect(peer, f"job {message.job} was closed with a wrong total"))
            return
        self._promises.happens(job, message)
        self._end_if_complete(job)

    def _on_cancel(self, peer: PeerId, message: messages.Cancel) -> None:
        job = self._own_job(peer, message.job)
        if job is None:
            return
        if message.lo <= 0 and message.hi >= job.ledger.submitted:
            self._end(job, "cancelled")
            return
        for lo, hi in job.withdraw(message.lo, message.hi):
            self._promises.happens(job, records.Dropped(job.id, lo, hi))
        self._end_if_complete(job)

    def _on_attach(self, peer: PeerId, message: messages.Attach) -> None:
        """A client is back, or a new one wants a job that was left to itself."""
        job = self.job(message.job)
        owned = job is not None and job.client in self._clients and not job.options.detached
        over = job is not None and job.id not in self._jobs and not len(job.outbox)
        if job is None or over or job.state == "refused":
            text = "the controller knows no such job: it ended and was taken, or the controller began anew without it"
            self._send(peer, messages.JobRefused(message.job, text))
            return
        if job.client != peer:
            if owned:
                self._send(peer, messages.JobRefused(job.id, "the job is another client's, which is connected"))
                return
            self._promises.happens(job, records.Owned(job.id, peer))
        job.attached = True
        job.outbox.rewind(message.seen)
        closed = job.total is not None
        self._send(peer, messages.Attached(job.id, job.ledger.submitted, closed, job.outbox.told))
        self._send(peer, messages.Submitted(job.id, job.safe_items))
        self._promises.tell(job)

    def _on_taken(self, peer: PeerId, message: messages.Taken) -> None:
        job = self.job(message.job)
        if job is None:
            return
        if job.client != peer:
            return  # it was this client's
        if message.upto > job.outbox.told:
            self._do(effects.Disconnect(peer, f"outcomes of job {message.job} were taken that were not given"))
            return
        self._take(job, message.upto)

    def _take(self, job: Job, upto: int) -> None:
        if upto > job.outbox.taken:
            self._promises.happens(job, messages.Taken(job.id, upto))
        if job.id not in self._jobs and not len(job.outbox):
            self._promises.over(job.id)

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
        if job is not None and message.digest not in job.functions:
            self._promises.happens(job, message)

    def _on_rejoined(self, peer: PeerId, message: messages.Rejoined) -> None:
        """A worker is back, and may still hold what has ended meanwhile."""
        for number in message.jobs:
            if number not in self._jobs:
                self._send(peer, messages.JobEnded(number))

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
        self._promises.heard(peer, message)
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
        good: list[Group] = []
        for group in message.groups:
            if checks.is_without_function(group, job.functions):
                # It was said while the job was not known here, after a restart: its tasks are missed, and run again.
                continue
            problem = checks.problem_of_group(group, job.id, job.options.reduce, job.functions)
            if problem is not None:
                self._do(effects.Disconnect(peer, problem))
                break
            good.append(group)
            self._stall.moves(self._now)
            tasks = sum(member.hi - member.lo for member in group.members)
            seconds = checks.plausible_s(group.seconds)
            worker.tasks_done += tasks
            worker.busy_s += seconds
            function = job.store.function_of(group.members[0].origin, group.members[0].lo)
            if function is not None:
                self._durations.observe(function, tasks, seconds)
        if good:
            self._promises.happens(job, records.Results(job.id, peer, worker.name, worker.slots, tuple(good)))
        self._end_if_complete(job)

    # --- the end of a job ---------------------------------------------------------------------------

    def _end_if_complete(self, job: Job) -> None:
        if job.id not in self._jobs:
            return
        if job.complete:
            self._end(job, "done")
        elif job is self._governing and job.ledger.empty:
            self._govern_anew()

    def _end(self, job: Job, state: str, reason: str = "") -> None:
        del self._jobs[job.id]
        self._promises.happens(job, records.Ended(job.id, state, reason, self._now))
        self._remember(job)
        if job is self._governing:
            self._govern_anew()
        for peer, worker in self._workers.items():
            # Who got all of its work from other workers was told by them.
            if worker.told.knows(job.id) or peer in job.tallies:
                worker.told.forget(job.id)
                self._send(peer, messages.JobEnded(job.id))

    def _remember(self, job: Job) -> None:
        """Keep the report of a job that has ended; and the job, until its client has taken what came of it."""
        self._ended[job.id] = job
        if len(self._ended) > limits.REPORTS_KEPT:
            oldest = next((number for number, ended in self._ended.items() if not len(ended.outbox)), None)
            if oldest is not None:
                del self._ended[oldest]

    # --- recovery ---------------------------------------------------------------------------------

    def _ask_inventory(self) -> None:
        if not self._jobs or self._recover_at is not None:
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
        worker = self._workers.get(peer)
        return job.tallies[peer] if worker is None else job.tally(peer, worker.name, worker.slots)

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
    messages.Attach: Controller._on_attach,
    messages.Taken: Controller._on_taken,
    messages.Beat: Controller._on_beat,
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
    messages.Rejoined: Controller._on_rejoined,
    messages.Beat: Controller._on_beat,
}
