from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet import limits
from lbnet.core import events
from lbnet.core.effects import Disconnect, Effect, Send
from lbnet.protocol import messages
from lbnet.protocol.messages import Message
from lbnet.strategies import registry
from lbnet.strategies.base import AskToSplit, Pair
from lbnet.types import (
    COMBINED,
    CONTROLLER,
    FAILED,
    ROOT,
    SILENT,
    VALUES,
    Batch,
    Failure,
    Group,
    JobId,
    JobOptions,
    Member,
    Payload,
    PeerId,
    RunId,
    Span,
)
from tests.core.desk import (
    FN,
    JOB,
    OPTIONS,
    REDUCE,
    SPREAD,
    Desk,
    answer,
    group,
    in_force,
    introduced,
    match,
    member,
    open_job,
    opening,
    opens,
    result,
    running,
    silent,
    tasks,
    told,
    value,
    where,
    work,
)
from tests.core.scripted import ScriptedController

# --- placement


def test_a_job_that_asks_for_a_strategy_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    desk = Desk()
    client, _ = desk.team(1)
    (said,) = desk.says(client, messages.OpenJob(JOB, replace(OPTIONS, strategy="other")))
    assert isinstance(said, Send)
    assert isinstance(said.message, messages.JobRefused)
    assert "there is no strategy 'other'; there are: arr, grr, lifeline, pmap, rp, sb, shared" in said.message.reason
    # What the client had sent already is late, not wrong.
    assert desk.says(client, messages.Function(JOB, FN, FN), messages.Submit(tasks(0, 3))) == []
    job = desk.core.job(JOB)
    assert job is not None
    assert job.state == "refused"


def test_all_initial_work_goes_to_the_first_worker() -> None:
    desk = silent()
    client, first, second = desk.team(2)
    assert desk.says(second, messages.Idle(0.0)) == []
    open_job(desk, client)
    assert desk.says(client, messages.Submit(tasks(0, 3))) == introduced(first, work(1, tasks(0, 3)))
    assert desk.says(client, messages.Submit(tasks(3, 4))) == [Send(first, work(2, tasks(3, 4)))]


def test_under_spread_work_goes_to_those_who_want_it_by_their_slots() -> None:
    desk = silent()
    client, first, second = desk.joins("client"), desk.joins(slots=1), desk.joins(slots=3)
    open_job(desk, client, SPREAD)
    items = tasks(0, 10)
    assert desk.says(client, messages.Submit(items)) == []
    assert desk.says(second, messages.Idle(0.0)) == introduced(second, work(1, items.part(0, 3)), SPREAD)
    assert desk.says(first, messages.Idle(0.0)) == introduced(first, work(2, items.part(3, 4)), SPREAD)
    assert desk.says(first, messages.Idle(0.0)) == [Send(first, work(3, items.part(4, 5)))]


def test_the_poorest_worker_is_served_first() -> None:
    desk = silent()
    client, first, second = desk.team(2)
    open_job(desk, client, SPREAD)
    desk.says(first, messages.Idle(0.04))
    desk.says(second, messages.Idle(0.0))
    said = desk.says(client, messages.Submit(tasks(0, 1)))
    assert said == introduced(second, work(1, tasks(0, 1)), SPREAD)


@pytest.mark.parametrize("options", [OPTIONS, SPREAD])
def test_work_waits_for_the_first_worker(options: JobOptions) -> None:
    desk = silent()
    client = desk.joins("client")
    open_job(desk, client, options)
    assert desk.says(client, messages.Submit(tasks(0, 1))) == []
    worker = PeerId(9)
    joined = desk.event(events.Joined(worker, "worker", "w", "host", 1, 1, where(worker)))
    placed = introduced(worker, work(1, tasks(0, 1)), options)
    assert joined == [in_force(worker), *(placed if options is OPTIONS else [])]
    assert desk.says(worker, messages.Idle(0.0)) == ([] if options is OPTIONS else placed)


def test_jobs_take_turns() -> None:
    desk = silent()
    client, worker = desk.team(1)
    other = JobId(8)
    for job in (JOB, other):
        open_job(desk, client, SPREAD, job)
        desk.says(client, messages.Submit(tasks(0, 3, job=job)))
    served = []
    for _ in range(4):
        (*_, sent) = desk.says(worker, messages.Idle(0.0))
        assert isinstance(sent, Send)
        assert isinstance(sent.message, messages.SendWork)
        served.append(sent.message.batches[0].job)
    assert served == [JOB, other, JOB, other]


