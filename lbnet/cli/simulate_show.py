"""What ``lbnet simulate`` says of its points, as tables, sentences and JSON: the same for the same points, always.

It must not know how they were run, so nothing here depends on real time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from lbnet.cli import show, show_balance
from lbnet.cli.count import count
from lbnet.cli.simulate_points import Outcome, Recording
from lbnet.version import VERSION

_TO_REQUESTERS = ("worker to worker", "controller to worker")
"""A NO_WORK goes by the controller where donor and requester have no link yet."""

_EACH_END = 5
"""Of many workers, so many of the busiest and of the idlest are shown."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What is derived from a result.

    Attributes:
        controller_messages_s: messages that the controller handled, per virtual second of the job.
        batches_moved: between workers.
        requests: for work: what idle workers asked others, and for whom the controller asked a donor.
        refusals: of those, how many brought nothing.
    """

    controller_messages_s: float
    batches_moved: int
    requests: int
    refusals: int


def figures_of(outcome: Outcome) -> Figures:
    """The figures of a point."""
    result, workers = outcome.result, outcome.result.report.workers
    to_controller = sum(
        sum(counts.values()) for direction, counts in result.messages.items() if direction.endswith("to controller")
    )
    asked = sum(worker.asks for worker in workers)
    matched = result.messages.get("controller to worker", {}).get("Match", 0)
    # Where workers ask, they count their refusals; a NO_WORK may then also decline an offer.
    refused = sum(result.messages.get(direction, {}).get("NoWork", 0) for direction in _TO_REQUESTERS)
    return Figures(
        controller_messages_s=to_controller / result.makespan_s if result.makespan_s > 0 else 0.0,
        batches_moved=sum(worker.batches_received for worker in workers),
        requests=asked + matched,
        refusals=sum(worker.refusals for worker in workers) if asked else refused,
    )


# --- tables ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    outcome: Outcome
    figures: Figures


_COLUMNS = (
    show.Column("strategy", lambda row: row.outcome.point.strategy, text=True),
    show.Column("workers", lambda row: f"{row.outcome.point.workers:,}"),
    show.Column("workload", lambda row: row.outcome.result.workload, text=True, spare=1),
    show.Column("seed", lambda row: row.outcome.point.seed, spare=2),
    show.Column("makespan s", lambda row: f"{row.outcome.result.makespan_s:,.4f}"),
    show.Column("speedup", lambda row: f"{row.outcome.result.report.speedup:,.2f}", spare=5),
    show.Column("efficiency", lambda row: f"{row.outcome.result.efficiency:.3f}"),
    show.Column("overhead s", lambda row: f"{row.outcome.result.report.overhead_s:,.3f}", spare=9),
    show.Column("controller %", lambda row: f"{100 * row.outcome.result.controller_busy:.1f}", spare=3),
    show.Column("messages/s", lambda row: f"{row.figures.controller_messages_s:,.0f}", spare=4),
    show.Column("moved", lambda row: f"{row.figures.batches_moved:,}", spare=6),
    show.Column("requests", lambda row: f"{row.figures.requests:,}", spare=7),
    show.Column("refused", lambda row: f"{row.figures.refusals:,}", spare=8),
    show.Column("events", lambda row: f"{row.outcome.result.events:,}", spare=10),
)


def text(outcomes: Sequence[Outcome], recorded: Recording | None) -> None:
    """Print a row for each point, whether its sum is right, and the balance if there is only one.

    Args:
        outcomes: of the points, one at least.
        recorded: how the job went when it was recorded, if it was.
    """
    show.table("Simulated", _COLUMNS, [_Row(outcome, figures_of(outcome)) for outcome in outcomes])
    if len(outcomes) == 1:
        _one(outcomes[0])
    else:
        for outcome in outcomes:
            if not outcome.right:
                click.echo(f"WRONG  {outcome.point.title}: {_sum(outcome)}")
        known = sum(outcome.result.expected is not None for outcome in outcomes)
        right = sum(outcome.right for outcome in outcomes if outcome.result.expected is not None)
        click.echo(f"{right:,} of {count(known, 'sum')} as expected" if known else "nobody knows the sums beforehand")
    if recorded is not None:
        for outcome in outcomes:
            click.echo(against(outcome, recorded))


def _one(outcome: Outcome) -> None:
    result, figures = outcome.result, figures_of(outcome)
    expected = "unknown" if result.expected is None else f"{result.expected:,}"
    click.echo(f"expected  {expected}")
    click.echo(f"found     {result.total:,}{'' if outcome.right else f'   WRONG: {_sum(outcome)}'}\n")
    show.balance(result.report, each_end=_EACH_END)
    there, had_work = outcome.point.workers + len(outcome.point.setting.joins), len(result.report.workers)
    if had_work < there:
        click.echo(f"{there - had_work:,} of {count(there, 'worker')} had no work at all")
    click.echo(show.figures(result.report))
    if result.report.balance is not None:
        click.echo()
        show_balance.balance(result.report.balance, each_end=_EACH_END)
        click.echo()
    click.echo(f"controller {100 * result.controller_busy:.1f} % busy, {figures.controller_messages_s:,.0f} messages/s")
    click.echo(
        f"{count(figures.batches_moved, 'batch', 'batches')} moved between workers; "
        f"{count(figures.requests, 'work request')}, {figures.refusals:,} refused"
    )


def _sum(outcome: Outcome) -> str:
    result = outcome.result
    if result.report.state != "done":
        return f"the job is {result.report.state}"
    if result.failed:
        return f"{count(result.failed, 'item')} failed"
    return f"found {result.total:,}, expected {result.expected:,}"


def against(outcome: Outcome, recorded: Recording) -> str:
    """One sentence that compares a replay with what was recorded."""
    point, makespan_s = outcome.point, outcome.result.makespan_s
    state = "" if recorded.state == "done" else f" ({recorded.state})"
    slots = "" if point.setting.slots == 1 else f" of {point.setting.slots} slots"
    return (
        f"recorded{state}: {count(recorded.slots, 'slot')}, {recorded.strategy or 'no strategy'}, "
        f"makespan {_seconds(recorded.makespan_s)}; simulated with {count(point.workers, 'worker')}{slots} and "
        f"{point.strategy}: {_seconds(makespan_s)} ({_times(recorded.makespan_s, makespan_s)})"
    )


def _times(before_s: float, after_s: float) -> str:
    if min(before_s, after_s) <= 0:
        return "nothing to compare"
    ratio = max(before_s, after_s) / min(before_s, after_s)
    if ratio < 1.05:
        return "as fast"
    return f"{ratio:,.1f} times {'faster' if after_s < before_s else 'slower'}"


def _seconds(seconds: float) -> str:
    return f"{seconds:,.2f} s" if seconds >= 0.1 or not seconds else f"{1000 * seconds:.3g} ms"


# --- JSON -----------------------------------------------------------------------------------------


def as_json(outcomes: Sequence[Outcome], recorded: Recording | None) -> str:
    """All facts of all points, as a list of objects."""
    return json.dumps([_facts(outcome, recorded) for outcome in outcomes], indent=2, allow_nan=False)


def _facts(outcome: Outcome, recorded: Recording | None) -> dict[str, Any]:
    point, setting, result, figures = outcome.point, outcome.point.setting, outcome.result, figures_of(outcome)
    facts: dict[str, Any] = {
        "lbnet": VERSION,
        "strategy": point.strategy,
        "workers": point.workers,
        "workload": result.workload,
        "seed": point.seed,
        "slots": setting.slots,
        "placement": result.report.placement,
        "speeds": setting.speeds,
        "joins": setting.joins,
        "leaves": setting.leaves,
        "costs": setting.costs.facts(),
        "right": outcome.right,
        "speedup": result.report.speedup,
        "overhead_s": result.report.overhead_s,
        "controller_messages_s": figures.controller_messages_s,
        "batches_moved": figures.batches_moved,
        "requests": figures.requests,
        "refusals": figures.refusals,
    }
    if recorded is not None:
        facts["recorded"] = {
            "trace": str(point.source.trace),
            "slots": recorded.slots,
            "strategy": recorded.strategy,
            "placement": recorded.placement,
            "state": recorded.state,
            "makespan_s": recorded.makespan_s,
        }
    return facts | result.facts()
