"""A worker's decisions: which slot runs what, whom to give work, when to say IDLE or NONIDLE.

Pure: :meth:`Worker.handle` takes an event and the time, and returns the effects to carry out in
order. It must not know how messages travel, or what a task computes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from typing import Any

from lbnet import limits
from lbnet.core import checks, effects, events
from lbnet.core.account import Account
from lbnet.core.balancer import Load
from lbnet.core.compute import Compute
from lbnet.core.decisions import carry_out
from lbnet.core.departure import Departure
from lbnet.core.effects import Effect
from lbnet.core.events import Event
from lbnet.core.exchange import Exchange
from lbnet.core.liveness import Liveness
from lbnet.core.offers import StandingOffer
from lbnet.core.printing import Printing
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
    Batch,
    JobId,
    PeerId,
    Span,
)


class Worker:
    """The state machine of one worker.

    Args:
        me: this worker's id, unique in the cluster for every join.
        name: for people.
        slots: compute processes.
        load: makes the load-balancing strategy of a name; raises where there is none. The controller says which.
        draw: makes random numbers, uniform in ``[0, 1)``, for strategies.
        liveness: watches its links; none is watched without.
        queue_bytes: of the arguments of what waits here; the controller takes what is over.

    Attributes:
        liveness: the same.
    """

    def __init__(
        self,
        me: PeerId,
        name: str,
        slots: int,
        load: Load,
        draw: Callable[[], float],
        liveness: Liveness | None = None,
        queue_bytes: int = limits.QUEUE_BYTES_MAX,
    ) -> None:
        self.me = me
        self.name = name
        self._queue_bytes = queue_bytes
        self._alone = False
        self._load = load
        self._strategy = ""
        self._half = WorkerStrategy()
        self._view = WorkerView(me, draw, slots)
        self._compute = Compute(me, name, slots, self._view, self._do)
        self._jobs = self._compute.jobs
        self._queue = self._compute.queue
        self._exchange = Exchange(self._view, self._compute, self._do)
        self._printing = Printing(name, self._do)
        self._departure = Departure(self._compute, self._exchange, self._do)
        self.liveness = liveness or Liveness(0.0)
        self.liveness.opened(CONTROLLER, 0.0)  # the first look will be late, and give it all of its time
        self._ended: dict[JobId, None] = {}
        self._offer: StandingOffer | None = None
        self._asked_to_split = False
        self._hungry = False
        self._look_at: float | None = None
        self._results_at: float | None = None
        self._trapped_at = math.inf
        self._armed_at: float | None = None
        self._effects: list[Effect] = []
        self.strategy_error: Exception | None = None
        """What the strategy raised last, for people; such a step goes on without its decisions."""

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take an event; returns what is to be done, in order. Never raises, whatever a peer sent."""
        self._view.now = now
        kind: type = type(event)
        liveness = self.liveness
        if isinstance(event, events.Received):
            if liveness.deadline_s:
                liveness.heard(event.peer, now)
            kind = type(event.message)
            handler = _ON_MESSAGE.get(kind)
            if handler is None:
                self._do(effects.Disconnect(event.peer, f"{kind.__name__} is not for a worker"))
            else:
                handler(self, event.peer, event.message)
        else:
            on_event = _ON_SLOT.get(kind)
            if on_event is not None:
                on_event(self._compute, event)
            else:
                _ON_EVENT[kind](self, event)
        if liveness.deadline_s and now >= liveness.look_at:
            self._look_at_links()
        if kind not in _CHANGES_NOTHING or self._departure.begun:
            self._look()
        done, self._effects = self._effects, []
        if liveness.deadline_s:
            liveness.said([effect.to for effect in done if type(effect) is effects.Send], now)
        return done

    def view(self) -> WorkerView:
        """What the strategy may know now."""
        self._compute.weigh()
        return self._view

    def held(self) -> list[Span]:
        """All tasks that this worker holds: queued, running, or sent and not yet acknowledged."""
        return [*self._compute.held(), *self._exchange.spans()]

    def account(self, job: JobId) -> Account | None:
        """Where the time of the slots went for a job; None if nothing is known of it here (any more)."""
        return self._compute.accounts.of(job, self._view.now)

    # --- after every event ----------------------------------------------------------------------

    def _look_at_links(self) -> None:
        """Say BEAT where nothing else was said, and give up those who are silent: they have left when that is heard."""
        beat, dead = self.liveness.look(self._view.now)
        for peer in dead:
            self._do(effects.Disconnect(peer, self.liveness.silence(), silent=True))
        for peer in beat:
            self._do(effects.Send(peer, messages.Beat()))
        self._arm(self.liveness.look_at)

    def _look(self) -> None:
        """The load-balancing step: give what was asked for, feed the slots, tell the controller."""
        compute = self._compute
        if self._view.now >= self._trapped_at:
            self._trapped_at = math.inf
            self._view.unit_completed = True  # that a task lasts and lasts is news like the end of one
        compute.wake()
        compute.estimate()
        before = self._exchange.transfers
        self._exchange.give(self._view.now)
        if self._exchange.transfers > before and self._queue.tasks and compute.stuck:
            self._view.unit_completed = True  # nothing else will tell that there is more, and no slot of ours begins it
            self._withdraw()
        if self._departure.begun:
            self._look_while_leaving()
            return
        self._results_at = compute.results.look(self._view.now, busy=compute.ready and compute.has_more)
        compute.feed()
        if self._queue.size_bytes > self._queue_bytes and not self._alone:
            self._hand_back()
        if not compute.ready:
            self._arm(self.liveness.look_at)
            return
        compute.weigh()
        view = self._view
        self._look_at = None
        carry_out(self._half, view, self._decide, self._failed)
        if view.stock_s <= 0:
            # Whatever the strategy thinks: new work, and the search for lost work, wait for this word.
            self._say_idle()
        self._set_hungry()
        self._watch()

    def _hand_back(self) -> None:
        """More waits here than memory should hold: the controller takes half, and at most all but the next batch."""
        while (excess := self._queue.size_bytes - self._queue_bytes / 2) > 0 and self._queue.batches > 1:
            self._exchange.hand_back(min(excess, limits.GRANT_BYTES_SOFT))

    @property
    def holds_too_much(self) -> bool:
        """Whether batches of more bytes than memory should hold wait here, though the controller is there."""
        return not self._alone and self._queue.size_bytes > self._queue_bytes and self._queue.batches > 1

    def _look_while_leaving(self) -> None:
        at = self._departure.look(self._view.now)
        if not self._hungry:
            self._hungry = True  # what a running task splits off can go elsewhere
            self._do(effects.SetHungry(True))
        for other in (at, self._exchange.patience_at(), self.liveness.look_at):
            if other is not None:
                self._arm(other)

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
                self._offer = StandingOffer(view.surplus_s, self._compute.surplus_tasks())
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
            self._look_at = min(self._view.now + after_s, self._look_at or math.inf)

    def _watch(self) -> None:
        """Look again when the strategy wants to, or a requester has waited enough.

        And while somebody is hungry and tasks wait behind a running one, after ever longer times.
        """
        at = self._exchange.patience_at()
        for other in (self._look_at, self._results_at, self._compute.resting_until):
            if other is not None:
                at = other if at is None else min(at, other)
        traps = self._queue.tasks or self._compute.traps()
        if not (traps and (self._asked_to_split or self._view.free_slots or self._exchange.wanted)):
            self._trapped_at = math.inf
        else:
            trapped_at = self._view.now + max(self._compute.longest_s, limits.CLAIM_DOUBT_S)
            self._trapped_at = min(self._trapped_at, trapped_at)  # whatever else made us look
            at = self._trapped_at if at is None else min(at, self._trapped_at)
        if self.liveness.deadline_s:
            at = self.liveness.look_at if at is None else min(at, self.liveness.look_at)
        if at is not None:
            self._arm(at, alone=True)

    def _arm(self, at: float, *, alone: bool = False) -> None:
        """See to it that a tick comes by then, or an earlier one that brings us here again.

        Args:
            at: then.
            alone: nothing else is due before, so that a timer that comes much too early is set anew.
        """
        if at == math.inf:
            return
        armed_at = self._armed_at
        comes = armed_at is not None and self._view.now <= armed_at <= at
        # A timer that comes too early costs a look; one effect for every event costs more.
        if not comes or (alone and armed_at is not None and at > armed_at + _TOO_EARLY_S):
            self._armed_at = at
            self._do(effects.SetTimer(at))

    def _say_idle(self) -> None:
        """Say IDLE, unless it was said and not answered; that it has run dry since is news, too."""
        view = self._view
        if 0 < view.stock_s < limits.SURPLUS_MIN_S and not view.free_slots:
            return  # it will have run dry before this word is there, and say that
        if view.told_idle_s is None or (view.told_idle_s > 0 and view.free_slots):
            view.told_idle_s = 0.0 if view.free_slots else view.stock_s
            view.listed = True
            if view.told_idle_s <= 0:
                self._withdraw()  # the controller forgets the offer of a worker that has run dry
            self._tell(messages.Idle(view.told_idle_s))

    def _withdraw(self) -> None:
        """There is no standing offer."""
        self._offer = None
        self._view.offered_s = 0.0

    def _set_hungry(self) -> None:
        hungry = not self._queue.tasks and (self._asked_to_split or self._view.free_slots > 0 or self._exchange.wanted)
        if hungry != self._hungry:
            self._hungry = hungry
            self._do(effects.SetHungry(hungry))

    # --- messages -------------------------------------------------------------------------------

    def _on_open_job(self, peer: PeerId, message: messages.OpenJob) -> None:
        if peer == CONTROLLER:
            self._ended.pop(message.job, None)  # what it opens goes on, although it may have said otherwise before
        if message.job not in self._ended:
            self._compute.open_job(message.job, message.options)

    def _on_function(self, peer: PeerId, message: messages.Function) -> None:
        job = self._jobs.get(message.job)
        if job is None:
            if message.job in self._ended:
                self._compute.stray(message.job, message.digest, message.data)
            else:
                self._do(effects.Disconnect(peer, f"a function came for job {message.job}, which was not opened"))
            return
        job.functions.setdefault(message.digest, message.data)
        if peer == CONTROLLER:
            job.shared.add(message.digest)

    def _on_send_work(self, peer: PeerId, message: messages.SendWork) -> None:
        batches = [batch for batch in message.batches if batch.job in self._jobs]  # other jobs have ended meanwhile
        for batch in batches:
            job = self._jobs[batch.job]
            problem = checks.problem_of_batch(batch, job.functions)
            if problem is None and job.options.reduce and job.options.reduce not in job.functions:
                problem = "work came without the function that combines its values"
            if problem is not None:
                # Not acknowledged: the sender still has it, and introduces it anew over its next link.
                self._do(effects.Disconnect(peer, problem))
                return
        if message.donor != CONTROLLER or peer != CONTROLLER:
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
            for wanted in self._compute.wanted(batch):
                self._queue.append(wanted)

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
        self._exchange.is_asked(peer, message, self._view.now)

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
        self._exchange.is_matched(message, self._view.now)

    def _on_hungry(self, peer: PeerId, message: messages.Hungry) -> None:  # noqa: ARG002
        self._asked_to_split = True
        self._withdraw()  # the controller knows of no offer, or it would not have asked

    def _on_ack(self, peer: PeerId, message: messages.Ack) -> None:
        self._exchange.acknowledged(peer, message.transfer)

    def _on_job_ended(self, peer: PeerId, message: messages.JobEnded) -> None:  # noqa: ARG002
        self._ended[message.job] = None
        if len(self._ended) > limits.REPORTS_KEPT:
            del self._ended[next(iter(self._ended))]
        job = self._jobs.get(message.job)
        if job is None:
            return
        if job.moved:
            self._compute.results.add(messages.Result(message.job, (), job.take_moved()))
        self._compute.results.say(self._view.now)
        if self._exchange.asks:
            self._tell(messages.Asked(message.job, self._exchange.asks, self._exchange.refusals))
            self._exchange.asks = self._exchange.refusals = 0
        self._compute.end_job(message.job)
        self._exchange.forget(message.job)

    def _on_leave(self, peer: PeerId, message: messages.Leave) -> None:  # noqa: ARG002
        self._departure.begin(checks.plausible_s(message.grace_s), self._view.now)

    def _on_released(self, peer: PeerId, message: messages.Released) -> None:  # noqa: ARG002
        self._departure.released()

    def _on_withdraw(self, peer: PeerId, message: messages.Withdraw) -> None:  # noqa: ARG002
        if message.job not in self._ended and message.lo < message.hi:
            self._compute.withdraw(message.job, message.lo, message.hi)

    def _on_kept(self, peer: PeerId, message: messages.Kept) -> None:  # noqa: ARG002
        self._compute.results.kept(message.results)

    def _on_ask_inventory(self, peer: PeerId, message: messages.AskInventory) -> None:  # noqa: ARG002
        self._compute.results.say(self._view.now)  # what is finished is not held any more
        self._tell(messages.Inventory(message.round, tuple(self.held())))

    def _on_enquire(self, peer: PeerId, message: messages.Enquire) -> None:  # noqa: ARG002
        if message.what == "balance":
            account = self.account(message.job)
            self._tell(messages.Enquired(message.enquiry, json.dumps({} if account is None else account.facts())))
            return
        if message.what != "explain":
            self._printing.enquire(message)
            return
        facts = self._compute.whereabouts(message.job, message.index)
        facts["sent"] = self._exchange.sent_of(message.job, message.index)
        self._tell(messages.Enquired(message.enquiry, json.dumps(facts)))

    def _on_follow(self, peer: PeerId, message: messages.Follow) -> None:  # noqa: ARG002
        self._printing.follow(message)

    # --- links ----------------------------------------------------------------------------------

    def _on_beat(self, peer: PeerId, message: messages.Beat) -> None:
        """That it came is all that it says."""

    def _on_heard(self, event: events.Heard) -> None:
        self.liveness.heard(event.peer, self._view.now)

    def _on_joined(self, event: events.Joined) -> None:
        self.liveness.opened(event.peer, self._view.now)
        if event.peer != CONTROLLER:
            self._exchange.linked(event.peer)
            return
        self._alone = False
        # We are back. It may be another process than the one that we knew, and know no more than its journal says.
        self._run_here(self._exchange.adrift())  # what was sent through it while it was away
        self._tell(messages.Rejoined(tuple(self._jobs)))
        for job in self._jobs.values():
            job.shared.clear()
        for result in self._compute.results.again():
            members = [member for group in result.groups for member in group.members]
            self._compute.share_functions(child for member in members for child in member.children)
            self._compute.results.add(result)
        self._compute.results.say(self._view.now)
        if self._departure.begun:
            self._departure.say()

    def _on_left(self, event: events.Left) -> None:
        """What was sent and not acknowledged may be lost: run it here. The answer to our IDLE may be lost, too."""
        self.liveness.closed(event.peer)
        self._view.told_idle_s = None
        if event.peer == CONTROLLER:
            self._alone = True
            self._printing.alone()
            self._withdraw()
            self._view.listed = False
            self._asked_to_split = False
            self._strategy = ""  # the next word on it begins anew
            lost = self._exchange.adrift()
        else:
            lost = self._exchange.unlinked(event.peer)
        self._run_here(lost)

    def _run_here(self, batches: Iterable[Batch]) -> None:
        for batch in batches:
            if batch.job in self._jobs:
                for wanted in self._compute.wanted(batch):
                    self._queue.append(wanted)

    def _on_unreachable(self, event: events.Unreachable) -> None:
        self._exchange.not_reached(event.peer)

    def _on_slot_output(self, event: events.SlotOutput) -> None:
        if event.live:
            self._printing.printed(event)
        else:
            self._compute.slot_output(event)

    def _on_recalled(self, event: events.Recalled) -> None:
        self._printing.recalled(event)

    def _on_leave_here(self, event: events.Leave) -> None:
        self._departure.begin(event.grace_s, self._view.now)

    # --- effects --------------------------------------------------------------------------------

    def _do(self, effect: Effect) -> None:
        self._effects.append(effect)

    def _tell(self, message: messages.Message) -> None:
        self._effects.append(effects.Send(CONTROLLER, message))