def test_a_job_of_a_higher_priority_is_placed_before_others() -> None:
    desk = silent()
    client, worker = desk.team(1)
    high = JobId(8)
    for job, options in ((high, replace(SPREAD, priority=1)), (JOB, SPREAD)):
        open_job(desk, client, options, job)
        desk.says(client, messages.Submit(tasks(0, 2, job=job)))
    served = [placed(desk.says(worker, messages.Idle(0.0))) for _ in range(4)]
    assert served == [[(worker, high)], [(worker, high)], [(worker, JOB)], [(worker, JOB)]]


def test_workers_that_are_busy_with_lower_priorities_get_tasks_of_a_higher_one_all_the_same() -> None:
    desk = silent()
    client, one, other = desk.team(2)
    high = JobId(8)
    open_job(desk, client)
    desk.says(client, messages.Submit(tasks(0, 9)))
    open_job(desk, client, replace(SPREAD, priority=3), high)
    assert placed(desk.says(client, messages.Submit(tasks(0, 4, job=high)))) == [(one, high), (other, high)]
    done = messages.Result(high, (group(member(0, 1), seconds=0.1),), ())
    assert placed(desk.says(other, messages.NonIdle(5.0, 3))) == [], "it has enough"
    assert placed(desk.says(one, done)) == [(one, high)], "it has finished what it got"


def placed(effects: list[Effect]) -> list[tuple[PeerId, JobId]]:
    """Who got work, and of which job."""
    sent = [effect for effect in effects if isinstance(effect, Send)]
    return [
        (effect.to, batch.job)
        for effect in sent
        if isinstance(effect.message, messages.SendWork)
        for batch in effect.message.batches
    ]


def test_a_job_that_says_nothing_is_placed_as_the_controller_was_told() -> None:
    desk = silent()
    client, worker = desk.team(1)
    desk.says(client, *opening(JobOptions()))
    said = desk.says(client, messages.Submit(tasks(0, 1)))
    assert said == introduced(worker, work(1, tasks(0, 1)), OPTIONS)


# --- balancing


def test_an_idle_worker_is_matched_at_once_with_the_richest_standing_offer() -> None:
    desk = Desk()
    _, poor, rich, requester = desk.team(3)
    assert desk.says(poor, messages.NonIdle(1.0)) == []
    assert desk.says(rich, messages.NonIdle(5.0)) == []
    assert desk.says(requester, messages.Idle(0.0)) == [Send(rich, match(requester))]


def test_an_offer_is_matched_at_once_with_the_one_who_is_idle_longest() -> None:
    desk = Desk()
    _, donor, first, second = desk.team(3)
    assert desk.says(first, messages.Idle(0.0)) == [Send(donor, messages.Hungry(1)), Send(second, messages.Hungry(1))]
    assert desk.says(second, messages.Idle(0.0)) == []
    assert desk.says(donor, messages.NonIdle(1.0)) == [Send(donor, match(first)), Send(donor, match(second))]


def test_two_donors_never_chase_the_same_worker() -> None:
    desk = Desk()
    _, one, other, requester = desk.team(3)
    desk.says(requester, messages.Idle(0.0))
    assert desk.says(one, messages.NonIdle(1.0)) == [Send(one, match(requester))]
    assert desk.says(other, messages.NonIdle(9.0)) == []


def test_half_of_an_offer_stands_after_a_match_until_it_is_not_worth_a_transfer() -> None:
    desk = Desk()
    _, donor, first, second = desk.team(3)
    desk.says(donor, messages.NonIdle(3 * limits.SURPLUS_MIN_S))
    assert desk.says(first, messages.Idle(0.0)) == [Send(donor, match(first))]
    assert desk.offers() == {donor: 1.5 * limits.SURPLUS_MIN_S}
    assert desk.says(second, messages.Idle(0.0)) == [Send(donor, match(second))]
    assert desk.offers() == {}


def test_after_no_work_the_requester_is_matched_with_somebody_else() -> None:
    desk = Desk()
    _, one, other, requester = desk.team(3)
    desk.says(one, messages.NonIdle(2.0))
    desk.says(other, messages.NonIdle(1.5))
    assert desk.says(requester, messages.Idle(0.0)) == [Send(one, match(requester))]
    assert desk.says(one, messages.NoWork(one, requester)) == [Send(requester, messages.NoWork(one, requester))]
    assert desk.says(requester, messages.Idle(0.0)) == [Send(other, match(requester))]


