"""Parsl with its HighThroughputExecutor on this machine: an interchange, a manager and worker processes."""

from __future__ import annotations

import contextlib
import importlib
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.peers.base import missing, ready, until_ready
from bench.peers.futures import grow
from bench.workload import Kind, Workload, batches

READY_NAP_S = 0.5


def run_batch(fn: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    """What a user of Parsl writes against the cost of a task: several calls in one."""
    return [fn(item) for item in items]


@dataclass
class Parsl:
    """Python apps, one an item or one a hand-made batch."""

    slots: int = 2
    batch: int = 0
    name: str = "Parsl"
    _stack: contextlib.ExitStack | None = field(default=None, init=False, repr=False)
    _kernel: Any = field(default=None, init=False, repr=False)
    _apps: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def setting(self) -> str:
        """The size of the hand-made batches."""
        return f"batches of {self.batch}" if self.batch else "one app an item"

    def unavailable(self) -> str:
        """Where it is not installed."""
        return missing("parsl", "the comparison of peers installs it")

    def refuses(self, workload: Workload) -> str:
        """Single calls and growing work know no batches, and units are split by nobody."""
        if workload.kind is Kind.SPLITS:
            return "tasks cannot give work away: it would run on one core"
        if workload.kind is not Kind.LIST and self.batch:
            return "batches apply to lists only"
        return ""

    def start(self) -> None:
        """Start it, and wait for each process."""
        parsl: Any = importlib.import_module("parsl")
        executors: Any = importlib.import_module("parsl.executors")
        providers: Any = importlib.import_module("parsl.providers")
        logging.getLogger("parsl").setLevel(logging.CRITICAL)
        self._stack = contextlib.ExitStack()
        folder = self._stack.enter_context(
            tempfile.TemporaryDirectory(prefix="bench-parsl-", ignore_cleanup_errors=True)
        )
        executor = executors.HighThroughputExecutor(
            label="here",
            address="127.0.0.1",
            cores_per_worker=1e-6,
            max_workers_per_node=self.slots,
            provider=providers.LocalProvider(init_blocks=1, max_blocks=1),
        )
        config = parsl.Config(executors=[executor], run_dir=folder, initialize_logging=False, usage_tracking=0)
        self._kernel = parsl.load(config)
        self._stack.callback(parsl.clear)
        self._stack.callback(self._kernel.cleanup)
        until_ready(self.slots, self._naps)

    def run(self, workload: Workload, items: Sequence[Any]) -> Sequence[Any]:
        """The results of all futures."""
        if workload.kind is Kind.GROWS:
            return grow(workload, items, self._app(workload.fn))
        if not self.batch:
            app = self._app(workload.fn)
            return [future.result() for future in [app(item) for item in items]]
        app = self._app(run_batch)
        futures = [app(workload.fn, part) for part in batches(items, self.batch)]
        return [value for future in futures for value in future.result()]

    def call(self, fn: Callable[[Any], Any], item: Any) -> Any:
        """An app's result."""
        return self._app(fn)(item).result()

    def facts(self) -> Mapping[str, float]:
        """Nothing that could be compared."""
        return {}

    def stop(self) -> None:
        """Shut down."""
        stack, self._stack = self._stack, None
        self._kernel = None
        self._apps.clear()
        if stack is not None:
            stack.close()

    def _naps(self, count: int) -> list[int]:
        return [future.result() for future in [self._app(ready)(READY_NAP_S) for _ in range(count)]]

    def _app(self, fn: Any) -> Any:
        if fn not in self._apps:
            parsl: Any = importlib.import_module("parsl")
            self._apps[fn] = parsl.python_app(fn, data_flow_kernel=self._kernel)
        return self._apps[fn]
