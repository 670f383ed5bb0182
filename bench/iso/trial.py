"""One simulated run of the experiment, and what is kept of it. It must not know why it is made.

All of it is plain data, so that it can be computed in another process and kept in a file.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from lbnet.errors import UsageError
from lbnet.sim.costs import Costs
from lbnet.sim.result import SimulationResult
from lbnet.sim.run import simulate_once
from lbnet.sim.workloads import workload

PIECE_S = 0.001
"""Length of a piece of divisible work, in seconds: it is what cannot be split."""

LIST_STRATEGY = "pmap"
"""The strategy that moves nothing between workers: it gets a list instead of one divisible task."""

LIST_ITEMS_PER_WORKER = 20
"""Items of its list for each worker: the work grows by longer items, as more of the same would change nothing."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What is to be simulated.

    Attributes:
        strategy: its name.
        workers: how many, of one slot each.
        workload: as ``lbnet simulate`` names it.
        seed: of the workload and of the run.
    """

    strategy: str
    workers: int
    workload: str
    seed: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a trial. Times are virtual seconds, but for ``cpu_s``.

    Attributes:
        trial: what was simulated.
        reason: why there is no result, and then all figures are 0 but ``events``; else empty.
        work_s: seconds that all slots spent on the work: W, or T_1.
        makespan_s: T_p.
        efficiency: W / (p T_p).
        controller_busy: share of the makespan for which the controller was busy.
        controller_messages: messages that it received and sent.
        tasks: those submitted and those spawned by splitting.
        transfers: messages with work between workers.
        questions: for work, between workers.
        refusals: NO_WORK between workers.
        events: of the simulation.
        cpu_s: seconds of CPU that the simulation took.
    """

    trial: Trial
    reason: str = ""
    work_s: float = 0.0
    makespan_s: float = 0.0
    efficiency: float = 0.0
    controller_busy: float = 0.0
    controller_messages: int = 0
    tasks: int = 0
    transfers: int = 0
    questions: int = 0
    refusals: int = 0
    events: int = 0
    cpu_s: float = 0.0


def work_of(strategy: str, workers: int, work_s: float) -> str:
    """The workload with so many seconds of work: divisible pieces of 1 ms, or for the list strategy a list."""
    if strategy == LIST_STRATEGY:
        items = LIST_ITEMS_PER_WORKER * workers
        return f"flat:constant:{items}:{max(1, round(work_s / items * 1e6))}us"
    return f"divisible:{max(1, round(work_s / PIECE_S))}:{PIECE_S * 1e3:g}ms"


def simulate(trial: Trial, costs: Costs, events_max: int) -> Outcome:
    """Run it in this process. A run that comes to no end is an outcome with a reason.

    Raises:
        UsageError: the strategy or the workload does not exist.
    """
    load = workload(trial.workload, seed=trial.seed)
    begun = time.process_time()
    try:
        result = simulate_once(
            load,
            strategy=trial.strategy,
            workers=trial.workers,
            placement="first" if load.items == 1 else "spread",
            costs=costs,
            seed=trial.seed,
            events_max=events_max,
        )
    except UsageError as error:
        return Outcome(trial, reason=str(error), events=events_max, cpu_s=time.process_time() - begun)
    return _outcome(trial, result, time.process_time() - begun)


def _outcome(trial: Trial, result: SimulationResult, cpu_s: float) -> Outcome:
    wrong = result.expected is not None and result.total != result.expected
    if wrong or result.failed or result.strategy_errors:
        text = f"wrong: {result.total} of {result.expected}, {result.failed} failed, {result.strategy_errors}"
        return Outcome(trial, reason=text, events=result.events, cpu_s=cpu_s)
    peers = result.messages["worker to worker"]
    return Outcome(
        trial,
        work_s=result.report.busy_s,
        makespan_s=result.makespan_s,
        efficiency=result.efficiency,
        controller_busy=result.controller_busy,
        controller_messages=sum(sum(kinds.values()) for way, kinds in result.messages.items() if "controller" in way),
        tasks=result.report.submitted + result.report.spawned,
        transfers=_count(peers, "SendWork"),
        questions=_count(peers, "AskWork"),
        refusals=_count(peers, "NoWork"),
        events=result.events,
        cpu_s=cpu_s,
    )


def _count(kinds: Mapping[str, int], kind: str) -> int:
    return kinds.get(kind, 0)
