"""A cluster of processes that end with the one that started them, in whatever way it ends."""

from __future__ import annotations

import gc
import operator
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from lbnet import Client, LocalCluster, spawn
from lbnet.errors import ConnectError, UsageError
from lbnet.strategies import registry
from lbnet.strategies.base import Strategy
from lbnet.strategies.sb import SchedulerBased
from tests.client.scripted import until


class Mine(SchedulerBased):
    """A strategy of one's own, that another process can import as this one did."""

    name = "mine"


class NeedsMore(Mine):
    """It cannot be made without arguments."""

    def __init__(self, more: int) -> None:
        self.more = more


def facts_of_this_process() -> tuple[set[int], set[str], int]:
    me = psutil.Process()
    threads = {thread.name for thread in threading.enumerate() if thread.name.startswith("lbnet")}
    return {child.pid for child in me.children(recursive=True)}, threads, me.num_fds()


@pytest.fixture
def nothing_is_left(client: Client) -> Iterator[None]:
    """After the test: no process, thread or descriptor that was not there before: ``client`` was, and what it needs."""
    gc.collect()
    processes, threads, descriptors = facts_of_this_process()
    yield

    def is_clean() -> bool:
        now = facts_of_this_process()
        return now[0] <= processes and now[1] <= threads and now[2] <= descriptors

    until(is_clean, f"it is as before: {(processes, threads, descriptors)}, not {facts_of_this_process()}")


@pytest.mark.usefixtures("nothing_is_left")
def test_a_cluster_and_its_client_leave_nothing() -> None:
    with LocalCluster(workers=2, slots=1) as cluster, cluster.client() as client:
        assert cluster.client().submit(abs, -1).result(10) == 1
        assert list(client.map(abs, range(100))) == list(range(100))
        assert client.submit(abs, -2).result(10) == 2
        pids = cluster.pids
        assert len(pids) == 3
        names = [psutil.Process(pid).name() for pid in pids]
        assert names == ["lbnet-control", "lbnet-worker", "lbnet-worker"] or sys.platform != "linux"
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert cluster.pids == []


@pytest.mark.usefixtures("nothing_is_left")
def test_a_client_of_its_own_cluster_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LBNET_ADDRESS", raising=False)
    with Client() as client:
        assert list(client.map(abs, range(10))) == list(range(10))
        results = client.map(abs, iter(int, 1))
        assert next(results) == 0
    assert len(client.address) > 0


@pytest.mark.usefixtures("nothing_is_left")
def test_a_client_of_its_own_cluster_that_is_dropped_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LBNET_ADDRESS", raising=False)
    assert Client().submit(abs, -1).result(10) == 1


@pytest.mark.usefixtures("nothing_is_left")
def test_a_cluster_lives_as_long_as_its_clients() -> None:
    client = LocalCluster(slots=1).client()
    gc.collect()
    assert list(client.map(abs, [-1])) == [1]
    client.close()


def test_an_address_may_come_from_the_environment(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LBNET_ADDRESS", cluster.address)
    with Client() as client:
        assert client.address == cluster.address
        assert {worker.pid for worker in client.status().workers} == set(cluster.pids[1:])


def test_a_cluster_has_the_workers_and_slots_that_were_asked_for() -> None:
    with LocalCluster(workers=2, slots=2, placement="first") as cluster, cluster.client() as client:
        client.wait_for_workers(2)
        status = client.status()
        assert [worker.slots for worker in status.workers] == [2, 2]
        assert (status.placement, status.strategy) == ("first", "sb")
        assert (cluster.workers, cluster.slots) == (2, 2)


def test_a_cluster_uses_all_cores_if_nobody_says_how_many() -> None:
    with LocalCluster(workers=2) as cluster:
        assert cluster.slots == max(1, len(os.sched_getaffinity(0)) // 2)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"workers": 0}, "1 or more workers"),
        ({"workers": -1}, "1 or more workers"),
        ({"slots": 0}, "slots"),
        ({"slots": 1_000_000}, "slots"),
        ({"workers": 1.5}, "whole numbers"),
        ({"workers": "2"}, "whole numbers"),
        ({"workers": True}, "whole numbers"),
        ({"slots": 2.0}, "whole numbers"),
        ({"placement": "everywhere"}, "placement must be one of spread, first"),
        (
            {"strategy": "telepathy"},
            "there is no strategy 'telepathy'; there are: arr, grr, lifeline, pmap, rp, sb, sh",
        ),
        ({"strategy": "no_such_module:Mine"}, "cannot be imported: ModuleNotFoundError"),
        ({"strategy": "os:getpid"}, "a strategy is an object or a subclass of lbnet.Strategy"),
        ({"strategy": Strategy}, "has no name"),
        ({"strategy": NeedsMore}, "cannot be made without arguments: TypeError"),
        ({"strategy": object()}, "a strategy is an object or a subclass of lbnet.Strategy"),
        ({"strategy": None}, "a strategy is an object or a subclass of lbnet.Strategy, not None"),
    ],
)
def test_impossible_clusters_are_refused_before_anything_starts(arguments: dict[str, Any], text: str) -> None:
    before = facts_of_this_process()[0]
    with pytest.raises(UsageError, match=text):
        LocalCluster(**arguments)
    assert facts_of_this_process()[0] == before


