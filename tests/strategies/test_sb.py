"""The scheduler-based strategy: who is paired with whom, and when a worker speaks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet import limits
from lbnet.strategies.base import AskToSplit, ControllerDecision, Pair, TellIdle, TellNonIdle
from lbnet.strategies.sb import SchedulerBased
from lbnet.types import PeerId
from tests.strategies.views import Board, view_of


def balance(
    workers: int, idle: dict[int, float], offers: dict[int, float], asked: tuple[int, ...] = ()
) -> list[ControllerDecision]:
    return Board(workers, idle, offers, asked).follow(SchedulerBased().controller())


def pair(donor: int, requester: int) -> Pair:
    return Pair(PeerId(donor), PeerId(requester))


def split(worker: int) -> AskToSplit:
    return AskToSplit(PeerId(worker))


# --- at the controller


def test_nothing_is_decided_when_nobody_is_idle() -> None:
    assert balance(3, idle={}, offers={}) == []
    assert balance(3, idle={}, offers={1: 5.0, 2: 1.0}) == []


def test_an_idle_worker_is_matched_with_the_richest_offer() -> None:
    assert balance(4, idle={2: 0.0}, offers={1: 1.0, 3: 9.0, 4: 5.0}) == [pair(3, 2)]


def test_an_offer_goes_to_whoever_has_been_idle_longest() -> None:
    assert balance(3, idle={3: 0.0, 2: 0.0}, offers={1: 5.0})[0] == pair(1, 3)


def test_who_has_nothing_comes_before_who_runs_low() -> None:
    assert balance(3, idle={3: 0.04, 2: 0.0}, offers={1: 5.0}) == [pair(1, 2), pair(1, 3)]


def test_equal_offers_are_taken_in_a_fixed_order() -> None:
    assert balance(4, idle={4: 0.0}, offers={3: 5.0, 1: 5.0, 2: 5.0}) == [pair(1, 4)]


def test_several_pairs_are_made_at_once_and_half_of_an_offer_stands_after_each() -> None:
    decisions = balance(6, idle={4: 0.0, 5: 0.0, 6: 0.0}, offers={1: 3.0, 2: 5.0})
    assert decisions == [pair(2, 4), pair(1, 5), pair(2, 6)]


def test_what_is_left_of_an_offer_must_be_worth_a_transfer() -> None:
    low = limits.SURPLUS_MIN_S
    assert balance(4, idle={2: 0.0, 3: 0.0, 4: 0.0}, offers={1: 2 * low}) == [
        *(pair(1, 2), pair(1, 3)),
        split(1),
    ]
    assert balance(4, idle={2: 0.0, 3: 0.0}, offers={1: low}) == [pair(1, 2), split(1), split(4)]


def test_nobody_gives_to_itself() -> None:
    assert balance(1, idle={1: 0.01}, offers={1: 5.0}) == []
    assert balance(2, idle={1: 0.01, 2: 0.02}, offers={1: 5.0}) == [pair(1, 2)]


def test_two_who_run_low_do_not_swap_work() -> None:
    assert balance(2, idle={2: 0.04}, offers={1: 0.05}) == []
    assert balance(2, idle={2: 0.04}, offers={1: 0.08}) == [pair(1, 2)]


def test_workers_that_run_something_are_asked_to_split_when_nobody_offers() -> None:
    assert balance(4, idle={2: 0.0}, offers={}) == [split(1), split(3), split(4)]


def test_nobody_is_asked_to_split_for_workers_that_still_have_something() -> None:
    assert balance(3, idle={2: 0.01}, offers={}) == []


def test_only_so_many_are_asked_to_split_in_one_step() -> None:
    assert balance(1_000, idle={2: 0.0}, offers={}) == [split(worker) for worker in (1, 3, 4, 5, 6, 7, 8, 9)]
    assert balance(1_000, idle={2: 0.0}, offers={}, asked=(1, 3))[0] == split(4)


def test_nobody_is_asked_to_split_twice_or_while_its_offer_stands() -> None:
    assert balance(5, idle={3: 0.0, 2: 0.04}, offers={2: 0.05}, asked=(4,)) == [pair(2, 3)]
    assert balance(5, idle={3: 0.0, 1: 0.0}, offers={2: 1e-4}, asked=(4,)) == [pair(2, 3), split(2), split(5)]


def test_a_stale_offer_of_the_only_idle_worker_does_not_hide_the_others() -> None:
    assert balance(2, idle={2: 0.03}, offers={2: 5.0, 1: 3.0}) == [pair(1, 2)]


def test_nobody_is_asked_to_split_when_all_are_idle() -> None:
    assert balance(2, idle={1: 0.0, 2: 0.0}, offers={}) == []


seconds = st.sampled_from([0.0, 1e-4, 0.01, 0.02, 0.05, 1.0, 1.5, 30.0])
peers = st.integers(1, 14)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    idle=st.dictionaries(peers, seconds),
    offers=st.dictionaries(peers, seconds.filter(bool)),
    asked=st.frozensets(peers),
)
def test_whatever_the_view_its_decisions_make_sense(
    idle: dict[int, float], offers: dict[int, float], asked: frozenset[int]
) -> None:
    decisions = balance(14, idle, offers, tuple(asked))
    pairs = [(decision.donor, decision.requester) for decision in decisions if isinstance(decision, Pair)]
    asked_now = [decision.worker for decision in decisions if isinstance(decision, AskToSplit)]
    assert len({requester for _, requester in pairs}) == len(pairs)
    left_s = dict(offers)
    for donor, requester in pairs:
        assert donor in offers
        assert requester in idle
        assert donor != requester
        assert left_s[donor] >= 2 * idle[requester]
        left_s[donor] /= 2
    waiting = {worker for worker in idle if idle[worker] <= 0} - {requester for _, requester in pairs}
    empty = {worker for worker in idle if idle[worker] <= 0}
    still_offer = {donor for donor, seconds_left in left_s.items() if seconds_left >= limits.SURPLUS_MIN_S}
    quiet = asked | empty | still_offer | {requester for _, requester in pairs}
    assert waiting <= empty
    assert asked_now == ([worker for worker in range(1, 15) if worker not in quiet][:8] if waiting else [])
    assert decisions == balance(14, idle, offers, tuple(asked))
    # Nobody with nothing to do waits beside an offer of another one.
    left = [donor for donor in offers if left_s[donor] >= limits.SURPLUS_MIN_S]
    assert all(donor == worker for donor in left for worker in waiting)


# --- at a worker


def decide(**changes: object) -> list[str]:
    """What a worker with work for all of its slots and no news would say after these changes."""
    plain: dict[str, object] = {
        "slots": 2, "free_slots": 0, "stock_s": 10.0, "surplus_s": 0.0, "told_idle_s": None, "offered_s": 0.0,
        "unit_completed": True,
    }  # fmt: skip
    said = SchedulerBased().worker().balance(view_of(**{**plain, **changes}))
    return ["idle" if decision == TellIdle() else "nonidle" for decision in said if _known(decision)]


def _known(decision: object) -> bool:
    assert isinstance(decision, TellIdle | TellNonIdle)
    return True


LOW_S = limits.IDLE_AHEAD_S * 2 * 0.9


def test_a_worker_without_news_says_nothing() -> None:
    assert decide() == []


def test_idle_is_said_before_the_worker_runs_dry() -> None:
    assert decide(stock_s=LOW_S) == ["idle"]
    assert decide(stock_s=limits.IDLE_AHEAD_S * 2) == []
    assert decide(stock_s=LOW_S, slots=1) == []


def test_idle_is_said_once_until_it_is_answered() -> None:
    assert decide(stock_s=LOW_S, told_idle_s=LOW_S) == []


def test_idle_is_said_again_when_a_slot_is_free_that_was_not() -> None:
    assert decide(stock_s=0.0, free_slots=1, told_idle_s=LOW_S) == ["idle"]
    assert decide(stock_s=0.0, free_slots=1, told_idle_s=0.0) == []
    assert decide(stock_s=0.0, free_slots=2, told_idle_s=None) == ["idle"]


def test_a_free_slot_is_told_however_long_the_others_will_run() -> None:
    assert decide(stock_s=1_000.0, free_slots=1) == ["idle"]


def test_surplus_is_offered_once_per_completed_unit() -> None:
    assert decide(surplus_s=1.0) == ["nonidle"]
    assert decide(surplus_s=1.0, unit_completed=False) == []


def test_a_surplus_that_is_not_worth_a_transfer_is_not_offered() -> None:
    assert decide(surplus_s=limits.SURPLUS_MIN_S * 0.9) == []
    assert decide(surplus_s=limits.SURPLUS_MIN_S) == ["nonidle"]


@pytest.mark.parametrize(("surplus_s", "said"), [(0.5, []), (1.9, []), (2.0, ["nonidle"])])
def test_a_standing_offer_is_said_again_when_it_has_doubled(surplus_s: float, said: list[str]) -> None:
    assert decide(surplus_s=surplus_s, offered_s=1.0) == said


def test_the_strategy_has_its_name_and_makes_new_halves() -> None:
    strategy = SchedulerBased()
    assert strategy.name == "sb"
    assert strategy.controller() is not strategy.controller()
    assert strategy.worker() is not strategy.worker()
