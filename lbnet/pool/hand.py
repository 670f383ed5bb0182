"""The group of tasks that a slot holds in its hand: it runs them in order, another thread may drop the rest.

The loop over the tasks must cost nothing more than a loop over a list, so there is no check per
task: a list iterator compares its position with the list's length at every step, and ends early
when the list was shortened. It must not know what tasks are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast


class Hand:
    """The entries of the tasks from ``lo`` on. One thread iterates over ``tasks``, once."""

    __slots__ = ("_entries", "lo", "tasks")

    def __init__(self, lo: int, entries: list[Any]) -> None:
        self.lo = lo
        self._entries = entries
        self.tasks: Iterator[Any] = iter(entries)

    def __len__(self) -> int:
        return len(self._entries)

    def drop_rest(self) -> int | None:
        """Drop the tasks that were not started; the index after the last that was or will be.

        The first task is never dropped: who made the hand counts on one at least. None when there is
        nothing to drop, or the loop ended meanwhile.
        """
        started = self._started()
        if started is None or max(started, 1) >= len(self._entries):
            return None
        del self._entries[max(started, 1) :]
        # The loop may have taken one more in between; now it can take none.
        started = self._started()
        return None if started is None else self.lo + max(started, 1)

    def _started(self) -> int | None:
        """How many tasks the loop has taken; None when it is over. ``__reduce__`` of an iterator tells its position."""
        state = cast("tuple[Any, ...]", self.tasks.__reduce__())
        return state[2] if len(state) == 3 else None
