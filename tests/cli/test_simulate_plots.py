"""Plots: what is drawn is right without matplotlib, and what is written is whole."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbnet.cli import simulate_plots as plots
from lbnet.cli.simulate_plots import Span
from lbnet.cli.simulate_points import Outcome, Point, Setting, Source, run
from lbnet.errors import UsageError
from tests.cli.running import lbnet

FLAT = Source("flat:constant:20:1ms")
TREE = Source("uts:default:10us")


@pytest.fixture(scope="module")
def one() -> Outcome:
    return run(Point(FLAT, "sb", 2, 0, Setting(timeline=True)))


def variant(one: Outcome, efficiency: float = 0.5, **point: Any) -> Outcome:
    """The same outcome under another name."""
    return Outcome(replace(one.point, **point), replace(one.result, efficiency=efficiency), 0.0)


# --- lines ----------------------------------------------------------------------------------------


def test_efficiency_has_a_panel_a_workload_a_line_a_strategy_and_averages_seeds(one: Outcome) -> None:
    panels = plots.efficiency(
        [
            variant(one, 0.5, workers=16, seed=1),
            variant(one, 1.0, workers=16, seed=2),
            variant(one, 0.9, workers=4, seed=1),
            variant(one, 0.7, strategy="rp", workers=4),
            variant(one, 0.6, source=TREE),
        ]
    )
    assert [panel.title for panel in panels] == [FLAT.text, TREE.text]
    assert [line.label for line in panels[0].lines] == ["sb", "rp"]
    line = panels[0].lines[0]
    assert (line.x, line.y, line.low, line.high) == ((4.0, 16.0), (0.9, 0.75), (0.9, 0.5), (0.9, 1.0))
    assert panels[1].lines[0].y == (0.6,)


def test_the_controllers_load_is_that_of_the_largest_cluster(one: Outcome) -> None:
    large = Outcome(replace(one.point, workers=8), replace(one.result, rate_bin_s=0.5, rates=(10.0, 20.0)), 0.0)
    (panel,) = plots.controller([one, large, variant(large, seed=5), variant(large, strategy="rp")])
    assert panel.title == f"{FLAT.text}, 8 workers"
    assert [(line.label, line.x, line.y) for line in panel.lines] == [
        ("sb", (0.25, 0.75), (10.0, 20.0)),
        ("rp", (0.25, 0.75), (10.0, 20.0)),
    ]


# --- timelines ------------------------------------------------------------------------------------


def test_spans_end_with_the_next_state_or_the_job() -> None:
    changes = [(0.0, "idle"), (1.0, "busy"), (1.0, "transfer"), (4.0, "busy"), (9.0, "idle")]
    assert plots.spans(changes, 5.0) == [Span(0.0, 1.0, "idle"), Span(1.0, 3.0, "transfer"), Span(4.0, 1.0, "busy")]
    assert plots.spans([], 5.0) == []
    assert plots.spans([(6.0, "idle")], 5.0) == []


def test_shares_are_workers_in_each_state() -> None:
    timeline = [[(0.0, "busy"), (3.0, "idle")], [(1.0, "busy"), (2.0, "transfer")], [(0.0, "busy"), (2.0, "left")]]
    found = plots.shares(timeline, 4.0, bins=2)
    assert found == {"busy": [2.5, 0.5], "transfer": [0.0, 1.0], "idle": [0.0, 0.5]}
    assert plots.shares(timeline, 0.0, bins=2) == {"busy": [0.0, 0.0], "transfer": [0.0, 0.0], "idle": [0.0, 0.0]}


@given(
    st.lists(
        st.lists(st.tuples(st.floats(0.001, 20), st.sampled_from(["busy", "idle", "transfer"])), max_size=8), max_size=5
    ),
    st.integers(1, 30),
)
def test_shares_add_up_to_the_workers_that_are_there(changes: list[list[tuple[float, str]]], bins: int) -> None:
    timeline = [[(0.0, "idle"), *sorted(worker)] for worker in changes]
    found = plots.shares(timeline, 10.0, bins)
    for index in range(bins):
        assert sum(found[state][index] for state in found) == pytest.approx(len(timeline))
    busy_s = sum(span.length for worker in timeline for span in plots.spans(worker, 10.0) if span.state == "busy")
    assert sum(found["busy"]) * 10.0 / bins == pytest.approx(busy_s)


def test_a_real_timeline_is_as_busy_as_its_report(one: Outcome) -> None:
    assert one.result.timeline is not None
    busy_s = sum(
        span.length
        for changes in one.result.timeline
        for span in plots.spans(changes, one.result.makespan_s)
        if span.state == "busy"
    )
    assert one.result.report.busy_s <= busy_s <= 2 * one.result.makespan_s


def test_files_of_timelines_have_names_of_their_own(one: Outcome) -> None:
    def names(*outcomes: Outcome) -> list[str]:
        return plots.timeline_names(outcomes)

    assert names(one) == ["timeline-sb-2.png"]
    assert names(one, variant(one, seed=1)) == ["timeline-sb-2-seed0.png", "timeline-sb-2-seed1.png"]
    assert names(one, variant(one, source=TREE, strategy="../a:B")) == [
        "timeline-sb-2-flat_constant_20_1ms.png",
        "timeline-.._a_B-2-uts_default_10us.png",
    ]
    assert names(variant(one, strategy="a:b"), variant(one, strategy="a/b"), variant(one, strategy="a?b")) == [
        "timeline-a_b-2.png",
        "timeline-a_b-2-2.png",
        "timeline-a_b-2-3.png",
    ]


# --- files ----------------------------------------------------------------------------------------


class FakeFigure:
    """Stands for matplotlib's: it remembers what was drawn, and saves a few bytes."""

    made: list[FakeFigure]
    problem: OSError | None = None

    def __init__(self, **more: Any) -> None:
        self.axes: list[MagicMock] = []
        self.made.append(self)

    def subplots(self, rows: int = 0, columns: int = 0, squeeze: bool = True) -> Any:
        self.axes = [MagicMock() for _ in range(max(1, rows * columns))]
        if not rows:
            return self.axes[0]
        return [self.axes[row * columns : (row + 1) * columns] for row in range(rows)]

    def savefig(self, path: Path, **more: Any) -> None:
        path.write_bytes(b"picture")
        if self.problem is not None:
            raise self.problem


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[FakeFigure]:
    package, module = ModuleType("matplotlib"), ModuleType("matplotlib.figure")
    module.Figure = FakeFigure  # type: ignore[attr-defined]
    package.figure = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "matplotlib", package)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", module)
    made: list[FakeFigure] = []
    monkeypatch.setattr(FakeFigure, "made", made, raising=False)
    return made


