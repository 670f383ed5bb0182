"""``lbnet status``: what the controller sees now."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from lbnet.address import DEFAULT_HOST, DEFAULT_PORT
from lbnet.cli import options
from lbnet.types import Address


@click.command("status", short_help="Show the workers and jobs of a cluster.")
@options.connect("The controller.", default=f"{DEFAULT_HOST}:{DEFAULT_PORT}", show_default=True)
@options.as_json
def command(connect: Address, as_json: bool) -> None:
    """Show the workers and jobs of a cluster as its controller sees them now.

    A worker is idle when it has a slot without work. Its surplus is the work that it offers to others, in
    estimated seconds.
    """
    from lbnet.cli import show
    from lbnet.client.client import Client
    from lbnet.client.reports import job_facts

    with Client(connect, name="status") as client:
        status = client.status()
    if as_json:
        facts = asdict(status) | {"address": str(connect), "jobs": [job_facts(job) for job in status.jobs]}
        click.echo(json.dumps(facts, indent=2))
        return
    slots = sum(worker.slots for worker in status.workers)
    click.echo(
        f"controller {connect}, lbnet {status.version}, up {status.uptime_s:.0f} s, strategy {status.strategy}, "
        f"placement {status.placement}\n"
        f"{len(status.workers)} workers with {slots} slots, {status.clients - 1} other clients"
    )
    out = show.console()
    if status.workers:
        out.print(show.workers(status))
    else:
        click.echo(f"no worker has joined; start one with: lbnet worker --connect {connect}")
    if status.jobs:
        out.print(show.jobs(status))
