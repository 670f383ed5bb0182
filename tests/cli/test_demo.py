"""The demonstration: it counts what was published, and says so if it does not."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from lbnet.cli import demo, main
from lbnet.workloads.uts_trees import NAMED_TREES, NamedTree, TreeCounts
from tests.cli.running import ended, lbnet, start, until


def test_text_shows_the_cluster_the_counts_and_the_balance() -> None:
    result = lbnet("demo", "--tree", "default")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert re.match(
        r"controller at 127\.0\.0\.1:\d+, 2 workers of one slot\n"
        r"processes \d+, \d+, \d+\n"
        r"tree default: tree=geo shape=linear b0=4\.0 d=6 r=0 q=0\.234375 m=4\n"
        r"expected  1,732 nodes, 1,050 leaves, depth 6\n"
        r"found     1,732 nodes, 1,050 leaves, depth 6\n",
        result.stdout,
    )
    assert "WRONG" not in result.stdout
    assert "\np 2   makespan T_p " in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_json_says_the_same_to_programs_and_one_worker_suffices() -> None:
    result = lbnet("demo", "--tree", "default", "--workers", 1, "--json")
    assert result.returncode == 0, result.stderr
    facts = json.loads(result.stdout)
    assert facts["found"] == facts["expected"] == {"nodes": 1_732, "leaves": 1_050, "depth": 6}
    assert facts["right"] is True
    assert facts["batches_moved"] == 0
    assert facts["report"]["slots"] == 1
    assert facts["report"]["balanced"] is True
    assert facts["nodes_per_s"] > 0


def test_the_balance_shows_where_the_time_went_and_json_has_the_same() -> None:
    shown = lbnet("demo", "--tree", "default", "--balance")
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"\nSlot seconds +\nworker +busy ", shown.stdout)
    assert re.search(r"\nT_p \d+\.\d{3} s   ideal T_1/p \d+\.\d{3} s   gap \d+\.\d{3} s, ", shown.stdout)
    facts = json.loads(lbnet("demo", "--tree", "default", "--balance", "--json").stdout)
    balance = facts["report"]["balance"]
    assert sum(balance["causes"].values()) == pytest.approx(balance["slot_s"] - balance["busy_s"])
    assert balance["gap_s"] == pytest.approx(balance["makespan_s"] - balance["ideal_s"])
    assert [worker["answered"] for worker in balance["workers"]] == [True, True]


@pytest.mark.parametrize("as_json", [False, True])
def test_a_wrong_count_is_shouted_and_exits_with_1(as_json: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = replace(NAMED_TREES["default"], expected=TreeCounts(1_733, 1_050, 6))
    monkeypatch.setattr(demo, "NAMED_TREES", {"default": wrong})
    args = ["demo", "--tree", "default", "--workers", "1", *(["--json"] if as_json else [])]
    before = psutil.Process().children()
    result = CliRunner().invoke(main.group, args)
    assert result.exit_code == 1, result.output
    if as_json:
        assert json.loads(result.stdout)["right"] is False
    else:
        assert "found     1,732 nodes, 1,050 leaves, depth 6   WRONG\n" in result.output
    assert psutil.Process().children() == before


def test_a_tree_that_nobody_has_counted_cannot_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    uncounted = NamedTree(NAMED_TREES["default"].parameters, None)
    monkeypatch.setattr(demo, "NAMED_TREES", {"default": uncounted})
    result = CliRunner().invoke(main.group, ["demo", "--tree", "default", "--workers", "1"])
    assert result.exit_code == 0, result.output
    assert "expected  unknown\n" in result.output


def test_an_unknown_tree_is_answered_with_the_list() -> None:
    result = lbnet("demo", "--tree", "oak")
    assert result.returncode == 2
    assert "'oak' is not one of" in result.stderr
    for name in NAMED_TREES:
        assert f"'{name}'" in result.stderr


@pytest.mark.parametrize("workers", ["0", "-1", "many"])
def test_an_impossible_number_of_workers_is_refused(workers: str) -> None:
    result = lbnet("demo", "--workers", workers)
    assert result.returncode == 2
    assert "Invalid value for '--workers'" in result.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_the_middle_ends_every_process(number: signal.Signals, code: int, folder: Path) -> None:
    with start("demo", "--tree", "T1XXL", folder=folder) as running:
        assert running.line().endswith(" 2 workers of one slot")
        cluster = [psutil.Process(int(pid)) for pid in running.line().removeprefix("processes ").split(", ")]
        assert running.line().startswith("tree T1XXL")
        slots = [slot for worker in cluster[1:] for slot in worker.children()]
        assert len(slots) == 2
        until(lambda: any(slot.cpu_times().user > 0.3 for slot in slots), lambda: f"nobody counts: {running.said()}")
        family = running.family()
        assert {each.pid for each in cluster + slots} <= {each.pid for each in family}
        running.process.send_signal(number)
        assert ended(running, family) == code
        assert running.said().strip() == ("lbnet: stopped" if number == signal.SIGINT else "")
