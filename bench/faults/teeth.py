"""Bugs that are planted on purpose: the world must catch each of them, or it proves nothing.

Each is known by what it does wrong, and by the plan in which that shows soonest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from unittest import mock

from bench.faults import world
from bench.faults.plan import Plan
from bench.faults.plans import CALM, DEATHS, LEAVING, ROUGH
from bench.faults.world import World
from lbnet import limits
from lbnet.core.compute import Compute
from lbnet.core.controller import Controller
from lbnet.core.departure import Departure
from lbnet.core.exchange import Exchange
from lbnet.core.inventory import InventoryRound
from lbnet.core.job import Job
from lbnet.core.ledger import Committed, Ledger, LedgerNews, _Status
from lbnet.core.outbox import Outbox
from lbnet.core.promises import Promises
from lbnet.core.recovery import Recovery
from lbnet.core.slots import Ticket
from lbnet.core.stall import StallWatch
from lbnet.core.worker import Worker
from lbnet.protocol.records import Outcome
from lbnet.types import COMBINED, FAILED, Batch, Group, PeerId, RunId

PLANS = CALM | ROUGH | DEATHS | LEAVING


class Plant:
    """Where a bug is planted; all of it is pulled out again with the stack.

    Args:
        stack: what is open for as long as the bug is there.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Put something else in the place of an attribute."""
        self._stack.enter_context(mock.patch.object(owner, name, value, create=True))


def nothing(*_: Any, **__: Any) -> None:
    """Instead of something."""


def nothing_back(cut: Callable[[Ticket, int], list[Batch]]) -> Callable[[Ticket, int], None]:
    """Like ``cut``, but what it gives back is lost."""

    def forgetful(ticket: Ticket, taken_from: int) -> None:
        cut(ticket, taken_from)

    return forgetful


def no_inventory_on_stall(plant: Plant) -> None:
    """No inventory on stall."""
    plant.set(StallWatch, "due", lambda *_: False)


def no_inventory_at_all(plant: Plant) -> None:
    """No inventory at all."""
    plant.set(Recovery, "ask", nothing)


def lost_links_lose_work(plant: Plant) -> None:
    """Lost links lose work."""
    unlinked = Exchange.unlinked

    def forgetful(exchange: Exchange, peer: PeerId) -> list[Batch]:
        unlinked(exchange, peer)
        return []

    plant.set(Exchange, "unlinked", forgetful)


def children_keyed_by_their_parent_alone(plant: Plant) -> None:
    """Children keyed by their parent alone."""

    def key(_: RunId, batch: Batch, index: int) -> RunId:
        return RunId((batch.origin * 1_000 + index + 1) % (1 << 62))

    plant.set(world, "run_of", key)


def done_when_all_is_placed(plant: Plant) -> None:
    """Done when all is placed."""
    plant.set(Job, "complete", property(lambda job: job.total is not None and not job.backlog))


def combined_values_count_in_part(plant: Plant) -> None:
    """Combined values count in part."""
    plant.set(Ledger, "_status", lambda *_: _Status.OUTSTANDING)


def early_children_are_forgotten(plant: Plant) -> None:
    """Early children are forgotten."""
    plant.set(Ledger, "_parent_is_done", lambda *_: True)


def what_slots_give_back_is_forgotten(plant: Plant) -> None:
    """What slots give back is forgotten."""
    plant.set(Ticket, "cut", nothing_back(Ticket.cut))


def functions_are_not_shared(plant: Plant) -> None:
    """Functions are not shared."""
    plant.set(Compute, "share_functions", nothing)


def promises_before_the_records_are_safe(plant: Plant) -> None:
    """Promises before the records are safe."""
    flush = Promises.flush

    def hasty(promises: Promises) -> None:
        flush(promises)
        promises.persisted(promises._issued)

    plant.set(Promises, "flush", hasty)


def a_snapshot_without_what_was_not_taken(plant: Plant) -> None:
    """A snapshot without what was not taken."""
    plant.set(limits, "SNAPSHOT_MIN_BYTES", 500)
    plant.set(Outbox, "kept", lambda _: [])


def a_snapshot_without_what_was_set_aside(plant: Plant) -> None:
    """A snapshot without what was set aside."""
    plant.set(limits, "SNAPSHOT_MIN_BYTES", 500)
    plant.set(Outbox, "aside", property(lambda _: 0))


def what_was_set_aside_is_told_to_whoever_is_there(plant: Plant) -> None:
    """What was set aside is told to whoever is there."""
    fetched = Promises.fetched

    def to_anybody(promises: Promises, job: Job, begin: int, outcomes: Sequence[Outcome], problem: str) -> None:  # noqa: ARG001
        fetched(promises, job, job.outbox.told, outcomes, problem)

    plant.set(Promises, "fetched", to_anybody)


def outcomes_before_it_is_known_what_was_seen(plant: Plant) -> None:
    """Outcomes before it is known what was seen."""
    plant.set(Job, "attached", property(lambda _: True, lambda *_: None))


def a_queue_without_a_limit(plant: Plant) -> None:
    """A queue without a limit."""
    plant.set(Worker, "_hand_back", lambda _: None)


def what_does_not_fit_is_dropped(plant: Plant) -> None:
    """What does not fit a worker's memory is dropped."""
    plant.set(Worker, "_hand_back", lambda worker: worker._queue.drop(lambda _: True))


