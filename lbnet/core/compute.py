"""What runs in a worker's slots: it feeds them, reports what they finish, and says who is to blame when one dies.

It must not know of other workers, nor of the strategy: what was taken back and what was spawned go into the queue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from lbnet import limits
from lbnet.core import batching, effects, events
from lbnet.core.account import Accounts
from lbnet.core.attempts import Resting, delay_s, is_worth_a_retry
from lbnet.core.blame import last_failure
from lbnet.core.durations import Durations
from lbnet.core.effects import Effect
from lbnet.core.introductions import Introductions
from lbnet.core.queue import WorkQueue
from lbnet.core.ranges import RangeSet
from lbnet.core.results import UnkeptResults
from lbnet.core.slots import Slot, Ticket
from lbnet.core.whereabouts import in_slots
from lbnet.core.withdrawal import wanted_of, within
from lbnet.errors import TaskTimeoutError
from lbnet.protocol import messages
from lbnet.strategies.base import WorkerView
from lbnet.types import (
    CONTROLLER,
    FAILED,
    ROOT,
    Batch,
    Group,
    JobId,
    JobOptions,
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
        if not self.moved:
            return ()
        moved = tuple(messages.Moved(donor, batches) for donor, batches in self.moved.items())
        self.moved.clear()
        return moved


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
        self.jobs: dict[JobId, HeldJob] = {}
        self.queue = WorkQueue(self._durations, self._priority)
        self.results = UnkeptResults(self._tell)
        self.slots = [Slot(SlotId(number)) for number in range(slots)]
        self.accounts = Accounts(slots)
        self._children: dict[RunId, list[Batch]] = {}
        self._resting = Resting()
        self._outputs: dict[SlotId, events.SlotOutput] = {}
        self._tickets = 0
        self._runs = me << _RUN_BITS
        self._blameless = False
        self._withdrawn: dict[JobId, RangeSet] = {}
        self._strays: dict[JobId, dict[bytes, bytes]] = {}

    def _priority(self, job: JobId) -> int:
        held = self.jobs.get(job)
        return held.options.priority if held is not None else 0

    @property
    def ready(self) -> bool:
        """Whether any slot is up."""
        for slot in self.slots:  # noqa: SIM110 - asked after every event, where any() takes three times as long
            if slot.ready:
                return True
        return False

    @property
    def longest_s(self) -> float:
        """How long a running task has lasted beyond what is usual, at most."""
        return max([slot.lasting_s(self._view.now) for slot in self.slots], default=0.0)

    @property
    def stuck(self) -> bool:
        """Whether every slot sits in a task that lasts, so that what waits here will not be begun soon."""
        doubtful_at = self._view.now - limits.CLAIM_DOUBT_S
        for slot in self.slots:  # noqa: SIM110 - see :attr:`ready`
            if slot.ready and not (slot.tickets and slot.moved_at < doubtful_at):
                return False
        return True

    def held(self) -> list[Span]:
        """The tasks that are queued, run, or rest before they are tried again."""
        spans = self.queue.spans()
        for slot in self.slots:
            for ticket in slot.all_tickets():
                if not ticket.over:
                    spans.extend(ticket.spans())
        return spans + self._resting.spans()

    def whereabouts(self, job: JobId, index: int) -> dict[str, Any]:
        """Where one item of a job is in this worker, as plain facts: see :mod:`.whereabouts`."""
        return {
            **in_slots(self.slots, job, index, self._view.now),
            "queued": self.queue.ahead_of(job, index),
            "resting": self._resting.of_item(job, index, self._view.now),
        }

    @property
    def resting_until(self) -> float | None:
        """When a task is to be tried again, None if no one waits for that."""
        return self._resting.until

    def wake(self, now: float | None = None) -> None:
        """Tasks that have rested long enough, by ``now``, are work like any other."""
        for batch in self._resting.wake(self._view.now if now is None else now):
            self.queue.append(batch)

    def weigh(self) -> None:
        """Write down what there is."""
        view = self._view
        stock_s = surplus_s = self.queue.seconds()
        free = 0
        trapped = False
        doubtful_at = view.now - limits.CLAIM_DOUBT_S
        for slot in self.slots:
            if slot.tickets:
                slot_s, tails_s = slot.weigh(self._durations)
                stock_s += slot_s
                surplus_s += tails_s
                trapped = trapped or (tails_s > 0 and slot.moved_at < doubtful_at)
            elif slot.ready:
                free += 1
        front = self.queue.front() if free else None
        if front is not None:
            surplus_s -= free * self._durations.guess_s(front.payload.function)
        view.free_slots = free
        view.stock_s = stock_s
        if trapped or (self.queue.tasks and self.stuck):
            surplus_s = max(surplus_s, limits.SURPLUS_MIN_S)  # however short they are, they would wait for long
        view.surplus_s = max(0.0, surplus_s)

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
        if self.results.size_bytes > limits.UNKEPT_BYTES_MAX:
            if self.queue.tasks:
                self.accounts.hold_up(self._view.now)
            return  # nobody keeps what would come of them
        if self.accounts.held_up:
            self.accounts.go_on(self._view.now)
        queue, slots = self.queue, self.slots
        doubtful_at = self._view.now - limits.CLAIM_DOUBT_S
        for held in range(limits.SLOT_BATCHES_AHEAD if queue.tasks else 0):
            for slot in slots:
                if not slot.ready or len(slot.tickets) != held or (held and slot.moved_at < doubtful_at):
                    continue  # it is not there, has more or less, or would begin it no sooner than anybody else
                front = queue.front()
                if front is None:
                    break
                task_s = self._durations.typical_s(front.payload.function)
                if held < batching.slot_batches(task_s):
                    tasks = batching.slot_tasks(task_s, queue.tasks, len(slots))
                    self._run(slot, queue.take(tasks))
        if queue.tasks:
            return
        for slot in slots:
            if slot.ready and not slot.tickets:
                self.reclaim()
                return

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
        self.accounts.began(slot.id, batch.job, self._view.now, front=not slot.tickets)
        slot.tickets.append(ticket)
        options = job.options
        self._do(
            effects.Run(
                slot.id,
                ticket.number,
                batch,
                ticket.first_run,
                options.reduce,
                options.task_timeout_s,
                options.retry_on if options.retries else (),
            )
        )

    def reclaim(self) -> bool:
        """Take back half of every tail, and all of one that is behind a task that lasts.

        Returns:
            Whether anything was asked for; the answers follow at once.
        """
        asked = False
        for slot in self.slots:
            lasts = slot.lasting_s(self._view.now) > 0
            for ticket, waiting in slot.tails():
                seconds = waiting * self._durations.guess_s(ticket.batch.payload.function)
                if lasts or seconds >= limits.SURPLUS_MIN_S:
                    ticket.reclaiming = True
                    back = waiting if lasts else (waiting + 1) // 2
                    self._do(effects.Reclaim(slot.id, ticket.number, ticket.end - back))
                    asked = True
        return asked

    def reclaim_all(self) -> None:
        """Take back whatever has not started; the answers follow at once."""
        for slot in self.slots:
            for ticket, _ in slot.tails():
                ticket.reclaiming = True
                self._do(effects.Reclaim(slot.id, ticket.number, ticket.batch.lo))

    def abandon(self) -> None:
        """End what runs. It is nobody's fault: all of it goes back to the queue."""
        self._blameless = True
        for slot in self.slots:
            if any(not ticket.over for ticket in slot.tickets):
                self._do(effects.Kill(slot.id))

    @property
    def busy(self) -> bool:
        """Whether results are to come that somebody wants."""
        return any(not ticket.over and ticket.unreported for slot in self.slots for ticket in slot.all_tickets())

    def report_moved(self) -> None:
        """Tell of batches that came, where no result has told of them."""
        for number, job in self.jobs.items():
            if job.moved:
                self.results.add(messages.Result(number, (), job.take_moved()))

    def surplus_tasks(self) -> int:
        """Of how many tasks the surplus consists, one at least."""
        tails = sum(waiting for slot in self.slots for _, waiting in slot.tails())
        return max(1, self.queue.tasks + tails - self._view.free_slots)

    def take_back(self) -> bool:
        """Ask slots for what they have not started. Whether answers are on their way, which bring us back."""
        if any(ticket.reclaiming for slot in self.slots for ticket in slot.tickets):
            return True
        return self.reclaim()

    def traps(self) -> bool:
        """Whether tasks wait in a slot, behind one that runs."""
        for slot in self.slots:  # noqa: SIM110 - see :attr:`ready`
            if slot.traps:
                return True
        return False

    @property
    def has_more(self) -> bool:
        """Whether no slot will have run dry when it has finished what it runs now."""
        if self.queue.tasks:
            return True
        for slot in self.slots:  # noqa: SIM110 - see :attr:`ready`
            if slot.ready and not slot.traps:
                return False
        return True

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

    def donate(self, seconds: float, size_bytes_max: float = limits.GRANT_BYTES_SOFT) -> tuple[Batch, ...]:
        """About so many seconds of work from the back of the queue, and one task at least."""
        return tuple(self.queue.donate(seconds, size_bytes_max))

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
        self.accounts.ended(number, self._view.now)
        self.results.forget(number)
        self.queue.drop_job(number)
        self._resting.drop(lambda batch: batch.job == number)
        for slot in self.slots:
            slot.functions = {known for known in slot.functions if known[0] != number}
            slot.lagging = [ticket for ticket in slot.lagging if ticket.batch.job != number]
            for ticket in slot.tickets:
                if ticket.batch.job == number:
                    ticket.reclaiming = ticket.over = True
                    self._do(effects.Reclaim(slot.id, ticket.number, ticket.batch.lo))
        self._withdrawn.pop(number, None)
        self._children = {run: kids for run, kids in self._children.items() if kids[0].job != number}
        self._do(effects.Forget(number))

    def withdraw(self, job: JobId, lo: int, hi: int) -> None:
        """Nobody wants these items, nor what descends from them.

        What waits is dropped, and what comes later; a task that runs on for much longer is ended. None of them is held
        any more. What comes of one that ends by itself is reported as ever.
        """
        self._withdrawn.setdefault(job, RangeSet()).add(lo, hi)
        if len(self._withdrawn) > limits.REPORTS_KEPT:
            del self._withdrawn[next(iter(self._withdrawn))]
        self._resting.drop(lambda batch: not self.wanted(batch))
        self.queue.keep(self.wanted)
        for slot in self.slots:
            for ticket in list(slot.all_tickets()):
                hit = within(ticket.batch, lo, hi) if ticket.batch.job == job and not ticket.over else None
                if hit is not None and ticket.unreported.remove(*hit):
                    self._end_in(slot, ticket, *hit)

    def wanted(self, batch: Batch) -> list[Batch]:
        """The parts of a batch that nobody has given up."""
        gone = self._withdrawn.get(batch.job)
        return [batch] if gone is None else wanted_of(batch, gone)

    def _end_in(self, slot: Slot, ticket: Ticket, lo: int, hi: int) -> None:
        if ticket in slot.tickets:
            ticket.reclaiming = True
            self._do(effects.Reclaim(slot.id, ticket.number, lo))
            self._do(effects.Cancel(slot.id, ticket.number, lo, hi))
        else:
            slot.lagging = [other for other in slot.lagging if other.unreported]

    # --- what slots say ---------------------------------------------------------------------------

    def slot_ready(self, event: events.SlotReady) -> None:
        """A slot process is up, and knows nothing yet."""
        slot = self.slots[event.slot]
        slot.ready = True
        self.accounts.up(event.slot, self._view.now)
        slot.functions.clear()

    def slot_done(self, event: events.SlotDone) -> None:
        """Results came."""
        self._view.unit_completed = True
        slot = self.slots[event.slot]
        slot.moved_at = self._view.now
        ticket = slot.any_ticket(event.ticket)
        if ticket is not None:
            ticket.upto = max(ticket.upto, event.upto)
            self._report(slot, ticket, event.groups)

    def _report(self, slot: Slot, ticket: Ticket, groups: Iterable[Group]) -> None:
        job = None if ticket.over else self.jobs.get(ticket.batch.job)
        if job is None:
            return
        told: list[Group] = []
        spawned: list[Batch] = []
        seconds = longest_s = 0.0
        finished = 0
        for group in groups:
            for member in group.members:
                slot.reported(ticket.batch.job, member)
            tasks = group.tasks
            self._durations.observe(ticket.batch.payload.function, tasks, group.seconds)
            seconds += group.seconds
            finished += tasks
            if tasks and group.seconds > longest_s * tasks:
                longest_s = group.seconds / tasks
            if group.kind == FAILED:
                self._drop_children(RunId(ticket.first_run + group.members[0].lo - ticket.batch.lo))
            if self._retry(job, ticket, group):
                self.accounts.retried(ticket.batch.job, group.seconds)
            else:
                complete = self._complete(group)
                told.append(complete)
                for member in complete.members:
                    spawned.extend(member.children)
        self.accounts.reported(slot.id, ticket.batch.job, self._view.now, seconds, finished, longest_s)
        if spawned:
            self.share_functions(spawned)
        if told:
            self.results.add(messages.Result(ticket.batch.job, tuple(told), job.take_moved()))

    def _retry(self, job: HeldJob, ticket: Ticket, group: Group) -> bool:
        """Whether this is a failure that the job's options allow to be tried again, here."""
        failure, options = group.failure, job.options
        if failure is None or failure.kind not in _WORTH_RETRYING or failure.final or not options.retries:
            return False
        index = group.members[0].lo
        tried = ticket.batch.again(index, failures=1)
        return bool(self.wanted(tried)) and self._try_again(tried, options)

    def _try_again(self, tried: Batch, options: JobOptions) -> bool:
        """A task has failed: whether it is tried once more. It rests before that."""
        if tried.failures > options.retries:
            return False
        rest_s = delay_s(options.retry_delay_s, tried.failures)
        if rest_s > 0:
            self._resting.add(tried, self._view.now + rest_s)
        else:
            self.queue.append(tried)
        return True

    def _complete(self, group: Group) -> Group:
        """Add what the slot left out: the children, which it sent before, and the worker's name."""
        if group.failure is None and not group.spawned:
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
        ticket = self.slots[event.slot].ticket(event.ticket)
        if job is not None and ticket is not None and not ticket.over:
            self._children.setdefault(event.batch.origin, []).append(event.batch)
            if self.wanted(event.batch):
                self.queue.push(event.batch)

    def slot_taught(self, event: events.SlotTaught) -> None:
        """A task spawned a function that its slot had not been taught: it has the pickle, and could not run it yet."""
        job = self.jobs.get(event.job)
        if job is not None:
            job.functions.setdefault(event.digest, event.data)
        else:
            self.stray(event.job, event.digest, event.data)

    def stray(self, job: JobId, digest: bytes, data: bytes) -> None:
        """A function of a job that has ended here: if it is opened again, whoever said it will not say it again."""
        self._strays.setdefault(job, {})[digest] = data
        if len(self._strays) > limits.REPORTS_KEPT:
            del self._strays[next(iter(self._strays))]

    def open_job(self, job: JobId, options: JobOptions) -> None:
        """Its tasks may come, if they do not already."""
        if job not in self.jobs:
            self.jobs[job] = HeldJob(options, self._strays.pop(job, {}))
            self.accounts.opened(job, self._view.now)
            self.results.opened(self._view.now)

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
        self.accounts.over(slot.id, slot.tickets[0].batch.job if slot.tickets else None, self._view.now)
        back = ticket.cut(event.ran_to)
        if ticket.over:
            return
        for wanted in reversed(back):
            self.queue.push(wanted)
        if ticket.unreported:
            slot.lagging.append(ticket)

    def reclaimed(self, event: events.Reclaimed) -> None:
        """A slot has let go of tasks, or of none."""
        ticket = self.slots[event.slot].ticket(event.ticket)
        if ticket is None:
            return
        ticket.reclaiming = False
        before = ticket.end
        back = ticket.cut(event.taken_from)
        if ticket.end == before:
            ticket.claimed, ticket.claimed_at = ticket.end, self._view.now
        elif not ticket.over:
            for wanted in back:
                self.queue.append(wanted)

    def slot_died(self, event: events.SlotDied) -> None:
        """Only the task that ran is blamed; all others of the slot go back to the queue."""
        slot = self.slots[event.slot]
        slot.ready = False
        self.accounts.died(event.slot, self._view.now)
        output = self._outputs.pop(event.slot, None)
        tickets = list(slot.all_tickets())
        slot.tickets.clear()
        slot.lagging.clear()
        slot.functions.clear()
        for ticket in reversed(tickets):
            if ticket.over:
                continue
            for run in [run for run in self._children if run in ticket.runs()]:
                self._drop_children(run)
            culprit = ticket.number == event.ticket and not self._blameless
            blamed = event.index if culprit and event.index in ticket.unreported else None
            if blamed is not None:
                ticket.unreported.remove(blamed, blamed + 1)
            for lo, hi in reversed(list(ticket.unreported)):
                self.queue.push(ticket.batch.part(lo, hi))
            if blamed is not None:
                self._blame(ticket.batch, blamed, event, output)

    def slot_output(self, event: events.SlotOutput) -> None:
        """A task that failed, or that is about to be blamed for the death of its slot, has printed this."""
        self._outputs[event.slot] = event

    def _blame(self, batch: Batch, index: int, event: events.SlotDied, output: events.SlotOutput | None) -> None:
        """A task killed its slot, or was over its time: it gets another chance, or fails."""
        options = self.jobs[batch.job].options
        if event.timed_out:
            tried = batch.again(index, failures=1)
            again = is_worth_a_retry(TaskTimeoutError, options.retry_on) and self._try_again(tried, options)
        else:
            tried = batch.again(index, crashes=1)
            again = tried.crashes < options.crash_limit
            if again:
                self.queue.append(tried)
        if not again:
            self._view.unit_completed = True
            group = last_failure(tried, event, output, self._name)
            self.results.add(messages.Result(batch.job, (group,), ()))

    def _tell(self, message: messages.Message) -> None:
        self._do(effects.Send(CONTROLLER, message))
