"""``lbnet drain``: let a worker leave, with nothing lost and nothing done twice."""

from __future__ import annotations

import json
import sys
import time

import click

from lbnet import limits
from lbnet.address import DEFAULT_HOST, DEFAULT_PORT
from lbnet.cli import options, teach
from lbnet.types import Address

_LOOK_S = 0.2


@click.command(
    "drain",
    cls=teach.Command,
    short_help="Let a worker leave: nothing is lost, nothing is done twice.",
    examples=("lbnet drain worker-3", "lbnet drain 3 --grace 10m --connect 10.0.0.5:7077", "lbnet drain 3 --no-wait"),
)
@click.argument("worker")
@options.connect("The controller.", default=f"{DEFAULT_HOST}:{DEFAULT_PORT}", show_default=True)
@options.duration(
    "--grace",
    "What running tasks get to finish, such as 30s, 10m or 2h. Those that still run then begin anew on other workers."
    "  [default: as long as they take]",
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Whether to wait until it has left.")
@options.as_json
def command(worker: str, connect: Address, grace: float | None, wait: bool, as_json: bool) -> None:
    """Let WORKER, a name or number of lbnet status, leave the cluster.

    It starts no more tasks. Those that wait there go to other workers, those that run finish, their results are
    delivered, and then its process ends. No task is blamed, and none is run twice. SIGTERM to the worker does the same,
    with a grace of a moment.
    """
    begun = time.monotonic()
    with options.client(connect, "drain") as client:
        left = client.drain(worker, limits.LEAVE_GRACE_MAX_S if grace is None else grace)
        if not as_json:
            click.echo(f"worker {worker} leaves")
        gone = False
        while wait and not gone:
            gone = all(other.id != left for other in client.status().workers)
            if not gone:
                time.sleep(_LOOK_S)
    seconds = time.monotonic() - begun
    if as_json:
        facts = {"id": left, "gone": gone, "seconds": round(seconds, 3)}
        json.dump(facts, sys.stdout, indent=2)
        click.echo()
    elif gone:
        click.echo(f"it has left, after {seconds:.1f} s")
