"""What kind of run: how much work, who is there, and how often what may break."""

from __future__ import annotations

from dataclasses import dataclass

from lbnet.types import (
    JobId,
)

JOB = JobId(77)
FUNCTION, SPAWNED, REDUCE = b"function", b"spawned", b"reduce"
STEPS_MAX = 100_000
CLAIM_ENTRIES = 4

SETTLE_S = 120.0
"""When nothing breaks any more, everything is settled within this: it holds the longest times that anybody waits."""

HARSH_STEPS = 20_000
"""A harsh run may never end; it is looked at for so long."""

HARSH_RATES = {"drop": 0.02, "double": 0.02, "reorder": 0.05}


@dataclass(frozen=True)
class Plan:
    """What kind of run. Numbers of faults are budgets: when and where they strike is up to the seed.

    Attributes:
        placement: of the job.
        reduce: whether values are combined on their way.
        splits: whether tasks split off what they have not done.
        items: of the job; each has so many ``units``, which are counted.
        units: see ``items``.
        unit_s: seconds that a unit is said to have taken.
        workers: at the beginning, of so many ``slots``.
        slots: see ``workers``.
        joins: workers that come later.
        worker_crashes: workers that die; another one comes for each.
        slot_crashes: slots that die.
        link_cuts: links between workers that break.
        failures: tasks that raise, and are tried again.
        refused: share of links that cannot be opened.
        cancels: whether the client cancels the whole job at some time.
        withdrawals: how often it cancels a few items.
        controller_crashes: deaths of the controller; another one begins with what is safe in its journal.
        uplink_cuts: links to the controller that break.
        leaves: workers that leave on purpose, with ``grace_s`` seconds for what runs.
        grace_s: see ``leaves``.
        journal: whether the controller has one.
        strategy: of load balancing; ``nonsense`` says anything.
        heavy: the first item is half of all work.
        detached: whether the job outlives its client.
        aside: the controller has little memory for outcomes of such a job.
        crowded: workers have little memory for what waits.
        client_crashes: deaths of the client; another one takes the job over.
        mutes: links that swallow what is said, one way or both, until somebody gives them up.
        full_disks: how often nothing can be written for a while.
        slow_workers: workers that get a tenth of the steps that others get.
        deadline_s: how long links may be silent; 0: for ever.
        harsh: messages between controller and workers are dropped, doubled and reordered: nothing may be wrong, but
            the run need not end.
    """

    placement: str = "first"
    reduce: bool = True
    splits: bool = True
    items: int = 6
    units: int = 8
    unit_s: float = 0.01
    workers: int = 3
    slots: int = 1
    joins: int = 0
    worker_crashes: int = 0
    slot_crashes: int = 0
    link_cuts: int = 0
    failures: int = 0
    refused: float = 0.0
    cancels: bool = False
    withdrawals: int = 0
    controller_crashes: int = 0
    uplink_cuts: int = 0
    leaves: int = 0
    grace_s: float = 1e9
    journal: bool = False
    strategy: str = "sb"
    heavy: bool = False
    detached: bool = False
    aside: bool = False
    crowded: bool = False
    client_crashes: int = 0
    mutes: int = 0
    full_disks: int = 0
    slow_workers: int = 0
    deadline_s: float = 0.0
    harsh: bool = False


class WorldError(AssertionError):
    """A rule was broken. The text holds all that is needed to see it again."""


@dataclass(frozen=True)
class Outcome:
    """A run that kept all rules."""

    steps: int
    digest: str
    state: str
    duplicates: int
    orphans: int
    requeued: int
    spawned: int
    relays: int
    crashes: int = 0
    snapshots: int = 0
    asides: int = 0
    faults: int = 0
    seconds: float = 0.0
    events: int = 0
