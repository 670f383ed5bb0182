"""A worker's dealings with other workers: it asks for work, is asked, gives, and keeps what it sent until it arrived.

It must not know how tasks run, or who should be asked: it carries out what the strategy and the controller say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from lbnet import limits
from lbnet.core import checks, effects
from lbnet.core.effects import Effect
from lbnet.core.introductions import Introductions
from lbnet.protocol import messages
from lbnet.strategies.base import WorkerView
from lbnet.types import CONTROLLER, Address, Batch, JobId, PeerId, Span

_RICHER_FACTOR = 2.0
"""Nobody gives to one who asks and is not poorer by this factor: two who run low would swap work."""


_ALL_S = 1e12
"""More seconds of work than anybody has."""


class Stock(Protocol):
    """What a worker has to give."""

    @property
    def longest_s(self) -> float:
        """How long a running task has lasted beyond what is usual, at most."""

    def queued_tasks(self) -> int:
        """Tasks that are in no slot."""

    def surplus_s(self) -> float:
        """Estimated seconds of work beyond what its own slots will soon start."""

    def take_back(self) -> bool:
        """Ask slots for what they have not started. Whether answers are on their way, which bring us here again."""

    def traps(self) -> bool:
        """Whether tasks wait in a slot, behind one that runs."""

    def runs(self) -> bool:
        """Whether any slot runs a task, which may split."""

    def donate(self, seconds: float, size_bytes_max: float = limits.GRANT_BYTES_SOFT) -> tuple[Batch, ...]:
        """About so many seconds of work, or bytes of payloads, and one task at least. There are queued tasks."""

    def introduce(self, batch: Batch, to: PeerId, link: Introductions | None) -> None:
        """Tell ``to`` what it must know of a batch's job first; without a link to it, tell the controller."""


@dataclass(slots=True)
class _Gift:
    """Work was asked for by a requester, or on its behalf, and is being prepared.

    ``stock_s`` is what the requester still has. ``polled``: it has asked itself, and will ask another if refused.
    ``wait``: it is never refused. ``held_until``: it is kept waiting, as there may soon be something.
    """

    since: float
    stock_s: float = 0.0
    polled: bool = False
    wait: bool = False
    held_until: float | None = None


@dataclass(slots=True)
class _Question:
    """This worker wants something of another. ``said``: it has left, and only the answer is missing."""

    wait: bool = False
    said: bool = False


