"""The two-word protocol under every interleaving of a slot and its worker, on the real shared memory.

The model below is the slot's loop and the worker's reclaims, cut where they touch the shared words. Every
schedule of those steps, every group size, every limit is explored; the words are set back to replay.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbnet import limits
from lbnet.pool.claims import Claims

ENTRY = 1
LO, HI = 2, 7
RECLAIMS = 2


@pytest.fixture
def claims() -> Iterator[Claims]:
    made = Claims()
    yield made
    made.close()


# --- the model ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """Where both sides are, and what they have done.

    The slot is ``idle`` before a group, has ``announced`` one and not yet looked, ``looked`` ahead of its
    announcement (only the broken processor does), ``runs`` one, or has ``finished``.
    The worker has ``revoked`` from a limit and not yet looked, or not. ``kept`` is the end of what it leaves to
    the slot.
    """

    words: tuple[int, ...]
    slot: str = "idle"
    begin: int = LO
    end: int = LO
    ran: int = LO
    revoked: bool = False
    reclaims: int = RECLAIMS
    kept: int = HI


def words_of(claims: Claims) -> tuple[int, ...]:
    return tuple(claims._words[8 * (1 + ENTRY) : 8 * (1 + ENTRY) + 2])


def set_words(claims: Claims, words: tuple[int, ...]) -> None:
    for offset, word in enumerate(words):
        claims._words[8 * (1 + ENTRY) + offset] = word


Step = Callable[[Claims, State], Iterator[State]]


def slot_steps(claims: Claims, state: State) -> Iterator[State]:
    """What the slot may do next: the order of its accesses is that of the source."""
    if state.slot == "idle":
        if state.begin == HI:
            yield replace(state, slot="finished")
        for end in range(state.begin + 1, HI + 1):
            set_words(claims, state.words)
            claims.announce(ENTRY, end)
            yield replace(state, slot="announced", end=end, words=words_of(claims))
    elif state.slot == "announced":
        end = claims.granted(ENTRY, state.begin, state.end)
        slot = "finished" if end == state.begin else "runs"
        yield replace(state, slot=slot, end=end, words=words_of(claims))
    elif state.slot == "runs":
        if state.ran < state.end:
            yield replace(state, ran=state.ran + 1)
            if state.ran > state.begin:
                # The helper lets go of what was not started: the loop can take no more of it.
                claims.announce(ENTRY, state.ran)
                yield replace(state, end=state.ran, words=words_of(claims))
        else:
            yield replace(state, slot="idle", begin=state.end)


def overtaking_slot_steps(claims: Claims, state: State) -> Iterator[State]:
    """The same on a processor that lets the slot's read overtake its write."""
    if state.slot == "idle" and state.begin < HI:
        for end in range(state.begin + 1, HI + 1):
            set_words(claims, state.words)
            read = claims.granted(ENTRY, state.begin, end)
            # Nothing of that is visible yet, not even a lowered claim.
            yield replace(state, slot="looked", end=read)
    elif state.slot == "looked":
        claims.announce(ENTRY, state.end)
        slot = "finished" if state.end == state.begin else "runs"
        yield replace(state, slot=slot, words=words_of(claims))
    else:
        yield from slot_steps(claims, state)


def worker_steps(claims: Claims, state: State) -> Iterator[State]:
    """What the worker may do next, while the ticket is out as far as it knows."""
    if state.revoked:
        taken_from = claims.taken_from(ENTRY)
        yield replace(state, revoked=False, reclaims=state.reclaims - 1, kept=min(state.kept, taken_from))
    elif state.reclaims:
        for limit in range(LO, HI + 1):
            set_words(claims, state.words)
            claims.revoke(ENTRY, limit)
            yield replace(state, revoked=True, words=words_of(claims))


def explore(claims: Claims, slot: Step) -> Iterator[State]:
    """Every reachable state, once."""
    claims.issue(ENTRY, LO, HI)
    waiting = [State(words_of(claims))]
    seen = set(waiting)
    while waiting:
        state = waiting.pop()
        yield state
        for steps in (slot, worker_steps):
            set_words(claims, state.words)
            for after in list(steps(claims, state)):
                if after not in seen:
                    seen.add(after)
                    waiting.append(after)


def owned_once(state: State) -> bool:
    """Whether no task that ran has been taken back: the worker would run it elsewhere."""
    return state.ran <= state.kept


def test_no_schedule_lets_both_run_a_task_or_loses_one(claims: Claims) -> None:
    ends = 0
    for state in explore(claims, slot_steps):
        assert owned_once(state), state
        if state.slot == "runs":
            assert state.begin < state.end <= HI
        if state.slot == "finished":
            ends += 1
            # FINISHED says `ran`; the worker has taken back [kept, hi) and queues [ran, kept) again.
            assert LO <= state.ran == state.begin
            gap = range(state.ran, state.kept)
            pieces = [*range(LO, state.ran), *gap, *range(max(state.ran, state.kept), HI)]
            assert pieces == list(range(LO, HI))
    assert ends > 10


