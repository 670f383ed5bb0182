"""Draws from a seed. The same parts give the same draws on every machine and version of Python."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """A stream of draws.

    Args:
        parts: what the stream belongs to: a seed, and names and numbers. Other parts give other draws.
    """

    def __init__(self, *parts: int | str) -> None:
        text = "/".join(map(str, parts)).encode()
        self._draw = random.Random(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")).random

    def chance(self, probability: float) -> bool:
        """True that often."""
        return self._draw() < probability

    def between(self, low: float, high: float) -> float:
        """A number in ``[low, high)``, evenly."""
        return low + (high - low) * self._draw()

    def whole(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``, both included."""
        return low + int((high - low + 1) * self._draw())

    def wait_s(self, mean_s: float) -> float:
        """Seconds to the next of events that come at random, ``mean_s`` apart on average."""
        return -mean_s * math.log(1.0 - self._draw())

    def pick(self, choices: Sequence[T]) -> T:
        """One of them."""
        return choices[int(len(choices) * self._draw())]

    def some(self, choices: Sequence[T], probability: float) -> tuple[T, ...]:
        """Each with this probability, but at least one."""
        assert choices, "nothing to choose from"
        always = self.pick(choices)
        drawn = [(each, self.chance(probability)) for each in choices]
        return tuple(each for each, taken in drawn if taken or each == always)
