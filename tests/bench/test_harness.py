"""The harness measures what it says, refuses wrong results, and never hides who was left out, and why."""

from __future__ import annotations

import csv
import functools
import io
import json
import operator
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench import catalog
from bench.chaos.processes import lives
from bench.experiments import efficiency, memory, peers, throughput
from bench.harness import Comparison, LocalSeat, OverLimitError, PeerFailedError, Row, Sample, close_all, compare
from bench.peers.base import Adapter, missing
from bench.peers.lbnet_cluster import LbnetCluster
from bench.peers.multiprocessing_pool import MultiprocessingPool
from bench.peers.process_pool import ProcessPool
from bench.peers.sequential import Sequential
from bench.report import (
    COMPARISON_COLUMNS,
    Progress,
    comparison_rows,
    comparison_table,
    markdown_table,
    notes,
    show,
    write_csv,
)
from bench.seats import ProcessSeat, _family
from bench.workload import Figure, Kind, Workload, batches, difference


def double(item: int) -> int:
    return 2 * item


def halves(item: int) -> tuple[int, list[int]]:
    return 1, [item // 2, item - item // 2] if item > 1 else []


PID_OF_NOBODY = 2**22 + 1


def leave_an_orphan(command: str) -> int:
    # As some libraries do: a shell puts a process into the background, and ends.
    with subprocess.Popen(["/bin/sh", "-c", command], stdout=subprocess.PIPE, text=True) as shell:
        assert shell.stdout is not None
        return int(shell.stdout.readline())


DOUBLES = Workload("doubles", double, range, 10)
TREE = Workload("tree", halves, lambda _: [5], 1, kind=Kind.GROWS, reduce=operator.add)
CALLS = Workload("calls", double, range, 10, kind=Kind.CALLS, figure=Figure.LATENCY)


@dataclass
class Fake:
    """A peer that does what the test wants."""

    name: str = "fake"
    setting: str = "tuned"
    slots: int = 2
    why_not: str = ""
    refusal: str = ""
    change: Callable[[list[Any]], list[Any]] = lambda results: results
    log: list[str] = field(default_factory=list)

    def unavailable(self) -> str:
        return self.why_not

    def refuses(self, workload: Workload) -> str:
        return self.refusal

    def start(self) -> None:
        self.log.append("start")

    def run(self, workload: Workload, items: Sequence[Any]) -> Sequence[Any]:
        found = workload.sequentially(items)
        if workload is catalog.WARM_UP:
            return found
        self.log.append(f"run {len(items)}")
        return self.change(found)

    def call(self, fn: Callable[[Any], Any], item: Any) -> Any:
        return fn(item)

    def facts(self) -> Mapping[str, float]:
        return {"busy_s": 1.5}

    def stop(self) -> None:
        self.log.append("stop")


@dataclass
class Scripted:
    """A seat whose samples were made up: right results, chosen times."""

    adapter: Adapter
    times_s: list[float]
    rate: float = 0.0

    def unavailable(self) -> str:
        return ""

    def measure(self, workload: Workload, limit_s: float) -> Sample:
        seconds = workload.count / self.rate if self.rate else self.times_s.pop(0)
        if seconds > limit_s:
            raise OverLimitError("too long")
        results = workload.sequentially(workload.items())
        return Sample(seconds, workload.count, 0.25, facts={"tasks": 7.0, "busy_s": 1.9}, results=results)

    def close(self) -> None:
        pass


def children() -> set[psutil.Process]:
    return set(psutil.Process().children())


def local(*adapters: Adapter) -> list[LocalSeat]:
    return [LocalSeat(adapter) for adapter in adapters]


def scripted() -> Comparison:
    seats = [Scripted(Sequential(), [2.0, 1.0, 4.0]), Scripted(Fake(), [1.25, 5.0, 1.0])]
    return compare(DOUBLES, seats, repeats=3)


# --- what is measured -----------------------------------------------------------------------------


def test_a_peer_with_right_results_gets_a_figure() -> None:
    comparison = compare(DOUBLES, local(Sequential(), Fake()), repeats=2)
    assert not comparison.failed
    assert [row.measured for row in comparison.rows] == [True, True]
    assert [len(row.samples) for row in comparison.rows] == [2, 2]
    assert comparison.rows[1].fact("busy_s") == 1.5
    assert comparison.rows[1].fact("unheard of") is None


def test_ratios_are_between_medians_of_the_same_run() -> None:
    comparison = scripted()
    base, fake = comparison.rows
    assert comparison.base is base
    assert (base.median_s, fake.median_s) == (2.0, 1.25)
    assert comparison.ratio(fake) == pytest.approx(1.6)
    assert comparison.efficiency(fake) == comparison.figure(fake) == pytest.approx(0.8)
    assert comparison.efficiency(base) == 1.0
    assert fake.spread == pytest.approx((5.0 - 1.0) / 1.25)
    assert comparison.best("fake") is fake
    assert comparison.best("nobody") is None


def test_repetitions_are_interleaved() -> None:
    order: list[str] = []
    compare(DOUBLES, local(Sequential(), Fake()), repeats=2, progress=order.append)
    assert order == [
        "doubles: sequential, run 1 of 2",
        "doubles: fake (tuned), run 1 of 2",
        "doubles: sequential, run 2 of 2",
        "doubles: fake (tuned), run 2 of 2",
    ]


def test_every_run_has_a_peer_of_its_own() -> None:
    fake = Fake()
    compare(DOUBLES, local(Sequential(), fake), repeats=2)
    assert fake.log == ["start", "run 10", "stop"] * 2


def test_a_slow_peer_gets_fewer_items_and_its_rate_is_compared() -> None:
    workload = Workload("rate", double, range, 1_000_000, figure=Figure.RATE, sizable=True)
    seats = [Scripted(Sequential(), [], rate=4e6), Scripted(Fake(), [], rate=10_000.0)]
    base, fake = (comparison := compare(workload, seats, repeats=2)).rows
    assert (base.count, fake.count) == (1_000_000, 10_000)
    assert comparison.figure(fake) == pytest.approx(10_000)
    assert comparison.ratio(fake) == pytest.approx(1 / 400)


def test_single_calls_are_timed_each() -> None:
    row = compare(CALLS, local(Sequential()), repeats=3).rows[0]
    assert [len(sample.latencies_s) for sample in row.samples] == [10] * 3
    p50, p99 = row.latency_s(0.5), row.latency_s(0.99)
    assert p50 is not None
    assert p99 is not None
    assert 0 <= p50 <= p99


def test_bandwidth_counts_both_ways() -> None:
    workload = Workload("bytes", double, range, 10, figure=Figure.BANDWIDTH, item_bytes=2_000_000)
    comparison = compare(workload, [Scripted(Sequential(), [2.0])], repeats=1)
    assert comparison.figure(comparison.rows[0]) == pytest.approx(10.0)


# --- who gets no figure ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda found: [*found[:3], -1, *found[4:]], "result 3 is -1 instead of 6"),
        (lambda found: found[:-1], "9 results instead of 10"),
        (lambda found: found[::-1], "result 0 is 18 instead of 0"),
        (tuple, "the results are a tuple instead of a list"),
    ],
)
def test_a_wrong_result_voids_the_figure_and_fails_the_run(change: Callable[[Any], Any], sentence: str) -> None:
    fake = Fake(change=change)
    comparison = compare(DOUBLES, local(Sequential(), fake), repeats=3)
    row = comparison.rows[1]
    assert comparison.failed
    assert row.reason == f"wrong: {sentence}"
    assert (row.measured, row.samples, comparison.figure(row)) == (False, [], None)
    assert fake.log.count("start") == 1
    assert comparison.rows[0].measured