def test_no_work_for_a_worker_that_is_gone_is_dropped() -> None:
    desk = Desk()
    _, donor, requester = desk.team(2)
    desk.leaves(requester)
    assert desk.says(donor, messages.NoWork(donor, requester)) == []


def test_an_empty_worker_withdraws_its_offer() -> None:
    desk = Desk()
    _, donor, requester = desk.team(2)
    desk.says(donor, messages.NonIdle(1.0))
    desk.says(donor, messages.Idle(0.0))
    assert desk.offers() == {}
    assert desk.says(requester, messages.Idle(0.0)) == []


def test_a_worker_is_asked_to_split_once_until_it_offers() -> None:
    desk = Desk()
    _, busy, idle = desk.team(2)
    assert desk.says(idle, messages.Idle(0.0)) == [Send(busy, messages.Hungry(1))]
    assert desk.says(idle, messages.Idle(0.0)) == []
    assert desk.says(busy, messages.NonIdle(limits.SURPLUS_MIN_S)) == [Send(busy, match(idle))]
    assert desk.says(idle, messages.Idle(0.0)) == [Send(busy, messages.Hungry(1))]


def test_work_through_the_controller_is_acknowledged_to_its_donor() -> None:
    desk = Desk()
    client, donor, requester = running(desk, 4, workers=2)
    given = tasks(0, 4).part(2, 4)
    said = desk.says(donor, messages.Relay(requester, 31, (given,)))
    assert said == introduced(requester, work(2, given, donor=donor))
    assert desk.says(donor, messages.Ack(2)) == []
    assert desk.says(requester, messages.Ack(2)) == [Send(donor, messages.Ack(31))]
    assert desk.says(requester, messages.Ack(2)) == []
    names = {worker.id: worker.name for worker in desk.core.status().workers}
    relayed = {worker.id: worker.relayed for worker in desk.core.status().workers}
    assert relayed == {donor: {names[requester]: 1}, requester: {}}, "people are told"


def test_a_function_that_a_worker_told_of_goes_to_whoever_needs_it() -> None:
    desk = Desk()
    _, donor, requester = running(desk, 1, workers=2)
    spawned = replace(tasks(0, 2, RUN), payload=Payload(0, 2, b"spawned", b""))
    assert desk.says(donor, messages.Function(JOB, b"spawned", b"data")) == []
    assert desk.says(donor, messages.Relay(requester, 1, (spawned,))) == [
        Send(requester, messages.OpenJob(JOB, OPTIONS)),
        Send(requester, messages.Function(JOB, b"spawned", b"data")),
        Send(requester, work(2, spawned, donor=donor)),
    ]


def test_what_cannot_be_passed_on_is_placed_like_new_work() -> None:
    desk = silent()
    client, donor, requester = running(desk, 4, workers=2)
    desk.leaves(requester)
    given = tasks(0, 4).part(2, 4)
    said = desk.says(donor, messages.Relay(requester, 31, (given,)))
    assert said == [Send(donor, messages.Ack(31)), Send(donor, work(2, given))]


def test_what_belongs_to_a_job_that_has_ended_is_not_passed_on() -> None:
    desk = silent()
    client, donor, requester = running(desk, 4, workers=2)
    desk.says(client, messages.Cancel(JOB, 0, 4))
    assert desk.says(donor, messages.Relay(requester, 31, (tasks(0, 4),))) == [Send(donor, messages.Ack(31))]


# --- what workers ask the controller


def test_a_question_through_the_controller_reaches_the_donor_and_its_answer_the_requester() -> None:
    desk = silent()
    _, donor, requester = desk.team(2)
    assert desk.says(requester, messages.AskThrough(donor)) == [Send(donor, match(requester))]
    assert desk.says(donor, messages.NoWork(donor, requester)) == [Send(requester, messages.NoWork(donor, requester))]
    assert desk.says(requester, messages.AskThrough(PeerId(99))) == [
        Send(requester, messages.NoWork(PeerId(99), requester))
    ]


def test_the_counter_of_targets_is_at_the_controller() -> None:
    desk = Desk()
    client, one, other, third = desk.team(3)
    opens(desk, client, "grr")
    targets = [told(desk.says(third, messages.AskTarget(0.0)), messages.Target) for _ in range(3)]
    assert targets == [[messages.Target(peer, "host", 1000 + peer)] for peer in (one, other, one)]


