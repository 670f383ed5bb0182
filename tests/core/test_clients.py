"""What clients say of their jobs, in order and out of order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lbnet.core.effects import Disconnect, Send
from lbnet.protocol import messages
from lbnet.protocol.messages import Message
from lbnet.types import (
    JobId,
    Payload,
    PeerId,
    RunId,
)
from tests.core.desk import (
    FN,
    JOB,
    OPTIONS,
    REDUCE,
    SPREAD,
    answer,
    group,
    introduced,
    member,
    open_job,
    result,
    running,
    silent,
    tasks,
    work,
)


@pytest.mark.parametrize(
    "message",
    [
        messages.Submit(tasks(1, 2)),
        messages.Submit(tasks(0, 3)),
        messages.Submit(tasks(3, 4)),
        messages.Submit(replace(tasks(2, 4), hi=3)),
        messages.Submit(replace(tasks(2, 3), hi=4)),
        messages.Submit(tasks(2, 3, origin=RunId(5 << 44))),
        messages.Submit(tasks(2, 3, job=JobId(99))),
        messages.Submit(replace(tasks(2, 3), payload=Payload(2, 1, b"unknown", b""))),
        messages.Submit(replace(tasks(2, 3), payload=Payload(2, 1, b"", b""))),
        messages.Submit(replace(tasks(2, 3), payload=Payload(1, 2, FN, b""))),
        messages.CloseJob(JOB, 1),
        messages.CloseJob(JobId(99), 0),
        messages.Cancel(JobId(99), 0, 1),
        messages.OpenJob(JOB, OPTIONS),
        messages.Function(JobId(99), FN, FN),
        messages.Idle(0.0),
        messages.Result(JOB, (), ()),
        messages.JobDone(JOB),
    ],
)
def test_a_client_that_says_nonsense_is_disconnected(message: Message) -> None:
    desk = silent()
    client, worker = desk.team(1)
    open_job(desk, client)
    desk.says(client, messages.Submit(tasks(0, 2)))
    (effect,) = desk.says(client, message)
    assert isinstance(effect, Disconnect)
    assert effect.peer == client
    assert effect.reason
    job = desk.core.job(JOB)
    assert job is not None
    assert job.ledger.submitted == 2


def test_items_need_the_function_that_combines_them() -> None:
    desk = silent()
    client, _ = desk.team(1)
    desk.says(client, messages.OpenJob(JOB, replace(OPTIONS, reduce=REDUCE)), messages.Function(JOB, FN, FN))
    (effect,) = desk.says(client, messages.Submit(tasks(0, 1)))
    assert isinstance(effect, Disconnect)


def test_nothing_is_submitted_after_the_input_was_closed() -> None:
    desk = silent()
    client, _ = running(desk, 1)
    (effect,) = desk.says(client, messages.Submit(tasks(1, 2)))
    assert isinstance(effect, Disconnect)


def test_a_job_belongs_to_its_client() -> None:
    desk = silent()
    client, _ = running(desk, 1)
    other = desk.joins("client")
    for message in (messages.Cancel(JOB, 0, 9), messages.CloseJob(JOB, 1), messages.Submit(tasks(1, 2))):
        assert desk.says(other, message) == [Disconnect(other, f"job {JOB} is not yours")]


def test_what_comes_late_for_a_job_that_has_ended_is_ignored() -> None:
    desk = silent()
    client, worker = running(desk, 1)
    desk.says(client, messages.Cancel(JOB, 0, 1))
    assert desk.says(client, messages.Submit(tasks(1, 2))) == []
    assert desk.says(client, messages.CloseJob(JOB, 1)) == []
    assert desk.says(client, messages.Cancel(JOB, 0, 1)) == []
    assert desk.says(worker, messages.Function(JOB, FN, FN)) == []


def test_somebody_who_never_joined_is_disconnected() -> None:
    (effect,) = silent().says(PeerId(5), messages.Idle(0.0))
    assert isinstance(effect, Disconnect)


def test_when_a_client_leaves_its_jobs_are_cancelled() -> None:
    desk = silent()
    client, worker, untold = running(desk, 2, workers=2)
    assert desk.leaves(client, on_purpose=True) == [Send(worker, messages.JobEnded(JOB))]
    job = desk.core.job(JOB)
    assert job is not None
    assert (job.state, job.ledger.cancelled) == ("cancelled", 2)


def test_a_job_can_be_cancelled() -> None:
    desk = silent()
    client, worker = running(desk, 2)
    assert desk.says(client, messages.Cancel(JOB, 0, 2)) == [
        Send(client, messages.Cancelled(JOB, 0, 2)),
        Send(client, messages.JobDone(JOB)),
        Send(worker, messages.JobEnded(JOB)),
    ]


def test_items_can_be_cancelled_wherever_they_are() -> None:
    desk = silent()
    client, worker = desk.team(1)
    open_job(desk, client, SPREAD)
    items = tasks(0, 4)
    desk.says(client, messages.Submit(items))
    assert desk.says(worker, messages.Idle(0.0)) == introduced(worker, work(1, items.part(0, 1)), SPREAD)
    assert desk.says(client, messages.Cancel(JOB, 0, 2)) == [
        Send(client, messages.Cancelled(JOB, 0, 2)),
        Send(worker, messages.Withdraw(JOB, 0, 2)),
    ]
    assert desk.says(worker, messages.Idle(0.0)) == [Send(worker, work(2, items.part(2, 3)))]


def test_anybody_may_end_a_job_and_ending_it_again_changes_nothing() -> None:
    desk = silent()
    client, worker = running(desk, 2)
    other = desk.joins("client", 0)
    said = desk.says(other, messages.Ask(1, "cancel", JOB))
    assert said[:3] == [
        Send(client, messages.Cancelled(JOB, 0, 2)),
        Send(client, messages.JobDone(JOB)),
        Send(worker, messages.JobEnded(JOB)),
    ]
    report = answer(desk, other, "cancel")
    assert (report["state"], report["cancelled"], report["outstanding"]) == ("cancelled", 2, 0)
    assert answer(desk, other, "cancel", JobId(99)) is None


def test_a_job_ends_when_all_that_was_left_is_cancelled() -> None:
    desk = silent()
    client, worker = desk.team(1)
    open_job(desk, client, SPREAD)
    desk.says(worker, messages.Idle(0.0))
    desk.says(client, messages.Submit(tasks(0, 2)), messages.CloseJob(JOB, 2))
    desk.says(worker, result(group(member(0, 1))))
    assert desk.says(client, messages.Cancel(JOB, 1, 2)) == [
        Send(client, messages.Cancelled(JOB, 1, 2)),
        Send(client, messages.JobDone(JOB)),
        Send(worker, messages.Withdraw(JOB, 1, 2)),
        Send(worker, messages.JobEnded(JOB)),
    ]


def test_questions_are_answered_with_plain_facts() -> None:
    desk = silent()
    client, worker = running(desk, 2)
    desk.says(worker, result(group(member(0, 1), seconds=0.5)))
    status = answer(desk, client, "status")
    assert [(at["name"], at["tasks_done"], at["busy_s"], at["state"]) for at in status["workers"]] == [
        (f"worker-{worker}", 1, 0.5, "working")
    ]
    report = answer(desk, client, "report")
    assert (report["submitted"], report["done"], report["outstanding"], report["busy_s"]) == (2, 1, 1, 0.5)
    assert answer(desk, client, "report", JobId(99)) is None
    assert answer(desk, client, "the weather") is None


def test_the_report_says_who_gave_to_whom() -> None:
    desk = silent()
    client, donor, requester = running(desk, 2, workers=2)
    moved = (messages.Moved(donor, 3), messages.Moved(PeerId(99), 5))
    desk.says(requester, messages.Result(JOB, (group(member(1, 2)),), moved))
    workers = answer(desk, client, "report")["workers"]
    assert [(at["name"], at["batches_sent"], at["batches_received"]) for at in workers] == [
        (f"worker-{requester}", 0, 8),
        (f"worker-{donor}", 3, 0),
    ]
