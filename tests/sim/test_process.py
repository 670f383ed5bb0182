"""Processes that share cores: who waits for whom."""

from __future__ import annotations

import pytest

from lbnet.sim.engine import Engine
from lbnet.sim.process import Cores, Item, Process


class Handling(Process):
    """Notes when it has handled what."""

    def __init__(self, engine: Engine, cores: Cores | None) -> None:
        super().__init__(engine, event_s=0.0, message_s=0.0, byte_s=0.0, jitter=0.0, draw=lambda: 0.0, cores=cores)
        self.handled: list[tuple[str, float]] = []

    def take(self, item: Item) -> float:
        """Handled now."""
        self.handled.append((item.event, self.engine.now))
        return self.engine.now


def test_a_process_keeps_its_core_until_it_has_nothing_to_do() -> None:
    engine = Engine()
    cores = Cores(engine, 1)
    one, other = Handling(engine, cores), Handling(engine, cores)
    one.post(Item(1.0, "a"))
    other.post(Item(1.0, "x"))
    one.post(Item(1.0, "b"))
    engine.run()
    assert one.handled == [("a", 1.0), ("b", 2.0)]
    assert other.handled == [("x", 3.0)]


def test_as_many_processes_work_at_once_as_there_are_cores() -> None:
    engine = Engine()
    cores = Cores(engine, 2)
    processes = [Handling(engine, cores) for _ in range(3)]
    for process in processes:
        process.post(Item(1.0, "a"))
    engine.run()
    assert [process.handled for process in processes] == [[("a", 1.0)], [("a", 1.0)], [("a", 2.0)]]


def test_a_process_without_shared_cores_waits_for_nobody() -> None:
    engine = Engine()
    processes = [Handling(engine, None) for _ in range(3)]
    for process in processes:
        process.post(Item(1.0, "a"))
        process.post(Item(0.5, "b"))
    engine.run()
    assert {tuple(process.handled) for process in processes} == {(("a", 1.0), ("b", 1.5))}


@pytest.mark.parametrize(("first", "order"), [(False, ["waits", "follows"]), (True, ["follows", "waits"])])
def test_what_is_wanted_first_has_the_core_next(first: bool, order: list[str]) -> None:
    engine = Engine()
    cores = Cores(engine, 1)
    had: list[str] = []
    cores.spend(1.0, lambda: cores.spend(1.0, lambda: had.append("follows"), first=first))
    cores.spend(1.0, lambda: had.append("waits"))
    engine.run()
    assert had == order
    assert engine.now == 3.0
