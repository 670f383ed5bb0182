"""A controller with a journal, and everybody around it, who say whatever they like; it can die at any moment.

What it checks after every event, by a journal that it keeps itself:

* The whole journal gives all jobs as they are.
* Outcomes, SUBMITTED and KEPT are said when what they follow from is safe, and not before.
* The outcomes of a job are numbered from 0 on, and each keeps its number, whoever hears it, however often.

It must not know how a controller decides anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from lbnet.core import events
from lbnet.core.controller import Controller
from lbnet.core.effects import Disconnect, Persist, Send, SetTimer
from lbnet.core.job import Job
from lbnet.core.rebuilding import rebuilt
from lbnet.protocol import messages, records
from lbnet.protocol.messages import Message
from lbnet.protocol.records import OUTCOMES, Outcome, Record
from lbnet.strategies import registry
from lbnet.types import (
    COMBINED,
    FAILED,
    ROOT,
    SILENT,
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

FN, REDUCE = b"function", b"reduce"
CLIENTS = (PeerId(1), PeerId(2))
OPTIONS = (
    JobOptions(placement="spread"),
    JobOptions(placement="first", detached=True),
    JobOptions(placement="spread", reduce=REDUCE),
    JobOptions(placement="first", reduce=REDUCE, detached=True),
)
BOOM = Failure("exception", "boom", "", "worker", b"e")
GRACE_S = 9.0
STEPS_MAX = 500

Step = tuple[str, int, int]
"""What happens, and two numbers that say to whom, or how much."""

PROLOGUE: list[Step] = [("joins", 0, 0), ("opens", 0, 0), ("submits", 0, 4), ("opens", 1, 2), ("submits", 1, 3)]
"""Without these first, most stories are about nothing."""


@dataclass
class Told:
    """What clients know of a job. ``next`` is the number of the outcome that its owner hears next."""

    owner: PeerId
    options: JobOptions
    next: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    safe_items: int = 0


@dataclass
class Post:
    """A worker: work that it was given, and for each of its RESULTs how much of the journal must be safe for KEPT."""

    held: list[Batch] = field(default_factory=list)
    came: list[int] = field(default_factory=list)
    kept: int = 0
    asked: int | None = None


class Story:
    """Time stands still, unless somebody waits for it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timer: float | None = None
        self.core = self._controller()
        self.journal: list[Persist] = []
        self.safe = 0
        self.jobs: dict[JobId, Told] = {}
        self.there: dict[PeerId, bool] = {}
        self.posts: dict[PeerId, Post] = {}
        self.crashes = 0
        self._before: list[tuple[JobId, Record]] = []
        self._peers = 10
        self._runs = 1 << 44
        self._tasks: dict[JobId, list[Member]] = {}
        self._unsaid: list[tuple[JobId, Group]] = []
        for client in CLIENTS:
            self._client_joins(client)

    def _controller(self) -> Controller:
        return Controller(registry.find, strategy="sb", placement="spread", journal=True, client_grace_s=GRACE_S)

    # --- the journal ------------------------------------------------------------------------------

    def records(self, upto: int) -> list[Record]:
        """What the next controller finds, if so much is written."""
        return [record for _, record in self._written(upto)]

    def _written(self, upto: int) -> list[tuple[JobId, Record]]:
        written = list(self._before)
        for effect in self.journal[:upto]:
            if effect.whole:
                written = [one for one in written if one[0] != effect.job]
            written += [(effect.job, records.decode(records.encode(record))) for record in effect.records]
        return written

    def _rebuilt(self, upto: int) -> dict[JobId, Job]:
        return {job.id: job for job in rebuilt(self.records(upto))}

    # --- events -----------------------------------------------------------------------------------

    def event(self, event: events.Event) -> list[Message]:
        """Let it happen, and check what follows. Returns what the controller says."""
        done = self.core.handle(event, self.now)
        self.journal += [effect for effect in done if isinstance(effect, Persist)]
        if isinstance(event, events.Received) and isinstance(event.message, messages.Result):
            self.posts[event.peer].came.append(len(self.journal))
        safe = self._rebuilt(self.safe) if any(isinstance(effect, Send) for effect in done) else {}
        said = [effect for effect in done if isinstance(effect, Send)]
        for effect in said:
            self._hears(effect.to, effect.message, safe)
        for other in done:
            if isinstance(other, SetTimer):
                self.timer = other.at
            elif isinstance(other, Disconnect):
                self._leaves(other.peer, on_purpose=False)
        self._check_journal()
        return [effect.message for effect in said]

    def says(self, peer: PeerId, *said: Message) -> list[Message]:
        """What the last of these messages leads to."""
        answers: list[Message] = []
        for message in said:
            answers = self.event(events.Received(peer, message))
        return answers

    def _hears(self, to: PeerId, message: Message, safe: dict[JobId, Job]) -> None:
        if isinstance(message, messages.Kept):
            post = self.posts[to]
            assert post.kept < message.results <= len(post.came)
            assert post.came[message.results - 1] <= self.safe, "RESULTs that are not safe need not be kept any more"
            post.kept = message.results
        elif isinstance(message, messages.Submitted):
            told = self.jobs[message.job]
            assert told.owner == to
            found = safe[message.job].ledger.submitted if message.job in safe else 0
            assert message.upto <= found, "items that are not safe need not be kept any more"
            told.safe_items = max(told.safe_items, message.upto)
        elif isinstance(message, messages.Attached):
            told = self.jobs[message.job]
            told.owner, told.next = to, message.taken
            assert told.next <= len(told.outcomes)
        elif isinstance(message, messages.AskInventory):
            self.posts[to].asked = message.round
        elif isinstance(message, messages.SendWork):
            self.posts[to].held += message.batches
            self.says(to, messages.Ack(message.transfer))
        elif type(message) in OUTCOMES:
            self._is_told(to, message, safe)  # type: ignore[arg-type]

    def _is_told(self, to: PeerId, outcome: Outcome, safe: dict[JobId, Job]) -> None:
        told = self.jobs[outcome.job]
        assert told.owner == to
        assert self.there[to]
        outbox = safe[outcome.job].outbox
        assert outcome == outbox.kept()[told.next - outbox.taken], "the journal has no such outcome, or another one"
        if told.next == len(told.outcomes):
            told.outcomes.append(outcome)
        assert told.outcomes[told.next] == outcome, "another outcome had this number"
        told.next += 1

    def _check_journal(self) -> None:
        found = self._rebuilt(len(self.journal))
        for job in self.core.jobs():
            if job.state != "running" and not len(job.outbox):
                assert job.id not in found, "the journal keeps a job that is over"
            else:
                assert essence(found.pop(job.id)) == essence(job)
                for origin, lo, hi in job.ledger.outstanding_ranges():
                    kept = [(part.lo, part.hi) for part in job.store.find(origin, lo, hi)]
                    assert sum(right - left for left, right in kept) == hi - lo, "a task could not be placed again"
        assert not found, "the journal keeps a job that there is not"

    # --- what can happen --------------------------------------------------------------------------

    def step(self, kind: str, one: int, other: int) -> None:
        """One of ``STEPS``. What makes no sense now is left out, or said although it makes none."""
        STEPS[kind](self, one, other)

    def _pick(self, number: int) -> JobId | None:
        return sorted(self.jobs)[number % len(self.jobs)] if self.jobs else None

    def _client(self, number: int) -> PeerId | None:
        client = CLIENTS[number % len(CLIENTS)]
        return client if self.there[client] else None

    def _owner(self, job: JobId | None) -> PeerId | None:
        return None if job is None or not self.there[self.jobs[job].owner] else self.jobs[job].owner

    def opens(self, one: int, other: int) -> None:
        """A client opens a job."""
        client = self._client(one)
        if client is None or len(self.jobs) >= 4:
            return
        job = JobId(len(self.jobs) + 1)
        options = OPTIONS[other % len(OPTIONS)]
        self.jobs[job] = Told(client, options)
        self._tasks[job] = []
        self.says(client, messages.OpenJob(job, options), messages.Function(job, FN, FN))
        if options.reduce:
            self.says(client, messages.Function(job, REDUCE, REDUCE))

    def submits(self, one: int, other: int) -> None:
        """The owner of a job adds items."""
        job = self._pick(one)
        owner, real = self._owner(job), None if job is None else self.core.job(job)
        if job is None or owner is None or real is None or real.total is not None or FN not in real.functions:
            return
        lo = real.ledger.submitted
        hi = lo + 1 + other % 5
        self._tasks[job].append(Member(ROOT, lo, hi, lo, ROOT, 0, ROOT, ()))
        self.says(owner, messages.Submit(Batch(job, ROOT, lo, hi, 0, ROOT, 0, Payload(lo, hi - lo, FN, b"items"))))

    def closes(self, one: int, other: int) -> None:  # noqa: ARG002
        """The owner of a job has no more items."""
        job = self._pick(one)
        owner, real = self._owner(job), None if job is None else self.core.job(job)
        if job is not None and owner is not None and real is not None:
            self.says(owner, messages.CloseJob(job, real.ledger.submitted))

    def cancels(self, one: int, other: int) -> None:
        """The owner of a job cancels some items, or all."""
        job = self._pick(one)
        owner = self._owner(job)
        if job is not None and owner is not None:
            self.says(owner, messages.Cancel(job, other % 7, other % 7 + 1 + other // 7))

    def takes(self, one: int, other: int) -> None:
        """The owner of a job has taken what it was told, or part of it."""
        job = self._pick(one)
        owner = self._owner(job)
        if job is not None and owner is not None:
            self.says(owner, messages.Taken(job, min(other, self.jobs[job].next)))

    def attaches(self, one: int, other: int) -> None:
        """Some client wants to hear of a job, from somewhere on."""
        job, client = self._pick(one), self._client(other)
        if job is not None and client is not None:
            self._attach(client, job, (other // 2) % (len(self.jobs[job].outcomes) + 1))

    def _attach(self, client: PeerId, job: JobId, seen: int) -> bool:
        """Whether the job is its own now."""
        told = self.says(client, messages.Attach(job, seen))
        return isinstance(told[0], messages.Attached)

    def leaves(self, one: int, other: int) -> None:
        """A client's link breaks, or it goes."""
        client = self._client(one)
        if client is not None:
            self._leaves(client, on_purpose=other % 3 == 0)

    def returns(self, one: int, other: int) -> None:
        """A client is back, and attaches to what is its own."""
        client = CLIENTS[one % len(CLIENTS)]
        if self.there[client]:
            return
        self._client_joins(client)
        for job, told in self.jobs.items():
            if told.owner == client and other % 4:
                self._attach(client, job, len(told.outcomes))

    def _client_joins(self, client: PeerId) -> None:
        self.there[client] = True
        self.event(events.Joined(client, "client", "c", "h", 1, 0, Address("h", 1), back=True))

    def _leaves(self, peer: PeerId, *, on_purpose: bool) -> None:
        if peer in self.there:
            self.there[peer] = False
        else:
            del self.posts[peer]
        self.event(events.Left(peer, "cut", on_purpose))

    def joins(self, one: int = 0, other: int = 0) -> None:  # noqa: ARG002
        """Another worker."""
        self._peers += 1
        worker = PeerId(self._peers)
        self.posts[worker] = Post()
        self.event(events.Joined(worker, "worker", f"w{worker}", "h", 1, 1, Address("h", worker)))
        self.says(worker, messages.Idle(0.0))

    def _worker(self, number: int) -> PeerId | None:
        return sorted(self.posts)[number % len(self.posts)] if self.posts else None

    def loses(self, one: int, other: int) -> None:  # noqa: ARG002
        """A worker is gone; the others hold nothing that anybody knows of."""
        worker = self._worker(one)
        if worker is not None:
            self._leaves(worker, on_purpose=False)
            self._answer()

    def _answer(self) -> None:
        """Workers say what they hold: nothing."""
        for worker in list(self.posts):
            post = self.posts[worker]
            if post.asked is not None:
                number, post.asked = post.asked, None
                self.says(worker, messages.Inventory(number, ()))

    def reports(self, one: int, other: int) -> None:
        """A worker says the result of some tasks, which may have been done by another before."""
        worker, job = self._worker(one), self._pick(one // 3)
        if worker is None or job is None or not self._tasks[job]:
            return
        whole = self._tasks[job][other % len(self._tasks[job])]
        member = _part(whole, other // 3)
        if other % 5 == 0:
            group = Group(FAILED, b"", (replace(member, hi=member.lo + 1),), 0.01, BOOM)
        elif self.jobs[job].options.reduce:
            # A combined value is one ticket's: its tasks are of one origin.
            rest = (replace(whole, lo=member.hi),) if member.hi < whole.hi and other % 2 else ()
            group = Group(COMBINED, b"sum", (member, *rest), 0.01, None)
        else:
            kind = VALUES if member.origin == ROOT else SILENT
            group = Group(kind, b"v%d" % member.lo, (member,), 0.01, None)
        self.says(worker, messages.Result(job, (group,), ()))

    def spawns(self, one: int, other: int) -> None:
        """A task that runs somewhere makes others; its own result is said later, theirs may be said before."""
        job = self._pick(one)
        if job is None or not self._tasks[job]:
            return
        pool = self._tasks[job]
        parent = _part(pool[other % len(pool)], other // 3)
        self._runs += 1
        run, count, root = RunId(self._runs), 1 + other % 3, parent.lo if parent.origin == ROOT else parent.root
        child = Batch(job, run, 0, count, root, parent.origin, parent.lo, Payload(0, count, FN, b"child"))
        pool.append(Member(run, 0, count, root, parent.origin, parent.lo, ROOT, ()))
        single = replace(parent, hi=parent.lo + 1, run=run, children=(child,))
        kind = COMBINED if self.jobs[job].options.reduce else VALUES if parent.origin == ROOT else SILENT
        self._unsaid.append((job, Group(kind, b"s%d" % parent.lo, (single,), 0.02, None)))

    def reports_spawned(self, one: int, other: int) -> None:
        """The result of a task that has made others is said."""
        worker = self._worker(one)
        if worker is not None and self._unsaid:
            job, group = self._unsaid.pop(other % len(self._unsaid))
            self.says(worker, messages.Result(job, (group,), ()))

    def persists(self, one: int, other: int) -> None:  # noqa: ARG002
        """Some more of the journal is safe."""
        self.safe += (one % (len(self.journal) - self.safe) + 1) if self.safe < len(self.journal) else 0
        self.event(events.Persisted(self.safe))

    def waits(self, one: int = 0, other: int = 0) -> None:  # noqa: ARG002
        """Time passes until somebody wants to look."""
        if self.timer is not None:
            self.now, self.timer = max(self.now, self.timer), None
        self.event(events.Tick())
        self._answer()

    def crashes_at(self, one: int, other: int = 1) -> None:
        """The controller dies; of what was not known to be safe, part is."""
        upto = self.safe + one % (len(self.journal) - self.safe + 1)
        self._before, self.journal, self.safe = self._written(upto), [], 0
        self.crashes += 1
        self.core, self.timer = self._controller(), None
        self.core.restore([record for _, record in self._before], self.now)
        self.posts.clear()
        for client in CLIENTS:
            self.there[client] = False
        for client in CLIENTS:
            if other % 3:
                self._client_joins(client)
        for number, told in self.jobs.items():
            job = self.core.job(number)
            if job is not None:
                told.owner = job.client  # that it was given to another one was no promise
            if self.there[told.owner]:
                assert self._attach(told.owner, number, len(told.outcomes)) == (job is not None)
        if other % 2:
            self.joins()

    # --- and in the end ---------------------------------------------------------------------------

    def ends(self) -> None:
        """Everybody does what is to be done, until no job runs."""
        for number, client in enumerate(CLIENTS):
            self.returns(number, 0)
            for job, told in self.jobs.items():
                if told.owner == client and (self.core.job(job) is not None):
                    self._attach(client, job, len(told.outcomes))
        for worker in list(self.posts):
            self._leaves(worker, on_purpose=False)
        self.joins()
        for number in range(len(self.jobs)):
            real = self.core.job(sorted(self.jobs)[number])
            if real is not None and real.total is None:
                self.closes(number, 0)
        for _ in range(STEPS_MAX):
            self._work()
            self.persists(len(self.journal) - self.safe - 1, 0)
            if all(job.state != "running" for job in self.core.jobs()):
                return
            if not any(post.held for post in self.posts.values()):
                self.waits()
        raise AssertionError("it goes on for ever")

    def _work(self) -> None:
        for worker, post in list(self.posts.items()):
            while post.held and worker in self.posts:
                batch = post.held.pop(0)
                member = Member(
                    batch.origin, batch.lo, batch.hi, batch.root, batch.parent_origin, batch.parent_index, ROOT, ()
                )
                kind = VALUES if batch.origin == ROOT else SILENT
                kind = COMBINED if self.jobs[batch.job].options.reduce else kind
                group = Group(kind, b"v%d" % batch.lo, (member,), 0.01, None)
                self.says(worker, messages.Result(batch.job, (group,), ()))
            if worker in self.posts:
                self.says(worker, messages.Idle(0.0))
        self._answer()


STEPS = {
    "opens": Story.opens,
    "submits": Story.submits,
    "closes": Story.closes,
    "cancels": Story.cancels,
    "takes": Story.takes,
    "attaches": Story.attaches,
    "leaves": Story.leaves,
    "returns": Story.returns,
    "joins": Story.joins,
    "loses": Story.loses,
    "reports": Story.reports,
    "spawns": Story.spawns,
    "reports spawned": Story.reports_spawned,
    "persists": Story.persists,
    "waits": Story.waits,
    "crashes": Story.crashes_at,
}


LIKELY = [*sorted(STEPS), *(3 * ["reports", "persists"]), "spawns", "reports spawned", "submits", "takes", "joins"]
"""The same; some of them again, without which the others lead to little."""


def _part(member: Member, number: int) -> Member:
    """Some range of it."""
    lo = member.lo + number % (member.hi - member.lo)
    hi = lo + 1 + (number // 2) % (member.hi - lo)
    return replace(member, lo=lo, hi=hi)


def essence(job: Job) -> list[Record]:
    """A snapshot, without what no record tells: how many slots there were, what was requeued, who sent what to whom."""
    return list(_essence(job.snapshot()))


def _essence(snapshot: Iterator[Record]) -> Iterator[Record]:
    books = next(snapshot)
    assert isinstance(books, records.Books)
    tallies = [
        replace(tally, batches_sent=0, batches_received=0, asks=0, refusals=0)
        for tally in sorted(books.tallies, key=lambda tally: tally.worker)
        if tally.tasks
    ]
    yield replace(books, opened=replace(books.opened, slots=0), requeues=(), tallies=tuple(tallies))
    yield from snapshot
