"""What is believed of the duration of a function's tasks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet import limits
from lbnet.core.durations import Durations

reports = st.lists(st.tuples(st.integers(1, 10_000), st.floats(1e-9, 1e4)), min_size=1, max_size=30)


def test_what_nobody_has_measured_counts_as_long() -> None:
    durations = Durations()
    assert durations.mean_s(b"f") is None
    assert durations.guess_s(b"f") == limits.UNKNOWN_TASK_S
    assert durations.finished(b"f") == 0


@settings(derandomize=True, deadline=None)
@given(reports=reports)
def test_the_mean_lies_between_the_reports(reports: list[tuple[int, float]]) -> None:
    durations = Durations()
    for tasks, seconds in reports:
        durations.observe(b"f", tasks, seconds)
    means = [seconds / tasks for tasks, seconds in reports]
    mean_s = durations.mean_s(b"f")
    assert mean_s is not None
    assert max(min(means), 1e-9) * (1 - 1e-9) <= mean_s <= max(*means, 1e-9) * (1 + 1e-9)
    assert durations.guess_s(b"f") == mean_s
    assert durations.finished(b"f") == sum(tasks for tasks, _ in reports)


def test_an_abrupt_change_is_believed_after_some_ten_reports() -> None:
    durations = Durations()
    for _ in range(100):
        durations.observe(b"f", 1, 0.001)
    for _ in range(10):
        durations.observe(b"f", 1, 1.0)
    assert 0.5 < durations.guess_s(b"f") < 1.0
    for _ in range(40):
        durations.observe(b"f", 1, 1.0)
    assert durations.guess_s(b"f") == pytest.approx(1.0, rel=0.02)


def test_one_giant_among_thousands_is_not_believed() -> None:
    durations = Durations()
    for _ in range(10):
        durations.observe(b"f", 1_000, 0.001)
    durations.observe(b"f", 1, 1.0)
    assert durations.guess_s(b"f") < 0.001


def test_a_task_never_counts_as_nothing() -> None:
    durations = Durations()
    durations.observe(b"f", 1_000, 0.0)
    assert durations.mean_s(b"f") == durations.guess_s(b"f") == 1e-9


@pytest.mark.parametrize(("tasks", "seconds"), [(0, 1.0), (-1, 1.0), (1, -1.0)])
def test_impossible_reports_are_ignored(tasks: int, seconds: float) -> None:
    durations = Durations()
    durations.observe(b"f", tasks, seconds)
    assert durations.mean_s(b"f") is None
    durations.observe(b"f", 2, 4.0)
    durations.observe(b"f", tasks, seconds)
    assert durations.mean_s(b"f") == 2.0
    assert durations.finished(b"f") == 2


def test_functions_are_measured_apart() -> None:
    durations = Durations()
    durations.observe(b"f", 1, 1.0)
    durations.observe(b"g", 1, 2.0)
    assert (durations.mean_s(b"f"), durations.mean_s(b"g")) == (1.0, 2.0)


def test_only_the_functions_that_were_used_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DURATION_FUNCTIONS_MAX", 3)
    durations = Durations()
    for name in (b"a", b"b", b"c", b"a", b"d"):
        durations.observe(name, 1, 1.0)
    assert [name for name in (b"a", b"b", b"c", b"d") if durations.mean_s(name) is not None] == [b"a", b"c", b"d"]


def test_the_size_of_results_is_that_of_the_last_reports() -> None:
    durations = Durations()
    assert durations.result_bytes(b"f") == 0.0
    durations.observe_size(b"f", 10, 1000)
    assert durations.result_bytes(b"f") == 100.0
    for _ in range(10):
        durations.observe_size(b"f", 1, 1_000_000)
    assert 900_000 < durations.result_bytes(b"f") <= 1_000_000
    assert durations.result_bytes(b"g") == 0.0


def test_a_giant_changes_what_is_expected_and_not_what_is_typical() -> None:
    durations = Durations()
    assert durations.typical_s(b"f") is None
    for _ in range(20):
        durations.observe(b"f", 1000, 0.001)
    durations.observe(b"f", 1000, 0.5)
    mean_s, typical_s = durations.mean_s(b"f"), durations.typical_s(b"f")
    assert mean_s is not None
    assert mean_s > 4e-5
    assert typical_s == pytest.approx(1e-6)


@pytest.mark.parametrize(("before_s", "after_s"), [(1e-6, 0.01), (0.01, 1e-6)])
def test_what_changes_abruptly_is_about_typical_after_a_few_reports(before_s: float, after_s: float) -> None:
    durations = Durations()
    for _ in range(100):
        durations.observe(b"f", 10, 10 * before_s)
    for _ in range(5):
        durations.observe(b"f", 10, 10 * after_s)
    typical_s = durations.typical_s(b"f")
    assert typical_s is not None
    assert after_s / 3 < typical_s < after_s * (1 + 1e-9)
