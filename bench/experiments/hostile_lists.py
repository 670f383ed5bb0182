"""What do lists cost that nobody would choose: uneven in size, in duration, or in what comes back?

Items of 1 B and of 1 MB in one list; tasks of a microsecond and then of 10 ms, and the reverse; a function whose
first call in a process takes a second; results of 1 MB for arguments of 100 B, and a consumer who takes these slowly.
Each on a new cluster of two workers of one slot, several times, interleaved; each result is checked as it comes. The
ideal is what every slot must spend plus an equal share of the rest, which a loop in one process needs in the same
run, or the consumer's own time. The memory of each role is sampled: how far its largest process has grown, above what
it was before the list, at most.

Run ``python -m bench.experiments.hostile_lists``; ``--quick`` for a look. It fails if a result is wrong; it judges no
figure.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import lbnet
from bench.experiments.memory import Flow, Reading, Sampler
from bench.hostile import Hostile, alone_s, lists, problem
from bench.report import Cell, Progress, as_json, machine_line, markdown_table, write_csv, write_text
from bench.side_by_side import options_of

ROLES = ("client", "controller", "worker", "slot")
COLUMNS = (
    "list", "tasks", "alone_s", "median_s", "min_s", "max_s", "ideal_s", "of_ideal", "passed_mb",
    *(f"{role}_grown_mb" for role in ROLES), "repeats", "wrong",
)  # fmt: skip
SAMPLE_EVERY_S = 0.02


@dataclass
class Outcome:
    """What was measured of a list. ``alone_s`` are times of the work in a loop without lbnet, in the same run.

    ``grown_bytes`` is the most that a process of a role grew, over all runs.
    """

    hostile: Hostile
    slots: int
    alone_s: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    grown_bytes: dict[str, int] = field(default_factory=dict)
    wrong: str = ""

    def row(self) -> dict[str, Cell]:
        """With ``COLUMNS``."""
        work_s = statistics.median(self.alone_s) if self.alone_s else None
        ideal_s = self.hostile.ideal_s(self.slots, work_s)
        median_s = statistics.median(self.seconds) if self.seconds else None
        return {
            "list": self.hostile.name,
            "tasks": len(self.hostile.items()),
            "alone_s": work_s,
            "median_s": median_s,
            "min_s": min(self.seconds, default=None),
            "max_s": max(self.seconds, default=None),
            "ideal_s": ideal_s,
            "of_ideal": ideal_s / median_s if ideal_s and median_s else None,
            "passed_mb": self.hostile.passed_bytes / 1e6,
            **{f"{role}_grown_mb": self.grown_bytes.get(role, 0) / 1e6 for role in ROLES},
            "repeats": len(self.seconds),
            "wrong": self.wrong,
        }


def grown(readings: Sequence[Reading]) -> dict[str, int]:
    """By role: how far the process that grew most was above its first reading."""
    first: dict[int, int] = {}
    found: dict[str, int] = defaultdict(int)
    for reading in readings:
        base = first.setdefault(reading.process, reading.rss_bytes)
        found[reading.role] = max(found[reading.role], reading.rss_bytes - base)
    return dict(found)


def run_once(outcome: Outcome) -> None:
    """On a new cluster, whose slots have run a task."""
    hostile = outcome.hostile
    with lbnet.LocalCluster(workers=outcome.slots, slots=1) as cluster, cluster.client() as client:
        client.wait_for_workers(outcome.slots)
        list(client.map(time.sleep, [0.05] * outcome.slots))
        items = hostile.items()
        with Sampler(Flow(), SAMPLE_EVERY_S) as sampler:
            time.sleep(2 * SAMPLE_EVERY_S)  # for a reading before the list
            began_s = time.perf_counter()
            wrong = problem(hostile, items, iter(client.map(hostile.fn, items)))
            seconds = time.perf_counter() - began_s
    outcome.wrong = outcome.wrong or wrong
    outcome.seconds.append(seconds)
    for role, size in grown(sampler.readings).items():
        outcome.grown_bytes[role] = max(size, outcome.grown_bytes.get(role, 0))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment; 1 if a result was wrong."""
    options = options_of("hostile_lists", (__doc__ or "").splitlines()[0], arguments)
    outcomes = [Outcome(hostile, options.workers) for hostile in lists(options.quick)]
    progress = Progress(options.repeat * len(outcomes))
    try:
        for run in range(options.repeat):
            for outcome in outcomes:
                progress(f"{outcome.hostile.name}, run {run + 1} of {options.repeat}")
                work_s = alone_s(outcome.hostile)
                if work_s is not None:
                    outcome.alone_s.append(work_s)
                run_once(outcome)
    finally:
        progress.close()
    out: Path = options.out
    rows = [outcome.row() for outcome in outcomes]
    write_csv(out / "hostile_lists.csv", COLUMNS, rows)
    text = as_json(options.machine, rows)
    write_text(out / "hostile_lists.json", text)
    table = markdown_table(COLUMNS, [[row[name] for name in COLUMNS] for row in rows])
    page = f"# hostile_lists: {options.question}\n\n{table}\n{machine_line(options.machine)}"
    write_text(out / "hostile_lists.md", page)
    sys.stdout.write(text if options.json else page)
    print(f"written: {out / 'hostile_lists'}.md, .csv, .json", file=sys.stderr)
    return int(any(outcome.wrong for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
