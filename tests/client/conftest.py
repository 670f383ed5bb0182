"""One cluster for all tests of the client that do it no harm."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lbnet import Client, LocalCluster


@pytest.fixture(scope="package")
def cluster() -> Iterator[LocalCluster]:
    """Two workers with one slot each."""
    with LocalCluster(workers=2, slots=1) as cluster:
        with cluster.client() as client:
            client.wait_for_workers(2)
        yield cluster


@pytest.fixture(scope="package")
def client(cluster: LocalCluster) -> Iterator[Client]:
    with cluster.client() as client:
        yield client
