"""The controller's books of who wants work and who has some, against the plainest model; and whatever strategies do."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet import limits
from lbnet.core.balancer import Balancer
from lbnet.protocol import messages
from lbnet.protocol.messages import Message
from lbnet.strategies import registry
from lbnet.strategies.base import AskToSplit, ControllerStrategy, Pair, Strategy
from lbnet.types import Address, PeerId
from tests.core.scripted import ScriptedController, strategy_of

MANY = 1 << 20
"""Tasks of an offer that does not end with them."""


def where(peer: int) -> Address:
    return Address("host", 1000 + peer)


def match(requester: int) -> messages.Match:
    return messages.Match(PeerId(requester), "host", 1000 + requester)


def introduced(*workers: int) -> tuple[messages.Introduction, ...]:
    return tuple(messages.Introduction(PeerId(worker), "host", 1000 + worker) for worker in workers)


class Desk:
    """A balancer with workers 1 to ``workers``; what it says is kept until it is asked for."""

    def __init__(self, *given: Strategy, workers: int = 3, strategy: str = "") -> None:
        self.box: list[tuple[int, Message]] = []
        load = registry.loader({strategy.name: strategy for strategy in given})
        first = strategy or (given[0].name if given else "sb")
        self.it = Balancer(load, first, lambda peer, message: self.box.append((peer, message)))
        for number in range(1, workers + 1):
            self.it.joined(PeerId(number), where(number))
        self.it.look(0.0)
        self.said()

    def said(self) -> list[tuple[int, Message]]:
        done, self.box = self.box, []
        return done

    def looks(self, now: float = 1e6) -> list[tuple[int, Message]]:
        self.it.look(now)
        return self.said()


# --- the books


class Model:
    """What the books must say, by the plainest code that says it."""

    def __init__(self) -> None:
        self.workers: list[int] = []
        self.idle: dict[int, float] = {}
        self.offers: dict[int, tuple[float, int]] = {}
        self.asked: set[int] = set()

    def quiet(self) -> set[int]:
        return {
            worker
            for worker in self.workers
            if self.idle.get(worker, 1.0) > 0 and worker not in self.offers and worker not in self.asked
        }

    def richest(self, besides: int) -> int | None:
        others = [worker for worker in self.workers if worker in self.offers and worker != besides]
        return max(others, key=lambda worker: self.offers[worker][0], default=None)

    def match(self, donor: int, requester: int) -> None:
        self.idle.pop(requester, None)
        if donor in self.offers:
            seconds, tasks = self.offers.pop(donor)
            if seconds / 2 >= limits.SURPLUS_MIN_S and tasks // 2:
                self.offers[donor] = (seconds / 2, tasks // 2)


def follow(it: Balancer, model: Model, half: ScriptedController, what: str, peer: int, other: int, s: float) -> None:
    """One thing happens, to both. Who is not there does nothing."""
    if what == "joins":
        new = (model.workers or [0])[-1] + 1
        it.joined(PeerId(new), where(new))
        model.workers.append(new)
    elif peer not in model.workers:
        return
    elif what == "leaves":
        it.left(PeerId(peer))
        model.workers.remove(peer)
        model.idle.pop(peer, None)
        model.offers.pop(peer, None)
        model.asked.discard(peer)
    elif what == "idle":
        it.is_idle(PeerId(peer), s)
        model.idle[peer] = s
        if s <= 0:
            model.offers.pop(peer, None)
            model.asked.discard(peer)
    elif what == "offers":
        it.offers_work(PeerId(peer), s, other)
        model.asked.discard(peer)
        if s > 0 and other > 0:
            model.offers[peer] = (s, other)
        else:
            model.idle.pop(peer, None)
    elif what == "placed":
        it.gets_work(PeerId(peer))
        model.idle.pop(peer, None)
    elif what == "split":
        it.is_idle(PeerId(peer), 1.0)  # for the strategy to be called
        model.idle[peer] = 1.0
        half.next = [AskToSplit(PeerId(other))]
        if other in model.workers:
            model.asked.add(other)
    elif what == "pair":
        it.is_idle(PeerId(peer), 1.0)
        model.idle[peer] = 1.0
        half.next = [Pair(PeerId(other), PeerId(peer))]
        if other in model.workers and other != peer:
            model.match(other, peer)
    it.look(0.0)


numbers = st.integers(1, 4)
seconds = st.sampled_from([0.0, 1e-4, limits.SURPLUS_MIN_S, 0.01, 1.0, 1.0, 2.0, 30.0])


@settings(derandomize=True, deadline=None, max_examples=400)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["joins", "leaves", "idle", "offers", "offers", "placed", "split", "pair"]),
            numbers,
            numbers,
            seconds,
        ),
        max_size=50,
    )
)
def test_the_books_are_those_of_a_plain_model(steps: list[tuple[str, int, int, float]]) -> None:
    half, model = ScriptedController(), Model()
    it = Balancer(lambda name: strategy_of(half), "sb", lambda peer, message: None)  # noqa: ARG005
    for step in [("joins", 0, 0, 0.0)] * 3 + steps:
        follow(it, model, half, *step)
        assert list(it.workers) == model.workers
        assert list(it.idle.items()) == list(model.idle.items())  # the longest waiting first
        assert dict(it.offers) == {worker: offer[0] for worker, offer in model.offers.items()}
        assert {*it.quiet} == model.quiet()
        for besides in (0, *model.workers):
            assert it.richest(PeerId(besides)) == model.richest(besides)


@pytest.mark.parametrize(("tasks", "matches"), [(1, 1), (2, 2), (3, 2), (8, 4), (MANY, 5)])
def test_an_offer_ends_with_its_tasks_or_when_it_is_not_worth_a_transfer(tasks: int, matches: int) -> None:
    half = ScriptedController()
    desk = Desk(strategy_of(half))
    desk.it.offers_work(PeerId(1), 16 * limits.SURPLUS_MIN_S, tasks)
    for number in range(1, matches + 1):
        assert dict(desk.it.offers) == {1: 32 * limits.SURPLUS_MIN_S / 2**number}
        half.next = [Pair(PeerId(1), PeerId(2))]
        desk.it.is_idle(PeerId(2), 0.0)
        assert desk.looks() == [(1, match(2))]
    assert dict(desk.it.offers) == {}


def test_a_question_through_the_controller_touches_neither_list() -> None:
    desk = Desk(strategy_of())
    desk.it.offers_work(PeerId(1), 1.0, MANY)
    desk.it.is_idle(PeerId(2), 0.0)
    desk.it.asks_through(PeerId(2), PeerId(1))
    assert desk.said() == [(1, match(2))]
    assert (dict(desk.it.idle), dict(desk.it.offers)) == ({2: 0.0}, {1: 1.0})


def test_looking_for_the_richest_changes_nothing() -> None:
    desk = Desk(strategy_of())
    for worker, s in ((1, 5.0), (2, 9.0), (3, 9.0)):
        desk.it.offers_work(PeerId(worker), s, MANY)
    for _ in range(3):
        assert desk.it.richest(PeerId(2)) == 3
        assert desk.it.richest(PeerId(3)) == 2
        assert desk.it.richest(PeerId(0)) == 2


def test_a_strategy_cannot_change_what_it_sees() -> None:
    desk = Desk()
    desk.it.offers_work(PeerId(1), 1e-9, MANY)
    view: Any = desk.it
    for seen in (view.idle, view.offers):
        with pytest.raises(TypeError):
            seen[PeerId(9)] = 1.0
    with pytest.raises(AttributeError):
        view.workers.clear()
    with pytest.raises(AttributeError):
        view.quiet.clear()


def test_the_view_is_live_between_two_decisions() -> None:
    half = ScriptedController()
    desk = Desk(strategy_of(half))
    seen: list[Any] = []

    def decides() -> Iterator[object]:
        yield Pair(PeerId(1), PeerId(2))
        seen.append((dict(half.saw.idle), dict(half.saw.offers)))
        yield AskToSplit(PeerId(1))
        seen.append({*half.saw.quiet})

    desk.it.offers_work(PeerId(1), limits.SURPLUS_MIN_S, MANY)
    half.next = decides
    desk.it.is_idle(PeerId(2), 0.0)
    assert desk.looks() == [(1, match(2)), (1, messages.Hungry(0))]
    assert seen == [({}, {}), {2, 3}]


def test_the_strategy_is_called_when_something_changed_and_not_else() -> None:
    half = ScriptedController()
    desk = Desk(strategy_of(half))
    calls = half.calls
    desk.looks()
    desk.it.gets_work(PeerId(1))  # it was not idle
    desk.looks()
    assert half.calls == calls
    changes: list[Callable[[], None]] = [
        lambda: desk.it.is_idle(PeerId(1), 0.0),
        lambda: desk.it.gets_work(PeerId(1)),
        lambda: desk.it.offers_work(PeerId(2), 1.0, MANY),
        lambda: desk.it.joined(PeerId(9), where(9)),
        lambda: desk.it.left(PeerId(9)),
    ]
    for change in changes:
        change()
        desk.looks()
        calls += 1
        assert half.calls == calls


def test_who_waits_for_a_donor_that_leaves_is_told() -> None:
    desk = Desk(strategy_of())
    desk.it.asks_through(PeerId(2), PeerId(1))
    assert desk.said() == [(1, match(2))]
    desk.it.asks_through(PeerId(3), PeerId(1))
    desk.it.is_idle(PeerId(3), 0.0)  # it has been refused, and waits no more
    desk.said()
    desk.it.left(PeerId(1))
    assert desk.said() == [(2, messages.NoWork(PeerId(1), PeerId(2)))]


@pytest.mark.parametrize("donor", [2, 99, 0])
def test_nobody_is_asked_in_the_name_of_others_who_is_not_there_or_oneself(donor: int) -> None:
    desk = Desk(strategy_of())
    desk.it.asks_through(PeerId(2), PeerId(donor))
    assert desk.said() == [(2, messages.NoWork(PeerId(donor), PeerId(2)))]


# --- which strategy


POLLS: dict[str, Any] = {"polls": True, "knows_peers": True}


def test_a_worker_hears_first_of_all_which_strategy_is_in_force() -> None:
    desk = Desk(strategy_of(name="quiet"))
    desk.it.joined(PeerId(9), where(9))
    assert desk.said() == [(9, messages.Balance("quiet", False))]


def test_work_is_told_of_only_to_strategies_that_poll() -> None:
    cases: list[tuple[dict[str, Any], bool]] = [({}, False), (POLLS, True)]
    for flags, told in cases:
        desk = Desk(strategy_of(name="x", **flags))
        desk.it.govern(desk.it.name, work=True)
        expected = [(worker, messages.Balance("x", True)) for worker in (1, 2, 3)]
        assert desk.said() == (expected if told else [])
        desk.it.govern(desk.it.name, work=True)
        assert desk.said() == []
        desk.it.joined(PeerId(9), where(9))
        assert desk.said() == [(9, messages.Balance("x", told))]
        desk.it.govern(desk.it.name, work=False)
        expected = [(worker, messages.Balance("x", False)) for worker in (1, 2, 3, 9)]
        assert desk.said() == (expected if told else [])


def test_another_strategy_knows_nothing_yet_and_everybody_hears_of_it() -> None:
    one, other = ScriptedController(), ScriptedController()
    desk = Desk(strategy_of(one, name="one"), strategy_of(other, name="other", **POLLS))
    desk.it.offers_work(PeerId(1), 1.0, MANY)
    one.next = [AskToSplit(PeerId(3))]
    desk.it.is_idle(PeerId(2), 0.5)
    desk.looks()
    desk.it.govern("one", work=False)
    assert desk.looks() == []
    desk.it.govern("other", work=False)
    assert desk.it.name == "other"
    assert (dict(desk.it.offers), dict(desk.it.idle), [*desk.it.quiet]) == ({}, {2: 0.5}, [2, 1, 3])
    assert desk.it.richest(PeerId(0)) is None
    calls = one.calls
    assert desk.looks() == [
        *((worker, messages.Balance("other", False)) for worker in (1, 2, 3)),
        *((worker, messages.Peers(introduced(1, 2, 3), ())) for worker in (1, 2, 3)),
    ]
    assert (one.calls, other.calls) == (calls, 1)


def test_a_strategy_that_comes_back_tells_everything_anew() -> None:
    desk = Desk(strategy_of(name="plain"), strategy_of(name="telling", knows_peers=True, shares_idle=True))
    desk.it.is_idle(PeerId(2), 0.0)
    for now in (1.0, 2.0):
        desk.it.govern("telling", work=False)
        said = desk.looks(now)
        for worker in (1, 2, 3):
            assert (worker, messages.Peers(introduced(1, 2, 3), ())) in said
            assert (worker, messages.IdleNews((PeerId(2),), ())) in said
        desk.it.govern("plain", work=False)
        assert {type(message) for _, message in desk.looks(now)} == {messages.Balance}


def test_a_strategy_is_made_once_and_its_half_at_every_change() -> None:
    loaded: list[str] = []
    halves: list[str] = []

    class Counted(Strategy):
        def controller(self) -> ControllerStrategy:
            halves.append(self.name)
            return ControllerStrategy()

    def load(name: str) -> Strategy:
        loaded.append(name)
        kind: type[Strategy] = type(name, (Counted,), {"name": name})
        return kind()

    it = Balancer(load, "a", lambda peer, message: None)  # noqa: ARG005
    for name in ("b", "a", "a", "b"):
        assert it.problem_of(name) is None
        it.govern(name, work=False)
    assert loaded == ["a", "b"]
    assert halves == ["a", "a", "b", "b", "a", "b"]  # each is made once to see whether it can be


def test_why_there_is_no_such_strategy() -> None:
    desk = Desk()
    assert desk.it.problem_of("rp") is None
    assert "there is no strategy 'other'; there are: arr, " in str(desk.it.problem_of("other"))
    assert desk.it.name == "sb"


# --- news


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["joins", "leaves", "idle", "placed", "busy", "looks"]), numbers, st.floats(0.0, 0.001)
        ),
        max_size=50,
    )
)
def test_the_copies_of_all_workers_are_the_list_once_the_news_are_out(steps: list[tuple[str, int, float]]) -> None:
    desk = Desk(strategy_of(name="x", knows_peers=True, shares_idle=True), workers=0)
    peers: dict[int, dict[int, None]] = {}
    idle: dict[int, dict[int, None]] = {}
    joined, now = 0, 0.0
    for what, number, passed in [*steps, ("looks", 0, 1.0)]:
        peer = PeerId(number)
        there = peer in desk.it.workers
        now += passed
        if what == "joins":
            joined += 1
            desk.it.joined(PeerId(joined), where(joined))
        elif what == "leaves" and there:
            desk.it.left(peer)
        elif what == "idle" and there:
            desk.it.is_idle(peer, 0.0)
        elif what == "placed" and there:
            desk.it.gets_work(peer)
        elif what == "busy" and there:
            desk.it.offers_work(peer, 0.0, 0)
        due = desk.it.look(now)
        assert due is None or due > now
        for to, message in desk.said():
            assert to in desk.it.workers
            if isinstance(message, messages.Peers):
                copy = peers.setdefault(to, {})
                copy.update(dict.fromkeys(at.peer for at in message.joined))
                assert {*message.left} <= {*copy}
                for gone in message.left:
                    del copy[gone]
            elif isinstance(message, messages.IdleNews):
                copy = idle.setdefault(to, {})
                copy.update(dict.fromkeys(message.idle))
                for gone in message.busy:
                    del copy[gone]
        if due is None:
            for worker in desk.it.workers:
                assert [*peers[worker]] == [*desk.it.workers]  # in the order in which they joined
                assert {*idle[worker]} == {*desk.it.idle}
    assert due is None or not desk.it.workers


def test_news_are_told_only_as_the_strategy_needs_them() -> None:
    cases: list[tuple[dict[str, Any], set[type[Message]]]] = [
        ({}, set()),
        ({"knows_peers": True}, {messages.Peers}),
        ({"shares_idle": True}, {messages.IdleNews}),
    ]
    for flags, kinds in cases:
        desk = Desk(strategy_of(name="x", **flags))
        desk.it.is_idle(PeerId(1), 0.0)
        desk.it.joined(PeerId(9), where(9))
        assert {type(message) for _, message in desk.looks()} - {messages.Balance} == kinds


def test_news_that_may_not_leave_yet_are_due_later() -> None:
    desk = Desk(strategy_of(name="x", knows_peers=True))
    desk.it.joined(PeerId(9), where(9))
    due = desk.it.look(0.0)
    assert due == limits.NEWS_PER_WORKER_S * 4
    assert [type(message) for _, message in desk.said()] == [messages.Balance]
    assert desk.it.look(due) is None
    assert desk.said() == [
        *((worker, messages.Peers(introduced(9), ())) for worker in (1, 2, 3)),
        (9, messages.Peers(introduced(1, 2, 3, 9), ())),
    ]


# --- strategies that say nonsense


@pytest.mark.parametrize("wanted", [0, -5, 10**9, 1.5, True, None, "3", [], math.nan])
def test_a_grant_is_within_reason_whatever_the_strategy_wants(wanted: Any) -> None:
    half = ScriptedController()
    desk = Desk(strategy_of(half))
    half.granted = lambda tasks: wanted  # noqa: ARG005
    granted = desk.it.grant(7)
    assert type(granted) is int
    assert granted == (1 if wanted in (0, -5) else 7)


def test_a_strategy_may_grant_less() -> None:
    half = ScriptedController()
    half.granted = lambda tasks: tasks // 2
    assert [Desk(strategy_of(half)).it.grant(tasks) for tasks in (1, 2, 9)] == [1, 1, 4]


@pytest.mark.parametrize("aim", [2, 0, 99, -1, None, "1", 1.0, True, [], math.nan])
def test_nobody_is_named_who_is_not_there_or_asks_itself(aim: Any) -> None:
    half = ScriptedController()
    desk = Desk(strategy_of(half))
    half.aim = lambda view, asker: aim  # noqa: ARG005
    desk.it.asks_target(PeerId(2))
    assert desk.said() == [(2, messages.Target(PeerId(0), "", 0))]


def test_a_target_is_named_with_its_address() -> None:
    half = ScriptedController()
    desk = Desk(strategy_of(half))
    half.aim = lambda view, asker: view.workers[asker % 3]
    desk.it.asks_target(PeerId(2))
    assert desk.said() == [(2, messages.Target(PeerId(3), "host", 1003))]


def raises(*args: object) -> Any:  # noqa: ARG001
    raise ValueError("a bug")


def raises_later() -> Iterator[object]:
    yield Pair(PeerId(1), PeerId(2))
    raise ValueError("a bug")


@pytest.mark.parametrize("said", [raises, raises_later, lambda: 17, lambda: None])
def test_a_balance_that_fails_is_kept_and_the_next_one_counts(said: Callable[[], Any]) -> None:
    half = ScriptedController()
    desk = Desk(strategy_of(half, name="x", knows_peers=True))
    desk.it.is_idle(PeerId(2), 0.0)
    half.next = said
    desk.it.joined(PeerId(9), where(9))
    kinds = [type(message) for _, message in desk.looks()]
    assert kinds == [messages.Balance, *([messages.Match] if said is raises_later else []), *[messages.Peers] * 4]
    assert isinstance(desk.it.error, ValueError | TypeError)
    half.next = [Pair(PeerId(1), PeerId(3))]
    desk.it.is_idle(PeerId(3), 0.0)
    assert (1, match(3)) in desk.looks()


def test_a_target_and_a_grant_that_fail_are_as_if_there_were_none() -> None:
    half = ScriptedController()
    desk = Desk(strategy_of(half))
    half.aim = raises
    desk.it.asks_target(PeerId(2))
    assert desk.said() == [(2, messages.Target(PeerId(0), "", 0))]
    assert isinstance(desk.it.error, ValueError)
    desk.it.error = None
    half.granted = raises
    assert desk.it.grant(5) == 5
    assert isinstance(desk.it.error, ValueError)


@pytest.mark.parametrize(
    "endless",
    [lambda: repeat(Pair(PeerId(1), PeerId(2))), lambda: repeat(AskToSplit(PeerId(1))), lambda: repeat("nonsense")],
)
def test_a_balance_without_end_is_ended(endless: Callable[[], Iterator[object]]) -> None:
    half = ScriptedController()
    desk = Desk(strategy_of(half))
    desk.it.is_idle(PeerId(2), 0.0)
    half.next = endless
    assert len(desk.looks()) <= 1


def test_a_half_that_is_none_balances_nothing() -> None:
    none: Any = type("Odd", (Strategy,), {"name": "odd", "controller": lambda self: None})()  # noqa: ARG005
    desk = Desk(none)
    desk.it.is_idle(PeerId(2), 0.0)
    assert desk.looks() == []
    assert isinstance(desk.it.error, AttributeError)
    assert desk.it.grant(5) == 5
    desk.it.asks_target(PeerId(2))
    assert desk.said() == [(2, messages.Target(PeerId(0), "", 0))]