def tasks_of_a_worker_that_leaves_are_blamed(plant: Plant) -> None:
    """Tasks of a worker that leaves are blamed."""
    abandon = Compute.abandon

    def blaming(compute: Compute) -> None:
        abandon(compute)
        compute._blameless = False

    plant.set(Compute, "abandon", blaming)


def a_worker_leaves_with_what_was_on_its_way(plant: Plant) -> None:
    """A worker leaves with what was on its way."""
    plant.set(Departure, "_released", property(lambda _: True, lambda *_: None))


def what_descends_from_a_cancelled_item_goes_on(plant: Plant) -> None:
    """What descends from a cancelled item goes on."""
    plant.set(Ledger, "_is_withdrawn", lambda *_: False)


def tickets_of_a_job_that_was_over_count_for_the_same_job(plant: Plant) -> None:
    """Tickets of a job that was over count for the same job."""
    plant.set(Ticket, "over", property(lambda _: False, lambda *_: None))


def the_second_result_of_a_task_counts_too(plant: Plant) -> None:
    """Skip the dedupe."""
    commit = Ledger._commit_one

    def careless(ledger: Ledger, group: Group, news: list[LedgerNews], work: deque[Group]) -> None:
        before = len(news)
        commit(ledger, group, news, work)
        member = group.members[0]
        known = ledger._ranges(member.origin) is not None or ledger._parent_is_done(member)
        if group.kind not in {COMBINED, FAILED} and len(news) == before and known:
            news.append(Committed(group, ((member, ((member.lo, member.hi),)),)))

    plant.set(Ledger, "_commit_one", careless)


def what_a_dead_worker_held_is_forgotten(plant: Plant) -> None:
    """Forget what was in flight when a donor dies."""
    plant.set(InventoryRound, "missing", lambda *_: [])


def running_tasks_are_placed_again(plant: Plant) -> None:
    """An inventory without what runs, at any time."""
    plant.set(Compute, "held", lambda compute: compute.queue.spans())

    def restless(recovery: Recovery, now: float, workers: Collection[PeerId], *, still: bool) -> None:  # noqa: ARG001
        if not recovery.asking:
            recovery.ask(workers, "why not")

    plant.set(Recovery, "look", restless)


def a_job_ends_when_all_are_idle(plant: Plant) -> None:
    """End by idle flags."""
    look = Controller._look

    def hasty(controller: Controller) -> None:
        look(controller)
        idle = controller._balancer.idle
        if controller._workers and all(idle.get(peer, 1.0) <= 0 for peer in controller._workers):
            for job in list(controller._jobs.running.values()):
                if job.total is not None and not job.backlog:
                    controller._jobs.end(job, "done", "", controller._now)

    plant.set(Controller, "_look", hasty)


