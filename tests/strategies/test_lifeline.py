"""Lifelines: a few random questions, then those who remember the worker, and silence."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet.protocol import messages
from lbnet.strategies.base import Ask
from lbnet.strategies.lifeline import Lifeline, neighbours
from lbnet.types import PeerId
from tests.core.team import Team
from tests.strategies.views import Asker, peers

workers = st.integers(1, 70)


def hypercube(count: int) -> dict[PeerId, list[PeerId]]:
    everybody = peers(*range(100, 100 + count))
    return {peer: neighbours(everybody, peer) for peer in everybody}


@settings(derandomize=True, deadline=None)
@given(count=workers)
def test_lifelines_connect_all_workers_whatever_their_number(count: int) -> None:
    cube = hypercube(count)
    reached, front = {PeerId(100)}, [PeerId(100)]
    while front:
        front = [peer for found in front for peer in cube[found] if peer not in reached and not reached.add(peer)]  # type: ignore[func-returns-value]
    assert reached == set(cube)


@settings(derandomize=True, deadline=None)
@given(count=workers)
def test_each_has_at_most_log2_p_lifelines_which_go_both_ways_and_never_to_itself(count: int) -> None:
    cube = hypercube(count)
    for peer, lifelines in cube.items():
        assert len(set(lifelines)) == len(lifelines) <= (count - 1).bit_length()
        assert peer not in lifelines
        assert all(peer in cube[other] for other in lifelines)
    if count & (count - 1) == 0:
        assert all(len(lifelines) == count.bit_length() - 1 for lifelines in cube.values())


@settings(derandomize=True, deadline=None)
@given(count=st.integers(2, 70))
def test_work_reaches_anybody_in_log2_p_steps_where_p_is_a_power_of_two(count: int) -> None:
    count = 1 << (count.bit_length() - 1)
    cube = hypercube(count)
    for begin in cube:
        reached = {begin}
        for _ in range(count.bit_length() - 1):
            reached |= {peer for found in reached for peer in cube[found]}
        assert len(reached) == count


def test_a_worker_that_is_not_in_the_list_has_no_lifeline() -> None:
    assert neighbours(peers(1, 2), PeerId(3)) == []
    assert neighbours((), PeerId(3)) == []


def after_its_questions(**changes: object) -> Asker:
    asker = Asker(Lifeline().worker(), **changes)
    for _ in range(2):
        asker.asks()
    asker.view.now += 1.0
    return asker


def test_after_a_few_random_questions_all_lifelines_are_asked_at_once_to_wait() -> None:
    decided = after_its_questions().decides()
    # Worker 3 has place 2 of 5: its neighbours are the places 3 and 0, and 6, which does not exist.
    assert decided == [Ask(PeerId(4), wait=True), Ask(PeerId(1), wait=True)]


def test_while_all_lifelines_are_out_nothing_is_said_and_no_timer_runs() -> None:
    asker = after_its_questions()
    asker.view.waiting_on = frozenset(peers(4, 1))
    for _ in range(5):
        assert asker.decides() == []
        asker.view.now += 100.0


def test_only_lifelines_that_are_not_out_are_asked_again() -> None:
    asker = after_its_questions()
    asker.view.waiting_on = frozenset(peers(1))
    assert asker.decides() == [Ask(PeerId(4), wait=True)]


def test_after_work_it_begins_with_random_questions() -> None:
    asker = after_its_questions()
    asker.view.waiting_on = frozenset(peers(4, 1))
    asker.view.refusals = 0
    (decision,) = asker.decides()
    assert isinstance(decision, Ask)
    assert not decision.wait


def test_a_worker_that_still_runs_something_takes_no_lifeline() -> None:
    asker = after_its_questions()
    asker.view.free_slots, asker.view.stock_s, asker.view.told_idle_s = 0, 0.001, 0.001
    assert asker.decides() == []


def test_lifelines_follow_the_list_of_workers() -> None:
    asker = after_its_questions()
    asker.decides()
    asker.view.peers = peers(1, 2, 3, 4, 5, 6, 7)
    assert [decision.donor for decision in asker.decides() if isinstance(decision, Ask)] == [4, 1, 7]


def test_a_worker_alone_asks_nobody() -> None:
    asker = Asker(Lifeline().worker(), peers=peers(3))
    assert asker.decides() == []
    for _ in range(5):
        asker.is_refused()
        asker.view.now += 1.0
    assert asker.decides() == []


# --- real workers, of which the first has all the work


def waiting(workers: int) -> Team:
    """Worker 1 runs one task, and all others have fallen back on their lifelines."""
    at = Team(workers, "lifeline")
    at.submit(1)
    at.advance(1.0)
    at.forget()
    return at


@pytest.mark.parametrize("count", [2, 5, 8])
def test_while_they_wait_nobody_says_anything_and_no_timer_goes_off(count: int) -> None:
    at = waiting(count)
    assert at.advance(1_000.0) == 0
    assert at.said == []


def test_work_goes_along_a_lifeline_as_soon_as_there_is_some() -> None:
    at = waiting(2)
    at.spawn(1, 8)
    assert (at.tasks(1), at.tasks(2)) == (5, 4)
    assert at.between_workers() == {"Offer": 1, "AskWork": 1, "OpenJob": 1, "Function": 1, "SendWork": 1, "Ack": 1}


@pytest.mark.parametrize("count", [3, 5, 8])
def test_everybody_gets_some_over_lifelines_alone(count: int) -> None:
    at = waiting(count)
    at.spawn(1, 64 * count)
    ran = at.run_out()
    assert {*ran} == {*at.posts}
    assert min(ran.values()) > 64 * count / count / 8


def test_a_lifeline_is_served_once_and_asked_again_when_the_work_is_done() -> None:
    at = waiting(2)
    at.spawn(1, 1)
    assert at.tasks(2) == 1
    at.forget()
    at.finish(2)
    at.advance(1.0)
    asked = [message.wait for message in at.heard(1, messages.AskWork) if isinstance(message, messages.AskWork)]
    assert asked == [False, False, True]
    assert at.advance(1_000.0) == 0
