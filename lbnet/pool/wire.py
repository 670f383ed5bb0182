"""What a worker and its slot process say to each other, over a socket pair, in the project's own frames.

The worker's side never looks into ``data``: those bytes are pickled by clients and slots.
"""

from __future__ import annotations

from dataclasses import dataclass

from lbnet.protocol.shapes import Codec
from lbnet.types import Batch, Group, JobId, RunId

# --- worker → slot --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Teach:
    """A function, by its digest. Sent once to each slot process, before the first RUN that needs it.

    Slot → worker: a running task spawned a function that this slot had not been taught for this
    job; once for each process and job, before the SPAWNED that needs it.
    """

    job: JobId
    digest: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Run:
    """Run the tasks ``[batch.lo, batch.hi)``. FINISHED with the same ticket must follow.

    The task with index ``i`` is the run ``first_run + i - batch.lo``. ``entry`` is the place of this
    ticket's words in the shared claims. ``reduce`` is the digest of the combining function or empty.
    ``timed`` asks for the start time of every task in the claims. ``retry_on`` names the exceptions that are worth a
    retry; empty: all.
    """

    ticket: int
    entry: int
    batch: Batch
    first_run: RunId
    reduce: bytes
    timed: bool
    retry_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Forget:
    """The job has ended: drop its functions."""

    job: JobId


# --- slot → worker --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ready:
    """The process is up and warm."""

    pid: int


@dataclass(frozen=True, slots=True)
class Done:
    """Tasks of this ticket below ``upto`` are finished; ``groups`` are the results since the last DONE.

    Combined values may lag behind: their members come with a later DONE, before FINISHED.
    """

    ticket: int
    upto: int
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Spawned:
    """The running task of this ticket spawned the tasks of ``batch``; its result will name them again by ``run``."""

    ticket: int
    batch: Batch


@dataclass(frozen=True, slots=True)
class Finished:
    """The ticket is over: tasks ``[lo, ran_to)`` ran, and no other."""

    ticket: int
    ran_to: int


CODEC = Codec((Teach, Run, Forget, Ready, Done, Spawned, Finished))
