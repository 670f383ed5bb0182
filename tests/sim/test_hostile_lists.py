"""Durations that change abruptly, and giants that hide in one batch: in virtual time, so that ratios are exact."""

from __future__ import annotations

import pytest

from lbnet.sim.api import simulate
from lbnet.sim.flat import Flat
from lbnet.sim.result import SimulationResult

SHORT_S, LONG_S, GIANT_S = 1e-6, 0.01, 10.0
STRATEGIES = ("sb", "rp", "arr", "grr", "shared", "lifeline")
"""``pmap`` has no batches."""


def run(durations: list[float], strategy: str, workers: int) -> SimulationResult:
    result = simulate(Flat("hostile", durations), workers=workers, strategy=strategy, seed=1)
    assert result.total == result.expected == len(durations)
    assert result.report.balanced
    return result


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    "durations",
    [
        [SHORT_S] * 50_000 + [LONG_S] * 200,
        [LONG_S] * 200 + [SHORT_S] * 50_000,
        ([SHORT_S] * 25_000 + [LONG_S] * 100) * 2,
    ],
    ids=["short-then-long", "long-then-short", "twice"],
)
def test_durations_that_change_midway_cost_a_tenth_at_most(durations: list[float], strategy: str) -> None:
    result = run(durations, strategy, workers=4)
    assert sum(durations) / 4 > 0.9 * result.report.makespan_s


def giants(count: int, *places: int) -> list[float]:
    durations = [SHORT_S] * count
    for place in places:
        durations[place] = GIANT_S
    return durations


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("place", [0, 10_000, -500, -1])
def test_one_giant_costs_its_own_time(place: int, strategy: str) -> None:
    assert run(giants(20_000, place), strategy, workers=2).report.makespan_s < 1.1 * GIANT_S


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_giant_does_not_wait_for_another_in_its_batch(strategy: str) -> None:
    assert run(giants(2_000, 1_000, 1_003), strategy, workers=2).report.makespan_s < 1.5 * GIANT_S
