"""Dask's distributed scheduler on this machine: a scheduler, nannies and worker processes over TCP."""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.peers.base import missing, ready
from bench.workload import Kind, Workload, batches

START_TIMEOUT_S = 60.0
LOGGERS = ("distributed", "tornado", "asyncio", "bokeh")


class Opaque:
    """Values that Dask does not look into; lists and dataclasses it walks through item by item, both ways."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items


def run_batch(fn: Callable[[Any], Any], batch: Opaque) -> Opaque:
    """What a user of Dask writes against the cost of a task: several calls in one."""
    return Opaque([fn(item) for item in batch.items])


@dataclass
class Dask:
    """``client.map`` and ``gather``; with ``batch`` items put together by hand, which hides them from Dask."""

    slots: int = 2
    batch: int = 0
    name: str = "Dask distributed"
    _cluster: Any = field(default=None, init=False, repr=False)
    _client: Any = field(default=None, init=False, repr=False)
    _stack: contextlib.ExitStack | None = field(default=None, init=False, repr=False)

    @property
    def setting(self) -> str:
        """The size of the hand-made batches."""
        return f"batches of {self.batch}" if self.batch else "one task an item"

    def unavailable(self) -> str:
        """Where it is not installed."""
        return missing("distributed", "the comparison of peers installs it")

    def refuses(self, workload: Workload) -> str:
        """Single calls and growing work know no batches, and units are split by nobody."""
        if workload.kind is Kind.SPLITS:
            return "tasks cannot give work away: it would run on one core"
        if workload.kind is not Kind.LIST and self.batch:
            return "batches apply to lists only"
        return ""

    def start(self) -> None:
        """Start the cluster and a client, and wait for each worker."""
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        # Untyped, and absent where nobody wants to compare.
        distributed: Any = importlib.import_module("distributed")
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        folder = self._stack.enter_context(
            tempfile.TemporaryDirectory(prefix="bench-dask-", ignore_cleanup_errors=True)
        )
        self._cluster = self._stack.enter_context(
            distributed.LocalCluster(
                n_workers=self.slots,
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
                local_directory=folder,
            )
        )
        self._client = self._stack.enter_context(distributed.Client(self._cluster, timeout=START_TIMEOUT_S))
        self._client.wait_for_workers(self.slots, timeout=START_TIMEOUT_S)
        self._client.run(ready, 0.0)

    def run(self, workload: Workload, items: Sequence[Any]) -> Sequence[Any]:
        """``gather(map(...))``; ``pure=False``, for else Dask would run equal items only once."""
        if workload.kind is Kind.GROWS:
            return self._grow(workload, items)
        if not self.batch:
            found: list[Any] = self._client.gather(self._client.map(workload.fn, items, pure=False))
            return found
        call = functools.partial(run_batch, workload.fn)
        opaque = [Opaque(part) for part in batches(items, self.batch)]
        parts = self._client.gather(self._client.map(call, opaque, pure=False))
        return [value for part in parts for value in part.items]

    def call(self, fn: Callable[[Any], Any], item: Any) -> Any:
        """``submit(...).result()``."""
        return self._client.submit(fn, item, pure=False).result()

    def facts(self) -> Mapping[str, float]:
        """Nothing that could be compared."""
        return {}

    def stop(self) -> None:
        """Close the client, then the cluster, then what they needed."""
        stack, self._stack = self._stack, None
        self._client = self._cluster = None
        if stack is not None:
            stack.close()

    def _grow(self, workload: Workload, items: Sequence[Any]) -> list[Any]:
        distributed: Any = importlib.import_module("distributed")
        assert workload.reduce is not None
        values: list[list[Any]] = [[] for _ in items]
        futures = self._client.map(workload.fn, items, pure=False)
        roots = {future.key: root for root, future in enumerate(futures)}
        completed = distributed.as_completed(futures, with_results=True)
        futures.clear()
        for future, (value, further) in completed:
            root = roots.pop(future.key)
            values[root].append(value)
            for child in further:
                submitted = self._client.submit(workload.fn, child, pure=False)
                roots[submitted.key] = root
                completed.add(submitted)
        return [functools.reduce(workload.reduce, found) for found in values]
