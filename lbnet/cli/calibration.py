"""The costs of the simulator's model, measured on this machine.

The real cluster is run with jobs of which the model says how many events and messages each process handles; what the
processes spent on them is shared out between the two (:mod:`lbnet.cli.calibration_runs` reads the clocks).

What a process spends on a message is measured while tasks sleep for a moment, as tasks of a real job last: no-ops keep
a worker and its slot together in the caches of a core, and cost it little more than half as much. It is no constant of
a machine: with more workers on the same cores each of them finds its memory out of the caches, and a message costs a
worker about twice as much. So measure with as many workers as are to be simulated on this machine. ``pipe_s`` is what
is left of the round trip of a single no-op; that is nothing where messages cost more than in that trip. Events and
messages come in much the same proportion whatever runs, so that their sum is well known, and their shares are not.

A batch of one task that sleeps wakes its slot twice, by its arrival and by the end of the sleep, a no-op only once. The
difference is ``wake_s``, and what is left of the no-op is ``ticket_s``.

**Not measured**: ``jitter`` is 0. The client's event and message cost the same, because only their sum can be seen.
``connect_s`` and ``handshake_s`` are those of a client's greeting, which is the same. A message between workers is
taken to cost what one to the controller does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from lbnet.cli import calibration_runs
from lbnet.cli.calibration_runs import Meter, Run
from lbnet.client.client import Client
from lbnet.client.local_cluster import LocalCluster
from lbnet.pool.cores import cores_available
from lbnet.protocol.messages import SAID_BY
from lbnet.sim.costs import Costs
from lbnet.sim.flat import Flat
from lbnet.sim.run import simulate_once
from lbnet.strategies import registry
from lbnet.strategies.pmap import ParallelMap
from lbnet.workloads.synthetic import nap

WORKERS_PER_CORE = 4
"""So many that every core is busy with messages."""

ITEMS = 3_000
ITEMS_PER_WORKER = 300
"""At most so many sleep one after the other: few workers need not all of :data:`ITEMS`."""

PAUSE_S = 0.005
"""What tasks sleep between messages: long enough that others run meanwhile."""

TRIPS = 2_000
NO_OPS = 500_000
BLOBS = 128
BLOB_BYTES = 1_000_000
NAPS = 50
NAP_S = 0.01
_WARM_UP_S = 0.005
_CLOCK_S = 0.001
"""The system counts CPU time in steps of some milliseconds: a process that spent nothing has not been measured."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One figure.

    Attributes:
        name: of the cost, or of what else was measured.
        value: in ``unit``.
        unit: of the value, perhaps empty.
        how: where it comes from.
    """

    name: str
    value: float
    unit: str
    how: str


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was found.

    Attributes:
        costs: for the simulator.
        rows: the same with how each was found, and ``nap_s``.
        nap_s: seconds that a task which sleeps takes longer than it asked for.
    """

    costs: Costs
    rows: tuple[Measured, ...]
    nap_s: float


@dataclass(frozen=True, slots=True)
class Readings:
    """What was read from the clocks.

    Attributes:
        cores: of this machine.
        latency_s: of a byte.
        bandwidth_bytes_s: of a stream.
        connect_s: of a greeting.
        handshake_s: of CPU time for it, of one of the two processes.
        slot_start_s: of one slot.
        no_ops: many tasks that do nothing, on one worker.
        naps: tasks that sleep, on one worker.
        trips: tasks that do nothing, one at a time on one worker.
        brief: tasks that do nothing, one at a time on each of many workers.
        many: tasks that sleep for a moment, likewise.
        short: jobs with one such task for each of these workers.
        blobs: tasks with large items.
    """

    cores: int
    latency_s: float
    bandwidth_bytes_s: float
    connect_s: float
    handshake_s: float
    slot_start_s: float
    no_ops: Run
    naps: Run
    trips: Run
    brief: Run
    many: Run
    short: Run
    blobs: Run


def calibrate(workers: int | None = None, tell: Callable[[str], None] = lambda _: None) -> Calibration:
    """Measure this machine. Takes about half a minute, and wants a machine that does nothing else.

    Args:
        workers: among so many the cores are shared while messages are measured; :data:`WORKERS_PER_CORE` if None.
        tell: is told what comes next.

    Raises:
        ConnectError: a cluster could not be started.
    """
    return worked_out(read(workers or WORKERS_PER_CORE * cores_available(), tell))


