"""``lbnet controller``: the process that knows who is idle."""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path

import click

from lbnet.address import DEFAULT_HOST, DEFAULT_PORT
from lbnet.cli import options, teach
from lbnet.client.options import PLACEMENTS
from lbnet.errors import UsageError
from lbnet.strategies import registry
from lbnet.types import Address

_ALL_INTERFACES = {
    "0.0.0.0": (socket.AF_INET, "192.0.2.1"),  # noqa: S104 - it is looked up, not listened on
    "::": (socket.AF_INET6, "2001:db8::1"),
}
"""What stands for all interfaces, with an address of documentation: no machine has it."""


@click.command(
    "controller",
    cls=teach.Command,
    short_help="Start a controller: the place where workers and clients meet.",
    examples=("lbnet controller", "lbnet controller --host 0.0.0.0 --port 7077", "lbnet controller --port 0 --json"),
)
@click.option(
    "--host",
    default=DEFAULT_HOST,
    show_default=True,
    help="Interface to listen on. 0.0.0.0 is all of them: whoever reaches the port can then run programs on your "
    "workers, so let only a network that you trust reach it.",
)
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
@options.strategy(
    f"Who asks whom for work, and when, for jobs that do not say: one of {', '.join(registry.BUILT_IN)}, of an "
    "installed package, or your own as MODULE:CLASS.",
    default=registry.DEFAULT,
    show_default=True,
)
@click.option(
    "--trace",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Record which tasks run and for how long, for the simulator to replay. FILE is new, and there at the end.",
)
@options.as_json
def command(host: str, port: int, placement: str, strategy: str, trace: Path | None, as_json: bool) -> None:
    """Start a controller, and run it until Ctrl-C or SIGTERM.

    It prints its address and the line that starts a worker. It runs no tasks itself, and never looks into them.
    """
    from lbnet.net.run import run_controller

    if not host:  # perhaps a variable of a script that nobody has set: not a reason to listen to all the world
        raise UsageError("--host is empty: name an interface, or 0.0.0.0 for all of them")

    def on_ready(listening: Address) -> None:
        address = _as_seen_by_others(listening)
        if as_json:
            click.echo(json.dumps({"address": str(address), "placement": placement, "strategy": strategy}))
        else:
            click.echo(
                f"controller at {address}; Ctrl-C ends it. Start workers with\n  lbnet worker --connect {address}"
            )

    run_controller(host=host, port=port, placement=placement, strategy=strategy, on_ready=on_ready, trace=trace)


def _as_seen_by_others(listening: Address) -> Address:
    """An address to connect to: all interfaces together are none."""
    if listening.host not in _ALL_INTERFACES:
        return listening
    family, elsewhere = _ALL_INTERFACES[listening.host]
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((elsewhere, 9))  # sends nothing: it only asks which interface leads out of here
        return Address(str(probe.getsockname()[0]), listening.port)
    return Address(socket.gethostname(), listening.port)
