"""Clients and workers whose link was lost: what a controller keeps for them, for how long, and how they go on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lbnet import limits
from lbnet.core import events
from lbnet.core.controller import Controller
from lbnet.core.effects import Disconnect, Effect, Send
from lbnet.core.job import Job
from lbnet.protocol import messages
from lbnet.strategies import registry
from lbnet.types import ROOT, JobId, JobOptions, PeerId, Span
from tests.core.desk import (
    FN,
    JOB,
    OPTIONS,
    Desk,
    group,
    in_force,
    introduced,
    is_outcome,
    member,
    open_job,
    opening,
    result,
    running,
    tasks,
    value,
    work,
)
from tests.core.scripted import ScriptedController

DETACHED = replace(OPTIONS, detached=True)
GRACE_S = 9.0
NOBODYS = JobId(99)


def patient(*, journal: bool = False) -> Desk:
    return Desk(ScriptedController(), client_grace_s=GRACE_S, journal=journal)


def one(index: int) -> messages.Result:
    return result(group(member(index, index + 1)))


def job_of(desk: Desk) -> Job:
    job = desk.core.job(JOB)
    assert job is not None
    return job


def attached(client: PeerId, submitted: int, taken: int, *, closed: bool = True) -> Send:
    return Send(client, messages.Attached(JOB, submitted, closed, taken))


def submitted(client: PeerId, upto: int) -> Send:
    return Send(client, messages.Submitted(JOB, upto))


def kept(worker: PeerId, results: int) -> Send:
    return Send(worker, messages.Kept(results))


def done(client: PeerId) -> Send:
    return Send(client, messages.JobDone(JOB))


def reason(said: list[Effect]) -> str:
    """Why a job was refused, which is all that was said."""
    (effect,) = said
    assert isinstance(effect, Send)
    assert isinstance(effect.message, messages.JobRefused)
    return effect.message.reason


# --- clients: how long they may be away


def test_a_client_whose_link_broke_is_told_later_what_came_meanwhile() -> None:
    desk = patient()
    client, worker = running(desk, 3)
    assert desk.says(worker, one(0)) == [Send(client, value(0))]
    assert desk.leaves(client) == []
    assert desk.says(worker, one(1)) == []
    assert desk.returns(client) == []
    assert desk.says(worker, one(2)) == [Send(worker, messages.JobEnded(JOB))], "it has not said what it has seen"
    assert desk.says(client, messages.Attach(JOB, 1)) == [
        attached(client, 3, taken=1),
        Send(client, value(1)),
        Send(client, value(2)),
        done(client),
    ]


def test_who_has_come_back_in_time_may_stay_for_ever() -> None:
    desk = patient()
    client, _ = running(desk, 1)
    desk.leaves(client)
    assert desk.timer == desk.now + GRACE_S
    desk.now += GRACE_S - 1.0
    desk.returns(client)
    desk.now += 2 * GRACE_S
    desk.event(events.Tick())
    assert job_of(desk).state == "running"


def test_who_stays_away_for_too_long_has_no_jobs_any_more() -> None:
    desk = patient()
    client, worker = running(desk, 2)
    desk.says(worker, one(0))
    assert desk.leaves(client) == []
    assert desk.tick() == [Send(worker, messages.JobEnded(JOB))]
    assert (job_of(desk).state, job_of(desk).ledger.done, job_of(desk).ledger.cancelled) == ("cancelled", 1, 1)
    assert len(job_of(desk).outbox) == 0
    desk.returns(client)
    assert "knows no such job" in reason(desk.says(client, messages.Attach(JOB, 1)))


def test_every_lost_link_begins_a_new_grace() -> None:
    desk = patient()
    client, worker = running(desk, 1)
    for _ in range(3):
        desk.leaves(client)
        desk.now += GRACE_S - 1.0
        assert desk.event(events.Tick()) == []
        desk.returns(client)
    desk.leaves(client)
    assert desk.timer == desk.now + GRACE_S
    assert desk.tick() == [Send(worker, messages.JobEnded(JOB))]


def test_who_says_goodbye_is_not_waited_for() -> None:
    desk = patient(journal=True)
    client, worker = running(desk, 2)
    assert desk.leaves(client, on_purpose=True) == [Send(worker, messages.JobEnded(JOB))]
    assert job_of(desk).state == "cancelled"
    assert (desk.journal[-1].job, desk.journal[-1].records, desk.journal[-1].whole) == (JOB, (), True)


def test_what_a_client_left_of_a_job_that_was_done_is_forgotten_with_it() -> None:
    desk = patient(journal=True)
    client, worker = running(desk, 1)
    desk.says(worker, one(0))
    assert desk.leaves(client, on_purpose=True) == []
    assert (job_of(desk).state, len(job_of(desk).outbox)) == ("done", 0)
    assert desk.journal[-1].whole
    assert desk.journal[-1].records == ()


@pytest.mark.parametrize("on_purpose", [True, False])
def test_a_detached_job_goes_on_and_waits_for_whoever_fetches_it(on_purpose: bool) -> None:
    desk = patient()
    client, worker = running(desk, 2, options=DETACHED)
    assert desk.leaves(client, on_purpose=on_purpose) == []
    assert desk.says(worker, one(0)) == []
    desk.now += 10 * GRACE_S
    assert desk.event(events.Tick()) == []
    assert desk.says(worker, one(1)) == [Send(worker, messages.JobEnded(JOB))]
    desk.now += 10 * GRACE_S
    assert desk.event(events.Tick()) == []
    other = desk.joins("client", 0)
    told = [Send(other, value(0)), Send(other, value(1)), done(other)]
    assert desk.says(other, messages.Attach(JOB, 0)) == [attached(other, 2, taken=0), *told]
    assert desk.says(other, messages.Taken(JOB, 3)) == []
    assert "ended and was taken" in reason(desk.says(other, messages.Attach(JOB, 3)))


def test_only_the_jobs_that_are_detached_outlive_their_client() -> None:
    desk = patient()
    client, _ = running(desk, 1)
    other = JobId(8)
    open_job(desk, client, DETACHED, other)
    desk.leaves(client, on_purpose=True)
    detached = desk.core.job(other)
    assert detached is not None
    assert (job_of(desk).state, detached.state) == ("cancelled", "running")


# --- clients: ATTACH


def away(journal: bool = False, options: JobOptions = OPTIONS) -> tuple[Desk, PeerId, PeerId]:
    """Of four items three are done, the client has taken one, and heard two; then its link broke."""
    desk = patient(journal=journal)
    client, worker = running(desk, 4, options=options)
    desk.says(worker, one(0), one(1))
    desk.persists()
    assert desk.says(client, messages.Taken(JOB, 1)) == []
    assert desk.leaves(client) == []
    desk.says(worker, one(2))
    desk.persists()
    desk.returns(client)
    desk.receipts.clear()
    return desk, client, worker


@pytest.mark.parametrize("journal", [True, False])
@pytest.mark.parametrize(
    ("seen", "again"),
    [(0, [1, 2]), (1, [1, 2]), (2, [2]), (3, []), (4, []), (1 << 40, [])],
)
def test_outcomes_are_told_again_from_what_was_seen_on(seen: int, again: list[int], journal: bool) -> None:
    """What was taken is gone, and what there is not was not seen, whatever the client says."""
    desk, client, worker = away(journal)
    begin = 3 - len(again)
    assert desk.says(client, messages.Attach(JOB, seen)) == [
        attached(client, 4, taken=begin),
        *(Send(client, value(index)) for index in again),
    ]
    assert desk.receipts == [submitted(client, 4)]
    came = [*desk.says(worker, one(3)), *desk.persists()]
    assert [effect for effect in came if is_outcome(effect)] == [Send(client, value(3)), done(client)]


def test_attached_comes_first_then_what_is_safe_then_outcomes() -> None:
    desk, client, _ = away()
    said = desk.core.handle(events.Received(client, messages.Attach(JOB, 2)), desk.now)
    assert [effect for effect in said if isinstance(effect, Send)] == [
        attached(client, 4, taken=2),
        submitted(client, 4),
        Send(client, value(2)),
    ]


def test_who_attaches_twice_hears_it_twice() -> None:
    desk, client, _ = away()
    first = desk.says(client, messages.Attach(JOB, 1))
    assert first == [attached(client, 4, taken=1), Send(client, value(1)), Send(client, value(2))]
    assert desk.says(client, messages.Attach(JOB, 1)) == first


def test_a_client_goes_on_where_the_controller_is() -> None:
    """It is told how much of its input has come, and sends the rest; and that it is closed, once."""
    desk = patient()
    client, worker = desk.team(1)
    open_job(desk, client)
    desk.says(client, messages.Submit(tasks(0, 2)))
    desk.leaves(client)
    desk.returns(client)
    assert desk.says(client, messages.Attach(JOB, 0)) == [attached(client, 2, 0, closed=False)]
    assert desk.says(client, messages.Submit(tasks(2, 3))) == [Send(worker, work(2, tasks(2, 3)))]
    desk.says(client, messages.CloseJob(JOB, 3))
    desk.leaves(client)
    desk.returns(client)
    assert desk.says(client, messages.Attach(JOB, 0)) == [attached(client, 3, 0)]


def test_nobody_gets_the_job_of_another_client_that_is_connected() -> None:
    desk = patient()
    client, worker = running(desk, 1)
    other = desk.joins("client", 0)
    assert "another client's" in reason(desk.says(other, messages.Attach(JOB, 0)))
    assert desk.says(worker, one(0))[:2] == [Send(client, value(0)), done(client)]


def test_the_job_of_a_client_that_is_away_can_be_taken_over_and_is_no_longer_its_own() -> None:
    desk = patient()
    client, worker = running(desk, 2)
    desk.leaves(client)
    other = desk.joins("client", 0)
    assert desk.says(other, messages.Attach(JOB, 0)) == [attached(other, 2, taken=0)]
    desk.now += 2 * GRACE_S
    assert desk.event(events.Tick()) == []
    desk.returns(client)
    assert "another client's" in reason(desk.says(client, messages.Attach(JOB, 0)))
    assert desk.says(worker, one(0)) == [Send(other, value(0))]
    assert desk.leaves(client, on_purpose=True) == []
    assert job_of(desk).state == "running"
    assert desk.leaves(other, on_purpose=True) == [Send(worker, messages.JobEnded(JOB))]


def test_a_detached_job_goes_to_whoever_attaches_last() -> None:
    desk = patient()
    client, worker = running(desk, 3, options=DETACHED)
    assert desk.says(worker, one(0)) == [Send(client, value(0))]
    other = desk.joins("client", 0)
    assert desk.says(other, messages.Attach(JOB, 0)) == [attached(other, 3, taken=0), Send(other, value(0))]
    assert desk.says(worker, one(1)) == [Send(other, value(1))]
    assert desk.says(client, messages.Taken(JOB, 1)) == [], "it had that, and did not know that the job was given away"
    assert job_of(desk).outbox.taken == 0
    assert desk.says(client, messages.Attach(JOB, 1)) == [attached(client, 3, taken=1), Send(client, value(1))]


def test_nobody_gets_a_job_that_there_is_not() -> None:
    desk = patient()
    client, _ = desk.team(1)
    assert "knows no such job" in reason(desk.says(client, messages.Attach(NOBODYS, 0)))
    desk.says(client, messages.OpenJob(JOB, replace(OPTIONS, strategy="other")))
    assert "knows no such job" in reason(desk.says(client, messages.Attach(JOB, 0))), "it was refused"


def test_workers_attach_to_nothing() -> None:
    desk = patient()
    _, worker = running(desk, 1)
    (effect,) = desk.says(worker, messages.Attach(JOB, 0))
    assert isinstance(effect, Disconnect)


# --- clients: TAKEN


@pytest.mark.parametrize(("heard", "taken"), [(0, 1), (1, 2), (1, 1 << 40)])
def test_nobody_takes_what_was_not_told(heard: int, taken: int) -> None:
    desk = patient()
    client, worker = running(desk, 3)
    for index in range(heard):
        desk.says(worker, one(index))
    (effect,) = desk.says(client, messages.Taken(JOB, taken))
    assert isinstance(effect, Disconnect)
    assert effect.peer == client
    assert job_of(desk).outbox.taken == 0


def test_what_is_not_safe_was_not_told_and_cannot_be_taken() -> None:
    desk = patient(journal=True)
    client, worker = running(desk, 2)
    assert desk.says(worker, one(0)) == []
    (effect,) = desk.says(client, messages.Taken(JOB, 1))
    assert isinstance(effect, Disconnect)
    assert desk.persists() == [Send(client, value(0))]
    assert desk.says(client, messages.Taken(JOB, 1)) == []


def test_taking_the_same_again_or_the_outcomes_of_nothing_changes_nothing() -> None:
    desk = patient(journal=True)
    client, worker = running(desk, 3)
    desk.says(worker, one(0), one(1))
    desk.persists()
    desk.says(client, messages.Taken(JOB, 2))
    written = len(desk.journal)
    for upto in (2, 1, 0, -5):
        assert desk.says(client, messages.Taken(JOB, upto)) == []
    assert desk.says(client, messages.Taken(NOBODYS, 7)) == []
    assert (job_of(desk).outbox.taken, len(desk.journal)) == (2, written)


def test_nothing_is_kept_of_a_job_when_its_last_outcome_is_taken() -> None:
    desk = patient(journal=True)
    client, worker = running(desk, 1)
    desk.says(worker, one(0))
    desk.persists()
    desk.says(client, messages.Taken(JOB, 1), messages.Taken(JOB, 2))
    assert [(effect.whole, effect.records) for effect in desk.journal[-2:]] == [
        (False, (messages.Taken(JOB, 1),)),
        (True, ()),
    ]


# --- promises to clients and workers


def test_every_submit_is_answered_when_it_is_safe() -> None:
    desk = patient(journal=True)
    client, _ = desk.team(1)
    open_job(desk, client)
    desk.says(client, messages.Submit(tasks(0, 2)))
    first = len(desk.journal)
    desk.says(client, messages.Submit(tasks(2, 5)))
    assert desk.receipts == []
    desk.persists(first - 1)
    assert desk.receipts == []
    desk.persists(first)
    assert desk.receipts == [submitted(client, 2)]
    desk.persists()
    assert desk.receipts == [submitted(client, 2), submitted(client, 5)]


def test_without_a_journal_every_submit_is_answered_at_once() -> None:
    desk = patient()
    client, _ = desk.team(1)
    open_job(desk, client)
    desk.says(client, messages.Submit(tasks(0, 2)), messages.Submit(tasks(2, 5)))
    assert desk.receipts == [submitted(client, 2), submitted(client, 5)]


def test_placing_work_never_waits_for_the_journal() -> None:
    desk = patient(journal=True)
    client, worker = desk.team(1)
    open_job(desk, client)
    assert desk.says(client, messages.Submit(tasks(0, 2))) == introduced(worker, work(1, tasks(0, 2)))


@pytest.mark.usefixtures("kept_at_once")
def test_with_a_journal_results_are_kept_when_they_are_safe() -> None:
    desk = patient(journal=True)
    client, worker = running(desk, 3)
    desk.persists()
    desk.receipts.clear()
    desk.says(worker, one(0), one(1))
    first = len(desk.journal) - 1
    desk.persists(first)
    assert desk.receipts == [kept(worker, 1)]
    desk.persists(first)
    desk.persists()
    assert desk.receipts == [kept(worker, 1), kept(worker, 2)]


@pytest.mark.usefixtures("kept_at_once")
def test_results_that_lead_to_nothing_are_kept_as_well() -> None:
    """Of a job that is over, or that nobody knows: the worker would hold them for ever."""
    desk = patient(journal=True)
    client, worker = running(desk, 1)
    desk.says(worker, one(0))
    desk.persists()
    desk.receipts.clear()
    desk.says(worker, one(0))
    desk.says(worker, result(group(member(0, 1)), job=NOBODYS))
    assert desk.receipts == [kept(worker, 2), kept(worker, 3)]


@pytest.mark.parametrize("results", [limits.KEPT_EVERY - 1, limits.KEPT_EVERY, 2 * limits.KEPT_EVERY + 1])
def test_without_a_journal_results_are_kept_every_now_and_then(results: int) -> None:
    desk = patient()
    client, worker = running(desk, 100)
    desk.receipts.clear()
    for index in range(results):
        desk.says(worker, one(index))
    assert desk.receipts == [kept(worker, count) for count in range(limits.KEPT_EVERY, results + 1, limits.KEPT_EVERY)]


@pytest.mark.usefixtures("kept_at_once")
def test_a_worker_that_came_back_counts_its_results_anew() -> None:
    desk = patient(journal=True)
    client, worker = running(desk, 3)
    desk.persists()
    desk.says(worker, one(0), one(1))
    desk.leaves(worker)
    desk.returns(worker, "worker", 1)
    desk.receipts.clear()
    desk.says(worker, one(0))
    desk.persists()
    assert desk.receipts == [kept(worker, 1)]


# --- workers


def test_a_worker_that_is_back_is_told_which_of_its_jobs_are_over() -> None:
    desk = patient()
    client, worker, other = running(desk, 1, workers=2)
    desk.leaves(worker)
    gone = JobId(8)
    assert desk.returns(worker, "worker", 1) == [in_force(worker)]
    assert desk.says(worker, messages.Rejoined((gone, JOB, NOBODYS))) == [
        Send(worker, messages.JobEnded(gone)),
        Send(worker, messages.JobEnded(NOBODYS)),
    ]


def test_what_a_worker_held_while_it_was_away_counts_once() -> None:
    desk = patient()
    client, worker, other = running(desk, 2, workers=2)
    assert desk.leaves(worker) == [Send(other, messages.AskInventory(1))]
    assert desk.says(other, messages.Inventory(1, ())) == introduced(other, work(2, tasks(0, 2)))
    assert desk.says(other, one(0)) == [Send(client, value(0))]
    desk.returns(worker, "worker", 1)
    assert desk.says(worker, messages.Rejoined((JOB,))) == []
    assert desk.says(worker, one(0)) == []
    assert desk.says(worker, one(1))[:2] == [Send(client, value(1)), done(client)]
    assert (job_of(desk).ledger.done, job_of(desk).ledger.duplicates) == (2, 1)


# --- the controller


class Reborn(Desk):
    """A desk at which another controller sits, with the journal of the first one."""

    def __init__(self, before: Desk, upto: int | None = None, workers: tuple[PeerId, ...] | None = None) -> None:
        super().__init__(ScriptedController(), client_grace_s=GRACE_S, journal=True)
        self.now = before.now + 5.0
        self._peers = before._peers
        written = before.journal[:upto]
        assert not any(effect.whole for effect in written)
        self.core.restore([record for effect in written for record in effect.records], self.now, workers)


def test_a_controller_that_was_started_again_waits_for_its_workers_before_it_places_what_they_hold() -> None:
    desk = patient(journal=True)
    client, worker, other = running(desk, 3, workers=2)
    desk.says(worker, one(0))
    desk = Reborn(desk)
    began = desk.now
    assert desk.returns(worker, "worker", 1) == [in_force(worker)]
    assert desk.says(worker, messages.Rejoined((JOB,)), messages.Idle(0.0)) == []
    assert desk.returns(other, "worker", 1) == [in_force(other)]
    while desk.timer is not None and desk.timer < began + limits.REJOIN_GRACE_S:
        assert desk.tick() == []
    assert desk.timer == began + limits.REJOIN_GRACE_S
    assert desk.tick() == [Send(worker, messages.AskInventory(1)), Send(other, messages.AskInventory(1))]
    assert desk.says(other, messages.Inventory(1, ())) == []
    placed = introduced(worker, work(1, tasks(0, 3).part(2, 3)))
    assert desk.says(worker, messages.Inventory(1, (Span(JOB, ROOT, 1, 2),))) == placed


def test_a_controller_that_knows_who_was_there_waits_for_these_only() -> None:
    desk = patient(journal=True)
    client, worker, other = running(desk, 3, workers=2)
    desk.says(worker, one(0))
    desk = Reborn(desk, workers=(worker, other))
    assert desk.returns(worker, "worker", 1) == [in_force(worker)]
    assert desk.says(worker, messages.Rejoined((JOB,)), messages.Idle(0.0)) == []
    ask = [Send(worker, messages.AskInventory(1)), Send(other, messages.AskInventory(1))]
    assert desk.returns(other, "worker", 1) == [in_force(other), *ask]
    assert desk.says(other, messages.Inventory(1, (Span(JOB, ROOT, 1, 2),))) == []
    placed = introduced(worker, work(1, tasks(0, 3).part(2, 3)))
    assert desk.says(worker, messages.Inventory(1, ())) == placed


def test_a_newcomer_is_none_of_those_who_were_there() -> None:
    desk = patient(journal=True)
    client, worker = running(desk, 2, workers=1)
    desk = Reborn(desk, workers=(worker,))
    newcomer = desk.joins("worker")
    began = desk.now
    desk.says(newcomer, messages.Idle(0.0))
    while desk.timer is not None and desk.timer < began + limits.REJOIN_GRACE_S:
        assert desk.tick() == []
    assert desk.tick() == [Send(newcomer, messages.AskInventory(1))]
    assert desk.says(newcomer, messages.Inventory(1, ())) == introduced(newcomer, work(1, tasks(0, 2)))


def test_when_nobody_was_there_nobody_is_waited_for() -> None:
    desk = patient(journal=True)
    running(desk, 2)
    desk = Reborn(desk, workers=())
    desk.event(events.Tick())
    newcomer = PeerId(50)
    placed = introduced(newcomer, work(1, tasks(0, 2)))
    assert desk.returns(newcomer, "worker", 1) == [in_force(newcomer), *placed]


def test_what_is_submitted_to_a_controller_that_was_started_again_is_placed_at_once() -> None:
    desk = patient(journal=True)
    client, worker = desk.team(1)
    open_job(desk, client)
    desk.says(client, messages.Submit(tasks(0, 2)))
    desk = Reborn(desk)
    desk.returns(worker, "worker", 1)
    desk.returns(client)
    assert desk.says(client, messages.Attach(JOB, 0)) == [attached(client, 2, 0, closed=False)]
    assert desk.receipts == [submitted(client, 2)]
    assert desk.says(client, messages.Submit(tasks(2, 3))) == introduced(worker, work(1, tasks(2, 3)))


def test_a_client_that_does_not_come_back_to_another_controller_is_not_waited_for_for_ever() -> None:
    desk = patient(journal=True)
    client, worker = running(desk, 1)
    desk = Reborn(desk)
    began = desk.now
    desk.returns(worker, "worker", 1)
    desk.now = began + GRACE_S - 0.1
    desk.event(events.Tick())
    assert job_of(desk).state == "running"
    desk.now = began + GRACE_S
    desk.event(events.Tick())
    assert job_of(desk).state == "cancelled"


def test_outcomes_that_were_safe_are_there_for_the_client_of_another_controller() -> None:
    desk = patient(journal=True)
    client, worker = running(desk, 1)
    desk.says(worker, one(0))
    desk = Reborn(desk)
    assert job_of(desk).state == "done"
    desk.returns(client)
    told = [Send(client, value(0)), done(client)]
    assert desk.says(client, messages.Attach(JOB, 0)) == [attached(client, 1, taken=0), *told]


def test_a_job_of_which_nothing_was_safe_is_opened_anew() -> None:
    desk = patient(journal=True)
    client, worker = running(desk, 1)
    desk = Reborn(desk, upto=0)
    desk.returns(client)
    assert "began anew without it" in reason(desk.says(client, messages.Attach(JOB, 0)))
    assert desk.says(client, *opening(), messages.Submit(tasks(0, 1))) == []


def test_jobs_wait_for_workers_of_another_controller_only_for_so_long() -> None:
    desk = patient(journal=True)
    client, _ = running(desk, 1)
    desk = Reborn(desk)
    desk.returns(client)
    desk.says(client, messages.Attach(JOB, 0))
    desk.now += limits.NO_WORKERS_TIMEOUT_S
    desk.event(events.Tick())
    assert job_of(desk).state == "failed"
    assert any(isinstance(outcome, messages.Failed) for outcome in job_of(desk).outbox.kept())


def test_jobs_are_counted_on_where_the_last_controller_was() -> None:
    desk = patient(journal=True)
    client, _ = running(desk, 1)
    desk = Reborn(desk)
    desk.returns(client)
    desk.says(client, *opening(job=JobId(8)))
    later = desk.core.job(JobId(8))
    assert later is not None
    assert (job_of(desk).number, later.number) == (1, 2)


def test_a_clock_that_began_anew_makes_no_makespan_negative() -> None:
    desk = patient(journal=True)
    client, worker = running(desk, 1)
    core = Controller(registry.find, strategy="sb", placement="first", journal=True)
    core.restore([record for effect in desk.journal for record in effect.records], now=3.0)
    core.handle(events.Tick(), 4.0)
    job = core.job(JOB)
    assert job is not None
    assert job.report(4.0).makespan_s == 1.0
    assert job.functions == {FN: FN}
