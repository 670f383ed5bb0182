"""``lbnet cancel`` on a real cluster."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.running import Cluster, lbnet, sentence, start, until


def test_somebody_elses_job_is_ended_with_what_runs_of_it(shared: Cluster, folder: Path) -> None:
    begun = [folder / f"begun-{number}" for number in range(8)]
    (folder / "items.jsonl").write_text("\n".join(json.dumps(str(path)) for path in begun))
    with start("map", "work:napping", "items.jsonl", "--connect", shared.address, folder=folder) as client:
        until(lambda: sum(path.exists() for path in begun) >= 3, lambda: f"nothing begins: {client.said()}")
        jobs = json.loads(lbnet("status", "--connect", shared.address, "--json").stdout)["jobs"]
        (job,) = (job["job"] for job in jobs if job["state"] == "running")
        told = lbnet("cancel", job, "--connect", shared.address)
        assert told.stdout == f"job {job} is cancelled: 0 tasks done, 0 failed, 8 cancelled\n"
        assert client.ends() == 1
        assert "cancelled" in client.said()
    again = json.loads(lbnet("cancel", job, "--connect", shared.address, "--json").stdout)
    assert (again["state"], again["cancelled"]) == ("cancelled", 8)
    after = lbnet("map", "work:double", "-", "--connect", shared.address, cwd=folder, stdin="1\n2\n3\n4\n5\n6")
    assert after.stdout.split() == ["2", "4", "6", "8", "10", "12"], "the slots do something else"


def test_a_job_that_nobody_knows_cannot_be_cancelled(shared: Cluster) -> None:
    assert sentence(lbnet("cancel", 12, "--connect", shared.address), 2).startswith("the controller knows no job 12")
