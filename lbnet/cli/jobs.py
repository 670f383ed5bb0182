"""``lbnet jobs``: the jobs that a controller knows."""

from __future__ import annotations

import json

import click

from lbnet.address import DEFAULT_HOST, DEFAULT_PORT
from lbnet.cli import options, teach
from lbnet.types import Address


@click.command(
    "jobs",
    cls=teach.Command,
    short_help="List the jobs of a cluster, with what became of their tasks.",
    examples=("lbnet jobs", "lbnet jobs --running --connect 10.0.0.5:7077", "lbnet jobs --json"),
)
@click.option("--running", is_flag=True, help="Only those that have not ended.")
@options.connect("The controller.", default=f"{DEFAULT_HOST}:{DEFAULT_PORT}", show_default=True)
@options.as_json
def command(running: bool, connect: Address, as_json: bool) -> None:
    """List the jobs that the controller knows, the running ones last: their numbers are what the other commands take.

    lbnet results fetches what came of a job that was handed in, lbnet audit accounts for its tasks, lbnet cancel ends
    it.
    """
    from lbnet.cli import show
    from lbnet.client.reports import job_facts

    with options.client(connect, "jobs") as client:
        reports = [report for report in client.status().jobs if not running or report.state == "running"]
    if as_json:
        click.echo(json.dumps([job_facts(report) for report in reports], indent=2))
    elif reports:
        show.jobs(reports)
    else:
        click.echo("no job is running" if running else "there have been no jobs")
