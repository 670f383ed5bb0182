"""``lbnet explain``: where a task is, and why it does not run yet."""

from __future__ import annotations

import json

import click

from lbnet.address import DEFAULT_HOST, DEFAULT_PORT
from lbnet.cli import options, teach
from lbnet.types import Address


def _task(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, int]:
    job, _, item = value.partition("/")
    if not (job.isascii() and job.isdigit() and item.isascii() and item.isdigit()):
        raise click.BadParameter(f"{value!r} is no task: say JOB/ITEM, such as 16777217/4711", ctx, param)
    return int(job), int(item)


@click.command(
    "explain",
    cls=teach.Command,
    short_help="Say where a task is, and why it does not run yet.",
    examples=("lbnet explain 16777217/4711", "lbnet explain 16777217/4711 --connect 10.0.0.5:7077 --json"),
)
@click.argument("task", metavar="JOB/ITEM", callback=_task)
@options.connect("The controller.", default=f"{DEFAULT_HOST}:{DEFAULT_PORT}", show_default=True)
@options.as_json
def command(task: tuple[int, int], connect: Address, as_json: bool) -> None:
    """Say where item ITEM of JOB is: at the controller, at a worker, in a slot behind others, running, or settled.

    If it does not run yet, it is said what comes first. lbnet jobs lists the numbers of jobs; items count from 0.
    """
    with options.client(connect, "explain") as client:
        explanation = client.explain(*task)
    if as_json:
        click.echo(json.dumps({"item_state": explanation.state, **explanation.facts}, indent=2))
    else:
        for sentence in explanation.sentences():
            click.echo(sentence)