def test_a_closed_cluster_has_no_clients() -> None:
    cluster = LocalCluster(slots=1)
    cluster.close()
    cluster.close()
    with pytest.raises(ConnectError, match="nothing answers"):
        cluster.client()


def test_a_client_of_a_cluster_whose_controller_died_is_told_so() -> None:
    with LocalCluster(slots=1) as cluster:
        os.kill(cluster.pids[0], signal.SIGKILL)
        until(lambda: cluster._launched.first_code() is not None, "the controller dies")
        with pytest.raises(ConnectError, match="the controller of the local cluster ended with code -9"):
            cluster.client()


def test_a_process_that_does_not_end_is_killed() -> None:
    with LocalCluster(slots=1) as cluster, cluster.client() as client:
        client.wait_for_workers(1)
        worker = psutil.Process(cluster.pids[1])
        (slot,) = worker.children()
        worker.suspend()
    assert not worker.is_running()
    until(lambda: not slot.is_running(), "its slot sees that it is gone")


def test_whoever_starts_the_processes_may_be_killed_and_they_still_end() -> None:
    with LocalCluster(slots=1) as cluster, cluster.client() as client:
        client.wait_for_workers(1)
        pids = cluster.pids
        cluster._launched._process.kill()
        assert client.submit(abs, -1).result(10) == 1
    until(lambda: not any(psutil.pid_exists(pid) for pid in pids), "all of them end")


# --- strategies


@pytest.mark.parametrize("strategy", registry.BUILT_IN)
def test_a_job_chooses_its_strategy(client: Client, strategy: str) -> None:
    view = client.with_options(strategy=strategy)
    results = view.map(abs, range(-3_000, 3_000))
    assert list(results) == [abs(x) for x in range(-3_000, 3_000)]
    report = view.report(results)
    assert (report.strategy, report.state, report.done) == (strategy, "done", 6_000)
    assert report.balanced
    assert client.status().strategy == "sb"


@pytest.mark.parametrize("strategy", registry.BUILT_IN)
def test_tasks_that_make_tasks_are_all_done_under_every_strategy(client: Client, strategy: str) -> None:
    results = client.with_options(strategy=strategy).map(branch, [8], reduce=operator.add)
    assert sum(results) == 2**9 - 1


def branch(depth: int) -> int:
    """Counts itself, and spawns two that are one level lower."""
    for _ in range(2 if depth else 0):
        spawn(branch, depth - 1)
    return 1


def test_jobs_with_different_strategies_run_at_once(client: Client) -> None:
    results = [
        client.with_options(strategy=strategy).map(abs, range(-number, 300))
        for number, strategy in enumerate(registry.BUILT_IN)
    ]
    for number, found in enumerate(results):
        assert list(found) == [abs(x) for x in range(-number, 300)]


def check(cluster: LocalCluster, name: str) -> None:
    """Its strategy is the one of this name, and work gets done."""
    with cluster, cluster.client() as client:
        client.wait_for_workers(2)
        results = client.map(abs, range(-500, 500))
        assert list(results) == [abs(x) for x in range(-500, 500)]
        assert client.report(results).strategy == name
        assert client.status().strategy == name
        rp = client.with_options(strategy="rp").map(abs, [-1])
        assert list(rp) == [1]
        # And back, over a name that only this cluster knows.
        assert list(client.with_options(strategy=name).map(abs, [-2])) == [2]


@pytest.mark.parametrize("given", [Mine, Mine()], ids=["class", "object"])
def test_a_strategy_of_ones_own(given: Any) -> None:
    check(LocalCluster(workers=2, slots=1, strategy=given), "mine")


def test_a_strategy_of_ones_own_by_module_and_class() -> None:
    text = "lbnet.strategies.rp:RandomPolling"
    check(LocalCluster(workers=2, slots=1, strategy=text), text)


OF_THE_SCRIPT = """
from lbnet.strategies.base import Strategy, TellIdle, WorkerStrategy

class Idle(WorkerStrategy):
    def balance(self, view):
        (trace / f"asked-{view.me}").touch()
        if view.idle_is_news:
            yield TellIdle()

class OfTheScript(Strategy):
    name = "of-the-script"

    def worker(self):
        return Idle()

if __name__ == "__main__":
    with lbnet.LocalCluster(workers=2, slots=1, strategy=OfTheScript) as cluster, cluster.client() as client:
        client.wait_for_workers(2)
        assert sum(client.map(abs, range(-100, 100))) == 10_000
        while len(list(trace.glob("asked-*"))) < 2:  # each of the workers runs it, once its slot is ready
            time.sleep(0.01)
        print(client.status().strategy)
"""


def test_a_strategy_of_the_script_itself_reaches_all_processes(tmp_path: Path) -> None:
    script = run(tmp_path, OF_THE_SCRIPT)
    output, errors = script.communicate(timeout=30)
    assert (script.returncode, output, errors) == (0, "of-the-script\n", "")


