"""A ticket of plain tasks does what a slot that takes one task after the other would do."""

from __future__ import annotations

import random

import pytest

from lbnet import limits
from lbnet.sim.costs import Costs
from tests.sim.slot_owner import SlotOwner
from tests.sim.work import Flat

FLUSH_S = limits.RESULT_FLUSH_S


def test_results_leave_on_a_timer_and_at_the_end():
    owner = SlotOwner(Flat(30, 0.004))
    owner.run(0, 30)
    owner.engine.run()
    # The last flush is long ago, so the first task is told at once; then what is finished when it is due, until the end
    # is near, which brings the rest.
    assert owner.done() == [(0.004, 1), (pytest.approx(0.056), 14), (0.12, 30)]
    assert owner.finished() == [(0.12, 30)]
    seconds = [sum(group.seconds for group in event.groups) for _, event in owner.said if hasattr(event, "groups")]
    assert sum(seconds) == pytest.approx(0.12)


def test_a_slot_is_never_silent_for_long():
    owner = SlotOwner(Flat(1_000, 0.004))
    owner.run(0, 1_000)
    owner.engine.run()
    told = [when for when, _ in owner.done()]
    assert max(after - before for before, after in zip(told, told[1:], strict=False)) < limits.REPORT_LATEST_S
    assert len(told) > 4.0 / limits.REPORT_LATEST_S


def test_what_was_finished_leaves_beside_a_long_task():
    owner = SlotOwner(Flat(3, 0.001, 0.002, 10.0))
    owner.run(0, 3)
    owner.engine.run()
    # Two wait when the long one begins, as the end was near before: they are told when that has lasted for a while.
    assert owner.done() == [(pytest.approx(0.001 + FLUSH_S), 2), (10.003, 3)]


TICK_S = 2.0**-20


def test_tasks_are_claimed_in_groups_that_grow():
    fitting = int(limits.GROUP_S / TICK_S)
    owner = SlotOwner(Flat(20_000, TICK_S))
    owner.run(0, 20_000)
    # 1, then 16, 256, 4096, and then as many as fit.
    sizes = [1, 16, 256, 4096, fitting, fitting]
    for place, last in enumerate(sizes):
        claimed = sum(sizes[: place + 1])
        owner.until((claimed - last + 0.5) * TICK_S)
        assert owner.slot.reclaim(1, 20_000) == 20_000
        ticket = owner.slot._running
        assert ticket is not None
        assert ticket.claimed() == claimed


def test_a_reclaim_leaves_what_is_claimed():
    owner = SlotOwner(Flat(100, 128 * TICK_S))  # 8 of them in a millisecond
    owner.run(0, 100)
    owner.until(11.5 * 128 * TICK_S)
    assert owner.slot.reclaim(1, 0) == 17
    assert owner.slot.reclaim(1, 50) == 17
    owner.engine.run()
    assert [ran_to for _, ran_to in owner.finished()] == [17]
    assert owner.slot.reclaim(1, 0) is None


def test_a_group_with_a_long_task_is_let_go():
    owner = SlotOwner(Flat(12, *[0.00002] * 3, 1.0, *[0.00002] * 8))
    owner.run(0, 12)
    owner.until(0.75 * FLUSH_S)
    assert owner.slot.reclaim(1, 0) == 12  # the second group holds them all
    owner.until(1.05 * FLUSH_S)
    assert owner.slot.reclaim(1, 0) == 4
    owner.engine.run()
    assert owner.finished() == [(1.00006, 4)]


def test_tickets_wait_for_each_other_and_can_be_taken_back_whole():
    owner = SlotOwner(Flat(40, 0.001), Costs(ticket_s=0.0005, task_s=0.0, pipe_s=0.0))
    for ticket in range(4):
        owner.run(10 * ticket, 10 * ticket + 10, ticket)
    assert owner.slot.reclaim(0, 0) == 0
    assert owner.slot.reclaim(2, 24) == 24
    owner.engine.run()
    assert owner.finished() == [(0.0005, 0), (0.011, 20), (0.0155, 24), (0.026, 40)]
    assert owner.running == 0


