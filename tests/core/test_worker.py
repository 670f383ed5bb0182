from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise, repeat
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet import limits
from lbnet.core import events
from lbnet.core.effects import Connect, Disconnect, Effect, Forget, Reclaim, Run, Send
from lbnet.errors import UsageError
from lbnet.protocol import messages
from lbnet.protocol.messages import Message
from lbnet.strategies import registry
from lbnet.strategies.base import AskTarget, LookAgain, Strategy, TellIdle, TellNonIdle, WorkerStrategy
from lbnet.strategies.sb import SchedulerBased
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
    RunId,
    SlotId,
    Span,
)
from tests.core.scripted import ScriptedWorker, strategy_of
from tests.core.worker_desk import (
    DEATH,
    FED,
    FN,
    HUNGRY,
    JOB,
    ME,
    OTHER,
    PEER,
    REDUCE,
    RUN,
    SPAWNED,
    Desk,
    ack,
    busy,
    failed,
    has_job,
    idle,
    in_one_ticket,
    member,
    opening,
    result,
    run,
    tasks,
    teach,
    told,
    values,
    work,
)

pytestmark = pytest.mark.usefixtures("results_at_once")

# --- slots


def test_work_goes_to_the_slots() -> None:
    desk = Desk(slots=2)
    has_job(desk)
    batch = tasks(0, 4)
    assert desk.hears(work(batch)) == [
        teach(0),
        run(1, batch.part(0, 1), 0),
        teach(1),
        run(2, batch.part(1, 2), 1, slot=1),
        FED,
    ]


def test_the_next_task_follows_when_a_slot_is_free() -> None:
    desk = busy(3)
    assert desk.done(1, values(0, 1)) == [result(values(0, 1))]
    assert desk.finished(1, 1) == [run(2, tasks(0, 3).part(1, 2), 1)]


def test_small_tasks_travel_together_and_ahead_of_time() -> None:
    desk = busy(401)
    batch = tasks(0, 401)
    # About SLOT_BATCH_S of work at a time.
    assert desk.done(1, values(0, 1, 0.001)) == [result(values(0, 1, 0.001)), run(2, batch.part(1, 101), 1)]
    assert desk.finished(1, 1) == [run(3, batch.part(101, 201), 101)]


def test_no_slot_gets_more_than_its_share() -> None:
    desk = busy(10, slots=2)
    batch = tasks(0, 10)
    assert desk.done(1, values(0, 1, 0.001)) == [
        result(values(0, 1, 0.001)),
        run(3, batch.part(2, 6), 2),
        run(4, batch.part(6, 8), 6, slot=1),
    ]


def test_work_waits_for_a_slot_that_is_ready() -> None:
    desk = Desk(ready=False)
    has_job(desk)
    assert desk.hears(work(tasks(0, 1))) == []
    assert desk.event(events.SlotReady(SlotId(0), 1)) == [teach(), run(1, tasks(0, 1), 0)]


def test_a_function_is_taught_once_to_each_slot_and_again_to_a_new_process() -> None:
    desk = busy(3)
    desk.done(1, values(0, 1))
    assert desk.finished(1, 1) == [run(2, tasks(0, 3).part(1, 2), 1)]
    assert desk.dies() == []
    assert desk.ready() == [teach(), run(3, tasks(0, 3).part(1, 2), 2)]


def test_the_function_that_combines_is_taught_too() -> None:
    options = JobOptions(reduce=REDUCE, task_timeout_s=3.0)
    desk = Desk()
    has_job(desk, options)
    said = desk.hears(work(tasks(0, 1)))
    assert said == [teach(), teach(digest=REDUCE), run(1, tasks(0, 1), 0, options=options), FED]


def test_a_slot_that_spawned_a_function_is_taught_it_before_it_runs_it() -> None:
    desk = busy(1)
    assert desk.event(events.SlotTaught(SlotId(0), JOB, SPAWNED, SPAWNED)) == []
    child = tasks(0, 1, RUN, fn=SPAWNED)
    assert desk.event(events.SlotSpawned(SlotId(0), 1, child)) == []
    desk.done(1, values(0, 1))
    assert desk.finished(1, 1) == [teach(digest=SPAWNED), run(2, child, 1)]


def test_what_a_slot_left_out_goes_back_to_the_queue() -> None:
    desk = in_one_ticket()
    desk.done(2, values(1, 4, 0.03))
    # The gap is the first to run again: the slot was asked for the tail, and both sides let it go.
    assert desk.finished(2, 4) == [run(4, tasks(0, 27).part(4, 11), 21)]


def one_free_slot() -> Desk:
    """Slot 0 holds the items 2 to 12 and 27 to 35, of 10 ms each; slot 1 has run all others."""
    desk = Desk(slots=2)
    has_job(desk)
    desk.hears(work(tasks(0, 42)))
    desk.done(1, values(0, 1, 0.01))
    desk.finished(1, 1)
    for ticket, lo, hi in ((2, 1, 2), (4, 12, 27), (6, 35, 39), (7, 39, 41)):
        desk.done(ticket, values(lo, hi, 0.01 * (hi - lo)), slot=1)
        desk.finished(ticket, hi, slot=1)
    desk.done(8, values(41, 42, 0.01), slot=1)
    return desk


def test_the_tail_of_a_busy_slot_is_taken_back_for_a_free_one() -> None:
    desk = one_free_slot()
    assert desk.finished(8, 42, slot=1) == [Reclaim(SlotId(0), 3, 7), Reclaim(SlotId(0), 5, 31), HUNGRY]
    batch = tasks(0, 42)
    first = desk.reclaimed(3, 7)
    assert first == [run(9, batch.part(7, 10), 42, slot=1), run(10, batch.part(10, 11), 45, slot=1), FED]
    assert desk.reclaimed(5, 31) == []


def test_a_tail_that_had_started_stays_where_it_is() -> None:
    desk = one_free_slot()
    desk.finished(8, 42, slot=1)
    assert desk.reclaimed(3, 12) == []
    assert desk.reclaimed(5, 35) == []
    assert desk.core.held() == [span(2, 12), span(27, 35)]


# --- IDLE and NONIDLE


def sb() -> WorkerStrategy:
    return SchedulerBased().worker()


def test_a_worker_without_work_says_idle_once() -> None:
    desk = Desk(strategy=sb(), ready=False)
    assert desk.event(events.SlotReady(SlotId(0), 1)) == [idle(), HUNGRY]
    assert desk.event(events.Tick()) == []
    assert desk.hears(messages.NoWork(PEER, ME)) == [idle()]


def test_a_worker_says_idle_before_it_runs_dry_and_again_when_it_has() -> None:
    desk = busy(3, strategy=sb())
    assert desk.done(1, values(0, 1, 0.02)) == [result(values(0, 1, 0.02)), idle(0.04)]
    assert desk.finished(1, 1) == [run(2, tasks(0, 3).part(1, 3), 1)]
    assert desk.done(2, values(1, 3, 0.04)) == [result(values(1, 3, 0.04))]
    assert desk.finished(2, 3) == [idle(0.0), HUNGRY]


