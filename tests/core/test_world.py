from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lbnet import limits
from lbnet.core.compute import Compute
from lbnet.core.departure import Departure
from lbnet.core.exchange import Exchange
from lbnet.core.job import Job
from lbnet.core.ledger import Ledger, _Status
from lbnet.core.outbox import Outbox
from lbnet.core.promises import Promises
from lbnet.core.recovery import Recovery
from lbnet.core.slots import Ticket
from lbnet.core.stall import StallWatch
from lbnet.strategies import registry
from lbnet.types import Batch, PeerId, RunId
from tests.core import world
from tests.core.world import Outcome, Plan, World

SEEDS = 50

CALM = {
    "a flat list, all to the first": Plan(splits=False, reduce=False, items=20, units=2),
    "a flat list, spread": Plan(placement="spread", splits=False, reduce=False, items=20, units=2),
    "small tasks": Plan(placement="spread", splits=False, reduce=False, items=60, units=1, unit_s=1e-4, slots=2),
    "trees": Plan(reduce=False, items=3, units=20),
    "trees, spread": Plan(placement="spread", reduce=False, items=6, units=10, slots=2),
    "combined trees": Plan(items=3, units=20),
    "combined trees, spread": Plan(placement="spread", items=6, units=10, slots=2),
    "one worker": Plan(items=3, units=10, workers=1, slots=3),
    "no direct links": Plan(items=3, units=20, refused=1.0),
    "workers come later": Plan(items=4, units=16, workers=1, joins=3, placement="spread"),
}
ROUGH = {
    "links break": Plan(reduce=False, items=3, units=30, link_cuts=6, refused=0.2),
    "links break, combined": Plan(items=3, units=30, link_cuts=6, refused=0.2),
    "slots crash": Plan(reduce=False, items=3, units=20, slots=2, slot_crashes=4, failures=2, link_cuts=2),
    "slots crash, combined": Plan(items=3, units=20, slots=2, slot_crashes=4, failures=2),
    "workers crash, flat": Plan(placement="spread", splits=False, reduce=False, items=20, units=2, worker_crashes=3),
    "workers crash": Plan(reduce=False, items=3, units=20, worker_crashes=3),
    "workers crash, combined": Plan(items=3, units=20, worker_crashes=3),
    "the last worker crashes": Plan(items=2, units=20, workers=1, slots=2, worker_crashes=2, slot_crashes=2),
    "everything": Plan(
        placement="spread",
        items=4,
        units=16,
        workers=4,
        slots=2,
        joins=1,
        worker_crashes=3,
        slot_crashes=3,
        link_cuts=4,
        failures=2,
        refused=0.2,
    ),
    "everything, small tasks": Plan(
        items=30, units=3, unit_s=1e-4, slots=2, worker_crashes=2, slot_crashes=2, link_cuts=3, failures=2, refused=0.2
    ),
    "cancelled": Plan(
        items=4, units=16, slots=2, worker_crashes=1, slot_crashes=2, link_cuts=3, refused=0.2, cancels=True
    ),
    "a senseless strategy": Plan(items=4, units=10, strategy="nonsense"),
    "a senseless strategy, spread": Plan(
        placement="spread",
        items=6,
        units=10,
        strategy="nonsense",
        worker_crashes=2,
        slot_crashes=2,
        link_cuts=3,
        refused=0.2,
    ),
}


DEATHS = {
    "the controller dies, flat": Plan(
        placement="spread", splits=False, reduce=False, items=20, units=2, journal=True, controller_crashes=2
    ),
    "the controller dies": Plan(reduce=False, items=3, units=20, journal=True, controller_crashes=3),
    "the controller dies, combined": Plan(items=3, units=20, journal=True, controller_crashes=3),
    "links to the controller break": Plan(
        reduce=False, placement="spread", items=8, units=8, uplink_cuts=5, link_cuts=3, refused=0.3
    ),
    "links to the controller break, combined": Plan(items=3, units=20, uplink_cuts=5),
    "all die": replace(ROUGH["everything"], journal=True, controller_crashes=3, uplink_cuts=4),
    "all die, small tasks": replace(
        ROUGH["everything, small tasks"], reduce=False, journal=True, controller_crashes=3, uplink_cuts=4
    ),
    "all die, cancelled": replace(ROUGH["cancelled"], journal=True, controller_crashes=2, uplink_cuts=2),
}


