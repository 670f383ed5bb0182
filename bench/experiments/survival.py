"""What does it cost that nothing is lost, and how soon do things go on after a death?

With the journal beside ``--no-journal``: the rate of no-op tasks through ``client.map``, and the makespan of tasks of
1 ms, in pairs, one after the other, over TCP. Then, each several times with a new cluster: the time from ``kill -9`` of
a worker to the next beginning of its task; from the new start of a killed controller to the first new result, and to
the first task that begins where workers had run out of work; from a worker's joining to its first task; from SIGTERM to
the end, for a controller, a worker and a client in the middle of a job. A start includes that of Python.

Run ``python -m bench.experiments.survival``; ``--quick`` for a look. Targets stand in the table; a missed one is not an
error.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import catalog
from bench.machine import machine_facts
from bench.report import RESULTS, Cell, Progress, as_json, machine_line, markdown_table, write_csv, write_text
from bench.surviving import Cluster, first, noted_nap, noted_wait, until
from bench.workload import Workload
from lbnet import Client

COLUMNS = ("question", "median", "min", "max", "unit", "target", "met", "repeats")
WORKERS = ("one", "two")
NAP_S = 0.02
"""A task of those that wait for something to happen."""

DRY_S = 0.3
"""Nothing began for so long: workers have no work."""

_FOREVER = 600.0


@dataclass
class Figure:
    """What was measured for a question. ``sign`` says on which side of ``target`` it shall be."""

    question: str
    unit: str
    sign: str
    target: float
    values: list[float] = field(default_factory=list)

    @property
    def met(self) -> str:
        """Whether the median is where it shall be."""
        if not self.values:
            return "no figure"
        median = statistics.median(self.values)
        return "met" if (median <= self.target if self.sign == "<=" else median >= self.target) else "MISSED"

    def row(self) -> dict[str, Cell]:
        """A line of the table."""
        values = self.values
        return {
            "question": self.question,
            "median": statistics.median(values) if values else None,
            "min": min(values, default=None),
            "max": max(values, default=None),
            "unit": self.unit,
            "target": f"{self.sign} {self.target:g}",
            "met": self.met,
            "repeats": len(values),
        }


@contextmanager
def cluster(*workers: str, journal: bool = True) -> Iterator[Cluster]:
    """A new cluster with these workers."""
    with tempfile.TemporaryDirectory(prefix="lbnet-survival-") as folder:
        made = Cluster(Path(folder), journal)
        try:
            made.up(*workers)
            yield made
        finally:
            made.close()


# --- what it costs --------------------------------------------------------------------------------


def makespan_s(client: Client, workload: Workload) -> float:
    """Seconds of one map; its results are right."""
    items = workload.items()
    begun = time.perf_counter()
    results = list(client.map(workload.fn, items))
    seconds = time.perf_counter() - begun
    if results != workload.sequentially(items):
        raise ValueError(f"the results of {workload.name} are wrong")
    return seconds


def in_pairs(workloads: Sequence[Workload], pairs: int, progress: Progress) -> list[list[tuple[float, float]]]:
    """Makespans of each workload, with the journal and without, one after the other, in turn the first."""
    found: list[list[tuple[float, float]]] = [[] for _ in workloads]
    with ExitStack() as stack:
        made = [stack.enter_context(cluster(*WORKERS, journal=journal)) for journal in (True, False)]
        clients = [stack.enter_context(Client(each.address)) for each in made]
        for client in clients:
            makespan_s(client, catalog.noop(20_000))
        for pair in range(pairs):
            for workload, times in zip(workloads, found, strict=True):
                progress(f"{workload.name}, with and without the journal")
                seconds = {which: makespan_s(clients[which], workload) for which in ((0, 1), (1, 0))[pair % 2]}
                times.append((seconds[0], seconds[1]))
    return found


def costs(quick: bool, repeats: int, progress: Progress) -> list[Figure]:
    """Ratios of pairs."""
    noop = catalog.noop(100_000 if quick else 3_000_000)  # a second or more: less is mostly how it begins
    ms = catalog.durations("constant", 0.5 if quick else 4.0, 0.001)
    # Each on clusters of its own: a journal that was long is tidied while the next job runs.
    noops, mss = (in_pairs((workload,), repeats, progress)[0] for workload in (noop, ms))
    rate = Figure("no-op tasks a second with the journal, beside --no-journal", "ratio", ">=", 0.7)
    rate.values += [without / with_ for with_, without in noops]
    absolute = Figure("no-op tasks a second with the journal", "tasks/s", ">=", 300_000)
    absolute.values += [noop.count / with_ for with_, _ in noops]
    efficiency = Figure("efficiency at 1 ms with the journal, beside --no-journal", "ratio", ">=", 0.98)
    efficiency.values += [without / with_ for with_, without in mss]
    return [rate, absolute, efficiency]


# --- how soon things go on ------------------------------------------------------------------------


def after_a_worker() -> float:
    """Its only task runs; the other worker is idle."""
    with cluster("one") as made, Client(made.address) as client:
        go = made.folder / "go"
        future = client.submit(noted_wait, (str(made.log), "task", str(go)))
        before = first(made.log, lambda _: True, "the task has not begun")
        made.worker("two")
        made.has_said("two", "has joined")
        killed = made.kill("one")
        again = first(made.log, lambda each: each.pid != before.pid, "the task has not begun again")
        go.touch()
        assert future.result() == "task"
        return again.at_s - killed


class Reader(threading.Thread):
    """Takes the results of a map, and remembers when each came."""

    def __init__(self, results: Iterable[str]) -> None:
        super().__init__()
        self._results = results
        self._stopping = False
        self.came_s: list[float] = []

    def run(self) -> None:
        """Until all are there, or it is enough."""
        for _ in self._results:
            self.came_s.append(time.monotonic())
            if self._stopping:
                return

    def stop(self) -> None:
        """With the next result."""
        self._stopping = True
        self.join()


def after_the_controller() -> tuple[float, float]:
    """The first new result, and the first task that begins; there are more tasks than workers were given."""
    with cluster(*WORKERS) as made, Client(made.address) as client:
        items = [(str(made.log), str(number), NAP_S) for number in range(2_000)]
        results = client.map(noted_nap, items, ordered=False)
        reader = Reader(results)
        reader.start()
        until(lambda: len(reader.came_s) > 20, "no results")
        made.kill("controller")

        def dry() -> bool:
            return time.time() - made.log.stat().st_mtime > DRY_S

        until(dry, "the workers have not run out of work")
        taken = len(reader.came_s)
        started = made.controller()
        until(lambda: len(reader.came_s) > taken, "no new result")
        again = first(made.log, lambda each: each.at_s > started, "no task has begun")
        reader.stop()
        results.close()
        return reader.came_s[taken] - started, again.at_s - started


def joining() -> float:
    """Another worker is busy with a job, whose tasks last 20 ms."""
    with cluster("one") as made, Client(made.address) as client:
        results = client.map(noted_nap, [(str(made.log), str(number), NAP_S) for number in range(_COUNT)])
        before = first(made.log, lambda _: True, "no task has begun")
        made.worker("two")
        joined = made.has_said("two", "has joined")
        begun = first(made.log, lambda each: each.pid != before.pid, "the new worker has not begun a task")
        results.close()
        return max(begun.at_s - joined, 0.0)  # it may begin before we read that it has joined


_COUNT = 500


def ending(name: str) -> float:
    """From SIGTERM to the end, while a job runs whose tasks would last for ever."""
    with cluster("worker") as made:
        items = made.folder / "items.jsonl"
        items.write_text("".join(f"{json.dumps([str(made.log), str(number), _FOREVER])}\n" for number in range(10)))
        made.map("bench.surviving:noted_nap", items)
        first(made.log, lambda _: True, "no task has begun")
        return made.tell(name)


def times(repeats: int, progress: Progress) -> list[Figure]:
    """All of them, in turn."""
    worker = Figure("kill -9 of a worker: until its task begins again", "s", "<=", 2.0)
    result = Figure("kill -9 of the controller: from its new start to the first new result", "s", "<=", 5.0)
    placed = Figure("kill -9 of the controller: from its new start until an idle worker begins a task", "s", "<=", 5.0)
    join = Figure("a worker joins while a job runs: until its first task", "s", "<=", 0.1)
    ends = {
        name: Figure(f"SIGTERM at work: until the end of the {name}", "s", "<=", 2.0)
        for name in ("controller", "worker", "client")
    }
    single: list[tuple[Figure, Callable[[], float]]] = [(worker, after_a_worker), (join, joining)]
    for _ in range(repeats):
        for figure, measure in single:
            progress(figure.question)
            figure.values.append(measure())
        progress(result.question)
        result_s, placed_s = after_the_controller()
        result.values.append(result_s)
        placed.values.append(placed_s)
        for name, figure in ends.items():
            progress(figure.question)
            figure.values.append(ending(name))
    return [worker, result, placed, join, *ends.values()]


# --- the command ----------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment; 1 if any result was wrong, not if a target was missed."""
    options = options_of("survival", (__doc__ or "").splitlines()[0], arguments)
    repeats: int = options.repeat
    machine = machine_facts()
    progress = Progress(8 * repeats)
    try:
        figures = [*costs(options.quick, repeats, progress), *times(repeats, progress)]
    finally:
        progress.close()
    return publish("survival", (__doc__ or "").splitlines()[0], options, machine, figures)


