"""What would a user pick instead, and how does it compare, on the same machine in the same run?

Every peer in the settings that a user would try, naive and tuned by hand, each in an environment of its own that is
made at the first run; lbnet as it comes, a script beside a cluster that its commands started, with TLS and the journal.
Each adapter lives in a process of its own; repetitions are interleaved; every result is checked. A peer that cannot be
installed, cannot do a kind of work, or needs longer than the limit is in the table with its reason.

Run ``python -m bench.experiments.peers``; ``--quick`` for a look.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence

from bench import catalog
from bench.environments import Environment, environment, versions
from bench.harness import Comparison
from bench.peers.base import Adapter
from bench.peers.dask import Dask
from bench.peers.joblib_parallel import Joblib
from bench.peers.lbnet_cluster import LbnetService
from bench.peers.mpi_pool import MpiPool
from bench.peers.multiprocessing_pool import MultiprocessingPool
from bench.peers.parsl_htex import Parsl
from bench.peers.process_pool import ProcessPool
from bench.peers.ray_tasks import Ray
from bench.peers.sequential import Sequential
from bench.report import figure_text, markdown_table
from bench.side_by_side import BASELINE, OURS, measure, options_of, publish
from bench.workload import Workload


def adapters(workers: int) -> list[Adapter]:
    """Every adapter there is, a row each. A new peer is a line here."""
    return [
        Sequential(),
        LbnetService(workers),
        *(ProcessPool(workers, chunksize) for chunksize in (1, 100, 1_000)),
        *(MultiprocessingPool(workers, chunksize) for chunksize in (1, 100, 0)),
        *(Joblib(workers, batch) for batch in (0, 1_000)),
        *(Dask(workers, batch) for batch in (0, 100, 1_000)),
        *(Ray(workers, batch) for batch in (0, 100, 1_000)),
        *(Parsl(workers, batch) for batch in (0, 100, 1_000)),
        *(MpiPool(workers, chunksize) for chunksize in (1, 100, 1_000)),
    ]


NEEDS: Mapping[str, tuple[str, ...]] = {
    "joblib": ("joblib>=1.4",),
    "Dask distributed": ("distributed>=2024.8",),
    "Ray": ("ray>=2.40",),
    "Parsl": ("parsl>=2024.8",),
    "mpi4py.futures": ("mpi4py>=4.1", "mpich>=4.2"),
}
"""What is installed for a peer that is no part of Python, in an environment of its own."""


def made(peers: Collection[str]) -> dict[str, Environment]:
    """The environments of these peers, which are made if they are not there."""
    return {
        name: environment(name, needs, lambda what: print(what, file=sys.stderr))
        for name, needs in NEEDS.items()
        if name in peers
    }


def workloads(quick: bool) -> Mapping[str, Callable[[], Workload]]:
    """The questions, by the names that ``--workload`` knows."""
    work_s = 1.0 if quick else 10.0
    return {
        "noop": lambda: catalog.noop(200_000 if quick else 3_000_000),
        "ms": lambda: catalog.durations("constant", work_s / 2, 0.001),
        "lognormal": lambda: catalog.durations("lognormal", work_s, 0.01),
        "skewed": lambda: catalog.skewed(2 * work_s),
        "giants": lambda: catalog.hidden_giants(20_000, 10, 0.1) if quick else catalog.hidden_giants(),
        "subtrees": lambda: catalog.subtrees(200 if quick else catalog.SUBTREE_ROOT_CHILDREN),
        "T1": lambda: catalog.tree("T1"),
        "T3": lambda: catalog.tree("T3"),
        "stdlib": lambda: catalog.stdlib(0.1 if quick else 1.0),
        "submit": lambda: catalog.submit(50 if quick else 300),
        "megabytes": lambda: catalog.megabytes(10 if quick else 200),
    }


def best_of_each(comparisons: Sequence[Comparison]) -> str:
    """A line a workload: lbnet as it comes, beside each peer with whichever of its settings was fastest."""
    names = list(dict.fromkeys(row.name for comparison in comparisons for row in comparison.rows))
    peers = [name for name in names if name not in (BASELINE, OURS)]
    lines = []
    for comparison in comparisons:
        ours = comparison.best(OURS)
        line = [comparison.workload.name, "" if ours is None else figure_text(comparison, ours)]
        for name in peers:
            best = comparison.best(name)
            if best is None:
                line.append("-")
                continue
            ratio = None if ours is None else comparison.ratio(ours, best)
            beside = "" if ratio is None else f"; lbnet x{ratio:.3g}"
            line.append(f"{figure_text(comparison, best)} ({best.setting}{beside})")
        lines.append(line)
    return markdown_table(("workload", OURS, *(f"{name}, best setting" for name in peers)), lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment; 1 if any result was wrong or a peer broke."""
    question = (__doc__ or "").split("\n")[0]
    peers = list(dict.fromkeys(adapter.name for adapter in adapters(1)))
    options = options_of("peers", question, arguments, list(workloads(quick=False)), peers)
    makers = workloads(options.quick)
    chosen = [makers[name]() for name in options.workload or makers]
    wanted = {BASELINE, *(options.peer or peers)}
    places = made(wanted)
    for name, place in places.items():
        options.machine |= versions(place, NEEDS[name])
    comparisons = measure(
        options, chosen, [adapter for adapter in adapters(options.workers) if adapter.name in wanted], places
    )
    return publish(options, "peers", comparisons, best_of_each(comparisons))


if __name__ == "__main__":
    sys.exit(main())
