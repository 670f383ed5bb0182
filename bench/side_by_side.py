"""Run adapters side by side, each in a process of its own, and publish the tables and the picture.

It must not know which adapters or workloads: experiments choose them.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bench.environments import Environment
from bench.harness import Comparison, Row, close_all, compare
from bench.machine import machine_facts
from bench.peers.base import Adapter
from bench.report import (
    COMPARISON_COLUMNS,
    RESULTS,
    Progress,
    as_json,
    comparison_rows,
    comparison_table,
    draw,
    figure_text,
    machine_line,
    notes,
    write_csv,
    write_text,
)
from bench.seats import ProcessSeat
from bench.workload import Figure, Workload

PANEL_COLUMNS = 3
REASON_CHARS_MAX = 45
"""Of a reason inside a picture; the table has all of it."""

BASELINE = "sequential"
OURS = "lbnet"


def measure(
    options: argparse.Namespace,
    chosen: Sequence[Workload],
    peers: Sequence[Adapter],
    environments: Mapping[str, Environment] = MappingProxyType({}),
) -> list[Comparison]:
    """Every workload on every adapter, each adapter in a process of its own, and in the environment of its name."""
    here = Environment(sys.executable)
    places = [environments.get(adapter.name, here) for adapter in peers]
    seats = [ProcessSeat(adapter, place.python, place.reason) for adapter, place in zip(peers, places, strict=True)]
    progress = Progress(options.repeat * len(chosen) * len(seats))
    try:
        return [
            compare(
                workload,
                seats,
                baseline=BASELINE,
                repeats=options.repeat,
                limit_s=options.limit,
                progress=progress,
            )
            for workload in chosen
        ]
    finally:
        close_all(seats)
        progress.close()


def paint(comparisons: Sequence[Comparison]) -> Callable[[Any], None]:
    """A panel a workload, a bar an adapter: the median figure with the range of its runs, or why there is none."""

    def onto(canvas: Any) -> None:
        columns = min(PANEL_COLUMNS, len(comparisons))
        grid = canvas.subplots(math.ceil(len(comparisons) / columns), columns, squeeze=False)
        panels = list(grid.flat)
        for number, (axes, comparison) in enumerate(zip(panels, comparisons, strict=False)):
            _panel(axes, comparison)
            if number % columns:
                axes.tick_params(axis="y", labelleft=False)
        for axes in panels[len(comparisons) :]:
            axes.set_visible(False)

    return onto


def _panel(axes: Any, comparison: Comparison) -> None:
    figure = comparison.workload.figure
    rows = [row for row in comparison.rows if row.name != BASELINE]
    values = [comparison.figure(row) or 0.0 for row in rows]
    colours = ["tab:orange" if row.name == OURS else "tab:blue" for row in rows]
    drawn = axes.barh(range(len(rows)), values, color=colours)
    measured = [number for number, row in enumerate(rows) if row.measured]
    if measured:
        some = [rows[number] for number in measured]
        axes.errorbar(
            [values[number] for number in measured],
            measured,
            xerr=_ranges(comparison, some),
            fmt="none",
            ecolor="0.2",
            elinewidth=0.8,
        )
    labels = [figure_text(comparison, row) if row.measured else _short_reason(row.reason) for row in rows]
    if figure is Figure.EFFICIENCY:
        axes.set_xlim(0, 1.3)
        axes.axvline(1.0, color="0.6", linewidth=0.8)
    elif any(values):
        axes.set_xscale("log")
        shown = [value for value in values if value > 0]
        axes.set_xlim(min(shown) / 5, max(shown) * 30)
        base = comparison.base
        if base is not None and not figure.less_is_better:
            axes.axvline(comparison.figure(base), color="0.6", linewidth=0.8)
    axes.bar_label(drawn, labels=labels, fontsize=6, padding=3)
    axes.set_yticks(range(len(rows)), [row.title for row in rows], fontsize=6)
    axes.invert_yaxis()
    axes.tick_params(axis="x", labelsize=6)
    better = "less is better" if figure.less_is_better else "more is better"
    axes.set_title(f"{comparison.workload.name} [{figure.value}, {better}]", fontsize=7)


def _short_reason(reason: str) -> str:
    return reason if len(reason) <= REASON_CHARS_MAX else reason[: REASON_CHARS_MAX - 3] + "..."


def _ranges(comparison: Comparison, rows: Sequence[Row]) -> list[list[float]]:
    below, above = [], []
    for row in rows:
        value = comparison.figure(row) or 0.0
        fast, slow = row.median_s / min(row.times_s), row.median_s / max(row.times_s)
        if comparison.workload.figure.less_is_better:
            fast, slow = 1 / slow, 1 / fast
        below.append(value * (1 - slow))
        above.append(value * (fast - 1))
    return [below, above]


def publish(options: argparse.Namespace, name: str, comparisons: Sequence[Comparison], summary: str) -> int:
    """Write Markdown, CSV, JSON and PNG, and print the Markdown.

    Returns:
        The exit code: 1 if any result was wrong, or a peer broke.
    """
    out: Path = options.out
    machine = options.machine
    rows = comparison_rows(comparisons)
    reasons = notes(comparisons)
    write_csv(out / f"{name}.csv", COMPARISON_COLUMNS, rows)
    text = as_json(machine, rows, notes=reasons)
    write_text(out / f"{name}.json", text)
    parts = [
        f"# {name}: {options.question}\n",
        f"Medians of {options.repeat}, interleaved, {options.workers} slots.",
        "Efficiency is T_1 / (p T_p) with the sequential T_1 of this run; x is the speed beside the sequential loop.\n",
        comparison_table(comparisons),
        summary,
        *([] if not reasons else ["Without a figure:\n", "".join(f"- {reason}\n" for reason in reasons)]),
        machine_line(machine),
    ]
    page = "\n".join(parts)
    write_text(out / f"{name}.md", page)
    lines = math.ceil(len(comparisons) / PANEL_COLUMNS)
    undrawn = draw(out / f"{name}.png", paint(comparisons), (14, 0.6 + 2.6 * lines), machine)
    sys.stdout.write(text if options.json else page)
    if undrawn:
        print(undrawn, file=sys.stderr)
    print(f"written: {out / name}.md, .csv, .json{'' if undrawn else ', .png'}", file=sys.stderr)
    return int(any(comparison.failed for comparison in comparisons))


def options_of(
    name: str,
    question: str,
    arguments: Sequence[str] | None,
    known: Sequence[str] = (),
    peers: Sequence[str] = (),
) -> argparse.Namespace:
    """The options that comparisons of peers share, with the machine's facts."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.experiments.{name}", description=question)
    parser.add_argument("--quick", action="store_true", help="small workloads, once each: a look, no measurement")
    parser.add_argument(
        "--out", type=Path, default=RESULTS, metavar="FOLDER", help="where the files go (bench/results)"
    )
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="compute processes of each peer (2)")
    parser.add_argument("--repeat", type=int, default=0, metavar="N", help="runs of each (3; with --quick 1)")
    parser.add_argument("--limit", type=float, default=60.0, metavar="S", help="the longest a run may take (60)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    if known:
        parser.add_argument("--workload", choices=known, action="append", help="only this one; may be repeated")
    if peers:
        parser.add_argument("--peer", choices=peers, action="append", help="only this one; may be repeated")
    options = parser.parse_args(arguments)
    if options.workers < 1 or options.repeat < 0:
        parser.error("--workers and --repeat must be at least 1")
    options.repeat = options.repeat or (1 if options.quick else 3)
    options.question = question
    options.machine = machine_facts()
    return options
