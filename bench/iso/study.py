"""What the experiment asks: for each strategy the work that holds the efficiency at ever more workers, and known trees.

A study yields the trials that it wants next and is sent their outcomes, so that it need not know where they run, and
several studies share all cores.
"""

from __future__ import annotations

import statistics
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from bench.iso.search import EFFICIENCY_TOLERANCE, Search, State, extrapolated
from bench.iso.trial import LIST_STRATEGY, Outcome, Trial, work_of

TARGET = 0.8
"""The efficiency that is held."""

WORK_PER_WORKER_MAX_S = 500.0
"""A strategy that needs more is said not to reach the efficiency: it does not balance what lasts ten minutes."""

ONE_SEED_TOLERANCE = 0.015
"""Of the efficiency: seeds differ by more."""

FIRST_PER_WORKER_S = 0.15
"""Where the search with the fewest workers begins."""

Study = Generator[list[Trial], list[Outcome], None]


@dataclass(frozen=True, slots=True)
class Point:
    """The work at which a strategy has the efficiency, and how the runs there went: means over seeds.

    Attributes:
        strategy: its name.
        workers: how many.
        state: whether it was found.
        reason: why not; else empty.
        work_s: seconds of work, W; 0 if it was not found.
        efficiency: with that work.
        spread: the largest efficiency of a seed there minus the smallest.
        makespan_s: T_p.
        controller_busy: share of the makespan.
        controller_messages_s: that it received and sent, per second of the makespan.
        tasks_per_worker: submitted and spawned.
        transfers_per_worker: messages with work, between workers.
        questions_per_worker: for work, between workers.
        refusals_per_worker: NO_WORK between workers, to questions, to offers, and to whom the controller sent.
        item_s: length of an item, for the list strategy; else 0.
        simulations: that it took, over all tries and seeds.
        events: of one simulation there.
        cpu_s: of one simulation there.
    """

    strategy: str
    workers: int
    state: str
    reason: str
    work_s: float = 0.0
    efficiency: float = 0.0
    spread: float = 0.0
    makespan_s: float = 0.0
    controller_busy: float = 0.0
    controller_messages_s: float = 0.0
    tasks_per_worker: float = 0.0
    transfers_per_worker: float = 0.0
    questions_per_worker: float = 0.0
    refusals_per_worker: float = 0.0
    item_s: float = 0.0
    simulations: int = 0
    events: float = 0.0
    cpu_s: float = 0.0

    @property
    def found(self) -> bool:
        """Whether there is an answer."""
        return self.state in (State.FOUND.value, State.ROUGH.value)


def sizes(most: int, least: int = 8) -> list[int]:
    """Numbers of workers: doubled from the least on, up to ``most``."""
    found = [least]
    while found[-1] * 2 <= most:
        found.append(found[-1] * 2)
    return found


def seeds_for(workers: int, first: int) -> list[int]:
    """Few workers are at the mercy of few draws, and cheap: their efficiency is a mean over more seeds."""
    count = 9 if workers <= 32 else 5 if workers <= 128 else 3 if workers <= 512 else 1
    return list(range(first, first + count))


def holding(strategy: str, workers: Sequence[int], seed: int, points: list[Point]) -> Study:
    """Search at each number of workers in turn, and append to ``points``. It ends where there is no answer.

    Args:
        strategy: its name.
        workers: how many, in rising order.
        seed: the first of those that are taken.
        points: what was found, in order.
    """
    known: list[tuple[int, float]] = []
    for count in workers:
        seeds = seeds_for(count, seed)
        guess_s = extrapolated(known, count, FIRST_PER_WORKER_S)
        tolerance = EFFICIENCY_TOLERANCE if len(seeds) > 1 else ONE_SEED_TOLERANCE
        search = Search(guess_s, TARGET, WORK_PER_WORKER_MAX_S * count, tolerance)
        by_work: dict[float, list[Outcome]] = {}
        reason = ""
        while search.state is State.OPEN and not reason:
            asked_s = search.work_s
            outcomes = yield [Trial(strategy, count, work_of(strategy, count, asked_s), one) for one in seeds]
            by_work[asked_s] = outcomes
            reason = next((outcome.reason for outcome in outcomes if outcome.reason), "")
            if not reason:
                search.tell(_mean([outcome.efficiency for outcome in outcomes]))
        point = _point(strategy, count, search, by_work, reason)
        points.append(point)
        if not point.found:
            return
        known.append((count, point.work_s))


def on_tree(strategy: str, tree: str, workers: Sequence[int], seed: int, outcomes: list[Outcome]) -> Study:
    """Run one tree of a known size at each number of workers in turn, and append to ``outcomes``."""
    for count in workers:
        found = yield [Trial(strategy, count, tree, seed)]
        outcomes += found


def _point(strategy: str, workers: int, search: Search, by_work: dict[float, list[Outcome]], reason: str) -> Point:
    simulations = sum(map(len, by_work.values()))
    if reason:
        return Point(strategy, workers, "given up", reason, simulations=simulations)
    best = search.best
    outcomes = by_work[best.work_s]
    state, work_s = search.state, best.work_s
    if state is State.UNREACHABLE:
        reason = f"efficiency {best.efficiency:.3f} with {best.work_s / workers:.3g} s of work for each worker"
    elif state is State.ROUGH:
        reason = f"interpolated: {best.efficiency:.3f} with {best.work_s:.4g} s"
        work_s = search.work_s
    return Point(
        strategy,
        workers,
        state.value,
        reason,
        work_s=work_s,
        efficiency=best.efficiency,
        spread=max(one.efficiency for one in outcomes) - min(one.efficiency for one in outcomes),
        makespan_s=_mean([one.makespan_s for one in outcomes]),
        controller_busy=_mean([one.controller_busy for one in outcomes]),
        controller_messages_s=_mean([one.controller_messages / one.makespan_s for one in outcomes]),
        tasks_per_worker=_mean([one.tasks / workers for one in outcomes]),
        transfers_per_worker=_mean([one.transfers / workers for one in outcomes]),
        questions_per_worker=_mean([one.questions / workers for one in outcomes]),
        refusals_per_worker=_mean([one.refusals / workers for one in outcomes]),
        item_s=outcomes[0].work_s / outcomes[0].tasks if strategy == LIST_STRATEGY else 0.0,
        simulations=simulations,
        events=_mean([one.events for one in outcomes]),
        cpu_s=_mean([one.cpu_s for one in outcomes]),
    )


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values)
