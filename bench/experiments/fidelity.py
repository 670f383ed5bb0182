"""Does the simulator say what the cluster does: the same job, simulated with this machine's costs and really run?

For each strategy, workload and number of workers (of one slot each), real and simulated: the makespan as the
controller saw it (opened to done), the messages that it handled, the batches that workers handed each other, and the
questions for work. All are medians, of the repetitions and of simulations with several seeds. ``ratio`` is simulated
over real; ``spread`` is (slowest - fastest) / median of the real makespans, ``spread_simulated`` of the others.

**More slots than cores can only be compared with tasks that sleep**: they hold a slot and no core, and the cores are
left to messages, and to slots that wake up. The tree T1 is computed, on 2 workers only. Every cluster is on this
machine, so that all processes share its cores; the model does the same (``host_cores``), with costs that are measured
for each number of workers. A task that sleeps is late; the simulated ones take what such a task was measured to take
on one worker. Every run is the first of its function, and the model's is, too.

Run ``python -m bench.experiments.fidelity``; ``--quick`` for a look. Other load on the machine spoils it.
"""

from __future__ import annotations

import argparse
import math
import operator
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.catalog import SEED
from bench.machine import machine_facts
from bench.report import (
    RESULTS,
    Cell,
    Progress,
    as_json,
    draw,
    machine_line,
    markdown_table,
    write_csv,
    write_text,
)
from bench.sleeping import Sleeping, SleepingUnit, Splitting
from lbnet.cli.calibration import calibrate
from lbnet.client.client import Client
from lbnet.client.local_cluster import LocalCluster
from lbnet.sim.costs import Costs
from lbnet.sim.divisible import Divisible
from lbnet.sim.flat import Flat
from lbnet.sim.run import simulate_once
from lbnet.sim.tree import VisitedTree
from lbnet.sim.work import Workload
from lbnet.strategies import registry
from lbnet.types import JobReport
from lbnet.workloads import uts
from lbnet.workloads.synthetic import DurationKind, durations

TOLERANCE = 0.1
"""A row is good whose makespans differ by less than this share of the real one."""

PIECE_S = 0.001
LONG_S = 0.01
TREE = "T1"
SIMULATED_SEEDS = 9
JITTER = 0.2
"""Real runs differ from each other: where the order of events decides, so must the simulated ones."""

_NAPPING_S = 1.0
_COUNTS = 3
_SETTLE_S = 0.05
"""What workers still have to say of a job that is done changes its report."""

