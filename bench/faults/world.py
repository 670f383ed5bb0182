"""A small deterministic world: one real controller and several real workers, with model links and model slots.

A seed decides everything: whose message arrives next, which slot runs a step, which task splits, what dies. Tasks are
ranges of units, and the world counts every unit when the ledger commits it. It must not know a clock, a socket or a
process; it knows the core by its events and effects only.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from bench.faults.nonsense import Nonsense
from bench.faults.plan import (
    CLAIM_ENTRIES,
    FUNCTION,
    HARSH_RATES,
    HARSH_STEPS,
    JOB,
    REDUCE,
    SETTLE_S,
    SPAWNED,
    STEPS_MAX,
    Outcome,
    Plan,
    WorldError,
)
from bench.faults.slots import ModelSlot, ModelWorker, Run, Task, run_of
from lbnet import limits
from lbnet.core import effects, events
from lbnet.core.controller import Controller
from lbnet.core.effects import Effect
from lbnet.core.events import Event
from lbnet.core.job import Job
from lbnet.core.ledger import Committed, Ledger
from lbnet.core.liveness import Liveness
from lbnet.core.outbox import Outbox
from lbnet.core.rebuilding import rebuilt
from lbnet.core.worker import Worker
from lbnet.protocol import messages, records
from lbnet.strategies import registry
from lbnet.types import (
    COMBINED,
    CONTROLLER,
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
    SlotId,
)


class WatchedController(Controller):
    """The real controller, with an ear at what its jobs commit."""

    committed: deque[Committed]

    def watch(self, number: JobId) -> None:
        """Listen to a job from now on, if there is one, and nobody listens."""
        job = self.job(number)
        if job is None or "_committed" in vars(job):
            return

        def committed(news: Committed) -> None:
            self.committed.append(news)
            Job._committed(job, news)

        job._committed = committed  # type: ignore[method-assign]


@dataclass
class ModelClient:
    """A client: what it has said and heard. ``there``: its link to the controller is open, as far as it knows."""

    said: list[messages.Message] = field(default_factory=list)
    there: bool = True
    seen: int = 0
    safe: int = 0
    done: bool = False
    attached: bool = True


OUTCOMES_BYTES = 200
"""In the controller's memory, where there is little of it."""

QUEUE_BYTES = 20
"""In a worker's: two or three parts of a tree."""


def _kept(outbox: Outbox) -> tuple[int, int, list[records.Outcome]]:
    return outbox.taken, outbox.aside, outbox.kept()


# --- the world --------------------------------------------------------------------------------------