def test_a_worker_that_will_run_dry_at_once_says_so_when_it_has() -> None:
    desk = busy(1, strategy=sb())
    assert idle() in [*desk.done(1, values(0, 1, 1e-5)), *desk.finished(1, 1)]
    assert desk.hears(work(tasks(1, 2), transfer=2)) == [run(2, tasks(1, 2), 1), FED]
    assert idle() in [*desk.done(2, values(1, 2, 1e-5)), *desk.finished(2, 2)]


def test_all_behind_a_task_that_lasts_is_taken_back_however_short_it_is() -> None:
    desk = busy(21)
    desk.links(PEER)
    assert desk.done(1, values(0, 1, 1e-6))[1:] == [run(2, tasks(0, 21).part(1, 21), 1)]
    desk.finished(1, 1)
    desk.now += 1.01 * limits.CLAIM_DOUBT_S
    assert desk.hears(match()) == [Reclaim(SlotId(0), 2, 2), HUNGRY]
    assert desk.reclaimed(2, 2) == [*sent(tasks(0, 21).part(11, 21)), FED]
    # The rest is in no slot, as ours would not begin it soon. The next who asks gets of it at once.
    assert desk.core._queue.spans() == [span(2, 11)]
    desk.links(OTHER)
    assert sent(tasks(0, 21).part(7, 11), 2, OTHER)[-1] in desk.hears(match(OTHER))
    assert desk.core._queue.spans() == [span(2, 7)]


def test_a_slot_that_sits_in_a_long_task_gets_no_second_ticket() -> None:
    desk = busy(1)
    desk.done(1, values(0, 1, 1e-3))
    desk.finished(1, 1)
    desk.hears(work(tasks(1, 2), transfer=2))
    desk.now += 1.01 * limits.CLAIM_DOUBT_S
    assert not [effect for effect in desk.hears(work(tasks(2, 9), transfer=3)) if type(effect) is Run]
    assert desk.core._queue.tasks == 7
    assert [effect for effect in desk.finished(2, 2) if type(effect) is Run]


def test_what_the_controller_gives_is_not_acknowledged_and_what_it_passes_on_is() -> None:
    desk = Desk()
    has_job(desk)
    assert ack() not in desk.hears(work(tasks(0, 1)))
    assert ack(2) in desk.hears(work(tasks(1, 2), transfer=2, donor=PEER))


def test_a_task_that_lasts_is_news_and_nothing_that_happens_meanwhile_puts_it_off() -> None:
    desk = with_tails()
    desk.hears(messages.Hungry(1))
    desk.core._view.unit_completed = False
    at = desk.core._trapped_at
    assert at < math.inf
    for share in (0.3, 0.6, 0.9):
        desk.now = share * at
        desk.event(events.Tick())
        assert desk.core._trapped_at == at
        assert not desk.core._view.unit_completed
    desk.now = at
    desk.event(events.Tick())
    assert desk.core._view.unit_completed


def test_a_worker_says_idle_anew_when_its_work_was_of_no_use() -> None:
    desk = Desk(strategy=sb())
    assert desk.hears(work(tasks(0, 1))) == [idle()]


def test_nonidle_is_said_at_most_once_for_each_completed_unit() -> None:
    strategy = ScriptedWorker()
    desk = busy(9, strategy=strategy)
    strategy.next = [TellNonIdle(), TellNonIdle()]
    assert desk.event(events.Tick()) == [told(messages.NonIdle(0.8, 8))]
    strategy.next = [TellNonIdle()]
    assert desk.event(events.Tick()) == []
    strategy.next = [TellNonIdle()]
    assert desk.done(1, values(0, 1)) == [result(values(0, 1)), told(messages.NonIdle(0.8, 8))]


def test_a_worker_without_surplus_does_not_offer_any() -> None:
    strategy = ScriptedWorker()
    desk = busy(1, strategy=strategy)
    strategy.next = [TellNonIdle()]
    assert desk.event(events.Tick()) == []


def test_a_worker_without_a_ready_slot_says_nothing() -> None:
    desk = Desk(strategy=sb(), ready=False)
    assert desk.event(events.Tick()) == []


# --- strategies that say nonsense


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("error", [ValueError("a bug"), Unprintable(), RecursionError()])
def test_a_strategy_that_raises_is_followed_up_to_there(error: Exception) -> None:
    strategy = ScriptedWorker()
    desk = busy(9, strategy=strategy)

    def fails() -> Any:
        yield TellNonIdle()
        raise error

    strategy.next = fails
    assert desk.done(1, values(0, 1)) == [result(values(0, 1)), told(messages.NonIdle(0.8, 8))]
    assert desk.core.strategy_error is error
    # All else goes on, and so does the strategy.
    assert desk.finished(1, 1) == [run(2, tasks(0, 9).part(1, 2), 1)]
    strategy.next = [TellIdle()]
    assert desk.event(events.Tick()) == [idle(0.8)]


@pytest.mark.parametrize("decisions", [None, 17, [None, 3, "TellIdle", TellIdle]])
def test_decisions_that_make_no_sense_are_ignored(decisions: Any) -> None:
    strategy = ScriptedWorker()
    desk = busy(9, strategy=strategy)
    strategy.next = decisions
    assert desk.event(events.Tick()) == []


def test_idle_is_said_once_however_often_the_strategy_says_so() -> None:
    strategy = ScriptedWorker()
    desk = busy(2, strategy=strategy)
    strategy.next = [TellIdle(), TellIdle()]
    assert desk.event(events.Tick()) == [idle(0.2)]
    strategy.next = [TellIdle()]
    assert desk.event(events.Tick()) == []


def test_a_worker_without_work_says_idle_although_its_strategy_never_does() -> None:
    desk = Desk(ready=False)
    assert desk.event(events.SlotReady(SlotId(0), 1)) == [idle(), HUNGRY]


@pytest.mark.parametrize("endless", [repeat(TellIdle()), repeat(TellNonIdle()), repeat(AskTarget()), repeat(None)])
def test_decisions_without_end_are_ended(endless: Any) -> None:
    strategy = ScriptedWorker()
    desk = busy(9, strategy=strategy)
    strategy.next = endless
    assert len(desk.event(events.Tick())) <= 1


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf, -1.0, 0, 0.0, 1e300, 1e-300, None, "1", []])
def test_an_absurd_time_to_look_again_does_no_harm(seconds: Any) -> None:
    strategy = ScriptedWorker()
    desk = busy(1, strategy=strategy)
    strategy.next = [LookAgain(seconds)]
    assert desk.event(events.Tick()) == []
    if desk.timer is not None:
        assert limits.LOOK_AGAIN_MIN_S <= desk.timer - desk.now <= limits.LOOK_AGAIN_MAX_S


def test_the_earliest_time_to_look_again_counts() -> None:
    strategy = ScriptedWorker()
    desk = busy(1, strategy=strategy)
    strategy.next = [LookAgain(3.0), LookAgain(1.0), LookAgain(2.0)]
    desk.event(events.Tick())
    assert desk.timer == 1.0


