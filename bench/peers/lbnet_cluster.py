"""lbnet as a user would run it: a client script against a cluster, with no chunk size and nothing tuned."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.peers.base import missing
from bench.surviving import Cluster as Service
from bench.workload import Kind, Workload

READY_NAP_S = 0.02


@dataclass(frozen=True)
class Spawning:
    """A step that returns further items, as a task that spawns them."""

    step: Callable[[Any], Any]

    def __call__(self, item: Any) -> Any:
        """Run the step, and spawn what it asks for."""
        import lbnet

        value, further = self.step(item)
        for child in further:
            lbnet.spawn(self, child)
        return value


@dataclass
class LbnetCluster:
    """A controller and ``workers`` workers with one slot each, as processes that talk over TCP."""

    workers: int = 2
    strategy: str = "sb"
    placement: str = "spread"
    name: str = "lbnet"
    _stack: contextlib.ExitStack | None = field(default=None, init=False, repr=False)
    _client: Any = field(default=None, init=False, repr=False)
    _job: Any = field(default=None, init=False, repr=False)

    @property
    def setting(self) -> str:
        """What differs from how lbnet comes."""
        chosen = [self.strategy] if self.strategy != "sb" else []
        chosen += [f"placement {self.placement}"] if self.placement != "spread" else []
        return ", ".join(chosen)

    @property
    def slots(self) -> int:
        """One a worker."""
        return self.workers

    def unavailable(self) -> str:
        """Where it cannot be imported."""
        return missing("lbnet.client", "install lbnet in this environment")

    def refuses(self, workload: Workload) -> str:  # noqa: ARG002 - the protocol's signature
        """Nothing."""
        return ""

    def start(self) -> None:
        """Start the cluster and a client, and wait for each slot."""
        import lbnet

        self._stack = contextlib.ExitStack()
        cluster = self._stack.enter_context(
            lbnet.LocalCluster(workers=self.workers, slots=1, placement=self.placement, strategy=self.strategy)
        )
        self._client = self._stack.enter_context(cluster.client())
        for _ in self._client.map(time.sleep, [READY_NAP_S] * self.workers):
            pass

    def run(self, workload: Workload, items: Sequence[Any]) -> Sequence[Any]:
        """``list(client.map(...))``."""
        fn = Spawning(workload.fn) if workload.kind is Kind.GROWS else workload.fn
        results = self._client.map(fn, items, reduce=workload.reduce)
        found = list(results)
        self._job = results.job
        return found

    def call(self, fn: Callable[[Any], Any], item: Any) -> Any:
        """``submit(...).result()``."""
        return self._client.submit(fn, item).result()

    def facts(self) -> Mapping[str, float]:
        """The controller's report of the last job."""
        job, self._job = self._job, None
        if job is None:
            return {}
        report = self._client.report(job)
        return {
            "tasks": float(report.submitted + report.spawned),
            "makespan_s": report.makespan_s,
            "busy_s": report.busy_s,
            "moved_batches": float(sum(worker.batches_sent for worker in report.workers)),
            "duplicates": float(report.duplicates),
        }

    def stop(self) -> None:
        """Close the client, then the cluster."""
        stack, self._stack = self._stack, None
        self._client = self._job = None
        if stack is not None:
            stack.close()


@dataclass
class LbnetService(LbnetCluster):
    """A cluster that was started by its commands, with a journal on the disk, as users run one that is to last."""

    def start(self) -> None:
        """Start the controller, the workers and a client, and wait for each slot."""
        import lbnet

        self._stack = contextlib.ExitStack()
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-lbnet-"))
        self._stack.enter_context(_state_home(folder))
        service = Service(Path(folder))
        self._stack.callback(service.close)
        service.up(*(f"worker-{number}" for number in range(self.workers)))
        self._client = self._stack.enter_context(lbnet.Client(service.address))
        for _ in self._client.map(time.sleep, [READY_NAP_S] * self.workers):
            pass


@contextlib.contextmanager
def _state_home(folder: str) -> Iterator[None]:
    """Where a cluster says how it is reached: a controller that is killed would leave that in the user's folder."""
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = folder
    try:
        yield
    finally:
        del os.environ["XDG_STATE_HOME"]
        if before is not None:
            os.environ["XDG_STATE_HOME"] = before