def options_of(name: str, title: str, arguments: Sequence[str] | None) -> argparse.Namespace:
    """What an experiment with such figures is asked for: ``quick``, ``out``, ``repeat`` and ``json``."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.experiments.{name}", description=title)
    parser.add_argument("--quick", action="store_true", help="small workloads, once each: a look, no measurement")
    parser.add_argument(
        "--out", type=Path, default=RESULTS, metavar="FOLDER", help="where the files go (bench/results)"
    )
    parser.add_argument("--repeat", type=int, default=0, metavar="N", help="runs of each (5; with --quick 1)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args(arguments)
    options.repeat = options.repeat or (1 if options.quick else 5)
    return options


def publish(
    name: str, title: str, options: argparse.Namespace, machine: dict[str, str], figures: Sequence[Figure]
) -> int:
    """Write the table as Markdown, CSV and JSON, and print it. Returns 0."""
    out: Path = options.out
    rows = [figure.row() for figure in figures]
    write_csv(out / f"{name}.csv", COLUMNS, rows)
    text = as_json(machine, rows)
    write_text(out / f"{name}.json", text)
    table = markdown_table(COLUMNS, [[row[column] for column in COLUMNS] for row in rows])
    page = f"# {name}: {title}\n\n{table}\n{machine_line(machine)}"
    write_text(out / f"{name}.md", page)
    sys.stdout.write(text if options.json else page)
    print(f"written: {out / name}.md, .csv, .json", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