def test_a_timer_is_set_only_when_it_is_needed() -> None:
    strategy = ScriptedWorker()
    desk = busy(1, strategy=strategy)
    assert desk.timer is None
    strategy.next = [LookAgain(1.0)]
    desk.event(events.Tick())
    assert desk.timer == 1.0
    desk.timer = None
    strategy.next = [LookAgain(1.0)]
    desk.now = 0.5
    desk.hears(messages.Balance("sb", False))
    assert desk.timer == 1.5  # the one that is set comes too early
    desk.timer = None
    strategy.next = [LookAgain(1.0)]
    desk.now = 0.52
    desk.hears(messages.Balance("sb", False))
    assert desk.timer is None  # the one that is set comes a little before
    strategy.next = [LookAgain(0.1)]
    desk.hears(messages.Balance("sb", False))
    assert desk.timer == 0.62
    desk.now, desk.timer = 0.62, None
    desk.event(events.Tick())
    assert desk.timer is None


# --- which strategy is in force


def in_force(strategy: str, *, work: bool = False) -> messages.Balance:
    return messages.Balance(strategy, work)


def test_the_controller_says_which_strategy_is_in_force() -> None:
    other = ScriptedWorker()
    desk = Desk(1, None, strategy_of(worker=other, name="other"))
    assert other.calls == 0
    assert desk.hears(in_force("other", work=True)) == [idle()]  # the controller may have forgotten
    assert other.calls == 1
    assert other.saw.work_exists
    desk.hears(in_force("other"))
    assert not other.saw.work_exists


def test_the_strategy_is_the_controllers_to_choose() -> None:
    other = ScriptedWorker()
    desk = Desk(1, None, strategy_of(worker=other, name="other"))
    desk.links(PEER)
    (effect,) = desk.hears(in_force("other", work=True), peer=PEER)
    assert effect == Disconnect(PEER, "the strategy is the controller's to choose")
    assert other.calls == 0


def broken() -> Strategy:
    """Its worker's half cannot be made."""

    def worker(self: Strategy) -> WorkerStrategy:
        raise ZeroDivisionError("a bug")

    made: Strategy = type("Broken", (Strategy,), {"name": "broken", "worker": worker})()
    return made


@pytest.mark.parametrize(("strategy", "error"), [("no-such", UsageError), ("broken", ZeroDivisionError)])
def test_a_worker_without_the_strategy_does_no_more_than_it_must(strategy: str, error: type[Exception]) -> None:
    desk = Desk(1, sb(), broken())
    assert desk.hears(in_force(strategy, work=True)) == [idle()]
    assert isinstance(desk.core.strategy_error, error)
    has_job(desk)
    desk.hears(work(tasks(0, 9)))
    desk.links(PEER)
    assert desk.hears(match()) == sent(tasks(0, 9).part(5, 9))  # it gives, as before
    assert desk.event(events.Tick()) == []  # and offers nothing
    assert desk.hears(in_force("sb")) == [told(messages.NonIdle(0.4, 4))]


def test_a_half_that_is_none_decides_nothing() -> None:
    none: Any = type("Odd", (Strategy,), {"name": "odd", "worker": lambda self: None})()  # noqa: ARG005
    desk = Desk(1, None, none)
    assert desk.hears(in_force("odd")) == [idle()]
    assert isinstance(desk.core.strategy_error, AttributeError)


def test_another_strategy_begins_anew() -> None:
    rp = registry.load("rp").worker()
    desk = Desk(1, rp, strategy_of(worker=ScriptedWorker(), name="other"))
    joined = tuple(messages.Introduction(peer, "host", 1) for peer in (ME, PEER))
    desk.hears(messages.Peers(joined, ()))
    assert desk.hears(in_force("sb", work=True)) == [Connect(PEER, Address("host", 1))]
    assert desk.core.view().asking
    desk.hears(in_force("other"))
    view = desk.core.view()
    assert (view.asking, view.peers, view.offered_s) == (False, (), 0.0)
    assert desk.links(PEER) == []  # nothing is asked any more


# --- giving


def match(peer: PeerId = PEER) -> messages.Match:
    return messages.Match(peer, "host", 1000)


def sent(batch: Batch, transfer: int = 1, to: PeerId = PEER) -> list[Effect]:
    return [*(Send(to, message) for message in opening()), Send(to, work(batch, transfer=transfer, donor=ME))]


def refused(to: PeerId = CONTROLLER, requester: PeerId = PEER) -> Send:
    return Send(to, messages.NoWork(ME, requester))


def span(lo: int, hi: int, origin: RunId = ROOT) -> Span:
    return Span(JOB, origin, lo, hi)


def test_a_donor_opens_a_link_and_gives_half_of_its_surplus() -> None:
    desk = busy(9)
    assert desk.hears(match()) == [Connect(PEER, Address("host", 1000))]
    assert desk.links(PEER) == sent(tasks(0, 9).part(5, 9))
    assert desk.hears(match()) == [Send(PEER, work(tasks(0, 9).part(3, 5), transfer=2, donor=ME))]


def test_a_donor_keeps_what_it_sent_until_it_is_acknowledged() -> None:
    desk = busy(9)
    desk.links(PEER)
    assert desk.hears(match()) == sent(tasks(0, 9).part(5, 9))
    assert desk.core.held() == [span(1, 5), span(0, 1), span(5, 9)]
    assert desk.hears(messages.Ack(1), peer=OTHER) == []
    assert desk.hears(messages.Ack(2), peer=PEER) == []
    assert desk.core.held() == [span(1, 5), span(0, 1), span(5, 9)]
    assert desk.hears(messages.Ack(1), peer=PEER) == []
    assert desk.core.held() == [span(1, 5), span(0, 1)]


def test_a_donor_takes_back_what_a_lost_link_may_have_lost_and_the_requester_hears_of_it() -> None:
    desk = busy(9)
    desk.links(PEER)
    desk.hears(match())
    assert desk.loses(PEER) == [refused()]
    assert desk.core.held() == [span(1, 9), span(0, 1)]
    desk.links(PEER)
    assert desk.hears(match()) == sent(tasks(0, 9).part(5, 9), transfer=2)


def test_what_was_acknowledged_is_not_taken_back() -> None:
    desk = busy(9)
    desk.links(PEER)
    desk.hears(match())
    desk.hears(messages.Ack(1), peer=PEER)
    assert desk.loses(PEER) == []
    assert desk.core.held() == [span(1, 5), span(0, 1)]


def test_a_requester_whose_link_is_lost_says_idle_again() -> None:
    desk = Desk(strategy=sb())
    desk.links(PEER)
    assert desk.loses(PEER) == [idle()]


def test_a_donor_whose_link_is_lost_before_it_could_give_says_so() -> None:
    desk = with_tails()
    assert desk.hears(match()) == [*HALF, HUNGRY]
    assert desk.loses(PEER) == [refused(), FED]
    assert desk.reclaimed(2, 11) == []
    assert desk.reclaimed(3, 21) == []


def test_work_goes_through_the_controller_when_no_link_can_be_opened() -> None:
    desk = busy(9)
    desk.hears(match())
    given = tasks(0, 9).part(5, 9)
    said = desk.event(events.Unreachable(PEER, "connection refused"))
    assert said == [told(messages.Relay(PEER, 1, (given,)))]
    assert span(5, 9) in desk.core.held()
    assert desk.hears(messages.Ack(1)) == []
    assert span(5, 9) not in desk.core.held()