def test_both_may_yield_so_that_the_gap_is_real(claims: Claims) -> None:
    assert any(s.slot == "finished" and s.ran < s.kept for s in explore(claims, slot_steps))


def test_a_processor_that_reorders_runs_tasks_twice_and_loses_none(claims: Claims) -> None:
    twice = 0
    for state in explore(claims, overtaking_slot_steps):
        twice += not owned_once(state)
        if state.slot == "finished":
            kept_by_worker = min(state.ran, state.kept)
            assert {*range(LO, state.ran), *range(kept_by_worker, HI)} == set(range(LO, HI))
    assert twice, "the model would not notice"


def test_a_claim_is_announced_before_the_limit_is_read() -> None:
    # The model takes the two steps apart: the call that slots make must take them in this order.
    steps: list[str] = []

    class Recorded(Claims):
        __slots__ = ()

        def announce(self, entry: int, upto: int) -> None:
            steps.append(f"announce {upto}")
            super().announce(entry, upto)

        def granted(self, entry: int, begin: int, end: int) -> int:
            steps.append("look")
            return super().granted(entry, begin, end)

    claims = Recorded()
    claims.issue(0, 0, 9)
    claims.revoke(0, 3)
    assert claims.claim(0, 2, 6) == 3
    assert steps == ["announce 6", "look", "announce 3"]
    claims.close()


def test_without_reclaims_everything_runs(claims: Claims) -> None:
    claims.issue(ENTRY, LO, HI)
    begin = LO
    while begin < HI:
        begin = claims.claim(ENTRY, begin, min(begin + 2, HI))
    assert claims.taken_from(ENTRY) == HI
    claims.revoke(ENTRY, LO)
    assert claims.taken_from(ENTRY) == HI


# --- single calls -----------------------------------------------------------------------------------


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_a_claim_after_a_reclaim_stops_at_its_limit(lo: int, size: int, group: int, limit: int) -> None:
    claims = Claims()
    hi = lo + size
    claims.issue(0, lo, hi)
    claims.revoke(0, lo + limit)
    assert claims.taken_from(0) == min(lo + limit, hi)
    end = claims.claim(0, lo, lo + group)
    assert end == min(lo + group, lo + limit, hi)
    assert claims.taken_from(0) == min(lo + limit, hi)
    claims.close()


def test_a_limit_is_never_raised(claims: Claims) -> None:
    claims.issue(0, 0, 10)
    claims.revoke(0, 4)
    claims.revoke(0, 8)
    assert claims.taken_from(0) == 4


def test_a_ticket_makes_its_entry_new_and_no_other(claims: Claims) -> None:
    for entry in range(limits.CLAIM_ENTRIES):
        claims.issue(entry, 10 * entry, 10 * entry + 5)
        claims.current(entry)[0] = 10 * entry + 1
        claims.started(entry)[0] = entry + 0.5
    claims.revoke(1, 11)
    assert [claims.taken_from(entry) for entry in range(limits.CLAIM_ENTRIES)] == [5, 11, 25, 35]
    assert claims.running(2) == (21, 2.5)
    claims.issue(1, 100, 200)
    assert claims.running(1) == (-1, 0.0)
    assert claims.taken_from(1) == 200
    assert claims.running(0) == (1, 0.5)
    assert claims.running(3) == (31, 3.5)


def test_the_hungry_flag_is_a_word_of_its_own(claims: Claims) -> None:
    flag = claims.flag()
    assert flag[0] == 0
    claims.set_hungry(True)
    claims.issue(0, 5, 6)
    assert flag[0] == 1
    claims.set_hungry(False)
    assert flag[0] == 0
    flag.release()


def test_two_mappings_of_the_file_are_the_same_words(claims: Claims) -> None:
    slot = Claims(os.dup(claims.fd))
    slot.close_file()
    claims.issue(3, 5, 9)
    slot.announce(3, 7)
    current = slot.current(3)
    current[0] = 6
    current.release()
    claims.revoke(3, 6)
    assert claims.taken_from(3) == 7
    assert claims.running(3) == (6, 0.0)
    assert slot.granted(3, 6, 7) == 6
    assert claims.taken_from(3) == 6
    slot.close()


def test_closing_gives_back_the_file_and_the_memory() -> None:
    claims = Claims()
    fd = claims.fd
    claims.close_file()
    assert claims.fd == -1
    with pytest.raises(OSError):
        os.fstat(fd)
    claims.issue(0, 1, 2)
    assert claims.taken_from(0) == 2
    claims.close()
    with pytest.raises(ValueError, match="released"):
        claims.taken_from(0)


def test_the_memory_is_small() -> None:
    claims = Claims()
    assert os.fstat(claims.fd).st_size <= mmap.PAGESIZE
    claims.close()
