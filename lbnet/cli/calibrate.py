"""``lbnet calibrate``: what everything costs on this machine, for the simulator."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from lbnet import limits
from lbnet.cli import options, teach


@click.command(
    "calibrate",
    cls=teach.Command,
    short_help="Measure what everything costs on this machine, for the simulator.",
    examples=("lbnet calibrate -o costs.json", "lbnet calibrate --workers 32 --json"),
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Write the costs there, for `lbnet simulate --costs FILE`.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, limits.SLOTS_MAX),
    help="Share the cores among so many workers while messages are measured: take as many as you want to simulate on "
    "this machine. 4 for each core if not given.",
)
@options.as_json
def command(output: Path | None, workers: int | None, as_json: bool) -> None:
    """Measure the costs of the simulator's model on this machine, with real clusters of this machine.

    That takes about forty seconds, on a machine that should do nothing else. A cluster that is on one machine shares
    its cores, and so do the costs that are found: with them the simulator predicts how this machine behaves. For many
    machines take the times that a process spends on messages from here, set host_cores to null, and latency_s and
    bandwidth_bytes_s to those of your network.
    """
    from lbnet.cli.calibration import calibrate

    found = calibrate(workers, lambda what: click.echo(f"measuring: {what}", err=True))
    if output is not None:
        found.costs.save(output)
    if as_json:
        click.echo(json.dumps({"costs": found.costs.facts(), "rows": [asdict(row) for row in found.rows]}, indent=2))
        return

    for row in found.rows:
        value = f"{row.value * 1e6:,.2f} us" if row.unit == "s" else f"{row.value:,.3g} {row.unit}"
        click.echo(f"{row.name:<22}{value.rstrip():>18}  {row.how}")
    if output is not None:
        click.echo(f"written: {output}")