def test_a_donor_without_surplus_says_so_over_the_link() -> None:
    desk = busy(1)
    desk.links(PEER)
    assert desk.hears(match()) == [refused(to=PEER)]


def test_a_donor_without_surplus_and_without_a_link_says_so_through_the_controller() -> None:
    assert busy(1).hears(match()) == [refused()]


def test_a_donor_does_not_give_away_what_its_own_slots_will_run() -> None:
    desk = Desk()
    has_job(desk)
    desk.event(events.SlotDied(SlotId(0), -1, -1, False, False, DEATH))
    desk.hears(work(tasks(0, 1)))
    desk.links(PEER)
    desk.core._compute.slots[0].ready = True
    assert desk.hears(match()) == [refused(to=PEER), teach(), run(1, tasks(0, 1), 0), FED]


def with_tails() -> Desk:
    """Nothing waits; slot 0 has ticket 2 with the items 1 to 11, and ticket 3 with those up to 21."""
    desk = busy(21)
    desk.links(PEER)
    desk.done(1, values(0, 1, 0.01))
    assert desk.finished(1, 1) == [run(3, tasks(0, 21).part(11, 21), 11)]
    return desk


HALF = [Reclaim(SlotId(0), 2, 6), Reclaim(SlotId(0), 3, 16)]
"""What a donor asks for then."""


def test_a_donor_takes_back_the_tail_of_its_slots_to_give_it_away() -> None:
    desk = with_tails()
    assert desk.hears(match()) == [*HALF, HUNGRY]
    assert desk.reclaimed(2, 6) == [*sent(tasks(0, 21).part(7, 11)), FED]
    assert desk.reclaimed(3, 16) == []
    assert sorted(held.lo for held in desk.core.held()) == [1, 6, 7, 11, 16]


def test_a_donor_whose_slots_have_started_all_of_it_has_nothing_to_give() -> None:
    desk = with_tails()
    assert desk.hears(match()) == [*HALF, HUNGRY]
    assert desk.reclaimed(2, 11) == []
    assert desk.reclaimed(3, 21) == []
    # A slot that has just begun a long task lets go of the others soon: it is asked once more.
    assert desk.waits() == HALF
    assert desk.reclaimed(2, 11) == []
    assert desk.reclaimed(3, 21) == [refused(to=PEER), FED]


def test_a_tail_that_a_long_task_has_let_go_is_given_away_after_all() -> None:
    desk = with_tails()
    desk.hears(match())
    desk.reclaimed(2, 11)
    desk.reclaimed(3, 21)
    desk.waits()
    assert desk.reclaimed(2, 6) == [*sent(tasks(0, 21).part(7, 11)), FED]


def test_what_waits_behind_an_ever_longer_task_is_offered_although_its_like_were_tiny() -> None:
    desk = Desk(strategy=sb())
    has_job(desk)
    desk.hears(work(tasks(0, 1)))
    desk.done(1, values(0, 1, 1e-6))
    desk.finished(1, 1)
    desk.hears(work(tasks(1, 3)))
    assert desk.hears(messages.Hungry(1)) in ([], [HUNGRY])
    looks = 0
    while not (said := desk.waits()):
        looks += 1
        assert looks < 20
    assert [type(effect.message) for effect in said if isinstance(effect, Send)] == [messages.NonIdle]


def test_the_looks_at_a_long_task_come_ever_later() -> None:
    desk = busy(2)
    desk.hears(messages.Hungry(1))
    times = []
    for _ in range(8):
        assert desk.timer is not None
        times.append(desk.timer)
        assert desk.waits() == []
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(later > 0.99 * earlier for earlier, later in pairwise(gaps))
    assert gaps[-1] > 8 * gaps[0]


def test_an_offer_that_the_controller_has_forgotten_is_made_again() -> None:
    desk = Desk(strategy=sb())
    has_job(desk)
    desk.hears(work(tasks(0, 40)))
    assert desk.core.view().offered_s > 0
    for index in range(39):  # it gets through all of it, and says IDLE
        desk.done(index + 1, values(index, index + 1, 0.1))
        desk.finished(index + 1, index + 1)
    desk.done(40, values(39, 40, 0.1))
    desk.finished(40, 40)
    assert desk.core.view().offered_s == 0


def test_nobody_gives_to_itself_or_to_the_controller() -> None:
    desk = busy(9)
    assert desk.hears(match(ME)) == []
    assert desk.hears(match(CONTROLLER)) == []


def test_the_donor_of_work_is_told_with_the_next_result() -> None:
    desk = Desk()
    desk.links(PEER)
    said = desk.hears(*opening(), work(tasks(0, 2), donor=PEER), peer=PEER)
    assert said == [ack(to=PEER), teach(), run(1, tasks(0, 2).part(0, 1), 0), FED]
    desk.hears(work(tasks(2, 3), donor=OTHER))
    moved = [messages.Moved(PEER, 1), messages.Moved(OTHER, 1)]
    assert desk.done(1, values(0, 1)) == [told(messages.Result(JOB, (values(0, 1),), tuple(moved)))]
    desk.finished(1, 1)
    assert desk.done(2, values(1, 2)) == [result(values(1, 2))]


# --- the hungry flag


def test_tasks_are_told_of_hunger_while_nothing_waits_here() -> None:
    desk = busy(2)
    assert desk.hears(messages.Hungry(1)) == []
    desk.done(1, values(0, 1))
    assert desk.finished(1, 1) == [run(2, tasks(0, 2).part(1, 2), 1), HUNGRY]
    child = tasks(0, 1, RunId(RUN + 1))
    assert desk.event(events.SlotSpawned(SlotId(0), 2, child)) == [FED]


def test_hunger_is_over_with_the_offer_that_it_called_for() -> None:
    strategy = ScriptedWorker()
    desk = busy(1, strategy=strategy)
    assert desk.hears(messages.Hungry(1)) == [HUNGRY]
    strategy.next = [TellNonIdle()]
    said = desk.event(events.SlotSpawned(SlotId(0), 1, tasks(0, 2, RUN)))
    assert said == [told(messages.NonIdle(0.2, 2)), FED]
    desk.links(PEER)
    desk.hears(match())
    assert desk.hears(match()) == [Send(PEER, work(tasks(0, 2, RUN).part(0, 1), transfer=2, donor=ME))]


def test_a_free_slot_makes_the_others_hungry() -> None:
    desk = Desk(slots=2)
    has_job(desk)
    assert desk.hears(work(tasks(0, 1))) == [teach(), run(1, tasks(0, 1), 0)]
    assert desk.event(events.SlotSpawned(SlotId(0), 1, tasks(0, 1, RUN))) == [
        teach(1),
        run(2, tasks(0, 1, RUN), 1, slot=1),
        FED,
    ]


# --- what tasks spawn


def test_the_result_of_a_task_names_what_it_spawned() -> None:
    desk = busy(1)
    first, second = tasks(0, 1, RUN), tasks(1, 3, RUN)
    desk.event(events.SlotSpawned(SlotId(0), 1, first))
    desk.event(events.SlotSpawned(SlotId(0), 1, second))
    parent = Group(VALUES, b"v", (member(0, 1, run=RUN),), 0.1, None)
    whole = replace(parent, members=(member(0, 1, run=RUN, children=(first, second)),))
    assert desk.done(1, parent) == [result(whole)]
    # Depth first: the newest runs next, and the oldest is at the back, where donations are taken.
    assert desk.finished(1, 1) == [run(2, second.part(1, 2), 1)]


