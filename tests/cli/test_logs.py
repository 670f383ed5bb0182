"""``lbnet logs`` on a real cluster, and what a client shows of its tasks' output by itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.cli.running import Cluster, environment, lbnet, start, until

SCRIPT = """
import sys
import lbnet
from work import talks

with lbnet.Client(sys.argv[1]) as client:
    view = client.with_options(name="talk", echo=True)
    assert list(view.map(talks, [""] * 5)) == [None] * 5
    assert view.submit(talks, "").result() is None
"""


def latest_job(address: str) -> int:
    return int(json.loads(lbnet("jobs", "--connect", address, "--json").stdout)[-1]["job"])


def test_what_tasks_have_printed_can_be_asked_for(shared: Cluster, folder: Path) -> None:
    items = "\n".join(json.dumps(text) for text in ("", "", ""))
    done = lbnet("map", "work:talks", "-", "--connect", shared.address, cwd=folder, stdin=items)
    assert done.returncode == 0, done.stderr
    job = latest_job(shared.address)
    text = lbnet("logs", job, "--connect", shared.address).stdout.splitlines()
    assert len(text) == 6
    assert {line.split("]")[0].split()[0] for line in text} == {f"[{job}/{item}" for item in range(3)}
    one = [
        json.loads(line)
        for line in lbnet("logs", job, "--task", 1, "--json", "--connect", shared.address).stdout.splitlines()
    ]
    assert [(output["item"], output["text"], output["dropped"]) for output in one] == [(1, "hello from \ngoodbye\n", 0)]
    assert one[0]["worker"] in {"big-iron", "[/bold]:cat:"}
    nothing = lbnet("logs", 99, "--connect", shared.address)
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert "no worker that is here has any output of job 99" in nothing.stderr


def test_a_job_is_followed_to_its_end(shared: Cluster, folder: Path) -> None:
    go = folder / "go"
    (folder / "items.jsonl").write_text(json.dumps(str(go)))
    with start("map", "work:talks", "items.jsonl", "--connect", shared.address, folder=folder) as client:
        until(
            lambda: json.loads(lbnet("jobs", "--running", "--connect", shared.address, "--json").stdout),
            lambda: f"no job begins: {client.said()}",
        )
        job = latest_job(shared.address)
        until(
            lambda: "hello" in lbnet("logs", job, "--connect", shared.address).stdout,
            lambda: f"nothing is printed: {client.said()}",
        )
        with start("logs", job, "--follow", "--connect", shared.address, folder=folder) as logs:
            assert logs.line().endswith("] hello from go")
            go.touch()
            assert logs.line().endswith("] goodbye")
            assert logs.ends() == 0
        assert client.ends() == 0


def test_a_client_shows_what_its_tasks_print_if_it_is_asked_to(shared: Cluster, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, shared.address],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 12, done.stderr
    for item in range(5):
        said = [line.split("] ", 1)[1] for line in lines if line.startswith(f"[talk/{item} ")]
        assert said[:2] == ["hello from ", "goodbye"]


def test_a_job_that_nobody_knows_cannot_be_followed(shared: Cluster) -> None:
    refused = lbnet("logs", 99, "--follow", "--connect", shared.address)
    assert refused.returncode == 2
    assert "knows no job 99" in refused.stderr
