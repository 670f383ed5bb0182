"""Compare adapters on one workload in one run: interleaved repetitions, checked results, medians and ratios.

It must not know any peer, any workload, or how results are shown. What is fair is decided here, once, for all:

- every repetition starts the peer anew, warms it up with the same few tasks, times the run alone, and stops it,
  so that nobody computes beside the one that is measured;
- repetitions are interleaved (A B C A B C ...), so that a machine that changes its speed does so for all;
- each run's results are compared with those of the sequential program: one wrong result voids the whole row and
  fails the run;
- ratios are between medians of the same run, never against numbers from elsewhere;
- a run that lasts longer than the limit is ended and reported as such, and not repeated. What ratios are against has
  no such limit: without it there would be none.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from bench.catalog import WARM_UP
from bench.peers.base import Adapter
from bench.workload import Figure, Kind, Workload, difference

RUN_LIMIT_S = 60.0
"""How long one run may take, unless the experiment says otherwise."""

BASELINE_LIMIT_S = 3600.0
"""How long a run of what ratios are against may take at least."""

PILOT_TASKS = 2_000
"""Items of the untimed run that tells how many a sizable workload gets."""

SIZED_RUN_S = 1.0
"""How long a sizable workload shall run: long beside a timer, short beside our patience."""


class OverLimitError(Exception):
    """A run took longer than it may."""


class PeerFailedError(Exception):
    """A peer raised, or its process ended."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One timed run.

    ``seconds`` from the call with the items to the last result; ``latencies_s`` of each call, for single calls;
    ``start_s`` from nothing to a peer whose slots have all run a task; ``facts`` what the peer says itself.
    """

    seconds: float
    count: int
    start_s: float = 0.0
    latencies_s: tuple[float, ...] = ()
    facts: Mapping[str, float] = field(default_factory=dict)
    results: Sequence[Any] = ()


class Seat(Protocol):
    """Where an adapter sits: in this process (tests), or in one of its own (measurements)."""

    @property
    def adapter(self) -> Adapter:
        """The adapter, for its name, setting and number of slots."""

    def unavailable(self) -> str:
        """Why it cannot be used, or empty."""

    def measure(self, workload: Workload, limit_s: float) -> Sample:
        """Start, warm up, run once, stop.

        Raises:
            OverLimitError: the run took longer than ``limit_s``; whatever ran was ended.
            PeerFailedError: the peer raised or died; the sentence says how.
        """

    def close(self) -> None:
        """Leave nothing behind."""


def run_once(adapter: Adapter, workload: Workload, begin: Callable[[], None] = lambda: None) -> Sample:
    """One repetition, in the process of the adapter; ``begin`` is called just before the clock is started."""
    items = workload.items()
    begun = time.perf_counter()
    try:
        adapter.start()
        start_s = time.perf_counter() - begun
        warm = list(adapter.run(WARM_UP, WARM_UP.items()))
        assert warm == WARM_UP.sequentially(WARM_UP.items()), "the warm-up came back wrong"
        gc.collect()
        latencies: list[float] = []
        results: Sequence[Any]
        clock = time.perf_counter
        begin()
        first = clock()
        if workload.kind is Kind.CALLS:
            results = []
            last = first
            for item in items:
                results.append(adapter.call(workload.fn, item))
                now = clock()
                latencies.append(now - last)
                last = now
        else:
            results = adapter.run(workload, items)
        seconds = clock() - first
        facts = dict(adapter.facts())
    finally:
        adapter.stop()
    return Sample(seconds, workload.count, start_s, tuple(latencies), facts, results)


@dataclass
class LocalSeat:
    """An adapter in this process. It cannot be ended, so the limit is only looked at afterwards."""

    adapter: Adapter

    def unavailable(self) -> str:
        """What the adapter says."""
        return self.adapter.unavailable()

    def measure(self, workload: Workload, limit_s: float) -> Sample:
        """Run here."""
        try:
            sample = run_once(self.adapter, workload)
        except Exception as error:  # whatever a peer raises
            raise PeerFailedError(f"{type(error).__name__}: {error}") from error
        if sample.seconds > limit_s:
            raise OverLimitError(f"took {sample.seconds:.1f} s, may take {limit_s:g} s")
        return sample

    def close(self) -> None:
        """Nothing is left."""


@dataclass
class Row:
    """What one adapter did with one workload. ``reason`` says why there is no figure, and then there is none."""

    name: str
    setting: str
    slots: int
    count: int
    samples: list[Sample] = field(default_factory=list)
    reason: str = ""
    failed: bool = False

    @property
    def title(self) -> str:
        """Name and setting."""
        return f"{self.name} ({self.setting})" if self.setting else self.name

    @property
    def measured(self) -> bool:
        """Whether there is a figure."""
        return bool(self.samples) and not self.reason

    @property
    def times_s(self) -> list[float]:
        """Of each run; for single calls the median call."""
        return [
            statistics.median(sample.latencies_s) if sample.latencies_s else sample.seconds for sample in self.samples
        ]

    @property
    def median_s(self) -> float:
        """The makespan, T_p."""
        return statistics.median(self.times_s)

    @property
    def spread(self) -> float:
        """(slowest - fastest) / median."""
        times = self.times_s
        return (max(times) - min(times)) / self.median_s if self.median_s > 0 else 0.0

    @property
    def item_s(self) -> float:
        """Seconds for one item, over all slots: comparable between runs of different numbers of items."""
        return self.median_s if self.samples[0].latencies_s else self.median_s / self.count

    def fact(self, name: str) -> float | None:
        """The median of what the peer said, if it said so."""
        found = [sample.facts[name] for sample in self.samples if name in sample.facts]
        return statistics.median(found) if found else None

    def latency_s(self, fraction: float) -> float | None:
        """The quantile of all single calls."""
        calls = sorted(latency for sample in self.samples for latency in sample.latencies_s)
        return calls[min(len(calls) - 1, int(fraction * len(calls)))] if calls else None

    def void(self, reason: str, failed: bool) -> None:
        """Take the figure back."""
        self.reason, self.failed = reason, failed
        self.samples.clear()


@dataclass
class Comparison:
    """One workload, a row for each adapter, and the row that ratios are against."""

    workload: Workload
    rows: list[Row]
    baseline: str
    repeats: int

    @property
    def base(self) -> Row | None:
        """The baseline's row, if it has a figure."""
        return next((row for row in self.rows if row.name == self.baseline and row.measured), None)

    @property
    def failed(self) -> bool:
        """Whether somebody's results were wrong, or somebody broke."""
        return any(row.failed for row in self.rows)

    def ratio(self, row: Row, against: Row | None = None) -> float | None:
        """How many times as fast as the baseline (or another row): for p slots on divisible work at most p."""
        base = against or self.base
        return base.item_s / row.item_s if base is not None and row.measured and row.item_s > 0 else None

    def efficiency(self, row: Row) -> float | None:
        """Speedup over slots."""
        speedup = self.ratio(row)
        return None if speedup is None else speedup / row.slots

    def figure(self, row: Row) -> float | None:
        """The number by which this workload is judged, in the unit of ``workload.figure``."""
        if not row.measured:
            return None
        match self.workload.figure:
            case Figure.EFFICIENCY:
                return self.efficiency(row)
            case Figure.RATE:
                return 1.0 / row.item_s
            case Figure.BANDWIDTH:
                return self.workload.item_bytes / row.item_s / 1e6
            case Figure.LATENCY:
                return row.item_s * 1e3

    def best(self, name: str) -> Row | None:
        """The fastest row of a peer, over its settings."""
        return min((row for row in self.rows if row.name == name and row.measured), key=_item_s, default=None)


