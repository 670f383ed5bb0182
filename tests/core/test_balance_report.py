"""A client asks where the time went: controller and workers find out together, and say nothing of it before."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lbnet.client.reports import job_report
from lbnet.core.effects import Effect, Send
from lbnet.protocol import messages
from lbnet.protocol.messages import Answer, Ask, Enquire, Enquired
from lbnet.strategies.sb import SchedulerBased
from lbnet.types import JobId, JobOptions, JobReport, PeerId
from tests.core import worker_desk
from tests.core.desk import JOB, Desk, group, member, result, running, tasks
from tests.core.desk import open_job as opens
from tests.core.team import CLIENT, Team
from tests.core.worker_desk import busy, has_job, values, work

OTHER_JOB = JobId(8)


def balance_of(team: Team, job: JobId = JOB) -> JobReport:
    """What the client is answered."""
    team.forget()
    team._send(CLIENT, PeerId(0), Ask(1, "balance", job))
    team.settle()
    (answer,) = team.heard(CLIENT, Answer)
    assert isinstance(answer, Answer)
    report = job_report(json.loads(answer.facts))
    assert report.balance is not None
    for part in (report.balance, *report.balance.workers):
        assert sum(part.causes.values()) == pytest.approx(part.slot_s - part.busy_s)
    return report


def nonzero(causes: dict[str, float]) -> dict[str, float]:
    return {cause: pytest.approx(seconds) for cause, seconds in causes.items() if abs(seconds) > 1e-9}


def finish(team: Team, peer: int, after_s: float) -> None:
    """The running ticket ends after so long, all of it spent in the user's function."""
    team.advance(after_s)
    (ran, *_) = team.posts[PeerId(peer)].tickets
    assert team.finish(peer, after_s / len(ran.batch))


def test_one_task_for_two_workers() -> None:
    team = Team(2, "sb", SchedulerBased())
    team.submit(1)
    finish(team, 1, 4.0)
    report = balance_of(team)
    assert team.kinds(1, 2) == {"Enquire": 2, "Enquired": 2}
    assert report.balance is not None
    one, two = report.balance.workers
    assert (one.name, one.slot_s, one.busy_s, nonzero(one.causes)) == ("w1", 4.0, 4.0, {})
    assert (two.name, two.slot_s, two.busy_s, nonzero(two.causes)) == ("w2", 4.0, 0.0, {"start": 4.0})
    assert (report.balance.ideal_s, report.balance.gap_s) == (2.0, 2.0)
    assert report.balance.advice.startswith("One task took 4 s, more than the ideal of 2 s")


def test_nothing_is_said_of_it_unless_somebody_asks() -> None:
    team = Team(2, "sb", SchedulerBased())
    team.submit(40)
    team.run_out()
    assert {"Enquire", "Enquired"}.isdisjoint(team.kinds())


def test_a_worker_that_is_gone_is_known_by_its_results_and_counts_for_its_part() -> None:
    team = Team(2, "sb", SchedulerBased())
    team.submit(3)
    finish(team, 1, 4.0)
    team.advance(1.0)
    team.leaves(1)
    team.run_out(1.0)
    report = balance_of(team)
    assert report.balance is not None
    one, two = report.balance.workers
    assert (one.answered, one.slot_s, one.busy_s, nonzero(one.causes)) == (False, 5.0, 4.0, {"unknown": 1.0})
    assert two.answered
    assert two.busy_s == pytest.approx(report.busy_s - 4.0)


def test_a_job_behind_another_one_waits_for_it() -> None:
    team = Team(1, "sb", SchedulerBased())
    team.submit(1)
    team.submit(1, job=OTHER_JOB)
    finish(team, 1, 4.0)
    finish(team, 1, 2.0)
    report = balance_of(team, OTHER_JOB)
    assert report.balance is not None
    assert (report.balance.slot_s, report.balance.busy_s) == (6.0, 2.0)
    assert nonzero(report.balance.causes) == {"other jobs": 4.0}


def test_a_worker_that_had_only_other_jobs_says_nothing_and_its_results_tell() -> None:
    team = Team(2, "sb", SchedulerBased())
    team.submit(2, job=OTHER_JOB)
    team.run_out(0.5)
    team.submit(1)
    team.submit(1, job=JobId(9))
    team.advance(2.0)
    at_two = next(peer for peer in (1, 2) if team.posts[PeerId(peer)].tickets[0].batch.job == JobId(9))
    assert team.finish(3 - at_two, 2.0)
    assert team.finish(at_two, 1.5)
    report = balance_of(team)
    assert report.balance is not None
    row = report.balance.workers[at_two - 1]
    assert row.answered
    assert nonzero(row.causes) == {"other jobs": 1.5, "start": 0.5}


