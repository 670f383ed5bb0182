"""How much memory a slot may use, and a watch over what it does use, with all that its tasks have started.

A limit of the address space would be simpler, and would fail every program that reserves more than it touches, as
numerical libraries do. It must not know what happens to a slot that is over its limit.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from lbnet import limits
from lbnet.errors import UsageError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SIZE = re.compile(r"\s*(\d{1,15}(?:\.\d{1,15})?)\s*(?:([KMGT])(I)?)?B?\s*", re.ASCII)
_BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def limit_of(text: str, slots: int, root: Path = Path("/")) -> int:
    """The bytes that each of ``slots`` slots may use; 0 for no limit.

    Args:
        text: ``""`` or ``"0"`` for no limit, a size such as ``"2GB"``, ``"512MiB"`` or ``"1.5G"``, or ``"auto"``: an
            equal share of the memory of this machine, or of its cgroup if that has less.
        slots: of the worker, at least 1.
        root: where ``proc`` and ``sys`` are; for tests.

    Raises:
        UsageError: the text is none of these.
    """
    if text == "":
        return 0
    if text == "auto":
        size = memory_available(root) // slots
    else:
        match = _SIZE.fullmatch(text.upper()) if isinstance(text, str) else None
        if match is None:
            raise UsageError(f'a memory limit is a size such as 2GB or 512MiB, or "auto"; it is {text!r}')
        size = int(float(match[1]) * (_BINARY[match[2]] if match[3] else _UNITS[match[2] or ""]))
    if 0 < size < limits.MEMORY_LIMIT_MIN_BYTES:
        raise UsageError(
            f"a slot needs {limits.MEMORY_LIMIT_MIN_BYTES / 1e6:g} MB to run anything; "
            f"the memory limit {text!r} allows {size / 1e6:.3g} MB"
        )
    return size


def memory_available(root: Path = Path("/")) -> int:
    """Bytes of memory of this machine, or of this process's cgroup if that may use less."""
    return min([psutil.virtual_memory().total, *_cgroup_limits(root)])


def _cgroup_limits(root: Path) -> Iterator[int]:
    """The limits of this process's cgroup and all that are above it."""
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            number, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if number == "0" and not controllers:
                mount, name = root / "sys/fs/cgroup", "memory.max"
            elif "memory" in controllers.split(","):
                mount, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
            else:
                continue
            folder = mount / path.strip("/")
            for place in (folder, *folder.parents):
                if place.is_relative_to(mount):
                    with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
                        yield int((place / name).read_text())


class MemoryWatch:
    """Looks at the memory of process groups, again and again, in a thread.

    Resident memory counts, summed over the group. It is quickly read, and counts what forks share once for each: so
    where the sum is over the limit, the proportional share decides, if the system tells it.

    Args:
        limit_bytes: of each group.
        groups: the ids of the process groups now.
        on_over: called in the thread, with the group that is over its limit and the bytes that it uses.
    """

    def __init__(self, limit_bytes: int, groups: Callable[[], list[int]], on_over: Callable[[int, int], None]) -> None:
        self._limit_bytes = limit_bytes
        self._groups = groups
        self._on_over = on_over
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="lbnet-memory", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> list[tuple[int, int]]:
        """The groups that are over the limit now, and the bytes that each uses."""
        over = []
        for group, members in _members(self._groups()).items():
            used = sum(map(_resident, members))
            if used > self._limit_bytes and len(members) > 1:
                used = sum(map(_share, members))
            if used > self._limit_bytes:
                over.append((group, used))
        return over

    def _watch(self) -> None:
        while not self._stopped.wait(limits.MEMORY_LOOK_S):
            for group, used in self.look():
                self._on_over(group, used)


def _members(groups: list[int]) -> dict[int, list[int]]:
    """The processes of each group."""
    members: dict[int, list[int]] = {group: [] for group in groups}
    for pid in psutil.pids():
        with contextlib.suppress(OSError):  # it has just ended
            group = os.getpgid(pid)
            if group in members:
                members[group].append(pid)
    return members


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _share(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_full_info().pss)
    except (psutil.Error, AttributeError):
        return _resident(pid)
