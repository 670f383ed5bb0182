"""What does a task cost the controller as there are more of them, and a worker as there are more of those?

Tasks: ``client.map`` of no-ops over lists of 10^3 to 10^7 on two workers: the controller's CPU time and the makespan,
by task; and how much its memory grows while all of a list waits for a worker, by task, beyond the payload.

Workers: 2 to 1,000 real links, whose workers share a few processes and run tasks that sleep: the controller's CPU time
for each join, each task and each second of doing nothing, and its memory, by worker. All processes share this machine's
cores, so that the makespan says nothing there, and is not given.

Run ``python -m bench.experiments.scale``; ``--quick`` for a look. It judges nothing by itself.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import psutil

import lbnet
from bench.crowd import crowd, raise_descriptor_limit
from bench.experiments.survival import options_of
from bench.machine import machine_facts
from bench.report import Cell, Progress, as_json, draw, machine_line, markdown_table, write_csv, write_text
from lbnet.pool.cores import cores_available
from lbnet.workloads.synthetic import nap

TASKS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
WORKERS = (2, 10, 30, 100, 300, 1_000)
NAP_S = 0.05
NAPS_EACH = 10
"""Tasks for each worker."""

IDLE_S = 4.0
WAITING = 1_000_000
"""Tasks that wait for a worker, to see what each takes of the controller's memory."""


@dataclass(frozen=True, slots=True)
class OfTasks:
    """A list of this length. Medians over the repetitions."""

    tasks: int
    controller_us_a_task: float
    makespan_us_a_task: float


@dataclass(frozen=True, slots=True)
class OfWorkers:
    """So many workers."""

    workers: int
    join_ms_a_worker: float
    idle_us_a_second_a_worker: float
    controller_us_a_task: float
    controller_kb_a_worker: float


class Clock:
    """The controller's CPU time and memory."""

    def __init__(self, cluster: lbnet.LocalCluster) -> None:
        self._process = psutil.Process(cluster.pids[0])

    def cpu_s(self) -> float:
        """Until now."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def rss_bytes(self) -> int:
        """Now."""
        return int(self._process.memory_info().rss)

    def of(self, run: Callable[[], object]) -> float:
        """CPU seconds that passed meanwhile."""
        before = self.cpu_s()
        run()
        return self.cpu_s() - before


def of_tasks(sizes: Sequence[int], repeats: int, progress: Progress) -> list[OfTasks]:
    """No-ops on two workers."""
    rows = []
    with lbnet.LocalCluster(workers=2, slots=1) as cluster, cluster.client() as client:
        client.wait_for_workers(2)
        clock = Clock(cluster)
        _no_ops(client, 100_000)
        for size in sizes:
            progress(f"{size:,} tasks")
            spent, lasted = [], []
            jobs = max(1, sizes[-1] // 100 // size)  # the system's clock has steps: short lists, several times
            for _ in range(repeats):
                began, before_s = time.perf_counter(), clock.cpu_s()
                for _ in range(jobs):
                    _no_ops(client, size)
                lasted.append((time.perf_counter() - began) / jobs)
                spent.append((clock.cpu_s() - before_s) / jobs)
            rows.append(OfTasks(size, *(statistics.median(each) / size * 1e6 for each in (spent, lasted))))
    return rows


def _no_ops(client: lbnet.Client, count: int) -> None:
    assert sum(client.map(abs, range(count))) == count * (count - 1) // 2


def waiting_bytes_a_task(count: int) -> float:
    """By how much the controller grows with each task that waits, beyond its item's share of the payload."""
    with lbnet.LocalCluster(workers=1, slots=1) as cluster, cluster.client() as client:
        client.submit(abs, -1).result()
        clock = Clock(cluster)
        view = client.with_options(priority=-1)
        blocking = client.submit(time.sleep, 600)
        before = clock.rss_bytes()
        items = range(1 << 24, (1 << 24) + count)
        job = view.submit_job(abs, items)
        until_deposited = client.report(job)
        assert until_deposited.submitted == count
        grown = clock.rss_bytes() - before
        blocking.cancel()
        client.cancel(job)
    payload = 5 * count  # how an integer of this size is pickled: a letter and four bytes
    return max(grown - payload, 0) / count


