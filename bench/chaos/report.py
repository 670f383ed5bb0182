"""What a run was, and what came of it, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from bench.chaos.plan import Plan
from bench.chaos.run import Tally
from bench.chaos.watch import Watch


def planned(plan: Plan) -> list[str]:
    """Everything that was drawn."""
    setting = plan.setting
    who = f"{setting.workers} workers with {_joined(plan.slots)} slots (guests included), {setting.clients} clients"
    often = f"{plan.mean_s:g} s apart on average{', some hit all workers' if plan.bursts else ''}"
    swarm = _joined(f"{kind} {victim}" for kind, victim in plan.swarm) or "none"
    return [
        f"seed {setting.seed}: {setting.seconds:g} s, {who}, strategy {plan.strategy}, placement {plan.placement}",
        f"jobs: {_joined(plan.jobs)}",
        f"faults, {often}: {swarm}",
    ]


def counted(tally: Tally, watch: Watch) -> list[str]:
    """The counts."""
    checker = watch.checker
    kinds = Counter(books.job.kind for books in checker.books.values())
    ended = sum(books.ended for books in checker.books.values())
    given_up = sum(books.cancelled for books in checker.books.values())
    items = sum(books.job.count for books in checker.books.values())
    took = f"{tally.seconds:.1f} s, of which {tally.settle_s:.1f} s to settle"
    missed = f"{tally.faults.total():,} faults ({tally.missed:,} more found nobody)"
    lines = [
        f"{took}; {missed}: {_counts(tally.faults) or 'none'}",
        f"{len(checker.books):,} jobs ({ended:,} ended, {given_up:,} given up by their client): {_counts(kinds)}",
        f"{items:,} items, {checker.outcomes:,} outcomes, of which {checker.failed:,} failures that were to be",
    ]
    if tally.repeats is not None:
        lines.append(f"{tally.repeats.executions:,} executions logged, {tally.repeats.repeated:,} of them repeated")
    own_ends = _counts(watch.own_ends) or "none"
    lines.append(f"slowest to leave: {watch.leave_max_s:.2f} s; ended by themselves, as they may: {own_ends}")
    lines.append(f"{watch.warnings:,} warnings; {watch.statuses:,} statuses balance")
    return lines + _controller(tally.status)


def _controller(status: dict[str, Any]) -> list[str]:
    if not status:
        return []
    reports = status["jobs"]
    names = ("submitted", "spawned", "done", "failed", "cancelled", "outstanding", "duplicates", "orphans", "requeued")
    sums = {name: sum(int(report[name]) for report in reports) for name in names}
    return [f"the controller's books of its last {len(reports):,} jobs: " + _counts(Counter(sums), zeros=True)]


def _counts(counts: Counter[Any], *, zeros: bool = False) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items() if count or zeros)


def _joined(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))
