"""``lbnet controller``: the process that knows who is idle."""

from __future__ import annotations

import json

import click

from lbnet.address import DEFAULT_HOST, DEFAULT_PORT
from lbnet.cli import options
from lbnet.client.options import PLACEMENTS
from lbnet.strategies import registry
from lbnet.types import Address


@click.command("controller", short_help="Start a controller: the place where workers and clients meet.")
@click.option("--host", default=DEFAULT_HOST, show_default=True, help="Interface to listen on; 0.0.0.0 for all.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="0 for any free port."
)
@click.option(
    "--placement",
    type=click.Choice(PLACEMENTS),
    default=PLACEMENTS[0],
    show_default=True,
    help="Where a job's initial work goes: to free slots, or all to the first worker.",
)
@click.option(
    "--strategy",
    type=click.Choice(registry.names()),
    default=registry.DEFAULT,
    show_default=True,
    help="Who asks whom for work, and when.",
)
@options.as_json
def command(host: str, port: int, placement: str, strategy: str, as_json: bool) -> None:
    r"""Start a controller, and run it until Ctrl-C or SIGTERM.

    It prints its address and the line that starts a worker. It runs no tasks itself, and never looks into them.

    \b
        lbnet controller --port 7077
        lbnet controller --host 0.0.0.0 --port 0 --json
    """
    from lbnet.net.run import run_controller

    def on_ready(address: Address) -> None:
        if as_json:
            click.echo(json.dumps({"address": str(address), "placement": placement, "strategy": strategy}))
        else:
            click.echo(
                f"controller at {address}; Ctrl-C ends it. Start workers with\n  lbnet worker --connect {address}"
            )

    run_controller(host=host, port=port, placement=placement, strategy=strategy, on_ready=on_ready)
