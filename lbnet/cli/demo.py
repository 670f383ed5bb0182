"""``lbnet demo``: a badly unbalanced tree on a real cluster of this machine."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from lbnet import limits
from lbnet.cli import options, teach
from lbnet.cli.count import count
from lbnet.errors import UsageError
from lbnet.strategies import registry
from lbnet.types import Address, JobReport
from lbnet.workloads.uts_trees import NAMED_TREES, TreeCounts


@click.command(
    "demo",
    cls=teach.Command,
    short_help="Watch a cluster of this machine count an unbalanced tree.",
    examples=(
        "lbnet demo",
        "lbnet demo --tree T3 --workers 4",
        "lbnet demo --tree default --json",
        "lbnet demo --balance",
        "lbnet demo --connect 10.0.0.5:7077",
    ),
)
@options.connect("The controller of a cluster that runs; without it, one is started here, and ended.")
@click.option(
    "--tree",
    type=click.Choice(list(NAMED_TREES)),
    metavar="TREE",
    default="T1",
    show_default=True,
    help=f"One of {', '.join(NAMED_TREES)}. T1 to T5 have 4 million nodes, those with an L about 100 million, with XL "
    "billions; default has 1,732.",
)
@click.option(
    "--workers", type=click.IntRange(1, limits.SLOTS_MAX), default=2, show_default=True, help="Of one slot each."
)
@options.strategy(
    f"Who asks whom for work, and when: one of {', '.join(registry.BUILT_IN)}, of an installed package, or your own as "
    "MODULE:CLASS.",
    default=registry.DEFAULT,
    show_default=True,
)
@click.option(
    "--trace",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Record which tasks run and for how long, for the simulator to replay. FILE is new, and there at the end.",
)
@click.option("--balance", is_flag=True, help="Show where the time of all slots went: the gap to the ideal, by cause.")
@options.as_json
@click.pass_context
def command(
    ctx: click.Context,
    connect: Address | None,
    tree: str,
    workers: int,
    strategy: str,
    trace: Path | None,
    balance: bool,
    as_json: bool,
) -> None:
    """Count the nodes of an unbalanced tree on a controller and workers of this machine, or of a cluster, over TCP.

    All work starts as one task on the first worker. Nobody can tell how large a branch is: workers that have
    nothing to do are given parts of what the others hold. The tree is generated from SHA-1 hashes (UTS, Olivier
    et al. 2006), every node's hash is computed, and the published count must come out; if it does not, the exit
    code is 1.
    """
    from lbnet.cli import show, show_balance
    from lbnet.client.local_cluster import LocalCluster
    from lbnet.work import run_unit
    from lbnet.workloads import uts

    named = NAMED_TREES[tree]
    if connect is not None and trace is not None:
        raise UsageError("a trace is recorded by the controller: start that with --trace")
    with contextlib.ExitStack() as stack:
        if connect is None:
            cluster = stack.enter_context(
                LocalCluster(workers=workers, slots=1, placement="first", strategy=strategy, trace=trace)
            )
            client = stack.enter_context(cluster.client())
            client.wait_for_workers(workers)
            about = (
                f"controller at {cluster.address}, {count(workers, 'worker')} of one slot\n"
                f"processes {', '.join(map(str, cluster.pids))}"
            )
        else:
            client = stack.enter_context(options.client(connect, "demo")).with_options(
                placement="first", strategy=strategy
            )
            client.wait_for_workers(1)
            about = f"controller at {connect}, {count(len(client.status().workers), 'worker')}"
        if not as_json:
            click.echo(about)
            click.echo(
                f"tree {tree}: {' '.join(f'{name}={value}' for name, value in asdict(named.parameters).items())}"
            )
        out = show.console()
        watching = out.is_terminal and not as_json
        with out.status("counting; Ctrl-C ends it") if watching else contextlib.nullcontext():
            results = client.with_options(name=f"UTS {tree}").map(
                run_unit, [uts.root(named.parameters)], reduce=uts.combine
            )
            (found,) = results
        report = client.report(results, balance=balance)
    right = named.expected is None or found == named.expected
    if as_json:
        click.echo(json.dumps(_facts(tree, found, named.expected, report, right), indent=2))
    else:
        expected = "unknown" if named.expected is None else _counts(named.expected)
        click.echo(f"expected  {expected}")
        click.echo(f"found     {_counts(found)}{'' if right else '   WRONG'}\n")
        show.balance(report)
        click.echo(show.figures(report))
        click.echo(
            f"{count(_moved(report), 'batch', 'batches')} moved between workers; "
            f"{_nodes_per_s(found, report):,.0f} nodes/s, every hash computed"
        )
        if report.balance is not None:
            click.echo()
            show_balance.balance(report.balance)
        if trace is not None and trace.exists():
            click.echo(f"recorded in {trace}")
    ctx.exit(0 if right else 1)


def _counts(counts: TreeCounts) -> str:
    return f"{counts.nodes:,} nodes, {counts.leaves:,} leaves, depth {counts.depth:,}"


def _moved(report: JobReport) -> int:
    return sum(worker.batches_received for worker in report.workers)


def _nodes_per_s(found: TreeCounts, report: JobReport) -> float:
    return found.nodes / report.makespan_s if report.makespan_s > 0 else 0.0


def _facts(tree: str, found: TreeCounts, expected: TreeCounts | None, report: JobReport, right: bool) -> dict[str, Any]:
    from lbnet.client.reports import job_facts

    return {
        "tree": tree,
        "expected": None if expected is None else asdict(expected),
        "found": asdict(found),
        "right": right,
        "nodes_per_s": _nodes_per_s(found, report),
        "batches_moved": _moved(report),
        "report": job_facts(report),
    }
