"""Ids and the few records that every layer shares. Plain data: no behaviour beyond ranges.

A task's id never changes: ``(job, origin, index)``. For an item of the job, ``origin`` is ``ROOT``
and ``index`` its position in the input. For a spawned task, ``origin`` is the *run* of its parent,
the identity of that one execution, and ``index`` counts what that run spawned. A second execution
of the parent has another run, so its children can never be mistaken for the first one's.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NewType

JobId = NewType("JobId", int)
"""Unique in the cluster: the client's id and a number that the client counts."""

PeerId = NewType("PeerId", int)
"""The incarnation of a worker or client: given by the controller at each join, never used twice."""

RunId = NewType("RunId", int)
"""One execution of one task: the worker's incarnation, its slot process, and a counter."""

SlotId = NewType("SlotId", int)
"""The position of a compute process in its worker, from 0."""

ROOT = RunId(0)
"""The origin of tasks that the client submitted."""

CONTROLLER = PeerId(0)
"""The controller's own id, where one is needed as a sender."""


@dataclass(frozen=True, slots=True)
class Payload:
    """Items pickled together, once: ``count`` calls of one function, for the indices from ``base``.

    ``data`` is opaque to everybody but the slot that runs it.
    """

    base: int
    count: int
    function: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Tasks ``[lo, hi)`` of one origin, with the payload that holds them.

    Splitting, donating, taking back and requeuing change the range and nothing else.
    ``root`` is the item that a spawned task descends from, and ``parent`` the task that spawned it:
    both are meaningless for items of the job itself.
    ``failures`` and ``crashes`` count what became of earlier executions: of one task that is tried again, wherever it
    goes; of others they are 0.
    """

    job: JobId
    origin: RunId
    lo: int
    hi: int
    root: int
    parent_origin: RunId
    parent_index: int
    payload: Payload
    failures: int = 0
    crashes: int = 0

    def __len__(self) -> int:
        return self.hi - self.lo

    def has_item(self, job: JobId, index: int) -> bool:
        """Whether an item of this job is one of its tasks."""
        return self.job == job and self.origin == ROOT and self.lo <= index < self.hi

    def part(self, lo: int, hi: int) -> Batch:
        """The tasks ``[lo, hi)`` of this batch, over the same payload."""
        assert self.lo <= lo < hi <= self.hi, (self.lo, lo, hi, self.hi)
        return self._of(lo, hi)

    def _of(self, lo: int, hi: int) -> Batch:
        # Not dataclasses.replace(), which takes three times as long: this is done for everything that moves.
        return Batch(
            self.job,
            self.origin,
            lo,
            hi,
            self.root,
            self.parent_origin,
            self.parent_index,
            self.payload,
            self.failures,
            self.crashes,
        )

    def joined(self, other: Batch) -> Batch | None:
        """Both as one, if their tasks come one after the other in one payload; None if not."""
        if other.lo == self.hi:
            lo, hi = self.lo, other.hi
        elif other.hi == self.lo:
            lo, hi = other.lo, self.hi
        else:
            return None
        alike = (
            self.origin == other.origin
            and self.job == other.job
            and not (self.failures or self.crashes or other.failures or other.crashes)
            and (self.payload is other.payload or self.payload == other.payload)
        )
        return self._of(lo, hi) if alike else None

    def again(self, index: int, *, failures: int = 0, crashes: int = 0) -> Batch:
        """One task of this batch, to be tried again after so many more failures and crashes."""
        return replace(self.part(index, index + 1), failures=self.failures + failures, crashes=self.crashes + crashes)


@dataclass(frozen=True, slots=True)
class Span:
    """The ids ``[lo, hi)`` of one origin, without payload: what an inventory lists."""

    job: JobId
    origin: RunId
    lo: int
    hi: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one task failed, as data that needs no unpickling to be shown.

    ``kind`` is the name of an error class of :mod:`lbnet.errors`, or ``"exception"`` when the task
    itself raised; ``data`` then holds the pickled exception, empty if it could not travel.
    ``final``: the job does not want it tried again, whatever its retries.
    """

    kind: str
    message: str
    traceback: str
    where: str
    data: bytes
    final: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """Tasks ``[lo, hi)`` that a group of results stands for.

    ``children`` are the batches that its single task spawned, in the run ``run``; a task that
    spawned nothing has ``run == ROOT`` and may share its member with its neighbours.
    """

    origin: RunId
    lo: int
    hi: int
    root: int
    parent_origin: RunId
    parent_index: int
    run: RunId
    children: tuple[Batch, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Finished tasks that travel together: either one value each, or one combined value for all.

    ``kind`` is one of ``VALUES`` (``data`` holds a value for each index of the only member),
    ``COMBINED`` (``data`` holds one value: all members are committed together or not at all),
    ``SILENT`` (spawned tasks that returned nothing) and ``FAILED`` (the only member is one task).
    """

    kind: int
    data: bytes
    members: tuple[Member, ...]
    seconds: float
    failure: Failure | None

    @property
    def tasks(self) -> int:
        """How many tasks it stands for."""
        count = 0
        for member in self.members:
            count += member.hi - member.lo
        return count

    @property
    def size_bytes(self) -> int:
        """Of its value, and of the payloads of what its tasks spawned."""
        size = len(self.data)
        for member in self.members:
            for child in member.children:
                size += len(child.payload.data)
        return size

    @property
    def spawned(self) -> bool:
        """Whether any of them made others."""
        for member in self.members:  # noqa: SIM110 - asked of every result, where any() takes three times as long
            if member.run != ROOT:
                return True
        return False


VALUES, COMBINED, SILENT, FAILED = range(4)


@dataclass(frozen=True, slots=True)
class JobOptions:
    """What the submitter asked for. ``reduce`` is the hash of the combining function, or empty.

    A ``detached`` job goes on when its client leaves.
    ``retry_delay_s`` is the wait before the first retry of a task, doubled before each further one. ``retry_on`` names
    the exceptions that are worth one, all if it is empty. Tasks of a higher ``priority`` start before others.
    """

    name: str = ""
    placement: str = ""
    strategy: str = ""
    reduce: bytes = b""
    retries: int = 0
    task_timeout_s: float = 0.0
    crash_limit: int = 3
    detached: bool = False
    retry_delay_s: float = 0.0
    retry_on: tuple[str, ...] = ()
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Address:
    """Where a peer listens."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """One worker's share of a job. ``asks`` and ``refusals`` count its own questions for work, where it asks."""

    name: str
    slots: int
    tasks: int
    busy_s: float
    batches_sent: int
    batches_received: int
    asks: int = 0
    refusals: int = 0


CAUSES = (
    "start", "serialising", "network", "waiting for work", "tail", "failures", "other jobs", "unknown",
)  # fmt: skip
"""Where slot seconds of a job may go that are not spent in tasks: :mod:`lbnet.core.gap` says what each counts."""


@dataclass(frozen=True, slots=True)
class WorkerBalance:
    """Where the time of one worker's slots went.

    Attributes:
        name: of the worker.
        slots: how many it has.
        slot_s: seconds that they were there for the job, together.
        busy_s: of those, spent in tasks whose results counted.
        causes: the others, by cause. Together with ``busy_s`` they are ``slot_s``.
        answered: whether it was there to say so. Of one that was not, only what the controller knows is counted.
    """

    name: str
    slots: int
    slot_s: float
    busy_s: float
    causes: dict[str, float]
    answered: bool


@dataclass(frozen=True, slots=True)
class BalanceReport:
    """How far a job was from the ideal, and why.

    Attributes:
        makespan_s: T_p, from the submission of the job to its end, or until now.
        slots: p, on average over that time.
        slot_s: p * T_p: seconds that slots were there for the job, together.
        busy_s: of those, spent in tasks whose results counted.
        causes: the others in seconds, by :data:`CAUSES`. Their sum is ``slot_s - busy_s``.
        workers: the same for each worker that was there.
        advice: what would help, in one sentence; empty if nothing is known to.
    """

    makespan_s: float
    slots: float
    slot_s: float
    busy_s: float
    causes: dict[str, float]
    workers: tuple[WorkerBalance, ...]
    advice: str = ""

    @property
    def ideal_s(self) -> float:
        """The makespan if all slots had been busy all the time, with the same work."""
        return self.busy_s / self.slots if self.slots > 0 else 0.0

    @property
    def gap_s(self) -> float:
        """How much longer it took."""
        return self.makespan_s - self.ideal_s

    @property
    def gap_percent(self) -> float:
        """The same, in percent of the ideal; 0 if nothing was done."""
        return 100 * self.gap_s / self.ideal_s if self.ideal_s > 0 else 0.0

    def figures(self) -> dict[str, float]:
        """What is derived, by name."""
        return {"ideal_s": self.ideal_s, "gap_s": self.gap_s, "gap_percent": self.gap_percent}


@dataclass(frozen=True, slots=True)
class JobReport:
    """The balance of one job, in the terms of Kumar, Grama and Vempaty (1994).

    ``slots`` is p, ``makespan_s`` T_p, ``busy_s`` T_1 as the slots measured it (seconds spent in
    the user's functions). ``requeues`` are the ``requeued`` tasks by what made them be placed again. ``balance`` is
    there when it was asked for.
    """

    job: JobId
    name: str
    state: str
    strategy: str
    placement: str
    submitted: int
    spawned: int
    done: int
    failed: int
    cancelled: int
    outstanding: int
    duplicates: int
    orphans: int
    requeued: int
    slots: int
    makespan_s: float
    busy_s: float
    workers: tuple[WorkerReport, ...]
    requeues: dict[str, int] = field(default_factory=dict)
    balance: BalanceReport | None = None

    @property
    def overhead_s(self) -> float:
        """P * T_p - T_1: slot seconds that were not spent in the user's functions."""
        return self.slots * self.makespan_s - self.busy_s

    @property
    def speedup(self) -> float:
        """T_1 / T_p."""
        return self.busy_s / self.makespan_s if self.makespan_s > 0 else 0.0

    @property
    def efficiency(self) -> float:
        """Speedup over the number of slots."""
        return self.speedup / self.slots if self.slots else 0.0

    @property
    def balanced(self) -> bool:
        """Whether every task that ever existed is accounted for, once."""
        return self.submitted + self.spawned == self.done + self.failed + self.cancelled + self.outstanding


@dataclass(frozen=True, slots=True)
class TaskOutput:
    """What a task has printed, all of it or a line. ``item`` is its place in the input, None if it was spawned.

    ``slot`` is the process of ``worker`` that ran it. ``dropped`` bytes were left out.
    """

    job: JobId
    item: int | None
    worker: str
    slot: int
    text: str
    dropped: int


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker as the controller sees it now.

    ``relayed``: how many batches went to other workers, by name, through the controller, for want of a direct link.
    """

    id: PeerId
    name: str
    host: str
    pid: int
    address: str
    slots: int
    state: str
    surplus_s: float
    tasks_done: int
    busy_s: float
    relayed: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """The whole cluster as the controller sees it now. ``got`` and ``sent`` count its messages by kind.

    ``journal`` says where it is and how large, or why it cannot be written, or ``off``.
    """

    version: str
    address: str
    strategy: str
    placement: str
    uptime_s: float
    clients: int
    workers: tuple[WorkerStatus, ...]
    jobs: tuple[JobReport, ...]
    got: dict[str, int] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    journal: str = "off"
