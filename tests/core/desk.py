"""A controller at a desk: a test says what comes in, and sees what goes out; and short names for what is said.

It must not check anything by itself, other than that setting things up says no more than it has to.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeGuard

from lbnet.core import events
from lbnet.core.controller import Controller
from lbnet.core.effects import Effect, Persist, Send, SetTimer
from lbnet.protocol import messages
from lbnet.protocol.messages import Message
from lbnet.protocol.records import OUTCOMES
from lbnet.strategies.base import ControllerStrategy, Strategy
from lbnet.strategies.sb import SchedulerBased
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
)
from tests.core.scripted import ScriptedController, load_of, strategy_of

JOB = JobId(7)
FN, REDUCE = b"function", b"reduce"
OPTIONS = JobOptions(placement="first", strategy="sb")


class Desk:
    """A controller with a clock. Timers stand apart, and so do SUBMITTED and KEPT, and what is to be kept.

    All of them that there have been are in ``receipts`` and in ``journal``.
    """

    def __init__(self, strategy: ControllerStrategy | None = None, *others: Strategy, **more: Any) -> None:
        given = SchedulerBased() if strategy is None else strategy_of(strategy)
        self.core = Controller(load_of(given, *others), strategy="sb", placement="first", **more)
        self.now = 100.0
        self.timer: float | None = None
        self.receipts: list[Effect] = []
        self.journal: list[Persist] = []
        self._peers = 0

    def event(self, event: events.Event) -> list[Effect]:
        said = self.core.handle(event, self.now)
        for effect in said:
            if isinstance(effect, SetTimer):
                self.timer = effect.at
        self.receipts += [effect for effect in said if is_receipt(effect)]
        self.journal += [effect for effect in said if isinstance(effect, Persist)]
        rest = [effect for effect in said if not isinstance(effect, SetTimer | Persist) and not is_receipt(effect)]
        told = {effect.to for effect in rest if is_outcome(effect)}
        # Who hears first is no matter, and what each of them hears first is.
        return sorted(rest, key=lambda effect: not (isinstance(effect, Send) and effect.to in told))

    def says(self, peer: PeerId, *said: Message) -> list[Effect]:
        """What the last of these messages leads to."""
        done: list[Effect] = []
        for message in said:
            done = self.event(events.Received(peer, message))
        return done

    def persists(self, count: int | None = None) -> list[Effect]:
        """So much of the journal is safe, all of it if ``count`` is None."""
        return self.event(events.Persisted(len(self.journal) if count is None else count))

    def joins(self, role: str = "worker", slots: int = 1) -> PeerId:
        self._peers += 1
        peer = PeerId(self._peers)
        told = [in_force(peer)] if role == "worker" else []
        assert self.event(events.Joined(peer, role, f"{role}-{peer}", "host", 1, slots, where(peer))) == told
        return peer

    def team(self, workers: int, slots: int = 1) -> tuple[PeerId, ...]:
        """A client, then so many workers."""
        return (self.joins("client", 0), *(self.joins(slots=slots) for _ in range(workers)))

    def returns(self, peer: PeerId, role: str = "client", slots: int = 0) -> list[Effect]:
        """Somebody whose link was lost has a new one, and the id that it had."""
        return self.event(events.Joined(peer, role, f"{role}-{peer}", "host", 1, slots, where(peer), back=True))

    def leaves(self, peer: PeerId, *, on_purpose: bool = False) -> list[Effect]:
        return self.event(events.Left(peer, "connection reset", on_purpose))

    def offers(self) -> dict[int, float]:
        """What stands, as people see it."""
        return {at.id: at.surplus_s for at in self.core.status().workers if at.surplus_s}

    def tick(self) -> list[Effect]:
        """The time that was asked for comes."""
        assert self.timer is not None
        self.now = max(self.now, self.timer)
        self.timer = None
        return self.event(events.Tick())


def is_receipt(effect: Effect) -> bool:
    """SUBMITTED and KEPT: tests of promises look at them."""
    return isinstance(effect, Send) and isinstance(effect.message, messages.Submitted | messages.Kept)


def is_outcome(effect: Effect) -> TypeGuard[Send]:
    """What a client is told of its items."""
    return isinstance(effect, Send) and type(effect.message) in OUTCOMES


def where(peer: PeerId) -> Address:
    return Address("host", 1000 + peer)


def in_force(worker: PeerId, strategy: str = "sb", *, work: bool = False) -> Send:
    return Send(worker, messages.Balance(strategy, work))


def match(requester: PeerId) -> messages.Match:
    return messages.Match(requester, "host", 1000 + requester)


def tasks(lo: int, hi: int, origin: RunId = ROOT, job: JobId = JOB, parent: int = 0, root: int = 0) -> Batch:
    return Batch(job, origin, lo, hi, root, ROOT, parent, Payload(lo, hi - lo, FN, b"items"))


def member(lo: int, hi: int, origin: RunId = ROOT, run: RunId = ROOT, children: Sequence[Batch] = ()) -> Member:
    return Member(origin, lo, hi, 0 if origin != ROOT else lo, ROOT, 0, run, tuple(children))


def group(*members: Member, kind: int = VALUES, data: bytes = b"v", seconds: float = 0.01) -> Group:
    failure = Failure("exception", "boom", "trace", "worker", b"e") if kind == FAILED else None
    return Group(kind, data, members, seconds, failure)


def result(*groups: Group, job: JobId = JOB) -> messages.Result:
    return messages.Result(job, groups, ())


def opening(options: JobOptions = OPTIONS, job: JobId = JOB) -> list[Message]:
    functions = [FN, *([options.reduce] if options.reduce else [])]
    return [messages.OpenJob(job, options), *(messages.Function(job, digest, digest) for digest in functions)]


def open_job(desk: Desk, client: PeerId, options: JobOptions = OPTIONS, job: JobId = JOB) -> None:
    assert desk.says(client, *opening(options, job)) == []


def introduced(to: PeerId, work: messages.SendWork, options: JobOptions = OPTIONS, job: JobId = JOB) -> list[Effect]:
    return [*(Send(to, message) for message in opening(options, job)), Send(to, work)]


def work(transfer: int, *batches: Batch, donor: PeerId = CONTROLLER) -> messages.SendWork:
    return messages.SendWork(transfer, donor, batches)


def value(index: int, *, open_: bool = False) -> messages.Values:
    return messages.Values(JOB, index, index + 1, index, b"v", open_)


def running(desk: Desk, count: int, workers: int = 1, options: JobOptions = OPTIONS) -> tuple[PeerId, ...]:
    """A job of ``count`` items, all at the first worker, its input closed."""
    team = desk.team(workers)
    open_job(desk, team[0], options)
    assert desk.says(team[0], messages.Submit(tasks(0, count))) == introduced(
        team[1], work(1, tasks(0, count)), options
    )
    assert desk.says(team[0], messages.CloseJob(JOB, count)) == []
    return team


def silent() -> Desk:
    return Desk(ScriptedController())


SPREAD = replace(OPTIONS, placement="spread")


def with_strategy(strategy: str) -> JobOptions:
    return replace(OPTIONS, strategy=strategy)


def told(effects: list[Effect], kind: type[Message] = messages.Balance) -> list[Message]:
    """The messages of this kind, each of them said to all workers at once."""
    said = [effect.message for effect in effects if isinstance(effect, Send) and isinstance(effect.message, kind)]
    return list(dict.fromkeys(said))


def opens(desk: Desk, client: PeerId, strategy: str, job: JobId = JOB, count: int = 1) -> list[Message]:
    """The BALANCE messages that the first items of a job lead to."""
    desk.says(client, *opening(with_strategy(strategy), job))
    return told(desk.says(client, messages.Submit(tasks(0, count, job=job))))


def answer(desk: Desk, client: PeerId, what: str, job: JobId = JOB) -> Any:
    (effect,) = desk.says(client, messages.Ask(3, what, job))
    assert isinstance(effect, Send)
    assert isinstance(effect.message, messages.Answer)
    assert (effect.to, effect.message.request) == (client, 3)
    return json.loads(effect.message.facts)
