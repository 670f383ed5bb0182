"""``python -m bench.fuzz --seconds 60``: half of the time for decoders, half for open ports."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import click

from bench.fuzz.decoders import fuzz_decoders, fuzz_journal
from bench.fuzz.live import fuzz_ports
from lbnet.pool.cores import cores_available

_GROWTH_MAX_BYTES = 64 << 20
"""Of a process over its time: what an allocator keeps, and no more than that."""


@click.command()
@click.option("--seconds", default=60.0, show_default=True, help="For all of it.")
@click.option("--inputs", default=0, help="Inputs for the decoders, if that takes longer than half of the time.")
@click.option("--seed", default=0, show_default=True)
def main(seconds: float, inputs: int, seed: int) -> None:
    """Feed whatever reads bytes of others with bytes that are wrong, and see that nobody else is disturbed."""
    jobs = cores_available()
    began = time.monotonic()
    counts: Counter[str] = Counter()
    with (
        tempfile.TemporaryDirectory(prefix="lbnet-fuzz-") as folder,
        ProcessPoolExecutor(jobs, get_context("spawn")) as pool,
    ):
        decoding = [
            pool.submit(fuzz_decoders, seed * jobs + job, seconds / 2, -(-inputs // jobs)) for job in range(jobs)
        ]
        for each in decoding:
            done, grown = each.result()
            counts += done
            assert grown < _GROWTH_MAX_BYTES, f"a process that decodes has grown by {grown / 1e6:,.0f} MB"
        journals = [pool.submit(fuzz_journal, Path(folder), seed * jobs + job, 200) for job in range(jobs)]
        counts["whole journals"] += sum(each.result() for each in journals)
    for name, count in counts.items():
        click.echo(f"{count:12,}  {name}")
    click.echo(f"{counts.total():12,}  inputs for decoders in {time.monotonic() - began:,.0f} s on {jobs} processes: "
               "typed errors only, memory flat")  # fmt: skip
    began = time.monotonic()
    attack = fuzz_ports(seed, seconds / 2)
    for name, count in attack.counts.items():
        click.echo(f"{count:12,}  {name}")
    for name, grown in attack.grown_bytes.items():
        assert grown < _GROWTH_MAX_BYTES, f"the {name} has grown by {grown / 1e6:,.0f} MB"
    grown_mb = ", ".join(f"{name} {grown / 1e6:+,.1f} MB" for name, grown in attack.grown_bytes.items())
    click.echo(
        f"against open ports for {time.monotonic() - began:,.0f} s; an honest client got {attack.honest:,} results "
        f"meanwhile, 1,000 of them in {attack.slowest_s:,.2f} s at most; {grown_mb}"
    )


if __name__ == "__main__":
    main()
