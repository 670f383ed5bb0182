"""What do long tasks that hide among short ones cost, and are their neighbours trapped?

20 tasks of 0.5 s at random places in a list of 200,000 whose others take a microsecond, on two workers of one slot,
with TLS and a journal, beside ``ProcessPoolExecutor`` with chunks of 1, 100 and 1,000 and a sequential loop:
interleaved, each in a process of its own, every result checked.

Then the same list on workers that are watched (:mod:`bench.watched`): each task says in which process it ran and from
when to when, and each worker writes down what its slots were handed and what they let go of. So a **tail taken back**
is not guessed: it is the worker's own note that the end of a batch, which a slot had been handed, will not run there.
It stands behind a giant if that slot ran one at that moment, and where its tasks then ran is what they say. A task is
**trapped** while it sits behind a giant and another slot runs nothing (:mod:`bench.tails`). A second list has two
giants in one batch near its end, where nothing else is left for the other slot. The picture shows of each list the
watched run with the most tails taken back, whole and around one giant.

Run ``python -m bench.experiments.giants``; ``--quick`` for a look. It fails if a result is wrong; it judges no figure.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

from bench import catalog
from bench.harness import Comparison
from bench.peers.base import Adapter
from bench.peers.lbnet_cluster import LbnetService
from bench.peers.process_pool import ProcessPool
from bench.peers.sequential import Sequential
from bench.report import (
    COMPARISON_COLUMNS,
    Cell,
    as_json,
    comparison_rows,
    draw,
    machine_line,
    markdown_table,
    notes,
    write_csv,
    write_text,
)
from bench.side_by_side import measure, options_of
from bench.surviving import Cluster
from bench.tails import Row, Sat, Tail, giants, parts, sat_behind, tails
from bench.watched import Handed, Note, Slot, TakenBack
from bench.watched import notes as notes_of
from bench.workload import Workload
from lbnet import Client

GIANT_S = 0.05
"""A task that is meant to take longer than this is a giant: by its item, not by what was measured."""

FIGURE_COLUMNS = ("", "median s", "min s", "max s", "spread", "T_1 / (p T_p)", "of work/p")
WATCHED_COLUMNS = (
    "list", "run", "seconds", "of ideal", "batches handed out", "tails taken back", "behind giants", "their tasks",
    "of them moved", "moved_batches", "sat behind a giant", "worst wait s", "worst trapped s",
)  # fmt: skip


@dataclass(frozen=True)
class Watched:
    """One run on workers that are watched. Times are seconds from the call with the items.

    ``ideal_s`` is work / p, or the longest task if that is longer. ``moved_batches`` is what the controller's report
    says: batches that went from worker to worker.
    """

    name: str
    run: int
    seconds: float
    ideal_s: float
    rows: list[Row]
    handed: list[Handed]
    tails: list[Tail]
    sat: list[Sat]
    giants: list[Row]
    moved_batches: int

    @property
    def behind(self) -> list[Tail]:
        """The tails that were taken back while a giant ran before them."""
        return [tail for tail in self.tails if tail.giant is not None]

    @property
    def wait_s(self) -> float:
        """The worst, of a task that sat behind a giant: until it began, wherever."""
        return max((sat.wait_s for sat in self.sat), default=0.0)

    @property
    def trapped_s(self) -> float:
        """The worst: behind a giant, while another slot ran nothing."""
        return max((sat.trapped_s for sat in self.sat), default=0.0)

    def line(self) -> list[Cell]:
        """With ``WATCHED_COLUMNS``."""
        behind = self.behind
        return [
            self.name,
            self.run,
            self.seconds,
            self.ideal_s / self.seconds,
            len(self.handed),
            len(self.tails),
            len(behind),
            sum(tail.hi - tail.lo for tail in behind),
            sum(tail.moved for tail in behind),
            self.moved_batches,
            len({sat.index for sat in self.sat}),
            self.wait_s,
            self.trapped_s,
        ]


# --- watched runs ---------------------------------------------------------------------------------


@contextmanager
def cluster(workers: Sequence[str]) -> Iterator[Cluster]:
    """Workers of one slot that are watched, a controller with a journal, TLS; all of it in a folder that goes."""
    with (
        tempfile.TemporaryDirectory(prefix="lbnet-giants-") as folder,
        mock.patch.dict(os.environ, XDG_STATE_HOME=folder),
    ):
        made = Cluster(Path(folder), watched=True)
        try:
            made.up(*workers)
            yield made
        finally:
            made.close()


def watched(chosen: Sequence[Workload], repeats: int, slots: int, progress: Callable[[str], None]) -> list[Watched]:
    """Each workload ``repeats`` times, interleaved, on one cluster.

    Raises:
        ValueError: a result is wrong.
    """
    names = [f"worker {number + 1}" for number in range(slots)]
    ran = []
    with cluster(names) as made, Client(made.address) as client:
        for _ in range(2):
            list(client.map(time.sleep, [0.02] * slots))
            list(client.map(catalog.noted_burn, [(0, 0.0)] * 1_000))
        for run in range(repeats):
            for workload in chosen:
                progress(f"{workload.name}: watched, run {run + 1} of {repeats}")
                items = workload.items()
                began_s = time.monotonic()
                results = client.map(catalog.noted_burn, items)
                found = list(results)
                seconds = time.monotonic() - began_s
                if [number for number, *_ in found] != [number for number, _ in items]:
                    raise ValueError(f"the results of {workload.name} are wrong")
                moved = sum(worker.batches_sent for worker in client.report(results).workers)
                ran.append((workload, run + 1, items, results.job, began_s, seconds, found, moved))
        written = [note for name in names for note in notes_of(made.notes(name))]
    return [
        told(workload, run, items, found, of_job(written, job), began_s, seconds, slots, moved)
        for workload, run, items, job, began_s, seconds, found, moved in ran
    ]


def of_job(written: Sequence[Note], job: int) -> list[Note]:
    """What concerns this job."""
    return [note for note in written if isinstance(note, Slot) or note.job == job]


def told(
    workload: Workload,
    run: int,
    items: Sequence[catalog.TIMED_TASK],
    found: Sequence[tuple[int, int, float, float]],
    written: Sequence[Note],
    began_s: float,
    seconds: float,
    slots: int,
    moved: int,
) -> Watched:
    """A run, from what tasks and workers say."""
    lanes = {note.pid: note.lane for note in written if isinstance(note, Slot)}
    rows = [Row(index, lanes[pid], start - began_s, end - began_s) for index, pid, start, end in found]
    handed = [replace(note, at_s=note.at_s - began_s) for note in written if isinstance(note, Handed)]
    taken = [replace(note, at_s=note.at_s - began_s) for note in written if isinstance(note, TakenBack)]
    large = giants(rows, (number for number, long_s in items if long_s > GIANT_S))
    return Watched(
        workload.name,
        run,
        seconds,
        max(workload.work_s / slots, *(long_s for _, long_s in items)),
        rows,
        handed,
        tails(taken, rows, large),
        sat_behind(handed, taken, rows, large),
        [row for mine in large.values() for row in mine],
        moved,
    )


# --- the picture ----------------------------------------------------------------------------------

_GIANT, _SMALL, _SAME, _OTHER = "#f2a33a", "#2a7f3f", "#5b4bb5", "#c2185b"


def shown(runs: Sequence[Watched]) -> list[Watched]:
    """Of each list the run with the most tails behind giants."""
    names = dict.fromkeys(run.name for run in runs)
    return [max((run for run in runs if run.name == name), key=lambda run: len(run.behind)) for name in names]


def around(run: Watched) -> tuple[float, float] | None:
    """A stretch of time: the giant behind which most tails were taken back, None if none were."""
    counts: dict[int, int] = {}
    for tail in run.behind:
        assert tail.giant is not None
        counts[tail.giant] = counts.get(tail.giant, 0) + 1
    if not counts:
        return None
    giant = run.rows[max(counts, key=lambda number: counts[number])]
    began = [part.began_s for tail in run.behind if tail.giant == giant.index for part in tail.ran]
    margin_s = 0.1 * giant.seconds
    return giant.began_s - margin_s, min(max(giant.ended_s, *began), giant.ended_s + giant.seconds) + margin_s


def paint(runs: Sequence[Watched]) -> Callable[[Any], None]:
    """For each run a panel with all of it, and one around a giant: a lane a slot, and what was taken back from whom."""

    def onto(canvas: Any) -> None:
        panels: list[tuple[Watched, tuple[float, float] | None]] = []
        for run in runs:
            panels.append((run, None))
            near = around(run)
            if near is not None:
                panels.append((run, near))
        grid = canvas.subplots(len(panels), 1, squeeze=False)
        for axes, (run, near) in zip(grid.flat, panels, strict=True):
            _lanes(axes, run, near)
        _legend(canvas)

    return onto


def _lanes(axes: Any, run: Watched, near: tuple[float, float] | None) -> None:
    places = {lane: place for place, lane in enumerate(sorted({row.lane for row in run.rows}))}
    large = {row.index for row in run.giants}
    small = parts(row for row in run.rows if row.index not in large)
    for lane, place in places.items():
        stretches = [(part.began_s, part.ended_s - part.began_s) for part in small if part.lane == lane]
        # An edge, for most stretches are narrower than a pixel.
        axes.broken_barh(stretches, (place - 0.12, 0.24), facecolor=_SMALL, edgecolor=_SMALL, linewidth=0.5)
        bars = [(row.began_s, row.seconds) for row in run.giants if row.lane == lane]
        axes.broken_barh(bars, (place - 0.3, 0.6), facecolor=_GIANT, edgecolor="white", linewidth=0.8)
    begin_s, end_s = near or (0.0, run.seconds)
    for tail in run.behind:
        if begin_s <= tail.at_s <= end_s:
            _arrows(axes, tail, places, end_s - begin_s)
    axes.set_yticks(range(len(places)), [f"{lane.replace('/', ', slot ')}" for lane in places], fontsize=8)
    axes.set_ylim(len(places) - 0.4, -0.6)
    axes.set_xlim(begin_s, end_s)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel("seconds from the call of map()", fontsize=8)
    if near is None:
        title = (
            f"{run.name}: {run.seconds:.2f} s, {run.ideal_s / run.seconds:.0%} of the ideal; "
            f"{len(run.behind)} tails taken back behind giants; none trapped longer than {run.trapped_s:.3f} s"
        )
    else:
        some = [tail for tail in run.behind if near[0] <= tail.at_s <= near[1]]
        count, moved = sum(tail.hi - tail.lo for tail in some), sum(tail.moved for tail in some)
        title = (
            f"The same run from {near[0]:.2f} to {near[1]:.2f} s: {len(some)} tails of {count:,} tasks, "
            f"of which {moved:,} ran on another slot"
        )
    axes.set_title(title, fontsize=9, loc="left")


def _arrows(axes: Any, tail: Tail, places: dict[str, int], span_s: float) -> None:
    """From where a tail was taken back to where its first task began, in each lane."""
    here = places[tail.lane]
    axes.plot([tail.at_s], [here], marker="v", color="black", markersize=5, zorder=5)
    for lane, place in places.items():
        began = min((part.began_s for part in tail.ran if part.lane == lane), default=None)
        if began is None:
            continue
        # A long way is bent less, so that it stays in the panel.
        rad = -0.25 * min(1.0, 0.1 * span_s / max(began - tail.at_s, 1e-9)) if place == here else 0.0
        color = _SAME if place == here else _OTHER
        arrow = {"arrowstyle": "->", "color": color, "linewidth": 1.2, "connectionstyle": f"arc3,rad={rad:.3f}"}
        axes.annotate("", xy=(began, place), xytext=(tail.at_s, here), arrowprops=arrow, zorder=4)


def _legend(canvas: Any) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Patch(facecolor=_GIANT, label="a giant"),
        Patch(facecolor=_SMALL, label="tiny tasks, one after the other"),
        Line2D([], [], color="black", marker="v", linestyle="", label="the tail of a batch is taken back"),
        Line2D([], [], color=_OTHER, marker=">", label="... and runs on another slot"),
        Line2D([], [], color=_SAME, marker=">", label="... and runs on the same slot, later"),
    ]
    canvas.legend(handles=handles, loc="outside upper center", ncols=5, fontsize=8, frameon=False)


# --- the command ----------------------------------------------------------------------------------


_WATCHED = (
    "On workers that are watched; tasks also note their times. The ideal is work / p, or one giant if that is longer. "
    "A task is trapped while it sits behind a giant and another slot runs nothing.\n"
)


def adapters(slots: int) -> list[Adapter]:
    """Who runs the list."""
    return [Sequential(), LbnetService(slots), *(ProcessPool(slots, chunksize) for chunksize in (1, 100, 1_000))]


def figures(comparison: Comparison) -> list[list[Cell]]:
    """With ``FIGURE_COLUMNS``: efficiency against the sequential loop of this run, and against work / p."""
    lines: list[list[Cell]] = []
    for row in comparison.rows:
        if not row.measured:
            lines.append([row.title, *[None] * (len(FIGURE_COLUMNS) - 1)])
            continue
        ideal_s = comparison.workload.work_s / row.slots
        times = row.times_s
        lines.append(
            [
                row.title,
                row.median_s,
                min(times),
                max(times),
                row.spread,
                comparison.efficiency(row),
                ideal_s / row.median_s,
            ]
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment; 1 if a result was wrong or somebody broke."""
    options = options_of("giants", (__doc__ or "").splitlines()[0], arguments)
    count, many, giant_s = (20_000, 10, 0.1) if options.quick else (200_000, 20, 0.5)
    hidden = catalog.hidden_giants(count, many, giant_s)
    (comparison,) = measure(options, [hidden], adapters(options.workers))
    lists = [hidden, catalog.late_pair(count, giant_s)]
    runs = watched(lists, options.repeat, options.workers, lambda what: print(what, file=sys.stderr))
    return publish(options, comparison, runs)


