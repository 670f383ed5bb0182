"""joblib, which scikit-learn and many others run on: ``Parallel`` over its loky processes."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.peers.base import missing, ready, until_ready
from bench.workload import Kind, Workload

READY_NAP_S = 0.02


@dataclass
class Joblib:
    """``Parallel(n_jobs)(delayed(fn)(item) ...)``: batches of its own making, or of a size chosen by hand."""

    slots: int = 2
    batch: int = 0
    name: str = "joblib"
    _joblib: Any = field(default=None, init=False, repr=False)

    @property
    def setting(self) -> str:
        """The batch size."""
        return f"batch_size={self.batch}" if self.batch else "batch_size='auto'"

    def unavailable(self) -> str:
        """Where it is not installed."""
        return missing("joblib", "the comparison of peers installs it")

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
        self._joblib = importlib.import_module("joblib")
        nap = self._joblib.delayed(ready)
        naps = self._joblib.Parallel(n_jobs=self.slots, batch_size=1)
        until_ready(self.slots, lambda count: naps(nap(READY_NAP_S) for _ in range(count)))

    def run(self, workload: Workload, items: Sequence[Any]) -> Sequence[Any]:
        """One ``Parallel`` call."""
        return self._parallel(workload.fn, items)

    def call(self, fn: Callable[[Any], Any], item: Any) -> Any:
        """A list of one."""
        return self._parallel(fn, [item])[0]

    def facts(self) -> Mapping[str, float]:
        """Nothing that could be compared."""
        return {}

    def stop(self) -> None:
        """End the processes."""
        if self._joblib is not None:
            self._joblib = None
            importlib.import_module("joblib.externals.loky").get_reusable_executor().shutdown(kill_workers=True)

    def _parallel(self, fn: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        # A new one each time, on the same processes: one that is kept begins with the batches of its last call.
        call = self._joblib.delayed(fn)
        parallel = self._joblib.Parallel(n_jobs=self.slots, batch_size=self.batch or "auto")
        found: list[Any] = parallel(call(item) for item in items)
        return found
