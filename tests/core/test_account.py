"""A worker's account of its slots' time, checked second by second against a diary of what each slot did."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbnet import limits
from lbnet.core.account import Account, Accounts
from lbnet.types import JobId, SlotId

ONE, TWO = JobId(1), JobId(2)
S0, S1 = SlotId(0), SlotId(1)
EMPTY, HELD_UP, DOWN = "empty", "held up", "down"


def of(accounts: Accounts, now: float, job: JobId = ONE) -> Account:
    account = accounts.of(job, now)
    assert account is not None
    return account


def ran(accounts: Accounts, begin: float, end: float, seconds: float, job: JobId = ONE, slot: SlotId = S0) -> None:
    """One ticket of one task."""
    accounts.began(slot, job, begin, front=True)
    accounts.reported(slot, job, end, seconds, 1, seconds)
    accounts.over(slot, None, end)


def test_a_slot_is_empty_then_in_tickets_then_empty_again() -> None:
    accounts = Accounts(1)
    accounts.up(S0, 5.0)
    accounts.opened(ONE, 10.0)
    ran(accounts, 11.0, 14.0, 2.5)
    ran(accounts, 16.0, 17.0, 0.75)
    accounts.ended(ONE, 21.0)
    account = of(accounts, 99.0)
    assert account == Account(
        window_s=11.0,
        inside_s=4.0,
        told_s=3.25,
        waiting_s=2.0,
        gaps=1,
        tail_s=4.0,
        tasks=2,
        tickets=2,
        longest_s=2.5,
    )


def test_a_ticket_behind_another_begins_when_that_is_over() -> None:
    accounts = Accounts(1)
    accounts.opened(ONE, 0.0)
    accounts.opened(TWO, 0.0)
    accounts.began(S0, ONE, 1.0, front=True)
    accounts.began(S0, TWO, 1.0, front=False)
    accounts.over(S0, TWO, 4.0)
    accounts.over(S0, None, 6.0)
    one, two = of(accounts, 7.0), of(accounts, 7.0, TWO)
    assert (one.inside_s, one.others_s, one.tail_s, one.tickets) == (3.0, 2.0, 1.0, 1)
    assert (two.inside_s, two.others_s, two.tail_s, two.tickets) == (2.0, 3.0, 1.0, 1)


def test_what_a_slot_was_in_without_a_pause_before_a_job_came_is_told() -> None:
    accounts = Accounts(2)
    accounts.opened(TWO, 0.0)
    ran(accounts, 1.0, 2.0, 1.0, TWO, S1)
    ran(accounts, 3.0, 5.0, 1.0, TWO)
    ran(accounts, 5.0, 6.0, 1.0, TWO)
    accounts.began(S0, TWO, 6.0, front=True)
    accounts.opened(ONE, 8.0)
    accounts.over(S0, None, 9.0)
    account = of(accounts, 10.0)
    assert account.before_s == (5.0,)
    assert (account.others_s, account.unused) == (1.0, 2)


def test_executions_that_die_or_are_tried_again_are_told_apart() -> None:
    accounts = Accounts(1)
    accounts.opened(ONE, 0.0)
    accounts.began(S0, ONE, 1.0, front=True)
    accounts.reported(S0, ONE, 3.0, 2.0, 1, 2.0)
    accounts.retried(ONE, 1.5)
    accounts.died(S0, 7.0)
    accounts.up(S0, 8.0)
    account = of(accounts, 10.0)
    assert (account.told_s, account.retried_s, account.lost_s, account.down_s) == (0.5, 1.5, 4.0, 1.0)
    assert (account.inside_s, account.tail_s) == (6.0, 2.0)


def test_what_a_slot_is_in_when_somebody_asks_is_told_apart() -> None:
    accounts = Accounts(2)
    accounts.opened(ONE, 0.0)
    accounts.began(S1, ONE, 1.0, front=True)
    assert of(accounts, 3.0).running_s == 2.0
    accounts.reported(S1, ONE, 4.0, 3.0, 1, 3.0)
    account = of(accounts, 6.0)
    assert (account.running_s, account.inside_s, account.told_s, account.unused) == (2.0, 5.0, 3.0, 1)


def test_a_job_that_ended_is_remembered_for_a_while_and_costs_nothing_more() -> None:
    accounts = Accounts(1)
    accounts.opened(ONE, 0.0)
    accounts.began(S0, ONE, 1.0, front=True)
    accounts.ended(ONE, 2.0)
    accounts.ended(TWO, 2.0)
    before = of(accounts, 3.0)
    accounts.reported(S0, ONE, 5.0, 4.0, 1, 4.0)
    accounts.over(S0, None, 5.0)
    assert of(accounts, 9.0) == before
    for number in range(limits.REPORTS_KEPT):
        job = JobId(100 + number)
        accounts.opened(job, 10.0)
        accounts.ended(job, 10.0)
    assert accounts.of(ONE, 10.0) is None
    assert accounts.of(TWO, 10.0) is None
    assert accounts.of(JobId(100), 10.0) is not None


def test_an_account_travels_and_nonsense_counts_as_nothing() -> None:
    account = Account(1.0, 2.0, 3.0, gaps=4, before_s=(5.0, 6.0), tasks=7)
    assert Account.of(json.loads(json.dumps(account.facts()))) == account
    assert Account.of({}) is None
    nonsense = {"window_s": math.nan, "told_s": -1, "inside_s": "x", "tasks": 1.5, "gaps": -2, "tail_s": True}
    assert Account.of(nonsense | {"before_s": "12"}) == Account()
    assert Account.of({"window_s": 10**400, "told_s": 1e300, "gaps": 10**400, "before_s": [10**400]}) == Account(
        before_s=(0.0,)
    )
    assert Account.of({"window_s": 1, "before_s": [1, None]}) == Account(1, before_s=(1, 0.0))


# --- against a diary ------------------------------------------------------------------------------


@dataclass
class Diary:
    """What each slot did in each second, and when jobs were opened; the accounts are told the same."""

    accounts: Accounts = field(default_factory=lambda: Accounts(2))
    now: int = 0
    does: list[list[object]] = field(default_factory=lambda: [[], []])
    doing: list[object] = field(default_factory=lambda: [EMPTY, EMPTY])
    opened: dict[JobId, int] = field(default_factory=dict)

    def passes(self, seconds: int) -> None:
        for slot in (0, 1):
            self.does[slot] += [self.doing[slot]] * seconds
        self.now += seconds

    def job(self, number: int) -> JobId:
        job = JobId(number)
        if job not in self.opened:
            self.opened[job] = self.now
            self.accounts.opened(job, self.now)
        return job

    def begins(self, slot: int, number: int) -> None:
        job, front = self.job(number), self.doing[slot] in (EMPTY, HELD_UP)
        if front:
            self.accounts.began(SlotId(slot), job, self.now, front=True)
            self.doing[slot] = job
        elif self.doing[slot] != DOWN:
            self.accounts.over(SlotId(slot), job, self.now)
            self.doing[slot] = job

    def ends(self, slot: int, _: int) -> None:
        if self.doing[slot] not in (EMPTY, HELD_UP, DOWN):
            self.accounts.over(SlotId(slot), None, self.now)
            self.doing[slot] = EMPTY

    def dies(self, slot: int, _: int) -> None:
        self.accounts.died(SlotId(slot), self.now)
        self.doing[slot] = DOWN

    def ready(self, slot: int, _: int) -> None:
        if self.doing[slot] == DOWN:
            self.accounts.up(SlotId(slot), self.now)
            self.doing[slot] = EMPTY

    def holds_up(self, _: int, on: int) -> None:
        (self.accounts.hold_up if on == 1 else self.accounts.go_on)(self.now)
        was, becomes = (EMPTY, HELD_UP) if on == 1 else (HELD_UP, EMPTY)
        self.doing = [becomes if doing == was else doing for doing in self.doing]


STEPS: list[Callable[[Diary, int, int], None]] = [
    Diary.begins, Diary.begins, Diary.ends, Diary.dies, Diary.ready, Diary.holds_up,
]  # fmt: skip


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(STEPS), st.integers(0, 1), st.integers(1, 2)), max_size=40)
)
def test_every_second_of_every_slot_is_in_one_place(steps: list[tuple[int, Callable[..., None], int, int]]) -> None:
    diary = Diary()
    diary.job(1)
    for seconds, step, slot, number in steps:
        diary.passes(seconds)
        step(diary, slot, number)
    diary.passes(1)
    for job, opened in diary.opened.items():
        account = of(diary.accounts, diary.now, job)
        seconds = [does[opened:] for does in diary.does]
        everything = [doing for does in seconds for doing in does]
        assert account.window_s == diary.now - opened
        assert account.inside_s == everything.count(job)
        assert account.others_s == sum(isinstance(doing, int) and doing != job for doing in everything)
        assert account.down_s == everything.count(DOWN)
        assert account.held_up_s == everything.count(HELD_UP)
        # A ticket that took no time leaves no second in the diary, and may be the first one.
        after_first = sum(does[does.index(job) :].count(EMPTY) for does in seconds if job in does)
        assert after_first <= account.waiting_s + account.tail_s <= everything.count(EMPTY)


def test_a_dead_slot_that_never_ran_is_down_until_its_successor_is_up() -> None:
    accounts = Accounts(1)
    accounts.opened(ONE, 0.0)
    accounts.died(S0, 2.0)
    accounts.up(S0, 5.0)
    account = of(accounts, 6.0)
    assert (account.down_s, account.lost_s, account.tail_s, account.unused) == (3.0, 0.0, 0.0, 1)


@pytest.mark.parametrize("busy", [False, True])
def test_slots_are_held_up_only_while_they_have_nothing(busy: bool) -> None:
    accounts = Accounts(1)
    accounts.opened(ONE, 0.0)
    if busy:
        accounts.began(S0, ONE, 0.0, front=True)
    accounts.hold_up(1.0)
    assert accounts.held_up
    accounts.go_on(4.0)
    assert not accounts.held_up
    assert of(accounts, 5.0).held_up_s == (0.0 if busy else 3.0)
