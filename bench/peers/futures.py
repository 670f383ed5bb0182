"""What peers share that give ``concurrent.futures``: a loop for tasks that make tasks."""

from __future__ import annotations

import functools
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from bench.workload import Workload


def grow(workload: Workload, items: Sequence[Any], call: Callable[[Any], Future[Any]]) -> list[Any]:
    """Submit the items, and whatever their results bring, until nothing is left. ``call`` submits one."""
    # Callbacks into a queue: `wait` would look at every pending future for every result.
    assert workload.reduce is not None
    finished: queue.SimpleQueue[tuple[int, Future[Any]]] = queue.SimpleQueue()
    values: list[list[Any]] = [[] for _ in items]
    pending = 0

    def submit(root: int, item: Any) -> None:
        nonlocal pending
        pending += 1
        call(item).add_done_callback(lambda done: finished.put((root, done)))

    for root, item in enumerate(items):
        submit(root, item)
    while pending:
        root, done = finished.get()
        pending -= 1
        value, further = done.result()
        values[root].append(value)
        for child in further:
            submit(root, child)
    return [functools.reduce(workload.reduce, found) for found in values]
