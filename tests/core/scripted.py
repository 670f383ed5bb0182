"""Strategies that say what a test tells them to say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lbnet.strategies import registry
from lbnet.strategies.base import ControllerStrategy, Strategy, WorkerStrategy


class Script:
    """Half of a strategy, at the controller or at a worker. It says ``next``, once; and nothing by itself.

    What ``next`` holds may be anything; if it can be called, then what that returns is said. ``saw`` is the view that
    it got last, and ``calls`` how often it was asked.
    """

    def __init__(self) -> None:
        self.next: Any = ()
        self.saw: Any = None
        self.calls = 0

    def balance(self, view: Any) -> Any:
        """Say it."""
        self.saw = view
        self.calls += 1
        said, self.next = self.next, ()
        return said() if callable(said) else said


class ScriptedController(Script, ControllerStrategy):
    """The controller's half. ``aim`` is its answer to a worker that wants a target, ``granted`` to a grant.

    Either is a function, or None to do as all strategies do.
    """

    def __init__(self) -> None:
        super().__init__()
        self.aim: Callable[..., Any] | None = None
        self.granted: Callable[[int], Any] | None = None

    def target(self, view: Any, asker: Any) -> Any:
        """Whom to ask."""
        return super().target(view, asker) if self.aim is None else self.aim(view, asker)

    def grant(self, tasks: int) -> Any:
        """How many tasks."""
        return super().grant(tasks) if self.granted is None else self.granted(tasks)


class ScriptedWorker(Script, WorkerStrategy):
    """The worker's half."""


def strategy_of(
    controller: ControllerStrategy | None = None,
    worker: WorkerStrategy | None = None,
    *,
    name: str = "sb",
    **flags: bool,
) -> Strategy:
    """A strategy with these halves, which are the same at every call; ``flags`` are its class attributes."""
    halves = {
        "controller": lambda self: controller or ControllerStrategy(),  # noqa: ARG005
        "worker": lambda self: worker or WorkerStrategy(),  # noqa: ARG005
    }
    made: Strategy = type("Scripted", (Strategy,), {"name": name, **flags, **halves})()
    return made


def load_of(*given: Strategy) -> Callable[[str], Strategy]:
    """Finds these strategies by their names, before those that there are."""
    return registry.loader({strategy.name: strategy for strategy in given})
