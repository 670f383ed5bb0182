"""What does a task cost, how long does one take, and how fast do bytes pass?

No-op tasks through ``client.map`` beside the sequential loop and the process pool with three chunk sizes; 5,000
tasks of 1 ms; one ``submit`` at a time on an idle cluster; 1 MB in and 1 MB out. All in one run, interleaved;
lbnet has no chunk size to choose. The targets are those of the project for two workers of one slot on two cores.

Run ``python -m bench.experiments.throughput``; ``--quick`` for a look.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from bench import catalog
from bench.harness import Comparison
from bench.peers.base import Adapter
from bench.peers.lbnet_cluster import LbnetCluster
from bench.peers.process_pool import ProcessPool
from bench.peers.sequential import Sequential
from bench.report import markdown_table, show
from bench.side_by_side import measure, options_of, publish
from bench.workload import Workload


@dataclass(frozen=True, slots=True)
class Target:
    """What lbnet shall reach: at least (or at most, where less is better)."""

    workload: Workload
    value: float | None


def targets(quick: bool) -> list[Target]:
    """The questions with their targets; where there is none yet, it is only measured."""
    return [
        Target(catalog.noop(200_000 if quick else 2_000_000), 300_000.0),
        Target(catalog.durations("constant", 1.0 if quick else 5.0, 0.001), 0.90),
        Target(catalog.submit(100 if quick else 500), 2.0),
        Target(catalog.megabytes(20 if quick else 200), None),
    ]


def adapters(workers: int) -> list[Adapter]:
    """The loop, the process pool with its chunk sizes, lbnet."""
    pools = [ProcessPool(workers, chunksize) for chunksize in (1, 100, 1_000)]
    return [Sequential(), *pools, LbnetCluster(workers)]


def verdicts(comparisons: Sequence[Comparison], wanted: Sequence[Target]) -> str:
    """How lbnet stands beside its targets and beside the best chunk of the process pool."""
    lines: list[list[str]] = []
    for comparison, target in zip(comparisons, wanted, strict=True):
        figure = comparison.workload.figure
        ours, pool = comparison.best("lbnet"), comparison.best("ProcessPoolExecutor")
        value = None if ours is None else comparison.figure(ours)
        met = "no figure"
        if value is not None:
            met = "no target"
            if target.value is not None:
                reached = value <= target.value if figure.less_is_better else value >= target.value
                met = "met" if reached else "MISSED"
        beside = None if ours is None or pool is None else comparison.ratio(ours, pool)
        sign = "<=" if figure.less_is_better else ">="
        lines.append(
            [
                comparison.workload.name,
                show(value),
                figure.value,
                "" if target.value is None else f"{sign} {show(target.value)}",
                met,
                "" if pool is None or beside is None else f"{beside:.3g} of {pool.title}",
            ]
        )
    return markdown_table(("lbnet", "median", "unit", "target", "", "speed beside the pool's best"), lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment; 1 if any result was wrong or anything failed, not if a target was missed."""
    options = options_of("throughput", (__doc__ or "").split("\n")[0], arguments)
    wanted = targets(options.quick)
    comparisons = measure(options, [target.workload for target in wanted], adapters(options.workers))
    return publish(options, "throughput", comparisons, verdicts(comparisons, wanted))


if __name__ == "__main__":
    sys.exit(main())
