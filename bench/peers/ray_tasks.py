"""Ray on this machine: its object store, its scheduler, and remote functions."""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.peers.base import missing, ready, until_ready
from bench.workload import Kind, Workload, batches

READY_NAP_S = 0.2


def run_batch(fn: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    """What a user of Ray writes against the cost of a task: several calls in one."""
    return [fn(item) for item in items]


@dataclass
class Ray:
    """``ray.get([fn.remote(item) ...])``, or with hand-made batches of items."""

    slots: int = 2
    batch: int = 0
    name: str = "Ray"
    _ray: Any = field(default=None, init=False, repr=False)
    _functions: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def setting(self) -> str:
        """The size of the hand-made batches."""
        return f"batches of {self.batch}" if self.batch else "one task an item"

    def unavailable(self) -> str:
        """Where it is not installed."""
        return missing("ray", "the comparison of peers installs it")

    def refuses(self, workload: Workload) -> str:
        """Single calls and growing work know no batches, and units are split by nobody."""
        if workload.kind is Kind.SPLITS:
            return "tasks cannot give work away: it would run on one core"
        if workload.kind is not Kind.LIST and self.batch:
            return "batches apply to lists only"
        return ""

    def start(self) -> None:
        """Start it, and wait for each process."""
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        self._ray = importlib.import_module("ray")
        self._ray.init(
            num_cpus=self.slots, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
            _node_ip_address="127.0.0.1",
        )  # fmt: skip
        nap = self._remote(ready)
        until_ready(self.slots, lambda count: self._ray.get([nap.remote(READY_NAP_S) for _ in range(count)]))

    def run(self, workload: Workload, items: Sequence[Any]) -> Sequence[Any]:
        """``ray.get`` of all."""
        if workload.kind is Kind.GROWS:
            return self._grow(workload, items)
        if not self.batch:
            fn = self._remote(workload.fn)
            found: list[Any] = self._ray.get([fn.remote(item) for item in items])
            return found
        call = self._remote(run_batch)
        parts = self._ray.get([call.remote(workload.fn, part) for part in batches(items, self.batch)])
        return [value for part in parts for value in part]

    def call(self, fn: Callable[[Any], Any], item: Any) -> Any:
        """``ray.get(fn.remote(item))``."""
        return self._ray.get(self._remote(fn).remote(item))

    def facts(self) -> Mapping[str, float]:
        """Nothing that could be compared."""
        return {}

    def stop(self) -> None:
        """Shut down."""
        if self._ray is not None:
            self._ray.shutdown()
        self._ray = None
        self._functions.clear()

    def _remote(self, fn: Any) -> Any:
        if fn not in self._functions:

            def remote(*args: Any) -> Any:
                return fn(*args)

            self._functions[fn] = self._ray.remote(remote)
        return self._functions[fn]

    def _grow(self, workload: Workload, items: Sequence[Any]) -> list[Any]:
        assert workload.reduce is not None
        fn = self._remote(workload.fn)
        values: list[list[Any]] = [[] for _ in items]
        roots = {fn.remote(item): root for root, item in enumerate(items)}
        while roots:
            done, _ = self._ray.wait(list(roots), num_returns=1)
            for reference in done:
                root = roots.pop(reference)
                value, further = self._ray.get(reference)
                values[root].append(value)
                roots.update((fn.remote(child), root) for child in further)
        return [functools.reduce(workload.reduce, found) for found in values]
