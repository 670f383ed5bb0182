"""``lbnet worker``: the processes that compute."""

from __future__ import annotations

import math
import os
import sys
import time
from pathlib import Path

import click

from lbnet import limits
from lbnet.address import DEFAULT_HOST, DEFAULT_PORT
from lbnet.cli import options, teach
from lbnet.errors import UsageError
from lbnet.types import Address


@click.command(
    "worker",
    cls=teach.Command,
    short_help="Start a worker: it joins a controller and computes.",
    examples=(
        "lbnet worker",
        "lbnet worker --connect 10.0.0.5:7077 --token-file ~/lbnet.token",
        "lbnet worker --connect 10.0.0.5:7077 --slots 4 --name big-iron",
    ),
)
@options.connect("The controller.", default=f"{DEFAULT_HOST}:{DEFAULT_PORT}", show_default=True)
@click.option(
    "--slots",
    type=click.IntRange(1, limits.SLOTS_MAX),
    help="Compute processes.  [default: the cores that this process may use]",
)
@click.option(
    "--memory-limit",
    default="",
    metavar="SIZE",
    help='Memory of each slot, such as 2GB, or "auto": an equal share of what there is. A slot over it is ended.'
    "  [default: no limit]",
)
@click.option("--name", default="", help="Its name in status and reports.  [default: worker-N]")
@click.option(
    "--rejoin-timeout",
    type=click.FloatRange(min=0),
    default=limits.REJOIN_TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long it goes on without its controller, and looks for it. 0: it ends when the controller does.",
)
@options.duration(
    "--time-limit",
    "How long it may stay, such as 55m or 8h: it leaves in good order before that."
    "  [default: until the end of the Slurm job that it is part of, if any]",
)
@options.deadline(
    "Who says nothing to it for so long is taken for dead; what the controller says counts if that is longer."
    "  [default: what the controller says]"
)
def command(
    connect: Address,
    slots: int | None,
    memory_limit: str,
    name: str,
    rejoin_timeout: float,
    deadline: float | None,
    time_limit: float | None,
) -> None:
    """Start a worker, and run it until Ctrl-C, SIGTERM, or the end of its controller.

    Each of its slots is a process that runs one task at a time. Libraries such as OpenBLAS get the slot's share of the
    cores, unless OMP_NUM_THREADS and the like say otherwise. Other workers connect to it to hand over work.

    At Ctrl-C or SIGTERM it takes leave: what waits here, and what does not end within a moment, goes to other workers,
    and nobody is blamed. A second signal ends it at once. lbnet drain gives running tasks the time that they need.

    Modules that your tasks import must be installed here, or lie in the current folder.
    """
    from lbnet.net.run import run_worker

    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # for a strategy of your own

    def on_ready(name: str, peer: int) -> None:
        click.echo(f"worker {name} (number {peer}) has joined {connect}; Ctrl-C ends it")

    run_worker(
        connect=connect,
        slots=slots,
        name=name,
        on_ready=on_ready,
        memory_limit=memory_limit,
        rejoin_timeout_s=rejoin_timeout,
        deadline_s=deadline or 0.0,
        time_s=_time_of_allocation() if time_limit is None else time_limit,
        member=options.member(connect, "worker"),
    )


_SLURM_END = "SLURM_JOB_END_TIME"


def _time_of_allocation() -> float:
    """Seconds until the batch job ends that this worker is part of; for ever if there is none."""
    text = os.environ.get(_SLURM_END, "")
    if not text:
        return math.inf
    try:
        left_s = float(text) - time.time()
    except ValueError:
        left_s = math.nan
    if not 0 < left_s < math.inf:
        raise UsageError(f"{_SLURM_END} is {text!r}, which is no time to come: unset it, or say --time-limit")
    return left_s