def publish(options: argparse.Namespace, comparison: Comparison, runs: Sequence[Watched]) -> int:
    """Write Markdown, CSV, JSON and the picture, and print the Markdown. 1 if a result was wrong or somebody broke."""
    out: Path = options.out
    rows = comparison_rows([comparison])
    write_csv(out / "giants.csv", COMPARISON_COLUMNS, rows)
    facts = [
        dict(zip(WATCHED_COLUMNS, run.line(), strict=True))
        | {"giants": [asdict(row) for row in run.giants], "tails": [asdict(tail) for tail in run.tails]}
        for run in runs
    ]
    text = as_json(options.machine, rows, notes=notes([comparison]), watched=facts)
    write_text(out / "giants.json", text)
    reasons = notes([comparison])
    parts_of_page = [
        f"# giants: {options.question}\n",
        _conditions(comparison, options),
        markdown_table(FIGURE_COLUMNS, figures(comparison)),
        *([] if not reasons else ["Without a figure:\n", "".join(f"- {reason}\n" for reason in reasons)]),
        _WATCHED,
        markdown_table(WATCHED_COLUMNS, [run.line() for run in runs]),
        *(verdict(runs, name) for name in dict.fromkeys(run.name for run in runs)),
        machine_line(options.machine),
    ]
    page = "\n".join(parts_of_page)
    write_text(out / "giants.md", page)
    undrawn = draw(out / "giants.png", paint(shown(runs)), (13, 9), options.machine)
    sys.stdout.write(text if options.json else page)
    if undrawn:
        print(undrawn, file=sys.stderr)
    print(f"written: {out / 'giants'}.md, .csv, .json{'' if undrawn else ', .png'}", file=sys.stderr)
    return int(comparison.failed)


def _conditions(comparison: Comparison, options: argparse.Namespace) -> str:
    workload = comparison.workload
    return (
        f"{workload.name}: {workload.work_s:.2f} s of work, {options.workers} slots, {options.repeat} runs of each, "
        "interleaved.\n"
    )


def verdict(runs: Sequence[Watched], name: str) -> str:
    """One sentence on a list: how long a task was trapped at most, and beside that a giant."""
    mine = [run for run in runs if run.name == name]
    worst = max(run.trapped_s for run in mine)
    giant_s = statistics.median(row.seconds for run in mine for row in run.giants)
    wait_s = max(run.wait_s for run in mine)
    return (
        f"{name}: no task was trapped behind a giant for longer than {worst:.3f} s, and none waited there for longer "
        f"than {wait_s:.3f} s, also while all slots ran giants; a giant took {giant_s:.3f} s (median).\n"
    )


if __name__ == "__main__":
    sys.exit(main())
