"""joblib, which scikit-learn and many others run on: ``Parallel`` over its loky processes."""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.peers.base import missing
from bench.workload import Kind, Workload

READY_NAP_S = 0.02


@dataclass
class Joblib:
    """``Parallel(n_jobs)(delayed(fn)(item) ...)``: batches of its own making, or of a size chosen by hand."""

    slots: int = 2
    batch: int = 0
    name: str = "joblib"
    _parallel: Any = field(default=None, init=False, repr=False)
    _delayed: Any = field(default=None, init=False, repr=False)
    _stack: contextlib.ExitStack | None = field(default=None, init=False, repr=False)

    @property
    def setting(self) -> str:
        """The batch size."""
        return f"batch_size={self.batch}" if self.batch else "batch_size='auto'"

    def unavailable(self) -> str:
        """Where it is not installed."""
        return missing("joblib", "this experiment installs it")

    def refuses(self, workload: Workload) -> str:
        """It takes lists, and single calls as lists of one."""
        if workload.kind is Kind.SPLITS:
            return "tasks cannot give work away: it would run on one core"
        if workload.kind is Kind.GROWS:
            return "a list is whole before it starts"
        if workload.kind is Kind.CALLS and self.batch:
            return "batches apply to lists only"
        return ""

    def start(self) -> None:
        """Start the processes, and wait for each."""
        joblib: Any = importlib.import_module("joblib")
        self._stack = contextlib.ExitStack()
        self._delayed = joblib.delayed
        parallel = joblib.Parallel(n_jobs=self.slots, batch_size=self.batch or "auto")
        self._parallel = self._stack.enter_context(parallel)
        self._parallel(self._delayed(time.sleep)(READY_NAP_S) for _ in range(self.slots))

    def run(self, workload: Workload, items: Sequence[Any]) -> Sequence[Any]:
        """One ``Parallel`` call."""
        fn = self._delayed(workload.fn)
        found: list[Any] = self._parallel(fn(item) for item in items)
        return found

    def call(self, fn: Callable[[Any], Any], item: Any) -> Any:
        """A list of one."""
        return self._parallel([self._delayed(fn)(item)])[0]

    def facts(self) -> Mapping[str, float]:
        """Nothing that could be compared."""
        return {}

    def stop(self) -> None:
        """End the processes."""
        stack, self._stack = self._stack, None
        self._parallel = None
        if stack is not None:
            stack.close()
            importlib.import_module("joblib.externals.loky").get_reusable_executor().shutdown(kill_workers=True)
