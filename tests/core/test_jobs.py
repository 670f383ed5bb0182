"""Which strategy is in force while jobs come and go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lbnet import limits
from lbnet.core import events
from lbnet.core.effects import Send
from lbnet.protocol import messages
from lbnet.protocol.messages import Message
from lbnet.types import (
    JobId,
    PeerId,
)
from tests.core.desk import (
    JOB,
    OPTIONS,
    SPREAD,
    Desk,
    answer,
    group,
    in_force,
    member,
    open_job,
    opening,
    opens,
    result,
    silent,
    tasks,
    told,
    where,
    with_strategy,
    work,
)
from tests.core.scripted import ScriptedController, strategy_of

OTHER_JOB = JobId(8)


def closes(desk: Desk, client: PeerId, worker: PeerId, job: JobId = JOB) -> list[Message]:
    """The BALANCE messages that the end of a job of one item leads to."""
    desk.says(client, messages.CloseJob(job, 1))
    return told(desk.says(worker, result(group(member(0, 1)), job=job)))


def test_the_strategy_of_a_job_is_in_force_from_its_first_item_on() -> None:
    desk = Desk()
    client, worker = desk.team(1)
    assert told(desk.says(client, *opening(with_strategy("pmap")))) == []
    assert told(desk.says(client, messages.Submit(tasks(0, 1)))) == [messages.Balance("pmap", False)]
    assert told(desk.says(client, messages.Submit(tasks(1, 2)))) == []
    assert desk.event(events.Joined(PeerId(9), "worker", "w", "h", 1, 1, where(PeerId(9)))) == [
        in_force(PeerId(9), "pmap")
    ]


def test_balance_is_said_on_change_and_not_else() -> None:
    desk = Desk()
    client, worker = desk.team(1)
    assert opens(desk, client, "sb") == []
    assert closes(desk, client, worker) == []
    assert opens(desk, client, "sb", OTHER_JOB) == []
    assert closes(desk, client, worker, OTHER_JOB) == []


def test_every_worker_hears_of_another_strategy() -> None:
    desk = Desk()
    client, one, other = desk.team(2)
    desk.says(client, *opening(with_strategy("pmap")))
    said = desk.says(client, messages.Submit(tasks(0, 1)))
    assert said[:2] == [in_force(one, "pmap"), in_force(other, "pmap")]


def test_the_job_that_was_opened_last_decides_and_after_it_the_one_before() -> None:
    desk = Desk()
    client, worker = desk.team(1)
    assert opens(desk, client, "pmap") == [messages.Balance("pmap", False)]
    assert opens(desk, client, "shared", OTHER_JOB) == [messages.Balance("shared", False)]
    # More items of the older one change nothing.
    assert told(desk.says(client, messages.Submit(tasks(1, 2)))) == []
    assert closes(desk, client, worker, OTHER_JOB) == [messages.Balance("pmap", False)]


def test_the_job_of_the_highest_priority_decides() -> None:
    desk = Desk()
    client, _ = desk.team(1)
    desk.says(client, *opening(replace(with_strategy("rp"), priority=1)))
    assert told(desk.says(client, messages.Submit(tasks(0, 1)))) == [messages.Balance("rp", True)]
    assert opens(desk, client, "pmap", OTHER_JOB) == []


def test_a_job_without_tasks_decides_nothing() -> None:
    desk = Desk()
    client, worker = desk.team(1)
    opens(desk, client, "pmap")
    opens(desk, client, "shared", OTHER_JOB)
    # Its input stays open, but all that it had is done.
    assert told(desk.says(worker, result(group(member(0, 1)), job=OTHER_JOB))) == [messages.Balance("pmap", False)]
    assert told(desk.says(client, messages.Submit(tasks(1, 2, job=OTHER_JOB)))) == [messages.Balance("shared", False)]


def test_the_job_that_was_opened_last_decides_whichever_had_items_first() -> None:
    desk = Desk()
    client, worker = desk.team(1)
    desk.says(client, *opening(with_strategy("pmap"), JOB))
    assert opens(desk, client, "shared", OTHER_JOB) == [messages.Balance("shared", False)]
    assert told(desk.says(client, messages.Submit(tasks(0, 1)))) == []


@pytest.mark.parametrize("how", ["cancelled", "left"])
def test_a_job_that_is_given_up_decides_no_more(how: str) -> None:
    desk = Desk()
    client, worker = desk.team(1)
    opens(desk, client, "pmap")
    other = desk.joins("client", 0)
    opens(desk, other, "shared", OTHER_JOB)
    said = (
        desk.says(other, messages.Cancel(OTHER_JOB, 0, 1))
        if how == "cancelled"
        else desk.leaves(other, on_purpose=True)
    )
    assert told(said) == [messages.Balance("pmap", False)]


def test_the_strategy_of_the_last_job_stays_in_force_when_nothing_is_left() -> None:
    desk = Desk()
    client, worker = desk.team(1)
    opens(desk, client, "pmap")
    assert closes(desk, client, worker) == []
    assert opens(desk, client, "pmap", OTHER_JOB) == []


def test_workers_that_ask_by_themselves_hear_when_work_exists_and_when_there_is_none() -> None:
    desk = Desk()
    client, worker = desk.team(1)
    assert opens(desk, client, "grr")[-1] == messages.Balance("grr", True)
    assert opens(desk, client, "grr", OTHER_JOB) == []
    assert closes(desk, client, worker) == []
    assert closes(desk, client, worker, OTHER_JOB) == [messages.Balance("grr", False)]
    assert opens(desk, client, "grr", JobId(9)) == [messages.Balance("grr", True)]
    # It is no news for one that does not ask; and for the next one that does, it is.
    assert opens(desk, client, "sb", JobId(10)) == [messages.Balance("sb", False)]
    assert closes(desk, client, worker, JobId(10)) == [messages.Balance("grr", True)]


def test_the_report_names_the_strategy_of_each_job_and_the_status_that_of_the_controller() -> None:
    desk = Desk()
    client, worker = desk.team(1)
    opens(desk, client, "rp")
    opens(desk, client, "", OTHER_JOB)
    assert answer(desk, client, "report")["strategy"] == "rp"
    assert answer(desk, client, "report", OTHER_JOB)["strategy"] == "sb"
    assert answer(desk, client, "status")["strategy"] == "sb"


def test_a_strategy_that_was_given_is_there_beside_the_others() -> None:
    desk = Desk(None, strategy_of(name="mine"))
    client, _ = desk.team(1)
    assert opens(desk, client, "mine") == [messages.Balance("mine", False)]
    assert opens(desk, client, "arr", OTHER_JOB)[-1] == messages.Balance("arr", True)


def test_a_strategy_grants_less_than_all_that_fits() -> None:
    strategy = ScriptedController()
    strategy.granted = lambda tasks: 1  # noqa: ARG005
    desk = Desk(strategy)
    client, worker = desk.joins("client", 0), desk.joins(slots=4)
    open_job(desk, client, SPREAD)
    desk.says(client, messages.Submit(tasks(0, 100)))
    assert desk.says(worker, messages.Idle(0.0))[-1] == Send(worker, work(1, tasks(0, 100).part(0, 1)))


def test_only_so_many_ended_jobs_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REPORTS_KEPT", 2)
    desk = silent()
    client, _ = desk.team(1)
    for number in (1, 2, 3):
        desk.says(client, messages.OpenJob(JobId(number), OPTIONS), messages.CloseJob(JobId(number), 0))
    assert [desk.core.job(JobId(number)) is None for number in (1, 2, 3)] == [False, False, False], "none is taken"
    for number in (1, 2, 3):
        desk.says(client, messages.Taken(JobId(number), 1))
    desk.says(client, messages.OpenJob(JobId(4), OPTIONS), messages.CloseJob(JobId(4), 0))
    assert [desk.core.job(JobId(number)) is None for number in (1, 2, 3)] == [True, False, False]
