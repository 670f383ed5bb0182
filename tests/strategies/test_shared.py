"""The shared idle list: when a worker speaks, whom a donor picks, and what a copy that is out of date costs."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet import limits
from lbnet.protocol import messages
from lbnet.strategies.base import LookAgain, Offer, TellBusy, TellIdle, WorkerDecision
from lbnet.strategies.shared import SharedIdleList
from lbnet.types import JobId, PeerId
from tests.core.team import Team
from tests.strategies.views import Board, peers, view_of

BUSY = {"free_slots": 0, "stock_s": 10.0, "told_idle_s": None}
RICH = {**BUSY, "surplus_s": 5.0}


def decides(**changes: object) -> list[WorkerDecision]:
    return list(SharedIdleList().worker().balance(view_of(**changes)))


# --- what a worker decides


def test_it_says_when_it_becomes_idle_and_when_it_ceases_to_be() -> None:
    assert decides(told_idle_s=None) == [TellIdle()]
    assert decides(told_idle_s=0.0, listed=True) == []
    assert decides(**BUSY, listed=True) == [TellBusy()]
    assert decides(**BUSY, listed=False) == []


def test_who_is_about_to_run_dry_stays_on_the_list() -> None:
    low_s = 0.9 * limits.IDLE_AHEAD_S
    assert decides(free_slots=0, stock_s=low_s, told_idle_s=None) == [TellIdle()]
    assert decides(free_slots=0, stock_s=low_s, told_idle_s=low_s, listed=True) == []


def test_surplus_is_offered_to_one_that_the_copy_shows_idle() -> None:
    assert decides(**RICH, idle_peers=peers(4)) == [Offer(peers(4)[0])]
    assert decides(**RICH, idle_peers=()) == []


def test_one_offer_at_a_time() -> None:
    assert decides(**RICH, idle_peers=peers(4), offering=True) == []


def test_what_is_not_worth_a_transfer_or_could_run_here_is_not_offered() -> None:
    assert decides(**BUSY, surplus_s=0.9 * limits.SURPLUS_MIN_S, idle_peers=peers(4)) == []
    assert decides(slots=2, free_slots=1, surplus_s=5.0, stock_s=9.0, told_idle_s=0.0, idle_peers=peers(4)) == []


@settings(derandomize=True, deadline=None)
@given(idle=st.lists(st.integers(4, 40), min_size=1, max_size=9, unique=True), inside=st.floats(0.01, 0.99))
def test_every_idle_one_is_picked_by_an_equal_part_of_the_chance(idle: list[int], inside: float) -> None:
    picked = [
        decision.requester
        for part in range(len(idle))
        for decision in decides(**RICH, idle_peers=peers(*idle), draw=iter([0.0, (part + inside) / len(idle)]).__next__)
        if isinstance(decision, Offer)
    ]
    assert picked == idle


@pytest.mark.parametrize(("idle", "donors"), [(1, 99), (3, 60), (10, 10), (30, 7)])
def test_about_three_donors_offer_to_each_idle_worker_at_once_and_all_if_there_are_fewer(
    idle: int, donors: int
) -> None:
    everybody, listed = peers(*range(1, idle + donors + 1)), peers(*range(1, idle + 1))
    parts = [(at + 0.5) / 1000 for at in range(1000)]
    offers = [
        decision
        for part in parts
        for decision in decides(**RICH, peers=everybody, idle_peers=listed, draw=lambda part=part: part)
        if isinstance(decision, Offer)
    ]
    assert len(offers) / len(parts) * donors == pytest.approx(min(3.0 * idle, donors), rel=0.05)


def test_who_does_not_offer_draws_again_ever_more_slowly_until_there_is_news() -> None:
    half = SharedIdleList().worker()
    rich = {**RICH, "peers": peers(*range(1, 101)), "idle_peers": peers(4), "draw": lambda: 0.99}
    waits, now = [], 1.0
    for _ in range(4):
        (decision,) = half.balance(view_of(**rich, idle_news=1, now=now))
        assert isinstance(decision, LookAgain)
        waits.append(decision.after_s)
        assert list(half.balance(view_of(**rich, idle_news=1, now=now))) == [decision], "nothing new: no new draw"
        now += decision.after_s
    assert waits == pytest.approx([waits[0] * 2**turn for turn in range(4)])
    (decision,) = half.balance(view_of(**rich, idle_news=2, now=now))
    assert decision == LookAgain(pytest.approx(waits[0]))


def test_a_refused_offer_is_a_reason_to_wait_and_an_accepted_one_is_none() -> None:
    half = SharedIdleList().worker()
    rich = {**RICH, "idle_peers": peers(2, 3, 4), "draw": lambda: 0.0}
    assert list(half.balance(view_of(**rich))) == [Offer(peers(2)[0])]
    rich["idle_peers"] = peers(3, 4)
    assert list(half.balance(view_of(**rich))) == [Offer(peers(3)[0])]
    rich["idle_peers"] = peers(4)
    (decision,) = half.balance(view_of(**rich, offers_refused=1))
    assert isinstance(decision, LookAgain)
    later = view_of(**rich, offers_refused=1, now=view_of().now + decision.after_s)
    assert list(half.balance(later)) == [Offer(peers(4)[0])]


def test_the_controller_pairs_nobody() -> None:
    assert Board(4, idle={2: 0.0}, offers={1: 9.0}).follow(SharedIdleList().controller()) == []


# --- two real workers, and one that may be idle


def test_a_donor_finds_an_idle_worker_by_itself() -> None:
    at = Team(2, "shared")
    at.advance(1.0)
    at.forget()
    at.submit(9)
    said = at.between_workers()
    assert said["AskWork"] == said["SendWork"] == said["Ack"] == 1
    assert said["Offer"] == said["AskWork"] + said["NoWork"]
    assert said["NoWork"] <= 1  # it may be offered more before the news come that it is not idle any more
    assert at.kinds(0)["Match"] == 0
    assert (at.tasks(1), at.tasks(2)) == (5, 4)


def stale() -> Team:
    """Worker 1 has a task and believes that 2 and 3 are idle; but 2 has got a task of its own meanwhile."""
    at = Team(3, "shared", placement="spread")
    at.advance(1.0)
    at.submit(1, job=JobId(1))
    at.held.add((0, 1))  # no news reach it any more
    at.submit(1, job=JobId(2))
    at.advance(1.0)
    assert [at.tasks(peer) for peer in (1, 2, 3)] == [1, 1, 0]
    assert at.posts[PeerId(1)].core.view().idle_peers == peers(2, 3)
    at.forget()
    return at


def test_a_wrong_guess_costs_one_no_work_and_nothing_else() -> None:
    at = stale()
    at.spawn(1, 8)
    offers = [(sender, to) for sender, to, message in at.said if isinstance(message, messages.Offer)]
    assert {*offers} == {(1, 2), (1, 3)}
    assert offers.count((1, 2)) == 1
    no = messages.NoWork(PeerId(1), PeerId(2))
    assert [(to, message) for sender, to, message in at.said if sender == 2] == [(1, no)]
    assert at.tasks(2) == 1
    assert at.tasks(3) > 0
    assert at.tasks(1) + at.tasks(3) == 9


def test_a_wrong_guess_is_not_made_again_before_something_new_is_heard() -> None:
    at = stale()
    at.spawn(1, 8)
    assert at.posts[PeerId(1)].core.view().idle_peers == ()
    at.forget()
    at.spawn(1, 2)
    at.advance(1.0)
    assert at.kinds()["Offer"] == 0


def test_who_is_offered_work_that_another_gave_meanwhile_does_not_take_it_twice() -> None:
    at = Team(3, "shared", placement="spread")
    at.advance(1.0)
    at.submit(2)
    at.advance(1.0)
    assert [at.tasks(peer) for peer in (1, 2, 3)] == [1, 1, 0]
    at.held |= {(1, 3), (3, 1), (2, 3), (3, 2)}
    at.spawn(1, 4)
    at.spawn(2, 4)
    at.forget()
    at.held.clear()
    at.settle()
    # Both have offered. One question is out at a time, so the other donor is refused, or asked later.
    donors = {sender for sender, to, message in at.said if isinstance(message, messages.AskWork | messages.NoWork)}
    assert donors == {3}
    assert at.kinds()["SendWork"] == at.kinds()["AskWork"] >= 1
    assert at.kinds()["AskWork"] + at.kinds()["NoWork"] == at.kinds()["Offer"] >= 2
    assert sum(at.tasks(peer) for peer in (1, 2, 3)) == 10
    assert at.tasks(3) > 0


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    workers=st.integers(2, 5),
    steps=st.lists(st.tuples(st.sampled_from(["joins", "leaves", "submits", "ends", "waits"]), st.integers(0, 7))),
)
def test_every_copy_is_the_list_of_the_controller_once_the_news_are_out(
    workers: int, steps: list[tuple[str, int]]
) -> None:
    at = Team(workers, "shared", placement="spread")
    for number, (what, which) in enumerate(steps):
        if what == "joins":
            at.joins()
        elif what == "leaves" and len(at.posts) > 1:
            at.leaves(sorted(at.posts)[which % len(at.posts)])
        elif what == "submits":
            at.submit(which + 1, job=JobId(number))
        elif what == "ends":
            at.finish(sorted(at.posts)[which % len(at.posts)])
        else:
            at.advance(0.01 * which)
    at.advance(1.0)
    idle = at.controller._balancer.idle
    for peer, post in at.posts.items():
        view = post.core.view()
        assert {*view.peers} == {*at.posts}
        # An offer takes a worker off the copy of the donor, whatever comes of it.
        assert {*view.idle_peers} <= {*idle} - {peer}
        if not any(isinstance(message, messages.Offer) for _, _, message in at.said):
            assert {*view.idle_peers} == {*idle} - {peer}


def test_news_of_the_list_are_few_however_often_it_changes() -> None:
    at = Team(4, "shared", placement="spread")
    at.advance(1.0)
    at.forget()
    at.submit(4_000)
    changes = 0
    while at.finish(1, 1e-4) | at.finish(2, 1e-4) | at.finish(3, 1e-4) | at.finish(4, 1e-4):
        changes += 4
    news = Counter(to for _, to, message in at.said if isinstance(message, messages.IdleNews))
    assert changes > 20
    assert all(count <= 2 for count in news.values())  # no time has passed: what was due at once, and no more
    at.advance(1.0)
    after = Counter(to for _, to, message in at.said if isinstance(message, messages.IdleNews))
    assert all(after[to] <= news[to] + 1 for to in after)