MEASURED_COLUMNS = (
    "workload",
    "strategy",
    "workers",
    "tasks",
    "real",
    "simulated",
    "ratio",
    "spread",
    "spread_simulated",
    "messages_real",
    "messages_simulated",
    "moved_real",
    "moved_simulated",
    "asks_real",
    "asks_simulated",
)
MACHINE_COLUMNS = ("cpu", "cores", "python", "lbnet", "commit", "measured")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run came to, real or simulated.

    Attributes:
        makespan_s: from opened to done.
        messages: that the controller handled, in and out.
        moved: batches that workers handed each other.
        asks: questions for work.
        tasks: that were done.
    """

    makespan_s: float
    messages: float
    moved: float
    asks: float
    tasks: float


@dataclass(frozen=True, slots=True)
class Job:
    """One workload twice: for the cluster, and for the simulator.

    Attributes:
        fn: makes the function of one item, from the number of the run.
        items: for the cluster.
        reduce: combines results, or None.
        expected: what must come out.
        model: for the simulator.
        placement: of the items.
    """

    fn: Callable[[int], Callable[[Any], Any]]
    items: Sequence[Any]
    reduce: Callable[[Any, Any], Any] | None
    expected: Sequence[Any]
    model: Workload
    placement: str


@dataclass(frozen=True, slots=True)
class Lateness:
    """What real tasks take that the model has to be told.

    Attributes:
        short_s: a task that sleeps for :data:`PIECE_S` takes so much longer.
        long_s: one that sleeps for :data:`LONG_S` or more.
        node_s: to visit a node of the tree.
    """

    short_s: float
    long_s: float
    node_s: float

    def slept_s(self, seconds: float) -> float:
        """What a task takes that sleeps for ``seconds``; in between, the lateness goes with their logarithm."""
        at = math.log(max(seconds, 1e-9) / PIECE_S) / math.log(LONG_S / PIECE_S)
        return seconds + self.short_s + min(max(at, 0.0), 1.0) * (self.long_s - self.short_s)


@dataclass(frozen=True, slots=True)
class Plan:
    """A workload whose size goes with the number of workers.

    Attributes:
        make: from the number of workers, the seconds that each shall work, and what real tasks take.
        workers_max: it needs a core for each worker.
    """

    make: Callable[[int, float, Lateness], Job]
    workers_max: float = math.inf


def _flat(kind: DurationKind, mean_s: float) -> Callable[[int, float, Lateness], Job]:
    def make(workers: int, each_s: float, lateness: Lateness) -> Job:
        count = round(workers * each_s / mean_s)
        planned = durations(kind, count, mean_s, SEED)
        name = f"{kind}, mean {mean_s * 1e3:g} ms"
        model = Flat(name, [lateness.slept_s(seconds) for seconds in planned])
        return Job(Sleeping, list(enumerate(planned)), None, range(count), model, "spread")

    return make


def _unit(workers: int, each_s: float, lateness: Lateness) -> Job:
    pieces = round(workers * each_s / PIECE_S)
    model = Divisible(f"unit, {PIECE_S * 1e3:g} ms", pieces, lateness.slept_s(PIECE_S), SEED)
    return Job(Splitting, [SleepingUnit(pieces, PIECE_S, SEED)], operator.add, [pieces], model, "first")


def _tree(workers: int, each_s: float, lateness: Lateness) -> Job:  # noqa: ARG001 - a published tree has one size
    named = uts.NAMED_TREES[TREE]
    assert named.expected is not None, "its count was published"
    model = VisitedTree(f"UTS {TREE}", named.parameters, named.expected.nodes, lateness.node_s)
    return Job(Splitting, [uts.root(named.parameters)], uts.combine, [named.expected], model, "first")


PLANS: Mapping[str, Plan] = {
    "constant": Plan(_flat("constant", 0.010)),
    "lognormal": Plan(_flat("lognormal", 0.020)),
    "giants": Plan(_flat("giants", 0.005)),
    "unit": Plan(_unit),
    TREE: Plan(_tree, workers_max=2),
}


# --- running --------------------------------------------------------------------------------------------


def really(client: Client, job: Job, run: int) -> Outcome:
    """Run a job on a cluster that has done nothing for a moment, and does not know how long its tasks take.

    Args:
        client: of the cluster.
        job: what to run.
        run: a number that no other run on this cluster has.

    Raises:
        AssertionError: a result is wrong.
    """
    view = client.with_options(placement=job.placement)
    before = client.status()
    results = view.map(job.fn(run), job.items, reduce=job.reduce)
    found = list(results)
    after = client.status()
    assert found == list(job.expected), f"{job.model.name}: wrong results"
    time.sleep(_SETTLE_S)
    looks = 2
    counted = [sum(status.got.values()) + sum(status.sent.values()) for status in (before, after)]
    return _outcome(client.report(results), counted[1] - counted[0] - looks)


def simulated(job: Job, strategy: str, workers: int, costs: Costs, seed: int) -> Outcome:
    """The same in the simulator."""
    result = simulate_once(
        job.model,
        strategy=strategy,
        workers=workers,
        slots=1,
        placement=job.placement,
        costs=replace(costs, jitter=JITTER),
        seed=seed,
    )
    kinds = (counts for where, counts in result.messages.items() if "controller" in where)
    return _outcome(result.report, sum(sum(counts.values()) for counts in kinds))


def _outcome(report: JobReport, messages: int) -> Outcome:
    moved = sum(worker.batches_received for worker in report.workers)
    asks = sum(worker.asks for worker in report.workers)
    return Outcome(report.makespan_s, messages, moved, asks, report.done)


def medians(outcomes: Sequence[Outcome]) -> Outcome:
    """Field by field."""
    names = Outcome.__slots__
    return Outcome(*(statistics.median([getattr(outcome, name) for outcome in outcomes]) for name in names))


def lateness(*, tree: bool) -> Lateness:
    """What real tasks take on one worker; the tree's nodes in the sequential program, if it is wanted."""
    late_s = []
    with LocalCluster(workers=1, slots=1) as cluster, cluster.client() as client:
        _warm_up(client, 1)
        for run, seconds in enumerate((PIECE_S, LONG_S)):
            count = round(_NAPPING_S / seconds)
            results = client.map(Sleeping(run), [(number, seconds) for number in range(count)])
            for _ in results:
                pass
            late_s.append(max(client.report(results).busy_s / count - seconds, 0.0))
    short_s, long_s = late_s
    if not tree:
        return Lateness(short_s, long_s, 0.0)
    took_s = []
    for _ in range(_COUNTS):
        began = time.perf_counter()
        nodes = uts.count_sequential(uts.NAMED_TREES[TREE].parameters).nodes
        took_s.append((time.perf_counter() - began) / nodes)
    return Lateness(short_s, long_s, statistics.median(took_s))