def test_a_slow_worker_and_overheads():
    owner = SlotOwner(Flat(10, 0.001), Costs(ticket_s=0.0, task_s=0.0005), speed=0.5)
    owner.run(0, 10)
    owner.engine.run()
    assert owner.finished() == [(0.025, 10)]


def test_a_dead_worker_hears_nothing():
    owner = SlotOwner(Flat(10, 0.001))
    owner.run(0, 10)
    owner.until(0.0015)
    owner.alive = False
    owner.engine.run()
    assert owner.finished() == []


class Reference:
    """The same rules, one task after the other."""

    def __init__(self, seconds: list[float], requests: list[tuple[float, int]]) -> None:
        self.seconds = seconds
        self.requests = requests
        self.limit = len(seconds)
        self.told = 0
        self.flushed_at = -FLUSH_S
        self.done: list[tuple[float, int]] = []
        self.answers: list[int] = []

    def run(self) -> tuple[float, int]:
        now, begin, size = 0.0, 0, 1
        while begin < self.limit:
            hi = min(begin + size, self.limit)
            now, end = self._group(now, begin, hi)
            self.begin = end
            mean_s = (now - self.start) / (end - begin)
            size = max(1, min(int(limits.GROUP_S / mean_s + 1e-9), size * limits.SLOT_GROUP_GROWTH))
            begin = end
            since_s = now - self.flushed_at
            left_s = (len(self.seconds) - begin) * mean_s
            soon = since_s + left_s <= limits.REPORT_LATEST_S
            if since_s >= FLUSH_S - 1e-12 and begin < self.limit and not soon:
                self._tell(now, begin)
        self._tell(now, begin)
        return now, begin

    def _group(self, now: float, begin: int, hi: int) -> tuple[float, int]:
        self.start = now
        index, claimed, let_go = begin, hi, False
        while index < claimed:
            end = now + self.seconds[index]
            while True:
                due = [(self.start + FLUSH_S, 0)] if not let_go else []
                if index > self.told:
                    due.append((max(self.flushed_at, self.start) + FLUSH_S, 1))
                if self.requests:
                    due.append((self.requests[0][0], 2))
                due = [what for what in due if what[0] < end]
                if not due:
                    break
                when, what = min(due)
                if what == 0:
                    let_go, claimed = True, index + 1
                elif what == 1:
                    self._tell(when, index)
                else:
                    self.limit = min(self.limit, self.requests.pop(0)[1])
                    self.answers.append(max(self.limit, claimed))
            now = end
            index += 1
        return now, index

    def _tell(self, now: float, upto: int) -> None:
        if upto > self.told:
            self.done.append((round(now, 9), upto))
            self.told = upto
        self.flushed_at = now


@pytest.mark.parametrize("seed", range(150))
def test_it_does_what_stepping_does(seed: int):
    draw = random.Random(f"plain {seed}").random
    scale = 10 ** (-6 + 4 * draw())
    seconds = [scale * (0.1 + draw()) * (300 if draw() < 0.03 else 1) for _ in range(int(1 + 400 * draw()))]
    whole = sum(seconds)
    requests = sorted((whole * draw(), int(len(seconds) * draw())) for _ in range(int(4 * draw())))
    owner = SlotOwner(Flat(len(seconds), *seconds))
    owner.run(0, len(seconds))
    answers = []
    for when, limit in requests:
        owner.until(when)
        answer = owner.slot.reclaim(1, limit)
        if answer is not None:
            answers.append(answer)
    owner.engine.run()
    reference = Reference(seconds, list(requests))
    when, ran_to = reference.run()
    assert owner.finished() == [(pytest.approx(when, abs=2e-9), ran_to)]
    assert answers == reference.answers
    assert [upto for _, upto in owner.done()] == [upto for _, upto in reference.done]
    assert [when for when, _ in owner.done()] == pytest.approx([when for when, _ in reference.done], abs=2e-9)
