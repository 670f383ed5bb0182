"""The controller's facts become records, and the records plain facts with what follows from them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from lbnet.client.reports import cluster_status, job_facts, job_report
from lbnet.types import (
    CAUSES,
    BalanceReport,
    ClusterStatus,
    JobId,
    JobReport,
    PeerId,
    WorkerBalance,
    WorkerReport,
    WorkerStatus,
)

REPORT = JobReport(
    job=JobId(5),
    name="f",
    state="done",
    strategy="sb",
    placement="spread",
    submitted=10,
    spawned=4,
    done=11,
    failed=1,
    cancelled=2,
    outstanding=0,
    duplicates=0,
    orphans=0,
    requeued=0,
    slots=4,
    makespan_s=2.0,
    busy_s=6.0,
    workers=(WorkerReport("a", 2, 6, 3.5, 1, 0), WorkerReport("b", 2, 5, 2.5, 0, 1)),
)
STATUS = ClusterStatus(
    version="1",
    address="h:1",
    strategy="sb",
    placement="spread",
    uptime_s=3.0,
    clients=1,
    workers=(WorkerStatus(PeerId(1), "a", "h", 9, "h:2", 2, "idle", 0.0, 6, 3.5),),
    jobs=(REPORT,),
)


def test_facts_come_back_as_the_records_that_they_were() -> None:
    assert job_report(json.loads(json.dumps(asdict(REPORT)))) == REPORT
    assert cluster_status(json.loads(json.dumps(asdict(STATUS)))) == STATUS


def test_what_a_newer_controller_says_more_is_left_out() -> None:
    facts = asdict(STATUS) | {"moon": "full"}
    facts["workers"][0]["mood"] = "good"
    facts["jobs"][0]["colour"] = "red"
    facts["jobs"][0]["workers"][0]["shoe"] = 43
    assert cluster_status(facts) == STATUS


def test_a_report_as_facts_has_what_is_derived() -> None:
    facts = job_facts(REPORT)
    assert (facts["overhead_s"], facts["speedup"], facts["efficiency"]) == (4 * 2.0 - 6.0, 3.0, 0.75)
    assert facts["balanced"] is True
    assert facts["workers"][1]["tasks"] == 5
    assert json.loads(json.dumps(facts))["job"] == 5


@pytest.mark.parametrize("missing", ["done", "failed", "cancelled", "submitted", "spawned"])
def test_books_that_do_not_add_up_are_not_balanced(missing: str) -> None:
    assert not job_facts(replace(REPORT, **{missing: getattr(REPORT, missing) + 1}))["balanced"]


def test_the_balance_comes_back_too_and_what_follows_from_it_is_told() -> None:
    causes = dict.fromkeys(CAUSES, 0.25)
    row = WorkerBalance("a", 2, 4.0, 2.0, causes, answered=False)
    balance = BalanceReport(2.0, 2.0, 4.0, 2.0, causes, (row,), "Do less.")
    report = replace(REPORT, balance=balance)
    assert job_report(json.loads(json.dumps(asdict(report)))) == report
    facts = job_facts(report)["balance"]
    assert (facts["ideal_s"], facts["gap_s"], facts["gap_percent"]) == (1.0, 1.0, 100.0)
    assert facts["workers"][0]["causes"] == causes