def read(workers: int, tell: Callable[[str], None]) -> Readings:
    """Run everything and read the clocks. See :func:`calibrate`."""
    cores = cores_available()
    tell("the start of a slot")
    slot_start_s = calibration_runs.slot_start_s()
    tell("one worker: tasks that do nothing, tasks that sleep, bytes")
    with _cluster(1, registry.DEFAULT) as (cluster, client, meter):
        no_ops = meter.runs(_same, range(NO_OPS))
        naps = meter.runs(nap, [NAP_S] * NAPS)
        latency_s, bandwidth = calibration_runs.loopback(client)
        connect_s, handshake_s = calibration_runs.greetings_s(cluster.where, cluster.member("client"), cluster.pids[0])
    tell("one worker: one task at a time")
    with _cluster(1, ParallelMap.name) as (_, _, meter):
        trips = meter.runs(_same, range(TRIPS))
    tell(f"{workers} workers: messages")
    with _cluster(workers, ParallelMap.name) as (_, _, meter):
        brief = meter.runs(_same, range(ITEMS))
        sleeping = min(ITEMS, ITEMS_PER_WORKER * workers)
        many = meter.runs(nap, [PAUSE_S] * sleeping)
        short = meter.runs(nap, [PAUSE_S] * workers, jobs=max(1, sleeping // workers))
        blobs = meter.runs(len, [bytes(BLOB_BYTES)] * BLOBS)
    return Readings(
        cores,
        latency_s,
        bandwidth,
        connect_s,
        handshake_s,
        slot_start_s,
        no_ops,
        naps,
        trips,
        brief,
        many,
        short,
        blobs,
    )


@contextmanager
def _cluster(workers: int, strategy: str) -> Iterator[tuple[LocalCluster, Client, Meter]]:
    """A cluster with workers of one slot, each of which has run something."""
    with LocalCluster(workers=workers, slots=1, strategy=strategy) as cluster, cluster.client() as client:
        client.wait_for_workers(workers)
        for fn, item in ((nap, _WARM_UP_S), (_same, 0)):
            for _ in client.map(fn, [item] * 2 * workers):
                pass
        yield cluster, client, Meter(cluster, client)


def _same(item: int) -> int:
    return item


# --- arithmetic -----------------------------------------------------------------------------------------


def worked_out(found: Readings) -> Calibration:
    """The costs that explain what was read."""
    jobs = (found.many, found.short)
    controller_event_s, controller_message_s = shares([(*at_controller(run), run.controller_s) for run in jobs])
    worker_event_s, worker_message_s = shares([(*at_workers(run), run.workers_s) for run in jobs])
    client_s = found.many.client_s / found.many.sent["Values"]
    ticket_s, wake_s = slot_shares(*(run.slots_s / run.sent["SendWork"] for run in (found.brief, found.many)))
    events, messages = at_controller(found.blobs)
    blobs_s = found.blobs.controller_s - events * controller_event_s - messages * controller_message_s
    costs = Costs(
        latency_s=found.latency_s,
        bandwidth_bytes_s=found.bandwidth_bytes_s,
        connect_s=max(found.connect_s - 2 * found.handshake_s, 0.0),
        handshake_s=found.handshake_s,
        controller_event_s=controller_event_s,
        controller_message_s=controller_message_s,
        worker_event_s=worker_event_s,
        worker_message_s=worker_message_s,
        client_event_s=client_s / 2,
        client_message_s=client_s / 2,
        client_item_s=max(found.no_ops.client_s - found.no_ops.sent["Values"] * client_s, 0.0) / NO_OPS,
        byte_s=max(blobs_s, 0.0) / (2 * BLOBS * BLOB_BYTES),
        ticket_s=ticket_s,
        wake_s=wake_s,
        task_s=found.no_ops.busy_s / NO_OPS,
        pipe_s=0.0,
        slot_start_s=found.slot_start_s,
        host_cores=found.cores,
    )
    costs = replace(costs, pipe_s=left_for_pipe_s(costs, found.trips.makespan_s, TRIPS))
    nap_s = max(found.naps.busy_s / NAPS - NAP_S, 0.0)
    return Calibration(costs, rows_of(costs, nap_s), nap_s)


def at_controller(run: Run) -> tuple[float, float]:
    """Events that the controller handled, and messages that it read or wrote."""
    got, sent = sum(run.got.values()), sum(run.sent.values())
    return got, got + sent


def at_workers(run: Run) -> tuple[float, float]:
    """The same of all workers together, in the model's count, for a job whose every task is a batch of its own.

    With each batch a slot is sent RUN, and says that it has results and that it is free. A function and the end of a
    job are told to the slot, too.
    """
    heard = sum(run.sent.get(kind, 0) for kind in _TO_WORKERS)
    said = sum(run.got.get(kind, 0) for kind in _FROM_WORKERS)
    batches = run.sent["SendWork"]
    events = heard + 2 * batches
    passed_on = batches + run.sent.get("Function", 0) + run.sent.get("JobEnded", 0)
    return events, events + said + passed_on


_TO_WORKERS: Final = sorted(kind.__name__ for kind in SAID_BY["controller-to-worker"])
# A client says Function, too; these jobs' workers do not.
_FROM_WORKERS: Final = sorted(kind.__name__ for kind in SAID_BY["worker"] - SAID_BY["client"])


def shares(rows: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """Seconds for an event and for a message, neither below 0, that come nearest to what was spent.

    Args:
        rows: events, messages, and the seconds that they took together. What is made small is the sum of the squares
            of the relative errors.
    """
    scaled = [
        (events / max(spent_s, _CLOCK_S), messages / max(spent_s, _CLOCK_S)) for events, messages, spent_s in rows
    ]
    ee = sum(events * events for events, _ in scaled)
    em = sum(events * messages for events, messages in scaled)
    mm = sum(messages * messages for _, messages in scaled)
    e1, m1 = (sum(column) for column in zip(*scaled, strict=True))
    determinant = ee * mm - em * em
    if determinant > 0:
        event_s, message_s = (mm * e1 - em * m1) / determinant, (ee * m1 - em * e1) / determinant
        if event_s >= 0 and message_s >= 0:
            return event_s, message_s
    # The nearest point is on an edge.
    edges = ((e1 / ee, 0.0), (0.0, m1 / mm))
    return min(edges, key=lambda edge: sum((e * edge[0] + m * edge[1] - 1) ** 2 for e, m in scaled))


def slot_shares(brief_s: float, slept_s: float) -> tuple[float, float]:
    """Seconds of a slot for a batch and for a wake-up, neither below 0.

    Args:
        brief_s: what it spends on a batch of one task that does nothing: a wake-up, and the batch.
        slept_s: on one that sleeps: another wake-up.
    """
    wake_s = min(max(slept_s - brief_s, 0.0), brief_s)
    return brief_s - wake_s, wake_s


def left_for_pipe_s(costs: Costs, makespan_s: float, items: int) -> float:
    """What the way through the pipe must take, twice for each item, for the model to need as long as the cluster did.

    Args:
        costs: all others, and ``pipe_s`` of 0.
        makespan_s: of ``items`` tasks that do nothing, one at a time on one worker.
        items: how many.
    """
    workload = Flat("no-ops", [0.0] * items)
    without_s = simulate_once(workload, strategy=ParallelMap.name, workers=1, costs=costs).makespan_s
    return max(makespan_s - without_s, 0.0) / (2 * items)


# --- for people -----------------------------------------------------------------------------------------

_SHARED_OUT: Final = f"CPU time for single tasks that sleep {PAUSE_S * 1e3:g} ms, in one job and in short ones"
_HOW: Final[Mapping[str, str]] = MappingProxyType(
    {
        "latency_s": "half a TCP round trip of one byte between two processes",
        "bandwidth_bytes_s": "a stream between the same two",
        "connect_s": "a greeting over a new connection, without the work of both ends",
        "handshake_s": "CPU time of both ends for it, half of it",
        "controller_event_s": _SHARED_OUT,
        "controller_message_s": _SHARED_OUT,
        "worker_event_s": _SHARED_OUT,
        "worker_message_s": _SHARED_OUT,
        "client_event_s": "half of this process's CPU time for a result",
        "client_message_s": "the other half",
        "client_item_s": f"this process's CPU time for {NO_OPS:,} no-ops, without their results' messages",
        "byte_s": "the controller's CPU time for items of 1 MB, in and out",
        "pipe_s": "what nothing else explains of a single no-op's round trip, half of it",
        "ticket_s": "CPU time of the slots for a single no-op, without a wake-up",
        "wake_s": f"what they spend on a task that sleeps {PAUSE_S * 1e3:g} ms, and not on a no-op",
        "task_s": f"what a slot counts for each of {NO_OPS:,} no-ops",
        "slot_start_s": "from the start of the process to its first word",
        "jitter": "not measured",
        "host_cores": "cores that this process may use",
    }
)


def rows_of(costs: Costs, nap_s: float) -> tuple[Measured, ...]:
    """All costs, and how each was found."""
    units = {"bandwidth_bytes_s": "bytes/s", "byte_s": "s/byte", "jitter": "", "host_cores": "cores"}
    rows = [
        Measured(name, float(value), units.get(name, "s"), _HOW[name])
        for name, value in costs.facts().items()
        if value is not None
    ]
    slept = Measured(
        "(nap)", nap_s, "s", f"what a task that sleeps {NAP_S * 1e3:g} ms takes longer; no cost of the model"
    )
    return (*rows, slept)
