"""A controller that is killed in the middle of a job, and started again by the same command. Nobody else need act."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from lbnet import Client
from tests.cli.running import Running, address_of, alive, free_port, start, until

ITEMS = 3_000
KILLS = 2
WORKERS = 2
SIZE_BYTES = 512 << 10
LARGE_ITEMS = 600
"""300 MB of results."""


def slow_square() -> Callable[[int], int]:
    """A task of about a millisecond. It travels by value, because slots cannot import this file."""

    def slow_square(x: int) -> int:
        import time

        time.sleep(0.001)
        return x * x

    return slow_square


@dataclass
class Cluster:
    """Two workers, and a controller that can be killed and started again by the same command."""

    folder: Path
    stack: ExitStack
    port: int = field(default_factory=free_port)
    controllers: list[Running] = field(default_factory=list)
    workers: list[Running] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Where the controller always is."""
        return f"127.0.0.1:{self.port}"

    def start_controller(self) -> None:
        """Returns when it listens."""
        command = ("controller", "--port", self.port, "--state-dir", self.folder / "state")
        self.controllers.append(self.stack.enter_context(start(*command, folder=self.folder)))
        assert address_of(self.controllers[-1]) == self.address

    def start_worker(self) -> None:
        """Returns when it has joined."""
        worker = self.stack.enter_context(start("worker", "--connect", self.address, "--slots", 1, folder=self.folder))
        worker.line()
        self.workers.append(worker)

    def kill_controller(self) -> None:
        """It has no time to say or write anything."""
        self.controllers[-1].process.kill()
        self.controllers[-1].process.wait()


@contextmanager
def cluster_in(folder: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        cluster = Cluster(folder, stack)
        cluster.start_controller()
        for _ in range(WORKERS):
            cluster.start_worker()
        yield cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with cluster_in(tmp_path) as cluster:
        yield cluster


def ids_by_pid(client: Client) -> dict[int, int]:
    return {worker.pid: worker.id for worker in client.status().workers}


def test_a_client_gets_every_result_once_over_any_number_of_controllers(cluster: Cluster) -> None:
    with Client(cluster.address) as client:
        known = ids_by_pid(client)
        processes = [process for worker in cluster.workers for process in worker.family()]
        results = client.map(slow_square(), iter(range(ITEMS)), ordered=False)
        futures = [client.submit(slow_square(), -x) for x in range(100)]
        got: Counter[int] = Counter()
        for _ in range(KILLS):
            for _ in range(ITEMS // (KILLS + 1)):
                got[next(results)] += 1
            cluster.kill_controller()
            cluster.start_controller()
            assert ": going on with " in cluster.controllers[-1].line()
        got.update(results)
        assert got == Counter(x * x for x in range(ITEMS))
        assert [future.result(60) for future in futures] == [x * x for x in range(100)]
        until(lambda: ids_by_pid(client) == known, lambda: f"{ids_by_pid(client)} are there, and not {known}")
        (report,) = [job for job in client.status().jobs if job.job == results.job]
        assert (report.state, report.done, report.failed, report.outstanding) == ("done", ITEMS, 0, 0)
        assert report.balanced
    assert all(map(alive, processes)), "workers and their slots have seen all controllers come and go"


def test_workers_come_back_although_no_client_asks_for_anything(cluster: Cluster) -> None:
    with Client(cluster.address) as client:
        known = ids_by_pid(client)
    assert len(known) == WORKERS
    cluster.kill_controller()
    cluster.start_controller()
    with Client(cluster.address) as client:
        until(lambda: ids_by_pid(client) == known, lambda: f"{ids_by_pid(client)} are there, and not {known}")


def blob(index: int) -> bytes:
    """What :func:`large` makes."""
    return index.to_bytes(4, "little") * (SIZE_BYTES // 4)


def large() -> Callable[[int], bytes]:
    """A task with a large result."""
    size = SIZE_BYTES

    def large(index: int) -> bytes:
        return index.to_bytes(4, "little") * (size // 4)

    return large


def test_results_that_nobody_takes_are_on_the_disk_and_not_in_memory(cluster: Cluster) -> None:
    controller = psutil.Process(cluster.controllers[-1].process.pid)
    before = controller.memory_info().rss
    with Client(cluster.address) as client:
        job = client.submit_job(large(), range(LARGE_ITEMS))
        until(lambda: client.report(job).state == "done", lambda: f"{client.report(job)}", deadline_s=60)
    grown = controller.memory_info().rss - before
    print(f"the controller has grown by {grown / 1e6:.0f} MB")
    assert grown < 0.75 * LARGE_ITEMS * SIZE_BYTES, "memory has the latest, and what is on its way to the disk"
    cluster.kill_controller()
    cluster.start_controller()
    with Client(cluster.address) as client:
        some = client.attach(job)
        assert [next(some) for _ in range(100)] == [blob(index) for index in range(100)]
    with Client(cluster.address) as client:
        got = Counter(int.from_bytes(value[:4], "little") for value in client.attach(job))
    assert set(got) >= set(range(100, LARGE_ITEMS)), "what was not taken comes again"
    assert set(got.values()) == {1}


def test_a_detached_job_goes_on_without_its_client_and_over_a_restart(cluster: Cluster) -> None:
    with Client(cluster.address) as client:
        job = client.submit_job(slow_square(), range(ITEMS))
    cluster.kill_controller()
    cluster.start_controller()
    with Client(cluster.address) as client:
        assert Counter(client.attach(job, ordered=False)) == Counter(x * x for x in range(ITEMS))
