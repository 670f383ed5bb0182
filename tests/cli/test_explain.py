"""``lbnet explain`` on a real cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lbnet import Client
from tests.cli.running import Cluster, lbnet, start, until
from tests.cli.test_logs import latest_job


def test_it_says_what_runs_and_what_waits_and_for_what(shared: Cluster, folder: Path) -> None:
    begun = [folder / f"begun-{number}" for number in range(40)]
    (folder / "items.jsonl").write_text("\n".join(json.dumps(str(path)) for path in begun))
    with start("map", "work:napping", "items.jsonl", "--connect", shared.address, folder=folder) as client:
        until(lambda: sum(path.exists() for path in begun) >= 3, lambda: f"nothing begins: {client.said()}")
        job = latest_job(shared.address)
        with Client(shared.address) as asking:
            states = {item: asking.explain(job, item).state for item in range(40)}
        first = lbnet("explain", f"{job}/0", "--connect", shared.address, "--json")
        assert json.loads(first.stdout)["item_state"] == states[0]
        runs = [item for item, path in enumerate(begun) if path.exists()]
        assert [item for item, state in states.items() if state == "running"] == runs
        assert set(states.values()) == {"running", "waiting"}
        running = lbnet("explain", f"{job}/{runs[0]}", "--connect", shared.address).stdout
        assert f"item {runs[0]} of job {job} runs, for about" in running
        waiting = lbnet("explain", f"{job}/39", "--connect", shared.address).stdout.splitlines()
        assert waiting[0] == f"item 39 of job {job} does not run yet."
        assert waiting[-1] == "All 3 slots are busy."
        beyond = lbnet("explain", f"{job}/40", "--connect", shared.address).stdout
        assert "does not exist: the job has 40 items" in beyond
        lbnet("cancel", job, "--connect", shared.address)
    settled = lbnet("explain", f"{job}/39", "--connect", shared.address).stdout
    assert "is settled" in settled
    assert "The job is cancelled" in settled


def test_a_job_that_nobody_knows(shared: Cluster) -> None:
    answer = lbnet("explain", "99/1", "--connect", shared.address)
    assert (answer.returncode, answer.stdout.startswith("the controller knows no job 99")) == (0, True)


@pytest.mark.parametrize("text", ["99", "99/", "/4", "a/b", "9/-4", "9/4/5", "٣/٤"])
def test_what_is_no_task_is_refused(text: str) -> None:
    refused = lbnet("explain", text)
    assert refused.returncode == 2
    assert "is no task: say JOB/ITEM" in refused.stderr
