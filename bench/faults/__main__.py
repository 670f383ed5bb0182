"""``python -m bench.faults``: random faults on the simulated cluster, seed by seed, or the bugs that it must catch.

Exit codes: 0, every rule held; 1, one was broken; 2, it cannot be run as asked.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from bench.faults import swarm, teeth
from bench.faults.nonsense import Nonsense
from bench.faults.runs import READ_EVERY, Tally, run
from bench.faults.world import World
from lbnet.strategies import registry


def replay(seed: int, mode: str, strategy: str, last: int) -> int:
    """One seed again, with its plan and its last events."""
    plan = swarm.plan_of(seed, mode, strategy)
    world = World(plan, seed, replayed=plan.journal and seed % READ_EVERY == 0, told=last)
    print("\n".join(f"{name:20} {value}" for name, value in asdict(plan).items()))
    try:
        outcome = world.run()
    except Exception as error:  # noqa: BLE001 - it is shown, whatever it is
        print("\n".join(["", "the last events:", *world.told]))
        print(f"\nbroken: {str(error) or repr(error)}")
        return 1
    print(f"\nevery rule held: {outcome}")
    return 0


def bite(seeds_max: int) -> int:
    """Plant every bug, and say how many seeds it took to be caught."""
    free = 0
    for bug in teeth.TEETH:
        begun = time.monotonic()
        seeds = bug.caught_after(seeds_max)
        free += seeds is None
        found = f"caught by seed {seeds}" if seeds is not None else f"NOT CAUGHT by {seeds_max:,} seeds"
        print(f"{bug.name:60} {found:32} {time.monotonic() - begun:6.1f} s", flush=True)
    print(f"{len(teeth.TEETH)} planted bugs, {len(teeth.TEETH) - free} caught")
    return int(free > 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = _parser().parse_args(arguments)
    if options.teeth:
        return bite(options.seeds)
    modes = swarm.MODES if options.mode == "both" else (options.mode,)
    if options.replay is not None:
        return max(replay(options.replay, mode, options.strategy, options.last) for mode in modes)
    begun = time.monotonic()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    try:
        totals = run(seeds, modes, options.strategy, options.jobs)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    took_s = time.monotonic() - begun
    broken = sum(len(tally.broken) for tally in totals.values())
    if options.json:
        facts = {mode: asdict(tally) for mode, tally in totals.items()}
        print(
            json.dumps(
                {"seeds": [seeds.start, seeds.stop], "modes": facts, "broken": broken, "took_s": took_s}, indent=2
            )
        )
        return int(broken > 0)
    for mode, tally in totals.items():
        print("".join(_summary(mode, tally)))
    held = "every rule held" if not broken else f"{broken} runs broke a rule"
    print(f"seeds {seeds.start:,} to {seeds.stop - 1:,}, {took_s:.0f} s on {options.jobs} processes: {held}")
    return int(broken > 0)


def _summary(mode: str, tally: Tally) -> Iterator[str]:
    yield f"{mode}: {tally.runs:,} runs, {tally.events:,} events, {tally.faults:,} faults, "
    yield f"{tally.seconds / 3600:.2f} simulated hours; ended as "
    yield ", ".join(f"{state} {count:,}" for state, count in sorted(tally.states.items()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument("--seeds", type=_count, default=1_000, help="how many; with --teeth, for each bug at most")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--mode", choices=(*swarm.MODES, "both"), default="both")
    parser.add_argument("--strategy", choices=("", *registry.BUILT_IN, Nonsense.name), default="", metavar="NAME")
    parser.add_argument("--jobs", type=_count, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--replay", type=int, metavar="SEED", help="one seed, with its plan and its last events")
    parser.add_argument("--last", type=_count, default=30, help="how many events a replay shows")
    parser.add_argument("--teeth", action="store_true", help="plant bugs, and see whether they are caught")
    parser.add_argument("--json", action="store_true")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
