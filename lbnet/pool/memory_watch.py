"""A watch over the memory that slots use, with all that their tasks have started.

A limit of the address space would be simpler, and would fail every program that reserves more than it touches, as
numerical libraries do. It must not know what happens to a slot that is over its limit.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable

import psutil

from lbnet import limits


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
