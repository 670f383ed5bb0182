"""Strategies by name: the built-in ones, those that other packages offer as entry points, and those that were given."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from lbnet.errors import UsageError
from lbnet.strategies.arr import AsynchronousRoundRobin
from lbnet.strategies.base import Strategy
from lbnet.strategies.grr import GlobalRoundRobin
from lbnet.strategies.lifeline import Lifeline
from lbnet.strategies.pmap import ParallelMap
from lbnet.strategies.rp import RandomPolling
from lbnet.strategies.sb import SchedulerBased
from lbnet.strategies.shared import SharedIdleList

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

GROUP = "lbnet.strategies"
DEFAULT = SchedulerBased.name

_BUILT_IN: dict[str, Callable[[], Strategy]] = {
    kind.name: kind
    for kind in (
        SchedulerBased,
        RandomPolling,
        AsynchronousRoundRobin,
        GlobalRoundRobin,
        SharedIdleList,
        Lifeline,
        ParallelMap,
    )
}
BUILT_IN = tuple(_BUILT_IN)
"""The names of our own, the default first."""


def names() -> list[str]:
    """All strategies that :func:`load` knows."""
    return sorted({*_BUILT_IN, *(entry.name for entry in _offered())})


def load(name: str, also: Iterable[str] = ()) -> Strategy:
    """A strategy by its name.

    Args:
        name: of the strategy.
        also: further names that the asker knows, for the sentence that says what there is.

    Raises:
        UsageError: there is none of that name, or its package cannot be imported.
    """
    if name in _BUILT_IN:
        return _BUILT_IN[name]()
    for entry in _offered(name=name):
        return _made(entry.load, name, entry.value)
    raise UsageError(f"there is no strategy {name!r}; there are: {', '.join(sorted({*names(), *also}))}")


def find(text: str) -> Strategy:
    """A strategy by its name, or by ``module:Class`` where somebody may say what is imported into this process.

    Raises:
        UsageError: there is none of that name, or it cannot be imported.
    """
    module, colon, name = text.partition(":")
    if not colon:
        try:
            return load(text)
        except UsageError as error:
            raise UsageError(f"{error}; or your own as module:Class") from error
    return _made(lambda: getattr(importlib.import_module(module), name), text, text)


def checked(strategy: object) -> Strategy:
    """A strategy that was given as an object or as its class.

    Raises:
        UsageError: it is none, or cannot be made without arguments, or has no name.
    """
    given = strategy
    if isinstance(strategy, type):
        try:
            strategy = strategy()
        except Exception as error:
            raise UsageError(f"the strategy {given!r} cannot be made without arguments: {error!r}") from error
    if not isinstance(strategy, Strategy):
        raise UsageError(f"a strategy is an object or a subclass of lbnet.Strategy, not {given!r}")
    if not isinstance(strategy.name, str) or not strategy.name:
        raise UsageError(f'the strategy {given!r} has no name: give its class one, name = "..."')
    return strategy


def loader(given: Mapping[str, Strategy], *, imports: bool = False) -> Callable[[str], Strategy]:
    """What :func:`load` does, for a process that was given some strategies beside those that it can find.

    Args:
        given: they come first.
        imports: whether ``module:Class`` is imported, too: only where nobody unknown says the name.
    """

    def find_or_load(name: str) -> Strategy:
        if name in given:
            return given[name]
        return find(name) if imports else load(name, also=given)

    return find_or_load


def _offered(name: str | None = None) -> EntryPoints:
    from importlib import metadata  # it loads much, and few ask for what others offer

    return metadata.entry_points(group=GROUP) if name is None else metadata.entry_points(group=GROUP, name=name)


def _made(get: Callable[[], object], name: str, value: str) -> Strategy:
    try:
        found = get()
    except Exception as error:  # whatever somebody else's module raises
        raise UsageError(f"strategy {name!r} ({value}) cannot be imported: {error!r}") from error
    try:
        return checked(found)
    except UsageError as error:
        raise UsageError(f"strategy {name!r} ({value}) cannot be used: {error}") from error
