"""What users call: one job on one simulated cluster. It must not know how the simulation works."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from lbnet.errors import UsageError
from lbnet.sim.costs import Costs
from lbnet.sim.result import SimulationResult
from lbnet.sim.run import Speeds, simulate_once
from lbnet.sim.work import Workload
from lbnet.sim.workloads import workload as workload_of
from lbnet.strategies import registry
from lbnet.strategies.base import Strategy

WORKERS = 64
"""So many, unless somebody says otherwise: enough to tell strategies apart, and soon done."""


def simulate(
    workload: str | Workload,
    *,
    strategy: str | Strategy | type[Strategy] = registry.DEFAULT,
    workers: int = WORKERS,
    slots: int = 1,
    placement: str | None = None,
    seed: int = 0,
    costs: Costs | str | os.PathLike[str] | None = None,
    speeds: Speeds | None = None,
    joins: Sequence[float] = (),
    leaves: Sequence[tuple[float, int]] = (),
    timeline: bool = False,
    balance: bool = False,
) -> SimulationResult:
    """Run one job on a cluster that exists only in virtual time. The same arguments give the same result, anywhere.

    Controller and workers are the very objects that run on a real network; what the network, the processes and the
    tasks take is modelled.

    Args:
        workload: the job: a text such as ``"uts:T1"`` or ``"flat:lognormal:100000:1ms"``, or an object of your own.
        strategy: the load-balancing strategy: its name, ``"module:Class"``, or an :class:`lbnet.Strategy` of your own.
        workers: how many are there from the start.
        slots: of each worker.
        placement: where new work goes: ``"spread"`` over free slots, or ``"first"``: all to the first worker. If None,
            first for a workload that begins as one task, else spread.
        seed: of all that is random in workload, strategy and costs; a whole number, 0 or more.
        costs: what messages, links and slots cost in seconds: an object, or the path of a JSON file; the defaults of
            :class:`lbnet.sim.costs.Costs` if None.
        speeds: of the workers, those that join later at the end, or a function of a worker's number from 0; 1 if None.
            Seconds of a task take ``1 / speed`` there.
        joins: when further workers join, in virtual seconds after the job was opened.
        leaves: when which worker dies: virtual seconds after the job was opened, and the worker's number from 0.
        timeline: whether to record what each worker does when.
        balance: whether to find out where the time of all slots went: ``result.report.balance``.

    Raises:
        UsageError: an argument is impossible, there is no such workload or strategy, the costs cannot be read, or the
            run comes to no end; the sentence says which.

    Example::

        result = lbnet.simulate("uts:default:10us", strategy="sb", workers=4)
        assert result.total == 1732
        print(f"{result.makespan_s:.4f} s, efficiency {result.efficiency:.3f}")
    """
    if type(seed) is not int or seed < 0:
        raise UsageError(f"seed must be a whole number, 0 or more; it is {seed!r}")
    job = workload_of(workload, seed=seed) if isinstance(workload, str) else workload
    if not isinstance(job, Workload):
        raise UsageError(f"a workload is a text such as uts:T1, or an object of lbnet.sim.work.Workload, not {job!r}")
    name, load = _loaded(strategy)
    return simulate_once(
        job,
        strategy=name,
        workers=workers,
        slots=slots,
        placement=("first" if job.items == 1 else "spread") if placement is None else placement,
        costs=_costs(costs),
        seed=seed,
        speeds=speeds,
        joins=joins,
        leaves=leaves,
        timeline=timeline,
        balance=balance,
        load=load,
    )


def _loaded(strategy: object) -> tuple[str, Callable[[str], Strategy]]:
    """The name of a strategy in reports, and what makes the strategies of that simulation."""
    if isinstance(strategy, str):
        return strategy, registry.loader({strategy: registry.find(strategy)})
    made = registry.checked(strategy)
    return made.name, registry.loader({made.name: made})


def _costs(costs: object) -> Costs | None:
    if costs is None or isinstance(costs, Costs):
        return costs
    if isinstance(costs, str | os.PathLike):
        return Costs.load(Path(costs))
    raise UsageError(f"costs are an object of lbnet.sim.costs.Costs or the path of a JSON file, not {costs!r}")
