"""What the harness asks of a peer, and what adapters share. It must not know any peer, nor any workload.

An adapter is written as a user of that library would write it. The rule that keeps the comparison fair: an
adapter sees the *kind* of a workload (independent items, items that make items, ...), never its name, and has no
setting that is chosen by workload. Another setting is another adapter, with a row of its own.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from bench.workload import Workload

READY_LIMIT_S = 50.0
"""For all slots to have answered: less than a seat waits for the whole start."""


class Adapter(Protocol):
    """One peer with one setting. A dataclass: it is pickled, before its start, to the process it will live in."""

    @property
    def name(self) -> str:
        """The peer."""

    @property
    def setting(self) -> str:
        """What was chosen by hand, or empty for how it comes."""

    @property
    def slots(self) -> int:
        """Processes that compute: p."""

    def unavailable(self) -> str:
        """Why it cannot be used in this process, or empty."""

    def refuses(self, workload: Workload) -> str:
        """Why this kind of workload cannot be asked of it, or empty."""

    def start(self) -> None:
        """Start everything; every slot has run a task when this returns. Not timed with the work."""

    def run(self, workload: Workload, items: Sequence[Any]) -> Sequence[Any]:
        """The results, complete and in the order of the items. This is what is timed."""

    def call(self, fn: Callable[[Any], Any], item: Any) -> Any:
        """One call and its result, for workloads of single calls."""

    def facts(self) -> Mapping[str, float]:
        """What the peer itself says about its last run; asked for after the clock was stopped."""

    def stop(self) -> None:
        """End all that was started, also after a start that failed midway."""


def missing(module: str, needs: str) -> str:
    """Why ``module`` cannot be imported, with what to do about it; empty if it can."""
    try:
        importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 - a broken installation raises whatever it likes
        return f"cannot import {module} ({type(error).__name__}: {error}); {needs}"
    return ""


def ready(nap_s: float) -> int:
    """What a slot runs before anything is timed: it has imported what tasks are made of. Returns its process id."""
    # The tasks of the warm-up are too few for that where they travel in batches.
    importlib.import_module("bench.catalog")
    time.sleep(nap_s)
    return os.getpid()


def until_ready(slots: int, ask: Callable[[int], Iterable[int]], limit_s: float = READY_LIMIT_S) -> None:
    """Have :func:`ready` run until as many processes as there are slots have answered.

    Args:
        slots: how many.
        ask: runs it that many times at once, and returns what came back.
        limit_s: how long that may take.

    Raises:
        TimeoutError: some do not answer.
    """
    end = time.monotonic() + limit_s
    answered: set[int] = set()
    while len(answered) < slots:
        if time.monotonic() > end:
            raise TimeoutError(f"{len(answered)} of {slots} processes have answered within {limit_s:g} s")
        answered.update(ask(slots))