def test_what_a_failed_run_spawned_is_dropped() -> None:
    desk = busy(2)
    desk.event(events.SlotSpawned(SlotId(0), 1, tasks(0, 2, RUN)))
    named = replace(failed(0), failure=replace(failed(0).failure, where="worker w, pid 9"))  # type: ignore[type-var]
    assert desk.done(1, failed(0)) == [result(named)]
    assert desk.core.held() == [span(1, 2)]
    assert desk.finished(1, 1) == [run(2, tasks(0, 2).part(1, 2), 1)]


def test_what_a_run_spawned_that_is_tried_again_is_dropped() -> None:
    desk = busy(1, options=JobOptions(retries=1))
    desk.event(events.SlotSpawned(SlotId(0), 1, tasks(0, 2, RUN)))
    assert desk.done(1, failed(0)) == []
    assert desk.core.held() == [span(0, 1)]


def test_what_a_killed_run_spawned_is_dropped() -> None:
    desk = busy(1)
    desk.event(events.SlotSpawned(SlotId(0), 1, tasks(0, 2, RUN)))
    assert desk.dies(1, 0) == []
    assert desk.core.held() == [span(0, 1)]


def test_what_finished_tasks_spawned_survives_their_slot() -> None:
    desk = busy(1)
    child = tasks(0, 2, RUN)
    desk.event(events.SlotSpawned(SlotId(0), 1, child))
    desk.done(1, Group(VALUES, b"v", (member(0, 1, run=RUN),), 0.1, None))
    assert desk.dies() == []
    assert desk.core.held() == [span(0, 2, RUN)]


def test_the_controller_has_the_functions_of_all_tasks_that_it_hears_of() -> None:
    desk = busy(1)
    desk.event(events.SlotTaught(SlotId(0), JOB, SPAWNED, SPAWNED))
    child = tasks(0, 1, RUN, fn=SPAWNED)
    desk.event(events.SlotSpawned(SlotId(0), 1, child))
    parent = Group(VALUES, b"v", (member(0, 1, run=RUN),), 0.1, None)
    whole = replace(parent, members=(member(0, 1, run=RUN, children=(child,)),))
    assert desk.done(1, parent) == [told(messages.Function(JOB, SPAWNED, SPAWNED)), result(whole)]


def test_a_function_that_came_from_a_worker_goes_to_the_controller_before_the_work_that_needs_it() -> None:
    desk = busy(1)
    desk.links(PEER)
    given = tasks(0, 9, RunId(6 << 44), fn=SPAWNED)
    assert desk.hears(messages.Function(JOB, SPAWNED, SPAWNED), peer=PEER) == []
    desk.hears(work(given, donor=PEER), peer=PEER)
    desk.hears(match(OTHER))
    (taught, relayed) = desk.event(events.Unreachable(OTHER, "refused"))
    assert taught == told(messages.Function(JOB, SPAWNED, SPAWNED))
    assert isinstance(relayed, Send)
    assert isinstance(relayed.message, messages.Relay)
    desk.hears(match(OTHER))
    (again,) = desk.event(events.Unreachable(OTHER, "refused"))
    assert isinstance(again, Send)
    assert isinstance(again.message, messages.Relay)


# --- failures


def test_a_failure_is_told_with_the_name_of_the_worker() -> None:
    desk = busy(2)
    assert desk.done(1, failed(0)) == [result(failed(0, where="worker w, pid 9"))]


def test_a_task_that_failed_is_tried_again_as_often_as_its_job_says() -> None:
    desk = busy(1, options=JobOptions(retries=2))
    for ticket in (1, 2):
        assert desk.done(ticket, failed(0)) == []
        assert desk.finished(ticket, 1) == [run(ticket + 1, tasks(0, 1).again(0, failures=ticket), ticket)]
    assert desk.done(3, failed(0)) == [result(failed(0, where="worker w, pid 9")), idle()]
    assert desk.finished(3, 1) == [HUNGRY]


def test_a_task_that_failed_elsewhere_has_as_many_tries_left_as_it_had_there() -> None:
    desk = Desk()
    has_job(desk, JobOptions(retries=2))
    desk.hears(work(tasks(0, 1).again(0, failures=2), donor=PEER))
    told_of = [messages.Moved(PEER, 1)]
    assert desk.done(1, failed(0)) == [result(failed(0, where="worker w, pid 9"), moved=told_of), idle()]


def test_a_task_that_killed_a_slot_elsewhere_has_as_many_lives_left_as_it_had_there() -> None:
    desk = Desk()
    has_job(desk, JobOptions(crash_limit=2))
    desk.hears(work(tasks(0, 1).again(0, crashes=1)))
    text = f"{DEATH}; attempt 2 of 2"
    (gone,) = [effect for effect in desk.dies(1, 0) if isinstance(effect, Send)]
    assert isinstance(gone.message, messages.Result)
    assert gone.message.groups[0].failure == Failure("TaskCrashedError", text, "", "worker w", b"")


def test_what_cannot_be_better_next_time_is_not_tried_again() -> None:
    desk = busy(2, options=JobOptions(retries=2))
    expected = failed(0, "ResultSerializeError", "worker w, pid 9")
    assert desk.done(1, failed(0, "ResultSerializeError")) == [result(expected)]


def test_only_the_running_task_is_blamed_for_the_death_of_its_slot() -> None:
    desk = in_one_ticket()
    desk.done(2, values(1, 3, 0.02))
    assert desk.dies(2, 4) == []
    # Its mates run first, the suspect last; nobody lost a life but the suspect.
    assert desk.core.held() == [span(3, 4), span(5, 27), span(4, 5)]
    assert [(batch.lo, batch.crashes) for batch in desk.core._queue._all() if batch.crashes] == [(4, 1)]


def test_a_slot_that_dies_between_tasks_blames_nobody() -> None:
    desk = in_one_ticket()
    assert desk.dies() == []
    assert desk.core.held() == [span(1, 27)]
    assert not any(batch.crashes or batch.failures for batch in desk.core._queue._all())


def test_a_task_that_was_reported_is_not_blamed() -> None:
    desk = in_one_ticket()
    desk.done(2, values(1, 3, 0.02))
    assert desk.dies(2, 2) == []
    assert not any(batch.crashes or batch.failures for batch in desk.core._queue._all())


def crashed(text: str, kind: str = "TaskCrashedError") -> Send:
    return result(Group(FAILED, b"", (member(0, 1),), 0.0, Failure(kind, text, "", "worker w", b"")))


def test_a_task_that_kills_its_slot_again_and_again_fails() -> None:
    desk = busy(1, options=JobOptions(crash_limit=2))
    assert desk.dies(1, 0) == []
    assert desk.ready() == [teach(), run(2, tasks(0, 1).again(0, crashes=1), 1)]
    assert desk.dies(2, 0) == [crashed(f"{DEATH}; attempt 2 of 2")]
    assert desk.core.held() == []
    assert desk.ready() == [idle(), HUNGRY]