def compare(
    workload: Workload,
    seats: Sequence[Seat],
    *,
    baseline: str = "sequential",
    repeats: int = 3,
    limit_s: float = RUN_LIMIT_S,
    progress: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Measure ``workload`` on every seat, ``repeats`` times, interleaved.

    Args:
        workload: what to run.
        seats: the adapters. The results of the one named ``baseline`` are what the others' must equal; without
            it, the sequential program is run once for them, untimed.
        baseline: the name of the adapter that ratios are against.
        repeats: runs of each.
        limit_s: the longest that one run may take, except for the baseline.
        progress: told what comes next, before each run; called with nothing for a run that is left out.
    """
    assert repeats > 0
    rows = [_row(seat, workload) for seat in seats]
    expected: dict[int, list[Any]] = {}
    for repeat in range(repeats):
        for seat, row in zip(seats, rows, strict=True):
            if row.reason:
                progress("")
                continue
            progress(f"{workload.name}: {row.title}, run {repeat + 1} of {repeats}")
            longest_s = max(limit_s, BASELINE_LIMIT_S) if row.name == baseline else limit_s
            try:
                if workload.sizable and repeat == 0:
                    row.count = _sized(seat, workload, longest_s)
                sized = workload.resized(row.count)
                sample = seat.measure(sized, longest_s)
            except OverLimitError:
                row.void(f"more than {longest_s:g} s", failed=False)
                continue
            except PeerFailedError as error:
                row.void(f"failed: {error}", failed=True)
                continue
            if row.count not in expected:
                expected[row.count] = _expected(sized, sample if row.name == baseline else None)
            wrong = difference(sample.results, expected[row.count])
            if wrong:
                row.void(f"wrong: {wrong}", failed=True)
                continue
            row.samples.append(_without_results(sample))
    return Comparison(workload, rows, baseline, repeats)


def close_all(seats: Iterable[Seat]) -> None:
    """Close every seat, whatever the others do."""
    for seat in seats:
        seat.close()


def _row(seat: Seat, workload: Workload) -> Row:
    adapter = seat.adapter
    row = Row(adapter.name, adapter.setting, adapter.slots, workload.count)
    row.reason = seat.unavailable() or adapter.refuses(workload)
    return row


def _sized(seat: Seat, workload: Workload, limit_s: float) -> int:
    """How many items run for about ``SIZED_RUN_S``, at this peer's pace."""
    count = min(PILOT_TASKS, workload.count)
    while count < workload.count:
        sample = seat.measure(workload.resized(count), limit_s)
        wanted = int(count * SIZED_RUN_S / max(sample.seconds, 1e-9))
        if wanted <= 4 * count:
            return min(max(wanted, PILOT_TASKS), workload.count)
        # A short run tells more about the first millisecond than about the pace: go on from a longer one.
        count = min(max(4 * count, wanted // 4), workload.count)
    return count


def _expected(workload: Workload, baseline: Sample | None) -> list[Any]:
    if workload.expected is not None:
        return workload.expected
    return workload.sequentially(workload.items()) if baseline is None else list(baseline.results)


def _without_results(sample: Sample) -> Sample:
    return Sample(sample.seconds, sample.count, sample.start_s, sample.latencies_s, sample.facts)


def _item_s(row: Row) -> float:
    return row.item_s