def a_job_ends_when_so_many_results_came(plant: Plant) -> None:
    """End by counters."""

    def counted(job: Job) -> bool:
        came = sum(tally.tasks for tally in job.tallies.values())
        return job.total is not None and came >= job.ledger.submitted + job.ledger.spawned

    plant.set(Job, "complete", property(counted))


def runs_are_named_alike_by_all_workers(plant: Plant) -> None:
    """Accept a stale incarnation: nothing tells one worker's executions from another's."""
    made = Compute.__init__

    def alike(compute: Compute, *args: Any) -> None:
        made(compute, *args)
        compute._runs = 1 << 44

    plant.set(Compute, "__init__", alike)


def children_named_by_the_number_of_the_attempt(plant: Plant) -> None:
    """Child ids by attempt number, which each worker counts for itself."""
    attempts: dict[tuple[int, int, int], int] = {}
    known: dict[int, int] = {}

    def key(first_run: RunId, batch: Batch, index: int) -> RunId:
        execution = first_run + index - batch.lo
        if execution not in known:
            task = (first_run >> 44, batch.origin, index)
            attempts[task] = attempts.get(task, 0) + 1
            known[execution] = (((batch.origin * 1_000 + index + 1) << 4) + attempts[task]) % (1 << 62)
        return RunId(known[execution])

    plant.set(world, "run_of", key)


@dataclass(frozen=True, slots=True)
class Bug:
    """One of them, and the name of the plan in which it shows."""

    plant: Callable[[Plant], None]
    plan: str

    @property
    def name(self) -> str:
        """What it does wrong."""
        return self.plant.__name__

    def caught_after(self, seeds_max: int) -> int | None:
        """How many seeds it takes; None if it is not caught by so many."""
        plan = PLANS[self.plan]
        for seed in range(seeds_max):
            with ExitStack() as stack:
                self.plant(Plant(stack))
                if _is_caught(plan, seed):
                    return seed + 1
        return None


def _is_caught(plan: Plan, seed: int) -> bool:
    try:
        outcome = World(plan, seed).run()
    except Exception:  # noqa: BLE001 - whatever shows that something is wrong
        return True
    return plan in (CALM | LEAVING).values() and (outcome.duplicates, outcome.requeued) != (0, 0)


TEETH: tuple[Bug, ...] = (
    Bug(the_second_result_of_a_task_counts_too, "workers crash"),
    Bug(what_a_dead_worker_held_is_forgotten, "workers crash"),
    Bug(promises_before_the_records_are_safe, "the controller dies, combined"),
    Bug(running_tasks_are_placed_again, "trees"),
    Bug(a_job_ends_when_all_are_idle, "trees, spread"),
    Bug(a_job_ends_when_so_many_results_came, "everything"),
    Bug(runs_are_named_alike_by_all_workers, "trees, spread"),
    Bug(combined_values_count_in_part, "everything"),
    Bug(children_keyed_by_their_parent_alone, "everything"),
    Bug(children_named_by_the_number_of_the_attempt, "everything"),
    Bug(no_inventory_on_stall, "workers crash, combined"),
    Bug(early_children_are_forgotten, "combined trees"),
    Bug(what_slots_give_back_is_forgotten, "small tasks"),
    Bug(tasks_of_a_worker_that_leaves_are_blamed, "workers leave"),
    Bug(no_inventory_at_all, "workers crash"),
    Bug(lost_links_lose_work, "links break"),
    Bug(done_when_all_is_placed, "trees"),
    Bug(functions_are_not_shared, "trees"),
    Bug(a_snapshot_without_what_was_not_taken, "the controller dies, combined"),
    Bug(a_snapshot_without_what_was_set_aside, "results are set aside"),
    Bug(what_was_set_aside_is_told_to_whoever_is_there, "results are set aside"),
    Bug(outcomes_before_it_is_known_what_was_seen, "links to the controller break"),
    Bug(tickets_of_a_job_that_was_over_count_for_the_same_job, "the controller dies"),
    Bug(a_queue_without_a_limit, "little room"),
    Bug(what_does_not_fit_is_dropped, "little room"),
    Bug(a_worker_leaves_with_what_was_on_its_way, "workers leave"),
    Bug(what_descends_from_a_cancelled_item_goes_on, "items are cancelled"),
)