def test_a_task_that_is_over_its_time_fails() -> None:
    desk = busy(1)
    assert desk.dies(1, 0, timed_out=True) == [crashed(f"{DEATH}; attempt 1 of 1", "TaskTimeoutError")]


def test_a_task_that_is_over_its_time_may_be_tried_again() -> None:
    options = JobOptions(retries=1, task_timeout_s=2.0)
    desk = busy(1, options=options)
    assert desk.dies(1, 0, timed_out=True) == []
    assert desk.ready() == [teach(), run(2, tasks(0, 1).again(0, failures=1), 1, options=options)]
    assert desk.dies(2, 0, timed_out=True) == [crashed(f"{DEATH}; attempt 2 of 2", "TaskTimeoutError")]


def test_results_that_come_after_the_end_of_their_ticket_count() -> None:
    desk = busy(2)
    assert desk.finished(1, 1) == [run(2, tasks(0, 2).part(1, 2), 1)]
    assert desk.core.held() == [span(0, 1), span(1, 2)]
    assert desk.done(1, values(0, 1)) == [result(values(0, 1))]
    assert desk.core.held() == [span(1, 2)]


def test_what_is_still_on_its_way_from_a_slot_is_run_again_when_the_slot_dies() -> None:
    desk = busy(2)
    desk.finished(1, 1)
    assert desk.dies() == []
    assert desk.core.held() == [span(0, 2)]
    assert desk.ready() == [teach(), run(3, tasks(0, 2).part(0, 1), 2)]


def test_what_a_slot_says_of_a_ticket_that_is_over_changes_nothing() -> None:
    desk = busy(2)
    assert desk.reclaimed(9, 0) == []
    assert desk.finished(9, 1) == []
    assert desk.done(9, values(0, 1)) == []
    assert desk.event(events.SlotSpawned(SlotId(0), 9, tasks(0, 1, RUN))) == []
    assert desk.core.held() == [span(1, 2), span(0, 1)]


# --- the end of a job


def test_the_end_of_a_job_drops_all_of_it() -> None:
    desk = in_one_ticket()
    desk.event(events.SlotSpawned(SlotId(0), 2, tasks(0, 2, RunId(RUN + 1))))
    assert desk.hears(messages.JobEnded(JOB)) == [
        Reclaim(SlotId(0), 2, 1),
        Reclaim(SlotId(0), 3, 11),
        Forget(JOB),
    ]
    assert desk.reclaimed(2, 2) == []
    assert desk.reclaimed(3, 11) == []
    # One task runs to its end, and nobody hears of it.
    assert desk.done(2, values(1, 2)) == [idle()]
    assert desk.finished(2, 2) == []
    assert desk.finished(3, 11) == [HUNGRY]
    assert desk.core.held() == []


def test_the_end_of_a_job_is_the_last_chance_to_say_where_work_came_from() -> None:
    desk = Desk()
    desk.hears(*opening(), work(tasks(0, 1), donor=OTHER))
    (first, *_) = desk.hears(messages.JobEnded(JOB))
    assert first == told(messages.Result(JOB, (), (messages.Moved(OTHER, 1),)))


def test_a_reclaim_that_is_on_its_way_does_not_save_the_rest_of_a_job_that_has_ended() -> None:
    desk = in_one_ticket()
    desk.links(PEER)
    desk.core._queue.drop_job(JOB)
    assert desk.hears(match()) == [Reclaim(SlotId(0), 2, 6), Reclaim(SlotId(0), 3, 16), HUNGRY]
    said = desk.hears(messages.JobEnded(JOB))
    assert said == [Reclaim(SlotId(0), 2, 1), Reclaim(SlotId(0), 3, 11), Forget(JOB)]


def test_late_events_of_slots_and_late_work_of_a_job_that_has_ended_change_nothing() -> None:
    desk = busy(1)
    desk.links(PEER)
    desk.hears(messages.JobEnded(JOB))
    assert desk.event(events.SlotSpawned(SlotId(0), 1, tasks(0, 1, RUN))) == []
    assert desk.event(events.SlotTaught(SlotId(0), JOB, SPAWNED, SPAWNED)) == []
    # A worker that has not heard of the end yet may introduce the job again, or go on where it was.
    assert desk.hears(messages.Function(JOB, SPAWNED, SPAWNED), peer=PEER) == []
    assert desk.hears(*opening(), peer=PEER) == []
    assert desk.hears(work(tasks(0, 1), donor=PEER), peer=PEER) == [ack(to=PEER)]
    assert desk.dies(1, 0) == []
    assert desk.hears(messages.JobEnded(JOB)) == []
    assert desk.core.held() == []


def test_what_was_sent_of_a_job_that_has_ended_is_not_taken_back() -> None:
    desk = busy(9)
    desk.links(PEER)
    desk.hears(match())
    desk.hears(messages.JobEnded(JOB))
    assert desk.loses(PEER) == [refused()]
    assert desk.core.held() == []  # one still runs, and nobody hears of it


def test_a_job_that_ends_is_introduced_anew_to_nobody_who_knew_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REPORTS_KEPT", 1)
    desk = Desk()
    desk.links(PEER)
    other = JobId(8)
    for job in (JOB, other):
        desk.hears(*opening(job=job))
        desk.hears(messages.JobEnded(job))
    # Only so many ended jobs are remembered: the oldest is open to be told of again.
    desk.hears(*opening(job=other), peer=PEER)
    assert desk.hears(messages.AskInventory(1)) == [told(messages.Inventory(1, ()))]
    assert list(desk.core._jobs) == []
    desk.hears(*opening(job=JOB), peer=PEER)
    assert list(desk.core._jobs) == [JOB]


def test_a_job_that_the_controller_opens_again_goes_on_and_what_ran_of_it_before_is_nobodys() -> None:
    """The controller has died, and did not know the job until its client came back."""
    desk = busy(2)
    desk.hears(messages.JobEnded(JOB))
    desk.hears(*opening())
    assert desk.core.held() == []
    late = Group(VALUES, b"", (Member(ROOT, 0, 1, 0, ROOT, 0, ROOT, ()),), 0.0, None)
    said = desk.event(events.SlotDone(SlotId(0), 1, 1, (late,)))
    assert not any(isinstance(effect, Send) and isinstance(effect.message, messages.Result) for effect in said)
    desk.hears(work(tasks(0, 2)))
    assert desk.core.held() != []


# --- the controller goes, and comes back


def returned(desk: Desk) -> list[Effect]:
    """The link to the controller is there again."""
    return desk.event(events.Joined(CONTROLLER, "controller", "", "", 0, 0, Address("h", 1), back=True))


def indices_of(held: Sequence[Span]) -> list[int]:
    return sorted(index for spans in held for index in range(spans.lo, spans.hi))


def rejoined(*jobs: JobId) -> Send:
    return told(messages.Rejoined(jobs))


def test_a_worker_that_lost_its_controller_goes_on_computing() -> None:
    desk = busy(3)
    assert desk.loses(CONTROLLER) == []
    desk.done(1, values(0, 1))
    assert desk.finished(1, 1) == [run(2, tasks(0, 3).part(1, 2), 1)]
    assert desk.core.held() == [span(2, 3), span(1, 2)]


