"""Whoever is asked what it holds, and what is handed out again."""

from __future__ import annotations

from lbnet import limits
from lbnet.core import events
from lbnet.core.effects import Effect, Send
from lbnet.core.job import Job
from lbnet.protocol import messages
from lbnet.strategies.base import Pair
from lbnet.types import (
    ROOT,
    PeerId,
    Span,
)
from tests.core.desk import (
    JOB,
    Desk,
    group,
    introduced,
    match,
    member,
    open_job,
    result,
    running,
    silent,
    tasks,
    value,
    work,
)
from tests.core.scripted import ScriptedController


def ask(round_: int, *workers: PeerId) -> list[Effect]:
    return [Send(worker, messages.AskInventory(round_)) for worker in workers]


def test_when_a_worker_is_lost_the_living_are_asked_and_what_nobody_holds_is_placed_again() -> None:
    desk = silent()
    client, lost, one, other = running(desk, 6, workers=3)
    assert desk.leaves(lost) == ask(1, one, other)
    assert desk.says(one, messages.Inventory(1, (Span(JOB, ROOT, 0, 2),))) == []
    again = desk.says(other, messages.Inventory(1, (Span(JOB, ROOT, 4, 5),)))
    items = tasks(0, 6)
    assert again == introduced(one, work(2, items.part(5, 6), items.part(2, 4)))


def test_what_is_done_is_not_placed_again() -> None:
    desk = silent()
    client, lost, living = running(desk, 2, workers=2)
    desk.says(lost, result(group(member(0, 1))))
    desk.leaves(lost)
    assert desk.says(living, messages.Inventory(1, ())) == introduced(living, work(2, tasks(0, 2).part(1, 2)))


def test_work_that_is_placed_during_a_round_counts_as_held() -> None:
    desk = silent()
    client, lost, one, other = desk.team(3)
    open_job(desk, client)
    desk.says(client, messages.Submit(tasks(0, 1)))
    assert desk.leaves(lost) == ask(1, one, other)
    assert desk.says(one, messages.Inventory(1, (Span(JOB, ROOT, 0, 1),))) == []
    assert desk.says(client, messages.Submit(tasks(1, 3))) == introduced(one, work(2, tasks(1, 3)))
    assert desk.says(other, messages.Inventory(1, ())) == []


def test_another_loss_begins_another_round_and_late_answers_count_for_nothing() -> None:
    desk = silent()
    client, lost, too, living = running(desk, 2, workers=3)
    desk.leaves(lost)
    assert desk.leaves(too) == ask(2, living)
    assert desk.says(living, messages.Inventory(1, (Span(JOB, ROOT, 0, 2),))) == []
    assert desk.says(living, messages.Inventory(2, ())) == introduced(living, work(2, tasks(0, 2)))


def test_nobody_is_asked_when_there_is_no_job() -> None:
    desk = silent()
    _, lost, _ = desk.team(2)
    assert desk.leaves(lost) == []


def test_when_nothing_moves_and_tasks_are_left_the_controller_asks() -> None:
    desk = silent()
    client, one, other = running(desk, 1, workers=2)
    desk.says(one, messages.Idle(0.0))
    assert desk.says(other, messages.Idle(0.0)) == []
    assert desk.timer == desk.now + limits.STALL_S
    assert desk.event(events.Tick()) == []
    assert desk.tick() == ask(1, one, other)
    assert desk.says(one, messages.Inventory(1, ())) == []
    assert desk.says(other, messages.Inventory(1, ())) == [Send(one, work(2, tasks(0, 1)))]


def test_a_worker_that_has_some_work_is_no_stall() -> None:
    desk = silent()
    client, one, other = running(desk, 1, workers=2)
    desk.says(one, messages.Idle(0.01))
    desk.says(other, messages.Idle(0.0))
    assert desk.timer is None


def test_a_match_that_may_come_to_nothing_does_not_hide_a_stall() -> None:
    strategy = ScriptedController()
    desk = Desk(strategy)
    client, one, other = running(desk, 1, workers=2)
    desk.says(one, messages.Idle(0.0))
    strategy.next = [Pair(one, other)]
    assert desk.says(other, messages.Idle(0.0)) == [Send(one, match(other))]
    assert desk.tick() == ask(1, one, other)


def test_jobs_fail_when_the_last_worker_was_lost_and_none_comes() -> None:
    desk = Desk(ScriptedController(), no_workers_timeout_s=3.0)
    client, worker = running(desk, 2)
    assert desk.says(worker, result(group(member(0, 1)))) == [Send(client, value(0))]
    assert desk.leaves(worker) == []
    assert desk.timer == desk.now + 3.0
    text = f"no worker is left; the last one was lost (worker-{worker}: connection reset)"
    failed = messages.Failed(JOB, 1, False, "NoWorkersError", text, "", "controller", b"")
    assert desk.tick() == [Send(client, failed), Send(client, messages.JobDone(JOB))]


def test_another_worker_in_time_saves_the_job() -> None:
    desk = Desk(ScriptedController(), no_workers_timeout_s=3.0)
    client, worker = running(desk, 1)
    desk.leaves(worker)
    other = desk.joins()
    desk.now += 10.0
    assert desk.event(events.Tick()) == ask(1, other)
    assert desk.says(other, messages.Inventory(1, ())) == introduced(other, work(2, tasks(0, 1)))


def test_the_requester_of_a_lost_donor_is_told_that_nothing_comes() -> None:
    desk = Desk()
    client, donor, requester = running(desk, 2, workers=2)
    desk.says(donor, messages.NonIdle(1.0))
    assert desk.says(requester, messages.Idle(0.0)) == [Send(donor, match(requester))]
    assert desk.leaves(donor) == [Send(requester, messages.NoWork(donor, requester)), *ask(1, requester)]


def test_the_donor_of_a_relay_to_a_lost_worker_need_not_keep_it() -> None:
    desk = silent()
    client, donor, requester = running(desk, 2, workers=2)
    desk.says(donor, messages.Relay(requester, 31, (tasks(0, 2).part(1, 2),)))
    assert desk.leaves(requester) == [Send(donor, messages.Ack(31)), *ask(1, donor)]
    assert desk.says(donor, messages.Inventory(1, (Span(JOB, ROOT, 0, 1),))) == [
        Send(donor, work(3, tasks(0, 2).part(1, 2)))
    ]


def test_the_report_says_why_tasks_were_placed_again() -> None:
    desk = silent()
    _, one, other = running(desk, 2, workers=2)
    desk.leaves(one)
    desk.says(other, messages.Inventory(1, ()))
    job = desk.core.job(JOB)
    assert job is not None
    report = job.report(desk.now)
    assert (report.requeued, report.requeues) == (2, {"a worker was lost": 2})
    assert Job.of(next(iter(job.snapshot()))).requeues == report.requeues  # type: ignore[arg-type]
