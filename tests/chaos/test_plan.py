"""A plan follows from its seed, keeps to what it was given, and hits nobody twice at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.chaos import plan
from bench.chaos.faults import HITS, FaultKind, Victim
from bench.chaos.jobs import JobKind

SETTING = plan.Setting(
    seed=1, seconds=60.0, workers=4, clients=2, victims=tuple(Victim), kinds=tuple(FaultKind), deadline_s=3.0
)
SEEDS = range(40)


def plans(**changes: object) -> list[plan.Plan]:
    return [plan.draw(replace(SETTING, seed=seed, **changes)) for seed in SEEDS]  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_plan_and_another_one_another() -> None:
    assert plans() == plans()
    assert len({each.faults for each in plans()}) == len(SEEDS)


def test_everything_is_drawn_by_some_seed() -> None:
    drawn = plans()
    assert {pair for each in drawn for pair in each.swarm} == {
        (kind, victim) for kind, victims in HITS.items() for victim in victims
    }
    assert {(fault.kind, fault.victim) for each in drawn for fault in each.faults} == {
        pair for each in drawn for pair in each.swarm
    }
    assert {kind for each in drawn for kind in each.jobs} == set(JobKind)
    assert any(each.bursts for each in drawn)
    assert not all(each.bursts for each in drawn)


def test_each_run_leaves_some_kinds_out_but_never_all() -> None:
    assert all(each.swarm and each.jobs for each in plans())
    assert any(len(each.jobs) < len(JobKind) for each in plans())


def test_only_victims_are_hit_and_only_by_what_is_possible() -> None:
    for each in plans(victims=(Victim.WORKER,), kinds=(FaultKind.KILL, FaultKind.JOIN, FaultKind.DISK)):
        assert {fault.victim for fault in each.faults} == {Victim.WORKER}
        assert {fault.kind for fault in each.faults} <= {FaultKind.KILL, FaultKind.JOIN}


def test_nothing_possible_is_a_plan_without_faults() -> None:
    (first, *_) = plans(victims=(Victim.SLOT,), kinds=(FaultKind.CUT,))
    assert first.faults == ()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_faults_come_in_time_and_to_one_victim_one_after_the_other(seed: int) -> None:
    drawn = plan.draw(replace(SETTING, seed=seed))
    times = [fault.at_s for fault in drawn.faults]
    assert times == sorted(times)
    assert plan.WARM_UP_S <= times[0] <= times[-1] < SETTING.seconds
    until: dict[tuple[Victim, int], float] = {}
    for fault in drawn.faults:
        assert fault.at_s >= until.get((fault.victim, fault.index), 0.0)
        until[fault.victim, fault.index] = fault.at_s + fault.for_s


def test_a_short_stop_is_shorter_than_the_deadline_and_a_long_one_longer() -> None:
    faults = [fault for each in plans() for fault in each.faults]
    assert all(fault.for_s < SETTING.deadline_s for fault in faults if fault.kind is FaultKind.STOP)
    assert all(fault.for_s > SETTING.deadline_s for fault in faults if fault.kind is FaultKind.STOP_LONG)


def test_guests_join_and_nobody_else() -> None:
    for fault in (fault for each in plans() for fault in each.faults):
        if fault.kind is FaultKind.JOIN:
            assert SETTING.workers <= fault.index < SETTING.workers + plan.GUESTS
        elif fault.victim in {Victim.WORKER, Victim.SLOT}:
            assert fault.index < SETTING.workers
