"""Workers that leave on purpose, as users let them: ``lbnet drain``, SIGTERM, the end of their time."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lbnet.cli import worker
from tests.cli.running import Cluster, Running, cluster, ended, lbnet, sentence, start, until

NAPS = """
import os
import time
from pathlib import Path

def nap(x):
    Path("ran").joinpath(f"{x}-{os.getpid()}").touch()
    time.sleep(0.05)
    return x

def wait_for_go(x):
    Path("ran").joinpath(f"{x}-{os.getpid()}").touch()
    while not Path("go").exists():
        time.sleep(0.01)
    return x
"""


@contextmanager
def at_work(folder: Path, function: str, items: int, *of_worker: str, **env: str) -> Iterator[tuple[Cluster, Running]]:
    """Two workers, and a map over numbers of which both have begun some. Its results go to ``out.jsonl``."""
    (folder / "naps.py").write_text(NAPS)
    (folder / "ran").mkdir()
    (folder / "items.jsonl").write_text("\n".join(map(str, range(items))))
    first, second = ("--slots", "1", "--name", "leaver", *of_worker), ("--slots", "1", "--name", "stayer")
    with (
        cluster(folder, first, second, **env) as made,
        start(
            "map", f"naps:{function}", "items.jsonl", "-o", "out.jsonl", "--connect", made.address, folder=folder
        ) as client,
    ):
        until(lambda: len(ran(folder)) >= 2, lambda: f"nothing begins: {client.said()}")
        yield made, client


def ran(folder: Path) -> list[str]:
    """The executions that there were."""
    return sorted(path.name.partition("-")[0] for path in (folder / "ran").iterdir())


def all_came_once(folder: Path, items: int, made: Cluster, client: Running) -> dict[str, Any]:
    """The map has its results, and nobody is blamed. Returns the job's account."""
    assert client.ends() == 0
    assert sorted(map(int, (folder / "out.jsonl").read_text().split())) == list(range(items))
    (account,) = json.loads(lbnet("audit", "--connect", made.address, "--json").stdout)
    assert (account["done"], account["failed"], account["balanced"]) == (items, 0, True)
    return dict(account)


def names(made: Cluster) -> dict[str, str]:
    """The workers that there are, with their states."""
    facts = json.loads(lbnet("status", "--connect", made.address, "--json").stdout)
    return {worker["name"]: worker["state"] for worker in facts["workers"]}


def test_a_worker_with_queued_and_running_tasks_is_drained_and_nothing_is_done_twice(folder: Path) -> None:
    with at_work(folder, "nap", 60) as (made, client):
        leaver = made.workers[0]
        family = leaver.family()
        drained = lbnet("drain", "leaver", "--connect", made.address)
        assert drained.returncode == 0, drained.stderr
        first, last = drained.stdout.splitlines()
        assert first == "worker leaver leaves"
        assert last.startswith("it has left, after ")
        assert ended(leaver, family) == 0
        assert leaver.said() == ""
        assert list(names(made)) == ["stayer"]
        account = all_came_once(folder, 60, made, client)
    assert ran(folder) == sorted(map(str, range(60)))
    assert (account["executions"], account["requeued"], account["duplicates"]) == (60, 0, 0)


def test_a_drained_worker_waits_for_a_task_as_long_as_it_takes(folder: Path) -> None:
    with at_work(folder, "wait_for_go", 4) as (made, client):
        leaver = made.workers[0]
        family = leaver.family()
        told = json.loads(lbnet("drain", "leaver", "--no-wait", "--json", "--connect", made.address).stdout)
        assert (told["id"] in {1, 2}, told["gone"]) == (True, False)
        assert names(made)["leaver"] == "leaving"
        assert leaver.process.poll() is None
        (folder / "go").touch()
        assert ended(leaver, family) == 0
        all_came_once(folder, 4, made, client)
    assert len(ran(folder)) == 4


def test_a_task_that_is_over_its_grace_begins_anew_elsewhere_and_is_not_blamed(folder: Path) -> None:
    with at_work(folder, "wait_for_go", 2) as (made, client):
        drained = lbnet("drain", "leaver", "--grace", "0.2s", "--connect", made.address)
        assert drained.returncode == 0, drained.stderr
        (folder / "go").touch()
        account = all_came_once(folder, 2, made, client)
    assert len(ran(folder)) == 3, "one began twice"
    assert (account["requeued"], account["duplicates"], account["orphans"]) == (0, 0, 0)


def test_sigterm_lets_a_worker_leave_in_good_order_and_soon(folder: Path) -> None:
    with at_work(folder, "nap", 40) as (made, client):
        leaver = made.workers[0]
        family = leaver.family()
        leaver.process.send_signal(signal.SIGTERM)
        assert ended(leaver, family) == 0
        account = all_came_once(folder, 40, made, client)
    assert ran(folder) == sorted(map(str, range(40)))
    assert (account["executions"], account["requeued"]) == (40, 0)


def test_a_second_signal_ends_it_at_once(folder: Path) -> None:
    with at_work(folder, "wait_for_go", 2) as (made, client):
        leaver = made.workers[0]
        family = leaver.family()
        for _ in range(2):
            leaver.process.send_signal(signal.SIGINT)
            time.sleep(0.05)  # two signals at once are one
        assert ended(leaver, family) == 0
        (folder / "go").touch()
        all_came_once(folder, 2, made, client)


def test_a_worker_leaves_before_the_end_of_its_time(folder: Path) -> None:
    with at_work(folder, "nap", 60, "--time-limit", "1.5s") as (made, client):
        leaver = made.workers[0]
        family = leaver.family()
        assert ended(leaver, family) == 0
        with start("worker", "--connect", made.address, "--slots", "2", folder=folder):
            account = all_came_once(folder, 60, made, client)
    assert ran(folder) == sorted(map(str, range(60)))
    assert account["requeued"] == 0


def test_in_a_slurm_job_the_time_is_that_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    assert worker._time_of_allocation() == math.inf
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 3_600))
    assert 3_000 < worker._time_of_allocation() <= 3_600


def test_the_last_worker_leaves_and_its_tasks_wait_for_another_one(folder: Path) -> None:
    with at_work(folder, "nap", 30) as (made, client):
        for name in ("leaver", "stayer"):
            assert lbnet("drain", name, "--connect", made.address).returncode == 0
        with start("worker", "--connect", made.address, "--slots", "1", folder=folder):
            account = all_came_once(folder, 30, made, client)
    assert ran(folder) == sorted(map(str, range(30)))
    assert account["requeued"] == 0


def test_somebody_who_is_not_there_cannot_leave(shared: Cluster) -> None:
    said = sentence(lbnet("drain", "nobody", "--connect", shared.address), 2)
    assert said.startswith("'nobody' cannot leave: no worker is called so; there are: ")
    assert "big-iron (number " in said


@pytest.mark.parametrize("text", ["", "soon", "0", "-1s", "5 minutes", "1e9d", "nan"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    assert "is no time: say a number above 0 and s, m, h or d" in lbnet("worker", "--time-limit", text).stderr
    refused = lbnet("drain", "w", "--grace", text)
    assert (refused.returncode, "is no time" in refused.stderr) == (2, True)


@pytest.mark.parametrize("text", ["yesterday", "1", "inf", "nan"])
def test_an_end_of_the_allocation_that_makes_no_sense_is_refused(text: str) -> None:
    said = sentence(lbnet("worker", SLURM_JOB_END_TIME=text), 2)
    assert said.startswith(f"SLURM_JOB_END_TIME is {text!r}, which is no time to come")
