"""What a worker says to others: questions, answers, offers and gifts, one at a time and each of them answered."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet import limits
from lbnet.core.effects import Connect, Effect, Send
from lbnet.core.exchange import Exchange
from lbnet.core.introductions import Introductions
from lbnet.protocol import messages
from lbnet.protocol.messages import Message
from lbnet.strategies.base import WorkerView
from lbnet.types import CONTROLLER, ROOT, Address, Batch, JobId, Payload, PeerId

ME, PEER, OTHER, THIRD, STRANGER = map(PeerId, (5, 6, 7, 8, 99))
TASK_S = 0.1


class Shop:
    """What there is to give: so many queued tasks of ``TASK_S`` each, all of them surplus."""

    def __init__(self) -> None:
        self.queued = 0
        self.running = False
        self.trapped = False
        self.reclaims = False
        self.longest_s = 0.0

    def queued_tasks(self) -> int:
        return self.queued

    def surplus_s(self) -> float:
        return self.queued * TASK_S

    def take_back(self) -> bool:
        return self.reclaims

    def traps(self) -> bool:
        return self.trapped

    def runs(self) -> bool:
        return self.running

    def donate(self, seconds: float, size_bytes_max: float = math.inf) -> tuple[Batch, ...]:  # noqa: ARG002
        tasks = max(1, round(seconds / TASK_S))
        self.queued -= tasks
        lo = self.queued
        return (Batch(JobId(1), ROOT, lo, lo + tasks, 0, ROOT, 0, Payload(lo, tasks, b"f", b"items")),)

    def introduce(self, batch: Batch, to: PeerId, link: Introductions | None) -> None:
        pass


class Scene:
    """A worker with a free slot, which knows three others."""

    def __init__(self, queued: int = 0) -> None:
        self.view = WorkerView(ME, random.Random(1).random, slots=1, free_slots=1)
        self.shop = Shop()
        self.shop.queued = queued
        self.effects: list[Effect] = []
        self.it = Exchange(self.view, self.shop, self.effects.append)
        self.now = 100.0
        joined = tuple(messages.Introduction(peer, "host", 1000 + peer) for peer in (ME, PEER, OTHER, THIRD))
        self.it.peers_changed(messages.Peers(joined, ()))

    def does(self) -> list[Effect]:
        done = list(self.effects)
        self.effects.clear()
        return done

    def links(self, *linked: PeerId) -> Scene:
        for peer in linked:
            self.it.linked(peer)
        return self

    def asks(self, peer: PeerId, *, wait: bool = False) -> list[Effect]:
        self.it.ask(peer, wait=wait)
        return self.does()

    def is_asked(self, peer: PeerId, stock_s: float = 0.0, *, wait: bool = False) -> list[Effect]:
        self.it.is_asked(peer, messages.AskWork(stock_s, wait), self.now)
        return self.gives()

    def is_matched(self, peer: PeerId) -> list[Effect]:
        self.it.is_matched(messages.Match(peer, "host", 1000 + peer), self.now)
        return self.gives()

    def gives(self) -> list[Effect]:
        self.it.give(self.now)
        return self.does()

    def is_refused(self, donor: PeerId) -> bool:
        return self.it.is_refused(messages.NoWork(donor, ME))


def where(peer: PeerId) -> Address:
    return Address("host", 1000 + peer)


def said(to: PeerId, message: Message) -> list[Effect]:
    return [Send(to, message)]


def asked(peer: PeerId, stock_s: float = 0.0, *, wait: bool = False) -> list[Effect]:
    return said(peer, messages.AskWork(stock_s, wait))


def refusal(requester: PeerId, to: PeerId | None = None) -> list[Effect]:
    return said(requester if to is None else to, messages.NoWork(ME, requester))


def given_to(done: list[Effect]) -> list[PeerId]:
    """Whom work was sent to."""
    return [effect.to for effect in done if isinstance(effect, Send) and isinstance(effect.message, messages.SendWork)]


# --- questions


def test_a_question_opens_a_link_and_waits_for_it() -> None:
    at = Scene()
    assert at.asks(PEER) == [Connect(PEER, where(PEER))]
    assert at.view.asking
    assert at.it.asks == 0
    assert at.links(PEER).does() == asked(PEER)
    assert at.it.asks == 1


def test_a_question_over_a_link_that_is_open_is_asked_at_once() -> None:
    assert Scene().links(PEER).asks(PEER) == asked(PEER)


def test_one_question_at_a_time() -> None:
    at = Scene().links(PEER, OTHER)
    at.asks(PEER)
    assert at.asks(OTHER) == at.asks(PEER) == []
    at.it.ask_target()
    assert at.does() == []
    assert at.is_refused(PEER)
    assert not at.view.asking
    assert at.asks(OTHER) == asked(OTHER)


def test_questions_that_wait_may_be_many_but_one_for_each_donor() -> None:
    at = Scene().links(PEER, OTHER, THIRD)
    assert at.asks(PEER, wait=True) == asked(PEER, wait=True)
    assert at.asks(OTHER, wait=True) == asked(OTHER, wait=True)
    assert not at.view.asking
    assert at.view.waiting_on == {PEER, OTHER}
    assert at.asks(PEER, wait=True) == at.asks(PEER) == []
    assert at.asks(THIRD) == asked(THIRD)


@pytest.mark.parametrize("donor", [ME, CONTROLLER, STRANGER, None, "6", 6.0, True, [], {}])
@pytest.mark.parametrize("wait", [False, True])
def test_questions_to_nobody_in_particular_are_not_asked(donor: Any, wait: bool) -> None:
    at = Scene().links(PEER)
    assert at.asks(donor, wait=wait) == []
    at.it.offer(donor)
    assert at.does() == []
    assert not at.view.asking
    assert not at.view.offering
    assert at.view.waiting_on == frozenset()


def test_what_is_left_is_told_and_a_free_slot_has_nothing_left() -> None:
    at = Scene().links(PEER, OTHER)
    at.view.stock_s = 0.04
    assert at.asks(PEER) == asked(PEER, 0.0)
    at.is_refused(PEER)
    at.view.free_slots = 0
    assert at.asks(OTHER) == asked(OTHER, 0.04)


def test_refusals_are_counted_until_work_comes() -> None:
    at = Scene().links(PEER, OTHER)
    for number, donor in enumerate((PEER, OTHER, PEER), 1):
        at.asks(donor)
        assert at.is_refused(donor)
        assert (at.view.refusals, at.it.refusals, at.it.asks) == (number, number, number)
    at.asks(PEER)
    at.it.work_came(PEER)
    assert (at.view.refusals, at.view.asking) == (0, False)
    assert (at.it.refusals, at.it.asks) == (3, 4)


def test_work_from_somebody_else_leaves_the_question_open() -> None:
    at = Scene().links(PEER)
    at.asks(PEER)
    at.it.work_came(OTHER)
    at.it.work_came(CONTROLLER)
    assert at.view.asking


def test_a_refusal_that_nobody_asked_for_answers_no_question() -> None:
    at = Scene().links(PEER)
    assert not at.is_refused(OTHER)
    at.asks(PEER)
    assert not at.is_refused(OTHER)
    assert at.view.asking
    assert at.view.refusals == 0


# --- questions that cannot be asked directly


def test_a_question_to_a_worker_that_cannot_be_reached_goes_through_the_controller() -> None:
    at = Scene()
    at.asks(PEER)
    at.it.not_reached(PEER)
    assert at.does() == said(CONTROLLER, messages.AskThrough(PEER))
    assert at.view.asking
    assert at.it.asks == 1
    at.it.linked(PEER)  # the donor reaches us, to give: it is not asked again
    assert at.does() == []
    at.it.work_came(PEER)
    assert not at.view.asking


def test_what_was_asked_through_the_controller_is_given_without_a_link() -> None:
    at = Scene(queued=8)
    assert at.is_matched(PEER) == [Connect(PEER, where(PEER))]
    at.it.not_reached(PEER)
    (effect,) = at.gives()
    assert isinstance(effect, Send)
    assert (effect.to, type(effect.message)) == (CONTROLLER, messages.Relay)
    assert at.gives() == []


def test_what_was_asked_through_the_controller_is_refused_through_it() -> None:
    assert Scene().is_matched(PEER) == refusal(PEER, to=CONTROLLER)


@pytest.mark.parametrize("linked", [False, True])
def test_a_link_that_breaks_is_the_answer_to_the_question(linked: bool) -> None:
    at = Scene()
    if linked:
        at.links(PEER)
    at.asks(PEER)
    assert at.it.unlinked(PEER) == []
    assert (at.view.asking, at.view.refusals) == (False, 1)
    assert at.asks(PEER) == [Connect(PEER, where(PEER))]


def test_a_link_that_breaks_ends_the_wait_on_it_and_no_other() -> None:
    at = Scene().links(PEER, OTHER)
    at.asks(PEER, wait=True)
    at.asks(OTHER, wait=True)
    at.it.unlinked(PEER)
    assert at.view.waiting_on == {OTHER}
    assert at.view.refusals == 1


def test_who_has_left_is_not_asked() -> None:
    at = Scene()
    at.it.peers_changed(messages.Peers((), (PEER,)))
    assert at.asks(PEER) == []
    assert not at.view.asking


# --- targets


def test_the_controller_is_asked_whom_to_ask() -> None:
    at = Scene()
    at.it.ask_target()
    assert at.does() == said(CONTROLLER, messages.AskTarget(0.0))
    assert at.view.asking
    at.it.ask_target()
    assert at.does() == []
    at.it.is_targeted(messages.Target(STRANGER, "far", 1))
    assert (at.view.target, at.view.asking) == (STRANGER, False)
    assert at.asks(STRANGER) == [Connect(STRANGER, Address("far", 1))]
    assert at.view.target is None


@pytest.mark.parametrize("peer", [CONTROLLER, ME])
def test_nobody_to_ask_is_a_refusal(peer: PeerId) -> None:
    at = Scene()
    at.it.ask_target()
    at.it.is_targeted(messages.Target(peer, "", 0))
    assert (at.view.target, at.view.asking, at.view.refusals) == (None, False, 1)


def test_a_target_that_nobody_asked_for_is_ignored() -> None:
    at = Scene()
    at.it.is_targeted(messages.Target(STRANGER, "far", 1))
    assert at.view.target is None
    assert at.asks(STRANGER) == []


# --- offers


def test_an_offer_is_made_to_one_at_a_time() -> None:
    at = Scene().links(PEER, OTHER)
    at.it.idle_changed(messages.IdleNews((PEER, ME, OTHER), ()))
    assert [*at.view.idle_peers] == [PEER, OTHER]
    at.view.surplus_s = 3.0
    at.it.offer(PEER)
    assert at.does() == said(PEER, messages.Offer(3.0))
    assert at.view.offering
    at.it.offer(OTHER)
    assert at.does() == []


@pytest.mark.parametrize("how", ["refused", "unreachable", "its link breaks"])
def test_whom_it_has_offered_work_in_vain_it_takes_off_its_copy(how: str) -> None:
    at = Scene().links(PEER)
    at.it.idle_changed(messages.IdleNews((PEER, OTHER), ()))
    requester = OTHER if how == "unreachable" else PEER
    at.it.offer(requester)
    if how == "refused":
        at.it.is_refused(messages.NoWork(ME, requester))
    elif how == "unreachable":
        at.it.not_reached(requester)
    else:
        at.it.unlinked(requester)
    assert not at.view.offering
    assert [*at.view.idle_peers] == [PEER if requester == OTHER else OTHER]


def test_an_offer_is_answered_by_a_question_or_a_no() -> None:
    at = Scene().links(PEER)
    at.it.offer(PEER)
    assert at.it.is_refused(messages.NoWork(ME, PEER))
    assert not at.view.offering
    assert at.view.refusals == 0
    at.it.offer(PEER)
    at.is_asked(PEER)
    assert not at.view.offering


def test_the_no_of_somebody_else_does_not_answer_the_offer() -> None:
    at = Scene().links(PEER)
    at.it.offer(PEER)
    assert at.it.is_refused(messages.NoWork(ME, OTHER))
    assert at.view.offering


def test_an_offer_over_a_link_that_breaks_is_over() -> None:
    at = Scene().links(PEER)
    at.it.offer(PEER)
    at.it.unlinked(PEER)
    assert not at.view.offering


def test_an_offer_to_a_worker_that_cannot_be_reached_becomes_a_gift_through_the_controller() -> None:
    at = Scene(queued=8)
    at.it.offer(PEER)
    assert at.does() == [Connect(PEER, where(PEER))]
    at.it.not_reached(PEER)
    assert not at.view.offering
    (effect,) = at.gives()
    assert isinstance(effect, Send)
    assert isinstance(effect.message, messages.Relay)
    assert effect.message.requester == PEER


def test_who_is_offered_work_asks_for_it_if_it_wants_some() -> None:
    at = Scene().links(STRANGER)
    at.it.is_offered(STRANGER, 1.0)
    assert at.does() == asked(STRANGER)


@pytest.mark.parametrize(("stock_s", "surplus_s", "asks"), [(0.01, 0.02, True), (0.01, 0.019, False)])
def test_an_offer_that_would_be_refused_when_asked_for_is_not_asked_for(
    stock_s: float, surplus_s: float, asks: bool
) -> None:
    at = Scene().links(PEER)
    at.view.free_slots, at.view.stock_s = 0, stock_s
    at.it.is_offered(PEER, surplus_s)
    assert at.does() == (asked(PEER, stock_s) if asks else said(PEER, messages.NoWork(PEER, ME)))


@pytest.mark.parametrize("reason", ["it has enough", "it asks somebody else"])
def test_who_is_offered_work_and_wants_none_says_no(reason: str) -> None:
    at = Scene().links(PEER, OTHER)
    if reason == "it has enough":
        at.view.free_slots, at.view.stock_s = 0, 10.0
    else:
        at.asks(OTHER)
    at.it.is_offered(PEER, 1.0)
    assert at.does() == said(PEER, messages.NoWork(PEER, ME))


def test_an_offer_of_whom_it_asks_already_needs_no_answer() -> None:
    at = Scene().links(PEER, OTHER)
    at.asks(PEER)
    at.it.is_offered(PEER, 1.0)
    assert at.does() == []


def test_an_offer_of_whom_it_waits_for_ends_the_wait_and_is_answered() -> None:
    at = Scene().links(PEER, OTHER)
    at.asks(OTHER, wait=True)
    at.it.is_offered(OTHER, 1.0)
    assert at.does() == asked(OTHER)
    assert (at.view.asking, at.view.waiting_on) == (True, frozenset())
    at.asks(PEER, wait=True)
    at.it.is_offered(PEER, 1.0)  # it asks somebody else just now
    assert at.does() == said(PEER, messages.NoWork(PEER, ME))
    assert at.view.waiting_on == frozenset()


# --- giving


def test_who_asks_gets_half_of_the_surplus() -> None:
    at = Scene(queued=8).links(PEER, OTHER)
    assert given_to(at.is_asked(PEER)) == [PEER]
    assert at.shop.queued == 4
    assert given_to(at.is_asked(OTHER)) == [OTHER]
    assert at.shop.queued == 2
    assert sum(held.hi - held.lo for held in at.it.spans()) == 6


@pytest.mark.parametrize(("stock_s", "gets"), [(0.0, True), (0.39, True), (0.41, False), (5.0, False)])
def test_nothing_is_given_to_who_is_not_much_poorer(stock_s: float, gets: bool) -> None:
    at = Scene(queued=8).links(PEER)  # 0.8 s
    done = at.is_asked(PEER, stock_s)
    assert given_to(done) == ([PEER] if gets else [])
    assert gets or done == refusal(PEER)


@pytest.mark.parametrize("stock_s", [float("nan"), float("inf"), -1.0])
def test_impossible_stocks_count_as_none(stock_s: float) -> None:
    assert given_to(Scene(queued=8).links(PEER).is_asked(PEER, stock_s)) == [PEER]


def test_who_asks_while_nothing_runs_here_is_refused_at_once() -> None:
    assert Scene().links(PEER).is_asked(PEER) == refusal(PEER)


def test_while_a_task_runs_it_may_split_for_whoever_asks_and_then_no_means_no() -> None:
    at = Scene().links(PEER)
    at.shop.running = True
    assert at.is_asked(PEER) == []
    assert at.it.wanted
    due = at.it.patience_at()
    assert due == at.now + limits.POLL_PATIENCE_S
    assert at.gives() == []
    at.now = due
    assert at.gives() == refusal(PEER)
    assert at.it.patience_at() is None
    assert not at.it.wanted


def test_what_splits_in_time_is_given() -> None:
    at = Scene().links(PEER)
    at.shop.running = True
    at.is_asked(PEER)
    at.shop.queued = 2
    at.now += limits.POLL_PATIENCE_S / 2
    assert given_to(at.gives()) == [PEER]
    assert at.it.patience_at() is None


def test_for_whom_the_controller_sends_only_what_is_trapped_is_waited_for() -> None:
    at = Scene().links(PEER)
    at.shop.running = True
    assert at.is_matched(PEER) == refusal(PEER)
    at.shop.trapped = True
    assert at.is_matched(PEER) == []
    due = at.it.patience_at()
    assert due == at.now + limits.CLAIM_DOUBT_S
    at.now = due
    assert at.gives() == refusal(PEER)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(now=st.floats(0.0, 1e9), polled=st.booleans())
def test_patience_ends_when_it_says_so_whatever_the_time(now: float, polled: bool) -> None:
    at = Scene().links(PEER)
    at.shop.running = at.shop.trapped = True
    at.now = now
    done = at.is_asked(PEER) if polled else at.is_matched(PEER)
    due = at.it.patience_at()
    if due is None:
        assert done == refusal(PEER)
        return
    assert due > now
    at.now = due
    assert at.gives() == refusal(PEER)
    assert at.it.patience_at() is None


def test_while_slots_are_asked_for_their_tails_nobody_is_refused() -> None:
    at = Scene().links(PEER)
    at.shop.reclaims = True
    assert at.is_asked(PEER) == []
    assert at.it.patience_at() is None
    at.shop.reclaims = False
    assert at.gives() == refusal(PEER)


def test_a_requester_whose_link_breaks_before_it_could_get_anything_hears_of_it() -> None:
    at = Scene().links(PEER)
    at.shop.running = True
    at.is_asked(PEER)
    at.it.unlinked(PEER)
    assert at.does() == refusal(PEER, to=CONTROLLER)
    assert at.it.patience_at() is None


def test_what_was_sent_and_not_acknowledged_comes_back_with_the_link() -> None:
    at = Scene(queued=8).links(PEER)
    at.is_asked(PEER)
    (back,) = at.it.unlinked(PEER)
    assert len(back) == 4
    assert at.it.spans() == []
    assert at.does() == refusal(PEER, to=CONTROLLER)


def test_an_acknowledgement_counts_from_the_requester_or_the_controller() -> None:
    at = Scene(queued=8).links(PEER)
    at.is_asked(PEER)
    for peer, number in ((OTHER, 1), (PEER, 2), (PEER, -1)):
        at.it.acknowledged(peer, number)
        assert at.it.spans() != []
    at.it.acknowledged(PEER, 1)
    assert at.it.spans() == []


# --- requesters that wait


def test_who_waits_is_not_refused_but_remembered() -> None:
    at = Scene().links(PEER)
    assert at.is_asked(PEER, wait=True) == []
    at.now += 1_000.0
    assert at.gives() == []
    assert at.it.patience_at() is None
    at.shop.queued = 4
    assert at.gives() == said(PEER, messages.Offer(at.shop.surplus_s()))
    assert not at.it.wanted
    at.shop.queued = 4
    assert at.gives() == []  # once
    assert given_to(at.is_asked(PEER)) == [PEER]


def test_who_waits_is_no_reason_for_a_timer_while_a_task_runs() -> None:
    at = Scene().links(PEER)
    at.shop.running = True
    assert at.is_asked(PEER, wait=True) == []
    assert at.it.patience_at() is None


def test_all_who_wait_are_offered_something_while_there_is_some() -> None:
    at = Scene().links(PEER, OTHER, THIRD)
    for peer in (OTHER, PEER, THIRD):
        at.is_asked(peer, wait=True)
    at.shop.queued = 2
    offer = messages.Offer(at.shop.surplus_s())
    assert at.gives() == [Send(OTHER, offer), Send(PEER, offer)]  # as many as there are tasks
    assert at.it.wanted
    assert at.gives() == [Send(THIRD, offer)]
    assert not at.it.wanted


def test_who_waits_over_a_link_that_breaks_is_forgotten() -> None:
    at = Scene().links(PEER)
    at.is_asked(PEER, wait=True)
    at.it.unlinked(PEER)
    assert not at.it.wanted
    at.shop.queued = 4
    assert at.gives() == []


# --- another strategy


def test_another_strategy_begins_without_questions() -> None:
    at = Scene().links(PEER, OTHER, THIRD)
    at.it.idle_changed(messages.IdleNews((PEER,), ()))
    at.asks(PEER)
    at.asks(OTHER, wait=True)
    at.it.offer(THIRD)
    at.it.anew()
    view = at.view
    assert (view.asking, view.offering, view.target, view.refusals) == (False, False, None, 0)
    assert (view.waiting_on, view.peers, view.idle_peers) == (frozenset(), (), ())
    at.does()
    assert at.asks(OTHER) == asked(OTHER)
    # A late answer to a question of the last one is none to a question of this one.
    assert not at.is_refused(PEER)
    assert at.view.refusals == 0


def test_a_target_that_the_last_strategy_asked_for_is_not_taken() -> None:
    at = Scene()
    at.it.ask_target()
    at.it.anew()
    at.it.is_targeted(messages.Target(PEER, "host", 1))
    assert at.view.target is None


def test_a_link_that_the_last_strategy_wanted_is_not_used() -> None:
    at = Scene()
    at.asks(PEER)
    at.it.anew()
    assert at.links(PEER).does() == []
    at.it.not_reached(OTHER)
    assert at.does() == []


def test_who_asked_under_the_last_strategy_still_gets_an_answer() -> None:
    at = Scene().links(PEER, OTHER)
    at.shop.running = True
    at.is_asked(PEER)
    at.is_asked(OTHER, wait=True)
    at.it.anew()
    at.now += limits.POLL_PATIENCE_S
    assert at.gives() == refusal(PEER)
    at.shop.queued = 8
    assert at.gives() == []  # who waited asks anew, if its strategy wants it


# --- anything at all

peers = st.sampled_from([CONTROLLER, ME, PEER, OTHER, THIRD, STRANGER])


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(
                ["ask", "lifeline", "target", "offer", "link", "lost", "unreachable", "refused", "work", "asked"]
                + ["asked to wait", "matched", "offered", "targeted", "queue", "anew", "idle", "left", "waits"]
            ),
            peers,
        ),
        max_size=40,
    )
)
def test_whatever_happens_every_requester_is_served_refused_or_remembered(steps: list[tuple[str, PeerId]]) -> None:
    at = Scene()
    at.shop.running = True
    for what, peer in steps:
        if what in {"ask", "lifeline"}:
            at.it.ask(peer, wait=what == "lifeline")
        elif what == "target":
            at.it.ask_target()
        elif what == "offer":
            at.it.offer(peer)
        elif what == "link" and peer not in {ME, CONTROLLER}:
            at.it.linked(peer)
        elif what == "lost":
            at.it.unlinked(peer)
        elif what == "unreachable" and peer not in {ME, CONTROLLER}:
            at.it.not_reached(peer)
        elif what == "refused":
            at.is_refused(peer)
        elif what == "work":
            at.it.work_came(peer)
        elif what in {"asked", "asked to wait"} and peer in at.it._links:
            at.is_asked(peer, wait=what == "asked to wait")
        elif what == "matched":
            at.is_matched(peer)
        elif what == "offered" and peer in at.it._links:
            at.it.is_offered(peer, 1.0)
        elif what == "targeted":
            at.it.is_targeted(messages.Target(peer, "host", 1))
        elif what == "queue":
            at.shop.queued += 3
        elif what == "anew":
            at.it.anew()
        elif what == "idle":
            at.it.idle_changed(messages.IdleNews((peer,), ()))
        elif what == "left":
            at.it.peers_changed(messages.Peers((), (peer,)))
        elif what == "waits":
            at.now += limits.CLAIM_DOUBT_S
        at.gives()
        assert at.shop.queued >= 0
        assert at.view.asking == (at.it._target_asked or any(not asks.wait for asks in at.it._asks.values()))
        assert at.view.waiting_on == {donor for donor, asks in at.it._asks.items() if asks.wait}
        assert sum(not asks.wait for asks in at.it._asks.values()) + at.it._target_asked <= 1
    at.shop.queued, at.shop.running = 0, False
    at.now += 1.0
    # Only those remain for whom a link is being opened, and those who asked to wait.
    at.gives()
    assert not at.it._gifts
