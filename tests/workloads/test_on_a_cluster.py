"""The workloads on real processes over TCP: what comes out must equal a sequential program's results."""

from __future__ import annotations

import operator
from collections.abc import Iterator

import pytest

import lbnet
from lbnet.workloads import stdlib_files, synthetic, uts

SHARE_OF_FILES = 12
"""Each so-many-th file of the standard library: neighbours in a folder are alike."""


@pytest.fixture(scope="module")
def client() -> Iterator[lbnet.Client]:
    with lbnet.LocalCluster(workers=2, slots=1) as cluster, cluster.client() as client:
        client.wait_for_workers(2)
        yield client


@pytest.mark.parametrize(
    ("name", "placement"), [("default", "first"), ("default", "spread"), ("T1", "spread"), ("T3", "first")]
)
def test_a_tree_from_one_root_has_its_published_count(client: lbnet.Client, name: str, placement: str) -> None:
    tree = uts.NAMED_TREES[name]
    view = client.with_options(placement=placement)
    results = view.map(lbnet.run_unit, [uts.root(tree.parameters)], reduce=uts.combine)
    assert list(results) == [tree.expected]
    report = client.report(results)
    assert report.balanced
    assert report.outstanding == 0
    if name != "default":  # a tree that takes a second must have spread itself
        assert sum(worker.batches_received for worker in report.workers) >= 1
        assert all(worker.busy_s > 0 for worker in report.workers)


def test_several_trees_are_counted_beside_each_other(client: lbnet.Client) -> None:
    names = ["default", "T5", "default"]
    trees = [uts.NAMED_TREES[name] for name in names]
    found = list(client.map(lbnet.run_unit, [uts.root(tree.parameters) for tree in trees], reduce=uts.combine))
    assert found == [tree.expected for tree in trees]


@pytest.mark.parametrize("placement", ["first", "spread"])
def test_the_files_of_the_standard_library_equal_a_sequential_run(client: lbnet.Client, placement: str) -> None:
    files = stdlib_files.files()[::SHARE_OF_FILES]
    expected = [stdlib_files.measure(path) for path in files]
    assert list(client.with_options(placement=placement).map(stdlib_files.measure, files)) == expected


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_synthetic_unit_is_done_piece_by_piece_whoever_does_it(client: lbnet.Client, seed: int) -> None:
    unit = synthetic.SyntheticUnit(400, 0.0005, seed)
    assert list(client.map(lbnet.run_unit, [unit], reduce=operator.add)) == [400]


def test_under_first_placement_the_first_worker_gets_all_and_the_other_works_all_the_same(
    client: lbnet.Client,
) -> None:
    items = synthetic.durations("lognormal", 200, 0.002, seed=5)
    results = client.with_options(placement="first").map(synthetic.burn, items)
    assert list(results) == [None] * 200
    report = client.report(results)
    assert report.done == 200
    receivers = [worker for worker in report.workers if worker.batches_received]
    assert receivers
    assert all(worker.tasks > 0 for worker in report.workers)