def test_questions_and_refusals_are_in_the_report() -> None:
    desk = silent()
    client, worker = running(desk, 1)
    desk.says(worker, result(group(member(0, 1))))
    desk.says(worker, messages.Asked(JOB, 5, 3), messages.Asked(JOB, 1, 1), messages.Asked(JobId(99), 7, 7))
    (share,) = answer(desk, client, "report")["workers"]
    assert (share["asks"], share["refusals"]) == (6, 4)


def test_the_status_counts_messages_by_kind() -> None:
    desk = silent()
    client, worker = running(desk, 2)
    desk.says(worker, messages.Idle(0.0), messages.Idle(0.0), result(group(member(0, 1))))
    status = answer(desk, client, "status")
    assert status["got"] == {"OpenJob": 1, "Function": 1, "Submit": 1, "CloseJob": 1, "Idle": 2, "Result": 1, "Ask": 1}
    assert status["sent"] == {"Balance": 1, "OpenJob": 1, "Function": 1, "SendWork": 1, "Submitted": 1, "Values": 1}


# --- the end of a job


def test_a_job_is_done_when_its_last_task_is() -> None:
    desk = silent()
    client, worker = running(desk, 2)
    assert desk.says(worker, result(group(member(1, 2)))) == [Send(client, value(1))]
    assert desk.says(worker, result(group(member(0, 1)))) == [
        Send(client, value(0)),
        Send(client, messages.JobDone(JOB)),
        Send(worker, messages.JobEnded(JOB)),
    ]


def test_a_job_whose_input_is_open_is_not_done() -> None:
    desk = silent()
    client, worker = desk.team(1)
    open_job(desk, client)
    desk.says(client, messages.Submit(tasks(0, 1)))
    assert desk.says(worker, result(group(member(0, 1)))) == [Send(client, value(0))]
    assert desk.says(client, messages.CloseJob(JOB, 1)) == [
        Send(client, messages.JobDone(JOB)),
        Send(worker, messages.JobEnded(JOB)),
    ]


def test_a_job_without_items_is_done_at_once() -> None:
    desk = silent()
    client, _ = desk.team(1)
    open_job(desk, client)
    assert desk.says(client, messages.CloseJob(JOB, 0)) == [Send(client, messages.JobDone(JOB))]


RUN = RunId(5 << 44)
CHILDREN = (tasks(0, 2, RUN),)
PARENT = group(member(0, 1, run=RUN, children=CHILDREN))


def child(lo: int, hi: int) -> Group:
    return group(member(lo, hi, RUN), kind=SILENT, data=b"")


def the_end(client: PeerId, *told: PeerId) -> list[Effect]:
    return [
        Send(client, messages.Settled(JOB, 0)),
        Send(client, messages.JobDone(JOB)),
        *(Send(worker, messages.JobEnded(JOB)) for worker in told),
    ]


def test_a_job_waits_for_what_its_tasks_spawned() -> None:
    desk = silent()
    client, worker = running(desk, 1)
    assert desk.says(worker, result(PARENT)) == [Send(client, value(0, open_=True))]
    assert desk.says(worker, result(child(0, 1))) == []
    assert desk.says(worker, result(child(1, 2))) == the_end(client, worker)


def test_a_job_whose_tasks_spawn_more_than_may_wait_is_ended() -> None:
    desk = Desk(ScriptedController(), store_bytes=10)
    client, worker = running(desk, 3)  # 5 bytes
    first = group(member(0, 1, run=RUN, children=CHILDREN))  # 5 more
    assert desk.says(worker, result(first)) == [Send(client, value(0, open_=True))]
    other = RunId(RUN + 1)
    told = desk.says(worker, result(group(member(1, 2, run=other, children=(tasks(0, 1, other),)))))
    failures = [sent.message for sent in told if isinstance(sent, Send) and isinstance(sent.message, messages.Failed)]
    assert [(each.index, each.kind) for each in failures] == [(root, "SpawnLimitError") for root in range(3)]
    assert "hold 15 bytes of arguments, 15 of them in job 7, whose tasks spawned more; the limit" in failures[0].message
    assert told[-2:] == [Send(client, messages.JobDone(JOB)), Send(worker, messages.JobEnded(JOB))]
    assert desk.core.job(JOB).report(desk.now).balanced  # type: ignore[union-attr]


