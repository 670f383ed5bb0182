"""mpi4py's ``MPIPoolExecutor`` on this machine, with the MPI that comes as a wheel."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from bench.peers.base import missing, ready, until_ready
from bench.peers.futures import grow
from bench.workload import Kind, Workload

READY_NAP_S = 0.2


@dataclass
class MpiPool:
    """``Executor.map`` with a chunk size chosen by hand (1 is the default of the library)."""

    slots: int = 2
    chunksize: int = 1
    name: str = "mpi4py.futures"
    _pool: Executor | None = field(default=None, init=False, repr=False)

    @property
    def setting(self) -> str:
        """The chunk size."""
        return f"chunksize={self.chunksize}"

    def unavailable(self) -> str:
        """Where it, or an MPI, is not installed."""
        return missing("mpi4py.MPI", "the comparison of peers installs it")

    def refuses(self, workload: Workload) -> str:
        """Single calls and growing work know no chunks, and units are split by nobody."""
        if workload.kind is Kind.SPLITS:
            return "tasks cannot give work away: it would run on one core"
        if workload.kind is not Kind.LIST and self.chunksize != 1:
            return "chunks apply to lists only"
        return ""

    def start(self) -> None:
        """Start the processes, and wait for each."""
        futures: Any = importlib.import_module("mpi4py.futures")
        pool: Executor = futures.MPIPoolExecutor(self.slots)
        self._pool = pool
        until_ready(self.slots, lambda count: pool.map(ready, [READY_NAP_S] * count))

    def run(self, workload: Workload, items: Sequence[Any]) -> Sequence[Any]:
        """``list(pool.map(...))``, or a loop that submits what results bring."""
        if workload.kind is Kind.GROWS:
            return grow(workload, items, lambda item: self._running.submit(workload.fn, item))
        return list(self._running.map(workload.fn, items, chunksize=self.chunksize))

    def call(self, fn: Callable[[Any], Any], item: Any) -> Any:
        """``submit(...).result()``."""
        return self._running.submit(fn, item).result()

    def facts(self) -> Mapping[str, float]:
        """It says nothing about itself."""
        return {}

    def stop(self) -> None:
        """Shut down."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    @property
    def _running(self) -> Executor:
        assert self._pool is not None, "start() first"
        return self._pool
