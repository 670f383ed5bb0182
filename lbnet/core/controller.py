"""The controller's decisions: who gets new work, who is told of whom, and when a job is done.

Pure: :meth:`Controller.handle` takes an event and the time, and returns the effects to carry out in
order. It must not know how messages travel, and it never looks into a payload.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from lbnet import limits
from lbnet.core import checks, effects, events, gap, placement
from lbnet.core.account import Account
from lbnet.core.balancer import Balancer, Load
from lbnet.core.clients import Clients
from lbnet.core.durations import Durations
from lbnet.core.effects import Effect
from lbnet.core.enquiries import Enquiries, of_job
from lbnet.core.events import Event
from lbnet.core.explaining import facts_of
from lbnet.core.following import Following
from lbnet.core.introductions import Introductions
from lbnet.core.job import Job, Tally
from lbnet.core.jobs import Jobs
from lbnet.core.liveness import Liveness
from lbnet.core.presence import Presence
from lbnet.core.promises import Promises
from lbnet.core.rebuilding import rebuilt
from lbnet.core.recovery import Recovery
from lbnet.protocol import messages, records
from lbnet.types import (
    CONTROLLER,
    Address,
    Batch,
    ClusterStatus,
    Group,
    JobId,
    JobReport,
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
    leaving: bool = False
    tasks_done: int = 0
    busy_s: float = 0.0
    relayed: dict[str, int] = field(default_factory=dict)


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
        outcomes_bytes: of the outcomes of a detached job that are in memory; a journal takes the others.
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
        outcomes_bytes: int = limits.OUTCOMES_BYTES_MAX,
        store_bytes: int = limits.STORE_BYTES_MAX,
    ) -> None:
        self._store_bytes = store_bytes
        self._balancer = Balancer(load, strategy, self._send)
        self._promises = Promises(
            self._do, self._send, journal=journal, patient=self._is_patient, memory_bytes=outcomes_bytes
        )
        self._jobs = Jobs(self._promises, self._balancer, ended=self._on_ended, withdrawn=self._on_withdrawn)
        self._recovery = Recovery(self._jobs, self._send)
        self._clients = Clients(
            self._jobs,
            self._promises,
            problem_of=self._balancer.problem_of,
            slots=lambda: self._slots,
            do=self._do,
            send=self._send,
            strategy=strategy,
            placement=placement,
            grace_s=client_grace_s,
        )
        self._enquiries = Enquiries(self._send)
        self._following = Following(self._send, lambda: self._workers)
        self._presence = Presence()
        self._strategy = strategy
        self._placement = placement
        self._version = version
        self._workers: dict[PeerId, _Worker] = {}
        self._wet: set[PeerId] = set()
        self._slots = 0
        self._relays: dict[int, tuple[PeerId, int, PeerId]] = {}
        self._transfers = 0
        self._durations = Durations()
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

    def restore(self, kept: Iterable[records.Record], now: float, workers: Collection[PeerId] | None = None) -> None:
        """Go on where the journal ends. Workers and clients come back by themselves; call it before any event.

        Args:
            kept: the journal.
            now: the time.
            workers: who was there: nothing is missed before they are back, or had the time to be. None: nobody knows.

        Raises:
            JournalError: the records make no sense in this order.
        """
        self._now = now
        self._jobs.restore(rebuilt(kept), now)
        for job in self._jobs.all():
            self._clients.expect(job.client, now)
        if self._jobs.running:
            self._recovery.begin_again(now, workers)
            self._last_worker_lost = "with the controller, which was started again"
            self._no_workers_at = now + self._no_workers_timeout_s

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
        elif isinstance(event, events.Fetched):
            job = self._jobs.get(event.job)
            if job is not None:
                self._promises.fetched(job, event.begin, event.outcomes, event.problem)
        elif isinstance(event, events.Trouble):
            self._clients.in_trouble(event.text, over=event.over)
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
            self._liveness.said([effect.to for effect in done if type(effect) is effects.Send], now)
        return done

    @property
    def input_bytes(self) -> int:
        """Of the inputs of tasks that have not ended."""
        return sum(job.store.size_bytes for job in self._jobs.running.values())

    def job(self, job: JobId) -> Job | None:
        """A job that is running or has ended."""
        return self._jobs.get(job)

    def jobs(self) -> list[Job]:
        """All jobs that are known: those that have ended, then those that run."""
        return self._jobs.all()

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
                    state=self._state_of(peer, worker),
                    surplus_s=self._balancer.offers.get(peer, 0.0),
                    tasks_done=worker.tasks_done,
                    busy_s=worker.busy_s,
                    relayed=dict(worker.relayed),
                )
                for peer, worker in self._workers.items()
            ),
            jobs=tuple(job.report(self._now) for job in self._jobs.all()),
            got={kind.__name__: count for kind, count in self._got.items()},
            sent={kind.__name__: count for kind, count in self._said.items()},
            journal=self.journal,
        )

    def _state_of(self, peer: PeerId, worker: _Worker) -> str:
        if worker.leaving:
            return "leaving"
        return "idle" if self._balancer.idle.get(peer, 1.0) <= 0 else "working"

    def _on_message(self, peer: PeerId, message: messages.Message) -> None:
        kind = type(message)
        self._got[kind] = self._got.get(kind, 0) + 1
        if peer in self._workers:
            handler = _FROM_WORKER.get(kind)
        elif peer not in self._clients:
            handler = None
        elif self._clients.hears(kind):
            self._clients.handle(peer, message, self._now)
            return
        else:
            handler = _FROM_CLIENT.get(kind)
        if handler is None:
            self._do(effects.Disconnect(peer, f"{kind.__name__} is not expected from this peer"))
        else:
            handler(self, peer, message)

    def _on_beat(self, peer: PeerId, message: messages.Beat) -> None:
        """That it came is all that it says."""

    def _on_joined(self, event: events.Joined) -> None:
        self._liveness.opened(event.peer, self._now)
        if event.role == "client":
            self._clients.joined(event.peer)
            return
        self._workers[event.peer] = _Worker(event.name, event.host, event.pid, event.slots, event.address)
        self._balancer.joined(event.peer, event.address)
        self._presence.joined(event.peer, event.name, event.slots, self._now, back=event.back)
        self._recovery.joined(event.peer, self._now)
        self._following.joined(event.peer)
        self._no_workers_at = None
        self._slots += event.slots
        for job in self._jobs.running.values():
            job.slots = max(job.slots, self._slots)

    def _on_left(self, event: events.Left) -> None:
        self._liveness.closed(event.peer)
        self._enquiries.left(event.peer)
        self._following.left(event.peer)
        if event.peer in self._clients:
            self._clients.left(event.peer, self._now, on_purpose=event.on_purpose)
        elif event.peer in self._workers:
            self._lose(event.peer, event.reason, on_purpose=event.on_purpose)

    def _lose(self, peer: PeerId, reason: str, *, on_purpose: bool) -> None:
        """A worker is gone: forget its flags, and ask the living who holds what. One that took leave held nothing."""
        worker = self._workers.pop(peer)
        self._presence.left(peer, self._now)
        self._promises.forget_worker(peer)
        self._wet.discard(peer)
        if not worker.leaving:
            self._slots -= worker.slots
            self._balancer.left(peer)
        for number in [number for number, relay in self._relays.items() if relay[2] == peer]:
            donor, transfer, _ = self._relays.pop(number)
            self._send(donor, messages.Ack(transfer))
        if self._workers:
            if not (worker.leaving and on_purpose):
                self._recovery.ask(self._workers, "a worker was lost")
            return
        self._recovery.nobody_left()
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
        self._recovery.finish(self._workers)
        self._place()
        self._watch(self._balancer.look(self._now))

    def _place(self) -> None:
        """Hand the backlog to workers that want work: the controller is just another sender."""
        for job in self._jobs.running.values():
            if job.backlog:
                break
        else:
            return
        workers = self._balancer.workers
        if not workers:
            return
        for job in self._jobs.in_order():
            if job.options.placement == "first" and job.backlog:
                first = workers[0]
                for batches in placement.everything(job):
                    self._send_work(first, batches)
        idle = self._balancer.idle
        if idle:
            for peer in sorted(idle, key=idle.__getitem__):
                batches = self._grant(peer, self._jobs.in_order())
                if not batches:
                    break
                self._send_work(peer, batches)
                # The job that was served goes to the end of the line.
                self._jobs.running[batches[0].job] = self._jobs.running.pop(batches[0].job)
        for job in self._jobs.take_pressing():
            for peer in self._balancer.workers:
                self._press(job, peer)

    def _grant(self, peer: PeerId, jobs: Sequence[Job]) -> list[Batch]:
        slots = self._workers[peer].slots
        return placement.grant(jobs, self._durations, slots, self._slots, self._balancer.grant)

    def _press(self, job: Job, peer: PeerId) -> None:
        """A worker that has finished half of what it got of a job gets more: it may not ask before all else is done."""
        tally = job.tallies.get(peer)
        hungry = tally is None or 2 * tally.tasks >= tally.granted
        if hungry and job.backlog and not self._workers[peer].leaving:
            batches = self._grant(peer, (job,))
            if batches:
                self._send_work(peer, batches)

    def _watch(self, look_at: float | None) -> None:
        """What must happen although nobody says anything."""
        if self._recovery.waited(self._now, self._workers):
            self._recovery.finish(self._workers)
            self._place()
        gone_at = self._clients.look(self._now)
        asked_at = self._enquiries.look(self._now)
        if self._no_workers_at is not None and self._now >= self._no_workers_at:
            self._no_workers_at = None
            self._fail_all()
        still = (
            bool(self._workers)
            and not self._recovery.asking
            and not self._wet
            and any(not job.ledger.empty and not job.backlog for job in self._jobs.running.values())
        )
        self._recovery.look(self._now, self._workers, still=still)
        at = self._liveness.look_at if self._watched else math.inf
        for other in (self._no_workers_at, self._recovery.at, gone_at, asked_at, look_at):
            if other is not None and other < at:
                at = other
        if self._watched:
            if at == self._armed_at:
                return
            self._armed_at = at
        if at < math.inf:
            self._do(effects.SetTimer(at))

    def _fail_all(self) -> None:
        for job in list(self._jobs.running.values()):
            reason = f"no worker is left; the last one was lost ({self._last_worker_lost})"
            self._jobs.end(job, "failed", reason, self._now, "NoWorkersError")

    def _on_ended(self, job: Job) -> None:
        """Whoever knows of a job is told that it is over: who got all of its work from others was told by them."""
        for peer, worker in self._workers.items():
            if worker.told.knows(job.id) or peer in job.tallies:
                worker.told.forget(job.id)
                self._send(peer, messages.JobEnded(job.id))

    def _on_withdrawn(self, job: Job, lo: int, hi: int) -> None:
        """Nobody wants these items. Where their tasks are is not known here, and more of them may be on their way."""
        for peer in self._workers:
            self._send(peer, messages.Withdraw(job.id, lo, hi))

    def _is_patient(self, job: Job) -> bool:
        """Whether so much of it is outstanding that its client does not miss what it hears a moment later."""
        tasks = job.ledger.unaccounted
        if tasks < limits.PATIENT_TASKS * self._slots:
            return False
        mean_s = self._durations.mean_s(next(iter(job.functions), b""))
        return mean_s is not None and tasks * mean_s >= limits.PATIENT_S * self._slots

    # --- clients ----------------------------------------------------------------------------------

    def _on_ask(self, peer: PeerId, message: messages.Ask) -> None:
        if message.what in _ASKED_OF_WORKERS:
            self._enquire(peer, message)
            return
        if message.what == "balance" and self.job(message.job) is not None:
            self._ask_for_balance(peer, message)
            return
        facts: dict[str, Any] | None = None
        if message.what == "status":
            facts = asdict(self.status())
        elif message.what in {"report", "cancel"}:
            job = self.job(message.job)
            if message.what == "cancel" and message.job in self._jobs.running:
                self._jobs.end(self._jobs.running[message.job], "cancelled", "", self._now)
            facts = None if job is None else asdict(job.report(self._now))
        self._send(peer, messages.Answer(message.request, json.dumps(facts)))

    def _enquire(self, peer: PeerId, message: messages.Ask) -> None:
        facts: dict[str, Any] = of_job(message.job, message.index)
        if message.what == "explain":
            facts |= facts_of(self.job(message.job), message.index, self._jobs.in_order())
            facts["recovering"] = self._recovery.asking
        names = {number: worker.name for number, worker in self._workers.items()}
        self._enquiries.begin(peer, message, names, facts, self._now)

    def _ask_for_balance(self, peer: PeerId, message: messages.Ask) -> None:
        job, names = self.job(message.job), {number: worker.name for number, worker in self._workers.items()}
        assert job is not None, "somebody has looked"

        def conclude(facts: dict[str, Any], fastest_s: float) -> dict[str, Any]:
            answers = {PeerId(answer["id"]): Account.of(answer) for answer in facts["workers"]}
            return asdict(self.report_of(job, answers, fastest_s))

        self._enquiries.begin(peer, message, names, {}, self._now, conclude)

    def report_of(self, job: Job, accounts: Mapping[PeerId, Account | None], round_trip_s: float) -> JobReport:
        """The report of a job with its balance.

        Args:
            job: it may still run.
            accounts: what each worker that could be asked has said of its slots' time.
            round_trip_s: how long a message to a worker and its answer take.
        """
        begin, end = job.opened_at, self._now if job.ended_at is None else job.ended_at
        shares = [
            gap.Share(
                name=stay.name,
                slots=stay.slots,
                stay_s=stay_s,
                busy_s=tally.busy_s if tally is not None else 0.0,
                dropped_s=tally.dropped_s if tally is not None else 0.0,
                elsewhere_s=self._elsewhere_s(peer, job, begin, end),
                answered=peer in accounts,
                account=accounts.get(peer),
            )
            for peer, stay, stay_s in self._presence.during(begin, end)
            for tally in (job.tallies.get(peer),)
        ]
        balance = gap.balance(end - begin, shares, round_trip_s, over=job.ended_at is not None)
        return replace(job.report(self._now), balance=balance)

    def _elsewhere_s(self, peer: PeerId, job: Job, begin: float, end: float) -> float:
        """What a worker spent in tasks of other jobs between two times, if it spent it evenly."""
        seconds = 0.0
        for other in self._jobs.all():
            tally = other.tallies.get(peer) if other is not job else None
            if tally is not None:
                other_end = self._now if other.ended_at is None else other.ended_at
                shared_s = min(end, other_end) - max(begin, other.opened_at)
                if shared_s > 0:
                    seconds += tally.busy_s * shared_s / (other_end - other.opened_at)
        return seconds

    def _on_follow(self, peer: PeerId, message: messages.Follow) -> None:
        self._following.follows(peer, message)

    def _on_drain(self, peer: PeerId, message: messages.Drain) -> None:
        """Somebody wants a worker to leave. A name that several have means none of them."""
        meant = [
            number for number, worker in self._workers.items() if message.worker in {worker.name, str(int(number))}
        ]
        if len(meant) == 1:
            self._send(meant[0], messages.Leave(checks.plausible_s(message.grace_s)))
            self._unlist(meant[0])
        workers = [{"id": number, "name": worker.name} for number, worker in self._workers.items()]
        facts = {"meant": meant, "workers": workers}
        self._send(peer, messages.Answer(message.request, json.dumps(facts)))

    # --- workers ----------------------------------------------------------------------------------

    def _on_leaving(self, peer: PeerId, message: messages.Leaving) -> None:  # noqa: ARG002
        self._unlist(peer)
        self._promises.hurry(peer)
        self._send(peer, messages.Released())

    def _unlist(self, peer: PeerId) -> None:
        """This worker gets no more work from anybody, and what it says of its stock is no news."""
        worker = self._workers[peer]
        if not worker.leaving:
            worker.leaving = True
            self._wet.add(peer)
            self._slots -= worker.slots
            self._balancer.left(peer)

    def _on_idle(self, peer: PeerId, message: messages.Idle) -> None:
        if self._workers[peer].leaving:
            return
        stock_s = checks.plausible_s(message.queued_s)
        self._balancer.is_idle(peer, stock_s)
        if stock_s <= 0:
            self._wet.discard(peer)
        else:
            self._wet.add(peer)

    def _on_nonidle(self, peer: PeerId, message: messages.NonIdle) -> None:
        if not self._workers[peer].leaving:
            self._balancer.offers_work(peer, checks.plausible_s(message.surplus_s), message.tasks)

    def _on_no_work(self, peer: PeerId, message: messages.NoWork) -> None:
        """The donor had nothing after all, and no link to the requester."""
        if self._balancer.refused(message.requester):
            self._send(message.requester, messages.NoWork(peer, message.requester))

    def _on_ask_through(self, peer: PeerId, message: messages.AskThrough) -> None:
        if not self._workers[peer].leaving:
            self._balancer.asks_through(peer, message.donor)

    def _on_ask_target(self, peer: PeerId, message: messages.AskTarget) -> None:  # noqa: ARG002
        if not self._workers[peer].leaving:
            self._balancer.asks_target(peer)

    def _on_asked(self, peer: PeerId, message: messages.Asked) -> None:
        job = self.job(message.job)
        if job is not None:
            tally = self._tally(job, peer)
            tally.asks += message.asks
            tally.refusals += message.refusals

    def _on_worker_function(self, peer: PeerId, message: messages.Function) -> None:  # noqa: ARG002
        job = self._jobs.running.get(message.job)
        if job is not None and message.digest not in job.functions:
            self._promises.happens(job, message)

    def _on_rejoined(self, peer: PeerId, message: messages.Rejoined) -> None:
        """A worker is back, and may still hold what has ended meanwhile."""
        for number in message.jobs:
            if number not in self._jobs.running:
                self._send(peer, messages.JobEnded(number))

    def _on_relay(self, peer: PeerId, message: messages.Relay) -> None:
        """A donor could not reach a requester: the work goes this way."""
        batches = tuple(batch for batch in message.batches if self._can_be_placed(batch))
        for batch in batches:
            problem = checks.problem_of_batch(batch, self._jobs.running[batch.job].functions)
            if problem is not None:
                self._do(effects.Disconnect(peer, problem))
                return
        requester = self._workers.get(message.requester)
        if requester is not None and not requester.leaving and batches:
            self._transfers += 1
            self._relays[self._transfers] = (peer, message.transfer, message.requester)
            relayed = self._workers[peer].relayed
            relayed[requester.name] = relayed.get(requester.name, 0) + len(batches)
            self._deliver(message.requester, self._transfers, peer, batches)
            return
        for batch in batches:
            self._jobs.running[batch.job].give_back(batch)
        self._send(peer, messages.Ack(message.transfer))

    def _can_be_placed(self, batch: Batch) -> bool:
        """Whether its job runs, and has its functions.

        After a restart, one may have been said while the job was not known here, or the client has yet to say it again.
        What cannot be placed is missed, and if the job knows of it, run again.
        """
        job = self._jobs.running.get(batch.job)
        return job is not None and all(
            not digest or digest in job.functions for digest in (batch.payload.function, job.options.reduce)
        )

    def _on_ack(self, peer: PeerId, message: messages.Ack) -> None:
        relay = self._relays.get(message.transfer)
        if relay is not None and relay[2] == peer:
            del self._relays[message.transfer]
            self._send(relay[0], messages.Ack(relay[1]))

    def _on_inventory(self, peer: PeerId, message: messages.Inventory) -> None:
        self._recovery.answered(peer, message)

    def _on_enquired(self, peer: PeerId, message: messages.Enquired) -> None:
        self._enquiries.answered(peer, message, self._now)

    def _on_printed(self, peer: PeerId, message: messages.Printed) -> None:
        self._following.printed(peer, self._workers[peer].name, message)

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
        if job is None or message.job not in self._jobs.running:
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
            self._recovery.moves(self._now)
            tasks = group.tasks
            seconds = checks.plausible_s(group.seconds)
            worker.tasks_done += tasks
            worker.busy_s += seconds
            function = job.store.function_of(group.members[0].origin, group.members[0].lo)
            if function is not None:
                self._durations.observe(function, tasks, seconds)
                if tasks > 0:
                    self._durations.observe_size(function, tasks, len(group.data))
        if good:
            self._promises.happens(job, records.Results(job.id, peer, worker.name, worker.slots, tuple(good)))
            if job.options.priority and job.backlog and self._jobs.presses(job):
                self._press(job, peer)
            if any(group.spawned for group in good):
                self._check_store(job)
        self._jobs.end_if_complete(job, self._now)

    def _check_store(self, job: Job) -> None:
        """What tasks spawn must be kept until it has run. The job that made it too much is ended."""
        held = self.input_bytes
        if held > self._store_bytes and job.id in self._jobs.running:
            reason = (
                f"the tasks that wait hold {held:,} bytes of arguments, {job.store.size_bytes:,} of them in job "
                f"{job.id}, whose tasks spawned more; the limit of the controller is {self._store_bytes:,}. "
                "Let tasks spawn less before they end, or pass what is large in files"
            )
            self._jobs.end(job, "failed", reason, self._now, "SpawnLimitError")

    # --- sending ----------------------------------------------------------------------------------

    def _send_work(self, peer: PeerId, batches: Sequence[Batch]) -> None:
        self._balancer.gets_work(peer)
        for batch in batches:
            if self._jobs.running[batch.job].options.priority:
                self._tally(self._jobs.running[batch.job], peer).granted += len(batch)
        self._transfers += 1
        self._deliver(peer, self._transfers, CONTROLLER, tuple(batches))

    def _deliver(self, peer: PeerId, transfer: int, donor: PeerId, batches: tuple[Batch, ...]) -> None:
        self._wet.add(peer)
        told = self._workers[peer].told
        for batch in batches:
            job = self._jobs.running[batch.job]
            for message in told.before(batch, job.options, job.functions):
                self._send(peer, message)
        self._recovery.placed(batches)
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


_ASKED_OF_WORKERS = frozenset({"logs", "explain", "flush"})

_FROM_CLIENT: dict[type, Callable[[Controller, PeerId, Any], None]] = {
    messages.Ask: Controller._on_ask,
    messages.Drain: Controller._on_drain,
    messages.Follow: Controller._on_follow,
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
    messages.Enquired: Controller._on_enquired,
    messages.Printed: Controller._on_printed,
    messages.Result: Controller._on_result,
    messages.AskThrough: Controller._on_ask_through,
    messages.AskTarget: Controller._on_ask_target,
    messages.Asked: Controller._on_asked,
    messages.Rejoined: Controller._on_rejoined,
    messages.Leaving: Controller._on_leaving,
    messages.Beat: Controller._on_beat,
}
