"""All strategies with real workers and a real controller: the work gets done, by all, and then there is silence."""

from __future__ import annotations

import pytest

from lbnet.protocol import messages
from lbnet.strategies import registry
from lbnet.types import JobId
from tests.core.team import JOB, Team

ALL = pytest.mark.parametrize("strategy", registry.BUILT_IN)
THAT_BALANCE = [name for name in registry.BUILT_IN if name != "pmap"]
POLLING = [name for name in registry.BUILT_IN if registry.load(name).polls]


def state(at: Team) -> str:
    job = at.controller.job(JOB)
    assert job is not None
    report = job.report(at.now)
    assert report.balanced
    assert report.duplicates == report.orphans == report.requeued == 0
    return report.state


@ALL
@pytest.mark.parametrize("placement", ["first", "spread"])
def test_every_task_is_done_once(strategy: str, placement: str) -> None:
    at = Team(4, strategy, placement=placement)
    at.submit(60)
    at.run_out()
    assert state(at) == "done"
    job = at.controller.job(JOB)
    assert job is not None
    assert job.ledger.done == 60


@pytest.mark.parametrize("strategy", THAT_BALANCE)
def test_work_that_begins_at_one_worker_is_shared_by_all(strategy: str) -> None:
    at = Team(4, strategy)
    at.submit(60)
    ran = at.run_out()
    assert {*ran} == {1, 2, 3, 4}
    assert max(ran.values()) <= 30


@pytest.mark.parametrize("strategy", THAT_BALANCE)
def test_work_that_is_made_later_is_shared_by_all(strategy: str) -> None:
    at = Team(4, strategy)
    at.submit(1)
    at.advance(1.0)
    at.spawn(1, 64)
    assert {*at.run_out()} == {1, 2, 3, 4}


@ALL
def test_when_there_is_no_work_nobody_says_anything(strategy: str) -> None:
    at = Team(4, strategy)
    at.advance(1.0)
    at.submit(20)
    at.run_out()
    assert state(at) == "done"
    at.advance(1.0)
    at.forget()
    assert at.advance(1_000.0) == 0
    assert at.said == []


@ALL
def test_the_same_run_says_the_same(strategy: str) -> None:
    runs = []
    for _ in range(2):
        at = Team(3, strategy)
        at.submit(30)
        at.run_out()
        runs.append(at.said)
    assert runs[0] == runs[1]


@ALL
def test_a_worker_that_leaves_takes_no_task_with_it(strategy: str) -> None:
    at = Team(4, strategy)
    at.submit(40)
    at.advance(0.1)
    at.leaves(2)
    at.run_out()
    job = at.controller.job(JOB)
    assert job is not None
    report = job.report(at.now)
    assert (report.state, report.done, report.balanced) == ("done", 40, True)


@pytest.mark.parametrize("strategy", [name for name in THAT_BALANCE if name != "lifeline"])
def test_workers_that_cannot_reach_each_other_share_through_the_controller(strategy: str) -> None:
    at = Team(2, strategy)
    at.cut.add(frozenset({1, 2}))
    at.submit(20)
    ran = at.run_out()
    assert {*ran} == {1, 2}
    assert at.between_workers() == {}
    assert at.kinds()["Relay"] > 0


@pytest.mark.parametrize("strategy", POLLING)
def test_questions_are_answered_every_one(strategy: str) -> None:
    at = Team(3, strategy)
    at.submit(30)
    at.run_out()
    assert at.kinds()["AskTarget"] == at.kinds()["Target"]
    said = at.between_workers()
    waiting = sum(isinstance(message, messages.AskWork) and message.wait for _, _, message in at.said)
    # Those that wait get no answer when the work ends.
    assert 0 <= said["AskWork"] - said["NoWork"] - said["SendWork"] <= waiting


@ALL
def test_strategies_take_turns_in_one_cluster(strategy: str) -> None:
    at = Team(3, "sb")
    for number, name in enumerate((strategy, "sb", strategy, "rp", "shared", strategy)):
        at.submit(12, name, job=JobId(100 + number))
        at.run_out()
        job = at.controller.job(JobId(100 + number))
        assert job is not None
        report = job.report(at.now)
        assert (report.state, report.strategy, report.done) == ("done", name, 12)