def test_a_child_may_be_done_before_its_parent_is_known_to_be() -> None:
    desk = silent()
    client, donor, requester = running(desk, 1, workers=2)
    assert desk.says(requester, result(child(0, 2))) == []
    assert desk.says(donor, result(PARENT)) == [Send(client, value(0, open_=True)), *the_end(client, donor, requester)]


def test_all_idle_with_a_transfer_in_flight_is_not_done() -> None:
    desk = silent()
    client, donor, requester = running(desk, 1, workers=2)
    assert desk.says(donor, result(PARENT)) == [Send(client, value(0, open_=True))]
    assert desk.says(donor, messages.Idle(0.0)) == []
    assert desk.says(requester, messages.Idle(0.0)) == []
    assert desk.says(requester, result(child(0, 2))) == the_end(client, donor, requester)


def test_the_second_result_of_a_task_is_dropped() -> None:
    desk = silent()
    client, one, other = running(desk, 2, workers=2)
    assert desk.says(one, result(group(member(0, 1)))) == [Send(client, value(0))]
    assert desk.says(other, result(group(member(0, 1)))) == []
    report = desk.core.job(JOB)
    assert report is not None
    assert report.ledger.duplicates == 1


def test_the_children_of_a_run_that_lost_are_orphans() -> None:
    desk = silent()
    client, one, other = running(desk, 1, workers=2)
    lost = RunId(6 << 44)
    assert desk.says(other, result(group(member(0, 2, lost), kind=SILENT))) == []
    assert desk.says(one, result(PARENT)) == [Send(client, value(0, open_=True))]
    assert desk.says(other, result(group(member(0, 1, run=lost, children=(tasks(0, 2, lost),))))) == []
    assert desk.says(one, result(child(0, 2))) == the_end(client, one, other)
    job = desk.core.job(JOB)
    assert job is not None
    assert (job.ledger.duplicates, job.ledger.orphans) == (1, 2)


def test_a_failure_is_told_with_its_reason() -> None:
    desk = silent()
    client, worker = running(desk, 2)
    failed = messages.Failed(JOB, 1, False, "exception", "boom", "trace", "worker", b"e")
    assert desk.says(worker, result(group(member(1, 2), kind=FAILED))) == [Send(client, failed)]


def test_an_item_fails_when_what_it_spawned_fails() -> None:
    desk = silent()
    client, worker = running(desk, 1)
    desk.says(worker, result(PARENT))
    desk.says(worker, result(group(member(0, 1, RUN), kind=FAILED)))
    failed = messages.Failed(JOB, 0, True, "exception", "boom", "trace", "worker", b"e")
    assert desk.says(worker, result(child(1, 2))) == [Send(client, failed), *the_end(client, worker)[1:]]


REDUCING = replace(OPTIONS, reduce=REDUCE)


def test_combined_values_are_passed_on_as_parts_of_their_item() -> None:
    desk = silent()
    client, worker = running(desk, 1, options=REDUCING)
    partial = Send(client, messages.Partial(JOB, 0, b"v"))
    assert desk.says(worker, result(replace(PARENT, kind=COMBINED))) == [], "it waits for what completes it"
    whole = group(member(0, 1, RUN), member(1, 2, RUN), kind=COMBINED)
    assert desk.says(worker, result(whole)) == [partial, partial, *the_end(client, worker)]


def test_a_combined_value_counts_for_all_of_its_tasks_or_for_none() -> None:
    desk = silent()
    client, one, other = running(desk, 1, workers=2, options=REDUCING)
    partial = Send(client, messages.Partial(JOB, 0, b"v"))
    assert desk.says(one, result(replace(PARENT, kind=COMBINED))) == []
    assert desk.says(one, result(group(member(0, 1, RUN), kind=COMBINED))) == []
    both = group(member(0, 1, RUN), member(1, 2, RUN), kind=COMBINED)
    again = Send(one, work(2, CHILDREN[0].part(1, 2)))
    assert desk.says(other, result(both)) == [again]
    said = desk.says(one, result(group(member(1, 2, RUN), kind=COMBINED)))
    assert said == [partial, partial, partial, *the_end(client, one, other)]


# --- workers that say nonsense