FAULTY = """
from lbnet.strategies.base import Strategy, ControllerStrategy, WorkerStrategy

class Bug(ControllerStrategy, WorkerStrategy):
    def balance(self, view):
        raise RuntimeError("a bug of mine")

class Faulty(Strategy):
    name = "faulty"

    def controller(self):
        return Bug()

    def worker(self):
        return Bug()

with lbnet.LocalCluster(workers=2, slots=1, strategy=Faulty) as cluster, cluster.client() as client:
    print(sum(client.map(abs, range(-100, 100))))
"""


def test_a_strategy_that_raises_makes_nothing_wrong_and_is_heard_of(tmp_path: Path) -> None:
    script = run(tmp_path, FAULTY)
    output, errors = script.communicate(timeout=30)
    assert (script.returncode, output) == (0, "10000\n")
    assert errors.count("lbnet.controller: the strategy raised, and its decisions of that step are ignored") == 1
    heard = errors.count("lbnet.worker: the strategy raised, and its decisions of that step are ignored")
    assert 1 <= heard <= 2  # one of the workers may have come too late for it
    assert errors.count("RuntimeError: a bug of mine") == 1 + heard


# --- what it leaves


def test_what_tasks_print_does_not_mix_with_the_output(tmp_path: Path) -> None:
    script = run(
        tmp_path,
        """
        with lbnet.LocalCluster(slots=1) as cluster, cluster.client() as client:
            list(client.map(lambda x: print("from a task"), range(2)))
            print("from the script")
        """,
    )
    output, errors = script.communicate(timeout=20)
    assert output == "from the script\n"
    assert errors.count("from a task") == 2
    assert script.returncode == 0


# --- scripts that end in other ways


SCRIPT = """
import os, signal, sys, threading, time
from pathlib import Path
import lbnet
trace = Path(sys.argv[1])

def busy(x):
    (trace / f"pid-{os.getpid()}").touch()
    while True:
        pass

def record(x):
    time.sleep(0.01)
    (trace / f"done-{x}").touch()
    return x
"""


def run(trace: Path, body: str) -> subprocess.Popen[str]:
    """Run a script; its cluster is told from all other processes by this variable."""
    path = trace / "script.py"
    path.write_text(SCRIPT + textwrap.dedent(body))
    return subprocess.Popen(
        [sys.executable, str(path), str(trace)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "LBNET_TEST": str(trace), "LBNET_ADDRESS": ""},
    )


def processes_of(trace: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("LBNET_TEST") == str(trace) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def is_busy(trace: Path) -> bool:
    return len(list(trace.glob("pid-*"))) == 2


MAP_BUSILY = """
with lbnet.LocalCluster(workers=2, slots=1) as cluster, cluster.client() as client:
    client.wait_for_workers(2)
    list(client.map(busy, range(10)))
"""


def test_a_script_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    script = run(tmp_path, MAP_BUSILY)
    until(lambda: is_busy(tmp_path), "both slots are busy", 20)
    assert len(processes_of(tmp_path)) >= 6
    script.kill()
    script.communicate(timeout=10)
    until(lambda: not processes_of(tmp_path), "all processes end")


@pytest.mark.parametrize(
    "body", [MAP_BUSILY, "client = lbnet.Client()\nresults = client.map(busy, range(10))\nlist(results)"]
)
def test_a_script_that_is_interrupted_ends_and_leaves_no_process(tmp_path: Path, body: str) -> None:
    script = run(tmp_path, body)
    until(lambda: is_busy(tmp_path), "both slots are busy", 20)
    script.send_signal(signal.SIGINT)
    _, errors = script.communicate(timeout=10)
    assert script.returncode == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert errors.count("Traceback") == 1
    until(lambda: not processes_of(tmp_path), "all processes end")


FORGETFUL = [
    "client = lbnet.Client()\nfutures = [client.submit(record, x) for x in range(30)]",
    "def main():\n    client = lbnet.Client()\n    [client.submit(record, x) for x in range(30)]\nmain()",
    "cluster = lbnet.LocalCluster(slots=1)\nclient = cluster.client()\n[client.submit(record, x) for x in range(30)]",
    "client = lbnet.Client()\n[client.submit(record, x) for x in range(30)]\nclient.shutdown(wait=False)",
    (
        "client = lbnet.Client()\n[client.submit(record, x) for x in range(30)]\n"
        "endless = client.map(time.sleep, iter(lambda: 0.01, 1))"
    ),
]


def test_a_script_that_forgets_its_client_ends_when_its_calls_are_done(tmp_path: Path) -> None:
    scripts = []
    for number, body in enumerate(FORGETFUL):
        trace = tmp_path / str(number)
        trace.mkdir()
        scripts.append((trace, run(trace, body)))
    for trace, script in scripts:
        _, errors = script.communicate(timeout=30)
        assert (script.returncode, errors) == (0, ""), trace
        assert len(list(trace.glob("done-*"))) == 30, trace
        until(lambda trace=trace: not processes_of(trace), "all processes end")
