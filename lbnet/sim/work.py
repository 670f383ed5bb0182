"""What tasks are made of in the model: plain seconds, or units that can be split and that make other tasks.

It must not know of slots, links or the core: a workload is asked what a task is, and a unit is run for a while.
All seconds are those of a worker of speed 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

from lbnet.types import JobOptions


class Unit(ABC):
    """A task that is more than a number of seconds. It is changed by running it; :meth:`copy` is what travels."""

    @property
    @abstractmethod
    def done(self) -> bool:
        """Whether nothing of it is left to run."""

    @abstractmethod
    def run(self, seconds: float) -> float:
        """Compute for about ``seconds``, at least one indivisible piece if any is left.

        Returns:
            The seconds that it really took: less if it is done, more if its last piece went over.
        """

    def left_s(self) -> float | None:
        """The seconds that are left, if that is known without running it; 0.0 once it is done.

        Where it is known, ``run(a)`` and ``run(b)`` leave the same as ``run(a + b)``, up to a piece, so that the unit
        need not be stepped: it is run when somebody asks for a part of it.
        """
        return None

    def split(self) -> Self | None:
        """Give away about half of what is left, or None: somebody is hungry."""
        return None

    def take_spawned(self) -> Sequence[Task]:
        """The tasks that it has made of its own accord since this was last asked, in order."""
        return ()

    def result(self) -> int:
        """What it counts for: summed over all tasks that ran, it tells whether something was lost or done twice."""
        return 1

    @abstractmethod
    def copy(self) -> Self:
        """The same, on its own: a task that is run again starts from what it was at first."""


Task = float | Unit
"""One task: seconds for a plain one (its result counts 1), or a unit."""


class Workload(ABC):
    """One job: its items in the order in which the client submits them, and what each of them is.

    Attributes:
        name: for reports, such as ``uts:T1``.
        items: how many tasks the client submits.
        item_bytes: pickled size of one item on its way.
        result_bytes: pickled size of one result.
        reduce: whether results are combined at the workers.
    """

    name: str
    items: int
    item_bytes: int = 16
    result_bytes: int = 8
    reduce: bool = False

    @abstractmethod
    def task(self, index: int) -> Task:
        """Item ``index``: always the same seconds, or a new unit in the same state."""

    def tasks(self, lo: int, hi: int) -> Sequence[Task]:
        """Items ``[lo, hi)``. An array of seconds says that none of them is a unit."""
        return [self.task(index) for index in range(lo, hi)]

    def expected(self) -> int | None:
        """The sum of all results if it is known, else None."""
        return None

    def options(self, strategy: str, placement: str) -> JobOptions:
        """The options of its job."""
        return JobOptions(name=self.name, placement=placement, strategy=strategy, reduce=b"sum" if self.reduce else b"")
