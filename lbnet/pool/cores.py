"""How many cores this process may use, and what its slots must know of that. It starts nothing."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "NUMBA_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",
)
"""Read by numerical libraries when they are loaded: each would start a thread for every core of the machine."""


def cores_available(root: Path = Path("/")) -> int:
    """Cores that this process may use, at least 1: its CPU affinity and its cgroup's CPU quota both count.

    A quota of two and a half cores counts as three: what is over is given back as idle time.

    Args:
        root: where ``proc`` and ``sys`` are; for tests.
    """
    return max(1, min([_cores_by_affinity(), *(math.ceil(quota) for quota in _quotas(root))]))


def _cores_by_affinity() -> int:
    if hasattr(os, "process_cpu_count"):
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # pragma: no cover - not on Linux


def _quotas(root: Path) -> Iterator[float]:
    """The CPU quotas, in cores, of this process's cgroup and all that are above it."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            for folder in _upwards(root / "sys/fs/cgroup", path):
                quota, _, period = _text(folder / "cpu.max").partition(" ")
                yield from _ratio(quota, period)
        elif "cpu" in controllers.split(","):
            for name in (controllers, "cpu"):
                for folder in _upwards(root / "sys/fs/cgroup" / name, path):
                    yield from _ratio(_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us"))


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    folder = mount / path.strip("/")
    yield folder
    for parent in folder.parents:
        if not parent.is_relative_to(mount):
            return
        yield parent


def _ratio(quota: str, period: str) -> Iterator[float]:
    """Nothing when there is no limit (``max``, -1) or no such file."""
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return
    if cores > 0:
        yield cores


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def thread_variables(slots: int, environment: dict[str, str]) -> dict[str, str]:
    """What to add to the environment of each of ``slots`` slots, so that together they have a thread for each core.

    What the user has set stays.
    """
    threads = str(max(1, cores_available() // max(slots, 1)))
    return {name: threads for name in THREAD_VARIABLES if name not in environment}
