"""The plots of ``lbnet simulate``: what is drawn is prepared as plain data, then drawn if matplotlib is there.

It must not know how points were run.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lbnet.cli.count import count
from lbnet.cli.simulate_points import Outcome
from lbnet.errors import UsageError
from lbnet.sim.timeline import BUSY, IDLE, LEFT, TRANSFER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Changes = Sequence[tuple[float, str]]
"""When which state of a worker began."""

ROWS_MAX = 64
"""More workers than this are not told apart in a plot: their shares are."""

_BINS = 200
_COLUMNS_MAX = 3
_COLORS = {BUSY: "#2a7f3f", TRANSFER: "#f2a33a", IDLE: "#d9d9d9", LEFT: "#ffffff"}
_TITLES = {BUSY: "busy", TRANSFER: "in transfer", IDLE: "idle", LEFT: "not there"}

# --- what is drawn --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """``low`` and ``high`` are the extremes of what ``y`` is the mean of."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes."""

    title: str
    lines: tuple[Line, ...]


def efficiency(outcomes: Sequence[Outcome]) -> list[Panel]:
    """Efficiency against workers: a panel for each workload, a line for each strategy; seeds are averaged."""
    panels = []
    for workload, points in _grouped(outcomes, lambda outcome: outcome.point.source.text):
        lines = []
        for strategy, own in _grouped(points, lambda outcome: outcome.point.strategy):
            by_workers = sorted(_grouped(own, lambda outcome: outcome.point.workers), key=lambda pair: pair[0])
            found = [[outcome.result.efficiency for outcome in same] for _, same in by_workers]
            lines.append(
                Line(
                    strategy,
                    tuple(float(workers) for workers, _ in by_workers),
                    tuple(sum(values) / len(values) for values in found),
                    tuple(map(min, found)),
                    tuple(map(max, found)),
                )
            )
        panels.append(Panel(workload, tuple(lines)))
    return panels


def controller(outcomes: Sequence[Outcome]) -> list[Panel]:
    """Messages per second at the controller over time: of the most workers, and of the first seed."""
    panels = []
    for workload, points in _grouped(outcomes, lambda outcome: outcome.point.source.text):
        most = max(outcome.point.workers for outcome in points)
        lines = []
        for strategy, own in _grouped(points, lambda outcome: outcome.point.strategy):
            result = next(outcome.result for outcome in own if outcome.point.workers == most)
            middles = tuple((index + 0.5) * result.rate_bin_s for index in range(len(result.rates)))
            lines.append(Line(strategy, middles, result.rates, result.rates, result.rates))
        panels.append(Panel(f"{workload}, {count(most, 'worker')}", tuple(lines)))
    return panels


@dataclass(frozen=True, slots=True)
class Span:
    """A worker is in one state for ``length`` seconds from ``start`` on."""

    start: float
    length: float
    state: str


def spans(changes: Changes, end: float) -> list[Span]:
    """What a worker did until ``end``, without gaps from its first state on."""
    found = []
    for index, (start, state) in enumerate(changes):
        until = min(changes[index + 1][0] if index + 1 < len(changes) else end, end)
        if until > start:
            found.append(Span(start, until - start, state))
    return found


def shares(timeline: Iterable[Changes], end: float, bins: int = _BINS) -> dict[str, list[float]]:
    """How many workers are in each state, on average, in each of ``bins`` equal parts of the time until ``end``."""
    totals = {state: [0.0] * bins for state in (BUSY, TRANSFER, IDLE)}
    bin_s = end / bins
    if bin_s <= 0:
        return totals
    for changes in timeline:
        for span in spans(changes, end):
            if span.state in totals:
                _spread(span, totals[span.state], bin_s)
    return totals


def _spread(span: Span, into: list[float], bin_s: float) -> None:
    last = len(into) - 1
    stop = span.start + span.length
    for index in range(min(int(span.start / bin_s), last), min(int(stop / bin_s), last) + 1):
        inside = min(stop, (index + 1) * bin_s) - max(span.start, index * bin_s)
        into[index] += max(0.0, inside) / bin_s


def timeline_names(outcomes: Sequence[Outcome]) -> list[str]:
    """File names, each once: strategy and workers, and with several workloads or seeds, those as well."""
    several_workloads = len({outcome.point.source.text for outcome in outcomes}) > 1
    several_seeds = len({outcome.point.seed for outcome in outcomes}) > 1
    names: list[str] = []
    for outcome in outcomes:
        point = outcome.point
        parts = ["timeline", point.strategy, str(point.workers)]
        parts += [point.source.text] if several_workloads else []
        parts += [f"seed{point.seed}"] if several_seeds else []
        stem = re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(parts))
        name, number = f"{stem}.png", 1
        while name in names:
            number += 1
            name = f"{stem}-{number}.png"
        names.append(name)
    return names