@pytest.mark.parametrize(
    "bad",
    [
        group(member(0, 1), member(1, 2)),
        group(member(0, 1), member(1, 2), kind=SILENT),
        group(member(0, 1), member(1, 2), kind=FAILED),
        group(kind=VALUES),
        group(kind=COMBINED),
        group(member(0, 1), kind=COMBINED),
        group(member(0, 1), kind=9),
        group(member(0, 2), kind=FAILED),
        replace(group(member(0, 1), kind=FAILED), failure=None),
        group(member(0, 1, children=CHILDREN)),
        group(member(0, 2, run=RUN, children=CHILDREN)),
        group(member(0, 1, run=RUN, children=(tasks(1, 2, RUN),))),
        group(member(0, 1, run=RUN, children=(tasks(0, 2, RUN), tasks(1, 3, RUN)))),
        group(member(0, 1, run=RUN, children=(tasks(0, 2, RunId(RUN + 1)),))),
        group(member(0, 1, run=RUN, children=(tasks(0, 2, RUN, job=JobId(8)),))),
        group(member(0, 1, run=RUN, children=(replace(CHILDREN[0], hi=3),))),
    ],
)
def test_a_result_that_makes_no_sense_closes_its_link_and_is_not_believed(bad: Group) -> None:
    desk = silent()
    client, worker, other = running(desk, 2, workers=2)
    (effect,) = desk.says(other, result(bad, group(member(0, 1))))
    assert isinstance(effect, Disconnect)
    assert effect.peer == other
    assert desk.says(worker, result(group(member(0, 1)))) == [Send(client, value(0))]


def test_a_result_that_spawned_what_nobody_can_run_is_dropped_and_its_tasks_run_again() -> None:
    """It was said while its job was not known here; with the functions of another life of the same job."""
    desk = silent()
    client, worker, other = running(desk, 2, workers=2)
    unknown = replace(CHILDREN[0], payload=Payload(0, 2, b"unknown", b""))
    assert desk.says(other, result(group(member(0, 1, run=RUN, children=(unknown,))))) == []
    assert desk.says(worker, result(group(member(0, 1)))) == [Send(client, value(0))]


@pytest.mark.parametrize(
    "batch",
    [
        replace(tasks(0, 2), hi=3),
        replace(tasks(1, 2), lo=0),
    ],
)
def test_work_that_makes_no_sense_is_not_passed_on(batch: Batch) -> None:
    desk = silent()
    _, donor, requester = running(desk, 2, workers=2)
    (effect,) = desk.says(donor, messages.Relay(requester, 1, (batch,)))
    assert isinstance(effect, Disconnect)
    assert effect.peer == donor


@pytest.mark.parametrize("unknown", ["its own", "the one that combines"])
def test_work_whose_functions_are_not_known_here_is_dropped_and_missed(unknown: str) -> None:
    desk = silent()
    client, donor, requester = desk.team(2)
    desk.says(client, messages.OpenJob(JOB, REDUCING), messages.Function(JOB, FN, FN))
    batch = tasks(0, 2)
    if unknown == "its own":
        desk.says(client, messages.Function(JOB, REDUCE, REDUCE))
        batch = replace(batch, payload=Payload(0, 2, b"unknown", b""))
    for to in (requester, CONTROLLER):
        assert desk.says(donor, messages.Relay(to, 1, (batch,))) == [Send(donor, messages.Ack(1))]


def test_results_for_unknown_tasks_change_nothing() -> None:
    desk = silent()
    client, worker = running(desk, 2)
    assert desk.says(worker, result(group(member(5, 900)))) == []
    assert desk.says(worker, result(group(member(0, 1, RunId(99)), kind=SILENT))) == []
    assert desk.says(worker, result(group(member(0, 1)), job=JobId(99))) == [Send(worker, messages.JobEnded(JobId(99)))]
    job = desk.core.job(JOB)
    assert job is not None
    assert job.ledger.outstanding == 2


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf, -1.0, 1e300])
def test_impossible_numbers_do_no_harm(seconds: float) -> None:
    desk = Desk()
    client, worker = desk.team(1)
    open_job(desk, client, SPREAD)
    desk.says(client, messages.Submit(tasks(0, 50)))
    assert desk.says(worker, messages.Idle(seconds))[-1] == Send(worker, work(1, tasks(0, 50).part(0, 1)))
    desk.says(worker, messages.NonIdle(seconds))
    assert desk.says(worker, result(group(member(0, 1), seconds=seconds))) == [Send(client, value(0))]
    (sent,) = desk.says(worker, messages.Idle(seconds))
    assert isinstance(sent, Send)
    assert isinstance(sent.message, messages.SendWork)
    status = desk.core.status()
    assert math.isfinite(status.workers[0].busy_s)
    assert status.workers[0].busy_s >= 0


