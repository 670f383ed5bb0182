"""``lbnet audit`` on a real cluster."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.running import cluster, lbnet, sentence


def test_every_task_is_accounted_for(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text("def not_seven(x):\n    return 1 / (x - 7)\n")
    numbers = "\n".join(map(str, range(10)))
    with cluster(folder, ("--slots", "2")) as made:
        assert lbnet("audit", "--connect", made.address).stdout == "there have been no jobs\n"
        result = lbnet("map", "work:not_seven", "-", "--connect", made.address, cwd=tmp_path, stdin=numbers)
        assert result.returncode == 1, result.stderr
        facts = json.loads(lbnet("audit", "--connect", made.address, "--json").stdout)
        (job,) = facts
        text = lbnet("audit", str(job["job"]), "--connect", made.address).stdout
        unknown = lbnet("audit", "99", "--connect", made.address)
    assert (job["submitted"], job["done"], job["failed"], job["outstanding"], job["executions"]) == (10, 9, 1, 0, 10)
    assert (job["duplicates"], job["orphans"], job["requeued"], job["balanced"]) == (0, 0, 0, True)
    assert text.endswith("balanced: every task is accounted for\n")
    assert "no job 99" in sentence(unknown, 2)
