"""What a cluster looks like from outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lbnet.version import VERSION
from tests.cli.running import Cluster, address_of, cluster, free_port, lbnet, sentence, start


@pytest.fixture(scope="module")
def after_a_job(shared: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The cluster, with a job of ten items behind it, one of which failed."""
    folder = tmp_path_factory.mktemp("client")
    # The workers know their own folder's module: here, only the name must be right.
    (folder / "work.py").write_text("def not_seven(x):\n    return x\n")
    numbers = "\n".join(map(str, range(10)))
    result = lbnet("map", "work:not_seven", "-", "--connect", shared.address, cwd=folder, stdin=numbers)
    assert result.returncode == 1, result.stderr
    return shared


def test_the_cluster_its_workers_and_jobs_are_shown(after_a_job: Cluster) -> None:
    text = lbnet("status", LBNET_ADDRESS=after_a_job.address).stdout
    assert text.startswith(f"controller {after_a_job.address}, lbnet {VERSION}, up ")
    assert "strategy sb, placement spread\n2 workers with 3 slots, 0 other clients\n" in text
    rows = {words[0]: words for words in (line.split() for line in text.splitlines()) if words}
    assert rows["big-iron"][3] == "2"
    assert rows["[/bold]:cat:"][3] == "1"
    assert {rows["big-iron"][4], rows["[/bold]:cat:"][4]} == {"idle"}
    (job,) = [words for words in rows.values() if "work:not_seven" in words]
    assert job[1:8] == ["work:not_seven", "done", "10", "0", "9", "1", "0"]


def test_json_has_the_same_facts_and_what_is_derived_from_them(after_a_job: Cluster) -> None:
    facts = json.loads(lbnet("status", "--connect", after_a_job.address, "--json").stdout)
    assert facts["address"] == after_a_job.address
    assert facts["version"] == VERSION
    assert facts["clients"] == 1
    assert sum(worker["tasks_done"] for worker in facts["workers"]) == 10
    (job,) = facts["jobs"]
    assert (job["submitted"], job["done"], job["failed"], job["outstanding"]) == (10, 9, 1, 0)
    assert job["balanced"] is True
    assert 0 <= job["efficiency"] <= 1
    assert job["speedup"] == pytest.approx(job["efficiency"] * job["slots"])


def test_a_name_that_the_terminal_has_no_letters_for_is_shown_as_far_as_possible(folder: Path) -> None:
    with cluster(folder, ("--slots", "1", "--name", "ω-7")) as made:
        text = lbnet("status", "--connect", made.address, PYTHONIOENCODING="ascii").stdout
    assert "\n?-7 " in text


def test_a_cluster_without_workers_says_how_to_start_one(folder: Path) -> None:
    with start("controller", "--port", 0, folder=folder) as controller:
        address = address_of(controller)
        text = lbnet("status", "--connect", address).stdout
        assert text.endswith(f"no worker has joined; start one with\n  lbnet worker --connect {address}\n\n")
        assert "0 workers with 0 slots, 0 other clients" in text
        facts = json.loads(lbnet("status", "--connect", address, "--json").stdout)
        assert (facts["workers"], facts["jobs"]) == ([], [])


def test_without_a_controller_one_sentence_says_so() -> None:
    address = f"127.0.0.1:{free_port()}"
    assert sentence(lbnet("status", "--json", "--connect", address), 1).startswith(f"nothing answers at {address}")


def test_a_wrong_address_in_the_environment_is_refused() -> None:
    result = lbnet("status", LBNET_ADDRESS="nowhere:at:all:1x")
    assert result.returncode == 2
    assert "LBNET_ADDRESS" in result.stderr