def _on_tick(worker: Worker, event: events.Tick) -> None:  # noqa: ARG001
    """Looking again is all that a tick asks for."""
    worker._armed_at = None


_TOO_EARLY_S = limits.RESULT_FLUSH_S
"""A timer that would come earlier than it must by more than this is set anew."""

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
    messages.Kept: Worker._on_kept,
    messages.Withdraw: Worker._on_withdraw,
    messages.Leave: Worker._on_leave,
    messages.Released: Worker._on_released,
    messages.Enquire: Worker._on_enquire,
    messages.Follow: Worker._on_follow,
    messages.Beat: Worker._on_beat,
}

_CHANGES_NOTHING = frozenset({
    messages.Ack, messages.Kept, messages.Function, messages.OpenJob, messages.AskInventory, messages.Beat,
    messages.Enquire, messages.Follow, events.Heard, events.SlotOutput, events.Recalled,
})  # fmt: skip
"""After these the worker has as much to do, and as much to give, as before."""

_ON_EVENT: dict[type, Callable[[Worker, Any], None]] = {
    events.Joined: Worker._on_joined,
    events.Heard: Worker._on_heard,
    events.Left: Worker._on_left,
    events.Unreachable: Worker._on_unreachable,
    events.Leave: Worker._on_leave_here,
    events.SlotOutput: Worker._on_slot_output,
    events.Recalled: Worker._on_recalled,
    events.Tick: _on_tick,
}

_ON_SLOT: dict[type, Callable[[Compute, Any], None]] = {
    events.SlotReady: Compute.slot_ready,
    events.SlotDone: Compute.slot_done,
    events.SlotSpawned: Compute.slot_spawned,
    events.SlotTaught: Compute.slot_taught,
    events.SlotFinished: Compute.slot_finished,
    events.Reclaimed: Compute.reclaimed,
    events.SlotDied: Compute.slot_died,
}
