"""``lbnet jobs`` and ``lbnet results`` on a real cluster, over a death of the controller."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import lbnet as library
from tests.cli.running import Cluster, address_of, cluster, lbnet, sentence, start, until


def not_seven(x: int) -> int:
    if x == 7:
        raise ValueError("seven is not wanted")
    return 2 * x


def hand_in(made: Cluster, items: int) -> int:
    """A job that goes on without its client."""
    import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        with library.Client(made.address) as client:
            return client.submit_job(not_seven, range(items), detached=True)
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_a_job_that_was_handed_in_is_listed_and_its_results_are_fetched_once(folder: Path) -> None:
    with cluster(folder, ("--slots", "1")) as made:
        assert lbnet("jobs", "--connect", made.address).stdout == "there have been no jobs\n"
        job = hand_in(made, 20)
        (listed,) = json.loads(lbnet("jobs", "--connect", made.address, "--json").stdout)
        assert (listed["job"], listed["submitted"], listed["name"]) == (job, 20, "not_seven")
        assert str(job) in lbnet("jobs", "--connect", made.address).stdout
        fetched = lbnet("results", job, "--connect", made.address)
        assert fetched.returncode == 1
        assert list(map(int, fetched.stdout.split())) == [2 * x for x in range(20) if x != 7]
        assert "ValueError: seven is not wanted" in fetched.stderr
        assert fetched.stderr.endswith("lbnet: 1 of 20 items failed\n")
        assert lbnet("jobs", "--running", "--connect", made.address).stdout == "no job is running\n"
        assert "knows no such job" in sentence(lbnet("results", job, "--connect", made.address), 2)


def test_results_wait_for_the_next_controller_and_for_a_pipe_that_holds(folder: Path) -> None:
    with start("controller", "--port", 0, "--state-dir", folder / "state", folder=folder) as first:
        address = address_of(first)
        made = Cluster(address, first, ())
        with start("worker", "--connect", address, "--slots", "1", folder=folder) as worker:
            worker.line()
            job = hand_in(made, 7)
            until(
                lambda: "no job is running" in lbnet("jobs", "--running", "--connect", address).stdout,
                lambda: "the job does not end",
            )
            first.process.kill()
            first.process.wait()
            port = address.rpartition(":")[2]
            with start("controller", "--port", port, "--state-dir", folder / "state", folder=folder) as second:
                second.line()
                result = lbnet("results", job, "-o", "/dev/full", "--connect", address)
                assert (result.returncode, result.stdout) != (0, "")
                fetched = lbnet("results", job, "-o", "out.jsonl", "--connect", address, cwd=folder)
                assert fetched.returncode == 0, fetched.stderr
                assert list(map(int, (folder / "out.jsonl").read_text().split())) == [2 * x for x in range(7)]
