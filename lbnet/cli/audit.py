"""``lbnet audit``: whether every task of every job is accounted for, once."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from lbnet.address import DEFAULT_HOST, DEFAULT_PORT
from lbnet.cli import options, teach
from lbnet.cli.count import count
from lbnet.errors import UsageError
from lbnet.types import Address, JobReport

if TYPE_CHECKING:
    from lbnet.cli.show import Column


@click.command(
    "audit",
    cls=teach.Command,
    short_help="Check that every task is accounted for, once.",
    examples=("lbnet audit", "lbnet audit 16777217 --connect 10.0.0.5:7077 --json"),
)
@click.argument("job", type=int, required=False)
@options.connect("The controller.", default=f"{DEFAULT_HOST}:{DEFAULT_PORT}", show_default=True)
@options.as_json
def command(job: int | None, connect: Address, as_json: bool) -> None:
    """Check that every task of every job, or of JOB, is accounted for: once, whatever was killed meanwhile.

    It balances if submitted + spawned = done + failed + cancelled + outstanding. Executions are the tasks of which a
    result came: those beyond done + failed were run more than once, as a worker or a link was lost, and all but the
    first result of a task were dropped: as duplicates, or as orphans if the run of their parent was another one.
    Requeued tasks were placed again because nobody held them any more; it is said how that came.

    The exit code is 1 if a job does not balance.
    """
    from lbnet.cli import show

    with options.client(connect, "audit") as client:
        reports = client.status().jobs
    if job is not None:
        reports = tuple(report for report in reports if report.job == job)
        if not reports:
            raise UsageError(f"the controller at {connect} knows no job {job}: lbnet status lists those that it knows")
    if as_json:
        click.echo(json.dumps([_facts(report) for report in reports], indent=2))
    elif not reports:
        click.echo("there have been no jobs")
    else:
        show.table("Accounts", _columns(), [_facts(report) for report in reports])
        for report in reports:
            for cause, tasks in report.requeues.items():
                click.echo(f"job {report.job}: {count(tasks, 'task')} placed again because {cause}")
        unbalanced = [str(report.job) for report in reports if not report.balanced]
        click.echo(
            f"these do not balance: {', '.join(unbalanced)}" if unbalanced else "balanced: every task is accounted for"
        )
    if not all(report.balanced for report in reports):
        sys.exit(1)


def _facts(report: JobReport) -> dict[str, object]:
    return {
        "job": report.job,
        "name": report.name,
        "state": report.state,
        "submitted": report.submitted,
        "spawned": report.spawned,
        "done": report.done,
        "failed": report.failed,
        "cancelled": report.cancelled,
        "outstanding": report.outstanding,
        "balanced": report.balanced,
        "executions": sum(worker.tasks for worker in report.workers),
        "duplicates": report.duplicates,
        "orphans": report.orphans,
        "requeued": report.requeued,
        "requeues": report.requeues,
    }


def _columns() -> tuple[Column, ...]:
    from lbnet.cli.show import Column

    def number(name: str) -> Column:
        return Column(name, lambda facts: f"{facts[name]:,}")

    return (
        Column("job", lambda facts: facts["job"]),
        Column("name", lambda facts: facts["name"], text=True, spare=1),
        Column("state", lambda facts: facts["state"], text=True),
        *map(number, ("submitted", "spawned", "done", "failed", "cancelled", "outstanding")),
        *map(number, ("executions", "duplicates", "orphans", "requeued")),
    )
