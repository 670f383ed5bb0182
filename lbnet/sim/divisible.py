"""Work of a known size that splits: many equal pieces in one task, as :class:`lbnet.workloads.synthetic.SyntheticUnit`.

It must not know why it is run or split.
"""

from __future__ import annotations

import random
from copy import copy
from typing import Final, Self

from lbnet.errors import UsageError
from lbnet.sim.work import Unit, Workload

NS: Final = 1_000_000_000
"""Nanoseconds in a second: time is counted in whole ones here, so that it adds up exactly."""

ITEM_BYTES: Final = 125
"""Pickled size of a :class:`lbnet.workloads.synthetic.SyntheticUnit`."""


class DivisibleUnit(Unit):
    """Some pieces of equal length, done one after another. A piece under way stays here when the others are split.

    Args:
        pieces: how many.
        piece_ns: nanoseconds that each takes, 1 or more.
        seed: of the draws at splits.
    """

    def __init__(self, pieces: int, piece_ns: int, seed: int) -> None:
        assert pieces >= 0
        assert piece_ns > 0
        self._left = pieces
        self._piece_ns = piece_ns
        self._seed = seed
        self._spent_ns = 0
        self._finished = 0

    @property
    def done(self) -> bool:
        """Whether no piece is left."""
        return not self._left

    def run(self, seconds: float) -> float:
        """Compute for ``seconds``, rounded to nanoseconds, one at least; the piece under way goes on with the next run.

        ``run(left_s())`` leaves nothing, however many pieces there are.
        """
        left_ns = self._left * self._piece_ns - self._spent_ns
        taken_ns = left_ns if seconds >= self.left_s() else min(max(round(seconds * NS), 1), left_ns)
        finished, self._spent_ns = divmod(self._spent_ns + taken_ns, self._piece_ns)
        self._left -= finished
        self._finished += finished
        return taken_ns / NS

    def left_s(self) -> float:
        """The seconds that are left."""
        return (self._left * self._piece_ns - self._spent_ns) / NS

    def split(self) -> Self | None:
        """Give away 0.5 to 1.5 times half of the pieces left, or None; each side has at least one."""
        if self._left < 2:
            return None
        # Both sides go on with a new seed, as those of the real unit: a copy is a few numbers.
        draw = random.Random(self._seed).random  # noqa: S311 - a workload, not a secret
        given = min(max(round(self._left * 0.5 * (0.5 + draw())), 1), self._left - 1)
        self._left -= given
        self._seed, part_seed = int(draw() * 2**53), int(draw() * 2**53)
        return type(self)(given, self._piece_ns, part_seed)

    def result(self) -> int:
        """The pieces it has finished."""
        return self._finished

    def copy(self) -> Self:
        """The same pieces, which split alike."""
        return copy(self)


class Divisible(Workload):
    """All pieces in one item.

    Args:
        name: for reports.
        pieces: how many, 1 or more.
        piece_s: seconds that each takes, rounded to nanoseconds.
        seed: of the draws at splits.

    Raises:
        UsageError: a piece is shorter than a nanosecond.
    """

    items = 1
    item_bytes = ITEM_BYTES
    reduce = True

    def __init__(self, name: str, pieces: int, piece_s: float, seed: int) -> None:
        self.name = name
        self._pieces = pieces
        self._piece_ns = round(piece_s * NS)
        self._seed = seed
        if not self._piece_ns:
            raise UsageError(f"a piece of {piece_s} seconds is too short to be counted; take a nanosecond or more")

    def task(self, index: int) -> DivisibleUnit:
        """All pieces; ``index`` is 0."""
        assert index == 0
        return DivisibleUnit(self._pieces, self._piece_ns, self._seed)

    def expected(self) -> int:
        """How many pieces there are."""
        return self._pieces
