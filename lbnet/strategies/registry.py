"""Strategies by name: the built-in ones, and those that other packages offer as entry points."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata

from lbnet.errors import UsageError
from lbnet.strategies.base import Strategy
from lbnet.strategies.sb import SchedulerBased

GROUP = "lbnet.strategies"
DEFAULT = SchedulerBased.name

_BUILT_IN: dict[str, Callable[[], Strategy]] = {SchedulerBased.name: SchedulerBased}


def names() -> list[str]:
    """All strategies that :func:`load` knows."""
    return sorted({*_BUILT_IN, *(entry.name for entry in metadata.entry_points(group=GROUP))})


def load(name: str) -> Strategy:
    """A strategy by its name.

    Raises:
        UsageError: there is none of that name, or its package cannot be imported.
    """
    if name in _BUILT_IN:
        return _BUILT_IN[name]()
    for entry in metadata.entry_points(group=GROUP, name=name):
        try:
            strategy: Strategy = entry.load()()
        except Exception as error:  # whatever somebody else's module raises
            raise UsageError(f"strategy {name!r} ({entry.value}) cannot be imported: {error!r}") from error
        return strategy
    raise UsageError(f"there is no strategy {name!r}; there are: {', '.join(names())}")
