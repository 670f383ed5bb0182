"""Many seeds on several processes, and what they came to."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from bench.faults import swarm
from bench.faults.plan import WorldError
from bench.faults.world import World
from lbnet.client.progress import bar

_CHUNK = 20
"""Seeds that a process gets at once."""

READ_EVERY = 5
"""In one of so many runs with a journal, all of it is read after every event of the controller."""


@dataclass
class Tally:
    """What a number of runs came to."""

    runs: int = 0
    events: int = 0
    faults: int = 0
    seconds: float = 0.0
    states: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Put together."""
        self.runs += other.runs
        self.events += other.events
        self.faults += other.faults
        self.seconds += other.seconds
        for state, count in other.states.items():
            self.states[state] = self.states.get(state, 0) + count
        self.broken += other.broken


def run_one(seed: int, mode: str, strategy: str) -> Tally:
    """One run; a broken rule is in the tally, with what replays it."""
    plan = swarm.plan_of(seed, mode, strategy)
    tally = Tally(runs=1)
    try:
        outcome = World(plan, seed, replayed=plan.journal and seed % READ_EVERY == 0).run()
    except WorldError as error:
        tally.broken.append(_report(seed, mode, strategy, str(error)))
        return tally
    except Exception as error:  # noqa: BLE001 - what the core raises is what is looked for
        tally.broken.append(_report(seed, mode, strategy, f"{error!r} was raised in {plan}"))
        return tally
    tally.events, tally.faults, tally.seconds = outcome.events, outcome.faults, outcome.seconds
    tally.states[outcome.state or "cut off"] = 1
    return tally


def _report(seed: int, mode: str, strategy: str, sentence: str) -> str:
    more = f" --strategy {strategy}" if strategy else ""
    return f"seed {seed}: {sentence}\n  again: python -m bench.faults --mode {mode} --replay {seed}{more}"


def run_several(seeds: range, mode: str, strategy: str) -> Tally:
    """These seeds, one after the other."""
    total = Tally()
    for seed in seeds:
        total.add(run_one(seed, mode, strategy))
    return total


def _leave_interrupts_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def run(seeds: range, modes: Sequence[str], strategy: str, jobs: int) -> dict[str, Tally]:
    """All seeds in all modes, on so many processes."""
    totals = {mode: Tally() for mode in modes}
    work = [
        (mode, range(lo, min(lo + _CHUNK, seeds.stop)))
        for lo in range(seeds.start, seeds.stop, _CHUNK)
        for mode in modes
    ]
    context = multiprocessing.get_context("spawn")
    advance = bar("seeds", len(seeds) * len(modes))
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_leave_interrupts_to_parent)
    try:
        futures = [(mode, pool.submit(run_several, part, mode, strategy)) for mode, part in work]
        for mode, future in futures:
            tally = future.result()
            totals[mode].add(tally)
            advance(tally.runs)
            for text in tally.broken:
                print(text, file=sys.stderr)
    finally:
        advance(-1)
        pool.shutdown(wait=True, cancel_futures=True)
    return totals
