"""``lbnet logs``: what tasks have printed, and what they print."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from lbnet.address import DEFAULT_HOST, DEFAULT_PORT
from lbnet.cli import options, teach
from lbnet.types import Address


@click.command(
    "logs",
    cls=teach.Command,
    short_help="Show what the tasks of a job have printed.",
    examples=(
        "lbnet logs 16777217",
        "lbnet logs 16777217 --task 4711 --connect 10.0.0.5:7077",
        "lbnet logs 16777217 --follow",
    ),
)
@click.argument("job", type=click.IntRange(0, (1 << 63) - 1))
@click.option("--task", metavar="ITEM", type=click.IntRange(0), help="Only what this item of the input printed.")
@click.option("--follow", is_flag=True, help="Go on with what is printed from now on, until the job has ended.")
@options.connect("The controller.", default=f"{DEFAULT_HOST}:{DEFAULT_PORT}", show_default=True)
@options.as_json
def command(job: int, task: int | None, follow: bool, connect: Address, as_json: bool) -> None:
    """Show what the tasks of JOB have printed: to standard output or error, by Python or by what Python called.

    Each line begins with the job, the item and the worker. An item that was tried again is there once for each time.

    Output is kept by the workers that ran the tasks, for as long as they live: of each task the beginning and the end,
    and of all tasks the latest. What was left out is counted. A worker shows the same on its own standard error.
    """
    from lbnet.client.output import prefix_of

    with options.client(connect, "logs") as client:
        lines = client.follow(job) if follow else iter(())
        shown = 0
        for output in client.logs(job, task):
            shown += 1
            if as_json:
                click.echo(json.dumps(asdict(output)))
            else:
                for line in output.text.splitlines():
                    click.echo(prefix_of(output) + line)
        for output in lines:
            if task is None or output.item == task:
                click.echo(json.dumps(asdict(output)) if as_json else prefix_of(output) + output.text)
        if not shown and not follow:
            what = f"job {job}" if task is None else f"item {task} of job {job}"
            click.echo(f"lbnet: no worker that is here has any output of {what}", err=True)
