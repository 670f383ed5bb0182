"""Write what was measured: CSV, Markdown, JSON and PNG. It must not know how it was measured.

matplotlib is imported only when something is drawn, and it may be missing.
"""

from __future__ import annotations

import csv
import json
import shutil
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from bench.harness import Comparison, Row
from bench.workload import Figure

RESULTS = Path(__file__).resolve().parent / "results"
Cell = str | int | float | None


class Progress:
    """One line on a terminal that is written over, or one line an event where output is kept."""

    def __init__(self, total: int, stream: IO[str] | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._total = total
        self._done = 0
        self._live = self._stream.isatty()

    def __call__(self, what: str) -> None:
        """Say what comes next; nothing, for a run that is left out."""
        self._done += 1
        if not what:
            return
        line = f"[{min(self._done, self._total)}/{self._total}] {what}"
        if self._live:
            # A line that wraps could not be written over.
            line = f"\r\033[K{line[: shutil.get_terminal_size().columns - 1]}"
        self._stream.write(line if self._live else f"{line}\n")
        self._stream.flush()

    def close(self) -> None:
        """Leave the terminal's line empty."""
        if self._live:
            self._stream.write("\r\033[K")
            self._stream.flush()


COMPARISON_COLUMNS = (
    "workload",
    "peer",
    "setting",
    "slots",
    "items",
    "figure",
    "unit",
    "ratio",
    "median_s",
    "min_s",
    "max_s",
    "spread",
    "p50_ms",
    "p99_ms",
    "ready_s",
    "repeats",
    "reason",
)


def comparison_rows(comparisons: Sequence[Comparison]) -> list[dict[str, Cell]]:
    """A row for each workload and adapter, with ``COMPARISON_COLUMNS``.

    ``ratio`` is how many times as fast as the baseline, item by item; ``ready_s`` is the median time from nothing to
    a peer whose slots have all run a task.
    """
    rows: list[dict[str, Cell]] = []
    for comparison in comparisons:
        for row in comparison.rows:
            cells: dict[str, Cell] = dict.fromkeys(COMPARISON_COLUMNS)
            cells |= {
                "workload": comparison.workload.name,
                "peer": row.name,
                "setting": row.setting,
                "slots": row.slots,
                "items": row.count,
                "unit": comparison.workload.figure.value,
                "repeats": len(row.samples),
                "reason": row.reason,
            }
            if row.measured:
                cells |= {
                    "figure": comparison.figure(row),
                    "ratio": comparison.ratio(row),
                    "median_s": row.median_s,
                    "min_s": min(row.times_s),
                    "max_s": max(row.times_s),
                    "spread": row.spread,
                    "p50_ms": _milliseconds(row.latency_s(0.5)),
                    "p99_ms": _milliseconds(row.latency_s(0.99)),
                    "ready_s": statistics.median(sample.start_s for sample in row.samples),
                }
            rows.append(cells)
    return rows


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """A line for each adapter, a column for each workload: the figure, and the ratio to the baseline."""
    titles = list(dict.fromkeys(row.title for comparison in comparisons for row in comparison.rows))
    columns = ["", *(comparison.workload.name for comparison in comparisons)]
    lines: list[list[Cell]] = []
    for title in titles:
        line: list[Cell] = [title]
        for comparison in comparisons:
            row = next((row for row in comparison.rows if row.title == title), None)
            line.append("" if row is None else _cell(comparison, row))
        lines.append(line)
    return markdown_table(columns, lines)


def _cell(comparison: Comparison, row: Row) -> str:
    text = figure_text(comparison, row)
    tail = row.latency_s(0.99)
    if tail is not None:
        text += f" (p99 {show(tail * 1e3)})"
    ratio = comparison.ratio(row)
    # Efficiency is a ratio already, and to a call in the same process a latency has none worth reading.
    if (
        ratio is None
        or row.name == comparison.baseline
        or comparison.workload.figure in (Figure.EFFICIENCY, Figure.LATENCY)
    ):
        return text
    return f"{text}, x{ratio:.3g}"


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Cell]]) -> None:
    """A header line and a line a row; missing values are empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="raise", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: _plain(row.get(name)) for name in columns})


def write_text(path: Path, text: str) -> None:
    """A text file, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def as_json(machine: Mapping[str, str], rows: Sequence[Mapping[str, Cell]], **more: Any) -> str:
    """One JSON object: the machine, the rows, and what else there is."""
    return json.dumps({"machine": dict(machine), "rows": [dict(row) for row in rows], **more}, indent=2) + "\n"


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A Markdown table, aligned so that it can be read as text too."""
    cells = [list(columns), *([show(cell) for cell in row] for row in rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"


def show(cell: Cell) -> str:
    """A number as a reader wants it: about three digits."""
    match cell:
        case None:
            return ""
        case float():
            if abs(cell) >= 1_000:
                return f"{cell:,.0f}"
            if 0 < abs(cell) < 0.01:
                return f"{cell:.2g}"
            return f"{cell:.3f}" if abs(cell) < 10 else f"{cell:.1f}"
        case int():
            return f"{cell:,}"
    return cell


def machine_line(machine: Mapping[str, str]) -> str:
    """The machine in one paragraph."""
    return "; ".join(f"{name}: {value}" for name, value in machine.items()) + "\n"


def notes(comparisons: Sequence[Comparison]) -> list[str]:
    """Who has no figure, for what reason, with which workloads."""
    found: dict[tuple[str, str], list[str]] = {}
    for comparison in comparisons:
        for row in comparison.rows:
            if row.reason:
                found.setdefault((row.title, row.reason), []).append(comparison.workload.name)
    return [f"{title}: {reason} ({', '.join(names)})" for (title, reason), names in found.items()]


def figure_text(comparison: Comparison, row: Row) -> str:
    """A row's figure with its unit, or the short form of why there is none."""
    value = comparison.figure(row)
    if value is None:
        return "-" if not row.failed else "**FAILED**"
    unit = comparison.workload.figure
    return show(value) if unit is Figure.EFFICIENCY else f"{show(value)} {unit.value}"


def draw(path: Path, paint: Callable[[Any], None], size: tuple[float, float], machine: Mapping[str, str]) -> str:
    """Draw a figure without a display; ``paint`` gets the matplotlib ``Figure``.

    Returns:
        Why nothing was drawn, or empty.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as Canvas
    except ImportError as error:
        return f"{path.name} was not drawn ({error}); matplotlib is in the dependency group 'bench'"
    canvas = Canvas(figsize=size, layout="constrained")
    FigureCanvasAgg(canvas)
    paint(canvas)
    small = ("cpu", "cores", "python", "lbnet", "commit", "measured")
    canvas.supxlabel("; ".join(f"{name} {machine[name]}" for name in small if name in machine), fontsize=6, color="0.4")
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(path, dpi=140)
    return ""


def _plain(cell: Cell) -> Cell:
    # Six digits: more would only be noise, and fewer would lose the small times.
    return float(f"{cell:.6g}") if isinstance(cell, float) else cell
