"""Hostile lists say what must come of them, a wrong result is found wherever it is, and growth is of one process."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench import hostile
from bench.experiments import hostile_lists
from bench.experiments.hostile_lists import Outcome, grown
from bench.experiments.memory import Reading
from bench.hostile import Hostile, problem


def reading(role: str, process: int, rss_bytes: int) -> Reading:
    return Reading(0.0, role, process, rss_bytes, 0, 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: hostile.uneven_sizes(50, 2),
        lambda: hostile.short_then_long(20, 1),
        lambda: hostile.long_then_short(20, 1),
        lambda: hostile.large_results(3),
    ],
)
def test_a_list_is_the_same_each_time_and_expects_what_its_function_returns(make: Callable[[], Hostile]) -> None:
    one = make()
    assert one.items() == make().items()
    results = [one.fn(item) for item in one.items()]
    assert problem(one, one.items(), iter(results)) == ""
    assert problem(one, one.items(), iter(results[:-1])) == f"{len(results) - 1} results instead of {len(results)}"
    assert problem(one, one.items(), iter([*results, 0])) == f"more than {len(results)} results"
    assert problem(one, one.items(), iter([*results[:-1], "?"])) == f"result {len(results) - 1} is wrong"


def test_pickles_differ_a_million_times() -> None:
    sizes = {len(item) for item in hostile.uneven_sizes(50, 2).items()}
    assert sizes == {1, hostile.MEGABYTE}


def test_only_the_first_call_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    monkeypatch.setattr(hostile, "_called", [])
    assert [hostile.slow_at_first((number, 0.0)) for number in range(3)] == [0, 1, 2]
    assert slept == [hostile.FIRST_CALL_S]


def test_the_ideal_is_what_nobody_can_beat() -> None:
    assert hostile.uneven_sizes(5, 1).ideal_s(2) is None
    assert hostile.short_then_long(100, 200).ideal_s(2) == pytest.approx(1.0, rel=0.01)
    assert hostile.slow_first_call(2_000, 0.001).ideal_s(2) == pytest.approx(hostile.FIRST_CALL_S + 1.0)
    assert hostile.slow_first_call(2_000, 0.001).ideal_s(2, 4.0) == pytest.approx(hostile.FIRST_CALL_S + 2.0)
    assert hostile.large_results(300, 0.02).ideal_s(2) == pytest.approx(6.0)


def test_work_alone_is_measured_without_the_first_call() -> None:
    called: list[int] = []
    one = Hostile("list", called.append, lambda: [1, 2], lambda _: None, work_s=1.0)
    seconds = hostile.alone_s(one)
    assert seconds is not None
    assert seconds > 0
    assert called == [1, 1, 2]
    assert hostile.alone_s(replace(one, work_s=0.0)) is None


def test_growth_is_that_of_the_process_that_grew_most() -> None:
    assert grown([]) == {}
    readings = [reading("worker", 1, 100), reading("worker", 2, 500), reading("worker", 1, 150),
                reading("worker", 2, 510), reading("client", 3, 9), reading("client", 3, 5)]  # fmt: skip
    assert grown(readings) == {"worker": 50, "client": 0}


def test_a_row_has_medians_and_says_what_was_wrong() -> None:
    outcome = Outcome(hostile.short_then_long(100, 200), 2)
    assert outcome.row()["median_s"] is None
    outcome = replace(
        outcome,
        alone_s=[3.0, 2.0],
        seconds=[2.0, 4.0, 1.0],
        grown_bytes={"worker": 3_000_000},
        wrong="result 1 is wrong",
    )
    row = outcome.row()
    assert set(row) == set(hostile_lists.COLUMNS)
    assert (row["median_s"], row["of_ideal"], row["worker_grown_mb"]) == (2.0, 0.625, 3.0)
    assert row["wrong"] == "result 1 is wrong"


def test_the_command_writes_its_table_and_fails_if_a_result_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = hostile.long_then_short(50, 1)
    wrong = replace(hostile.short_then_long(50, 1), expected=lambda _: -1)
    monkeypatch.setattr(hostile_lists, "lists", lambda _: [good, wrong])
    assert hostile_lists.main(["--quick", "--json", "--out", str(tmp_path)]) == 1
    first, second = json.loads(capsys.readouterr().out)["rows"]
    assert (first["wrong"], second["wrong"]) == ("", "result 0 is wrong")
    assert first["repeats"] == 1
    with (tmp_path / "hostile_lists.csv").open(encoding="utf-8") as file:
        assert [row["list"] for row in csv.DictReader(file)] == [good.name, wrong.name]
    assert (tmp_path / "hostile_lists.md").read_text(encoding="utf-8").startswith("# hostile_lists: What do lists cost")
