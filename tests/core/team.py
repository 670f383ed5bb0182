"""A controller and its workers, the real ones, joined by links that lose nothing; time passes when a test says so.

It is for looking at who says what to whom. It must not check anything by itself, other than that things end.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import dataclass, field

from lbnet.core import effects, events
from lbnet.core.controller import Controller
from lbnet.core.effects import Effect
from lbnet.core.events import Event
from lbnet.core.worker import Worker
from lbnet.protocol import messages
from lbnet.protocol.messages import Message
from lbnet.strategies.base import Strategy
from lbnet.types import (
    CONTROLLER,
    ROOT,
    SILENT,
    VALUES,
    Address,
    Batch,
    Group,
    JobId,
    JobOptions,
    Member,
    Payload,
    PeerId,
    RunId,
    SlotId,
)
from tests.core.scripted import load_of

JOB = JobId(7)
FN = b"function"
CLIENT = PeerId(1_000)
DELIVERIES_MAX = 20_000
TICKS_MAX = 2_000


@dataclass
class Post:
    """A worker with its slot, and the tickets that it holds, the running one first."""

    core: Worker
    tickets: deque[effects.Run] = field(default_factory=deque)


class Team:
    """The workers are numbered from 1 on, and have one slot each. The client's number is ``CLIENT``.

    What is on its way between two that are in ``held`` stays there. Links between two that are in ``cut`` cannot be
    opened.
    """

    def __init__(self, workers: int, strategy: str, *given: Strategy, placement: str = "first") -> None:
        self.now = 0.0
        self.load = load_of(*given)
        self.controller = Controller(self.load, strategy=strategy, placement=placement)
        self.posts: dict[PeerId, Post] = {}
        self.said: list[tuple[PeerId, PeerId, Message]] = []
        self.held: set[tuple[int, int]] = set()
        self.cut: set[frozenset[int]] = set()
        self.timers: dict[PeerId, float] = {}
        self._links: set[frozenset[int]] = set()
        self._joined = 0
        self._queue: deque[tuple[PeerId, PeerId, Event]] = deque()
        for _ in range(workers):
            self.joins()
        self._post(CLIENT, CONTROLLER, events.Joined(CLIENT, "client", "c", "", 1, 0, Address("", 0)))
        self.settle()

    # --- what happens

    def joins(self) -> PeerId:
        """Another worker."""
        self._joined += 1
        peer = PeerId(self._joined)
        self.posts[peer] = Post(Worker(peer, f"w{peer}", 1, self.load, random.Random(int(peer)).random))
        at = Address("host", 1000 + peer)
        self._post(peer, CONTROLLER, events.Joined(peer, "worker", f"w{peer}", "host", 1, 1, at))
        self._post(peer, peer, events.SlotReady(SlotId(0), 1))
        return peer

    def leaves(self, peer: int) -> None:
        """A worker is gone; everybody who had a link to it hears of that."""
        gone = PeerId(peer)
        del self.posts[gone]
        self.timers.pop(gone, None)
        self._queue = deque(item for item in self._queue if gone not in item[:2])
        self._post(gone, CONTROLLER, events.Left(gone, "connection reset"))
        for link in sorted(self._links, key=sorted):
            if gone in link:
                self._links.discard(link)
                (other,) = link - {gone}
                self._post(gone, PeerId(other), events.Left(gone, "connection reset"))
        self.settle()

    def submit(self, count: int, strategy: str = "", job: JobId = JOB) -> None:
        """A job of so many items, its input closed."""
        batch = Batch(job, ROOT, 0, count, 0, ROOT, 0, Payload(0, count, FN, b"items"))
        for message in (
            messages.OpenJob(job, JobOptions(strategy=strategy)),
            messages.Function(job, FN, FN),
            messages.Submit(batch),
            messages.CloseJob(job, count),
        ):
            self._send(CLIENT, CONTROLLER, message)
        self.settle()

    def finish(self, peer: int, seconds: float = 0.1) -> bool:
        """The oldest ticket of a worker ends, with ``seconds`` for each of its tasks. Whether there was one."""
        post = self.posts[PeerId(peer)]
        if not post.tickets:
            return False
        ran = post.tickets.popleft()
        ends = {ticket.number: ticket.end for ticket in post.core._compute.slots[0].tickets}
        lo, hi = ran.batch.lo, ends.get(ran.ticket, ran.batch.lo)
        if lo < hi:
            batch = ran.batch
            run = ran.first_run if hi - lo == 1 else ROOT
            member = Member(batch.origin, lo, hi, batch.root, batch.parent_origin, batch.parent_index, run, ())
            kind = VALUES if batch.origin == ROOT else SILENT
            group = Group(kind, b"v", (member,), seconds * (hi - lo), None)
            self._post(PeerId(peer), PeerId(peer), events.SlotDone(ran.slot, ran.ticket, hi, (group,)))
        self._post(PeerId(peer), PeerId(peer), events.SlotFinished(ran.slot, ran.ticket, hi))
        self.settle()
        return True

    def spawn(self, peer: int, count: int) -> None:
        """The running task of a worker spawns so many tasks."""
        (ran, *_) = self.posts[PeerId(peer)].tickets
        child = Batch(ran.batch.job, RunId(ran.first_run), 0, count, 0, ROOT, ran.batch.lo, Payload(0, count, FN, b""))
        self._post(PeerId(peer), PeerId(peer), events.SlotSpawned(ran.slot, ran.ticket, child))
        self.settle()

    def advance(self, seconds: float) -> int:
        """Time passes. Returns how many timers went off."""
        end = self.now + seconds
        ticks = 0
        self.settle()
        while self.timers and min(self.timers.values()) <= end:
            peer = min(self.timers, key=lambda peer: (self.timers[peer], peer))
            self.now = max(self.now, self.timers.pop(peer))
            self._deliver(peer, peer, events.Tick())
            # A timer that is due at once would never let go.
            assert self.timers.get(peer, self.now + 1.0) > self.now
            self.settle()
            ticks += 1
            assert ticks < TICKS_MAX, f"timers go off again and again: {self.timers}"
        self.now = end
        return ticks

    def run_out(self, seconds: float = 0.1) -> Counter[PeerId]:
        """All workers compute until nothing is left. Returns how many tickets each of them has run."""
        ran: Counter[PeerId] = Counter()
        for _ in range(TICKS_MAX):
            worked = [peer for peer in self.posts if self.finish(peer, seconds)]
            ran.update(worked)
            self.advance(seconds)
            if not worked and not any(post.tickets for post in self.posts.values()):
                return ran
        raise AssertionError("it goes on for ever")

    # --- what can be seen

    def forget(self) -> None:
        """Begin a new record of what is said."""
        self.said.clear()

    def kinds(self, *involved: int) -> Counter[str]:
        """How many messages of each kind were said; only those to or from ``involved``, if there are any."""
        return Counter(
            type(message).__name__
            for sender, to, message in self.said
            if not involved or sender in involved or to in involved
        )

    def between_workers(self) -> Counter[str]:
        """How many messages of each kind workers have said to each other."""
        return Counter(type(message).__name__ for sender, to, message in self.said if {sender, to} <= self.posts.keys())

    def heard(self, to: int, kind: type[Message]) -> list[Message]:
        """What was said to somebody."""
        return [message for _, at, message in self.said if at == to and isinstance(message, kind)]

    def tasks(self, peer: int) -> int:
        """How many tasks a worker holds, with those that it gave and that are not acknowledged."""
        return sum(span.hi - span.lo for span in self.posts[PeerId(peer)].core.held())

    # --- links

    def settle(self) -> None:
        """Deliver all that is on its way, and what that leads to."""
        for _ in range(DELIVERIES_MAX):
            at = next((at for at, item in enumerate(self._queue) if (item[0], item[1]) not in self.held), None)
            if at is None:
                return
            sender, to, event = self._queue[at]
            del self._queue[at]
            self._deliver(sender, to, event)
        raise AssertionError("messages lead to messages without end")

    def _deliver(self, sender: PeerId, to: PeerId, event: Event) -> None:
        if to == CONTROLLER:
            self._follow(to, self.controller.handle(event, self.now))
        elif to in self.posts:
            self._follow(to, self.posts[to].core.handle(event, self.now))

    def _follow(self, who: PeerId, done: list[Effect]) -> None:
        for effect in done:
            if isinstance(effect, effects.Send):
                self._send(who, effect.to, effect.message)
            elif isinstance(effect, effects.Connect):
                self._connect(who, effect.peer)
            elif isinstance(effect, effects.SetTimer):
                self.timers[who] = effect.at
            elif isinstance(effect, effects.Run):
                self.posts[who].tickets.append(effect)
            elif isinstance(effect, effects.Reclaim):
                ran = next(ran for ran in self.posts[who].tickets if ran.ticket == effect.ticket)
                taken_from = max(effect.limit, ran.batch.lo + 1)
                self._post(who, who, events.Reclaimed(effect.slot, effect.ticket, taken_from))
            else:
                assert not isinstance(effect, effects.Disconnect), effect

    def _connect(self, who: PeerId, other: PeerId) -> None:
        if other not in self.posts or frozenset({who, other}) in self.cut:
            self._post(other, who, events.Unreachable(other, "connection refused"))
        elif frozenset({who, other}) not in self._links:
            self._links.add(frozenset({who, other}))
            for one, to in ((who, other), (other, who)):
                self._post(one, to, events.Joined(one, "peer", "", "", 0, 0, Address("", 0)))

    def _send(self, sender: PeerId, to: PeerId, message: Message) -> None:
        self.said.append((sender, to, message))
        if CONTROLLER in (sender, to) or frozenset({sender, to}) in self._links:
            self._post(sender, to, events.Received(sender, message))

    def _post(self, sender: PeerId, to: PeerId, event: Event) -> None:
        self._queue.append((sender, to, event))