def test_inventories_and_acknowledgements_that_nobody_asked_for_are_ignored() -> None:
    desk = silent()
    _, worker = running(desk, 2)
    assert desk.says(worker, messages.Inventory(1, (Span(JOB, ROOT, 0, 9),))) == []
    assert desk.says(worker, messages.Ack(1)) == []
    assert desk.says(worker, messages.Ack(-5)) == []


@pytest.mark.parametrize(
    "message", [messages.Submit(tasks(0, 1)), messages.JobEnded(JOB), messages.Match(PeerId(1), "", 0)]
)
def test_a_worker_that_says_what_is_not_for_workers_is_disconnected(message: Message) -> None:
    desk = silent()
    _, worker = desk.team(1)
    (effect,) = desk.says(worker, message)
    assert isinstance(effect, Disconnect)


# --- strategies that say nonsense


@pytest.mark.parametrize(
    "decisions",
    [
        [Pair(PeerId(99), PeerId(3))],
        [Pair(PeerId(2), PeerId(99))],
        [Pair(PeerId(3), PeerId(3))],
        [Pair(PeerId(2), PeerId(2))],
        [Pair(PeerId(1), PeerId(3))],
        [Pair(math.nan, -1.5)],
        [Pair(PeerId(2), 3.0)],
        [Pair([], {})],
        [AskToSplit(PeerId(99)), AskToSplit(math.nan), AskToSplit([])],
        [AskToSplit(PeerId(1))],
        [None, 3, "Pair", Pair],
        None,
        17,
    ],
)
def test_decisions_that_make_no_sense_are_ignored(decisions: Any) -> None:
    strategy = ScriptedController()
    desk = Desk(strategy)
    client, worker, idle = running(desk, 2, workers=2)
    strategy.next = decisions
    assert desk.says(idle, messages.Idle(0.0)) == []
    assert strategy.saw.idle == {idle: 0.0}
    strategy.next = [Pair(worker, idle)]
    assert desk.says(worker, messages.NonIdle(1.0)) == [Send(worker, match(idle))]


def test_a_worker_is_asked_to_split_once_however_often_the_strategy_says_so() -> None:
    strategy = ScriptedController()
    desk = Desk(strategy)
    _, worker, idle = desk.team(2)
    strategy.next = [AskToSplit(worker)] * 3
    assert desk.says(idle, messages.Idle(0.0)) == [Send(worker, messages.Hungry(1))]
    strategy.next = [AskToSplit(worker)]
    assert desk.says(idle, messages.Idle(0.0)) == []


def test_an_idle_worker_is_paired_once_however_often_the_strategy_says_so() -> None:
    strategy = ScriptedController()
    desk = Desk(strategy)
    _, one, other, idle = desk.team(3)
    strategy.next = [Pair(one, idle), Pair(other, idle), Pair(one, idle)]
    assert desk.says(idle, messages.Idle(0.0)) == [Send(one, match(idle))]


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("error", [ValueError("a bug"), Unprintable(), RecursionError()])
def test_a_strategy_that_raises_is_followed_up_to_there(error: Exception) -> None:
    strategy = ScriptedController()
    desk = Desk(strategy)
    client, worker, idle = running(desk, 1, workers=2)

    def fails() -> Any:
        yield Pair(worker, idle)
        raise error

    strategy.next = fails
    assert desk.says(idle, messages.Idle(0.0)) == [Send(worker, match(idle))]
    assert desk.core.strategy_error is error
    assert desk.says(worker, result(group(member(0, 1))))[:2] == [
        Send(client, value(0)),
        Send(client, messages.JobDone(JOB)),
    ]


# --- anything at all

small = st.integers(0, 4)
peers = small.map(PeerId)
jobs = st.sampled_from([JOB, JobId(1)])
runs = st.sampled_from([ROOT, RUN, RunId(RUN + 1), RunId(3)])
digests = st.sampled_from([FN, REDUCE, b"", b"unknown"])
reals = st.sampled_from([0.0, -1.0, 0.01, 5.0, 1e300, math.nan, math.inf])
payloads = st.builds(Payload, small, st.integers(1, 5), digests, st.binary(max_size=2))


def ranged(build: Any, *before: Any, after: Sequence[Any] = ()) -> Any:
    pairs = st.tuples(small, st.integers(1, 4)).map(lambda pair: (pair[0], pair[0] + pair[1]))
    return st.tuples(st.tuples(*before), pairs, st.tuples(*after)).map(lambda all_: build(*all_[0], *all_[1], *all_[2]))


