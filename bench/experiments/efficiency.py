"""How much of p slots does lbnet turn into speedup, for each strategy, number of workers and workload?

The table that the origin of this design measured: strategy, workers, tasks, makespan T_p, overhead p*T_p - T_1,
speedup S = T_1 / T_p and efficiency E = S / p (Kumar, Grama, Vempaty 1994). **T_1 is the time of the sequential
program, measured in the same run**, interleaved with the others; ``t1_report`` is lbnet's own sum of the seconds
its slots spent in user code, which leaves out what its tasks cost themselves by running beside others. All times in
seconds, medians of the repetitions; ``spread`` is (slowest - fastest) / median of the makespans.

Run ``python -m bench.experiments.efficiency``; ``--quick`` for a look in less than a minute.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import catalog
from bench.harness import Comparison, Row, Seat, close_all, compare
from bench.machine import machine_facts
from bench.peers.lbnet_cluster import LbnetCluster
from bench.peers.sequential import Sequential
from bench.report import (
    RESULTS,
    Cell,
    Progress,
    as_json,
    draw,
    machine_line,
    markdown_table,
    notes,
    write_csv,
    write_text,
)
from bench.seats import ProcessSeat
from bench.workload import Workload
from lbnet.strategies import registry

MEASURED_COLUMNS = (
    "strategy",
    "workers",
    "tasks",
    "makespan",
    "overhead",
    "speedup",
    "efficiency",
    "workload",
    "placement",
    "repeats",
    "spread",
    "t1_sequential",
    "t1_report",
    "moved_batches",
)
MACHINE_COLUMNS = ("cpu", "cores", "python", "lbnet", "commit", "measured")
COLUMNS = (*MEASURED_COLUMNS, *MACHINE_COLUMNS)
SHOWN = (
    "workload",
    "placement",
    "strategy",
    "workers",
    "tasks",
    "t1_sequential",
    "makespan",
    "overhead",
    "speedup",
    "efficiency",
    "spread",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """A workload, in two sizes, and where its first tasks are placed.

    Work from one root starts on one worker, so that all the rest has to be balanced.
    """

    placement: str
    full: Callable[[], Workload]
    quick: Callable[[], Workload]


PLANS: Mapping[str, Plan] = {
    "ms": Plan(
        "spread",
        lambda: catalog.durations("constant", 3.0, 0.001),
        lambda: catalog.durations("constant", 1.0, 0.001),
    ),
    "uniform": Plan(
        "spread",
        lambda: catalog.durations("uniform", 3.0, 0.005),
        lambda: catalog.durations("uniform", 1.0, 0.005),
    ),
    "lognormal": Plan(
        "spread",
        lambda: catalog.durations("lognormal", 3.0, 0.005),
        lambda: catalog.durations("lognormal", 1.0, 0.005),
    ),
    "giants": Plan(
        "spread",
        lambda: catalog.durations("giants", 3.0, 0.001),
        lambda: catalog.durations("giants", 1.0, 0.001),
    ),
    "T1": Plan("first", lambda: catalog.tree("T1"), lambda: catalog.tree("T1")),
    "T3": Plan("first", lambda: catalog.tree("T3"), lambda: catalog.tree("T3")),
    "unit": Plan("first", lambda: catalog.work_unit(3.0), lambda: catalog.work_unit(1.0)),
    "stdlib": Plan("spread", lambda: catalog.stdlib(0.5), lambda: catalog.stdlib(0.2)),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment; 1 if any result was wrong or anything failed."""
    options = _parser().parse_args(arguments)
    repeats = options.repeat or (1 if options.quick else 3)
    machine = machine_facts()
    names = options.workload or list(PLANS)
    pairs = pairs_of(options.strategy, options.workers)
    progress = Progress(repeats * (1 + len(pairs)) * len(names))
    seats: dict[tuple[str, int, str], Seat] = {}
    comparisons: list[Comparison] = []
    rows: list[dict[str, Cell]] = []
    try:
        for name in names:
            plan = PLANS[name]
            workload = plan.quick() if options.quick else plan.full()
            keys = [("", 1, ""), *((strategy, workers, plan.placement) for strategy, workers in pairs)]
            for key in keys:
                if key not in seats:
                    seats[key] = ProcessSeat(_adapter(*key))
            comparison = compare(workload, [seats[key] for key in keys], repeats=repeats, progress=progress)
            comparisons.append(comparison)
            found = zip(keys, comparison.rows, strict=True)
            rows += [row_of(key, comparison, row, machine) for key, row in found if key[0] and row.measured]
    finally:
        close_all(seats.values())
        progress.close()
    return _finish(options, machine, comparisons, rows)


def pairs_of(strategies: Sequence[str], workers: Sequence[int]) -> list[tuple[str, int]]:
    """Which strategy is measured with how many workers: one has nobody to balance with, so that is measured once."""
    return [(name, count) for name in strategies for count in workers if count > 1 or name == strategies[0]]


