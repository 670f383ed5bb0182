"""How must the work grow with the number of workers, so that 0.8 of them stays busy?

For each strategy and p = 8, 16, ... workers of one slot, the simulator is asked for the work W, in seconds, at which
efficiency is 0.8: one task with pieces of 1 ms that begins on one worker and splits (alpha-splitting, as in the model
of Kumar, Grama, Vempaty 1994). ``pmap`` moves nothing between workers: it gets a list with 20 items a worker, and its
work grows by longer items. Then lines are fitted, and held against the theory; and trees of known sizes are simulated
at the numbers of cores for which others have published efficiencies.

All times but ``cpu_s`` are virtual: they depend on the costs (``--costs``), not on this machine. What was simulated is
kept, and not simulated again while lbnet's code and the costs are the same; ``--fresh`` does.

Run ``python -m bench.experiments.isoefficiency``; ``--quick`` for up to 256 workers.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.iso import plot, tables
from bench.iso.driver import Driver
from bench.iso.store import Store, version
from bench.iso.study import Point, Study, holding, on_tree, sizes
from bench.iso.trial import Outcome
from bench.machine import machine_facts
from bench.report import RESULTS, Cell, as_json, draw, machine_line, markdown_table, write_csv, write_text
from lbnet.errors import UsageError
from lbnet.sim.costs import Costs
from lbnet.strategies import registry

WORKERS_MAX = 4096
QUICK_WORKERS_MAX = 256
EVENTS_MAX = 200_000_000
"""Of one simulation: less than an hour, and more than any of these needs."""

TREES: dict[str, tuple[int, ...]] = {"uts:T1L": (36, 144, 576, 2304), "uts:T1XXL": (144, 576, 2304, 9216)}
TREE_STRATEGIES = ("sb", "rp", "lifeline")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment; 1 if a result was wrong, 2 if it cannot be run as asked."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what was simulated is kept", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    begun = time.monotonic()
    machine = machine_facts()
    costs = Costs.load(options.costs) if options.costs else Costs()
    out: Path = options.out
    store = Store(out / "simulations.csv", version(costs), options.events_max, fresh=options.fresh)
    points: dict[str, list[Point]] = {name: [] for name in options.strategy}
    runs: dict[tuple[str, str], list[Outcome]] = {}
    most = min(options.workers_max, QUICK_WORKERS_MAX) if options.quick else options.workers_max
    studies: list[Study] = [holding(name, sizes(most), options.seed, found) for name, found in points.items()]
    if not options.no_trees:
        for tree, cores in TREES.items():
            for name in TREE_STRATEGIES:
                if name in points:
                    runs[tree, name] = []
                    wanted = [count for count in cores if count <= _cores_max(most, options.trees_max)]
                    studies.append(on_tree(name, tree, wanted, options.seed, runs[tree, name]))
    Driver(store, costs, options.events_max, options.jobs, _Progress(begun)).run(studies)
    found_points = [point for name in options.strategy for point in points[name]]
    found_runs = [outcome for outcomes in runs.values() for outcome in outcomes]
    seconds = time.monotonic() - begun
    _write(out, machine, costs, found_points, found_runs, seconds)
    print(f"took {seconds:,.0f} s on {options.jobs} processes", file=sys.stderr)
    wrong = [one for one in store.outcomes() if one.reason.startswith("wrong")]
    return int(bool(wrong) or not found_points)


def _cores_max(workers_max: int, trees_max: int) -> int:
    return trees_max or (workers_max if workers_max < WORKERS_MAX else 2304)


def _write(
    out: Path,
    machine: dict[str, str],
    costs: Costs,
    points: Sequence[Point],
    runs: Sequence[Outcome],
    seconds: float,
) -> None:
    rows = tables.point_rows(points)
    fits, limits, trees = tables.fit_rows(points), tables.limit_rows(points), tables.tree_rows(runs)
    laws = tables.law_rows(sorted({point.workers for point in points}))
    tree_columns = ("tree", "cores", *dict.fromkeys(one.trial.strategy for one in runs), *tables.SYSTEMS)
    missing = [
        *tables.unreached(points),
        *(f"{one.trial.workload}, {one.trial.strategy}: {one.reason}" for one in runs if one.reason),
    ]
    write_csv(out / "points.csv", tables.POINT_COLUMNS, rows)
    write_csv(out / "fits.csv", tables.FIT_COLUMNS, fits)
    write_csv(out / "trees.csv", tree_columns, trees)
    facts = {"fits": fits, "laws": laws, "limits": limits, "trees": trees, "notes": missing}
    text = as_json(machine, rows, costs=costs.facts(), wall_s=round(seconds, 1), **facts)
    write_text(out / "isoefficiency.json", text)
    parts = [
        f"Work W for efficiency 0.8\n\n{_table(tables.SHOWN, [row for row in rows if row['work_s']])}",
        f"Fits of W = c p^a, and W over the laws in the upper half\n\n{_table(tables.FIT_SHOWN, fits)}",
        f"The laws' own exponents over these p\n\n{_table(('law', 'a', 'a_upper'), laws)}",
        f"Where the controller is busy for {tables.BUSY} of the time\n\n{_table(tables.LIMIT_COLUMNS, limits)}",
    ]
    if trees:
        parts.append(f"Efficiencies on trees, simulated and published\n\n{_table(tree_columns, trees)}")
    report = "\n".join([*parts, *(f"- {line}" for line in missing), "", machine_line(machine)])
    write_text(out / "isoefficiency.md", report)
    print(report)
    undrawn = ""
    if any(point.found for point in points):
        undrawn = draw(out / "isoefficiency.png", plot.isoefficiency(points), (11, 5), machine)
        undrawn = draw(out / "controller.png", plot.controller(points), (11, 4), machine) or undrawn
    if undrawn:
        print(undrawn, file=sys.stderr)
    print(f"written: {out}", file=sys.stderr)


def _table(columns: Sequence[str], rows: Sequence[dict[str, Cell]]) -> str:
    return markdown_table(columns, [[row.get(name) for name in columns] for row in rows])


class _Progress:
    """A line for each simulation, with the seconds since the beginning."""

    def __init__(self, begun: float) -> None:
        self._begun = begun

    def __call__(self, outcome: Outcome) -> None:
        trial = outcome.trial
        came = outcome.reason or f"E {outcome.efficiency:.3f}"
        print(
            f"[{time.monotonic() - self._begun:6.0f} s] {trial.strategy}, {trial.workers} workers, {trial.workload}, "
            f"seed {trial.seed}: {came}, {outcome.events:,} events in {outcome.cpu_s:.1f} s",
            file=sys.stderr,
            flush=True,
        )


def _strategies(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in registry.names()]
    if unknown:
        raise argparse.ArgumentTypeError(f"no strategy {', '.join(unknown)}; there are: {', '.join(registry.names())}")
    return names


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"it must be {least} or more, not {value}")
        return value

    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.experiments.isoefficiency", description=(__doc__ or "").split("\n")[0]
    )
    add = parser.add_argument
    add("--quick", action="store_true", help=f"up to {QUICK_WORKERS_MAX} workers")
    add(
        "--workers-max", type=_at_least(8), default=WORKERS_MAX, metavar="N", help=f"the most workers ({WORKERS_MAX:,})"
    )
    add("--strategy", type=_strategies, default=list(registry.BUILT_IN), metavar="A,B", help="all of lbnet's own")
    add("--no-trees", action="store_true", help="leave out the trees with published efficiencies")
    add(
        "--trees-max",
        type=_at_least(1),
        default=0,
        metavar="N",
        help="the most workers for trees (2,304, or as --workers-max)",
    )
    add("--costs", type=Path, metavar="FILE", help="costs, as `lbnet calibrate` writes them (the defaults)")
    add("--seed", type=int, default=1, metavar="N", help="the first seed (1)")
    add("--events-max", type=_at_least(1), default=EVENTS_MAX, metavar="N", help="a simulation is given up after these")
    add("--jobs", type=_at_least(1), default=os.cpu_count() or 1, metavar="N", help="processes (one a core)")
    add("--fresh", action="store_true", help="simulate again what was simulated before")
    add("--out", type=Path, default=RESULTS / "isoefficiency", metavar="FOLDER", help="where the files go")
    return parser


if __name__ == "__main__":
    sys.exit(main())
