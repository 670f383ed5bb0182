"""One simulated job, from what a user asks for to what it came to."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from lbnet import limits
from lbnet.errors import UsageError
from lbnet.sim.cluster import Cluster, Plan
from lbnet.sim.costs import Costs
from lbnet.sim.engine import EVENTS_MAX, VIRTUAL_S_MAX
from lbnet.sim.result import SimulationResult, rates
from lbnet.sim.work import Workload
from lbnet.strategies import registry
from lbnet.strategies.base import Strategy

PLACEMENTS = ("spread", "first")

WORKERS_MAX = 100_000
"""Each worker costs memory, and a moment at the start."""

Speeds = Sequence[float] | Callable[[int], float]


def simulate_once(
    workload: Workload,
    *,
    strategy: str = registry.DEFAULT,
    workers: int,
    slots: int = 1,
    placement: str = "spread",
    costs: Costs | None = None,
    seed: int = 0,
    speeds: Speeds | None = None,
    joins: Sequence[float] = (),
    leaves: Sequence[tuple[float, int]] = (),
    timeline: bool = False,
    balance: bool = False,
    load: Callable[[str], Strategy] = registry.load,
    events_max: int = EVENTS_MAX,
    virtual_s_max: float = VIRTUAL_S_MAX,
) -> SimulationResult:
    """Run one job on one simulated cluster. The same arguments give the same result, on any machine.

    Args:
        workload: the job.
        strategy: name of the load-balancing strategy.
        workers: how many are there from the start.
        slots: of each worker.
        placement: where new work goes, one of :data:`PLACEMENTS`.
        costs: what everything costs; the defaults of :class:`~lbnet.sim.costs.Costs` if None.
        seed: of what is random in strategies and costs.
        speeds: of the workers, those that join later at the end, or a function of a worker's number from 0; 1 if None.
            Seconds of a task take ``1 / speed`` there.
        joins: when further workers join, in seconds after the job was opened.
        leaves: when which worker dies: seconds after the job was opened, and the worker's number from 0.
        timeline: whether to record what each worker does.
        balance: whether the report says where the time of all slots went.
        load: makes the strategy of a name; give your own to try a strategy that is not installed.
        events_max: the run is given up after so many events.
        virtual_s_max: the run is given up after so many virtual seconds.

    Raises:
        UsageError: an argument is impossible, the strategy is unknown, or the run came to no end.
    """
    load(strategy)
    _check_whole("workers", workers, 1, WORKERS_MAX)
    _check_whole("slots", slots, 1, limits.SLOTS_MAX)
    if placement not in PLACEMENTS:
        raise UsageError(f"placement must be one of {', '.join(PLACEMENTS)}; it is {placement!r}")
    if workload.items < 1:
        raise UsageError(f"workload {workload.name!r} has no items: there is nothing to simulate")
    joins = tuple(sorted(_time("joins", when) for when in joins))
    plan = Plan(
        workload=workload,
        load=load,
        strategy=strategy,
        placement=placement,
        speeds=_checked_speeds(speeds, workers + len(joins)),
        slots=slots,
        joins=joins,
        leaves=_checked_leaves(leaves, workers, joins),
        costs=costs or Costs(),
        seed=seed,
        timeline=timeline,
        balance=balance,
        events_max=events_max,
        virtual_s_max=virtual_s_max,
    )
    return _result(plan, workers)


def _result(plan: Plan, workers: int) -> SimulationResult:
    cluster = Cluster(plan)
    with _no_collections():
        report = cluster.run()
    record, opened_at = cluster.record, cluster.opened_at
    makespan_s = report.makespan_s
    bin_s, per_second = rates(record.controller_times, opened_at, cluster.done_at)
    lasted_s = cluster.done_at - opened_at
    return SimulationResult(
        workload=plan.workload.name,
        seed=plan.seed,
        workers=workers,
        report=report,
        makespan_s=makespan_s,
        efficiency=report.efficiency,
        events=cluster.engine.events,
        handled=record.handled,
        virtual_s=cluster.engine.now,
        opened_at=opened_at,
        messages=cluster.messages,
        total=cluster.client.total,
        expected=plan.workload.expected(),
        failed=cluster.client.failed,
        digest=record.digest(),
        controller_busy=cluster.busy_s / lasted_s if lasted_s > 0 else 0.0,
        rate_bin_s=bin_s,
        rates=per_second,
        strategy_errors=tuple(cluster.strategy_errors()),
        timeline=None if record.timeline is None else record.timeline.changes(opened_at),
    )


@contextmanager
def _no_collections() -> Iterator[None]:
    """Without the collector of cycles: a run makes none, and to look for them takes a fifth of its time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


# --- what may be asked for --------------------------------------------------------------------------


def _check_whole(name: str, value: int, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise UsageError(f"{name} must be a whole number, {least} to {most:,}; it is {value!r}")


def _time(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise UsageError(f"{name} must hold seconds after the opening of the job, 0 or more; one is {value!r}")
    return float(value)


def _checked_speeds(speeds: Speeds | None, count: int) -> tuple[float, ...]:
    if speeds is None:
        return (1.0,) * count
    found = tuple(map(speeds, range(count))) if callable(speeds) else tuple(speeds)
    if len(found) != count:
        raise UsageError(f"speeds must have one number for each of the {count} workers; it has {len(found)}")
    for index, speed in enumerate(found):
        if isinstance(speed, bool) or not isinstance(speed, int | float) or not 0 < speed < math.inf:
            raise UsageError(f"a worker's speed must be a number above 0; that of worker {index} is {speed!r}")
    return tuple(map(float, found))


def _checked_leaves(
    leaves: Sequence[tuple[float, int]], workers: int, joins: tuple[float, ...]
) -> tuple[tuple[float, int], ...]:
    there = [0.0] * workers + list(joins)
    gone: set[int] = set()
    for when, index in leaves:
        _time("leaves", when)
        if type(index) is not int or not 0 <= index < len(there):
            raise UsageError(f"worker {index!r} cannot leave: there are workers 0 to {len(there) - 1}")
        if index in gone:
            raise UsageError(f"worker {index} cannot leave twice")
        if when < there[index]:
            raise UsageError(f"worker {index} cannot leave at {when:g} s: it joins at {there[index]:g} s")
        gone.add(index)
    if len(gone) == len(there):
        raise UsageError("all workers leave: let one stay, or the job may never end")
    return tuple((float(when), index) for when, index in leaves)
