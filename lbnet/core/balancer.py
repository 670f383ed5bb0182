"""The controller's share of load balancing: who is idle, who offers, and what the strategy in force makes of it.

It is the view that the strategy's controller half gets. It must not know of jobs, ledgers or payloads: flags are
hints, and nothing here decides what is done or lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from types import MappingProxyType

from lbnet.core.decisions import carry_out
from lbnet.core.news import News
from lbnet.core.offers import StandingOffer
from lbnet.protocol import messages
from lbnet.strategies.base import AskToSplit, ControllerDecision, ControllerStrategy, Pair, Strategy
from lbnet.types import Address, PeerId

Load = Callable[[str], Strategy]
"""A strategy by its name; raises where there is none."""


_STALE_MAX = 64
"""Offers that were said anew and still stand in the heap, beside as many as there are."""


class Balancer:
    """The books of who wants work and who has some, and the load-balancing step.

    Args:
        load: makes the strategy of a name.
        strategy: the name of the one in force at first.
        send: takes a message for a worker.

    Raises:
        Exception: whatever ``load`` raises where there is no such strategy.
    """

    def __init__(self, load: Load, strategy: str, send: Callable[[PeerId, messages.Message], None]) -> None:
        self._load = load
        self._loaded: dict[str, Strategy] = {}
        self._send = send
        self._addresses: dict[PeerId, Address] = {}
        self._idle: dict[PeerId, float] = {}
        self.idle: Mapping[PeerId, float] = MappingProxyType(self._idle)
        """Workers that want work, with the seconds that they still had when they said so."""
        self._offers: dict[PeerId, StandingOffer] = {}
        self._by_size: list[tuple[float, PeerId]] = []
        self._asked: set[PeerId] = set()
        self._quiet: dict[PeerId, None] = {}
        self._matched: dict[PeerId, PeerId] = {}
        self._peers_news = News()
        self._idle_news = News()
        self._changed = False
        self._work = False
        self._workers: tuple[PeerId, ...] | None = ()
        self.error: Exception | None = None
        """What the strategy raised last, for people; such a step goes on without its decisions."""
        self._half = ControllerStrategy()
        self._put_in_force(strategy)

    # --- what the strategy may see ----------------------------------------------------------------

    @property
    def workers(self) -> Sequence[PeerId]:
        """All workers, in the order in which they joined."""
        if self._workers is None:
            self._workers = tuple(self._addresses)
        return self._workers

    @property
    def offers(self) -> Mapping[PeerId, float]:
        """Standing offers of surplus, in seconds."""
        return _Seconds(self._offers)

    @property
    def quiet(self) -> Iterable[PeerId]:
        """Workers that run something, offer nothing, and were not asked to split it."""
        return self._quiet.keys()

    def richest(self, besides: PeerId) -> PeerId | None:
        """The worker with the largest standing offer; the one that joined first, of equals."""
        aside: tuple[float, PeerId] | None = None
        found: PeerId | None = None
        while self._by_size:
            negative_s, peer = self._by_size[0]
            offer = self._offers.get(peer)
            if offer is None or offer.seconds != -negative_s:
                heappop(self._by_size)  # it was said anew since, or is gone
            elif peer == besides:
                aside = heappop(self._by_size)
            else:
                found = peer
                break
        if aside is not None:
            heappush(self._by_size, aside)
        return found

    # --- which strategy ---------------------------------------------------------------------------

    def problem_of(self, name: str) -> str | None:
        """Why there is no strategy of this name, or None if there is."""
        try:
            self._get(name)
        except Exception as error:  # noqa: BLE001 - a strategy may be anybody's code
            return str(error)
        return None

    def _get(self, name: str) -> Strategy:
        if name not in self._loaded:
            strategy = self._load(name)
            strategy.controller()  # one that cannot even be made is none
            self._loaded[name] = strategy
        return self._loaded[name]

    def _put_in_force(self, name: str) -> None:
        self.name = name
        self._strategy = self._get(name)
        try:
            self._half = self._strategy.controller()
        except Exception as error:  # noqa: BLE001 - a strategy may be anybody's code
            self._failed(error)
            self._half = ControllerStrategy()

    def govern(self, name: str, *, work: bool) -> None:
        """This strategy is in force from now on, and unfinished tasks exist, or none is left.

        Workers hear of another strategy, which has yet to learn all that it will know. Of work they hear where they ask
        for it by themselves.
        """
        changed = work != self._work and self._strategy.polls
        self._work = work
        if name != self.name:
            changed = True
            self._put_in_force(name)
            self._offers.clear()
            self._by_size.clear()
            self._asked.clear()
            self._peers_news = News()
            self._idle_news = News()
            self._peers_news.touch()
            for peer in self._addresses:
                self._note(peer)
        if changed:
            for peer in self._addresses:
                self._tell_strategy(peer)

    def grant(self, tasks: int) -> int:
        """How many tasks go to an idle worker at once: as the strategy wants it, within reason."""
        try:
            wanted = self._half.grant(tasks)
        except Exception as error:  # noqa: BLE001 - a strategy may be anybody's code
            self.error = error
            return tasks
        return max(1, min(wanted, tasks)) if type(wanted) is int else tasks

    def _tell_strategy(self, peer: PeerId) -> None:
        self._send(peer, messages.Balance(self.name, self._work and self._strategy.polls))

    # --- what workers say -------------------------------------------------------------------------

    def joined(self, peer: PeerId, address: Address) -> None:
        """A worker has joined."""
        self._addresses[peer] = address
        self._workers = None
        self._peers_news.touch()
        self._note(peer)
        self._tell_strategy(peer)

    def left(self, peer: PeerId) -> None:
        """A worker is gone: forget its flags. Whoever waits for work of its is told that none will come."""
        del self._addresses[peer]
        self._workers = None
        self._peers_news.touch()
        self._idle.pop(peer, None)
        self._matched.pop(peer, None)
        self._set_offer(peer, None)
        self._asked.discard(peer)
        self._note(peer)
        self._peers_news.forget(peer)
        self._idle_news.forget(peer)
        for requester in [requester for requester, donor in self._matched.items() if donor == peer]:
            del self._matched[requester]
            self._send(requester, messages.NoWork(peer, requester))

    def is_idle(self, peer: PeerId, stock_s: float) -> None:
        """IDLE came."""
        self._matched.pop(peer, None)
        self._idle[peer] = stock_s
        self._idle_news.again(peer)
        if stock_s <= 0:
            self._set_offer(peer, None)
            self._asked.discard(peer)
        self._note(peer)

    def offers_work(self, peer: PeerId, surplus_s: float, tasks: int) -> None:
        """NONIDLE came. Without a surplus it means that the worker is not idle any more, and no more than that."""
        self._asked.discard(peer)
        if surplus_s > 0 and tasks > 0:
            self._set_offer(peer, StandingOffer(surplus_s, tasks))
        else:
            self._idle.pop(peer, None)
        self._note(peer)

    def refused(self, requester: PeerId) -> bool:
        """NO_WORK came for a requester. Whether that is a worker, which is to be told."""
        self._matched.pop(requester, None)
        return requester in self._addresses

    def gets_work(self, peer: PeerId) -> None:
        """The controller itself sends work to a worker."""
        if self._idle.pop(peer, None) is not None:
            self._note(peer)

    def asks_through(self, requester: PeerId, donor: PeerId) -> None:
        """A requester cannot reach a donor: ask it in its name."""
        if donor in self._addresses and donor != requester:
            # It stays on the idle list: a refusal answers its question, and not its IDLE.
            self._send_match(donor, requester)
        else:
            self._send(requester, messages.NoWork(donor, requester))

    def asks_target(self, asker: PeerId) -> None:
        """A worker wants to know whom to ask."""
        target: object = None
        try:
            target = self._half.target(self, asker)
        except Exception as error:  # noqa: BLE001 - a strategy may be anybody's code
            self.error = error
        if type(target) is int and target in self._addresses and target != asker:
            address = self._addresses[PeerId(target)]
            self._send(asker, messages.Target(PeerId(target), address.host, address.port))
        else:
            self._send(asker, messages.Target(PeerId(0), "", 0))

    # --- the step ---------------------------------------------------------------------------------

    def look(self, now: float) -> float | None:
        """The load-balancing step, and the news that are due. Returns when to look again, None for no matter when."""
        if self._changed:
            self._changed = False
            self._balance()
        if not (self._strategy.knows_peers or self._strategy.shares_idle):
            return None
        readers = self._addresses
        if self._strategy.knows_peers:
            for delta in self._peers_news.issue(readers, readers, now):
                came = tuple(self._introduction(peer) for peer in delta.came)
                self._send(delta.reader, messages.Peers(came, delta.went))
        if self._strategy.shares_idle:
            for delta in self._idle_news.issue(self._idle, readers, now):
                self._send(delta.reader, messages.IdleNews(delta.came, delta.went))
        due = [self._peers_news.due_at(len(readers))] if self._strategy.knows_peers else []
        due += [self._idle_news.due_at(len(readers))] if self._strategy.shares_idle else []
        return min((at for at in due if at is not None), default=None)

    def _balance(self) -> None:
        carry_out(self._half, self, self._decide, self._failed)

    def _failed(self, error: Exception) -> None:
        self.error = error

    def _decide(self, decision: ControllerDecision) -> None:
        """Carry out a decision, if it makes sense."""
        if isinstance(decision, Pair):
            donor, requester = decision.donor, decision.requester
            if donor != requester and self._is_worker(donor) and self._is_worker(requester) and requester in self._idle:
                self._match(donor, requester)
        elif (
            isinstance(decision, AskToSplit) and self._is_worker(decision.worker) and decision.worker not in self._asked
        ):
            self._asked.add(decision.worker)
            self._note(decision.worker)
            self._send(decision.worker, messages.Hungry(len(self._idle)))

    def _match(self, donor: PeerId, requester: PeerId) -> None:
        """Whoever is matched is not idle any more, so that nobody else is sent to it."""
        offer = self._offers.get(donor)
        if offer is not None:
            self._set_offer(donor, offer.after_match())
        self._note(donor)
        del self._idle[requester]
        self._note(requester)
        self._send_match(donor, requester)

    def _send_match(self, donor: PeerId, requester: PeerId) -> None:
        self._matched[requester] = donor
        address = self._addresses[requester]
        self._send(donor, messages.Match(requester, address.host, address.port))

    def _is_worker(self, peer: object) -> bool:
        return type(peer) is int and peer in self._addresses

    def _introduction(self, peer: PeerId) -> messages.Introduction:
        address = self._addresses[peer]
        return messages.Introduction(peer, address.host, address.port)

    def _set_offer(self, peer: PeerId, offer: StandingOffer | None) -> None:
        if offer is None:
            self._offers.pop(peer, None)
        else:
            self._offers[peer] = offer
            heappush(self._by_size, (-offer.seconds, peer))
            if len(self._by_size) > 2 * len(self._offers) + _STALE_MAX:
                self._by_size = [(-standing.seconds, donor) for donor, standing in self._offers.items()]
                heapify(self._by_size)

    def _note(self, peer: PeerId) -> None:
        """Something has changed of a worker: the strategy must look, and the idle list may be other than was told."""
        self._changed = True
        self._idle_news.touch()
        runs = peer in self._addresses and self._idle.get(peer, 1.0) > 0
        if runs and peer not in self._offers and peer not in self._asked:
            self._quiet[peer] = None
        else:
            self._quiet.pop(peer, None)


class _Seconds(Mapping[PeerId, float]):
    """Standing offers, seen as their seconds."""

    __slots__ = ("_offers",)

    def __init__(self, offers: Mapping[PeerId, StandingOffer]) -> None:
        self._offers = offers

    def __getitem__(self, peer: PeerId) -> float:
        return self._offers[peer].seconds

    def __iter__(self) -> Iterator[PeerId]:
        return iter(self._offers)

    def __len__(self) -> int:
        return len(self._offers)