def test_what_was_not_kept_is_said_again_after_the_jobs_that_are_known() -> None:
    desk = busy(3)
    desk.done(1, values(0, 1))
    desk.finished(1, 1)
    desk.loses(CONTROLLER)
    desk.done(2, values(1, 2))
    assert returned(desk) == [rejoined(JOB), result(values(0, 1), values(1, 2))]


def test_what_was_kept_is_never_said_again() -> None:
    desk = busy(3)
    desk.done(1, values(0, 1))
    assert desk.hears(messages.Kept(1)) == []
    desk.finished(1, 1)
    desk.done(2, values(1, 2))
    desk.loses(CONTROLLER)
    assert returned(desk) == [rejoined(JOB), result(values(1, 2))]
    assert desk.hears(messages.Kept(1)) == [], "the first by this link"
    desk.loses(CONTROLLER)
    assert returned(desk) == [rejoined(JOB)]


def test_until_it_hears_that_they_are_kept_results_are_said_again_by_every_new_link() -> None:
    desk = busy(2)
    desk.done(1, values(0, 1))
    for _ in range(3):
        desk.loses(CONTROLLER)
        assert returned(desk) == [rejoined(JOB), result(values(0, 1))]


def test_a_function_of_a_job_that_has_ended_is_kept_for_its_return() -> None:
    """Who said it will not say it again, and may send work once the controller has opened the job anew."""
    desk = busy(1)
    desk.links(PEER)
    desk.hears(messages.JobEnded(JOB))
    assert desk.hears(messages.OpenJob(JOB, JobOptions()), messages.Function(JOB, SPAWNED, SPAWNED), peer=PEER) == []
    desk.hears(messages.OpenJob(JOB, JobOptions()))
    assert ack(9, PEER) in desk.hears(work(tasks(0, 1, fn=SPAWNED), transfer=9, donor=PEER), peer=PEER)


def test_functions_go_before_the_results_that_need_them_by_the_new_link_too() -> None:
    """Another controller may know no more than what it was told before its journal ends."""
    desk = busy(1)
    desk.event(events.SlotTaught(SlotId(0), JOB, SPAWNED, SPAWNED))
    child = tasks(0, 1, RUN, fn=SPAWNED)
    desk.event(events.SlotSpawned(SlotId(0), 1, child))
    parent = Group(VALUES, b"v", (member(0, 1, run=RUN),), 0.1, None)
    full = result(replace(parent, members=(member(0, 1, run=RUN, children=(child,)),)))
    function = told(messages.Function(JOB, SPAWNED, SPAWNED))
    assert desk.done(1, parent) == [function, full]
    desk.loses(CONTROLLER)
    assert returned(desk) == [rejoined(JOB), function, full]


def test_results_of_a_job_that_has_ended_are_nobodys() -> None:
    desk = busy(2)
    desk.done(1, values(0, 1))
    desk.hears(messages.JobEnded(JOB))
    desk.loses(CONTROLLER)
    assert returned(desk) == [rejoined()]


def test_the_end_of_a_job_that_was_missed_is_heard_after_the_return() -> None:
    desk = busy(2)
    desk.loses(CONTROLLER)
    assert returned(desk) == [rejoined(JOB)]
    desk.hears(messages.JobEnded(JOB))
    assert (desk.core.held(), list(desk.core._jobs)) == ([], [])


def test_an_empty_worker_says_so_to_the_controller_that_is_there() -> None:
    desk = Desk(strategy=sb())
    desk.loses(CONTROLLER)
    returned(desk)
    assert desk.hears(messages.Balance("sb", False)) == [idle()]


def test_an_offer_does_not_outlive_the_link_and_is_made_again() -> None:
    desk = busy(9, strategy=sb())
    desk.done(1, values(0, 1))
    assert desk.core.view().offered_s > 0
    desk.loses(CONTROLLER)
    returned(desk)
    desk.hears(messages.Balance("sb", False))
    assert desk.core.view().offered_s == 0
    desk.finished(1, 1)
    said = [effect.message for effect in desk.done(2, values(1, 2)) if isinstance(effect, Send)]
    assert [type(message) for message in said] == [messages.Result, messages.NonIdle]


def test_work_that_was_sent_through_the_controller_runs_here_when_that_is_gone() -> None:
    desk = busy(9)
    desk.done(1, values(0, 1))
    desk.hears(match())
    said = desk.event(events.Unreachable(PEER, "refused"))
    (given,) = [effect.message for effect in said if isinstance(effect, Send)]
    assert isinstance(given, messages.Relay)
    assert desk.core._queue.tasks == 8 - sum(map(len, given.batches)) < 8
    desk.loses(CONTROLLER)
    assert desk.core._queue.tasks == 8
    desk.hears(messages.Ack(given.transfer))  # a late word changes nothing
    assert indices_of(desk.core.held()) == list(range(1, 9))


def test_a_worker_that_holds_too_many_results_runs_nothing_more_until_they_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = busy(3)
    desk.loses(CONTROLLER)
    desk.done(1, values(0, 1))
    monkeypatch.setattr(limits, "UNKEPT_BYTES_MAX", 100)
    assert not any(isinstance(effect, Run) for effect in desk.finished(1, 1))
    assert not any(isinstance(effect, Run) for effect in returned(desk))
    desk.hears(messages.Kept(1))
    assert run(2, tasks(0, 3).part(1, 2), 1) in desk.waits()


# --- what memory should not hold


def heavy(lo: int, hi: int, size: int) -> Batch:
    return replace(tasks(lo, hi), payload=Payload(lo, hi - lo, FN, bytes(size)))


def handed_back(done: list[Effect]) -> list[tuple[int, int]]:
    """What went to the controller, as ranges."""
    relays = [
        effect.message for effect in done if isinstance(effect, Send) and isinstance(effect.message, messages.Relay)
    ]
    assert all(relay.requester == CONTROLLER for relay in relays)
    return [(batch.lo, batch.hi) for relay in relays for batch in relay.batches]


def test_the_controller_takes_half_of_what_is_too_much_for_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "GRANT_BYTES_SOFT", 100)
    desk = Desk(queue_bytes=1_000)
    has_job(desk)
    assert handed_back(desk.hears(work(heavy(0, 1, 900), heavy(1, 2, 400), heavy(2, 3, 300), heavy(3, 4, 300)))) == []
    # The first one runs; 1,000 bytes wait. One more, and the last ones go until half is left.
    assert handed_back(desk.hears(work(heavy(4, 5, 1), transfer=2))) == [(4, 5), (3, 4), (2, 3)]
    assert [(span.lo, span.hi) for span in desk.core._queue.spans()] == [(1, 2)]
    assert len(desk.core.held()) == 5  # until the controller has acknowledged them
    for number in (1, 2, 3):
        desk.hears(messages.Ack(number))
    assert len(desk.core.held()) == 2


def test_what_runs_next_stays_however_large_it_is() -> None:
    desk = Desk(queue_bytes=1_000)
    has_job(desk)
    assert handed_back(desk.hears(work(heavy(0, 1, 1), heavy(1, 2, 5_000)))) == []
    assert not desk.core.holds_too_much


