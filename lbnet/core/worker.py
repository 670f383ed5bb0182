"""A worker's decisions: which slot runs what, whom to give work, when to say IDLE or NONIDLE.

Pure: :meth:`Worker.handle` takes an event and the time, and returns the effects to carry out in
order. It must not know how messages travel, or what a task computes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from lbnet import limits
from lbnet.core import batching, checks, effects, events
from lbnet.core.balancer import Load
from lbnet.core.decisions import decisions_of
from lbnet.core.durations import Durations
from lbnet.core.effects import Effect
from lbnet.core.events import Event
from lbnet.core.exchange import Exchange
from lbnet.core.introductions import Introductions
from lbnet.core.offers import StandingOffer
from lbnet.core.queue import WorkQueue
from lbnet.core.slots import Slot, Ticket
from lbnet.protocol import messages
from lbnet.strategies.base import (
    Ask,
    AskTarget,
    LookAgain,
    Offer,
    TellBusy,
    TellIdle,
    TellNonIdle,
    WorkerDecision,
    WorkerStrategy,
    WorkerView,
)
from lbnet.types import (
    CONTROLLER,
    FAILED,
    ROOT,
    Batch,
    Failure,
    Group,
    JobId,
    JobOptions,
    Member,
    PeerId,
    RunId,
    SlotId,
    Span,
)

_WORTH_RETRYING = frozenset({"exception", "ExceptionSerializeError"})
"""Failures that another attempt may avoid; what cannot be pickled now cannot be pickled later."""

_RUN_BITS = 44
"""A run is the worker's incarnation and a 44-bit counter: 17 million million executions a join."""


