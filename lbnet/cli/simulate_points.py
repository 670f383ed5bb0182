"""What ``lbnet simulate`` runs: every combination of what was asked for, each in a process of its own.

It must not know how options are written, nor what is shown.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lbnet.cli import options
from lbnet.cli.count import count
from lbnet.errors import UsageError
from lbnet.sim.api import simulate
from lbnet.sim.costs import Costs
from lbnet.sim.recorded import Recorded
from lbnet.sim.result import SimulationResult
from lbnet.sim.work import Workload
from lbnet.sim.workloads import workload
from lbnet.trace.reader import read


@dataclass(frozen=True, slots=True)
class Source:
    """Where the tasks come from: the text of a workload, or a trace and the id of a job of it, None for the longest."""

    text: str
    trace: Path | None = None
    job: int | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """What all points share; the names are those of :func:`lbnet.simulate`.

    ``speeds`` are given to the workers in turn.
    """

    slots: int = 1
    placement: str | None = None
    costs: Costs = field(default_factory=Costs)
    speeds: tuple[float, ...] = (1.0,)
    joins: tuple[float, ...] = ()
    leaves: tuple[tuple[float, int], ...] = ()
    timeline: bool = False
    balance: bool = False


@dataclass(frozen=True, slots=True)
class Point:
    """One simulation."""

    source: Source
    strategy: str
    workers: int
    seed: int
    setting: Setting

    @property
    def title(self) -> str:
        """What tells it from the others, for people."""
        return f"{self.strategy} with {count(self.workers, 'worker')} on {self.source.text}, seed {self.seed}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a point came to. ``wall_s`` is real time, which nobody else can reproduce."""

    point: Point
    result: SimulationResult
    wall_s: float

    @property
    def right(self) -> bool:
        """Whether the job was done, and its results add up to what they should, where that is known."""
        result = self.result
        return result.report.state == "done" and not result.failed and result.expected in {None, result.total}


@dataclass(frozen=True, slots=True)
class Recording:
    """How a job went when it was recorded. ``slots`` are those of the whole cluster."""

    slots: int
    strategy: str
    placement: str
    state: str
    makespan_s: float


def combinations(
    sources: Sequence[Source],
    strategies: Sequence[str],
    workers: Sequence[int],
    seeds: Sequence[int],
    setting: Setting,
) -> list[Point]:
    """All points, each once: what differs less often comes first."""
    return list(
        dict.fromkeys(
            Point(source, strategy, number, seed, setting)
            for source in sources
            for strategy in strategies
            for number in workers
            for seed in seeds
        )
    )


def work_of(source: Source, seed: int) -> Workload:
    """The tasks.

    Raises:
        UsageError: there is no such workload, or the trace cannot be replayed.
    """
    if source.trace is not None:
        return _replay(source.trace, source.job)[0]
    return _workload(source.text, seed)


def recording(trace: Path, job: int | None) -> Recording:
    """How the job that would be replayed went.

    Raises:
        UsageError: the trace cannot be read, or has no such job.
    """
    return _replay(trace, job)[1]


def run(point: Point) -> Outcome:
    """Simulate one point.

    Raises:
        UsageError: it is impossible, or comes to no end; the sentence begins with its title.
    """
    setting, speeds = point.setting, point.setting.speeds
    began = time.perf_counter()
    try:
        # In another process, the folder of the user's own strategy must be found again.
        options.find_strategy(point.strategy)
        result = simulate(
            work_of(point.source, point.seed),
            strategy=point.strategy,
            workers=point.workers,
            slots=setting.slots,
            placement=setting.placement,
            seed=point.seed,
            costs=setting.costs,
            speeds=lambda index: speeds[index % len(speeds)],
            joins=setting.joins,
            leaves=setting.leaves,
            timeline=setting.timeline,
            balance=setting.balance,
        )
    except UsageError as error:
        raise UsageError(f"{point.title}: {error}") from None
    return Outcome(point, result, time.perf_counter() - began)


def run_all(points: Sequence[Point], jobs: int) -> list[Outcome]:
    """Simulate all points, and return what they came to in their order. A terminal is shown how far it is.

    Args:
        points: what to simulate.
        jobs: processes to use; with 1, or for a single point, it is done in this one.

    Raises:
        UsageError: a point is impossible, or comes to no end.
    """
    shows = sys.stderr.isatty() and len(points) > 1
    jobs = min(jobs, len(points))
    if jobs == 1:
        return _run_here(points, shows=shows)
    from lbnet.client.local_cluster import LocalCluster

    # Points are uneven, and nobody knows how much: that is what lbnet is for.
    with LocalCluster(workers=jobs, slots=1) as cluster, cluster.client() as client:
        return list(client.with_options(name="simulate").map(run, points, progress=shows))


def _run_here(points: Sequence[Point], *, shows: bool) -> list[Outcome]:
    from lbnet.client import progress

    advance = progress.bar("simulate", len(points)) if shows else progress.silent
    outcomes = []
    try:
        for point in points:
            outcomes.append(run(point))
            advance(1)
    finally:
        advance(-1)
    return outcomes


# Neighbours share their work: long lists are drawn, and traces read, once in a process.
_KEPT = 2


@functools.lru_cache(_KEPT)
def _workload(text: str, seed: int) -> Workload:
    return workload(text, seed=seed)


@functools.lru_cache(_KEPT)
def _replay(path: Path, job: int | None) -> tuple[Recorded, Recording]:
    trace = read(path)
    work = Recorded(trace, job)
    chosen = trace.jobs[work.job]
    opened, ended = chosen.opened, chosen.ended
    return work, Recording(
        max(1, ended.slots), opened.strategy, opened.placement, ended.state, max(0.0, ended.at_s - opened.at_s)
    )