LEAVING = {
    "workers leave": Plan(placement="spread", items=6, units=10, slots=2, leaves=3, grace_s=0.0),
    "items are cancelled": Plan(placement="spread", items=6, units=20, slots=2, withdrawals=6),
}


STRATEGIES = [name for name in registry.BUILT_IN if name != "sb"]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("plan", CALM.values(), ids=CALM.keys())
def test_with_every_strategy_nothing_is_done_twice_when_nothing_breaks(plan: Plan, strategy: str) -> None:
    for seed in range(5):
        outcome = World(replace(plan, strategy=strategy), seed).run()
        assert outcome.state == "done"
        assert (outcome.duplicates, outcome.orphans, outcome.requeued) == (0, 0, 0), seed


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("plan", ROUGH.values(), ids=ROUGH.keys())
def test_with_every_strategy_every_unit_is_counted_once(plan: Plan, strategy: str) -> None:
    for seed in range(5):
        assert World(replace(plan, strategy=strategy), seed).run().state in {"done", "cancelled"}


@pytest.mark.parametrize("plan", CALM.values(), ids=CALM.keys())
def test_when_nothing_breaks_every_unit_is_counted_once_and_nothing_is_done_twice(plan: Plan) -> None:
    for seed in range(SEEDS):
        outcome = World(plan, seed).run()
        assert outcome.state == "done"
        assert (outcome.duplicates, outcome.orphans, outcome.requeued) == (0, 0, 0), seed


@pytest.mark.parametrize("plan", ROUGH.values(), ids=ROUGH.keys())
def test_whatever_breaks_every_unit_is_counted_once(plan: Plan) -> None:
    states = {World(plan, seed).run().state for seed in range(SEEDS)}
    assert states == ({"done", "cancelled"} if plan.cancels else {"done"})


