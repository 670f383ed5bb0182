"""A worker at a desk: a test says what it hears from peers and slots, and sees what it does. Checks nothing itself."""

from __future__ import annotations

import random
from collections.abc import Sequence

from lbnet import limits
from lbnet.core import events
from lbnet.core.effects import Effect, Run, Send, SetHungry, SetTimer, Teach
from lbnet.core.worker import Worker
from lbnet.protocol import messages
from lbnet.protocol.messages import Message
from lbnet.strategies.base import Strategy, WorkerStrategy
from lbnet.types import (
    CONTROLLER,
    FAILED,
    ROOT,
    VALUES,
    Address,
    Batch,
    Failure,
    Group,
    JobId,
    JobOptions,
    Member,
    Payload,
    PeerId,
    RunId,
    SlotId,
)
from tests.core.scripted import ScriptedWorker, load_of, strategy_of

ME, PEER, OTHER = PeerId(5), PeerId(6), PeerId(7)
JOB = JobId(7)
FN, REDUCE, SPAWNED = b"function", b"reduce", b"spawned"
RUN = RunId(ME << 44)
OPTIONS = JobOptions()
DEATH = "killed by SIGSEGV (signal 11)"


class Desk:
    """A worker with a strategy that says nothing by itself, unless it is told another.

    Timers stand apart: ``timer`` is when the worker last asked to be woken.
    """

    def __init__(
        self,
        slots: int = 1,
        strategy: WorkerStrategy | None = None,
        *others: Strategy,
        ready: bool = True,
        queue_bytes: int = limits.QUEUE_BYTES_MAX,
    ) -> None:
        load = load_of(strategy_of(worker=strategy or ScriptedWorker()), *others)
        self.core = Worker(ME, "w", slots, load, random.Random(1).random, queue_bytes=queue_bytes)
        self.now = 0.0
        self.timer: float | None = None
        assert self.hears(messages.Balance("sb", False)) == []
        if ready:
            for slot in range(slots):
                self.event(events.SlotReady(SlotId(slot), 1))

    def event(self, event: events.Event) -> list[Effect]:
        done = self.core.handle(event, self.now)
        for effect in done:
            if isinstance(effect, SetTimer):
                self.timer = effect.at
        return [effect for effect in done if not isinstance(effect, SetTimer)]

    def waits(self) -> list[Effect]:
        """What the timer leads to."""
        assert self.timer is not None
        self.now, self.timer = self.timer, None
        return self.event(events.Tick())

    def hears(self, *said: Message, peer: PeerId = CONTROLLER) -> list[Effect]:
        """What the last of these messages leads to."""
        done: list[Effect] = []
        for message in said:
            done = self.event(events.Received(peer, message))
        return done

    def links(self, peer: PeerId) -> list[Effect]:
        return self.event(events.Joined(peer, "peer", "", "", 0, 0, Address("", 0)))

    def loses(self, peer: PeerId) -> list[Effect]:
        return self.event(events.Left(peer, "connection reset"))

    def done(self, ticket: int, *groups: Group, upto: int = 0, slot: int = 0) -> list[Effect]:
        upto = upto or max((member.hi for group in groups for member in group.members), default=0)
        return self.event(events.SlotDone(SlotId(slot), ticket, upto, groups))

    def finished(self, ticket: int, ran_to: int, slot: int = 0) -> list[Effect]:
        return self.event(events.SlotFinished(SlotId(slot), ticket, ran_to))

    def reclaimed(self, ticket: int, taken_from: int, slot: int = 0) -> list[Effect]:
        return self.event(events.Reclaimed(SlotId(slot), ticket, taken_from))

    def dies(self, ticket: int = -1, index: int = -1, *, slot: int = 0, timed_out: bool = False) -> list[Effect]:
        return self.event(events.SlotDied(SlotId(slot), ticket, index, timed_out, False, DEATH))

    def ready(self, slot: int = 0) -> list[Effect]:
        return self.event(events.SlotReady(SlotId(slot), 2))


def tasks(lo: int, hi: int, origin: RunId = ROOT, job: JobId = JOB, fn: bytes = FN) -> Batch:
    return Batch(job, origin, lo, hi, 0, ROOT, 0, Payload(lo, hi - lo, fn, b"items"))


def opening(options: JobOptions = OPTIONS, job: JobId = JOB) -> list[Message]:
    functions = [FN, *([options.reduce] if options.reduce else [])]
    return [messages.OpenJob(job, options), *(messages.Function(job, digest, digest) for digest in functions)]


def work(*batches: Batch, transfer: int = 1, donor: PeerId = CONTROLLER) -> messages.SendWork:
    return messages.SendWork(transfer, donor, batches)


def has_job(desk: Desk, options: JobOptions = OPTIONS) -> None:
    assert desk.hears(*opening(options)) == []


def member(lo: int, hi: int, origin: RunId = ROOT, run: RunId = ROOT, children: Sequence[Batch] = ()) -> Member:
    return Member(origin, lo, hi, lo if origin == ROOT else 0, ROOT, 0, run, tuple(children))


def values(lo: int, hi: int, seconds: float = 0.1) -> Group:
    return Group(VALUES, b"v", (member(lo, hi),), seconds, None)


def failed(index: int, kind: str = "exception", where: str = "pid 9") -> Group:
    return Group(FAILED, b"", (member(index, index + 1),), 0.1, Failure(kind, "boom", "", where, b"e"))


def told(message: Message) -> Send:
    return Send(CONTROLLER, message)


def result(*groups: Group, moved: Sequence[messages.Moved] = ()) -> Send:
    return told(messages.Result(JOB, groups, tuple(moved)))


def ack(transfer: int = 1, to: PeerId = CONTROLLER) -> Send:
    return Send(to, messages.Ack(transfer))


def teach(slot: int = 0, digest: bytes = FN) -> Teach:
    return Teach(SlotId(slot), JOB, digest, digest)


def run(ticket: int, batch: Batch, first_run: int, slot: int = 0, options: JobOptions = OPTIONS) -> Run:
    """``first_run``: how many executions this worker had begun before."""
    return Run(SlotId(slot), ticket, batch, RunId(RUN + first_run), options.reduce, options.task_timeout_s)


def idle(seconds: float = 0.0) -> Send:
    return told(messages.Idle(seconds))


FED = SetHungry(False)
HUNGRY = SetHungry(True)


def busy(count: int, slots: int = 1, options: JobOptions = OPTIONS, strategy: WorkerStrategy | None = None) -> Desk:
    """Tasks of unknown length: one runs in each slot, the others wait."""
    desk = Desk(slots, strategy)
    has_job(desk, options)
    desk.hears(work(tasks(0, count)))
    return desk


def in_one_ticket() -> Desk:
    """Items of 10 ms: 0 is done, ticket 2 holds 1 to 11, ticket 3 holds 11 to 21, and the rest up to 27 waits."""
    desk = busy(27)
    batch = tasks(0, 27)
    assert desk.done(1, values(0, 1, 0.01)) == [result(values(0, 1, 0.01)), run(2, batch.part(1, 11), 1)]
    assert desk.finished(1, 1) == [run(3, batch.part(11, 21), 11)]
    return desk
