"""From a seed to all that will be done to a cluster, and when. It must not know how it is done.

As in swarm testing, each run draws which kinds of faults and jobs there are at all: some bugs only show where most
kinds are absent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.chaos.dice import Dice
from bench.chaos.faults import HITS, Fault, FaultKind, Victim
from bench.chaos.jobs import JobKind
from lbnet.strategies import registry

WARM_UP_S = 1.0
"""The first fault comes after this at the earliest."""

MEANS_S = (0.3, 0.7, 1.5)
"""Seconds between faults, one of these on average."""

BURST = 0.15
"""So many faults hit all workers at once, in runs that have bursts."""

GUESTS = 2
"""Workers that join and leave, at the same time."""

_REST_S = 0.3
_FEWEST_KINDS = 0.6


@dataclass(frozen=True, slots=True)
class Setting:
    """What a run is given.

    Attributes:
        seed: of everything that is drawn.
        seconds: how long faults happen.
        workers: that are there for the whole run.
        clients: likewise.
        victims: who may be hit.
        kinds: faults that are possible here.
        deadline_s: after so long without a sign, a link counts as dead.
    """

    seed: int
    seconds: float
    workers: int
    clients: int
    victims: tuple[Victim, ...]
    kinds: tuple[FaultKind, ...]
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What was drawn.

    Attributes:
        setting: what it was drawn for.
        slots: of each worker, guests included.
        strategy: of the controller.
        placement: likewise.
        jobs: kinds of jobs that clients submit.
        mean_s: seconds between faults, on average.
        bursts: whether faults may hit all workers at once.
        swarm: the faults that are on, as pairs of what and to whom.
        faults: in the order of time.
    """

    setting: Setting
    slots: tuple[int, ...]
    strategy: str
    placement: str
    jobs: tuple[JobKind, ...]
    mean_s: float
    bursts: bool
    swarm: tuple[tuple[FaultKind, Victim], ...]
    faults: tuple[Fault, ...]


def draw(setting: Setting) -> Plan:
    """The plan of this setting, the same each time."""
    dice = Dice(setting.seed, "plan")
    slots = tuple(dice.whole(1, 2) for _ in range(setting.workers + GUESTS))
    strategy = dice.pick(registry.BUILT_IN)
    placement = dice.pick(("spread", "spread", "first"))
    jobs = dice.some(tuple(JobKind), _FEWEST_KINDS)
    mean_s = dice.pick(MEANS_S)
    bursts = dice.chance(0.5)
    possible = [(kind, victim) for kind in setting.kinds for victim in HITS[kind] if victim in setting.victims]
    swarm = dice.some(possible, _FEWEST_KINDS) if possible else ()
    faults = tuple(_faults(setting, swarm, mean_s, bursts, dice)) if swarm else ()
    return Plan(setting, slots, strategy, placement, jobs, mean_s, bursts, swarm, faults)


def _faults(
    setting: Setting, swarm: Sequence[tuple[FaultKind, Victim]], mean_s: float, bursts: bool, dice: Dice
) -> Iterator[Fault]:
    """At any time, at most one for each victim."""
    free_s: dict[tuple[Victim, int], float] = {}
    now_s = WARM_UP_S
    while (now_s := now_s + dice.wait_s(mean_s)) < setting.seconds:
        kind, victim = dice.pick(swarm)
        free = [index for index in _indices(kind, victim, setting) if free_s.get((victim, index), 0.0) <= now_s]
        if not free:
            continue
        burst = bursts and victim is Victim.WORKER and kind is not FaultKind.JOIN and dice.chance(BURST)
        for index in free if burst else [dice.pick(free)]:
            for_s = _length_s(kind, setting.deadline_s, dice)
            free_s[victim, index] = now_s + for_s + _REST_S
            yield Fault(now_s, kind, victim, index, for_s, dice.between(0.0, 1.0), dice.chance(0.5))


def _indices(kind: FaultKind, victim: Victim, setting: Setting) -> range:
    if kind is FaultKind.JOIN:
        return range(setting.workers, setting.workers + GUESTS)
    if victim is Victim.CONTROLLER:
        return range(1)
    return range(setting.clients if victim is Victim.CLIENT else setting.workers)


def _length_s(kind: FaultKind, deadline_s: float, dice: Dice) -> float:
    match kind:
        case FaultKind.KILL | FaultKind.TERM:
            return dice.between(1.0, 4.0) if dice.chance(0.2) else dice.between(0.0, 1.0)
        case FaultKind.STOP:
            return dice.between(0.02, 0.5 * deadline_s)
        case FaultKind.STOP_LONG:
            return dice.between(1.3, 2.0) * deadline_s
        case FaultKind.JOIN:
            return dice.between(1.0, 6.0)
        case FaultKind.DISK:
            return dice.between(0.5, 5.0)
    return dice.between(0.1, 1.5 * deadline_s)
