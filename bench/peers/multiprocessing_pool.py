"""The standard library's ``multiprocessing.Pool``: the older of its two pools."""

from __future__ import annotations

import functools
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.pool import Pool
from typing import Any

from bench.workload import Kind, Workload

READY_NAP_S = 0.02


@dataclass
class MultiprocessingPool:
    """``Pool.imap`` with a chunk size chosen by hand, 1 being the library's default; or ``Pool.map``, which chooses."""

    slots: int = 2
    chunksize: int = 1
    name: str = "multiprocessing.Pool"
    _pool: Pool | None = field(default=None, init=False, repr=False)

    @property
    def setting(self) -> str:
        """The chunk size; 0 is what ``map`` makes of it."""
        return f"imap, chunksize={self.chunksize}" if self.chunksize else "map"

    def unavailable(self) -> str:
        """Never."""
        return ""

    def refuses(self, workload: Workload) -> str:
        """Single calls and growing work know no chunks, and units are split by nobody."""
        if workload.kind is Kind.SPLITS:
            return "tasks cannot give work away: it would run on one core"
        if workload.kind is not Kind.LIST and self.chunksize != 1:
            return "chunks apply to lists only"
        return ""

    def start(self) -> None:
        """Start the pool, and wait for each process."""
        self._pool = get_context("spawn").Pool(self.slots)
        self._pool.map(time.sleep, [READY_NAP_S] * self.slots, chunksize=1)

    def run(self, workload: Workload, items: Sequence[Any]) -> Sequence[Any]:
        """``list(pool.imap(...))`` or ``pool.map(...)``, or a loop that submits what results bring."""
        if workload.kind is Kind.GROWS:
            return self._grow(workload, items)
        if self.chunksize:
            return list(self._running.imap(workload.fn, items, chunksize=self.chunksize))
        return self._running.map(workload.fn, items)

    def call(self, fn: Callable[[Any], Any], item: Any) -> Any:
        """``apply(...)``."""
        return self._running.apply(fn, (item,))

    def facts(self) -> Mapping[str, float]:
        """It says nothing about itself."""
        return {}

    def stop(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool.join()
            self._pool = None

    @property
    def _running(self) -> Pool:
        assert self._pool is not None, "start() first"
        return self._pool

    def _grow(self, workload: Workload, items: Sequence[Any]) -> list[Any]:
        assert workload.reduce is not None
        finished: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        values: list[list[Any]] = [[] for _ in items]
        pending = 0

        def submit(root: int, item: Any) -> None:
            nonlocal pending
            pending += 1
            note = functools.partial(_note, finished, root)
            self._running.apply_async(workload.fn, (item,), callback=note, error_callback=note)

        for root, item in enumerate(items):
            submit(root, item)
        while pending:
            root, done = finished.get()
            pending -= 1
            if isinstance(done, BaseException):
                raise done
            value, further = done
            values[root].append(value)
            for child in further:
                submit(root, child)
        return [functools.reduce(workload.reduce, found) for found in values]


def _note(finished: queue.SimpleQueue[tuple[int, Any]], root: int, done: Any) -> None:
    finished.put((root, done))
