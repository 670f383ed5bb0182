"""What is measured: one workload, the same for every peer, with its sequential reference.

It must not know who runs it, nor how it is timed. Workloads are plain picklable data, so that they can be sent
to the process in which a peer lives; their functions are importable.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

REPR_CHARS_MAX = 80
"""Of a wrong value, in the sentence that reports it."""


class Kind(enum.Enum):
    """How the calls of a workload depend on each other."""

    LIST = "list"
    """``fn(item)`` for every item, independent of each other; results in the order of the items."""

    CALLS = "calls"
    """``fn(item)`` for one item after the other: the next call starts when the last result is there."""

    GROWS = "grows"
    """``fn(item)`` returns a value and further items; ``reduce`` combines the values of an item and all that
    came of it."""

    SPLITS = "splits"
    """``fn(item)`` gives a part of the item away whenever lbnet tells it that somebody is hungry; ``reduce``
    combines the values. Outside of lbnet it runs to its end where it was started."""


class Figure(enum.Enum):
    """The number by which a run of a workload is judged."""

    EFFICIENCY = "efficiency"
    """T_1 / (p * T_p), with the T_1 of the sequential program in the same run."""

    RATE = "tasks/s"
    BANDWIDTH = "MB/s"
    """Bytes in plus bytes out, in 10^6."""

    LATENCY = "ms"
    """Of one call: the median. The only one of which less is better."""

    @property
    def less_is_better(self) -> bool:
        """Whether a smaller number is the better one."""
        return self is Figure.LATENCY


@dataclass(frozen=True, slots=True)
class Workload:
    """A function, its items, and what must come out.

    Args:
        name: what tables call it.
        fn: the function of one item; see :class:`Kind` for what it returns.
        make: the items for a count, the same ones at every call.
        count: number of items.
        reduce: combines two values, for the kinds that need it.
        plain: the whole work as the best sequential program that needs no library, from the items to the
            list of results; without it a loop over ``fn``.
        expected: the results, where they are known from elsewhere; else those of the sequential program.
        work_s: CPU seconds of the work where they are known by construction, else 0.
        figure: the number by which it is judged.
        sizable: ``count`` is a maximum: a slow peer gets fewer items, by one rule for all, because only the
            rate counts.
        item_bytes: bytes in and out of one task, for :attr:`Figure.BANDWIDTH`.
    """

    name: str
    fn: Callable[[Any], Any]
    make: Callable[[int], Sequence[Any]]
    count: int
    kind: Kind = Kind.LIST
    reduce: Callable[[Any, Any], Any] | None = None
    plain: Callable[[Sequence[Any]], list[Any]] | None = None
    expected: list[Any] | None = None
    work_s: float = 0.0
    figure: Figure = Figure.EFFICIENCY
    sizable: bool = False
    item_bytes: int = 0

    def __post_init__(self) -> None:
        combines = self.kind in (Kind.GROWS, Kind.SPLITS)
        assert combines == (self.reduce is not None), f"{self.name}: reduce= belongs to work that makes work"
        assert self.count > 0, f"{self.name}: no items"

    def items(self) -> Sequence[Any]:
        """The items, made anew."""
        return self.make(self.count)

    def resized(self, count: int) -> Workload:
        """The same with another number of items."""
        return replace(self, count=count)

    def sequentially(self, items: Sequence[Any]) -> list[Any]:
        """The results of a program that uses one core and no library."""
        if self.plain is not None:
            return self.plain(items)
        if self.kind is Kind.GROWS:
            return [grow(self, item) for item in items]
        return [self.fn(item) for item in items]


def grow(workload: Workload, item: Any) -> Any:
    """One item and all that comes of it, depth first: the combined value."""
    assert workload.reduce is not None
    values: list[Any] = []
    stack = [item]
    while stack:
        value, further = workload.fn(stack.pop())
        values.append(value)
        stack.extend(further)
    return functools.reduce(workload.reduce, values)


def difference(found: Sequence[Any], expected: Sequence[Any]) -> str:
    """What is wrong with the results, as one sentence; empty if they are what they must be."""
    if found == expected:
        return ""
    if len(found) != len(expected):
        return f"{len(found):,} results instead of {len(expected):,}"
    for index, (one, other) in enumerate(zip(found, expected, strict=True)):
        if one != other:
            return f"result {index} is {_short(one)} instead of {_short(other)}"
    return f"the results are a {type(found).__name__} instead of a {type(expected).__name__}"


def batches(items: Iterable[Any], size: int) -> list[list[Any]]:
    """The items in lists of ``size``: what a user writes whose library has no chunks."""
    everything = list(items)
    return [everything[start : start + size] for start in range(0, len(everything), size)]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= REPR_CHARS_MAX else text[: REPR_CHARS_MAX - 3] + "..."