def measure(
    options: argparse.Namespace, costs_of: Mapping[int, Costs], late: Lateness, machine: Mapping[str, str]
) -> list[dict[str, Cell]]:
    """All rows of the table."""
    rows: list[dict[str, Cell]] = []
    progress = Progress(len(options.strategy) * len(options.workers))
    for workers in options.workers:
        plans = [PLANS[name] for name in options.workload]
        jobs = [plan.make(workers, options.seconds, late) for plan in plans if workers <= plan.workers_max]
        for strategy in options.strategy:
            progress(f"{strategy}, {workers} workers")
            real: list[list[Outcome]] = [[] for _ in jobs]
            with LocalCluster(workers=workers, slots=1, strategy=strategy) as cluster, cluster.client() as client:
                client.wait_for_workers(workers)
                _warm_up(client, workers)
                for run in range(options.repeat * len(jobs)):
                    real[run % len(jobs)].append(really(client, jobs[run % len(jobs)], run))
            for job, outcomes in zip(jobs, real, strict=True):
                seeds = 1 if isinstance(job.model, VisitedTree) else SIMULATED_SEEDS
                model = [simulated(job, strategy, workers, costs_of[workers], seed) for seed in range(seeds)]
                rows.append(row_of(job, strategy, workers, outcomes, model) | {c: machine[c] for c in MACHINE_COLUMNS})
    progress.close()
    return rows


def _warm_up(client: Client, workers: int) -> None:
    """Each slot imports what it needs, and each worker has met another."""
    for _ in client.map(Sleeping(-1), [(0, 0.02)] * 4 * workers):
        pass
    for _ in client.map(Splitting(-1), [SleepingUnit(20 * workers, PIECE_S, SEED)], reduce=operator.add):
        pass


def row_of(job: Job, strategy: str, workers: int, real: Sequence[Outcome], model: Sequence[Outcome]) -> dict[str, Cell]:
    """One line of the table, from several runs of each kind."""
    found, told = medians(real), medians(model)
    return {
        "workload": job.model.name,
        "strategy": strategy,
        "workers": workers,
        "tasks": round(found.tasks),
        "real": found.makespan_s,
        "simulated": told.makespan_s,
        "ratio": told.makespan_s / found.makespan_s,
        "spread": _spread(real),
        "spread_simulated": _spread(model),
        "messages_real": round(found.messages),
        "messages_simulated": round(told.messages),
        "moved_real": round(found.moved),
        "moved_simulated": round(told.moved),
        "asks_real": round(found.asks),
        "asks_simulated": round(told.asks),
    }


def _spread(outcomes: Sequence[Outcome]) -> float:
    times = [outcome.makespan_s for outcome in outcomes]
    return (max(times) - min(times)) / statistics.median(times)


def verdict(rows: Sequence[Mapping[str, Cell]]) -> str:
    """How many rows are good, and which are not."""
    off = [row for row in rows if abs(float(row["ratio"] or 0.0) - 1.0) > TOLERANCE]
    line = f"{len(rows) - len(off)} of {len(rows)} simulated makespans are within {TOLERANCE:.0%} of the real ones"
    named = (
        f"{row['workload']} with {row['strategy']} on {row['workers']} workers ({row['ratio']:.2f})" for row in off
    )
    return line + (f"; not: {'; '.join(named)}" if off else "")


# --- what is written ------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment."""
    options = _parser().parse_args(arguments)
    options.repeat = options.repeat or (1 if options.quick else 3)
    options.workers = options.workers or ([2, 8] if options.quick else [2, 8, 32])
    options.seconds = options.seconds or (0.5 if options.quick else 1.0)
    machine = machine_facts()
    costs_of = {workers: _costs(options, workers) for workers in options.workers}
    late = lateness(tree=TREE in options.workload)
    rows = measure(options, costs_of, late, machine)
    _write(options, machine, rows, costs_of, late)
    return 0


def _costs(options: argparse.Namespace, workers: int) -> Costs:
    if options.costs is not None:
        return Costs.load(options.costs)
    return calibrate(workers, lambda what: print(f"calibrating: {what}", file=sys.stderr)).costs


