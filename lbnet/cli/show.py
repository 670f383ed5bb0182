"""Reports as tables for people."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from lbnet.types import ClusterStatus, JobReport


def console() -> Console:
    """Standard output, wide enough for a table also where there is no terminal."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=max(plain.width, 110))


def table(title: str, *columns: str) -> Table:
    """An empty table; all columns but the first are numbers unless their name ends with a colon."""
    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(columns):
        text = place == 0 or column.endswith(":")
        made.add_column(column.removesuffix(":"), justify="left" if text else "right")
    return made


def balance(report: JobReport) -> Table:
    """Each worker's share of a job, and the whole."""
    made = table("Balance", "worker", "slots", "tasks", "busy s", "busy %", "batches sent", "batches received")
    for worker in report.workers:
        made.add_row(
            worker.name,
            str(worker.slots),
            f"{worker.tasks:,}",
            f"{worker.busy_s:.3f}",
            _percent(worker.busy_s, worker.slots * report.makespan_s),
            str(worker.batches_sent),
            str(worker.batches_received),
        )
    made.add_section()
    made.add_row(
        "all",
        str(report.slots),
        f"{report.done:,}",
        f"{report.busy_s:.3f}",
        _percent(report.busy_s, report.slots * report.makespan_s),
        str(sum(worker.batches_sent for worker in report.workers)),
        str(sum(worker.batches_received for worker in report.workers)),
    )
    return made


def figures(report: JobReport) -> str:
    """The figures of Kumar, Grama and Vempaty in one line."""
    return (
        f"p {report.slots}   makespan T_p {report.makespan_s:.3f} s   busy T_1 {report.busy_s:.3f} s   "
        f"overhead p*T_p - T_1 {report.overhead_s:.3f} s   "
        f"speedup {report.speedup:.2f}   efficiency {report.efficiency:.3f}"
    )


def workers(status: ClusterStatus) -> Table:
    """The workers of a cluster."""
    made = table("Workers", "name", "host:", "pid", "slots", "state:", "surplus s", "tasks", "busy s", "address:")
    for worker in status.workers:
        made.add_row(
            worker.name,
            worker.host,
            str(worker.pid),
            str(worker.slots),
            worker.state,
            f"{worker.surplus_s:.2f}",
            f"{worker.tasks_done:,}",
            f"{worker.busy_s:.2f}",
            worker.address,
        )
    return made


def jobs(status: ClusterStatus) -> Table:
    """The jobs that a controller remembers."""
    made = table(
        "Jobs", "job", "name:", "state:", "submitted", "spawned", "done", "failed", "outstanding", "T_p s", "efficiency"
    )
    for job in status.jobs:
        made.add_row(
            str(job.job),
            job.name,
            job.state,
            f"{job.submitted:,}",
            f"{job.spawned:,}",
            f"{job.done:,}",
            f"{job.failed:,}",
            f"{job.outstanding:,}",
            f"{job.makespan_s:.2f}",
            f"{job.efficiency:.3f}",
        )
    return made


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f}" if whole > 0 else "-"
