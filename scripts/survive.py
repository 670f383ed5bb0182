"""Kill the controller and a worker with SIGKILL in the middle of a job, start them again, and count the results.

A controller and two workers are processes of this machine, on a free port, with the journal in a temporary folder.
Run ``python scripts/survive.py``; ``--tasks N`` for another number than 100,000.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import lbnet


def square(x: int) -> int:
    """A task of a tenth of a millisecond."""
    begun = time.perf_counter()
    while time.perf_counter() - begun < 1e-4:
        pass
    return x * x


class Cluster:
    """Its processes, and what they need to be started again with the same commands."""

    def __init__(self, state: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        port = self.address.rpartition(":")[2]
        self._controller = ("controller", "--port", port, "--state-dir", str(state))
        self._worker = ("worker", "--connect", self.address, "--slots", "1", "--name")
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        """Start a process, and wait until it says that it is there."""
        command = self._controller if name == "controller" else (*self._worker, name)
        process = subprocess.Popen(
            [sys.executable, "-c", "from lbnet.cli.main import main; main()", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None
        while b"Ctrl-C ends it" not in process.stdout.readline():
            if process.poll() is not None:
                raise SystemExit(f"{name} could not be started")
        self._running[name] = process

    def kill(self, name: str) -> None:
        """``kill -9``."""
        self._running[name].kill()
        self._running.pop(name).wait()
        print(f"killed {name}")

    def stop(self) -> None:
        """End what is left."""
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            process.wait()


def main() -> int:
    """Do it; 0 if every result came exactly once and all tasks are accounted for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tasks", type=int, default=100_000, metavar="N", help="tasks of 0.1 ms each (100,000)")
    tasks: int = parser.parse_args().tasks
    got: Counter[int] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder))
        try:
            for name in ("controller", "one", "two"):
                cluster.start(name)

            def disaster() -> None:
                while sum(got.values()) < tasks / 4:
                    time.sleep(0.01)
                cluster.kill("controller")
                cluster.kill("one")
                cluster.start("controller")
                cluster.start("one")
                print("started both again")

            with lbnet.Client(cluster.address) as client:
                thread = threading.Thread(target=disaster)
                thread.start()
                for value in client.map(square, range(tasks), ordered=False):
                    got[value] += 1
                thread.join()
                job = client.status().jobs[-1]
            executions = sum(worker.tasks for worker in job.workers)
            print(f"{sum(got.values()):,} results, {len(got):,} different ones")
            print(f"{job.requeued:,} tasks were placed again, {job.duplicates:,} results came twice and were dropped")
            right = got == Counter(x * x for x in range(tasks))
            print("every result exactly once" if right else "NOT every result exactly once")
            audit = [sys.executable, "-c", "from lbnet.cli.main import main; main()", "audit"]
            balanced = subprocess.run([*audit, "--connect", cluster.address], check=False).returncode == 0
            assert executions >= job.done
        finally:
            cluster.stop()
    return int(not (right and balanced))


if __name__ == "__main__":
    sys.exit(main())
