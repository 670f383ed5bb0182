"""Many workers in one process do what others do: join, run what they are given, hand it on, and leave."""

from __future__ import annotations

import pytest

import lbnet
from bench.crowd import crowd
from bench.experiments import scale
from lbnet.workloads.synthetic import nap


def test_a_crowd_works_beside_an_ordinary_worker_and_leaves() -> None:
    with lbnet.LocalCluster(workers=1, slots=1) as cluster, cluster.client() as client:
        given = (cluster.token_file.parent / "worker.token").read_text().strip()
        with crowd(cluster.where, given, 5, 2):
            client.wait_for_workers(6)
            assert sum(client.map(abs, range(5_000))) == 5_000 * 4_999 // 2
            assert list(client.map(nap, [0.02] * 60)) == [None] * 60
            results = client.map(nap, [0.02] * 60)
            assert list(results) == [None] * 60
            report = client.report(results)
            assert len([worker for worker in report.workers if worker.tasks]) > 1
            workers = {worker.name for worker in client.status().workers}
            assert workers == {"local-0", *(f"crowd-{number}" for number in range(5))}
            assert report.balanced
        assert list(client.map(abs, [-1])) == [1]
        assert [worker.name for worker in client.status().workers] == ["local-0"]


def test_what_is_measured_comes_in_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "IDLE_S", 0.1)
    costs = scale.of_tasks((100, 1_000), 1, lambda _: None)
    assert [row.tasks for row in costs] == [100, 1_000]
    assert all(row.makespan_us_a_task > 0 for row in costs)
    (workers,) = scale.of_workers([2], lambda _: None)
    assert workers.workers == 2
    assert workers.controller_us_a_task >= 0
