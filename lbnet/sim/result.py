"""What a simulated run came to, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lbnet.types import JobReport

BINS = 100
"""Into so many parts the time of a job is cut for rates."""


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """One run. All times are virtual seconds.

    Attributes:
        workload: its name.
        seed: of the run.
        workers: at the start.
        report: the job's own balance.
        makespan_s: from the opening of the job to its end, as the controller saw it.
        efficiency: busy seconds of all slots, over the makespan times the slots.
        events: of the engine, all in all.
        handled: events that the controller and the workers handled.
        virtual_s: from the start of the cluster to the end of the run.
        opened_at: when the job was opened.
        messages: how many were handled while the job ran, by direction and kind.
        total: what the results that the client was told add up to.
        expected: what they should, None if nobody knows.
        failed: items that failed.
        digest: of every event; the same for the same run.
        controller_busy: share of the makespan for which the controller's process was busy.
        rate_bin_s: length of a bin of ``rates``.
        rates: messages that the controller handled in each bin, per second.
        strategy_errors: what strategies raised.
        timeline: by worker, when which state began; None if it was not asked for.
    """

    workload: str
    seed: int
    workers: int
    report: JobReport
    makespan_s: float
    efficiency: float
    events: int
    handled: int
    virtual_s: float
    opened_at: float
    messages: dict[str, dict[str, int]]
    total: int
    expected: int | None
    failed: int
    digest: str
    controller_busy: float
    rate_bin_s: float
    rates: tuple[float, ...]
    strategy_errors: tuple[str, ...]
    timeline: tuple[tuple[tuple[float, str], ...], ...] | None

    def facts(self) -> dict[str, Any]:
        """The same as plain data, for JSON."""
        facts = asdict(self)
        facts["report"] |= {"speedup": self.report.speedup, "overhead_s": self.report.overhead_s}
        if self.report.balance is not None:
            facts["report"]["balance"] |= self.report.balance.figures()
        return facts


def rates(times: Sequence[float], start: float, end: float) -> tuple[float, tuple[float, ...]]:
    """Length of a bin, and events per second in each: ``times`` between ``start`` and ``end``, in order."""
    bin_s = (end - start) / BINS
    if bin_s <= 0:
        return 0.0, ()
    counts = [0] * BINS
    for when in times:
        if start <= when <= end:
            counts[min(int((when - start) / bin_s), BINS - 1)] += 1
    return bin_s, tuple(count / bin_s for count in counts)
