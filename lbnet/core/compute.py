"""What runs in a worker's slots: it feeds them, reports what they finish, and says who is to blame when one dies.

It must not know of other workers, nor of the strategy: what was taken back and what was spawned go into the queue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from lbnet import limits
from lbnet.core import batching, effects, events
from lbnet.core.durations import Durations
from lbnet.core.effects import Effect
from lbnet.core.introductions import Introductions
from lbnet.core.queue import WorkQueue
from lbnet.core.slots import Slot, Ticket
from lbnet.protocol import messages
from lbnet.strategies.base import WorkerView
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
class HeldJob:
    """What a worker knows of a job: its options, its functions, and where batches of it came from.

    ``shared`` are the functions that the controller has, or will have when it hears what was sent to it before.
    """

    options: JobOptions
    functions: dict[bytes, bytes] = field(default_factory=dict)
    shared: set[bytes] = field(default_factory=set)
    moved: dict[PeerId, int] = field(default_factory=dict)

    def take_moved(self) -> tuple[messages.Moved, ...]:
        """Batches that came since this was last asked, by donor."""
        moved = tuple(messages.Moved(donor, batches) for donor, batches in self.moved.items())
        self.moved.clear()
        return moved


@dataclass(slots=True)
class _Attempts:
    """How often a task has failed here, and how often it has killed its slot."""

    failures: int = 0
    crashes: int = 0


class Compute:
    """The slots of one worker, and the tasks that wait for them.

    Args:
        me: this worker's id.
        name: for people.
        slots: how many.
        view: what the strategy sees; the fields about stock, surplus and finished units are written here.
        do: takes an effect.
    """

    def __init__(self, me: PeerId, name: str, slots: int, view: WorkerView, do: Callable[[Effect], None]) -> None:
        self._name = name
        self._view = view
        self._do = do
        self._durations = Durations()
        self.queue = WorkQueue(self._durations)
        self.jobs: dict[JobId, HeldJob] = {}
        self.slots = [Slot(SlotId(number)) for number in range(slots)]
        self._children: dict[RunId, list[Batch]] = {}
        self._attempts: dict[tuple[JobId, RunId, int], _Attempts] = {}
        self._tickets = 0
        self._runs = me << _RUN_BITS

    @property
    def ready(self) -> bool:
        """Whether any slot is up."""
        return any(slot.ready for slot in self.slots)

    @property
    def longest_s(self) -> float:
        """How long a running task has lasted beyond what is usual, at most."""
        return max((slot.lasting_s(self._view.now) for slot in self.slots), default=0.0)

    def held(self) -> list[Span]:
        """The tasks that are queued or run."""
        spans = self.queue.spans()
        for slot in self.slots:
            for ticket in slot.all_tickets():
                spans.extend(ticket.spans())
        return spans

    def weigh(self) -> None:
        """Write down what there is."""
        view = self._view
        stock_s = surplus_s = self.queue.seconds()
        free = 0
        for slot in self.slots:
            if slot.tickets:
                slot_s, tails_s = slot.weigh(self._durations)
                stock_s += slot_s
                surplus_s += tails_s
            elif slot.ready:
                free += 1
        front = self.queue.front() if free else None
        if front is not None:
            surplus_s -= free * self._durations.guess_s(front.payload.function)
        view.free_slots = free
        view.stock_s = stock_s
        view.surplus_s = max(surplus_s, 0.0)

    def estimate(self) -> None:
        """Look at the tasks that run: how long they have lasted changes what is expected of those that wait."""
        lasting: dict[bytes, float] = {}
        moved_before = self._view.now - limits.CLAIM_DOUBT_S
        for slot in self.slots:
            if slot.tickets and slot.moved_at < moved_before:
                function = slot.tickets[0].batch.payload.function
                lasting[function] = max(slot.lasting_s(self._view.now), lasting.get(function, 0.0))
            for ticket in slot.tickets:
                if ticket.claimed_at <= moved_before:
                    ticket.claimed = ticket.batch.lo  # what was claimed some time ago may be free again
        self._durations.lasting(lasting)

    def feed(self) -> None:
        """Hand queued tasks to slots: first to those that have none, then ahead of time."""
        for held in range(limits.SLOT_BATCHES_AHEAD if self.queue.tasks else 0):
            for slot in self.slots:
                if not slot.ready or len(slot.tickets) != held:
                    continue
                front = self.queue.front()
                if front is None:
                    break
                mean_s = self._durations.mean_s(front.payload.function)
                if held < batching.slot_batches(mean_s):
                    tasks = batching.slot_tasks(mean_s, self.queue.tasks, len(self.slots))
                    self._run(slot, self.queue.take(tasks))
        if not self.queue.tasks and any(slot.ready and not slot.tickets for slot in self.slots):
            self.reclaim_half()

    def _run(self, slot: Slot, batch: Batch) -> None:
        job = self.jobs[batch.job]
        for digest in (batch.payload.function, job.options.reduce):
            if digest and (batch.job, digest) not in slot.functions:
                slot.functions.add((batch.job, digest))
                self._do(effects.Teach(slot.id, batch.job, digest, job.functions[digest]))
        self._tickets += 1
        ticket = Ticket.of(self._tickets, batch, RunId(self._runs))
        self._runs += len(batch)
        if not slot.tickets:
            slot.moved_at = self._view.now
        slot.tickets.append(ticket)
        self._do(
            effects.Run(slot.id, ticket.number, batch, ticket.first_run, job.options.reduce, job.options.task_timeout_s)
        )

    def reclaim_half(self) -> bool:
        """Take back half of every tail. Whether anything was asked for; the answers follow at once."""
        asked = False
        for slot in self.slots:
            for ticket, waiting in slot.tails():
                seconds = waiting * self._durations.guess_s(ticket.batch.payload.function)
                if seconds >= limits.SURPLUS_MIN_S:
                    ticket.reclaiming = True
                    self._do(effects.Reclaim(slot.id, ticket.number, ticket.end - (waiting + 1) // 2))
                    asked = True
        return asked

    def surplus_tasks(self) -> int:
        """Of how many tasks the surplus consists, one at least."""
        tails = sum(waiting for slot in self.slots for _, waiting in slot.tails())
        return max(1, self.queue.tasks + tails - self._view.free_slots)

    def take_back(self) -> bool:
        """Ask slots for half of what they have not started. Whether answers are on their way, which bring us back."""
        if any(ticket.reclaiming for slot in self.slots for ticket in slot.tickets):
            return True
        return self.reclaim_half()

    def traps(self) -> bool:
        """Whether tasks wait in a slot, behind one that runs."""
        return any(slot.traps for slot in self.slots)

    def runs(self) -> bool:
        """Whether any slot runs a task, which may split."""
        return any(slot.tickets for slot in self.slots)

    # --- what there is to give --------------------------------------------------------------------

    def queued_tasks(self) -> int:
        """Tasks that are in no slot."""
        return self.queue.tasks

    def surplus_s(self) -> float:
        """Estimated seconds of work beyond what the slots will soon start."""
        self.weigh()
        return self._view.surplus_s

    def donate(self, seconds: float) -> tuple[Batch, ...]:
        """About so many seconds of work from the back of the queue, and one task at least."""
        return tuple(self.queue.donate(seconds))

    def introduce(self, batch: Batch, to: PeerId, link: Introductions | None) -> None:
        """Tell ``to`` what it must know of a batch's job first; without a link to it, tell the controller."""
        if link is None:
            self.share_functions((batch,))
            return
        job = self.jobs[batch.job]
        for message in link.before(batch, job.options, job.functions):
            self._do(effects.Send(to, message))

    def end_job(self, number: JobId) -> None:
        """Drop what is still held of a job; what runs of it goes on, and nobody hears of it."""
        del self.jobs[number]
        self.queue.drop_job(number)
        for slot in self.slots:
            slot.functions = {known for known in slot.functions if known[0] != number}
            slot.lagging = [ticket for ticket in slot.lagging if ticket.batch.job != number]
            for ticket in slot.tickets:
                if ticket.batch.job == number:
                    ticket.reclaiming = True
                    self._do(effects.Reclaim(slot.id, ticket.number, ticket.batch.lo))
        self._attempts = {key: tried for key, tried in self._attempts.items() if key[0] != number}
        self._children = {run: kids for run, kids in self._children.items() if kids[0].job != number}
        self._do(effects.Forget(number))

    # --- what slots say ---------------------------------------------------------------------------

    def slot_ready(self, event: events.SlotReady) -> None:
        """A slot process is up, and knows nothing yet."""
        slot = self.slots[event.slot]
        slot.ready = True
        slot.functions.clear()

    def slot_done(self, event: events.SlotDone) -> None:
        """Results came."""
        self._view.unit_completed = True
        slot = self.slots[event.slot]
        slot.moved_at = self._view.now
        ticket = next((ticket for ticket in slot.all_tickets() if ticket.number == event.ticket), None)
        if ticket is not None:
            ticket.upto = max(ticket.upto, event.upto)
            self._report(slot, ticket, event.groups)

    def _report(self, slot: Slot, ticket: Ticket, groups: Iterable[Group]) -> None:
        job = self.jobs.get(ticket.batch.job)
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
        self.share_functions(child for group in told for member in group.members for child in member.children)
        if told:
            self._tell(messages.Result(ticket.batch.job, tuple(told), job.take_moved()))

    def _retry(self, job: HeldJob, batch: Batch, group: Group) -> bool:
        """Whether this is a failure that the job's options allow to be tried again, here."""
        if group.failure is None or group.failure.kind not in _WORTH_RETRYING or not job.options.retries:
            return False
        index = group.members[0].lo
        attempts = self._attempts.setdefault((batch.job, batch.origin, index), _Attempts())
        attempts.failures += 1
        if attempts.failures > job.options.retries:
            return False
        self.queue.append(batch.part(index, index + 1))
        return True

    def _complete(self, group: Group) -> Group:
        """Add what the slot left out: the children, which it sent before, and the worker's name."""
        if group.failure is None and all(member.run == ROOT for member in group.members):
            return group
        failure = group.failure and replace(group.failure, where=f"worker {self._name}, {group.failure.where}")
        members = tuple(
            member if member.run == ROOT else replace(member, children=tuple(self._children.pop(member.run, ())))
            for member in group.members
        )
        return replace(group, members=members, failure=failure)

    def slot_spawned(self, event: events.SlotSpawned) -> None:
        """A task that runs made others: they run here next, unless somebody asks for them."""
        self._view.unit_completed = True
        job = self.jobs.get(event.batch.job)
        if job is not None and self.slots[event.slot].ticket(event.ticket) is not None:
            self._children.setdefault(event.batch.origin, []).append(event.batch)
            self.queue.push(event.batch)

    def slot_taught(self, event: events.SlotTaught) -> None:
        """A task spawned a function that its slot had not been taught: it has the pickle, and could not run it yet."""
        job = self.jobs.get(event.job)
        if job is not None:
            job.functions.setdefault(event.digest, event.data)

    def share_functions(self, batches: Iterable[Batch]) -> None:
        """Before the controller hears of tasks, it must have their functions: who taught them to us may be lost."""
        for batch in batches:
            job, digest = self.jobs[batch.job], batch.payload.function
            if digest not in job.shared:
                job.shared.add(digest)
                self._tell(messages.Function(batch.job, digest, job.functions[digest]))

    def _drop_children(self, run: RunId) -> None:
        """This run is lost: what it spawned will never exist."""
        if self._children.pop(run, None) is not None:
            self.queue.drop_run(run)

    def slot_finished(self, event: events.SlotFinished) -> None:
        """A ticket is over."""
        slot = self.slots[event.slot]
        ticket = slot.ticket(event.ticket)
        if ticket is None:
            return
        slot.tickets.remove(ticket)
        slot.moved_at = self._view.now
        back = ticket.cut(event.ran_to)
        if ticket.batch.job not in self.jobs:
            return
        if back is not None:
            self.queue.push(back)
        if ticket.unreported:
            slot.lagging.append(ticket)

    def reclaimed(self, event: events.Reclaimed) -> None:
        """A slot has let go of tasks, or of none."""
        ticket = self.slots[event.slot].ticket(event.ticket)
        if ticket is None:
            return
        ticket.reclaiming = False
        back = ticket.cut(event.taken_from)
        if back is None:
            ticket.claimed, ticket.claimed_at = ticket.end, self._view.now
        elif back.job in self.jobs:
            self.queue.append(back)

    def slot_died(self, event: events.SlotDied) -> None:
        """Only the task that ran is blamed; all others of the slot go back to the queue."""
        slot = self.slots[event.slot]
        slot.ready = False
        tickets = list(slot.all_tickets())
        slot.tickets.clear()
        slot.lagging.clear()
        slot.functions.clear()
        for ticket in reversed(tickets):
            if ticket.batch.job not in self.jobs:
                continue
            for run in [run for run in self._children if run in ticket.runs()]:
                self._drop_children(run)
            blamed = event.index if ticket.number == event.ticket and event.index in ticket.unreported else None
            if blamed is not None:
                ticket.unreported.remove(blamed, blamed + 1)
            for lo, hi in reversed(list(ticket.unreported)):
                self.queue.push(ticket.batch.part(lo, hi))
            if blamed is not None:
                self._blame(ticket.batch, blamed, event)

    def _blame(self, batch: Batch, index: int, event: events.SlotDied) -> None:
        """A task killed its slot, or was over its time: again, or the end of it."""
        options = self.jobs[batch.job].options
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
            self.queue.append(batch.part(index, index + 1))
            return
        kind = "TaskTimeoutError" if event.timed_out else "TaskCrashedError"
        text = f"{event.description}; attempt {tried} of {tried}"
        member = Member(batch.origin, index, index + 1, batch.root, batch.parent_origin, batch.parent_index, ROOT, ())
        failure = Failure(kind, text, "", f"worker {self._name}", b"")
        self._view.unit_completed = True
        self._tell(messages.Result(batch.job, (Group(FAILED, b"", (member,), 0.0, failure),), ()))

    def _tell(self, message: messages.Message) -> None:
        self._do(effects.Send(CONTROLLER, message))
