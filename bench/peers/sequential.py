"""No library at all: the loop that everything else is measured against."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.workload import Workload


@dataclass
class Sequential:
    """One core, one process."""

    name: str = "sequential"
    setting: str = ""
    slots: int = 1

    def unavailable(self) -> str:
        """Never."""
        return ""

    def refuses(self, workload: Workload) -> str:  # noqa: ARG002 - the protocol's signature
        """Nothing."""
        return ""

    def start(self) -> None:
        """There is nothing to start."""

    def run(self, workload: Workload, items: Sequence[Any]) -> Sequence[Any]:
        """The sequential program."""
        return workload.sequentially(items)

    def call(self, fn: Callable[[Any], Any], item: Any) -> Any:
        """The call."""
        return fn(item)

    def facts(self) -> Mapping[str, float]:
        """None."""
        return {}

    def stop(self) -> None:
        """There is nothing to stop."""
