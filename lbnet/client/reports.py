"""The controller's facts, from JSON to the records of :mod:`lbnet.types` and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar

from lbnet.types import BalanceReport, ClusterStatus, JobReport, WorkerBalance, WorkerReport, WorkerStatus

R = TypeVar("R")


def _record(cls: type[R], facts: Mapping[str, Any], **more: Any) -> R:
    """A record from the facts that it knows: a newer controller may say more."""
    known = {field.name for field in fields(cls)}  # type: ignore[arg-type]  # only dataclasses come here
    return cls(**{name: value for name, value in facts.items() if name in known} | more)


def job_report(facts: Mapping[str, Any]) -> JobReport:
    """The report of a job."""
    workers, balance = tuple(_record(WorkerReport, worker) for worker in facts["workers"]), facts.get("balance")
    return _record(JobReport, facts, workers=workers, balance=None if balance is None else _balance(balance))


def _balance(facts: Mapping[str, Any]) -> BalanceReport:
    workers = tuple(_record(WorkerBalance, worker) for worker in facts["workers"])
    return _record(BalanceReport, facts, workers=workers)


def cluster_status(facts: Mapping[str, Any]) -> ClusterStatus:
    """The status of a cluster."""
    return _record(
        ClusterStatus,
        facts,
        workers=tuple(_record(WorkerStatus, worker) for worker in facts["workers"]),
        jobs=tuple(job_report(job) for job in facts["jobs"]),
    )


def job_facts(report: JobReport) -> dict[str, Any]:
    """A report as plain facts, with what is derived from them."""
    derived = {name: getattr(report, name) for name in ("overhead_s", "speedup", "efficiency", "balanced")}
    facts = asdict(report) | derived
    if report.balance is not None:
        facts["balance"] |= report.balance.figures()
    return facts