def test_a_result_that_is_wrong_once_voids_the_runs_before_it() -> None:
    runs = iter([False, True])
    fake = Fake(change=lambda found: found[:-1] if next(runs) else found)
    assert compare(DOUBLES, local(Sequential(), fake), repeats=2).rows[1].samples == []


def test_results_known_from_elsewhere_bind_the_baseline_too() -> None:
    workload = Workload("doubles", double, range, 3, expected=[0, 2, 5])
    comparison = compare(workload, local(Sequential()), repeats=1)
    assert comparison.rows[0].reason == "wrong: result 2 is 4 instead of 5"
    assert comparison.base is None


def test_without_a_baseline_the_results_are_checked_all_the_same() -> None:
    comparison = compare(DOUBLES, local(Fake(change=lambda found: found[:-1])), repeats=1)
    assert comparison.failed


def test_an_unavailable_peer_is_reported_with_its_reason() -> None:
    fake = Fake(why_not="cannot import it")
    comparison = compare(DOUBLES, local(Sequential(), fake), repeats=1)
    assert not comparison.failed
    assert fake.log == []
    assert notes([comparison]) == ["fake (tuned): cannot import it (doubles)"]
    assert comparison_rows([comparison])[1]["reason"] == "cannot import it"


def test_a_refused_kind_is_reported_with_its_reason() -> None:
    comparison = compare(DOUBLES, local(Fake(refusal="only one core")), repeats=1)
    assert comparison.rows[0].reason == "only one core"


