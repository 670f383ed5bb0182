"""Does any role grow while an endless list passes through a slow consumer?

The items come from a generator that never ends, and the consumer takes its time over each result. Whatever is
between them must hold the generator back. The resident memory (RSS) of the client, the controller, each worker and
each slot is sampled; the table gives the slope over the last two thirds, when windows and caches are full, and how
far the generator was ahead of the consumer.

Run ``python -m bench.experiments.memory``; ``--quick`` for a look. It judges nothing by itself: a slope of some
kB/s over a minute is noise of allocators, one that stays over ten minutes (``--seconds 600``) is a leak.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil

from bench.machine import machine_facts
from bench.report import (
    RESULTS,
    Cell,
    Progress,
    as_json,
    draw,
    machine_line,
    markdown_table,
    write_csv,
    write_text,
)
from lbnet.net.serve import NAMES

SETTLE_SHARE = 1 / 3
"""The first part of the samples, while windows fill, does not count for the slope."""

SAMPLES = 120
SAMPLES_COLUMNS = ("seconds", "role", "process", "rss_mb", "made", "taken")
TABLE_COLUMNS = ("role", "process", "first_mb", "settled_mb", "last_mb", "peak_mb", "slope_kb_s")
MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Reading:
    """The memory of one process at one moment, with the items made and taken until then."""

    seconds: float
    role: str
    process: int
    rss_bytes: int
    made: int
    taken: int


@dataclass
class Flow:
    """How far the two ends are: written by the consumer and the generator, read by the sampler."""

    made: int = 0
    taken: int = 0
    lead_max: int = 0

    def items(self, size_bytes: int) -> Iterator[tuple[int, bytes]]:
        """Items without end, each with a body of its own."""
        while True:
            yield self.made, os.urandom(size_bytes)
            self.made += 1
            self.lead_max = max(self.lead_max, self.made - self.taken)


@dataclass
class Sampler:
    """A thread that reads the memory of this process and of all that it started."""

    flow: Flow
    every_s: float
    readings: list[Reading] = field(default_factory=list)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        assert self._thread is not None
        self._thread.join()

    def _run(self) -> None:
        begun = time.monotonic()
        while not self._stopped.wait(self.every_s):
            seconds = time.monotonic() - begun
            for role, process, rss_bytes in rss_by_role(psutil.Process()):
                self.readings.append(Reading(seconds, role, process, rss_bytes, self.flow.made, self.flow.taken))


def back(item: tuple[int, bytes]) -> tuple[int, bytes]:
    """The task: the item itself comes back, so that results are as large as inputs."""
    return item


def rss_by_role(client: psutil.Process) -> list[tuple[str, int, int]]:
    """Role, process id and resident bytes of ``client`` and its descendants.

    A slot is a child of a worker; controller and workers are known by their names.
    """
    found = []
    roles: dict[int, str] = {client.pid: "client"}
    for process in [client, *client.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            role = roles.get(process.pid) or _role(process.name(), roles.get(process.ppid(), ""))
            roles[process.pid] = role
            found.append((role, process.pid, process.memory_info().rss))
    return found


def slope(points: Sequence[tuple[float, float]]) -> float | None:
    """Least squares: y by x; None where there are too few points."""
    if len(points) < 3 or len({x for x, _ in points}) < 2:
        return None
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def summary(readings: Sequence[Reading]) -> list[dict[str, Cell]]:
    """A row a process: at first, settled, at last, the peak, and the slope of the settled part."""
    by_process: dict[tuple[str, int], list[Reading]] = defaultdict(list)
    for reading in readings:
        by_process[reading.role, reading.process].append(reading)
    rows: list[dict[str, Cell]] = []
    for (role, process), mine in sorted(by_process.items()):
        settled = mine[int(len(mine) * SETTLE_SHARE) :]
        growth = slope([(reading.seconds, reading.rss_bytes / 1e3) for reading in settled])
        rows.append(
            {
                "role": role,
                "process": process,
                "first_mb": mine[0].rss_bytes / MEGABYTE,
                "settled_mb": settled[0].rss_bytes / MEGABYTE,
                "last_mb": mine[-1].rss_bytes / MEGABYTE,
                "peak_mb": max(reading.rss_bytes for reading in mine) / MEGABYTE,
                "slope_kb_s": growth,
            }
        )
    return rows


def measure(options: argparse.Namespace, flow: Flow, progress: Progress) -> list[Reading]:
    """Run the flow for ``options.seconds``, and return what was sampled."""
    import lbnet

    sampler = Sampler(flow, options.seconds / SAMPLES)
    with lbnet.LocalCluster(workers=options.workers, slots=1) as cluster, cluster.client() as client, sampler:
        end = time.monotonic() + options.seconds
        told = 0
        for number, (index, body) in enumerate(client.map(back, flow.items(options.bytes))):
            if index != number or len(body) != options.bytes:
                raise SystemExit(f"wrong: result {number} is that of item {index}, {len(body)} bytes")
            flow.taken = number + 1
            time.sleep(options.consumer_ms / 1e3)
            left = end - time.monotonic()
            if left <= 0:
                break
            if int(left) // 5 != told:
                told = int(left) // 5
                progress(f"{flow.taken:,} results taken, {flow.made:,} items made, {left:.0f} s left")
    return sampler.readings


def paint(readings: Sequence[Reading]) -> Callable[[Any], None]:
    """A line a process."""
    lines: dict[tuple[str, int], list[Reading]] = defaultdict(list)
    for reading in readings:
        lines[reading.role, reading.process].append(reading)

    def onto(canvas: Any) -> None:
        axes = canvas.subplots()
        for (role, process), mine in sorted(lines.items()):
            points = [(reading.seconds, reading.rss_bytes / MEGABYTE) for reading in mine]
            axes.plot(*zip(*points, strict=True), label=f"{role} ({process})")
        axes.set_xlabel("seconds")
        axes.set_ylabel("resident memory, MB")
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=8)
        axes.set_title("Memory while an endless list passes through a slow consumer")

    return onto


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment; 1 if a result was wrong."""
    options = _parser().parse_args(arguments)
    options.seconds = options.seconds or (12.0 if options.quick else 60.0)
    machine = machine_facts()
    flow = Flow()
    progress = Progress(int(options.seconds) // 5 + 1)
    try:
        readings = measure(options, flow, progress)
    finally:
        progress.close()
    return _finish(options, machine, flow, readings)


def _finish(options: argparse.Namespace, machine: Mapping[str, str], flow: Flow, readings: Sequence[Reading]) -> int:
    out: Path = options.out
    samples: list[dict[str, Cell]] = [
        {
            "seconds": reading.seconds,
            "role": reading.role,
            "process": reading.process,
            "rss_mb": reading.rss_bytes / MEGABYTE,
            "made": reading.made,
            "taken": reading.taken,
        }
        for reading in readings
    ]
    rows = summary(readings)
    ends = {"made": flow.made, "taken": flow.taken, "lead_max": flow.lead_max, "item_bytes": options.bytes}
    write_csv(out / "memory.csv", SAMPLES_COLUMNS, samples)
    text = as_json(machine, rows, flow=ends)
    write_text(out / "memory.json", text)
    page = (
        f"# memory: {(__doc__ or '').splitlines()[0]}\n\n"
        f"{options.seconds:g} s, items of {options.bytes:,} bytes, {options.consumer_ms:g} ms a result: "
        f"{flow.taken:,} results taken, {flow.made:,} items made, at most {flow.lead_max:,} ahead.\n\n"
        + markdown_table(TABLE_COLUMNS, [[row[name] for name in TABLE_COLUMNS] for row in rows])
        + "\n"
        + machine_line(machine)
    )
    write_text(out / "memory.md", page)
    undrawn = draw(out / "memory.png", paint(readings), (9, 4.5), machine)
    sys.stdout.write(text if options.json else page)
    if undrawn:
        print(undrawn, file=sys.stderr)
    print(f"written: {out / 'memory'}.md, .csv, .json{'' if undrawn else ', .png'}", file=sys.stderr)
    return int(not rows)


def _role(name: str, parent: str) -> str:
    if parent == "worker":
        return "slot"
    return next((role for role, known in NAMES.items() if known == name), "other")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.experiments.memory", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="12 seconds: a look")
    parser.add_argument(
        "--out", type=Path, default=RESULTS, metavar="FOLDER", help="where the files go (bench/results)"
    )
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="workers of one slot (2)")
    parser.add_argument("--seconds", type=float, default=0.0, metavar="S", help="how long (60)")
    parser.add_argument(
        "--bytes", type=int, default=1_000, metavar="N", help="size of an item and of its result (1000)"
    )
    parser.add_argument("--consumer-ms", type=float, default=0.5, metavar="MS", help="pause after each result (0.5)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    return parser


if __name__ == "__main__":
    sys.exit(main())
