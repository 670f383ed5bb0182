"""A worker's decisions: which slot runs what, whom to give work, when to say IDLE or NONIDLE.

Pure: :meth:`Worker.handle` takes an event and the time, and returns the effects to carry out in
order. It must not know how messages travel, or what a task computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from lbnet import limits
from lbnet.core import batching, checks, effects, events
from lbnet.core.durations import Durations
from lbnet.core.effects import Effect
from lbnet.core.events import Event
from lbnet.core.introductions import Introductions
from lbnet.core.queue import WorkQueue
from lbnet.core.slots import Slot, Ticket
from lbnet.protocol import messages
from lbnet.strategies.base import TellIdle, TellNonIdle, WorkerDecision, WorkerStrategy, WorkerView
from lbnet.types import (
    CONTROLLER,
    FAILED,
    ROOT,
    Address,
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


@dataclass(slots=True)
class _Gift:
    """Work was asked for on behalf of a requester, and is being prepared."""

    address: Address
    since: float
    connecting: bool = False
    unreachable: bool = False


class Worker:
    """The state machine of one worker.

    Args:
        me: this worker's id, unique in the cluster for every join.
        name: for people.
        slots: compute processes.
        strategy: the worker's half of the strategy.
    """

    def __init__(self, me: PeerId, name: str, slots: int, strategy: WorkerStrategy) -> None:
        self.me = me
        self.name = name
        self._strategy = strategy
        self._slots = [Slot(SlotId(number)) for number in range(slots)]
        self._durations = Durations()
        self._queue = WorkQueue(self._durations)
        self._jobs: dict[JobId, _Job] = {}
        self._ended: dict[JobId, None] = {}
        self._links: dict[PeerId, Introductions] = {}
        self._gifts: dict[PeerId, _Gift] = {}
        self._sent: dict[int, tuple[PeerId, tuple[Batch, ...]]] = {}
        self._children: dict[RunId, list[Batch]] = {}
        self._attempts: dict[tuple[JobId, RunId, int], _Attempts] = {}
        self._told_idle_s: float | None = None
        self._offered_s = 0.0
        self._unit_completed = False
        self._asked_to_split = False
        self._hungry = False
        self._tickets = 0
        self._transfers = 0
        self._runs = me << _RUN_BITS
        self._effects: list[Effect] = []
        self._now = 0.0
        self.strategy_error: Exception | None = None
        """What the strategy raised last, for people; such a step goes on without its decisions."""

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take an event; returns what is to be done, in order. Never raises, whatever a peer sent."""
        self._now = now
        if isinstance(event, events.Received):
            handler = _ON_MESSAGE.get(type(event.message))
            if handler is None:
                self._do(effects.Disconnect(event.peer, f"{type(event.message).__name__} is not for a worker"))
            else:
                handler(self, event.peer, event.message)
        else:
            _ON_EVENT[type(event)](self, event)
        self._look()
        done, self._effects = self._effects, []
        return done

    def view(self) -> WorkerView:
        """What the strategy may know now."""
        queued_s = self._queue.seconds()
        stock_s = queued_s + sum(slot.stock_s(self._durations) for slot in self._slots)
        free = sum(slot.ready and slot.free for slot in self._slots)
        surplus_s = queued_s + sum(slot.tails_s(self._durations) for slot in self._slots)
        front = self._queue.front()
        if free and front is not None:
            surplus_s -= free * self._durations.guess_s(front.payload.function)
        return WorkerView(
            slots=len(self._slots),
            free_slots=free,
            stock_s=stock_s,
            surplus_s=max(surplus_s, 0.0),
            told_idle_s=self._told_idle_s,
            offered_s=self._offered_s,
            unit_completed=self._unit_completed,
        )

    def held(self) -> list[Span]:
        """All tasks that this worker holds: queued, running, or sent and not yet acknowledged."""
        spans = self._queue.spans()
        for slot in self._slots:
            for ticket in slot.all_tickets():
                spans.extend(ticket.spans())
        for _, batches in self._sent.values():
            spans.extend(Span(batch.job, batch.origin, batch.lo, batch.hi) for batch in batches)
        return spans

    # --- after every event ----------------------------------------------------------------------

    def _look(self) -> None:
        """The load-balancing step: give what was asked for, feed the slots, tell the controller."""
        self._estimate()
        self._give()
        self._feed()
        if not any(slot.ready for slot in self._slots):
            return
        view = self.view()
        for decision in self._decisions(view):
            if isinstance(decision, TellIdle):
                self._say_idle(view)
            elif isinstance(decision, TellNonIdle) and self._unit_completed and view.surplus_s > 0:
                self._unit_completed = False
                self._asked_to_split = False
                self._offered_s = view.surplus_s
                self._tell(messages.NonIdle(view.surplus_s))
        if view.stock_s <= 0:
            # Whatever the strategy thinks: new work, and the search for lost work, wait for this word.
            self._say_idle(view)
        self._set_hungry(view.free_slots)
        self._watch(view.free_slots)

    def _estimate(self) -> None:
        """Look at the tasks that run: how long they have lasted changes what is expected of those that wait."""
        lasting: dict[bytes, float] = {}
        for slot in self._slots:
            seconds = slot.lasting_s(self._now)
            if seconds > 0:
                function = slot.tickets[0].batch.payload.function
                lasting[function] = max(seconds, lasting.get(function, 0.0))
            for ticket in slot.tickets:
                ticket.doubt_claims(self._now)
        self._durations.lasting(lasting)

    def _watch(self, free_slots: int) -> None:
        """While somebody is hungry and tasks wait behind a running one, look again, after ever longer times."""
        hungry = self._asked_to_split or free_slots or self._gifts
        if hungry and (self._queue.tasks or any(slot.traps for slot in self._slots)):
            longest_s = max((slot.lasting_s(self._now) for slot in self._slots), default=0.0)
            self._do(effects.SetTimer(self._now + max(longest_s, limits.CLAIM_DOUBT_S)))

    def _decisions(self, view: WorkerView) -> list[WorkerDecision]:
        try:
            return list(self._strategy.balance(view))
        except Exception as error:  # noqa: BLE001 - a strategy may be anybody's code: it can make lbnet slow, never wrong
            self.strategy_error = error
            return []

    def _say_idle(self, view: WorkerView) -> None:
        """Say IDLE, unless it was said and not answered; that it has run dry since is news, too."""
        if self._told_idle_s is None or (self._told_idle_s > 0 and view.free_slots):
            self._told_idle_s = 0.0 if view.free_slots else view.stock_s
            if self._told_idle_s <= 0:
                self._offered_s = 0.0  # the controller forgets the offer of a worker that has run dry
            self._tell(messages.Idle(self._told_idle_s))

    def _feed(self) -> None:
        """Hand queued tasks to slots: first to those that have none, then ahead of time."""
        for held in range(limits.SLOT_BATCHES_AHEAD):
            for slot in self._slots:
                front = self._queue.front()
                if front is None:
                    break
                mean_s = self._durations.mean_s(front.payload.function)
                if slot.ready and len(slot.tickets) == held < batching.slot_batches(mean_s):
                    tasks = batching.slot_tasks(mean_s, self._queue.tasks, len(self._slots))
                    self._run(slot, self._queue.take(tasks))
        if not self._queue.tasks and any(slot.ready and slot.free for slot in self._slots):
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

    def _set_hungry(self, free_slots: int) -> None:
        hungry = not self._queue.tasks and (self._asked_to_split or free_slots > 0)
        if hungry != self._hungry:
            self._hungry = hungry
            self._do(effects.SetHungry(hungry))

    # --- giving ---------------------------------------------------------------------------------

    def _give(self) -> None:
        """Serve the requesters whose links are ready."""
        for requester in list(self._gifts):
            gift = self._gifts[requester]
            if not self._queue.tasks:
                if any(ticket.reclaiming for slot in self._slots for ticket in slot.tickets):
                    return  # the answer to a Reclaim is on its way, and will bring us here again
                if self._reclaim_half():
                    return
                if self._now - gift.since < limits.CLAIM_DOUBT_S and any(slot.traps for slot in self._slots):
                    continue  # a slot that has just begun a long task is about to let go of the others
            if not self._queue.tasks or self.view().surplus_s <= 0:
                del self._gifts[requester]
                self._refuse(requester)
            elif requester in self._links or gift.unreachable:
                del self._gifts[requester]
                self._send_half(requester, direct=requester in self._links)
            elif not gift.connecting:
                gift.connecting = True
                self._do(effects.Connect(requester, gift.address))

    def _send_half(self, requester: PeerId, *, direct: bool) -> None:
        batches = tuple(self._queue.donate(self.view().surplus_s / 2))
        self._transfers += 1
        self._sent[self._transfers] = (requester, batches)
        if not direct:
            self._share_functions(batches)
            self._tell(messages.Relay(requester, self._transfers, batches))
            return
        for batch in batches:
            job = self._jobs[batch.job]
            for message in self._links[requester].before(batch, job.options, job.functions):
                self._do(effects.Send(requester, message))
        self._do(effects.Send(requester, messages.SendWork(self._transfers, self.me, batches)))

    def _refuse(self, requester: PeerId) -> None:
        to = requester if requester in self._links else CONTROLLER
        self._do(effects.Send(to, messages.NoWork(self.me, requester)))

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
        self._told_idle_s = None
        self._unit_completed = True
        for batch in batches:
            job = self._jobs[batch.job]
            if message.donor != CONTROLLER:
                job.moved[message.donor] = job.moved.get(message.donor, 0) + 1
            self._queue.append(batch)

    def _on_no_work(self, peer: PeerId, message: messages.NoWork) -> None:  # noqa: ARG002
        self._told_idle_s = None

    def _on_match(self, peer: PeerId, message: messages.Match) -> None:  # noqa: ARG002
        self._offered_s /= 2  # so much of it stands, at the controller, too
        if message.requester not in {self.me, CONTROLLER}:
            self._gifts.setdefault(message.requester, _Gift(Address(message.host, message.port), self._now))

    def _on_hungry(self, peer: PeerId, message: messages.Hungry) -> None:  # noqa: ARG002
        self._asked_to_split = True
        self._offered_s = 0.0  # the controller knows of no offer, or it would not have asked

    def _on_ack(self, peer: PeerId, message: messages.Ack) -> None:
        sent = self._sent.get(message.transfer)
        if sent is not None and peer in {sent[0], CONTROLLER}:
            del self._sent[message.transfer]

    def _on_job_ended(self, peer: PeerId, message: messages.JobEnded) -> None:  # noqa: ARG002
        job = self._jobs.pop(message.job, None)
        self._ended[message.job] = None
        if len(self._ended) > limits.REPORTS_KEPT:
            del self._ended[next(iter(self._ended))]
        if job is None:
            return
        if job.moved:
            self._tell(messages.Result(message.job, (), _moved(job)))
        self._queue.drop_job(message.job)
        for slot in self._slots:
            slot.functions = {known for known in slot.functions if known[0] != message.job}
            slot.lagging = [ticket for ticket in slot.lagging if ticket.batch.job != message.job]
            for ticket in slot.tickets:
                if ticket.batch.job == message.job:
                    ticket.reclaiming = True
                    self._do(effects.Reclaim(slot.id, ticket.number, ticket.batch.lo))
        for link in self._links.values():
            link.forget(message.job)
        self._attempts = {key: tried for key, tried in self._attempts.items() if key[0] != message.job}
        self._children = {run: kids for run, kids in self._children.items() if kids[0].job != message.job}
        self._do(effects.Forget(message.job))

    def _on_ask_inventory(self, peer: PeerId, message: messages.AskInventory) -> None:  # noqa: ARG002
        self._tell(messages.Inventory(message.round, tuple(self.held())))

    # --- links ----------------------------------------------------------------------------------

    def _on_joined(self, event: events.Joined) -> None:
        if event.peer != CONTROLLER:
            self._links.setdefault(event.peer, Introductions())

    def _on_left(self, event: events.Left) -> None:
        """What was sent and not acknowledged may be lost: keep it. If it was not, the ledger drops a duplicate.

        Either may live on, and wait for what was lost with the link: the requester's other way to hear is the
        controller, and the donor's answer to our IDLE may have been it.
        """
        self._links.pop(event.peer, None)
        self._told_idle_s = None
        gift = self._gifts.pop(event.peer, None)
        unacknowledged = [number for number, (peer, _) in self._sent.items() if peer == event.peer]
        if unacknowledged or gift is not None:
            self._refuse(event.peer)
        for transfer in unacknowledged:
            _, batches = self._sent.pop(transfer)
            self._take_back(batches)

    def _on_unreachable(self, event: events.Unreachable) -> None:
        gift = self._gifts.get(event.peer)
        if gift is not None:
            gift.unreachable = True

    def _take_back(self, batches: Iterable[Batch]) -> None:
        for batch in batches:
            if batch.job in self._jobs:
                self._queue.append(batch)

    # --- slots ----------------------------------------------------------------------------------

    def _on_slot_ready(self, event: events.SlotReady) -> None:
        slot = self._slots[event.slot]
        slot.ready = True
        slot.functions.clear()

    def _on_slot_done(self, event: events.SlotDone) -> None:
        self._unit_completed = True
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
        failure = group.failure and replace(group.failure, where=f"worker {self.name}, {group.failure.where}")
        members = tuple(
            member if member.run == ROOT else replace(member, children=tuple(self._children.pop(member.run, ())))
            for member in group.members
        )
        return replace(group, members=members, failure=failure)

    def _on_slot_spawned(self, event: events.SlotSpawned) -> None:
        self._unit_completed = True
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
        self._unit_completed = True
        self._tell(messages.Result(batch.job, (Group(FAILED, b"", (member,), 0.0, failure),), ()))

    # --- effects --------------------------------------------------------------------------------

    def _do(self, effect: Effect) -> None:
        self._effects.append(effect)

    def _tell(self, message: messages.Message) -> None:
        self._effects.append(effects.Send(CONTROLLER, message))


def _moved(job: _Job) -> tuple[messages.Moved, ...]:
    return tuple(messages.Moved(donor, batches) for donor, batches in job.moved.items())


def _nothing(worker: Worker, event: events.Tick) -> None:
    """Looking again is all that a tick asks for."""


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
}

_ON_EVENT: dict[type, Callable[[Worker, Any], None]] = {
    events.Joined: Worker._on_joined,
    events.Left: Worker._on_left,
    events.Unreachable: Worker._on_unreachable,
    events.Tick: _nothing,
    events.SlotReady: Worker._on_slot_ready,
    events.SlotDone: Worker._on_slot_done,
    events.SlotSpawned: Worker._on_slot_spawned,
    events.SlotTaught: Worker._on_slot_taught,
    events.SlotFinished: Worker._on_slot_finished,
    events.Reclaimed: Worker._on_reclaimed,
    events.SlotDied: Worker._on_slot_died,
}