@pytest.fixture(params=[limits.SNAPSHOT_MIN_BYTES, 500], ids=["one log", "snapshots"])
def _snapshots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Journals of these small jobs are never worth a snapshot."""
    monkeypatch.setattr(limits, "SNAPSHOT_MIN_BYTES", request.param)


@pytest.mark.usefixtures("_snapshots")
@pytest.mark.parametrize("plan", DEATHS.values(), ids=DEATHS.keys())
def test_whoever_dies_every_unit_is_counted_once(plan: Plan) -> None:
    outcomes = [World(plan, seed).run() for seed in range(12)]
    assert {outcome.state for outcome in outcomes} <= {"done", "cancelled"}
    assert not plan.controller_crashes or sum(outcome.crashes for outcome in outcomes) > 0


@pytest.mark.usefixtures("_snapshots")
@pytest.mark.parametrize("plan", [plan for plan in DEATHS.values() if plan.journal])
def test_at_every_moment_the_journal_holds_the_job_and_its_safe_part_what_was_promised(plan: Plan) -> None:
    for seed in range(2):
        World(plan, seed, replayed=True).run()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("plan", DEATHS.values(), ids=DEATHS.keys())
def test_with_every_strategy_whoever_dies_every_unit_is_counted_once(plan: Plan, strategy: str) -> None:
    for seed in range(2):
        assert World(replace(plan, strategy=strategy), seed).run().state in {"done", "cancelled"}


@pytest.mark.parametrize("strategy", registry.BUILT_IN)
@pytest.mark.parametrize("plan", CALM.values(), ids=CALM.keys())
def test_when_workers_take_leave_nothing_is_done_twice(plan: Plan, strategy: str) -> None:
    outcome = World(replace(plan, strategy=strategy, leaves=3), 1).run()
    assert (outcome.state, outcome.duplicates, outcome.orphans, outcome.requeued) == ("done", 0, 0, 0)


@pytest.mark.parametrize("strategy", registry.BUILT_IN)
@pytest.mark.parametrize("plan", CALM.values(), ids=CALM.keys())
def test_when_workers_in_a_hurry_take_leave_nobody_is_blamed_and_nothing_is_lost(plan: Plan, strategy: str) -> None:
    outcome = World(replace(plan, strategy=strategy, leaves=3, grace_s=0.0), 2).run()
    assert (outcome.state, outcome.duplicates, outcome.requeued) == ("done", 0, 0)


@pytest.mark.parametrize("grace_s", [0.0, 0.05, 1e9])
@pytest.mark.parametrize("plan", (ROUGH | DEATHS).values(), ids=(ROUGH | DEATHS).keys())
def test_when_workers_take_leave_while_others_die_every_unit_is_counted_once(plan: Plan, grace_s: float) -> None:
    for seed in range(4):
        assert World(replace(plan, leaves=3, grace_s=grace_s), seed).run().state in {"done", "cancelled"}


@pytest.mark.parametrize("strategy", registry.BUILT_IN)
@pytest.mark.parametrize("plan", (CALM | ROUGH | DEATHS).values(), ids=(CALM | ROUGH | DEATHS).keys())
def test_in_a_storm_of_cancels_nothing_comes_of_what_was_cancelled_and_all_of_the_rest(
    plan: Plan, strategy: str
) -> None:
    outcome = World(replace(plan, strategy=strategy, withdrawals=4), 1, replayed=plan.journal).run()
    assert outcome.state in {"done", "cancelled"}


def test_the_world_reaches_the_places_where_it_can_go_wrong() -> None:
    outcomes = [World(ROUGH["everything"], seed).run() for seed in range(SEEDS)]
    for reached in ("duplicates", "orphans", "requeued", "spawned", "relays"):
        assert sum(getattr(outcome, reached) for outcome in outcomes) > 0, reached


# --- seeds that found something


def test_seed_16_a_link_broke_and_its_requester_waited_for_ever_for_an_answer() -> None:
    World(ROUGH["everything"], 16).run()


def test_seed_79_a_peer_that_had_not_heard_of_the_end_of_a_job_was_disconnected() -> None:
    World(ROUGH["cancelled"], 79).run()


def test_seed_821_a_late_function_cost_two_workers_their_link() -> None:
    World(ROUGH["links break, combined"], 821).run()


def test_seed_202_a_job_that_had_ended_came_back_without_a_function_that_its_old_tasks_needed() -> None:
    World(ROUGH["cancelled"], 202).run()


def test_seed_399_a_job_that_had_ended_came_back_without_what_combines_its_values() -> None:
    World(ROUGH["cancelled"], 399).run()


def test_seed_1287_a_tail_came_back_after_the_end_of_its_job() -> None:
    World(ROUGH["everything, small tasks"], 1287).run()


def test_seed_3059_whoever_asked_in_vain_through_the_controller_got_no_new_work_any_more() -> None:
    World(replace(ROUGH["everything"], strategy="arr"), 3059).run()


def test_seed_259_results_came_of_a_job_that_another_controller_was_told_of_anew() -> None:
    World(replace(DEATHS["the controller dies"], strategy="rp"), 259).run()


def test_seed_232_work_was_sent_through_a_controller_that_was_away() -> None:
    World(DEATHS["all die, small tasks"], 232).run()


def test_seed_104_a_worker_that_had_to_wait_for_a_word_only_never_left() -> None:
    World(replace(ROUGH["workers crash, combined"], leaves=3, grace_s=0.0), 104).run()


def test_seed_246_work_of_a_job_that_had_ended_was_sent_through_a_controller_that_was_away() -> None:
    World(DEATHS["all die, cancelled"], 246).run()


# --- determinism


def digests(seeds: range) -> list[str]:
    return [World(ROUGH["everything"], seed, traced=True).run().digest for seed in seeds]


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    first = digests(range(6))
    assert digests(range(6)) == first
    assert len(set(first)) == 6


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_no_run_depends_on_the_order_of_sets_or_the_hashes_of_texts(hash_seed: str) -> None:
    code = "from tests.core.test_world import digests; print(*digests(range(3)))"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
        cwd=Path(__file__).parent.parent.parent,
    )
    assert done.stdout.split() == digests(range(3))


# --- teeth: the world catches what is planted


def nothing(*_: Any, **__: Any) -> None:
    return None


def nothing_back(cut: Callable[[Ticket, int], Batch | None]) -> Callable[[Ticket, int], None]:
    """Like ``cut``, but what it gives back is lost."""

    def forgetful(ticket: Ticket, taken_from: int) -> None:
        cut(ticket, taken_from)

    return forgetful


def no_inventory_on_stall(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(StallWatch, "due", lambda *_: False)


def no_inventory_at_all(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Recovery, "ask", nothing)


def lost_links_lose_work(patch: pytest.MonkeyPatch) -> None:
    unlinked = Exchange.unlinked

    def forgetful(exchange: Exchange, peer: PeerId) -> list[Batch]:
        unlinked(exchange, peer)
        return []

    patch.setattr(Exchange, "unlinked", forgetful)


def children_keyed_by_their_parent_alone(patch: pytest.MonkeyPatch) -> None:
    def key(_: RunId, batch: Batch, index: int) -> RunId:
        return RunId((batch.origin * 1_000 + index + 1) % (1 << 62))

    patch.setattr(world, "run_of", key)


def done_when_all_is_placed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Job, "complete", property(lambda job: job.total is not None and not job.backlog))


def combined_values_count_in_part(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ledger, "_status", lambda *_: _Status.OUTSTANDING)


def early_children_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ledger, "_parent_is_done", lambda *_: True)


def what_slots_give_back_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ticket, "cut", nothing_back(Ticket.cut))


def functions_are_not_shared(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Compute, "share_functions", nothing)


def promises_before_the_records_are_safe(patch: pytest.MonkeyPatch) -> None:
    flush = Promises.flush

    def hasty(promises: Promises) -> None:
        flush(promises)
        promises.persisted(promises._issued)

    patch.setattr(Promises, "flush", hasty)


def a_snapshot_without_what_was_not_taken(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(limits, "SNAPSHOT_MIN_BYTES", 500)
    patch.setattr(Outbox, "kept", lambda _: [])


def outcomes_before_it_is_known_what_was_seen(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Job, "attached", property(lambda _: True, lambda *_: None), raising=False)


def tasks_of_a_worker_that_leaves_are_blamed(patch: pytest.MonkeyPatch) -> None:
    abandon = Compute.abandon

    def blaming(compute: Compute) -> None:
        abandon(compute)
        compute._blameless = False

    patch.setattr(Compute, "abandon", blaming)


def a_worker_leaves_with_what_was_on_its_way(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Departure, "_released", property(lambda _: True, lambda *_: None), raising=False)


def what_descends_from_a_cancelled_item_goes_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ledger, "_is_withdrawn", lambda *_: False)


def tickets_of_a_job_that_was_over_count_for_the_same_job(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ticket, "over", property(lambda _: False, lambda *_: None))


TEETH: list[tuple[Callable[[pytest.MonkeyPatch], None], str]] = [
    (no_inventory_on_stall, "workers crash, combined"),
    (no_inventory_at_all, "workers crash"),
    (lost_links_lose_work, "links break"),
    (children_keyed_by_their_parent_alone, "everything"),
    (done_when_all_is_placed, "trees"),
    (combined_values_count_in_part, "everything"),
    (early_children_are_forgotten, "combined trees"),
    (what_slots_give_back_is_forgotten, "small tasks"),
    (functions_are_not_shared, "trees"),
    (promises_before_the_records_are_safe, "the controller dies, combined"),
    (a_snapshot_without_what_was_not_taken, "the controller dies, combined"),
    (outcomes_before_it_is_known_what_was_seen, "links to the controller break"),
    (tickets_of_a_job_that_was_over_count_for_the_same_job, "the controller dies"),
    (tasks_of_a_worker_that_leaves_are_blamed, "workers leave"),
    (a_worker_leaves_with_what_was_on_its_way, "workers leave"),
    (what_descends_from_a_cancelled_item_goes_on, "items are cancelled"),
]


def is_caught(plan: Plan, seed: int) -> bool:
    try:
        outcome: Outcome = World(plan, seed).run()
    except Exception:
        return True
    return plan in (CALM | LEAVING).values() and (outcome.duplicates, outcome.requeued) != (0, 0)


@pytest.mark.parametrize(("plant", "name"), TEETH, ids=[plant.__name__ for plant, _ in TEETH])
def test_planted_bugs_are_caught(
    plant: Callable[[pytest.MonkeyPatch], None], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = (CALM | ROUGH | DEATHS | LEAVING)[name]
    plant(monkeypatch)
    assert any(is_caught(plan, seed) for seed in range(200))


def test_a_failure_says_how_to_see_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    no_inventory_at_all(monkeypatch)
    plan = ROUGH["the last worker crashes"]
    with pytest.raises(world.WorldError) as caught:
        for seed in range(200):
            World(plan, seed).run()
    command = str(caught.value).partition(" of ")[2].rstrip(")") + ")"
    with pytest.raises(world.WorldError) as again:
        eval(command, {"World": World, "Plan": Plan})
    assert str(again.value) == str(caught.value)
