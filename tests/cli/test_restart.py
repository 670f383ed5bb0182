"""A controller that is killed, and started again with the same command."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from lbnet import Client
from tests.cli.running import address_of, alive, cluster, free_port, start, until

TASKS = 3_000


def test_every_result_comes_once_although_the_controller_is_killed_twice(folder: Path) -> None:
    def square(x: int) -> int:
        import time

        time.sleep(0.0005)
        return x * x

    port = free_port()
    command = ("controller", "--port", port)
    got: Counter[int] = Counter()
    with start(*command, folder=folder) as first:
        address = address_of(first)
        of_worker = ("worker", "--connect", address, "--slots", 1)
        with start(*of_worker, folder=folder) as one, start(*of_worker, folder=folder) as two:
            workers = [one, two]
            for worker in workers:
                worker.line()
            families = [worker.family() for worker in workers]
            with Client(address) as client:
                known = {worker.pid: worker.id for worker in client.status().workers}
                assert known.keys() == {worker.process.pid for worker in workers}
                results = client.map(square, iter(range(TASKS)), ordered=False)
                for _ in range(TASKS // 3):
                    got[next(results)] += 1
                first.process.kill()
                first.process.wait()
                with start(*command, folder=folder) as second:
                    assert address_of(second) == address
                    assert re.search(r": going on with 1 job, [\d,]+ tasks? outstanding, ", second.line())
                    for _ in range(TASKS // 3):
                        got[next(results)] += 1
                    second.process.kill()
                    second.process.wait()
                with start(*command, folder=folder) as third:
                    address_of(third)
                    for value in results:
                        got[value] += 1
                    status = client.status()
                    (job,) = status.jobs
                    assert (job.done, job.failed, job.outstanding, job.balanced) == (TASKS, 0, 0, True)
                    assert {worker.pid: worker.id for worker in status.workers} == known
                    assert all(alive(process) for family in families for process in family), "workers and slots went on"
            assert got == Counter(x * x for x in range(TASKS))


def test_a_worker_begins_anew_with_a_controller_that_does_not_know_it(folder: Path) -> None:
    with cluster(folder, ("--slots", "1", "--rejoin-timeout", "60")) as made:
        (worker,) = made.workers
        port = made.address.rpartition(":")[2]
        (folder / "items.jsonl").write_text(f'"{folder / "begun"}"')
        with start("map", "work:napping", "items.jsonl", "--connect", made.address, folder=folder) as client:
            until((folder / "begun").exists, client.said)
            me, *before = worker.family()
            made.controller.process.kill()
            made.controller.process.wait()
            with start("controller", "--port", port, "--no-journal", folder=folder) as second:
                address_of(second)
                until(lambda: not any(map(alive, before)), lambda: f"still there: {before}")
                with Client(made.address) as other:
                    assert list(other.map(str, range(100))) == [str(item) for item in range(100)]
                    (known,) = other.status().workers
                    assert (known.pid, known.name) == (me.pid, f"worker-{known.id}")
                assert client.ends() == 1
                assert "its jobs are lost" in client.said()
            assert "the controller began anew, and knows nothing of our work: we begin anew, too" in worker.said()