def _grouped(outcomes: Iterable[Outcome], key: Callable[[Outcome], Any]) -> list[tuple[Any, list[Outcome]]]:
    groups: dict[Any, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(key(outcome), []).append(outcome)
    return list(groups.items())


# --- files ----------------------------------------------------------------------------------------


def check(folder: Path) -> None:
    """Make sure that plots can be drawn into ``folder``, before anything is computed. It need not be there.

    Raises:
        UsageError: it is no folder, or cannot be written to, or matplotlib is missing.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise UsageError("--plot needs matplotlib, which is not installed: pip install matplotlib") from None
    there = next((each for each in (folder, *folder.absolute().parents) if os.path.lexists(each)), folder)
    if not there.is_dir():
        raise UsageError(f"{there} is a file, and plots need a folder: name another one with --plot")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"nothing can be written to {there}: name another folder with --plot")


def write(outcomes: Sequence[Outcome], folder: Path) -> list[Path]:
    """Draw all plots into ``folder``, which is made if it is not there. Returns their paths.

    Raises:
        OSError: they cannot be written; nothing half-written is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with_timeline = [outcome for outcome in outcomes if outcome.result.timeline is not None]
    written = [
        _save(_draw_efficiency(efficiency(outcomes)), folder / "efficiency.png"),
        _save(_draw_controller(controller(outcomes)), folder / "controller.png"),
    ]
    for outcome, name in zip(with_timeline, timeline_names(with_timeline), strict=True):
        written.append(_save(_draw_timeline(outcome), folder / name))
    return written


def _save(figure: Figure, path: Path) -> Path:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # Without the version of matplotlib, so that the same plot is the same file.
        figure.savefig(beside, format="png", dpi=120, metadata={"Software": None})
        beside.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
    return path


# --- drawing --------------------------------------------------------------------------------------


def _axes(panels: Sequence[Panel]) -> tuple[Figure, Iterator[tuple[Panel, Any]]]:
    """A figure, and each panel with its axes."""
    from matplotlib.figure import Figure

    columns = min(len(panels), _COLUMNS_MAX)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(2.0 + 5.0 * columns, 4.2 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    places = [axes for row in grid for axes in row]
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    return figure, zip(panels, places, strict=False)


def _draw_efficiency(panels: Sequence[Panel]) -> Figure:
    figure, pairs = _axes(panels)
    for panel, axes in pairs:
        for line in panel.lines:
            axes.plot(line.x, line.y, marker="o", markersize=4, label=line.label)
            axes.fill_between(line.x, line.low, line.high, alpha=0.15)
        ticks = sorted({x for line in panel.lines for x in line.x})
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, labels=[f"{tick:,.0f}" for tick in ticks])
        axes.minorticks_off()
        axes.set_ylim(0, 1.05)
        _finish(axes, panel.title, "workers", "efficiency")
    return figure


def _draw_controller(panels: Sequence[Panel]) -> Figure:
    figure, pairs = _axes(panels)
    for panel, axes in pairs:
        for line in panel.lines:
            axes.plot(line.x, line.y, linewidth=1, label=line.label)
        axes.set_ylim(bottom=0)
        _finish(axes, panel.title, "virtual seconds", "messages/s at the controller")
    return figure


def _draw_timeline(outcome: Outcome) -> Figure:
    from matplotlib.figure import Figure

    point, timeline = outcome.point, outcome.result.timeline or ()
    end = outcome.result.makespan_s
    height = 2.0 + 0.18 * len(timeline) if len(timeline) <= ROWS_MAX else 4.5
    figure = Figure(figsize=(10.0, height), layout="constrained")
    axes = figure.subplots()
    if len(timeline) <= ROWS_MAX:
        _draw_rows(axes, [spans(changes, end) for changes in timeline])
    else:
        _draw_shares(axes, shares(timeline, end), end)
    axes.set_xlim(0, end or 1.0)
    _finish(axes, point.title, "virtual seconds", "worker" if len(timeline) <= ROWS_MAX else "workers")
    axes.grid(visible=False)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _draw_rows(axes: Any, rows: Sequence[Sequence[Span]]) -> None:
    for state in (BUSY, TRANSFER, IDLE):
        label: str | None = _TITLES[state]
        for number, row in enumerate(rows):
            bars = [(span.start, span.length) for span in row if span.state == state]
            axes.broken_barh(bars, (number - 0.45, 0.9), facecolors=_COLORS[state], linewidth=0, label=label)
            label = None
    axes.set_ylim(len(rows) - 0.5, -0.5)


def _draw_shares(axes: Any, totals: dict[str, list[float]], end: float) -> None:
    bins = len(totals[BUSY])
    middles = [(index + 0.5) * end / bins for index in range(bins)]
    axes.stackplot(
        middles,
        list(totals.values()),
        labels=[_TITLES[state] for state in totals],
        colors=[_COLORS[state] for state in totals],
        linewidth=0,
    )
    axes.set_ylim(bottom=0)


def _finish(axes: Any, title: str, across: str, upward: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(across)
    axes.set_ylabel(upward)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