def test_without_its_controller_a_worker_keeps_what_it_has() -> None:
    desk = Desk(queue_bytes=1_000)
    has_job(desk)
    desk.hears(work(tasks(0, 1)))
    desk.loses(CONTROLLER)
    desk.links(PEER)
    assert handed_back(desk.hears(work(heavy(1, 2, 900), heavy(2, 3, 900), donor=PEER), peer=PEER)) == []
    assert not desk.core.holds_too_much
    assert handed_back(returned(desk)) == [(2, 3)]


# --- inventory


def test_an_inventory_lists_all_that_is_held() -> None:
    desk = in_one_ticket()
    desk.links(PEER)
    desk.hears(match())
    desk.done(2, values(1, 3, 0.02))
    said = desk.hears(messages.AskInventory(4))
    assert said == [told(messages.Inventory(4, tuple(desk.core.held())))]
    indices = sorted(index for held in desk.core.held() for index in range(held.lo, held.hi))
    assert indices == list(range(3, 27))


# --- peers that say nonsense


@pytest.mark.parametrize(
    "message",
    [
        work(replace(tasks(0, 2), hi=3), donor=PEER),
        work(replace(tasks(1, 2), lo=0), donor=PEER),
        work(tasks(0, 1), tasks(1, 2, fn=SPAWNED), donor=PEER),
        work(tasks(0, 1, fn=b""), donor=PEER),
        messages.Function(JobId(99), FN, FN),
        messages.Submit(tasks(0, 1)),
        messages.Result(JOB, (), ()),
        messages.Idle(0.0),
        messages.Inventory(1, ()),
    ],
)
def test_a_peer_that_says_nonsense_is_disconnected_and_not_believed(message: Message) -> None:
    desk = Desk()
    has_job(desk)
    desk.links(PEER)
    (effect,) = desk.hears(message, peer=PEER)
    assert isinstance(effect, Disconnect)
    assert effect.peer == PEER
    assert effect.reason
    assert desk.core.held() == []


small = st.integers(0, 4)
peers = st.integers(0, 8).map(PeerId)
some = st.lists(peers, max_size=3).map(tuple)
jobs = st.sampled_from([JOB, JobId(1)])
runs = st.sampled_from([ROOT, RUN, RunId(6 << 44)])
digests = st.sampled_from([FN, REDUCE, b"", SPAWNED])
reals = st.sampled_from([0.0, -1.0, 0.01, 1e300])
batches = st.builds(
    lambda job, origin, lo, count, base, size, digest: Batch(
        job, origin, lo, lo + count, 0, ROOT, 0, Payload(base, size, digest, b"i")
    ),
    jobs, runs, small, st.integers(1, 3), small, st.integers(1, 5), digests,
) | st.builds(lambda lo, count: tasks(lo, lo + count), small, st.integers(1, 9))  # fmt: skip
anything = st.one_of(
    st.builds(messages.OpenJob, jobs, st.builds(JobOptions, reduce=st.sampled_from([b"", REDUCE]))),
    st.builds(messages.Function, jobs, digests, st.just(b"f")),
    st.builds(messages.SendWork, small, peers, st.lists(batches, max_size=3).map(tuple)),
    st.builds(messages.NoWork, peers, peers),
    st.builds(messages.Match, peers, st.just("host"), small),
    st.builds(messages.Hungry, small),
    st.builds(messages.Ack, small),
    st.builds(messages.JobEnded, jobs),
    st.builds(messages.AskInventory, small),
    st.builds(messages.Submit, batches),
    st.builds(messages.NonIdle, reals, small),
    st.builds(messages.Balance, st.sampled_from(["?", *registry.BUILT_IN]), st.booleans()),
    st.builds(messages.Peers, st.lists(st.builds(messages.Introduction, peers, st.just("h"), small)).map(tuple), some),
    st.builds(messages.IdleNews, some, some),
    st.builds(messages.AskWork, reals, st.booleans()),
    st.builds(messages.Target, peers, st.just("host"), small),
    st.builds(messages.Offer, reals),
)


class Slots:
    """The pool's side: it runs whole tickets, or takes back all that it can."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.tickets: dict[int, Run] = {}
        self.answers: list[events.Event] = []

    def follow(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Run):
                self.tickets[effect.ticket] = effect
            elif isinstance(effect, Reclaim):
                taken_from = max(effect.limit, self.tickets[effect.ticket].batch.lo + 1)
                self.answers.append(events.Reclaimed(effect.slot, effect.ticket, taken_from))
        while self.answers:
            self.follow(self.desk.event(self.answers.pop(0)))

    def finish(self) -> None:
        """The oldest ticket ends, with results for what is left of it."""
        number = next(iter(self.tickets), None)
        if number is not None:
            ran = self.tickets.pop(number)
            ends = {ticket.number: ticket.end for slot in self.desk.core._compute.slots for ticket in slot.tickets}
            lo, hi = ran.batch.lo, ends.get(number, ran.batch.lo)
            if lo < hi:
                kind = VALUES if ran.batch.origin == ROOT else COMBINED if ran.reduce else SILENT
                group = Group(kind, b"v", (member(lo, hi, ran.batch.origin),), 0.001, None)
                self.follow(self.desk.event(events.SlotDone(ran.slot, number, hi, (group,))))
            self.follow(self.desk.event(events.SlotFinished(ran.slot, number, hi)))


@settings(deadline=None, max_examples=300, derandomize=True)
@given(
    happenings=st.lists(
        st.one_of(
            st.tuples(st.just("says"), peers, anything),
            st.tuples(st.just("links"), peers, st.none()),
            st.tuples(st.just("leaves"), st.integers(1, 8).map(PeerId), st.none()),
            st.tuples(st.just("unreachable"), peers, st.none()),
            st.tuples(st.just("finishes"), peers, st.none()),
            st.tuples(st.just("waits"), peers, st.none()),
        ),
        max_size=40,
    ),
    slots=st.integers(1, 3),
    strategy=st.sampled_from(registry.BUILT_IN),
)
def test_whatever_peers_say_nothing_is_raised(happenings: list[Any], slots: int, strategy: str) -> None:
    desk = Desk(slots, registry.load(strategy).worker())
    desk.hears(messages.Balance("sb", True))
    pool = Slots(desk)
    has_job(desk)
    pool.follow(desk.hears(work(tasks(0, 20))))
    for what, peer, message in happenings:
        if what == "says":
            if isinstance(message, messages.AskWork | messages.Offer):
                # No link lets the controller say that, nor anybody else before it is open.
                said_by = PeerId(max(peer, 1))
                pool.follow(desk.links(said_by))
                pool.follow(desk.hears(message, peer=said_by))
            else:
                pool.follow(desk.hears(message, peer=peer))
        elif what == "links":
            pool.follow(desk.links(peer))
        elif what == "leaves":
            pool.follow(desk.loses(peer))
        elif what == "unreachable":
            pool.follow(desk.event(events.Unreachable(peer, "refused")))
        elif what == "waits" and desk.timer is not None:
            pool.follow(desk.waits())
            assert desk.timer is None or desk.timer > desk.now
        else:
            pool.finish()
    while pool.tickets:
        pool.finish()
    assert desk.core._queue.tasks == 0
    assert not isinstance(desk.core.strategy_error, TypeError | AttributeError | IndexError | ZeroDivisionError)