def row_of(key: tuple[str, int, str], comparison: Comparison, row: Row, machine: Mapping[str, str]) -> dict[str, Cell]:
    """One line of the table."""
    strategy, workers, placement = key
    base = comparison.base
    t1 = None if base is None else base.median_s
    tasks = row.fact("tasks")
    return {
        "strategy": strategy,
        "workers": workers,
        "tasks": row.count if tasks is None else round(tasks),
        "makespan": row.median_s,
        "overhead": None if t1 is None else row.slots * row.median_s - t1,
        "speedup": comparison.ratio(row),
        "efficiency": comparison.efficiency(row),
        "workload": comparison.workload.name,
        "placement": placement,
        "repeats": len(row.samples),
        "spread": row.spread,
        "t1_sequential": t1,
        "t1_report": row.fact("busy_s"),
        "moved_batches": row.fact("moved_batches"),
        **{name: machine[name] for name in MACHINE_COLUMNS},
    }


def paint(rows: Sequence[Mapping[str, Cell]]) -> Callable[[Any], None]:
    """Bars of efficiency: a group a workload, a bar a strategy and number of workers."""
    workloads = list(dict.fromkeys(str(row["workload"]) for row in rows))
    bars = list(dict.fromkeys((str(row["strategy"]), row["workers"]) for row in rows))

    def onto(canvas: Any) -> None:
        axes = canvas.subplots()
        width = 0.8 / max(1, len(bars))
        for number, (strategy, workers) in enumerate(bars):
            mine = [row for row in rows if (row["strategy"], row["workers"]) == (strategy, workers)]
            places = [workloads.index(str(row["workload"])) + (number + 0.5) * width - 0.4 for row in mine]
            label = f"{strategy}, {workers} worker{'' if workers == 1 else 's'}"
            drawn = axes.bar(places, [row["efficiency"] or 0.0 for row in mine], width * 0.92, label=label)
            axes.bar_label(drawn, fmt="%.2f", fontsize=7, padding=2, rotation=90 if len(bars) > 4 else 0)
        axes.axhline(1.0, color="0.6", linewidth=0.8)
        axes.set_xticks(range(len(workloads)), workloads, rotation=20, ha="right", fontsize=8)
        axes.set_ylabel("efficiency: T_1 / (p T_p), T_1 sequential in the same run")
        axes.set_ylim(0, 1.25)
        axes.legend(fontsize=8, ncols=max(3, len(bars) // 2), loc="upper left")
        axes.set_title("How much of p slots becomes speedup")

    return onto


def _finish(
    options: argparse.Namespace,
    machine: Mapping[str, str],
    comparisons: Sequence[Comparison],
    rows: Sequence[Mapping[str, Cell]],
) -> int:
    out: Path = options.out
    reasons = notes(comparisons)
    write_csv(out / "efficiency.csv", COLUMNS, rows)
    text = as_json(machine, [{name: row[name] for name in MEASURED_COLUMNS} for row in rows], notes=reasons)
    write_text(out / "efficiency.json", text)
    undrawn = draw(out / "efficiency.png", paint(rows), (18, 6), machine) if rows else "nothing was measured"
    if options.json:
        sys.stdout.write(text)
    else:
        print(markdown_table(SHOWN, [[row[name] for name in SHOWN] for row in rows]))
        print("speedup = T_1 / T_p and efficiency = speedup / workers, with the sequential T_1 of this run")
        print(machine_line(machine), end="")
    for line in filter(None, [*reasons, undrawn]):
        print(line, file=sys.stderr)
    print(f"written: {out / 'efficiency.csv'}, .json{'' if undrawn else ', .png'}", file=sys.stderr)
    return int(not rows or any(comparison.failed for comparison in comparisons))


def _adapter(strategy: str, workers: int, placement: str) -> Sequential | LbnetCluster:
    return LbnetCluster(workers, strategy, placement) if strategy else Sequential()


def _numbers(text: str) -> list[int]:
    numbers = [int(part) for part in text.split(",")]
    if min(numbers) < 1:
        raise ValueError("at least 1")
    return numbers


def _strategies(text: str) -> list[str]:
    known = registry.names()
    unknown = [name for name in text.split(",") if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"no strategy {', '.join(unknown)}; there are: {', '.join(known)}")
    return text.split(",")


def _workloads(text: str) -> list[str]:
    unknown = [name for name in text.split(",") if name not in PLANS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no workload {', '.join(unknown)}; there are: {', '.join(PLANS)}")
    return text.split(",")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.experiments.efficiency", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="small workloads, once each: a look, no measurement")
    parser.add_argument(
        "--out", type=Path, default=RESULTS, metavar="FOLDER", help="where the files go (bench/results)"
    )
    parser.add_argument("--strategy", type=_strategies, default=list(registry.BUILT_IN), metavar="A,B", help="all ours")
    parser.add_argument("--workers", type=_numbers, default=[1, 2], metavar="N,M", help="workers of one slot (1,2)")
    parser.add_argument("--workload", type=_workloads, metavar="A,B", help=f"of: {', '.join(PLANS)} (all)")
    parser.add_argument("--repeat", type=int, default=0, metavar="N", help="runs of each (3; with --quick 1)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    return parser


if __name__ == "__main__":
    sys.exit(main())