@dataclass(slots=True)
class _Job:
    """What a worker knows of a job: its options, its functions, and where batches of it came from.

    ``shared`` are the functions that the controller has, or will have when it hears what was sent to it before.
    """

    options: JobOptions
    functions: dict[bytes, bytes] = field(default_factory=dict)
    shared: set[bytes] = field(default_factory=set)
    moved: dict[PeerId, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Attempts:
    """How often a task has failed here, and how often it has killed its slot."""

    failures: int = 0
    crashes: int = 0


class Worker:
    """The state machine of one worker.

    Args:
        me: this worker's id, unique in the cluster for every join.
        name: for people.
        slots: compute processes.
        load: makes the load-balancing strategy of a name; raises where there is none. The controller says which.
        draw: makes random numbers, uniform in ``[0, 1)``, for strategies.
    """

    def __init__(self, me: PeerId, name: str, slots: int, load: Load, draw: Callable[[], float]) -> None:
        self.me = me
        self.name = name
        self._load = load
        self._strategy = ""
        self._half = WorkerStrategy()
        self._slots = [Slot(SlotId(number)) for number in range(slots)]
        self._durations = Durations()
        self._queue = WorkQueue(self._durations)
        self._jobs: dict[JobId, _Job] = {}
        self._ended: dict[JobId, None] = {}
        self._view = WorkerView(me, draw, slots)
        self._exchange = Exchange(self._view, self, self._do)
        self._children: dict[RunId, list[Batch]] = {}
        self._attempts: dict[tuple[JobId, RunId, int], _Attempts] = {}
        self._offer: StandingOffer | None = None
        self._asked_to_split = False
        self._hungry = False
        self._look_at: float | None = None
        self._armed_at: float | None = None
        self._tickets = 0
        self._runs = me << _RUN_BITS
        self._effects: list[Effect] = []
        self._now = 0.0
        self.strategy_error: Exception | None = None
        """What the strategy raised last, for people; such a step goes on without its decisions."""

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take an event; returns what is to be done, in order. Never raises, whatever a peer sent."""
        self._now = now
        kind: type = type(event)
        if isinstance(event, events.Received):
            kind = type(event.message)
            handler = _ON_MESSAGE.get(kind)
            if handler is None:
                self._do(effects.Disconnect(event.peer, f"{kind.__name__} is not for a worker"))
            else:
                handler(self, event.peer, event.message)
        else:
            _ON_EVENT[kind](self, event)
        if kind not in _CHANGES_NOTHING:
            self._look()
        done, self._effects = self._effects, []
        return done

    def view(self) -> WorkerView:
        """What the strategy may know now."""
        view = self._view
        view.now = self._now
        stock_s = surplus_s = self._queue.seconds()
        free = 0
        for slot in self._slots:
            if slot.tickets:
                slot_s, tails_s = slot.weigh(self._durations)
                stock_s += slot_s
                surplus_s += tails_s
            elif slot.ready:
                free += 1
        front = self._queue.front() if free else None
        if front is not None:
            surplus_s -= free * self._durations.guess_s(front.payload.function)
        view.free_slots = free
        view.stock_s = stock_s
        view.surplus_s = max(surplus_s, 0.0)
        return view

    def held(self) -> list[Span]:
        """All tasks that this worker holds: queued, running, or sent and not yet acknowledged."""
        spans = self._queue.spans()
        for slot in self._slots:
            for ticket in slot.all_tickets():
                spans.extend(ticket.spans())
        spans.extend(self._exchange.spans())
        return spans

    # --- after every event ----------------------------------------------------------------------

    def _look(self) -> None:
        """The load-balancing step: give what was asked for, feed the slots, tell the controller."""
        self._estimate()
        self._exchange.give(self._now)
        self._feed()
        if not any(slot.ready for slot in self._slots):
            return
        view = self.view()
        self._look_at = None
        self._balance(view)
        if view.stock_s <= 0:
            # Whatever the strategy thinks: new work, and the search for lost work, wait for this word.
            self._say_idle()
        self._set_hungry()
        self._watch()

    def _balance(self, view: WorkerView) -> None:
        for decision in decisions_of(self._half, view, self._failed):
            self._decide(decision)

    def _failed(self, error: Exception) -> None:
        self.strategy_error = error

    def _decide(self, decision: WorkerDecision) -> None:
        """Carry out a decision, if it makes sense."""
        view = self._view
        if isinstance(decision, TellIdle):
            if decision.again is True:
                view.told_idle_s = None
            self._say_idle()
        elif isinstance(decision, TellNonIdle):
            if view.unit_completed and view.surplus_s > 0:
                view.unit_completed = False
                view.offered_s = view.surplus_s
                self._offer = StandingOffer(view.surplus_s, self._surplus_tasks())
                self._asked_to_split = False
                self._tell(messages.NonIdle(self._offer.seconds, self._offer.tasks))
        elif isinstance(decision, TellBusy):
            if view.listed:
                view.listed = False
                view.told_idle_s = None
                self._tell(messages.NonIdle(0.0, 0))
        elif isinstance(decision, Ask):
            self._exchange.ask(decision.donor, wait=decision.wait is True)
        elif isinstance(decision, AskTarget):
            self._exchange.ask_target()
        elif isinstance(decision, Offer):
            self._exchange.offer(decision.requester)
        elif isinstance(decision, LookAgain) and isinstance(decision.after_s, int | float) and decision.after_s > 0:
            after_s = min(max(decision.after_s, limits.LOOK_AGAIN_MIN_S), limits.LOOK_AGAIN_MAX_S)
            self._look_at = min(self._now + after_s, self._look_at or math.inf)

    def _estimate(self) -> None:
        """Look at the tasks that run: how long they have lasted changes what is expected of those that wait."""
        lasting: dict[bytes, float] = {}
        moved_before = self._now - limits.CLAIM_DOUBT_S
        for slot in self._slots:
            if slot.tickets and slot.moved_at < moved_before:
                function = slot.tickets[0].batch.payload.function
                lasting[function] = max(slot.lasting_s(self._now), lasting.get(function, 0.0))
            for ticket in slot.tickets:
                if ticket.claimed_at <= moved_before:
                    ticket.claimed = ticket.batch.lo  # what was claimed some time ago may be free again
        self._durations.lasting(lasting)

    def _watch(self) -> None:
        """Look again when the strategy wants to, or a requester has waited enough.

        And while somebody is hungry and tasks wait behind a running one, after ever longer times.
        """
        at = self._exchange.patience_at()
        if self._look_at is not None:
            at = self._look_at if at is None else min(at, self._look_at)
        hungry = self._asked_to_split or self._view.free_slots or self._exchange.wanted
        if hungry and (self._queue.tasks or any(slot.traps for slot in self._slots)):
            longest_s = max((slot.lasting_s(self._now) for slot in self._slots), default=0.0)
            trapped_at = self._now + max(longest_s, limits.CLAIM_DOUBT_S)
            at = trapped_at if at is None else min(at, trapped_at)
        # A timer that comes too early costs a look; one effect for every event costs more.
        if at is not None and (self._armed_at is None or not self._now <= self._armed_at <= at):
            self._armed_at = at
            self._do(effects.SetTimer(at))

    def _say_idle(self) -> None:
        """Say IDLE, unless it was said and not answered; that it has run dry since is news, too."""
        view = self._view
        if view.told_idle_s is None or (view.told_idle_s > 0 and view.free_slots):
            view.told_idle_s = 0.0 if view.free_slots else view.stock_s
            view.listed = True
            if view.told_idle_s <= 0:
                self._withdraw()  # the controller forgets the offer of a worker that has run dry
            self._tell(messages.Idle(view.told_idle_s))

    def _feed(self) -> None:
        """Hand queued tasks to slots: first to those that have none, then ahead of time."""
        for held in range(limits.SLOT_BATCHES_AHEAD if self._queue.tasks else 0):
            for slot in self._slots:
                if not slot.ready or len(slot.tickets) != held:
                    continue
                front = self._queue.front()
                if front is None:
                    break
                mean_s = self._durations.mean_s(front.payload.function)
                if held < batching.slot_batches(mean_s):
                    tasks = batching.slot_tasks(mean_s, self._queue.tasks, len(self._slots))
                    self._run(slot, self._queue.take(tasks))
        if not self._queue.tasks and any(slot.ready and not slot.tickets for slot in self._slots):
            self._reclaim_half()

    def _run(self, slot: Slot, batch: Batch) -> None:
        job = self._jobs[batch.job]
        for digest in (batch.payload.function, job.options.reduce):
            if digest and (batch.job, digest) not in slot.functions:
                slot.functions.add((batch.job, digest))
                self._do(effects.Teach(slot.id, batch.job, digest, job.functions[digest]))
        self._tickets += 1
        ticket = Ticket.of(self._tickets, batch, RunId(self._runs))
        self._runs += len(batch)
        if not slot.tickets:
            slot.moved_at = self._now
        slot.tickets.append(ticket)
        self._do(
            effects.Run(slot.id, ticket.number, batch, ticket.first_run, job.options.reduce, job.options.task_timeout_s)
        )

    def _reclaim_half(self) -> bool:
        """Take back half of every tail. Whether anything was asked for; the answers follow at once."""
        asked = False
        for slot in self._slots:
            for ticket, waiting in slot.tails():
                seconds = waiting * self._durations.guess_s(ticket.batch.payload.function)
                if seconds >= limits.SURPLUS_MIN_S:
                    ticket.reclaiming = True
                    self._do(effects.Reclaim(slot.id, ticket.number, ticket.end - (waiting + 1) // 2))
                    asked = True
        return asked

    def _withdraw(self) -> None:
        """There is no standing offer."""
        self._offer = None
        self._view.offered_s = 0.0

    def _surplus_tasks(self) -> int:
        """Of how many tasks the surplus consists, one at least."""
        tails = sum(waiting for slot in self._slots for _, waiting in slot.tails())
        return max(1, self._queue.tasks + tails - self._view.free_slots)

    def _set_hungry(self) -> None:
        wanted = self._asked_to_split or self._view.free_slots > 0 or self._exchange.wanted
        hungry = wanted and not self._queue.tasks
        if hungry != self._hungry:
            self._hungry = hungry
            self._do(effects.SetHungry(hungry))

    # --- what there is to give --------------------------------------------------------------------

    def queued_tasks(self) -> int:
        """Tasks that are in no slot."""
        return self._queue.tasks

    def surplus_s(self) -> float:
        """Estimated seconds of work beyond what the slots will soon start."""
        return self.view().surplus_s

    def take_back(self) -> bool:
        """Ask slots for half of what they have not started. Whether answers are on their way, which bring us back."""
        if any(ticket.reclaiming for slot in self._slots for ticket in slot.tickets):
            return True
        return self._reclaim_half()

    def traps(self) -> bool:
        """Whether tasks wait in a slot, behind one that runs."""
        return any(slot.traps for slot in self._slots)

    def runs(self) -> bool:
        """Whether any slot runs a task, which may split."""
        return any(slot.tickets for slot in self._slots)

    def donate(self, seconds: float) -> tuple[Batch, ...]:
        """About so many seconds of work from the back of the queue, and one task at least."""
        return tuple(self._queue.donate(seconds))

    def introduce(self, batch: Batch, to: PeerId, link: Introductions | None) -> None:
        """Tell ``to`` what it must know of a batch's job first; without a link to it, tell the controller."""
        if link is None:
            self._share_functions((batch,))
            return
        job = self._jobs[batch.job]
        for message in link.before(batch, job.options, job.functions):
            self._do(effects.Send(to, message))

    # --- messages -------------------------------------------------------------------------------

    def _on_open_job(self, peer: PeerId, message: messages.OpenJob) -> None:  # noqa: ARG002
        if message.job not in self._ended:
            self._jobs.setdefault(message.job, _Job(message.options))

    def _on_function(self, peer: PeerId, message: messages.Function) -> None:
        job = self._jobs.get(message.job)
        if job is None:
            if message.job not in self._ended:
                self._do(effects.Disconnect(peer, f"a function came for job {message.job}, which was not opened"))
            return
        job.functions.setdefault(message.digest, message.data)
        if peer == CONTROLLER:
            job.shared.add(message.digest)

    def _on_send_work(self, peer: PeerId, message: messages.SendWork) -> None:
        batches = [batch for batch in message.batches if batch.job in self._jobs]  # other jobs have ended meanwhile
        for batch in batches:
            problem = checks.problem_of_batch(batch, self._jobs[batch.job].functions)
            if problem is not None:
                # Not acknowledged: the sender still has it, and introduces it anew over its next link.
                self._do(effects.Disconnect(peer, problem))
                return
        self._do(effects.Send(peer, messages.Ack(message.transfer)))
        self._exchange.work_came(message.donor)
        self._view.told_idle_s = None
        self._view.unit_completed = True
        self._view.placed = message.donor == CONTROLLER
        if peer == CONTROLLER and message.donor == CONTROLLER:
            self._view.listed = False  # whom it gives work itself, the controller takes off its list
        for batch in batches:
            job = self._jobs[batch.job]
            if message.donor != CONTROLLER:
                job.moved[message.donor] = job.moved.get(message.donor, 0) + 1
            self._queue.append(batch)

    def _on_balance(self, peer: PeerId, message: messages.Balance) -> None:
        """The controller names the strategy in force. If there is none here, this worker does no more than it must."""
        if peer != CONTROLLER:
            self._do(effects.Disconnect(peer, "the strategy is the controller's to choose"))
            return
        self._view.work_exists = message.work
        if message.strategy == self._strategy:
            return
        self._strategy = message.strategy
        self._withdraw()
        self._view.told_idle_s = None
        self._asked_to_split = False
        self._exchange.anew()
        try:
            self._half = self._load(message.strategy).worker()
        except Exception as error:  # noqa: BLE001 - a strategy may be anybody's code
            self.strategy_error = error
            self._half = WorkerStrategy()

    def _on_peers(self, peer: PeerId, message: messages.Peers) -> None:  # noqa: ARG002
        self._exchange.peers_changed(message)

    def _on_idle_news(self, peer: PeerId, message: messages.IdleNews) -> None:  # noqa: ARG002
        self._exchange.idle_changed(message)

    def _on_ask_work(self, peer: PeerId, message: messages.AskWork) -> None:
        self._exchange.is_asked(peer, message, self._now)

    def _on_target(self, peer: PeerId, message: messages.Target) -> None:  # noqa: ARG002
        self._exchange.is_targeted(message)

    def _on_offer(self, peer: PeerId, message: messages.Offer) -> None:
        self._exchange.is_offered(peer, message.surplus_s)

    def _on_no_work(self, peer: PeerId, message: messages.NoWork) -> None:  # noqa: ARG002
        if not self._exchange.is_refused(message):
            self._view.told_idle_s = None

    def _on_match(self, peer: PeerId, message: messages.Match) -> None:  # noqa: ARG002
        self._offer = self._offer and self._offer.after_match()  # so does the controller
        self._view.offered_s = self._offer.seconds if self._offer else 0.0
        self._exchange.is_matched(message, self._now)

    def _on_hungry(self, peer: PeerId, message: messages.Hungry) -> None:  # noqa: ARG002
        self._asked_to_split = True
        self._withdraw()  # the controller knows of no offer, or it would not have asked

    def _on_ack(self, peer: PeerId, message: messages.Ack) -> None:
        self._exchange.acknowledged(peer, message.transfer)

    def _on_job_ended(self, peer: PeerId, message: messages.JobEnded) -> None:  # noqa: ARG002
        job = self._jobs.pop(message.job, None)
        self._ended[message.job] = None
        if len(self._ended) > limits.REPORTS_KEPT:
            del self._ended[next(iter(self._ended))]
        if job is None:
            return
        if job.moved:
            self._tell(messages.Result(message.job, (), _moved(job)))
        if self._exchange.asks:
            self._tell(messages.Asked(message.job, self._exchange.asks, self._exchange.refusals))
            self._exchange.asks = self._exchange.refusals = 0
        self._queue.drop_job(message.job)
        for slot in self._slots:
            slot.functions = {known for known in slot.functions if known[0] != message.job}
            slot.lagging = [ticket for ticket in slot.lagging if ticket.batch.job != message.job]
            for ticket in slot.tickets:
                if ticket.batch.job == message.job:
                    ticket.reclaiming = True
                    self._do(effects.Reclaim(slot.id, ticket.number, ticket.batch.lo))
        self._exchange.forget(message.job)
        self._attempts = {key: tried for key, tried in self._attempts.items() if key[0] != message.job}
        self._children = {run: kids for run, kids in self._children.items() if kids[0].job != message.job}
        self._do(effects.Forget(message.job))

    def _on_ask_inventory(self, peer: PeerId, message: messages.AskInventory) -> None:  # noqa: ARG002
        self._tell(messages.Inventory(message.round, tuple(self.held())))

    # --- links ----------------------------------------------------------------------------------

    def _on_joined(self, event: events.Joined) -> None:
        if event.peer != CONTROLLER:
            self._exchange.linked(event.peer)

    def _on_left(self, event: events.Left) -> None:
        """What was sent and not acknowledged may be lost: run it here. The answer to our IDLE may be lost, too."""
        self._view.told_idle_s = None
        for batch in self._exchange.unlinked(event.peer):
            if batch.job in self._jobs:
                self._queue.append(batch)

    def _on_unreachable(self, event: events.Unreachable) -> None:
        self._exchange.not_reached(event.peer)

    # --- slots ----------------------------------------------------------------------------------

    def _on_slot_ready(self, event: events.SlotReady) -> None:
        slot = self._slots[event.slot]
        slot.ready = True
        slot.functions.clear()

    def _on_slot_done(self, event: events.SlotDone) -> None:
        self._view.unit_completed = True
        slot = self._slots[event.slot]
        slot.moved_at = self._now
        ticket = next((ticket for ticket in slot.all_tickets() if ticket.number == event.ticket), None)
        if ticket is not None:
            ticket.upto = max(ticket.upto, event.upto)
            self._report(slot, ticket, event.groups)

    def _report(self, slot: Slot, ticket: Ticket, groups: Iterable[Group]) -> None:
        job = self._jobs.get(ticket.batch.job)
        if job is None:
            return
        told = []
        for group in groups:
            tasks = 0
            for member in group.members:
                tasks += member.hi - member.lo
                slot.reported(ticket.batch.job, member)
            self._durations.observe(ticket.batch.payload.function, tasks, group.seconds)
            if group.kind == FAILED:
                self._drop_children(RunId(ticket.first_run + group.members[0].lo - ticket.batch.lo))
            if not self._retry(job, ticket.batch, group):
                told.append(self._complete(group))
        self._share_functions(child for group in told for member in group.members for child in member.children)
        if told:
            self._tell(messages.Result(ticket.batch.job, tuple(told), _moved(job)))
            job.moved.clear()

    def _retry(self, job: _Job, batch: Batch, group: Group) -> bool:
        """Whether this is a failure that the job's options allow to be tried again, here."""
        if group.failure is None or group.failure.kind not in _WORTH_RETRYING or not job.options.retries:
            return False
        index = group.members[0].lo
        attempts = self._attempts.setdefault((batch.job, batch.origin, index), _Attempts())
        attempts.failures += 1
        if attempts.failures > job.options.retries:
            return False
        self._queue.append(batch.part(index, index + 1))
        return True

    def _complete(self, group: Group) -> Group:
        """Add what the slot left out: the children, which it sent before, and the worker's name."""
        if group.failure is None and all(member.run == ROOT for member in group.members):
            return group
        failure = group.failure and replace(group.failure, where=f"worker {self.name}, {group.failure.where}")
        members = tuple(
            member if member.run == ROOT else replace(member, children=tuple(self._children.pop(member.run, ())))
            for member in group.members
        )
        return replace(group, members=members, failure=failure)

    def _on_slot_spawned(self, event: events.SlotSpawned) -> None:
        self._view.unit_completed = True
        job = self._jobs.get(event.batch.job)
        if job is not None and self._slots[event.slot].ticket(event.ticket) is not None:
            self._children.setdefault(event.batch.origin, []).append(event.batch)
            self._queue.push(event.batch)

    def _on_slot_taught(self, event: events.SlotTaught) -> None:
        """A task spawned a function that its slot had not been taught: it has the pickle, and could not run it yet."""
        job = self._jobs.get(event.job)
        if job is not None:
            job.functions.setdefault(event.digest, event.data)

    def _share_functions(self, batches: Iterable[Batch]) -> None:
        """Before the controller hears of tasks, it must have their functions: who taught them to us may be lost."""
        for batch in batches:
            job, digest = self._jobs[batch.job], batch.payload.function
            if digest not in job.shared:
                job.shared.add(digest)
                self._tell(messages.Function(batch.job, digest, job.functions[digest]))

    def _drop_children(self, run: RunId) -> None:
        """This run is lost: what it spawned will never exist."""
        if self._children.pop(run, None) is not None:
            self._queue.drop_run(run)

    def _on_slot_finished(self, event: events.SlotFinished) -> None:
        slot = self._slots[event.slot]
        ticket = slot.ticket(event.ticket)
        if ticket is None:
            return
        slot.tickets.remove(ticket)
        slot.moved_at = self._now
        back = ticket.cut(event.ran_to)
        if ticket.batch.job not in self._jobs:
            return
        if back is not None:
            self._queue.push(back)
        if ticket.unreported:
            slot.lagging.append(ticket)

    def _on_reclaimed(self, event: events.Reclaimed) -> None:
        ticket = self._slots[event.slot].ticket(event.ticket)
        if ticket is None:
            return
        ticket.reclaiming = False
        back = ticket.cut(event.taken_from)
        if back is None:
            ticket.claimed, ticket.claimed_at = ticket.end, self._now
        elif back.job in self._jobs:
            self._queue.append(back)

    def _on_slot_died(self, event: events.SlotDied) -> None:
        """Only the task that ran is blamed; all others of the slot go back to the queue."""
        slot = self._slots[event.slot]
        slot.ready = False
        tickets = list(slot.all_tickets())
        slot.tickets.clear()
        slot.lagging.clear()
        slot.functions.clear()
        for ticket in reversed(tickets):
            if ticket.batch.job not in self._jobs:
                continue
            for run in [run for run in self._children if run in ticket.runs()]:
                self._drop_children(run)
            blamed = event.index if ticket.number == event.ticket and event.index in ticket.unreported else None
            if blamed is not None:
                ticket.unreported.remove(blamed, blamed + 1)
            for lo, hi in reversed(list(ticket.unreported)):
                self._queue.push(ticket.batch.part(lo, hi))
            if blamed is not None:
                self._blame(ticket.batch, blamed, event)

    def _blame(self, batch: Batch, index: int, event: events.SlotDied) -> None:
        """A task killed its slot, or was over its time: again, or the end of it."""
        options = self._jobs[batch.job].options
        attempts = self._attempts.setdefault((batch.job, batch.origin, index), _Attempts())
        if event.timed_out:
            attempts.failures += 1
            again = attempts.failures <= options.retries
            tried = attempts.failures
        else:
            attempts.crashes += 1
            again = attempts.crashes < options.crash_limit
            tried = attempts.crashes
        if again:
            self._queue.append(batch.part(index, index + 1))
            return
        kind = "TaskTimeoutError" if event.timed_out else "TaskCrashedError"
        text = f"{event.description}; attempt {tried} of {tried}"
        member = Member(batch.origin, index, index + 1, batch.root, batch.parent_origin, batch.parent_index, ROOT, ())
        failure = Failure(kind, text, "", f"worker {self.name}", b"")
        self._view.unit_completed = True
        self._tell(messages.Result(batch.job, (Group(FAILED, b"", (member,), 0.0, failure),), ()))

    # --- effects --------------------------------------------------------------------------------

    def _do(self, effect: Effect) -> None:
        self._effects.append(effect)

    def _tell(self, message: messages.Message) -> None:
        self._effects.append(effects.Send(CONTROLLER, message))


def _moved(job: _Job) -> tuple[messages.Moved, ...]:
    return tuple(messages.Moved(donor, batches) for donor, batches in job.moved.items())


def _on_tick(worker: Worker, event: events.Tick) -> None:  # noqa: ARG001
    """Looking again is all that a tick asks for."""
    worker._armed_at = None


_ON_MESSAGE: dict[type, Callable[[Worker, PeerId, Any], None]] = {
    messages.OpenJob: Worker._on_open_job,
    messages.Function: Worker._on_function,
    messages.SendWork: Worker._on_send_work,
    messages.NoWork: Worker._on_no_work,
    messages.Match: Worker._on_match,
    messages.Hungry: Worker._on_hungry,
    messages.Ack: Worker._on_ack,
    messages.JobEnded: Worker._on_job_ended,
    messages.AskInventory: Worker._on_ask_inventory,
    messages.Balance: Worker._on_balance,
    messages.Peers: Worker._on_peers,
    messages.IdleNews: Worker._on_idle_news,
    messages.AskWork: Worker._on_ask_work,
    messages.Target: Worker._on_target,
    messages.Offer: Worker._on_offer,
}

_CHANGES_NOTHING = frozenset({messages.Ack, messages.Function, messages.OpenJob, messages.AskInventory})
"""After these the worker has as much to do, and as much to give, as before."""

_ON_EVENT: dict[type, Callable[[Worker, Any], None]] = {
    events.Joined: Worker._on_joined,
    events.Left: Worker._on_left,
    events.Unreachable: Worker._on_unreachable,
    events.Tick: _on_tick,
    events.SlotReady: Worker._on_slot_ready,
    events.SlotDone: Worker._on_slot_done,
    events.SlotSpawned: Worker._on_slot_spawned,
    events.SlotTaught: Worker._on_slot_taught,
    events.SlotFinished: Worker._on_slot_finished,
    events.Reclaimed: Worker._on_reclaimed,
    events.SlotDied: Worker._on_slot_died,
}