def test_each_plot_is_written_where_it_was_asked_for(one: Outcome, figures: list[FakeFigure], tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "plots"
    plots.check(folder)
    assert not folder.exists()
    without = Outcome(replace(one.point, workers=4), replace(one.result, timeline=None), 0.0)
    written = plots.write([one, without], folder)
    assert [path.name for path in written] == ["efficiency.png", "controller.png", "timeline-sb-2.png"]
    assert sorted(folder.iterdir()) == sorted(written)
    assert {path.read_bytes() for path in written} == {b"picture"}
    efficiency, controller, timeline = figures
    assert efficiency.axes[0].plot.call_args.args == ((2.0, 4.0), (one.result.efficiency,) * 2)
    assert controller.axes[0].plot.call_args.args[1] == one.result.rates
    bars = [call.args[0] for call in timeline.axes[0].broken_barh.call_args_list]
    assert len(bars) == 3 * 2
    assert sum(length for row in bars for _, length in row) == pytest.approx(2 * one.result.makespan_s)


def test_many_workers_are_drawn_as_shares(
    one: Outcome, figures: list[FakeFigure], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "ROWS_MAX", 1)
    plots.write([one], tmp_path)
    axes = figures[-1].axes[0]
    axes.broken_barh.assert_not_called()
    middles, totals = axes.stackplot.call_args.args
    assert len(middles) == len(totals[0])
    assert sum(map(sum, totals)) == pytest.approx(2 * len(middles))


def test_panels_that_are_left_over_stay_empty(one: Outcome, figures: list[FakeFigure], tmp_path: Path) -> None:
    plots.write([variant(one, source=Source(f"uts:{number}")) for number in range(4)], tmp_path)
    axes = figures[0].axes
    assert [place.set_axis_off.called for place in axes] == [False] * 4 + [True] * 2


def test_what_cannot_be_written_leaves_nothing_behind(
    one: Outcome, figures: list[FakeFigure], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "efficiency.png").write_text("as it was")
    monkeypatch.setattr(FakeFigure, "problem", OSError(28, "No space left on device"))
    with pytest.raises(OSError, match="No space left"):
        plots.write([one], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["efficiency.png"]
    assert (tmp_path / "efficiency.png").read_text() == "as it was"


def test_a_folder_that_is_a_file_is_refused(figures: list[FakeFigure], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for path in (file, file / "below"):
        with pytest.raises(UsageError, match=r"file is a file, and plots need a folder: name another one with --plot"):
            plots.check(path)
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    with pytest.raises(UsageError, match="nowhere is a file"):
        plots.check(tmp_path / "nowhere")


def test_a_folder_that_may_not_be_written_to_is_refused(
    figures: list[FakeFigure], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(UsageError, match=f"nothing can be written to {tmp_path}: name another folder"):
        plots.check(tmp_path / "plots")


def test_without_matplotlib_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match="--plot needs matplotlib, which is not installed: pip install matplotlib"):
        plots.check(tmp_path)


def test_here_it_draws_if_it_can_and_says_so_if_not(tmp_path: Path) -> None:
    arguments = ("simulate", "--workload", FLAT.text, "--workers", "2,80", "--timeline", "--jobs", 1, "--plot", "new")
    result = lbnet(*arguments, cwd=tmp_path)
    if importlib.util.find_spec("matplotlib") is None:
        assert result.returncode == 2
        assert "pip install matplotlib" in result.stderr
        assert list(tmp_path.iterdir()) == []
        return
    assert result.returncode == 0, result.stderr
    names = ["efficiency.png", "controller.png", "timeline-sb-2.png", "timeline-sb-80.png"]
    assert result.stdout.endswith("".join(f"plotted new/{name}\n" for name in names))
    contents = [(tmp_path / "new" / name).read_bytes() for name in names]
    assert all(data.startswith(b"\x89PNG\r\n") and len(data) > 5_000 for data in contents)
    assert lbnet(*arguments, cwd=tmp_path).stdout == result.stdout
    assert [(tmp_path / "new" / name).read_bytes() for name in names] == contents