def _write(
    options: argparse.Namespace,
    machine: Mapping[str, str],
    rows: Sequence[Mapping[str, Cell]],
    costs_of: Mapping[int, Costs],
    late: Lateness,
) -> None:
    out: Path = options.out
    write_csv(out / "fidelity.csv", (*MEASURED_COLUMNS, *MACHINE_COLUMNS), rows)
    measured = [{name: row[name] for name in MEASURED_COLUMNS} for row in rows]
    facts = {str(workers): costs.facts() for workers, costs in costs_of.items()}
    text = as_json(machine, measured, costs=facts, lateness=asdict(late), verdict=verdict(rows))
    write_text(out / "fidelity.json", text)
    undrawn = draw(out / "fidelity.png", paint(rows), (6, 6), machine)
    if options.json:
        sys.stdout.write(text)
    else:
        print(markdown_table(MEASURED_COLUMNS, [[row[name] for name in MEASURED_COLUMNS] for row in rows]))
        print(f"Tasks sleep, except those of {TREE}: more slots than cores cannot compute at once.")
        late_us = f"{late.short_s * 1e6:.0f} us (1 ms) to {late.long_s * 1e6:.0f} us (10 ms)"
        print(f"They wake up {late_us} late, and the model's tasks with them. Times in seconds.")
        print(machine_line(machine), end="")
        print(verdict(rows))
    if undrawn:
        print(undrawn, file=sys.stderr)
    print(f"written: {out / 'fidelity.csv'}, .json{'' if undrawn else ', .png'}", file=sys.stderr)


def paint(rows: Sequence[Mapping[str, Cell]]) -> Callable[[Any], None]:
    """Simulated against real makespans: a colour a workload, a shape a number of workers."""

    def onto(canvas: Any) -> None:
        axes = canvas.subplots()
        workloads = list(dict.fromkeys(str(row["workload"]) for row in rows))
        counts = list(dict.fromkeys(row["workers"] for row in rows))
        for number, workload in enumerate(workloads):
            for shape, workers in zip("os^Dv*", counts, strict=False):
                mine = [row for row in rows if (row["workload"], row["workers"]) == (workload, workers)]
                label = workload if workers == counts[0] else None
                axes.scatter(
                    [row["real"] for row in mine],
                    [row["simulated"] for row in mine],
                    s=18,
                    color=f"C{number}",
                    marker=shape,
                    label=label,
                )
        times = [float(row[name] or 0.0) for row in rows for name in ("real", "simulated")]
        ends = [min(times) * 0.8, max(times) * 1.25]
        axes.plot(ends, ends, color="0.6", linewidth=0.8)
        axes.fill_between(
            ends, [end * (1 - TOLERANCE) for end in ends], [end * (1 + TOLERANCE) for end in ends], color="0.92"
        )
        axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
        axes.set_xlabel("real makespan [s]")
        axes.set_ylabel(f"simulated makespan [s]; the band is {TOLERANCE:.0%}")
        axes.legend(fontsize=8, title=f"workers: {', '.join(map(str, counts))} (o s ^)", title_fontsize=8)
        axes.set_title("What the simulator says, and what the cluster does")

    return onto


def _numbers(text: str) -> list[int]:
    numbers = [int(part) for part in text.split(",")]
    if min(numbers) < 1:
        raise ValueError("at least 1")
    return numbers


def _of(known: Sequence[str], what: str) -> Callable[[str], list[str]]:
    def names(text: str) -> list[str]:
        unknown = [name for name in text.split(",") if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"no {what} {', '.join(unknown)}; there are: {', '.join(known)}")
        return text.split(",")

    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.experiments.fidelity", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="2 and 8 workers, half as long, once each: a look")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER", help="where files go (bench/results)")
    built_in = list(registry.BUILT_IN)
    parser.add_argument("--strategy", type=_of(built_in, "strategy"), default=built_in, metavar="A,B", help="all")
    parser.add_argument("--workers", type=_numbers, metavar="N,M", help="of one slot (2,8,32)")
    parser.add_argument(
        "--workload", type=_of(list(PLANS), "workload"), default=list(PLANS), metavar="A,B", help="all of them"
    )
    parser.add_argument("--repeat", type=int, default=0, metavar="N", help="real runs of each (3; with --quick 1)")
    parser.add_argument("--seconds", type=float, default=0.0, metavar="S", help="of work for each worker (1)")
    parser.add_argument("--costs", type=Path, metavar="FILE", help="of `lbnet calibrate`, instead of those found now")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    return parser


if __name__ == "__main__":
    sys.exit(main())
