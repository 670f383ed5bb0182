"""Reports as tables for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from lbnet.cli.count import count
from lbnet.types import ClusterStatus, JobReport

_NAME_WIDTH_MAX = 40


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        title: its head.
        cell: what it says about a record.
        text: it is no number: to the left, and cut if it is very long.
        spare: in a narrow terminal the columns with the greatest number are left out first; those with 0 stay.
    """

    title: str
    cell: Callable[[Any], object]
    text: bool = False
    spare: int = 0


WORKERS = (
    Column("name", lambda worker: worker.name, text=True),
    Column("host", lambda worker: worker.host, text=True, spare=1),
    Column("pid", lambda worker: worker.pid, spare=2),
    Column("slots", lambda worker: worker.slots),
    Column("state", lambda worker: worker.state, text=True),
    Column("surplus s", lambda worker: f"{worker.surplus_s:,.2f}"),
    Column("tasks", lambda worker: f"{worker.tasks_done:,}"),
    Column("busy s", lambda worker: f"{worker.busy_s:,.2f}"),
    Column("address", lambda worker: worker.address, text=True, spare=3),
)

JOBS = (
    Column("job", lambda job: job.job, spare=1),
    Column("name", lambda job: job.name, text=True),
    Column("state", lambda job: job.state, text=True),
    Column("submitted", lambda job: f"{job.submitted:,}", spare=3),
    Column("spawned", lambda job: f"{job.spawned:,}", spare=4),
    Column("done", lambda job: f"{job.done:,}"),
    Column("failed", lambda job: f"{job.failed:,}"),
    Column("outstanding", lambda job: f"{job.outstanding:,}"),
    Column("T_p s", lambda job: f"{job.makespan_s:,.2f}", spare=2),
    Column("efficiency", lambda job: f"{job.efficiency:.3f}", spare=5),
)

_SHARES = (
    Column("worker", lambda share: share["name"], text=True),
    Column("slots", lambda share: share["slots"]),
    Column("tasks", lambda share: f"{share['tasks']:,}"),
    Column("busy s", lambda share: f"{share['busy_s']:,.3f}"),
    Column("busy %", lambda share: _percent(share["busy_s"], share["slots"] * share["makespan_s"])),
    Column("batches sent", lambda share: f"{share['sent']:,}", spare=1),
    Column("batches received", lambda share: f"{share['received']:,}", spare=1),
)


def workers(status: ClusterStatus) -> None:
    """Print the workers of a cluster."""
    table("Workers", WORKERS, status.workers)


def detours(status: ClusterStatus) -> list[str]:
    """A line for each pair of workers that work could not go between directly."""
    return [
        f"no direct link from {worker.name} to {other}: {count(batches, 'batch', 'batches')} went by the controller"
        for worker in status.workers
        for other, batches in worker.relayed.items()
    ]


def jobs(reports: Sequence[JobReport]) -> None:
    """Print jobs, a line each."""
    table("Jobs", JOBS, reports)


def balance(report: JobReport, *, each_end: int | None = None) -> None:
    """Print each worker's share of a job, and the whole.

    Args:
        report: of the job.
        each_end: of more than twice as many workers, show only so many of the busiest and of the idlest; None: all.
    """
    title, shown = "Balance", report.workers
    if each_end is not None and len(shown) > 2 * each_end:
        ordered = sorted(shown, key=lambda worker: -worker.busy_s)
        title = f"Balance: the {each_end} busiest and the {each_end} idlest of {len(shown):,} workers"
        shown = (*ordered[:each_end], *ordered[-each_end:])
    shares = [
        {
            "name": worker.name,
            "slots": worker.slots,
            "tasks": worker.tasks,
            "busy_s": worker.busy_s,
            "sent": worker.batches_sent,
            "received": worker.batches_received,
            "makespan_s": report.makespan_s,
        }
        for worker in shown
    ]
    whole = {
        "name": "all",
        "slots": report.slots,
        "tasks": report.done,
        "busy_s": report.busy_s,
        "sent": sum(worker.batches_sent for worker in report.workers),
        "received": sum(worker.batches_received for worker in report.workers),
        "makespan_s": report.makespan_s,
    }
    table(title, _SHARES, shares, whole)


def figures(report: JobReport) -> str:
    """The figures of Kumar, Grama and Vempaty in two short lines."""
    return (
        f"p {report.slots}   makespan T_p {report.makespan_s:.3f} s   busy T_1 {report.busy_s:.3f} s\n"
        f"overhead p*T_p - T_1 {report.overhead_s:.3f} s   "
        f"speedup {report.speedup:.2f}   efficiency {report.efficiency:.3f}"
    )


def console(*, err: bool = False) -> Console:
    """Standard output, or error. It leaves texts as they are: a name may look like markup or an emoji."""
    return Console(markup=False, emoji=False, highlight=False, stderr=err)


# --- tables ---------------------------------------------------------------------------------------


def table(
    title: str, columns: tuple[Column, ...], records: Iterable[Any], whole: Any = None, *, err: bool = False
) -> None:
    """Print a table as wide as it needs; in a terminal, without the columns that do not fit and can be spared.

    Args:
        title: stands above it.
        columns: what is shown of a record.
        records: one for each row.
        whole: a record for a row below the others, apart from them.
        err: print it on standard error.
    """
    records = list(records)
    out = console(err=err)
    shown = list(columns)
    made = _table(title, shown, records, whole)
    while out.is_terminal and _width(out, made) > out.width and max(column.spare for column in shown):
        shown.remove(max(shown, key=lambda column: column.spare))
        made = _table(title, shown, records, whole)
    # A line that is too long for the terminal is still better than a table of dots.
    out.width = max(out.width, _width(out, made))
    out.print(made)
    if len(shown) < len(columns):
        missing = [column.title for column in columns if column not in shown]
        out.print(f"(no room for {', '.join(missing)}: widen the terminal, or use --json)", style="dim")
    out.print()


def _table(title: str, columns: list[Column], records: list[Any], whole: Any) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(
            column.title,
            justify="left" if column.text else "right",
            max_width=_NAME_WIDTH_MAX if column.text else None,
            no_wrap=True,
            overflow="ellipsis",
        )
    for record in records:
        table.add_row(*(Text(str(column.cell(record))) for column in columns))
    if whole is not None:
        table.add_section()
        table.add_row(*(Text(str(column.cell(whole))) for column in columns))
    return table


def _width(out: Console, table: Table) -> int:
    return Measurement.get(out, out.options.update(width=10_000), table).maximum


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f}" if whole > 0 else "-"