def test_a_running_job_can_be_asked_about() -> None:
    team = Team(1, "sb", SchedulerBased())
    team.submit(1)
    team.advance(3.0)
    report = balance_of(team)
    assert report.state == "running"
    assert report.balance is not None
    assert nonzero(report.balance.causes) == {"unknown": 3.0}


# --- the controller ---------------------------------------------------------------------------------


def asks(desk: Desk, client: PeerId, job: JobId = JOB) -> list[Effect]:
    return desk.says(client, Ask(3, "balance", job))


def answered(effects: list[Effect], client: PeerId) -> Any:
    (effect,) = effects
    assert isinstance(effect, Send)
    assert effect.to == client
    assert isinstance(effect.message, Answer)
    return json.loads(effect.message.facts)


def test_nobody_is_asked_about_a_job_that_is_not_known() -> None:
    desk = Desk()
    client, *_ = desk.team(2)
    assert answered(asks(desk, client), client) is None


def test_without_workers_there_is_nothing_to_balance() -> None:
    desk = Desk()
    client = desk.joins("client", 0)
    opens(desk, client)
    assert answered(asks(desk, client), client)["balance"]["workers"] == []


def test_a_worker_that_answers_nonsense_or_not_at_all_harms_nothing() -> None:
    desk = Desk()
    client, one, two = running(desk, 2, workers=2)
    desk.now += 2.0
    desk.says(one, result(group(member(0, 2), seconds=1.5)))
    desk.now += 5.0
    assert asks(desk, client) == [Send(worker, Enquire(1, "balance", JOB, -1)) for worker in (one, two)]
    assert desk.says(one, Enquired(1, '{"window_s": -1, "tail_s": 1e400, "before_s": [null], "gaps": "x"}')) == []
    effects = desk.leaves(two)
    facts = answered([effect for effect in effects if isinstance(effect.message, Answer)], client)
    first, second = facts["balance"]["workers"]
    assert (first["answered"], first["busy_s"], first["causes"]["start"]) == (True, 1.5, 0.5)
    assert (second["answered"], second["busy_s"], second["causes"]["unknown"]) == (False, 0.0, 2.0)


def test_a_result_that_had_come_before_is_a_failure_of_its_worker() -> None:
    desk = Desk()
    client, one, two = running(desk, 3, workers=2)
    desk.now += 4.0
    desk.says(one, result(group(member(0, 2), seconds=2.0)))
    desk.says(two, result(group(member(0, 3), seconds=3.0)))
    asks(desk, client)
    desk.says(one, Enquired(1, "{}"))
    facts = answered(desk.says(two, Enquired(1, "{}")), client)
    assert facts["state"] == "done"
    rows = facts["balance"]["workers"]
    assert [(row["busy_s"], row["causes"]["failures"]) for row in rows] == [(2.0, 0.0), (1.0, 2.0)]
    assert facts["balance"]["busy_s"] == 3.0


# --- a worker ---------------------------------------------------------------------------------------


def says(desk: worker_desk.Desk, job: JobId = JOB) -> Any:
    (effect,) = desk.hears(Enquire(5, "balance", job, -1))
    assert isinstance(effect, Send)
    assert isinstance(effect.message, Enquired)
    assert effect.message.enquiry == 5
    return json.loads(effect.message.facts)


def test_a_worker_tells_what_its_slots_did_also_when_the_job_has_ended() -> None:
    desk = worker_desk.Desk(2)
    assert says(desk) == {}
    desk.now = 1.0
    has_job(desk)
    desk.now = 2.0
    desk.hears(work(tasks(0, 1)))
    desk.now = 5.0
    desk.done(1, values(0, 1, 2.5))
    desk.finished(1, 1)
    desk.now = 9.0
    desk.hears(messages.JobEnded(JOB))
    desk.now = 20.0
    facts = says(desk)
    assert {name: value for name, value in facts.items() if value} == {
        "window_s": 8.0, "inside_s": 3.0, "told_s": 2.5, "tail_s": 4.0, "tasks": 1, "tickets": 1, "longest_s": 2.5,
        "unused": 1,
    }  # fmt: skip


def test_attempts_that_are_tried_again_and_slots_that_die_are_told() -> None:
    desk = busy(1, options=JobOptions(retries=1))
    desk.now = 3.0
    desk.done(1, worker_desk.failed(0))
    desk.finished(1, 1)
    desk.now = 5.0
    desk.dies(2, 0)
    desk.now = 6.0
    desk.ready()
    facts = says(desk)
    assert (facts["retried_s"], facts["told_s"], facts["lost_s"], facts["down_s"]) == (0.1, 0.0, 2.0, 1.0)
    assert (facts["inside_s"], facts["tickets"]) == (5.0, 3)


def test_the_longest_task_is_known_whatever_it_came_with() -> None:
    desk = busy(4)
    desk.done(1, values(0, 1, 0.5), worker_desk.failed(1))
    assert says(desk)["longest_s"] == 0.5
    assert says(desk)["tasks"] == 2
