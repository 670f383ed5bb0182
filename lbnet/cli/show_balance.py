"""A balance report for people: where the time of each worker's slots went, how far from the ideal, and what helps.

It must not know how the numbers came about.
"""

from __future__ import annotations

from typing import Any

import click

from lbnet.cli import show
from lbnet.types import CAUSES, BalanceReport, WorkerBalance

_HEADS = {"waiting for work": "waiting", "serialising": "serial."}


def balance(report: BalanceReport, *, each_end: int | None = None, err: bool = False) -> None:
    """Print the report.

    Args:
        report: of a job.
        each_end: of more than twice as many workers, show only so many of the busiest and of the idlest; None: all.
        err: on standard error.
    """
    shown, left_out = report.workers, ""
    if each_end is not None and len(shown) > 2 * each_end:
        ordered = sorted(shown, key=lambda worker: -worker.busy_s)
        left_out = f"(the {each_end} busiest and the {each_end} idlest of {len(shown):,} workers)"
        shown = (*ordered[:each_end], *ordered[-each_end:])
    causes = [cause for cause in CAUSES if f"{report.causes[cause]:.3f}" != "0.000"]
    columns = (
        show.Column("worker", _name, text=True),
        show.Column("busy", lambda row: f"{row.busy_s:,.3f}"),
        *(_column(cause) for cause in causes),
    )
    whole = WorkerBalance("all", round(report.slots), report.slot_s, report.busy_s, report.causes, answered=True)
    show.table("Slot seconds", columns, shown, whole, err=err)
    if left_out:
        click.echo(left_out, err=err)
    click.echo(figures(report), err=err)
    if report.advice:
        click.echo(report.advice, err=err)


def figures(report: BalanceReport) -> str:
    """The gap to the ideal, and the part of each cause in it, on a line each that is not 0."""
    gap = f"gap {report.gap_s:.3f} s, {report.gap_percent:.1f} % of the ideal"
    lines = [f"T_p {report.makespan_s:.3f} s   ideal T_1/p {report.ideal_s:.3f} s   {gap}"]
    if report.slots > 0 and report.ideal_s > 0:
        for cause in sorted(CAUSES, key=lambda cause: -report.causes[cause]):
            seconds = report.causes[cause] / report.slots
            percent = f"{100 * seconds / report.ideal_s:.1f}"
            if percent not in {"0.0", "-0.0"}:
                lines.append(f"  {cause:<17}{seconds:9.3f} s {percent:>7} %")
    return "\n".join(lines)


def _column(cause: str) -> show.Column:
    def cell(row: Any) -> str:
        return f"{row.causes[cause]:,.3f}"

    return show.Column(_HEADS.get(cause, cause), cell, spare=CAUSES.index(cause))


def _name(row: Any) -> str:
    return str(row.name) if row.answered else f"{row.name} (no answer)"