def test_a_peer_that_raises_fails_the_run_and_is_stopped() -> None:
    def broken(_: list[Any]) -> list[Any]:
        raise RuntimeError("out of luck")

    fake = Fake(change=broken)
    comparison = compare(DOUBLES, local(Sequential(), fake), repeats=3)
    assert comparison.failed
    assert comparison.rows[1].reason == "failed: RuntimeError: out of luck"
    assert fake.log == ["start", "run 10", "stop"]


def test_a_run_over_the_limit_is_not_repeated_and_is_no_failure() -> None:
    comparison = compare(DOUBLES, [Scripted(Fake(), [1.0, 9.0])], repeats=5, limit_s=2.0)
    assert comparison.rows[0].reason == "more than 2 s"
    assert not comparison.failed


def test_what_ratios_are_against_may_take_longer() -> None:
    slow = Scripted(Sequential(), [8.0, 9.0])
    comparison = compare(DOUBLES, [slow, Scripted(Fake(), [1.0, 2.0])], repeats=2, limit_s=2.0)
    assert [row.reason for row in comparison.rows] == ["", ""]
    assert comparison.rows[0].median_s == 8.5


def test_a_missing_module_is_named_with_what_to_do() -> None:
    assert missing("json", "install it") == ""
    reason = missing("no_such_module_anywhere", "install it")
    assert "no_such_module_anywhere" in reason
    assert reason.endswith("; install it")


# --- a process of its own -------------------------------------------------------------------------


def test_an_adapter_sits_in_a_process_of_its_own_and_leaves_nothing() -> None:
    before = children()
    seat = ProcessSeat(Sequential())
    try:
        assert seat.unavailable() == ""
        sample = seat.measure(catalog.noop(1_000), 30.0)
        assert list(sample.results) == list(range(1_000))
        assert len(children() - before) == 1
    finally:
        seat.close()
    assert children() <= before


def test_a_run_in_a_process_is_ended_at_its_limit() -> None:
    before = children()
    seat = ProcessSeat(Sequential(), after_limit_s=0.0)
    endless = Workload("endless", time.sleep, functools.partial(operator.mul, [3_600]), 1)
    try:
        assert seat.unavailable() == ""
        with pytest.raises(OverLimitError):
            seat.measure(endless, 0.05)
        assert children() <= before
    finally:
        seat.close()


def test_a_peer_whose_process_dies_is_a_failure_and_the_next_run_gets_a_new_one() -> None:
    seat = ProcessSeat(Sequential())
    try:
        with pytest.raises(PeerFailedError, match="its process ended"):
            seat.measure(Workload("death", os._exit, functools.partial(operator.mul, [3]), 1), 30.0)
        assert seat.unavailable() == ""
    finally:
        seat.close()


