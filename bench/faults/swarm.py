"""A plan for each seed: which kinds of faults there are, and how many; what work; how many workers; which strategy.

Not all kinds are in every run: a fault that is always there hides what only happens without it.
"""

from __future__ import annotations

import random
from dataclasses import replace

from bench.faults.nonsense import Nonsense
from bench.faults.plan import Plan
from lbnet.strategies import registry

MODES = ("faithful", "harsh")

_ALWAYS = 0.5
"""The share of runs in which a kind of fault may happen."""


def plan_of(seed: int, mode: str, strategy: str = "") -> Plan:
    """The plan of a seed.

    Args:
        seed: decides everything.
        mode: ``faithful``: links keep order, and lose nothing but by breaking; or ``harsh``.
        strategy: instead of one that the seed chooses.
    """
    rng = random.Random(f"plan {seed} {mode}")

    def some(most: int) -> int:
        return rng.randint(1, most) if rng.random() < _ALWAYS else 0

    def chance(share: float = _ALWAYS) -> bool:
        return rng.random() < share

    splits = chance()
    journal = chance(0.7)
    names = [*registry.BUILT_IN, Nonsense.name]
    chosen = strategy or rng.choice(names)
    # One that chatters without end would be given up for slow, as this world delivers a message at a time.
    deadline_s = rng.choice([0.0, 0.3, 1.0]) * (chosen != Nonsense.name)
    plan = Plan(
        placement=rng.choice(["first", "spread"]),
        reduce=chance(),
        splits=splits,
        items=rng.randint(2, 6) if splits else rng.randint(5, 30),
        units=rng.randint(6, 24) if splits else rng.randint(1, 3),
        unit_s=rng.choice([1e-4, 1e-3, 1e-2]),
        workers=rng.randint(1, 5),
        slots=rng.choice([1, 1, 2]),
        joins=some(3),
        worker_crashes=some(3),
        slot_crashes=some(4),
        link_cuts=some(5),
        failures=some(2),
        refused=rng.choice([0.0, 0.0, 0.2, 1.0]),
        cancels=chance(0.1),
        withdrawals=some(6) if chance(0.4) else 0,
        controller_crashes=some(3) if journal else 0,
        uplink_cuts=some(4),
        leaves=some(3),
        grace_s=rng.choice([0.0, 0.05, 60.0]),
        journal=journal,
        strategy=chosen,
        heavy=chance(0.3),
        detached=chance(0.3),
        client_crashes=some(2) if mode == "faithful" else 0,
        mutes=some(3) if deadline_s else 0,
        full_disks=some(2) if journal else 0,
        slow_workers=some(2),
        deadline_s=deadline_s,
        harsh=mode == "harsh",
    )
    plan = replace(plan, aside=plan.journal and plan.detached and chance())
    return replace(plan, crowded=chance(0.3))
