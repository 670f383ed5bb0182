"""What is measured is what happened: when tasks began, who is dead, and on which side of a target a figure is."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import surviving
from bench.experiments import survival
from bench.experiments.survival import Figure
from bench.surviving import Begun, begun, first, noted_nap, noted_wait


def test_a_figure_is_met_on_its_side_of_the_target() -> None:
    for sign, median, met in (("<=", 2.0, "met"), ("<=", 2.1, "MISSED"), (">=", 0.7, "met"), (">=", 0.69, "MISSED")):
        figure = Figure("question", "s", sign, 2.0 if sign == "<=" else 0.7, [0.0, median, 9.0])
        assert figure.met == met
        row = figure.row()
        wanted = ["question", median, 0.0, 9.0, "s", f"{sign} {figure.target:g}", met, 3]
        assert [row[name] for name in survival.COLUMNS] == wanted
    assert Figure("question", "s", "<=", 2.0).row()["met"] == "no figure"


def test_tasks_note_when_they_began(tmp_path: Path) -> None:
    log, go = tmp_path / "begun", tmp_path / "go"
    assert begun(log) == []
    go.touch()
    assert noted_nap((str(log), "one", 0.0)) == "one"
    assert noted_wait((str(log), "two", str(go))) == "two"
    one, two = begun(log)
    assert (one.key, two.key, one.pid) == ("one", "two", two.pid)
    assert one.at_s <= two.at_s
    assert first(log, lambda each: each.key == "two", "never") == Begun("two", two.pid, two.at_s)


def test_what_does_not_come_is_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surviving, "LIMIT_S", 0.0)
    with pytest.raises(TimeoutError, match="no task has begun within 0 s"):
        first(tmp_path / "begun", lambda _: True, "no task has begun")


def test_a_worker_that_is_killed_is_outlived_by_its_task() -> None:
    assert 0.0 < survival.after_a_worker() < surviving.LIMIT_S


def test_who_is_told_to_end_in_the_middle_of_a_job_ends() -> None:
    assert 0.0 < survival.ending("worker") < surviving.LIMIT_S