def test_what_a_peer_leaves_behind_ends_with_its_seat_though_nobody_is_its_parent() -> None:
    seat = ProcessSeat(Sequential())
    workload = Workload("orphan", leave_an_orphan, functools.partial(operator.mul, ["sleep 3600 & echo $!"]), 1)
    try:
        orphan = psutil.Process(seat.measure(workload, 30.0).results[0])
        assert lives(orphan)
        # Another seat's processes are not ours to end.
        assert _family(PID_OF_NOBODY, "the mark of another") == []
        assert _family(PID_OF_NOBODY, seat._mark).count(orphan) == 1
    finally:
        seat.close()
    assert not lives(orphan)


# --- workloads ------------------------------------------------------------------------------------


def test_growing_work_is_followed_to_its_end() -> None:
    assert TREE.sequentially(TREE.items()) == [9]


def test_a_difference_names_the_first_one() -> None:
    assert difference([1, 2], [1, 2]) == ""
    assert difference(["x" * 500], ["y"]).startswith("result 0 is 'xxx")
    assert len(difference(["x" * 500], ["y"])) < 200


def test_batches_keep_the_order() -> None:
    assert batches(range(5), 2) == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize(
    "workload",
    [
        catalog.noop(10),
        catalog.submit(10),
        catalog.megabytes(2),
        catalog.durations("lognormal", 0.02, 0.001),
        catalog.hidden_giants(100, 2, 0.001),
        catalog.tree("default"),
        catalog.work_unit(0.01),
        catalog.stdlib(0.002),
        catalog.subtrees(4),
    ],
    ids=lambda workload: workload.name,
)
def test_a_workload_has_the_same_results_every_time(workload: Workload) -> None:
    comparison = compare(workload, local(Sequential(), Fake()), repeats=1)
    assert not comparison.failed, [row.reason for row in comparison.rows]


def test_known_work_is_what_the_durations_add_up_to() -> None:
    workload = catalog.durations("giants", 0.5, 0.001)
    assert workload.count == 500
    assert workload.work_s == pytest.approx(0.5)


def test_adapters_know_kinds_and_no_names() -> None:
    adapters: list[Adapter] = [LbnetCluster(strategy="rp"), *peers.adapters(2)]
    for adapter in adapters:
        for kind in Kind:
            reduce = operator.add if kind in (Kind.GROWS, Kind.SPLITS) else None
            one, other = (adapter.refuses(Workload(name, double, range, 1, kind, reduce)) for name in ("a", "b"))
            assert one == other
            assert (kind is Kind.LIST) <= (one == "")
    assert len({(adapter.name, adapter.setting) for adapter in adapters}) == len(adapters)


def test_the_process_pools_do_every_kind_that_they_accept() -> None:
    # In a process of its own: this one may have threads, and must not fork.
    seats = [ProcessSeat(Sequential()), ProcessSeat(ProcessPool(chunksize=1)), ProcessSeat(MultiprocessingPool())]
    try:
        for workload in (catalog.noop(100), catalog.subtrees(4), catalog.submit(5)):
            comparison = compare(workload, seats, repeats=1)
            assert [row.reason for row in comparison.rows] == ["", "", ""]
    finally:
        close_all(seats)


# --- what is written ------------------------------------------------------------------------------


def test_the_efficiency_table_has_the_promised_columns(tmp_path: Path) -> None:
    comparison = scripted()
    machine = dict.fromkeys(efficiency.MACHINE_COLUMNS, "some")
    row = efficiency.row_of(("sb", 2, "first"), comparison, comparison.rows[1], machine)
    path = tmp_path / "deep" / "efficiency.csv"
    write_csv(path, efficiency.COLUMNS, [row])
    header, line = csv.reader(io.StringIO(path.read_text()))
    assert header[:7] == ["strategy", "workers", "tasks", "makespan", "overhead", "speedup", "efficiency"]
    found = dict(zip(header, line, strict=True))
    assert found["strategy"] == "sb"
    assert found["tasks"] == "7"
    assert float(found["overhead"]) == pytest.approx(2 * 1.25 - 2.0)
    assert float(found["speedup"]) == pytest.approx(1.6)
    assert float(found["efficiency"]) == pytest.approx(0.8)
    assert float(found["t1_sequential"]) == 2.0
    assert float(found["t1_report"]) == 1.9
    assert (found["placement"], found["repeats"]) == ("first", "3")


