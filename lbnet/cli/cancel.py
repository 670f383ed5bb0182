"""``lbnet cancel``: end a job, its running tasks too."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from lbnet.address import DEFAULT_HOST, DEFAULT_PORT
from lbnet.cli import options, teach
from lbnet.types import Address


@click.command(
    "cancel",
    cls=teach.Command,
    short_help="End a job: nothing more of it starts, and what runs is ended.",
    examples=("lbnet cancel 16777217", "lbnet cancel 16777217 --connect 10.0.0.5:7077 --json"),
)
@click.argument("job", type=int)
@options.connect("The controller.", default=f"{DEFAULT_HOST}:{DEFAULT_PORT}", show_default=True)
@options.as_json
def command(job: int, connect: Address, as_json: bool) -> None:
    """End JOB, a number of lbnet status, whoever has submitted it.

    Its tasks that wait are dropped. Those that run get a moment to end by themselves, then their processes are ended.
    No other task is disturbed. Results that came before are not lost. A job that has ended already stays as it is.
    """
    with options.client(connect, "cancel") as client:
        report = client.cancel(job)
    if as_json:
        click.echo(json.dumps(asdict(report), indent=2))
    else:
        click.echo(
            f"job {report.job} is {report.state}: {report.done:,} tasks done, {report.failed:,} failed, "
            f"{report.cancelled:,} cancelled"
        )
