"""Tables for people: they fit where they can, and say what they are told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lbnet.cli import show
from lbnet.cli.count import count
from lbnet.types import ClusterStatus, JobId, JobReport, PeerId, WorkerReport, WorkerStatus

REPORT = JobReport(
    job=JobId(16_777_217),
    name="package.module:function",
    state="done",
    strategy="sb",
    placement="spread",
    submitted=1_000_000,
    spawned=2_000,
    done=1_001_999,
    failed=1,
    cancelled=0,
    outstanding=0,
    duplicates=0,
    orphans=0,
    requeued=0,
    slots=3,
    makespan_s=2.0,
    busy_s=4.5,
    workers=(WorkerReport("local-0", 1, 400, 1.0, 0, 7), WorkerReport("local-1", 2, 1_001_599, 3.5, 7, 0)),
)
WORKER = WorkerStatus(PeerId(1), "big-iron", "node7", 12345, "10.0.0.5:40000", 4, "busy", 1.5, 12_345, 678.9)
STATUS = ClusterStatus("0.1", "10.0.0.1:7077", "sb", "spread", 5.0, 1, (WORKER,), (REPORT,))


class Paper:
    """Where tables are printed in a test."""

    def __init__(self) -> None:
        self.width, self.terminal = 80, False

    def console(self, *, err: bool = False) -> Console:
        return Console(
            stderr=err,
            markup=False,
            emoji=False,
            highlight=False,
            width=self.width,
            force_terminal=self.terminal,
            color_system=None,
        )


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> Paper:
    made = Paper()
    monkeypatch.setattr(show, "console", made.console)
    return made


def test_the_balance_shows_each_worker_and_the_whole(paper: Paper, capsys: pytest.CaptureFixture[str]) -> None:
    show.balance(REPORT)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["local-0", "1", "400", "1.000", "50.0", "0", "7"] in rows
    assert ["local-1", "2", "1,001,599", "3.500", "87.5", "7", "0"] in rows
    assert ["all", "3", "1,001,999", "4.500", "75.0", "7", "7"] in rows


def test_the_figures_are_those_of_kumar_grama_and_vempaty() -> None:
    assert show.figures(REPORT).split("\n") == [
        "p 3   makespan T_p 2.000 s   busy T_1 4.500 s",
        "overhead p*T_p - T_1 1.500 s   speedup 2.25   efficiency 0.750",
    ]


def test_a_job_that_took_no_time_divides_by_nothing(paper: Paper, capsys: pytest.CaptureFixture[str]) -> None:
    nothing = replace(REPORT, makespan_s=0.0, busy_s=0.0, workers=())
    show.balance(nothing)
    show.figures(nothing)
    assert "-" in capsys.readouterr().out.splitlines()[-2].split()


@pytest.mark.parametrize("width", [20, 80])
def test_outside_of_a_terminal_every_column_is_there_and_nothing_is_cut(
    width: int, paper: Paper, capsys: pytest.CaptureFixture[str]
) -> None:
    paper.width = width
    show.workers(STATUS)
    show.jobs(STATUS.jobs)
    text = capsys.readouterr().out
    for column in show.WORKERS + show.JOBS:
        assert column.title in text
        assert str(column.cell(WORKER if column in show.WORKERS else REPORT)) in text
    assert "no room" not in text


@pytest.mark.parametrize("width", [60, 70, 80, 100, 120, 150])
def test_in_a_terminal_tables_fit_and_say_what_was_left_out(
    width: int, paper: Paper, capsys: pytest.CaptureFixture[str]
) -> None:
    paper.width, paper.terminal = width, True
    short = replace(STATUS, jobs=(replace(REPORT, name="UTS T1"),))
    show.workers(short)
    show.jobs(short.jobs)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    told = " ".join(text.split())
    for columns in (show.WORKERS, show.JOBS):
        for column in columns:
            assert column.title in told
            if not column.spare:
                assert f"no room for {column.title}" not in told
    assert ("no room" in text) == (width < 120)


def test_what_cannot_be_spared_is_shown_even_where_it_does_not_fit(
    paper: Paper, capsys: pytest.CaptureFixture[str]
) -> None:
    paper.width, paper.terminal = 20, True
    show.workers(STATUS)
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("big-iron"))
    assert row.split() == ["big-iron", "4", "busy", "1.50", "12,345", "678.90"]


@given(name=st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=10))
def test_a_name_is_shown_as_it_is(name: str) -> None:
    out = Console(markup=False, emoji=False, highlight=False, width=200)
    table = show._table("Workers", list(show.WORKERS), [replace(WORKER, name=name)], None)
    with out.capture() as captured:
        out.print(table)
    assert name in captured.get()


@pytest.mark.parametrize("name", ["[bold]big", "[/bold]", ":cat:", "\\[x]"])
def test_a_name_is_neither_markup_nor_an_emoji(name: str, paper: Paper, capsys: pytest.CaptureFixture[str]) -> None:
    show.workers(replace(STATUS, workers=(replace(WORKER, name=name),)))
    assert name in capsys.readouterr().out


def test_a_very_long_name_is_cut(paper: Paper, capsys: pytest.CaptureFixture[str]) -> None:
    show.jobs((replace(REPORT, name="n" * 200),))
    assert f" {'n' * 39}… " in capsys.readouterr().out


def test_numbers_of_things() -> None:
    assert count(1, "worker") == "1 worker"
    assert count(0, "worker") == "0 workers"
    assert count(1_000, "batch", "batches") == "1,000 batches"
    assert count(1, "batch", "batches") == "1 batch"


def test_work_that_could_not_go_directly_is_named() -> None:
    behind = replace(WORKER, relayed={"big-tin": 1, "node-9": 1_200})
    assert show.detours(replace(STATUS, workers=(WORKER, behind))) == [
        "no direct link from big-iron to big-tin: 1 batch went by the controller",
        "no direct link from big-iron to node-9: 1,200 batches went by the controller",
    ]
    assert show.detours(STATUS) == []