def test_a_comparison_has_the_promised_columns_with_and_without_a_figure(tmp_path: Path) -> None:
    comparisons = [scripted(), compare(DOUBLES, local(Fake(why_not="absent")), repeats=1)]
    rows = comparison_rows(comparisons)
    assert all(tuple(row) == COMPARISON_COLUMNS for row in rows)
    assert rows[1]["ratio"] == pytest.approx(1.6)
    assert rows[1]["ready_s"] == 0.25
    assert rows[2]["figure"] is None
    write_csv(tmp_path / "x.csv", COMPARISON_COLUMNS, rows)
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 4
    json.dumps(rows)


def test_the_table_shows_figures_failures_and_gaps() -> None:
    wrong = compare(CALLS, local(Sequential(), Fake(change=lambda found: found)), repeats=1)
    wrong.rows[1].void("wrong: everything", failed=True)
    table = comparison_table([scripted(), wrong])
    lines = table.splitlines()
    assert len({len(line) for line in lines}) == 1
    assert "0.800" in lines[3]
    assert "**FAILED**" in lines[3]


def test_targets_know_which_way_is_better() -> None:
    figures = []
    for figure, kind in ((Figure.RATE, Kind.LIST), (Figure.LATENCY, Kind.CALLS)):
        workload = Workload(figure.value, double, range, 10, kind=kind, figure=figure)
        row = Row("lbnet", "", 2, 10, [Sample(2.0, 10, latencies_s=(2.0,) if kind is Kind.CALLS else ())])
        figures.append(Comparison(workload, [row], "sequential", 1))
    met = throughput.verdicts(
        figures, [throughput.Target(figures[0].workload, 5.0), throughput.Target(figures[1].workload, 2e3)]
    )
    missed = throughput.verdicts(
        figures, [throughput.Target(figures[0].workload, 5.1), throughput.Target(figures[1].workload, 1e3)]
    )
    assert met.count(" met ") == 2
    assert missed.count("MISSED") == 2


def test_numbers_are_shown_with_about_three_digits() -> None:
    cells: dict[str, Any] = {
        "1,234,567": 1_234_567.0,
        "0.123": 0.1234,
        "0.0012": 0.00123,
        "12.3": 12.34,
        "7": 7,
        "": None,
    }
    assert [show(cell) for cell in cells.values()] == list(cells)
    assert markdown_table(["a"], [[1]]) == "| a |\n|---|\n| 1 |\n"


def test_progress_counts_what_is_left_out() -> None:
    stream = io.StringIO()
    progress = Progress(3, stream)
    for what in ("one", "", "three"):
        progress(what)
    progress.close()
    assert stream.getvalue() == "[1/3] one\n[3/3] three\n"


def test_the_slope_of_memory_leaves_the_start_out() -> None:
    readings = [memory.Reading(float(t), "client", 1, 1_000_000 + 1_000 * max(0, t - 30), 0, 0) for t in range(90)]
    flat = [memory.Reading(float(t), "slot", 2, 5_000_000, 0, 0) for t in range(90)]
    client, slot = memory.summary([*readings, *flat])
    assert client["slope_kb_s"] == pytest.approx(1.0)
    assert slot["slope_kb_s"] == pytest.approx(0.0)
    assert client["peak_mb"] == pytest.approx(1.059)
    assert memory.slope([(0.0, 1.0)]) is None


def test_the_generator_says_how_far_it_was_ahead() -> None:
    flow = memory.Flow()
    items = flow.items(10)
    taken = [next(items) for _ in range(5)]
    assert [number for number, _ in taken] == list(range(5))
    assert flow.lead_max == 4