class Exchange:
    """Links, questions, offers and transfers between this worker and others.

    Args:
        view: what the strategy sees; the fields about other workers are written here.
        stock: what this worker has to give.
        do: takes an effect.
    """

    def __init__(self, view: WorkerView, stock: Stock, do: Callable[[Effect], None]) -> None:
        self._view = view
        self._stock = stock
        self._do = do
        self._addresses: dict[PeerId, Address] = {}
        self._links: dict[PeerId, Introductions] = {}
        self._reaching: set[PeerId] = set()
        self._unreachable: set[PeerId] = set()
        self._gifts: dict[PeerId, _Gift] = {}
        self._waiting: dict[PeerId, None] = {}
        self._asks: dict[PeerId, _Question] = {}
        self._target_asked = False
        self._offered: PeerId | None = None
        self._offer_said = False
        self._peers: dict[PeerId, None] = {}
        self._idle_peers: dict[PeerId, None] = {}
        self._sent: dict[int, tuple[PeerId, tuple[Batch, ...]]] = {}
        self._relayed: set[int] = set()
        self.transfers = 0
        """Batches of work that were sent in one message, to another worker or back to the controller."""
        self._closed = False
        self.asks = 0
        """Questions for work, since the last report."""
        self.refusals = 0
        """How many of them were refused."""

    @property
    def wanted(self) -> bool:
        """Whether some other worker would take work, as far as is known here."""
        return bool(self._gifts or self._waiting or self._idle_peers)

    def spans(self) -> list[Span]:
        """What was sent and not yet acknowledged."""
        return [
            Span(batch.job, batch.origin, batch.lo, batch.hi) for _, batches in self._sent.values() for batch in batches
        ]

    def sent_of(self, job: JobId, index: int) -> list[int]:
        """The workers that this item of a job was sent to, who have not acknowledged it."""
        return [int(to) for to, batches in self._sent.values() if any(batch.has_item(job, index) for batch in batches)]

    def forget(self, job: JobId) -> None:
        """A job has ended: what was sent of it never comes back, although a job of this id may."""
        for link in self._links.values():
            link.forget(job)
        for number, (to, batches) in self._sent.items():
            self._sent[number] = to, tuple(batch for batch in batches if batch.job != job)

    def anew(self) -> None:
        """Another strategy is in force: what the last one had asked and been told counts no more.

        Whoever asked this worker still gets an answer.
        """
        self._waiting.clear()
        self._asks.clear()
        self._target_asked = False
        self._offered = None
        self._peers.clear()
        self._idle_peers.clear()
        view = self._view
        view.peers = view.idle_peers = ()
        view.asking = view.offering = False
        view.target = None
        view.refusals = view.offers_refused = 0
        view.waiting_on = frozenset()

    # --- what the strategy decides ------------------------------------------------------------------

    def ask(self, donor: PeerId, *, wait: bool) -> None:
        """Ask another worker for work, if that makes sense."""
        if not self._is_other(donor) or donor in self._asks or donor in self._view.waiting_on:
            return
        if not wait and self._view.asking:
            return
        self._asks[donor] = _Question(wait)
        self._view.target = None
        if wait:
            self._view.waiting_on |= {donor}
        self._update()
        self._reach(donor)

    def ask_target(self) -> None:
        """Ask the controller whom to ask, if no question is out."""
        if not self._view.asking:
            self._target_asked = True
            self._update()
            self._do(effects.Send(CONTROLLER, messages.AskTarget(self._view.stock_s)))

    def offer(self, requester: PeerId) -> None:
        """Offer work to another worker, if no offer is out."""
        if self._offered is None and self._is_other(requester):
            self._offered, self._offer_said = requester, False
            self._update()
            self._reach(requester)

    # --- messages -----------------------------------------------------------------------------------

    def peers_changed(self, message: messages.Peers) -> None:
        """PEERS: who there is."""
        for peer in message.joined:
            self._addresses[peer.peer] = Address(peer.host, peer.port)
            self._peers[peer.peer] = None
        for left in message.left:
            self._peers.pop(left, None)
            self._addresses.pop(left, None)
        self._view.peers = tuple(self._peers)

    def idle_changed(self, message: messages.IdleNews) -> None:
        """IDLE_NEWS: who is idle."""
        for peer in message.idle:
            if peer != self._view.me:
                self._idle_peers[peer] = None
        for peer in message.busy:
            self._idle_peers.pop(peer, None)
        self._view.idle_peers = tuple(self._idle_peers)
        self._view.idle_news += 1

    def is_matched(self, message: messages.Match, now: float) -> None:
        """MATCH: the controller sends us a requester."""
        if message.requester not in {self._view.me, CONTROLLER}:
            self._addresses[message.requester] = Address(message.host, message.port)
            self._gifts.setdefault(message.requester, _Gift(now))

    def is_asked(self, peer: PeerId, message: messages.AskWork, now: float) -> None:
        """ASK_WORK: a requester asks by itself."""
        if peer == self._offered:
            self._offered = None
            self._update()
            self._is_not_idle(peer)
        stock_s = checks.plausible_s(message.stock_s)
        self._gifts[peer] = _Gift(now, stock_s, polled=True, wait=message.wait)

    def is_offered(self, peer: PeerId, surplus_s: float) -> None:
        """OFFER: a donor believes that we are idle. It would give half, to one that has less than that."""
        question = self._asks.get(peer)
        if question is not None and question.wait:
            self._answered(peer, refused=False)  # it has forgotten us with this offer
        enough = checks.plausible_s(surplus_s) >= _RICHER_FACTOR * self._own_stock_s()
        if self._view.wants_work and enough and not self._view.asking and not self._closed:
            self._addresses.setdefault(peer, Address("", 0))  # its link is open
            self.ask(peer, wait=False)
        if peer not in self._asks:
            self._do(effects.Send(peer, messages.NoWork(peer, self._view.me)))

    def is_targeted(self, message: messages.Target) -> None:
        """TARGET: the controller says whom to ask."""
        if not self._target_asked:
            return
        self._target_asked = False
        if message.peer in {self._view.me, CONTROLLER}:
            self._view.refusals += 1
        else:
            self._addresses[message.peer] = Address(message.host, message.port)
            self._view.target = message.peer
        self._update()

    def is_refused(self, message: messages.NoWork) -> bool:
        """NO_WORK: whether it answers a question or an offer of ours, and not our IDLE."""
        if message.donor == self._view.me:
            if message.requester == self._offered:
                self._offered = None
                self._view.offers_refused += 1
                self._update()
            self._is_not_idle(message.requester)
            return True
        return self._answered(message.donor, refused=True)

    def work_came(self, donor: PeerId) -> None:
        """SEND_WORK, from any sender."""
        self._answered(donor, refused=False)
        self._view.refusals = 0

    def acknowledged(self, peer: PeerId, transfer: int) -> None:
        """ACK: the requester, or the controller for it, has what we sent."""
        sent = self._sent.get(transfer)
        if sent is not None and peer in {sent[0], CONTROLLER}:
            del self._sent[transfer]
            self._relayed.discard(transfer)

    # --- links --------------------------------------------------------------------------------------

    def linked(self, peer: PeerId) -> None:
        """A direct link is open, whoever opened it."""
        self._links.setdefault(peer, Introductions())
        self._reaching.discard(peer)
        self._unreachable.discard(peer)
        self._say(peer)

    def _say(self, peer: PeerId) -> None:
        """A link to this worker is open: say what waits for that, a question or an offer."""
        question = self._asks.get(peer)
        if question is not None and not question.said:
            question.said = True
            self.asks += 1
            self._do(effects.Send(peer, messages.AskWork(self._own_stock_s(), question.wait)))
        if peer == self._offered and not self._offer_said:
            self._offer_said = True
            self._do(effects.Send(peer, messages.Offer(self._view.surplus_s)))

    def not_reached(self, peer: PeerId) -> None:
        """No direct link can be opened: questions and work go through the controller."""
        self._reaching.discard(peer)
        self._unreachable.add(peer)
        question = self._asks.get(peer)
        if question is not None and not question.said:
            question.said = True
            self.asks += 1
            self._do(effects.Send(CONTROLLER, messages.AskThrough(peer)))
        if peer == self._offered:
            # It cannot be asked whether it still wants any.
            self._offered = None
            self._is_not_idle(peer)
            self._gifts.setdefault(peer, _Gift(0.0))
            self._update()

    def unlinked(self, peer: PeerId) -> list[Batch]:
        """A link broke. Returns what was sent over it and not acknowledged: it may be lost.

        If it was not, the ledger drops a duplicate. The other end may live on, and wait for what was lost with the
        link: its other way to hear is the controller.
        """
        self._links.pop(peer, None)
        self._reaching.discard(peer)
        self._waiting.pop(peer, None)
        self._is_not_idle(peer)
        self._answered(peer, refused=True)
        if peer == self._offered:
            self._offered = None
            self._update()
        gift = self._gifts.pop(peer, None)
        unacknowledged = [number for number, (to, _) in self._sent.items() if to == peer]
        if unacknowledged or gift is not None:
            self._refuse(peer)
        self._relayed.difference_update(unacknowledged)
        return [batch for number in unacknowledged for batch in self._sent.pop(number)[1]]

    def adrift(self) -> list[Batch]:
        """The controller is gone. Returns what was sent through it and not acknowledged: it may be lost."""
        self.anew()
        relayed, self._relayed = sorted(self._relayed), set()
        return [batch for number in relayed for batch in self._sent.pop(number)[1]]

    # --- giving -------------------------------------------------------------------------------------

    def give(self, now: float) -> None:
        """Serve the requesters whose links are ready."""
        if self._waiting:
            self._invite()
        if not self._gifts:
            return
        for requester, gift in list(self._gifts.items()):
            gift.held_until = None
            if not self._stock.queued_tasks():
                if self._stock.take_back():
                    return
                gift.held_until = self._held_until(gift, now)
                if gift.held_until is not None:
                    continue
            if not self._can_give(gift):
                del self._gifts[requester]
                if gift.wait:
                    self._waiting[requester] = None
                else:
                    self._refuse(requester)
            elif requester in self._links or requester in self._unreachable:
                del self._gifts[requester]
                self._send_half(requester)
            else:
                self._reach(requester)

    def _invite(self) -> None:
        """Offer work to those who wait for it, as many as there are tasks.

        They may have found some elsewhere meanwhile. Sent to one that is busy, work would wander from one to the next.
        """
        tasks = self._stock.queued_tasks()
        # Behind a task that lasts and lasts, what its slot was handed waits, too.
        surplus_s = self._stock.surplus_s() if tasks or self._stock.longest_s else 0.0
        if surplus_s < limits.SURPLUS_MIN_S or (not tasks and self._stock.take_back()):
            return
        for requester in list(islice(self._waiting, tasks)):
            del self._waiting[requester]
            self._do(effects.Send(requester, messages.Offer(surplus_s)))

    def patience_at(self) -> float | None:
        """When a requester that is kept waiting must have its answer, None if nobody is."""
        if not self._gifts:
            return None
        return min((gift.held_until for gift in self._gifts.values() if gift.held_until is not None), default=None)

    def _held_until(self, gift: _Gift, now: float) -> float | None:
        """Until when a requester is kept waiting, as there may soon be something to give; None if not at all.

        One that asked by itself waits a moment for the running task to split, now that somebody is hungry. One that the
        controller sent, for what it takes a slot that has just begun a long task to let go of the others.
        """
        likely = self._stock.runs() if gift.polled else self._stock.traps()
        until = gift.since + (limits.POLL_PATIENCE_S if gift.polled else limits.CLAIM_DOUBT_S)
        return until if likely and not gift.wait and now < until else None

    def _can_give(self, gift: _Gift) -> bool:
        surplus_s = self._stock.surplus_s() if self._stock.queued_tasks() else 0.0
        return surplus_s > 0 and surplus_s >= _RICHER_FACTOR * gift.stock_s

    def _send_half(self, requester: PeerId) -> None:
        batches = self._stock.donate(self._stock.surplus_s() / 2)
        self.transfers += 1
        self._sent[self.transfers] = (requester, batches)
        link = self._links.get(requester)
        for batch in batches:
            self._stock.introduce(batch, requester, link)
        if link is not None:
            self._do(effects.Send(requester, messages.SendWork(self.transfers, self._view.me, batches)))
        else:
            self._unreachable.discard(requester)
            self._relayed.add(self.transfers)
            self._do(effects.Send(CONTROLLER, messages.Relay(requester, self.transfers, batches)))

    def _refuse(self, requester: PeerId) -> None:
        to = requester if requester in self._links else CONTROLLER
        self._do(effects.Send(to, messages.NoWork(self._view.me, requester)))

    # --- leaving ------------------------------------------------------------------------------------

    def close(self) -> None:
        """Ask for nothing any more."""
        self._closed = True
        self.anew()

    @property
    def settled(self) -> bool:
        """Whether all that was sent has arrived."""
        return not self._sent

    def give_back(self) -> None:
        """Hand all that is queued to the controller, which places it anew."""
        while self._stock.queued_tasks():
            self.hand_back()

    def hand_back(self, size_bytes_max: float = limits.GRANT_BYTES_SOFT) -> None:
        """Hand about so many bytes of what is queued to the controller, from the back. There are queued tasks."""
        batches = self._stock.donate(_ALL_S, size_bytes_max)
        self.transfers += 1
        self._sent[self.transfers] = (CONTROLLER, batches)
        self._relayed.add(self.transfers)
        for batch in batches:
            self._stock.introduce(batch, CONTROLLER, None)
        self._do(effects.Send(CONTROLLER, messages.Relay(CONTROLLER, self.transfers, batches)))

    # --- small things -------------------------------------------------------------------------------

    def _is_other(self, peer: object) -> bool:
        return type(peer) is int and peer in self._addresses and peer != self._view.me

    def _own_stock_s(self) -> float:
        return 0.0 if self._view.free_slots else self._view.stock_s

    def _is_not_idle(self, peer: PeerId) -> None:
        if self._idle_peers.pop(peer, self) is None:
            self._view.idle_peers = tuple(self._idle_peers)

    def _reach(self, peer: PeerId) -> None:
        """Open a direct link, unless there is one."""
        if peer in self._links:
            self._say(peer)
        elif peer not in self._addresses:
            self._unreachable.add(peer)  # it has left, and nobody knows where it listened
        elif peer not in self._reaching:
            self._reaching.add(peer)
            self._do(effects.Connect(peer, self._addresses[peer]))

    def _answered(self, donor: PeerId, *, refused: bool) -> bool:
        """A question was answered. Whether there was one."""
        question = self._asks.pop(donor, None)
        if question is None:
            return False
        if question.wait:
            self._view.waiting_on -= {donor}
        if refused:
            self._view.refusals += 1
            self.refusals += 1
        self._update()
        return True

    def _update(self) -> None:
        self._view.asking = self._target_asked or not all(question.wait for question in self._asks.values())
        self._view.offering = self._offered is not None