def of_workers(counts: Sequence[int], progress: Progress) -> list[OfWorkers]:
    """Real links, each in a new cluster."""
    return [_of_workers(count, progress) for count in counts]


def _of_workers(count: int, progress: Progress) -> OfWorkers:
    progress(f"{count:,} workers")
    with lbnet.LocalCluster(workers=1, slots=1) as cluster, cluster.client() as client:
        client.submit(abs, -1).result()
        clock = Clock(cluster)
        given = (cluster.token_file.parent / "worker.token").read_text().strip()
        before_s, before_bytes = clock.cpu_s(), clock.rss_bytes()
        with crowd(cluster.where, given, count, cores_available()):
            client.wait_for_workers(count + 1)
            joined_s, grown = clock.cpu_s() - before_s, clock.rss_bytes() - before_bytes
            idle_s = clock.of(lambda: time.sleep(IDLE_S)) / IDLE_S
            tasks = count * NAPS_EACH
            naps = [NAP_S] * tasks
            busy_s = clock.of(lambda: list(client.map(nap, naps)))
    return OfWorkers(count, joined_s / count * 1e3, idle_s / count * 1e6, busy_s / tasks * 1e6, grown / count / 1e3)


# --- the command ----------------------------------------------------------------------------------


def paint(tasks: Sequence[OfTasks], workers: Sequence[OfWorkers]) -> Callable[[Any], None]:
    """Cost against size, both logarithmic: what is flat costs the same however much there is."""

    def figure(canvas: Any) -> None:
        left, right = canvas.subplots(1, 2)
        sizes = [row.tasks for row in tasks]
        left.loglog(sizes, [row.controller_us_a_task for row in tasks], "o-", label="controller, CPU")
        left.loglog(sizes, [row.makespan_us_a_task for row in tasks], "s-", label="makespan")
        left.set(xlabel="no-op tasks in one map", ylabel="µs a task")
        counts = [row.workers for row in workers]
        right.loglog(counts, [row.controller_us_a_task for row in workers], "o-", label="µs a task that sleeps")
        right.loglog(counts, [row.join_ms_a_worker * 1e3 for row in workers], "s-", label="µs a join")
        right.loglog(counts, [row.controller_kb_a_worker for row in workers], "^-", label="kB a worker")
        right.set(xlabel="workers", ylabel="the controller's CPU time, or memory")
        for axes in (left, right):
            axes.grid(visible=True, alpha=0.3)
            axes.set_ylim(bottom=10 ** math.floor(math.log10(axes.get_ylim()[0])))
            axes.legend(fontsize=8)

    return figure


def _table(rows: Sequence[Any]) -> str:
    return markdown_table([field.name.replace("_", " ") for field in fields(rows[0])], [astuple(row) for row in rows])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment."""
    question = (__doc__ or "").splitlines()[0]
    options = options_of("scale", question, arguments)
    raise_descriptor_limit()
    sizes, counts, waiting = (TASKS[:3], WORKERS[:2], 100_000) if options.quick else (TASKS, WORKERS, WAITING)
    machine = machine_facts()
    progress = Progress(len(sizes) + len(counts) + 1)
    try:
        tasks = of_tasks(sizes, options.repeat, progress)
        progress(f"{waiting:,} tasks that wait")
        waits = waiting_bytes_a_task(waiting)
        workers = of_workers(counts, progress)
    finally:
        progress.close()
    out: Path = options.out
    rows: list[dict[str, Cell]] = [
        {"kind": kind, **{field.name: getattr(row, field.name) for field in fields(row)}}
        for kind, several in (("tasks", tasks), ("workers", workers))
        for row in several
    ]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = as_json(machine, rows, waiting_bytes_a_task=waits)
    page = "\n".join(
        [
            f"# scale: {question}\n",
            _table(tasks),
            f"A task that waits ({waiting:,} do) takes {waits:.1f} bytes of the controller, beyond its item.\n",
            _table(workers),
            machine_line(machine),
        ]
    )
    write_csv(out / "scale.csv", columns, rows)
    write_text(out / "scale.json", text)
    write_text(out / "scale.md", page)
    undrawn = draw(out / "scale.png", paint(tasks, workers), (11, 4.2), machine)
    sys.stdout.write(text if options.json else page)
    if undrawn:
        print(undrawn, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
