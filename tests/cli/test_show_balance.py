"""The balance report as a table: no empty columns, the gap by cause, and the advice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lbnet.cli import show_balance
from lbnet.types import CAUSES, BalanceReport, WorkerBalance


def worker(name: str, busy_s: float = 3.0, *, answered: bool = True, **causes: float) -> WorkerBalance:
    named = dict.fromkeys(CAUSES, 0.0) | causes
    return WorkerBalance(name, 2, busy_s + sum(named.values()), busy_s, named, answered)


def report(*workers: WorkerBalance, advice: str = "") -> BalanceReport:
    causes = {cause: sum(worker.causes[cause] for worker in workers) for cause in CAUSES}
    slot_s, busy_s = sum(worker.slot_s for worker in workers), sum(worker.busy_s for worker in workers)
    return BalanceReport(2.0, slot_s / 2.0, slot_s, busy_s, causes, workers, advice)


TWO = report(worker("a", tail=1.0), worker("b", 2.5, start=0.5, tail=1.0), advice="Do [less].")


def printed(capsys: pytest.CaptureFixture[str], *, err: bool = False) -> list[str]:
    out = capsys.readouterr()
    assert (out.out if err else out.err) == ""
    return [line.rstrip() for line in (out.err if err else out.out).splitlines()]


@pytest.mark.parametrize("err", [False, True])
def test_rows_are_workers_and_columns_causes_that_took_time(capsys: pytest.CaptureFixture[str], err: bool) -> None:
    show_balance.balance(TWO, err=err)
    lines = printed(capsys, err=err)
    assert [lines[at].split() for at in (0, 1, 3, 4, 6)] == [
        ["Slot", "seconds"],
        ["worker", "busy", "start", "tail"],
        ["a", "3.000", "0.000", "1.000"],
        ["b", "2.500", "0.500", "1.000"],
        ["all", "5.500", "0.500", "2.000"],
    ]
    assert lines[8:] == [
        "T_p 2.000 s   ideal T_1/p 1.375 s   gap 0.625 s, 45.5 % of the ideal",
        "  tail                 0.500 s    36.4 %",
        "  start                0.125 s     9.1 %",
        "Do [less].",
    ]


def test_the_causes_of_the_gap_add_up_to_it() -> None:
    seconds = [float(line.split()[-4]) for line in show_balance.figures(TWO).splitlines()[1:]]
    assert sum(seconds) == pytest.approx(TWO.gap_s)


def test_a_worker_that_did_not_answer_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    show_balance.balance(report(worker("a"), worker("b", answered=False, unknown=1.0)))
    lines = printed(capsys)
    assert lines[1].split() == ["worker", "busy", "unknown"]
    assert lines[4].startswith("b (no answer) ")
    assert lines[-1].startswith("  unknown ")


def test_of_many_workers_the_ends_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show_balance.balance(report(*(worker(f"w{number}", number + 1.0) for number in range(9))), each_end=2)
    lines = printed(capsys)
    assert "(the 2 busiest and the 2 idlest of 9 workers)" in lines
    assert [line.split()[0] for line in lines if line.startswith("w") and line[1].isdigit()] == ["w8", "w7", "w1", "w0"]


def test_a_job_of_nothing_divides_by_nothing() -> None:
    nothing = replace(TWO, makespan_s=0.0, slots=0.0, slot_s=0.0, busy_s=0.0)
    assert show_balance.figures(nothing) == "T_p 0.000 s   ideal T_1/p 0.000 s   gap 0.000 s, 0.0 % of the ideal"