batches = ranged(Batch, jobs, runs, after=(small, runs, small, payloads)) | st.sampled_from(
    [tasks(0, 3), tasks(3, 4), *CHILDREN]
)
members = ranged(Member, runs, after=(small, runs, small, runs, st.lists(batches, max_size=2).map(tuple)))
failures = st.none() | st.just(Failure("exception", "", "", "", b""))
groups = st.builds(
    Group, st.integers(0, 4), st.just(b"v"), st.lists(members, max_size=3).map(tuple), reals, failures
) | st.sampled_from([PARENT, child(0, 1), child(1, 2), group(member(0, 2)), replace(PARENT, kind=COMBINED)])
options = st.builds(
    JobOptions,
    placement=st.sampled_from(["first", "spread", "", "?"]),
    strategy=st.sampled_from(["", "?", *registry.BUILT_IN]),
    reduce=st.sampled_from([b"", REDUCE]),
    retries=st.integers(-1, 2),
    crash_limit=st.integers(-1, 2),
)
anything = st.one_of(
    st.builds(messages.OpenJob, jobs, options),
    st.builds(messages.Function, jobs, digests, st.just(b"f")),
    st.builds(messages.Submit, batches),
    st.builds(messages.CloseJob, jobs, small),
    ranged(messages.Cancel, jobs),
    st.builds(messages.Ask, small, st.sampled_from(["status", "report", "?"]), jobs),
    st.builds(messages.NonIdle, reals, small),
    st.builds(messages.Idle, reals),
    st.builds(messages.AskThrough, peers),
    st.builds(messages.AskTarget, reals),
    st.builds(messages.Asked, jobs, small, small),
    st.builds(messages.AskWork, reals, st.booleans()),
    st.builds(messages.Balance, st.sampled_from(["sb", "?"]), st.booleans()),
    st.builds(messages.Match, peers, st.just("host"), small),
    st.builds(messages.Hungry, small),
    st.builds(messages.SendWork, small, peers, st.lists(batches, max_size=3).map(tuple)),
    st.builds(messages.Ack, small),
    st.builds(messages.Relay, peers, small, st.lists(batches, max_size=3).map(tuple)),
    st.builds(messages.NoWork, peers, peers),
    st.builds(
        messages.Result,
        jobs,
        st.lists(groups, max_size=3).map(tuple),
        st.lists(st.builds(messages.Moved, peers, small), max_size=2).map(tuple),
    ),
    st.builds(messages.AskInventory, small),
    st.builds(messages.Inventory, small, st.lists(ranged(Span, jobs, runs), max_size=3).map(tuple)),
    st.builds(messages.JobEnded, jobs),
    st.builds(messages.Goodbye, st.just("")),
)
happenings = st.lists(
    st.one_of(
        st.tuples(st.just("says"), st.integers(1, 5), anything),
        st.tuples(st.just("leaves"), st.integers(1, 5), st.none()),
        st.tuples(st.just("joins"), st.integers(6, 9), st.none()),
        st.tuples(st.just("waits"), st.integers(0, 60), st.none()),
    ),
    max_size=30,
)


@settings(deadline=None, max_examples=300, derandomize=True)
@given(
    happenings=happenings,
    reduce=st.booleans(),
    placement=st.sampled_from(["first", "spread"]),
    strategy=st.sampled_from(registry.BUILT_IN),
)
def test_whatever_peers_say_nothing_is_raised_and_the_books_balance(
    happenings: list[Any], reduce: bool, placement: str, strategy: str
) -> None:
    desk = Desk()
    client, worker, *_ = desk.team(3)
    chosen = replace(OPTIONS, placement=placement, reduce=REDUCE if reduce else b"", strategy=strategy)
    open_job(desk, client, chosen)
    desk.says(client, messages.Submit(tasks(0, 3)))
    for what, number, message in happenings:
        peer = PeerId(number)
        if what == "says":
            said = desk.says(peer, message)
        elif what == "leaves":
            said = desk.leaves(peer)
        elif what == "joins":
            said = desk.event(events.Joined(peer, "worker", "w", "host", 1, number - 6, where(peer)))
        else:
            desk.now += number / 2
            said = desk.event(events.Tick())
        assert all(isinstance(effect, Send | Disconnect) for effect in said)
        assert desk.core.strategy_error is None
        for report in desk.core.status().jobs:
            assert report.balanced
            assert report.outstanding >= 0