class World:
    """One run of a plan.

    Args:
        plan: what kind of run.
        seed: decides the rest.
        traced: whether the outcome's digest covers every event and effect; else it is empty.
        replayed: whether the journal is read after every event of the controller, as another one would.
        told: how many of the last events are kept as text, in the attribute of this name.
    """

    def __init__(self, plan: Plan, seed: int, *, traced: bool = False, replayed: bool = False, told: int = 0) -> None:
        self.plan = plan
        self.seed = seed
        self.rng = random.Random(f"{seed}")
        self.now = 0.0
        self.steps = 0
        self._load = registry.loader({Nonsense.name: Nonsense(random.Random(f"{seed} nonsense"))})
        self.controller = self._new_controller()
        self._journal: list[tuple[JobId, tuple[bytes, ...], bool]] = []
        self._safe = self._journal_begins = 0
        self._commits: list[tuple[int, list[int]]] = []
        self._aside: dict[int, tuple[int, records.Outcome]] = {}
        self._fetches: list[tuple[int, effects.Fetch]] = []
        self._fetch_rate = 0.01 if seed % 2 else 0.2
        self._crashes = self._snapshots = self._asides = 0
        self._away: set[PeerId] = set()
        self.workers: dict[PeerId, ModelWorker] = {}
        self._channels: dict[tuple[PeerId, PeerId], deque[Event]] = {}
        self._slow: set[tuple[PeerId, PeerId]] = set()
        self._open: set[frozenset[PeerId]] = set()
        self._closing: Counter[frozenset[PeerId]] = Counter()
        self._tick_at: float | None = None
        self._next_peer = 1
        self._replayed = replayed
        self.told: deque[str] = deque(maxlen=told)
        self._trace = hashlib.sha256() if traced else None
        self._budget = {
            "join": plan.joins,
            "worker": plan.worker_crashes,
            "slot": plan.slot_crashes,
            "cut": plan.link_cuts,
            "failure": plan.failures,
            "cancel": int(plan.cancels),
            "withdrawal": plan.withdrawals,
            "controller": plan.controller_crashes,
            "uplink": plan.uplink_cuts,
            "leave": plan.leaves,
            "client": plan.client_crashes,
            "mute": plan.mutes,
            "disk": plan.full_disks,
        }
        # Half of the items' bounds at the far end, if the first one is half of the work.
        units, items = plan.items * plan.units, plan.items
        first = units // 2 if plan.heavy and items > 1 else plan.units
        self._bounds = (
            [0, *(first + (units - first) * at // (items - 1) for at in range(items))] if items > 1 else [0, units]
        )
        self._muted: set[tuple[PeerId, PeerId]] = set()
        self._disk_full = False
        self._room_at = 0.0
        self._slow_workers: set[PeerId] = set()
        self._client_before = CONTROLLER
        self._broke_at = 0.0
        self._faults = self._events = 0
        self._fault_rate = self.rng.choice([0.005, 0.02, 0.05])
        self._net_rate = self.rng.choice([0.2, 0.5, 0.8])
        self._counted: Counter[int] = Counter()
        self._model_client = ModelClient()
        self._at_client: Counter[int] = Counter()
        self._open_roots: set[int] = set()
        self._settled: set[int] = set()
        self._state = ""
        self._ended: Job | None = None
        self._relays = 0
        self.client = self._new_peer()
        self._populate()

    def run(self) -> Outcome:
        """Run to the end, where nobody has anything to say any more.

        Raises:
            WorldError: a rule was broken.
        """
        while self._step():
            self.steps += 1
            if self._need_not_end and self.steps >= HARSH_STEPS:
                break
            self._rule(self.steps < STEPS_MAX, "the run does not end")
            late = self.now - self._broke_at > SETTLE_S and not any(self._budget.values())
            self._rule(not late or self.plan.harsh, f"nothing has broken for {SETTLE_S:g} s, and it is not settled")
        return self._judge()

    # --- the beginning ------------------------------------------------------------------------------

    def _new_controller(self) -> WatchedController:
        plan = self.plan
        made = WatchedController(
            self._load,
            strategy=plan.strategy,
            placement=plan.placement,
            journal=plan.journal,
            deadline_s=plan.deadline_s,
            outcomes_bytes=OUTCOMES_BYTES if plan.aside else limits.OUTCOMES_BYTES_MAX,
        )
        made.committed = deque()
        return made

    def _new_peer(self) -> PeerId:
        self._next_peer += 1
        return PeerId(self._next_peer - 1)

    def _populate(self) -> None:
        self._to_controller(events.Joined(self.client, "client", "client", "host", 1, 0, Address("", 0)))
        for _ in range(self.plan.workers):
            self._join()
        plan = self.plan
        options = JobOptions(
            reduce=REDUCE if plan.reduce else b"",
            retries=plan.failures,
            crash_limit=plan.slot_crashes + 1,
            placement=plan.placement,
            detached=plan.detached,
        )
        functions = [FUNCTION, REDUCE] if plan.reduce else [FUNCTION]
        said: list[messages.Message] = [messages.OpenJob(JOB, options)]
        said += [messages.Function(JOB, digest, digest) for digest in functions]
        base = 0
        while base < plan.items:
            count = min(self.rng.choice([1, 2, 5, 50]), plan.items - base)
            ranges = list(itertools.pairwise(self._bounds[base : base + count + 1]))
            payload = Payload(base, count, FUNCTION, json.dumps(ranges).encode())
            said.append(messages.Submit(Batch(JOB, ROOT, base, base + count, 0, ROOT, 0, payload)))
            base += count
        said.append(messages.CloseJob(JOB, plan.items))
        self._model_client.said = said
        for message in said:
            self._client_says(message)

    def _join(self) -> None:
        peer = self._new_peer()
        slots = [ModelSlot() for _ in range(self.plan.slots)]
        draw = random.Random(f"{self.seed} {peer}").random
        queue_bytes = QUEUE_BYTES if self.plan.crowded else limits.QUEUE_BYTES_MAX
        liveness = Liveness(self.plan.deadline_s)
        core = Worker(peer, f"worker-{peer}", self.plan.slots, self._load, draw, liveness, queue_bytes)
        if len(self._slow_workers) < self.plan.slow_workers:
            self._slow_workers.add(peer)
        self.workers[peer] = ModelWorker(core, slots)
        self._to_controller(
            events.Joined(peer, "worker", f"worker-{peer}", "host", 1, self.plan.slots, Address("host", int(peer)))
        )

    # --- one step -----------------------------------------------------------------------------------

    def _step(self) -> bool:
        """Let one thing happen. False when nothing can any more."""
        self.now += self.rng.choice([0.0, 1e-5, 1e-3])
        self._events += 1
        self._disk_full = self._disk_full and self.now < self._room_at
        if self.rng.random() < self._fault_rate and self._fault():
            self._faults += 1
            self._broke_at = self.now
            return True
        net: list[tuple[PeerId, PeerId]] = [key for key, waiting in self._channels.items() if waiting]
        work = [
            (peer, slot)
            for peer, worker in self.workers.items()
            if worker.alive
            for slot in range(len(worker.slots))
            if self._can_move(worker, slot)
        ]
        if self._slow_workers and self.rng.random() < 0.9:
            quick = [move for move in work if move[0] not in self._slow_workers]
            work = quick or work
        connecting = [peer for peer, worker in self.workers.items() if worker.alive and worker.connecting]
        ticks = self._ticks()
        due = [peer for peer, at in ticks.items() if self.now >= at]
        if due and self.rng.random() < 0.5:
            self._tick(self.rng.choice(due))
        elif connecting and self.rng.random() < 0.2 and self._connect(self.rng.choice(connecting)):
            pass
        elif self._safe < len(self._journal) and not self._disk_full and self.rng.random() < 0.2:
            self._persist()
        elif self._can_fetch and self.rng.random() < self._fetch_rate:
            self._fetch()
        elif self._away and self.rng.random() < 0.1 and self._come_back():
            pass
        elif net and (not work or self.rng.random() < self._net_rate):
            key = self.rng.choice(net)
            if key in self._slow and self.rng.random() < 0.9:
                key = self.rng.choice(net)
            self._deliver(*key)
        elif work:
            self._slot_move(*self.rng.choice(work))
        elif connecting:
            self._connect(self.rng.choice(connecting))
        elif self._safe < len(self._journal) and not self._disk_full:
            self._persist()
        elif self._can_fetch:
            self._fetch()
        elif self._disk_full:
            self._disk_full = False
        elif self._away and self._come_back():
            pass
        elif self._budget["join"]:
            self._budget["join"] -= 1
            self._join()
        elif ticks and not self._is_over():
            next_peer = min(ticks, key=lambda peer: ticks[peer])
            self.now = max(self.now, ticks[next_peer])
            self._tick(next_peer)
        else:
            return False
        return True

    @property
    def _need_not_end(self) -> bool:
        """Nobody promises that such a run comes to rest."""
        return self.plan.harsh or self.plan.strategy == Nonsense.name

    def _is_over(self) -> bool:
        """Whether nothing is expected of anybody any more."""
        if not self._state:
            return False
        if not self.plan.deadline_s:
            return True
        there = {CONTROLLER, self.client, *(peer for peer, worker in self.workers.items() if worker.alive)}
        return self._model_client.done and not any(one in there and other in there for one, other in self._muted)

    def _ticks(self) -> dict[PeerId, float]:
        """When whose timer is due."""
        ticks = {} if self._tick_at is None else {CONTROLLER: self._tick_at}
        for peer, worker in self.workers.items():
            if worker.alive and worker.tick_at is not None:
                ticks[peer] = worker.tick_at
        return ticks

    def _tick(self, peer: PeerId) -> None:
        if peer == CONTROLLER:
            self._tick_at = None
            self._to_controller(events.Tick())
        else:
            self.workers[peer].tick_at = None
            self._to_worker(peer, events.Tick())

    def _deliver(self, source: PeerId, target: PeerId) -> None:
        if self.plan.harsh and self.client not in {source, target} and self._disturb(self._channels[source, target]):
            return
        event = self._channels[source, target].popleft()
        if isinstance(event, events.Left) and CONTROLLER not in {source, target}:
            pair = frozenset({source, target})
            self._closing[pair] -= 1
            if not self._closing[pair]:
                del self._closing[pair]
        if target == CONTROLLER:
            self._to_controller(event)
        elif target == self.client:
            if isinstance(event, events.Left):
                self._model_client.there = False
                self._away.add(self.client)
            else:
                assert isinstance(event, events.Received)
                self._client_hears(event.message)
        elif self.workers[target].alive:
            if isinstance(event, events.Left) and source == CONTROLLER:
                self._away.add(target)
            self._to_worker(target, event)

    def _disturb(self, waiting: deque[Event]) -> bool:
        """Do what no link does: drop, double or reorder. Whether there is nothing to deliver this time."""
        if not isinstance(waiting[0], events.Received):
            return False
        dice = self.rng.random()
        for kind, rate in HARSH_RATES.items():
            if dice < rate:
                first = waiting.popleft()
                if kind == "double":
                    waiting.extendleft([first, first])
                elif kind == "reorder":
                    ends = [at for at, event in enumerate(waiting) if not isinstance(event, events.Received)]
                    waiting.insert(self.rng.randint(0, ends[0] if ends else len(waiting)), first)
                return kind == "drop"
            dice -= rate
        return False

    # --- the journal, and the controller's death ----------------------------------------------------------

    def _persist(self) -> None:
        self._safe = self.rng.randint(self._safe + 1, len(self._journal))
        self._to_controller(events.Persisted(self._safe - self._journal_begins))

    @property
    def _can_fetch(self) -> bool:
        return bool(self._fetches) and self._fetches[0][0] <= self._safe

    def _fetch(self) -> None:
        """Some of the outcomes that the controller wants back are read."""
        _, effect = self._fetches.pop(0)
        count = self.rng.randint(1, min(effect.end - effect.begin, 3))
        numbers = range(effect.begin, effect.begin + count)
        self._rule(all(number in self._aside for number in numbers), "an outcome that was set aside is lost")
        outcomes = tuple(self._aside[number][1] for number in numbers)
        self._to_controller(events.Fetched(JOB, effect.begin, outcomes))

    def _check_journal(self, job: Job | None) -> None:
        """All of it gives the job as it is; the part that is safe holds whatever the client was told."""
        whole = next((one for one in rebuilt(self._records(len(self._journal))) if one.id == JOB), None)
        over = job is not None and job.state != "running" and not len(job.outbox)
        if whole is None:
            self._rule(job is None or over, "the journal has lost a job")
            return
        assert job is not None
        for what, found, real in (
            ("ledger", whole.ledger.books(), job.ledger.books()),
            ("end", (whole.total, whole.state), (job.total, job.state)),
            ("functions", whole.functions, job.functions),
            ("payloads", list(whole.store.items()), list(job.store.items())),
            ("outcomes", _kept(whole.outbox), _kept(job.outbox)),
        ):
            self._rule(found == real, f"the journal has another {what} than the job")
        safe = next((one for one in rebuilt(self._records(self._safe)) if one.id == JOB), None)
        told, submitted = (0, 0) if safe is None else (safe.outbox.end, safe.ledger.submitted)
        self._rule(told >= self._model_client.seen, "the client was told what is not safe")
        self._rule(submitted >= self._model_client.safe, "items were said to be safe that are not")

    def _records(self, upto: int) -> list[records.Record]:
        """What a controller would find if so much was written."""
        kept: list[tuple[JobId, bytes]] = []
        for job, bodies, whole in self._journal[:upto]:
            if whole:
                kept = [one for one in kept if one[0] != job]
            kept += [(job, body) for body in bodies]
        return [records.decode(body) for _, body in kept]

    def _fault_controller(self) -> bool:
        """It dies, and another one begins at once: peers find that their links are broken, and come back."""
        self._crashes += 1
        del self._journal[self._safe :]
        self._aside = {number: kept for number, kept in self._aside.items() if kept[0] <= self._safe}
        self._fetches.clear()
        self._journal_begins = self._safe
        for number, units in self._commits:
            if number > self._safe:
                self._counted.subtract(units)
        self._counted = +self._counted
        self._commits = [(number, units) for number, units in self._commits if number <= self._safe]
        for (source, target), waiting in self._channels.items():
            if target == CONTROLLER:
                waiting.clear()
            elif source == CONTROLLER and waiting and not isinstance(waiting[-1], events.Left):
                self._cut(CONTROLLER, target)
        everybody = [self.client, *(peer for peer, worker in self.workers.items() if worker.alive)]
        for peer in everybody:
            waiting = self._channels.get((CONTROLLER, peer), deque())
            if peer not in self._away and not any(isinstance(event, events.Left) for event in waiting):
                self._cut(CONTROLLER, peer)
        self.controller = self._new_controller()
        self._tick_at = None
        # Whether it is known who was there changes only how long they are waited for.
        there = [peer for peer, worker in self.workers.items() if worker.alive]
        self.controller.restore(self._records(self._safe), self.now, there if self._crashes % 2 == 0 else None)
        self._to_controller(events.Tick())
        return True

    def _fault_uplink(self) -> bool:
        """A link to the controller breaks. Both sides hear of it, after what was said before."""
        there = [peer for peer, worker in self.workers.items() if worker.alive]
        there = [peer for peer in (self.client, *there) if self._has_uplink(peer)]
        if not there:
            return False
        peer = self.rng.choice(there)
        self._cut(peer, CONTROLLER)
        self._cut(CONTROLLER, peer)
        return True

    def _has_uplink(self, peer: PeerId) -> bool:
        """Whether the link to the controller is open, and neither side will hear of its end."""
        ways = ((CONTROLLER, peer), (peer, CONTROLLER))
        return peer not in self._away and not any(
            isinstance(event, events.Left) for way in ways for event in self._channels.get(way, ())
        )

    def _come_back(self) -> bool:
        """A peer connects to the controller again, once the controller knows that its old link is gone."""
        ready = [peer for peer in sorted(self._away) if not self._channels.get((peer, CONTROLLER))]
        if self._channels.get((self._client_before, CONTROLLER)):
            ready = [peer for peer in ready if peer != self.client]  # one that is there yet would keep its job
        if not ready:
            return False
        peer = self.rng.choice(ready)
        self._away.discard(peer)
        self._channels.setdefault((CONTROLLER, peer), deque()).clear()
        if peer == self.client:
            self._to_controller(events.Joined(peer, "client", "client", "host", 1, 0, Address("", 0), back=True))
            self._model_client.there = True
            self._model_client.attached = self._model_client.done
            if not self._model_client.done:
                self._client_says(messages.Attach(JOB, self._model_client.seen))
            return True
        address = Address("host", int(peer))
        self._to_controller(
            events.Joined(peer, "worker", f"worker-{peer}", "host", 1, self.plan.slots, address, back=True)
        )
        self._to_worker(peer, events.Joined(CONTROLLER, "controller", "", "", 0, 0, Address("", 0), back=True))
        return True

    # --- the core's effects ---------------------------------------------------------------------------

    def _to_controller(self, event: Event) -> None:
        done = self.controller.handle(event, self.now)
        self._note(CONTROLLER, event, done)
        self.controller.watch(JOB)
        for effect in done:
            if isinstance(effect, effects.Persist):
                self._snapshots += effect.whole
                bodies = tuple(records.encode(record) for record in effect.records)
                self._journal.append((effect.job, bodies, effect.whole))
                self._asides += bool(effect.aside)
                for number, outcome in enumerate(effect.aside, effect.aside_from):
                    self._aside[number] = (len(self._journal), outcome)
            elif isinstance(effect, effects.Fetch):
                self._fetches.append((len(self._journal), effect))
        self._count()
        for effect in done:
            if isinstance(effect, effects.Send):
                if isinstance(effect.message, messages.JobDone):
                    self._check_done()
                worker = self.workers.get(effect.to)
                here = effect.to == self.client or (worker is not None and worker.alive)
                if here and self._has_uplink(effect.to):
                    self._post(CONTROLLER, effect.to, events.Received(CONTROLLER, effect.message))
            elif isinstance(effect, effects.SetTimer):
                self._tick_at = effect.at
            elif isinstance(effect, effects.Disconnect):
                self._give_up(CONTROLLER, effect)
            elif not isinstance(effect, effects.Persist | effects.Fetch):
                raise self._broken(f"the controller wants {effect}")
        job = self.controller.job(JOB)
        self._rule(job is None or job.report(self.now).balanced, "the ledger is not balanced")
        if self.plan.aside and job is not None and len(job.outbox):
            self._rule(job.outbox.size_bytes <= OUTCOMES_BYTES, "more outcomes are in memory than should be")
        if self._replayed:
            self._check_journal(job)

    def _to_worker(self, me: PeerId, event: Event) -> None:
        worker = self.workers[me]
        done = worker.core.handle(event, self.now)
        self._note(me, event, done)
        self._rule(not worker.core.holds_too_much, "more waits at a worker than should")
        for effect in done:
            if isinstance(effect, effects.Send):
                self._relays += isinstance(effect.message, messages.Relay)
                if self._has_uplink(me) if effect.to == CONTROLLER else frozenset({me, effect.to}) in self._open:
                    self._post(me, effect.to, events.Received(me, effect.message))
            elif isinstance(effect, effects.Connect):
                worker.connecting.append((effect.peer, effect.address.port))
            elif isinstance(effect, effects.SetTimer):
                worker.tick_at = effect.at
            elif isinstance(effect, effects.Depart):
                self._depart(me)
            elif isinstance(effect, effects.Disconnect):
                self._give_up(me, effect)
            elif isinstance(effect, effects.SetHungry):
                self._rule(worker.hungry != effect.hungry, "the hungry flag was set to what it was")
                worker.hungry = effect.hungry
            else:
                self._slot_effect(worker, effect)

    def _slot_effect(self, worker: ModelWorker, effect: Effect) -> None:
        if isinstance(effect, effects.Forget):
            for slot in worker.slots:
                slot.taught.clear()
                slot.known.clear()
                slot.said.clear()
            return
        if isinstance(effect, effects.Cancel):
            self._cancel_in(worker, effect)
            return
        if isinstance(effect, effects.Kill):
            self._kill(worker, effect.slot)
            return
        if not isinstance(effect, effects.Teach | effects.Run | effects.Reclaim):
            raise self._broken(f"a worker wants {effect}")
        slot = worker.slots[effect.slot]
        if isinstance(effect, effects.Teach):
            self._rule(not slot.alive or effect.digest not in slot.taught, "a function was taught twice")
            slot.taught.add(effect.digest)
            slot.known.add(effect.digest)
        elif isinstance(effect, effects.Run):
            batch = effect.batch
            run = Run(effect, batch.lo, batch.hi, batch.lo, upto=batch.lo)
            slot.tickets[effect.ticket] = run
            self._rule(len(slot.tickets) <= CLAIM_ENTRIES, "a slot has more tickets than entries")
            if slot.alive:
                self._rule({batch.payload.function, effect.reduce} - {b""} <= slot.known, "a function was not taught")
                slot.runs.append(run)
        elif effect.ticket in slot.tickets:
            run = slot.tickets[effect.ticket]
            run.limit = min(run.limit, max(effect.limit, run.effect.batch.lo))
            taken_from = min(max(run.limit, run.claimed), run.effect.batch.hi)
            worker.urgent.append(events.Reclaimed(effect.slot, effect.ticket, taken_from))

    # --- links ------------------------------------------------------------------------------------------

    def _post(self, source: PeerId, target: PeerId, event: Event) -> None:
        key = (source, target)
        if isinstance(event, events.Received):
            if key in self._muted:
                return
        else:
            self._muted.discard(key)
        if key not in self._channels:
            self._channels[key] = deque()
            if self.rng.random() < 0.2:
                self._slow.add(key)
        self._channels[key].append(event)

    def _connect(self, me: PeerId) -> bool:
        worker = self.workers[me]
        peer, port = worker.connecting[0]
        pair = frozenset({me, peer})
        if pair in self._closing:
            return False  # the other side has not seen the end of the last link yet
        worker.connecting.pop(0)
        target = self.workers.get(peer)
        if port != peer or target is None or not target.alive or self.rng.random() < self.plan.refused:
            self._to_worker(me, events.Unreachable(peer, "refused"))
            return True
        if pair not in self._open:
            self._open.add(pair)
            self._post(me, peer, events.Joined(me, "peer", "", "", 0, 0, Address("", 0)))
        self._post(peer, me, events.Joined(peer, "peer", "", "", 0, 0, Address("", 0)))
        return True

    def _give_up(self, me: PeerId, effect: effects.Disconnect) -> None:
        """Somebody closes a link: the other end is silent, or has said what makes no sense."""
        self._rule(effect.silent or self.plan.harsh, f"{me} closes its link to {effect.peer}: {effect.reason}")
        pair = frozenset({me, effect.peer})
        if CONTROLLER in pair:
            (peer,) = pair - {CONTROLLER}
            if self._has_uplink(peer) and (peer == self.client or self.workers[peer].alive):
                self._cut(peer, CONTROLLER)
                self._cut(CONTROLLER, peer)
        elif pair in self._open:
            self._cut_pair(me, effect.peer)

    def _cut(self, source: PeerId, target: PeerId) -> None:
        """What the source had said arrives in part, then the end of the link."""
        self._muted.discard((source, target))
        waiting = self._channels.setdefault((source, target), deque())
        kept = self.rng.randint(0, len(waiting))
        while len(waiting) > kept and not isinstance(waiting[-1], events.Joined):
            waiting.pop()
        waiting.append(events.Left(source, "the link broke"))

    # --- faults -----------------------------------------------------------------------------------------

    def _fault(self) -> bool:
        possible = [kind for kind, left in self._budget.items() if left and kind != "failure"]
        if not possible:
            return False
        kind = self.rng.choice(possible)
        happened: bool = getattr(self, f"_fault_{kind}")()
        if happened:
            self._budget[kind] -= 1
        return happened

    def _fault_join(self) -> bool:
        self._join()
        return True

    def _fault_worker(self) -> bool:
        living = [peer for peer, worker in self.workers.items() if worker.alive]
        if not living:
            return False
        peer = self.rng.choice(living)
        worker = self.workers[peer]
        worker.alive = False
        worker.connecting.clear()
        self._away.discard(peer)
        self._cut(peer, CONTROLLER)
        for pair in [pair for pair in self._open if peer in pair]:
            self._open.remove(pair)
            (other,) = pair - {peer}
            if self.workers[other].alive:
                self._cut(peer, other)
                self._closing[pair] += 1
        self._forget_what_was_said_to(peer)
        self._budget["join"] += 1
        return True

    def _forget_what_was_said_to(self, peer: PeerId) -> None:
        for (source, target), waiting in self._channels.items():
            if target == peer:
                waiting.clear()
                if source != CONTROLLER:
                    self._closing.pop(frozenset({source, target}), None)
        for other, living_worker in self.workers.items():
            lefts = sum(isinstance(event, events.Left) for event in self._channels.get((peer, other), ()))
            if lefts and living_worker.alive:
                self._closing[frozenset({peer, other})] = lefts

    def _fault_leave(self) -> bool:
        """A worker is asked to leave, by a signal or by somebody who tells the controller."""
        living = [peer for peer, worker in self.workers.items() if worker.alive and not worker.leaves]
        if not living:
            return False
        peer = self.rng.choice(living)
        self.workers[peer].leaves = True
        grace_s = self.plan.grace_s
        if self.rng.random() < 0.5:
            self._to_worker(peer, events.Leave(grace_s))
        else:
            self._client_says(messages.Drain(1, self.rng.choice([f"worker-{peer}", str(peer)]), grace_s))
        self._budget["join"] += 1
        return True

    def _depart(self, peer: PeerId) -> None:
        """A worker has taken leave: what it said arrives, then the end of its links."""
        worker = self.workers[peer]
        self._rule(worker.leaves, "a worker left that nobody had asked")
        self._rule(not worker.core.held(), "a worker left that held tasks")
        worker.alive = False
        worker.connecting.clear()
        if self._has_uplink(peer):
            self._post(peer, CONTROLLER, events.Left(peer, "it left", on_purpose=True))
        self._away.discard(peer)
        for pair in [pair for pair in self._open if peer in pair]:
            self._open.remove(pair)
            (other,) = pair - {peer}
            if self.workers[other].alive:
                self._post(peer, other, events.Left(peer, "it left", on_purpose=True))
                self._closing[pair] += 1
        self._forget_what_was_said_to(peer)

    def _fault_cut(self) -> bool:
        pairs = sorted(sorted(pair) for pair in self._open)
        if not pairs:
            return False
        self._cut_pair(*self.rng.choice(pairs))
        return True

    def _cut_pair(self, one: PeerId, other: PeerId) -> None:
        self._open.remove(frozenset({one, other}))
        self._closing[frozenset({one, other})] += 2
        self._cut(one, other)
        self._cut(other, one)

    def _fault_mute(self) -> bool:
        """A link swallows what is said on it, one way or both; it looks open until somebody misses the other."""
        if not self.plan.deadline_s:
            return False
        pairs = [tuple(sorted(pair)) for pair in self._open]
        there = [self.client, *(peer for peer, worker in self.workers.items() if worker.alive)]
        pairs = sorted(pairs) + [(CONTROLLER, peer) for peer in there if self._has_uplink(peer)]
        if not pairs:
            return False
        one, other = self.rng.choice(pairs)
        ways = self.rng.choice([[(one, other)], [(other, one)], [(one, other), (other, one)]])
        self._muted.update(ways)
        return True

    def _fault_disk(self) -> bool:
        """Nothing can be written for a while, or until nobody has anything else to do."""
        if self._disk_full or not self.plan.journal:
            return False
        self._disk_full = True
        self._room_at = self.now + 0.5
        return True

    def _fault_client(self) -> bool:
        """The client dies, and another one that knows as much takes its job over."""
        if not self._has_uplink(self.client):
            return False
        self._cut(self.client, CONTROLLER)
        self._channels.setdefault((CONTROLLER, self.client), deque()).clear()
        self._client_before, self.client = self.client, self._new_peer()
        self._model_client.there = False
        self._away.add(self.client)
        return True

    def _fault_cancel(self) -> bool:
        self._client_cancels(messages.Cancel(JOB, 0, self.plan.items))
        return True

    def _client_cancels(self, cancel: messages.Cancel) -> None:
        """It says so now, or when it hears whether the controller knows its job."""
        self._model_client.said.append(cancel)
        if self._model_client.attached and not self._model_client.done:
            self._client_says(cancel)

    def _fault_withdrawal(self) -> bool:
        """The client does not want some items any more."""
        lo = self.rng.randrange(self.plan.items)
        self._client_cancels(messages.Cancel(JOB, lo, min(lo + self.rng.choice([1, 1, 3]), self.plan.items)))
        return True

    def _cancel_in(self, worker: ModelWorker, effect: effects.Cancel) -> None:
        """A cancelled task that runs ends by itself soon, or its slot is ended, and then nobody is named."""
        slot = worker.slots[effect.slot]
        running = slot.runs[0] if slot.alive and slot.runs else None
        if running is None or running.task is None or running.effect.ticket != effect.ticket:
            return
        if effect.lo <= running.task.index < effect.hi and self.rng.random() < 0.5:
            self._kill(worker, effect.slot, named=False)

    def _fault_slot(self) -> bool:
        living = [
            (worker, number)
            for worker in self.workers.values()
            if worker.alive
            for number, slot in enumerate(worker.slots)
            if slot.alive or slot.starting
        ]
        if not living:
            return False
        worker, number = self.rng.choice(living)
        self._kill(worker, SlotId(number))
        return True

    def _kill(self, worker: ModelWorker, number: SlotId, *, named: bool = True) -> None:
        slot = worker.slots[number]
        ticket, index = -1, -1
        if named and slot.runs and slot.runs[0].at < slot.runs[0].effect.batch.hi:
            run = slot.runs[0]
            if run.task is not None:
                ticket, index = run.effect.ticket, run.task.index
            elif run.entries and self.rng.random() < 0.5:
                ticket, index = run.effect.ticket, run.entries[-1][0].index
        starting = not slot.alive
        slot.alive = slot.starting = False
        slot.runs.clear()
        slot.pipe.append(events.SlotDied(number, ticket, index, False, starting, "killed by SIGKILL"))

    # --- slots ------------------------------------------------------------------------------------------

    def _can_move(self, worker: ModelWorker, number: int) -> bool:
        slot = worker.slots[number]
        return bool(worker.urgent or slot.pipe or slot.runs or slot.starting)

    def _slot_move(self, me: PeerId, number: int) -> None:
        worker = self.workers[me]
        slot = worker.slots[number]
        if worker.urgent:
            self._to_worker(me, worker.urgent.popleft())
        elif slot.pipe and (not (slot.runs or slot.starting) or self.rng.random() < 0.5):
            event = slot.pipe.popleft()
            if isinstance(event, events.SlotFinished):
                slot.tickets.pop(event.ticket, None)
            elif isinstance(event, events.SlotDied):
                slot.tickets.clear()
                slot.starting = True
            self._to_worker(me, event)
        elif slot.starting:
            slot.starting = False
            slot.alive = True
            slot.taught.clear()
            slot.known.clear()
            slot.said.clear()
            slot.pipe.append(events.SlotReady(SlotId(number), 1))
        elif slot.runs:
            self._run(worker, SlotId(number), slot)

    def _run(self, worker: ModelWorker, number: SlotId, slot: ModelSlot) -> None:
        """One step of the slot's process: claim in two halves, then begin, run, split and end tasks."""
        run = slot.runs[0]
        batch = run.effect.batch
        if run.task is not None:
            self._run_task(worker, number, slot, run, run.task)
        elif run.at < run.claimed and not run.announced:
            lo, hi = json.loads(batch.payload.data)[run.at - batch.payload.base]
            fails = self._budget["failure"] > 0 and self.rng.random() < 0.2
            self._budget["failure"] -= fails
            run.task = Task(run.at, lo, hi, fails)
        elif run.announced:
            run.announced = False
            if run.limit < run.claimed:
                run.claimed = max(run.at, run.limit)
            if run.claimed == run.at:
                self._finish(number, slot, run)
        elif run.at < batch.hi:
            run.announced = True
            run.claimed = min(run.at + self.rng.choice([1, 1, 2, 4]), batch.hi)
        else:
            self._finish(number, slot, run)

    def _run_task(self, worker: ModelWorker, number: SlotId, slot: ModelSlot, run: Run, task: Task) -> None:
        if self.plan.splits and task.end - task.at > 1 and self.rng.random() < (0.5 if worker.hungry else 0.05):
            middle = (task.at + task.end) // 2
            self._spawn(number, slot, run, task, middle, task.end)
            task.end = middle
        elif task.at < task.end:
            task.units.append(task.at)
            task.at += 1
        else:
            run.entries.append((task, task.fails))
            run.task = None
            run.at += 1
            if self.rng.random() < 0.4:
                self._flush(number, slot, run)

    def _spawn(self, number: SlotId, slot: ModelSlot, run: Run, task: Task, lo: int, hi: int) -> None:
        batch = run.effect.batch
        if SPAWNED not in slot.said:
            slot.said.add(SPAWNED)
            slot.pipe.append(events.SlotTaught(number, JOB, SPAWNED, SPAWNED))
        cuts = sorted({lo, hi, *(self.rng.randint(lo, hi) for _ in range(self.rng.randrange(3)))})
        ranges = list(itertools.pairwise(cuts))
        first, task.children = task.children, task.children + len(ranges)
        payload = Payload(first, len(ranges), SPAWNED, json.dumps(ranges).encode())
        child = Batch(
            JOB,
            run_of(run.effect.first_run, batch, task.index),
            first,
            task.children,
            task.index if batch.origin == ROOT else batch.root,
            batch.origin,
            task.index,
            payload,
        )
        slot.pipe.append(events.SlotSpawned(number, run.effect.ticket, child))

    def _finish(self, number: SlotId, slot: ModelSlot, run: Run) -> None:
        self._flush(number, slot, run)
        slot.runs.popleft()
        slot.pipe.append(events.SlotFinished(number, run.effect.ticket, run.at))

    def _flush(self, number: SlotId, slot: ModelSlot, run: Run) -> None:
        if run.at > run.upto:
            run.upto = run.at
            groups = tuple(self._groups(run))
            run.entries.clear()
            slot.pipe.append(events.SlotDone(number, run.effect.ticket, run.at, groups))

    def _groups(self, run: Run) -> Iterator[Group]:
        """What a slot makes of finished tasks: failures and parents alone, the others together."""
        batch = run.effect.batch
        together: list[Task] = []
        for task, failed in run.entries:
            if failed:
                failure = Failure("exception", "an error of the user", "", "host", b"")
                yield Group(FAILED, b"", (_member(batch, [task]),), 0.0, failure)
            elif task.children:
                member = replace(_member(batch, [task]), run=run_of(run.effect.first_run, batch, task.index))
                yield self._group(batch, (member,), [task], combined=self.plan.reduce)
            else:
                together.append(task)
        combined = self.plan.reduce and batch.origin != ROOT
        parts = list(_neighbours(together))
        if combined and together:
            yield self._group(batch, tuple(_member(batch, part) for part in parts), together, combined=True)
        elif not combined:
            for part in parts:
                yield self._group(batch, (_member(batch, part),), part, combined=False)

    def _group(self, batch: Batch, members: tuple[Member, ...], tasks: list[Task], *, combined: bool) -> Group:
        kind = COMBINED if combined else VALUES if batch.origin == ROOT else SILENT
        seconds = self.plan.unit_s * sum(len(task.units) for task in tasks)
        return Group(kind, json.dumps([task.units for task in tasks]).encode(), members, seconds, None)

    # --- what must hold -----------------------------------------------------------------------------------

    def _count(self) -> None:
        """Count the units that the ledger has just committed."""
        while self.controller.committed:
            news = self.controller.committed.popleft()
            if news.group.kind == FAILED:
                raise self._broken("a task failed for good, although its failures were few")
            units: list[list[int]] = json.loads(news.group.data)
            if news.group.kind != COMBINED:
                ((member, fresh),) = news.parts
                units = [units[index - member.lo] for lo, hi in fresh for index in range(lo, hi)]
            flat = [unit for task in units for unit in task]
            self._counted.update(flat)
            self._commits.append((len(self._journal), flat))
            self._rule(max(self._counted.values(), default=1) == 1, "a unit was counted twice")

    def _check_done(self) -> None:
        job = self.controller.job(JOB)
        assert job is not None
        self._rule(self._state in {"", job.state}, "a job ended twice")
        self._state = job.state
        self._ended = job
        allowed = ("done", "cancelled") if self.plan.cancels or self.plan.withdrawals else ("done",)
        self._rule(job.state in allowed, f"the job ended as {job.state}")
        if job.state == "done":
            self._rule(self._counted.keys() >= self._units_of(self._wanted(job)), "a job was declared done too early")

    def _wanted(self, job: Job) -> set[int]:
        """The items that nobody has cancelled."""
        gone = {index for part in job.ledger.books().withdrawn for index in range(part.lo, part.hi)}
        return set(range(self.plan.items)) - gone

    def _units_of(self, items: Iterable[int]) -> set[int]:
        return {unit for item in items for unit in range(self._bounds[item], self._bounds[item + 1])}

    def _client_says(self, message: messages.Message) -> None:
        if self._has_uplink(self.client):
            self._post(self.client, CONTROLLER, events.Received(self.client, message))

    def _client_says_again(self, submitted: int, *, closed: bool) -> None:
        """What the controller does not know, or may not."""
        for message in self._model_client.said:
            if isinstance(message, messages.Submit) and message.batch.lo < submitted:
                self._rule(message.batch.hi <= submitted, "a part of a SUBMIT is known")
            elif not (isinstance(message, messages.OpenJob) or (closed and not isinstance(message, messages.Cancel))):
                self._client_says(message)

    def _client_hears(self, message: messages.Message) -> None:
        client = self._model_client
        if isinstance(message, messages.Answer | messages.Beat):
            return
        if isinstance(message, messages.Submitted):
            self._rule(message.upto >= client.safe, "items that were safe are not")
            client.safe = message.upto
            return
        client.attached = client.attached or isinstance(message, messages.Attached | messages.JobRefused)
        if isinstance(message, messages.Attached):
            self._rule(message.submitted >= client.safe, "items that were safe are lost")
            self._rule(message.taken == client.seen, "outcomes are told from another place on than was asked")
            self._client_says_again(message.submitted, closed=message.closed)
            return
        if isinstance(message, messages.JobRefused):
            self._rule(client.safe == 0 and client.seen == 0, "a job was lost of which something was safe")
            for again in client.said:
                self._client_says(again)
            return
        client.seen += 1
        if self.plan.aside:
            self._client_says(messages.Read(JOB, client.seen))
        client.done = isinstance(message, messages.JobDone)
        if self.rng.random() < 0.3:
            self._client_says(messages.Taken(JOB, client.seen))
        if isinstance(message, messages.Values):
            values = json.loads(message.data)
            for index in range(message.lo, message.hi):
                self._at_client.update(values[index - message.base])
                self._settle(index, open_=message.open)
        elif isinstance(message, messages.Partial):
            self._rule(message.root not in self._settled, "a value came for an item that was settled")
            self._at_client.update(unit for units in json.loads(message.data) for unit in units)
            self._open_roots.add(message.root)
        elif isinstance(message, messages.Settled):
            self._open_roots.discard(message.root)
            self._settle(message.root, open_=False)
        elif isinstance(message, messages.Cancelled):
            for index in range(message.lo, message.hi):
                self._open_roots.discard(index)
                self._settle(index, open_=False)
        elif not isinstance(message, messages.JobDone):
            raise self._broken(f"the client was told {message}")

    def _settle(self, root: int, *, open_: bool) -> None:
        self._rule(root not in self._settled, f"item {root} was settled twice")
        (self._open_roots if open_ else self._settled).add(root)

    def _judge(self) -> Outcome:
        if self._need_not_end and not self._state:
            return self._outcome(self.controller.job(JOB))
        # Once its client has taken everything, another controller does not know it any more.
        job = self.controller.job(JOB) or self._ended
        self._rule(job is not None and bool(self._state), "nothing moves, and the job is not done")
        assert job is not None
        if self._state == "done":
            self._rule(job.ledger.outstanding == 0, "a job that is done has tasks left")
            self._rule(self._settled == set(range(self.plan.items)), "the client waits for an item")
            self._rule(not self._open_roots, "the client waits for what an item spawned")
            counted = self._at_client if self.plan.reduce else self._counted
            wanted = self._units_of(self._wanted(job))
            found = Counter({unit: count for unit, count in counted.items() if unit in wanted})
            self._rule(found == Counter(wanted), "the units do not add up")
            self._rule(max(counted.values(), default=1) == 1, "a unit came twice")
        calm = not (self.plan.worker_crashes or self._crashes or self.plan.uplink_cuts or self.plan.mutes)
        if calm and not self.plan.reduce and not self.plan.harsh:
            again = job.requeued and not self.plan.withdrawals
            self._rule(not again, "work was lost, and found again, although no worker was lost")
        for peer, worker in self.workers.items():
            if worker.alive and not self._need_not_end:
                self._rule(not worker.core.held(), f"worker {peer} holds tasks of a job that has ended")
        return self._outcome(job)

    def _outcome(self, job: Job | None) -> Outcome:
        ledger = Ledger() if job is None else job.ledger
        return Outcome(
            self.steps,
            self._trace.hexdigest() if self._trace is not None else "",
            self._state,
            ledger.duplicates,
            ledger.orphans,
            0 if job is None else job.requeued,
            ledger.spawned,
            self._relays,
            self._crashes,
            self._snapshots,
            self._asides,
            self._faults,
            self.now,
            self._events,
        )

    def _note(self, who: PeerId, event: Event, done: Sequence[Effect]) -> None:
        if self._trace is not None:
            self._trace.update(f"{self.now!r} {who} {event!r} {done!r}\n".encode())
        if self.told.maxlen:
            said = "".join(f"\n    {effect}" for effect in done)
            self.told.append(f"step {self.steps}, {self.now:.5f} s, {who or 'controller'}: {event}{said}")

    def _rule(self, holds: bool, sentence: str) -> None:
        if not holds:
            raise self._broken(sentence)

    def _broken(self, sentence: str) -> WorldError:
        return WorldError(f"{sentence} (step {self.steps} of World({self.plan}, seed={self.seed}).run())")


def _member(batch: Batch, tasks: list[Task]) -> Member:
    lo, hi = tasks[0].index, tasks[-1].index + 1
    root = lo if batch.origin == ROOT else batch.root
    return Member(batch.origin, lo, hi, root, batch.parent_origin, batch.parent_index, ROOT, ())


def _neighbours(tasks: list[Task]) -> Iterator[list[Task]]:
    part: list[Task] = []
    for task in tasks:
        if part and part[-1].index + 1 != task.index:
            yield part
            part = []
        part.append(task)
    if part:
        yield part
