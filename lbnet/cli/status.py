"""``lbnet status``: what the controller sees now."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from lbnet.address import DEFAULT_HOST, DEFAULT_PORT
from lbnet.cli import options, teach
from lbnet.cli.count import count
from lbnet.types import Address


@click.command(
    "status",
    cls=teach.Command,
    short_help="Show the workers and jobs of a cluster.",
    examples=("lbnet status", "lbnet status --connect 10.0.0.5:7077 --json"),
)
@options.connect("The controller.", default=f"{DEFAULT_HOST}:{DEFAULT_PORT}", show_default=True)
@options.as_json
def command(connect: Address, as_json: bool) -> None:
    """Show the workers and jobs of a cluster as its controller sees them now.

    A worker is idle when it has a slot without work. Its surplus is the work that it offers to others, in
    estimated seconds. Of a job, all tasks that ever existed are counted: submitted + spawned = done + failed +
    cancelled + outstanding. T_p is its makespan; its efficiency is the share of that time in which slots ran tasks.
    """
    from lbnet.cli import show
    from lbnet.client.reports import job_facts

    with options.client(connect, "status") as client:
        status = client.status()
    if as_json:
        facts = asdict(status) | {"address": str(connect), "jobs": [job_facts(job) for job in status.jobs]}
        click.echo(json.dumps(facts, indent=2))
        return
    slots = sum(worker.slots for worker in status.workers)
    click.echo(
        f"controller {connect}, lbnet {status.version}, up {status.uptime_s:,.0f} s, strategy {status.strategy}, "
        f"placement {status.placement}\n"
        f"{count(len(status.workers), 'worker')} with {count(slots, 'slot')}, "
        f"{count(status.clients - 1, 'other client')}\n"
        f"journal {status.journal}\n"
    )
    if status.workers:
        show.workers(status)
        for line in show.detours(status):
            click.echo(line)
    else:
        click.echo(f"no worker has joined; start one with\n  lbnet worker --connect {connect}\n")
    if status.jobs:
        show.jobs(status.jobs)
