"""What a task may call while it runs: make more work, and ask whether anybody wants some.

It must not know how tasks run or travel: a slot process installs the two things it needs, a flag in
shared memory and a function that takes spawned calls. It imports nothing but the error tree, so that
user modules stay cheap to import.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

from lbnet.errors import UsageError

UNIT_BUDGET_S = 0.001
"""How long a work unit runs before :func:`run_unit` looks whether somebody is hungry."""

_Spawn = Callable[[Callable[..., Any], tuple[Any, ...]], None]


def _no_spawn(_fn: Callable[..., Any], _args: tuple[Any, ...]) -> None:
    raise UsageError(
        "spawn() works only inside a task, while it runs; outside of one, submit the work with map() or submit()"
    )


_flag: memoryview = memoryview(b"\0")
_spawn: _Spawn = _no_spawn


def install_context(flag: memoryview, spawn: _Spawn) -> None:
    """Connect this module to the slot process it lives in. For :mod:`lbnet.pool.child` only.

    Args:
        flag: one word of shared memory, not 0 while somebody would take work.
        spawn: takes the function and the arguments of a spawned call.
    """
    global _flag, _spawn
    _flag, _spawn = flag, spawn


def remove_context() -> None:
    """Disconnect from the slot process: what a task forks is no slot."""
    install_context(memoryview(b"\0"), _no_spawn)


def spawn(fn: Callable[..., Any], *args: Any) -> None:
    """Add the task ``fn(*args)`` to the job of the running task, and return at once.

    ``args`` are pickled (or copied) here and now; ``fn`` is pickled once and remembered, so variables
    that it captured count as they were when it was first spawned. A spawned task must return None, unless the
    job has a ``reduce=``: then what it returns is combined into the value of the item it descends
    from, and None adds nothing. When the running task fails, what it spawned is dropped.

    Raises:
        UsageError: called outside of a task.
        FunctionSerializeError: ``fn`` cannot be pickled.
        ItemSerializeError: an argument cannot be pickled.
        SpawnLimitError: this task has spawned more than a message can name.

    Example::

        def walk(folder: str) -> int:
            files = 0
            for entry in os.scandir(folder):
                if entry.is_dir(follow_symlinks=False):
                    lbnet.spawn(walk, entry.path)
                else:
                    files += 1
            return files
        # cluster.map(walk, ["/data"], reduce=operator.add)
    """
    _spawn(fn, args)


def hungry() -> bool:
    """Whether anyone would take work now: one read of shared memory, well under a microsecond.

    False outside of a task.

    Example::

        if lbnet.hungry() and len(stack) > 1:
            half = len(stack) // 2
            lbnet.spawn(search, stack[:half])
            del stack[:half]
    """
    return _flag[0] != 0


class WorkUnit(ABC):
    """Work that can stop at any time and give a part of itself away: a tree search, a sum over a range.

    It is pickled when it travels, with all that it has not done yet. Pass it to the cluster as
    ``submit(run_unit, unit, reduce=...)``.

    Example::

        class Sum(WorkUnit):
            def __init__(self, lo: int, hi: int) -> None:
                self.lo, self.hi, self.total = lo, hi, 0

            def run(self, budget_s: float) -> bool:
                stop = min(self.hi, self.lo + 10_000)
                self.total += sum(range(self.lo, stop))
                self.lo = stop
                return self.lo == self.hi

            def split(self, fraction: float) -> "Sum | None":
                cut = self.hi - int((self.hi - self.lo) * fraction)
                if cut in (self.lo, self.hi):
                    return None
                part, self.hi = Sum(cut, self.hi), cut
                return part

            def result(self) -> int:
                return self.total
    """

    @abstractmethod
    def run(self, budget_s: float) -> bool:
        """Work for about ``budget_s`` seconds; True when nothing is left to do."""

    @abstractmethod
    def split(self, fraction: float) -> Self | None:
        """Give away about ``fraction`` (0 to 1) of what is left, as a unit without results, or None."""

    @abstractmethod
    def result(self) -> Any:
        """What this unit found by itself, without the parts it gave away. Called once, at the end."""


def run_unit(unit: WorkUnit) -> Any:
    """The task that runs ``unit`` to its end and gives half of what is left away whenever somebody is hungry.

    The parts come back through the job's ``reduce=``.

    Returns:
        ``unit.result()``.
    """
    while not unit.run(UNIT_BUDGET_S):
        if hungry():
            part = unit.split(0.5)
            if part is not None:
                spawn(run_unit, part)
    return unit.result()
