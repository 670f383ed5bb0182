"""What leaves a slot, in which order, and whose time it is; on a clock that the test moves."""

from __future__ import annotations

import operator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbnet import limits, pickling
from lbnet.pool import wire
from lbnet.pool.outbox import Outbox
from lbnet.pool.results import FOLDED
from lbnet.protocol.framing import FrameReader
from lbnet.types import COMBINED, ROOT, VALUES, Batch, JobId, Payload, RunId

FLUSH_S = limits.RESULT_FLUSH_S


def run_of(lo: int = 0, hi: int = 1_000, *, ticket: int = 1, origin: RunId = ROOT) -> wire.Run:
    batch = Batch(JobId(1), origin, lo, hi, 0, ROOT, 0, Payload(lo, hi - lo, b"f", b""))
    return wire.Run(ticket, 0, batch, RunId(50), b"", False)


class Post:
    """The other end of an outbox, and its clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.writes: list[bytes] = []
        self.outbox = Outbox(self.writes.append, lambda: self.now, "here")

    def messages(self) -> list[Any]:
        frames = FrameReader()
        frames.feed(b"".join(self.writes))
        found = []
        while (body := frames.next()) is not None:
            found.append(wire.CODEC.decode(body))
        assert frames.pending_bytes == 0
        return found

    def done(self) -> list[wire.Done]:
        return [message for message in self.messages() if isinstance(message, wire.Done)]

    def seconds(self) -> float:
        return sum(group.seconds for message in self.done() for group in message.groups)

    def values(self) -> list[Any]:
        found = []
        for message in self.done():
            for group in message.groups:
                reader = pickling.load_values(group.data)
                found += [reader.get(place) for place in range(len(reader))]
        return found


@pytest.fixture
def post() -> Post:
    return Post()


def test_the_first_results_leave_at_once_and_later_ones_wait_for_company(post: Post) -> None:
    outbox = post.outbox
    outbox.begin(run_of())
    outbox.group_began()
    outbox.finished.append(1)
    outbox.group_ended(1, 90)
    assert [(m.upto, len(m.groups)) for m in post.done()] == [(1, 1)]
    for number in (2, 3):
        outbox.group_began()
        outbox.finished.append(number)
        post.now += FLUSH_S / 4
        outbox.group_ended(1, 90)
    assert outbox.pending
    assert len(post.writes) == 1
    outbox.group_began()
    outbox.finished.append(4)
    post.now += FLUSH_S
    outbox.group_ended(1, 90)
    assert not outbox.pending
    assert [m.upto for m in post.done()] == [1, 4]
    assert post.values() == [1, 2, 3, 4]


@pytest.mark.parametrize(("left", "waits"), [(0, True), (20, True), (200, False)])
def test_what_is_due_waits_for_the_end_of_the_ticket_if_that_is_near(post: Post, left: int, *, waits: bool) -> None:
    outbox = post.outbox
    outbox.flushed_at = post.now
    outbox.begin(run_of(0, 300))
    outbox.group_began()
    outbox.finished += range(100)
    post.now += 1.2 * FLUSH_S
    outbox.group_ended(100, left)
    assert outbox.pending == waits
    # The tasks take longer than was thought: now it does not wait any more.
    outbox.group_began()
    outbox.finished.append(100)
    post.now += 1.1 * FLUSH_S
    outbox.group_ended(1, max(left - 1, 1))
    assert not outbox.pending
    assert post.values() == list(range(101))


def test_the_end_of_a_ticket_sends_all_of_it_in_one_write(post: Post) -> None:
    outbox = post.outbox
    outbox.flushed_at = post.now
    outbox.begin(run_of(5, 20, ticket=8))
    outbox.group_began()
    outbox.finished += ["a", "b"]
    outbox.group_ended(2, 90)
    assert post.writes == []
    outbox.end(7)
    assert len(post.writes) == 1
    done, finished = post.messages()
    assert (done.ticket, done.upto) == (8, 7)
    assert finished == wire.Finished(8, 7)
    assert not outbox.pending


def test_a_ticket_that_ran_nothing_says_only_that(post: Post) -> None:
    post.outbox.begin(run_of(5, 20, ticket=8))
    post.outbox.end(5)
    assert post.messages() == [wire.Finished(8, 5)]


def test_messages_keep_their_order(post: Post) -> None:
    outbox = post.outbox
    outbox.begin(run_of())
    with outbox.lock:
        outbox.queue(wire.Teach(JobId(1), b"d", b"fn"))
        outbox.finished.append(1)
        outbox.flush(post.now)
        outbox.queue(wire.Teach(JobId(1), b"e", b"fn"))
    outbox.end(1)
    assert [type(message) for message in post.messages()] == [wire.Teach, wire.Done, wire.Teach, wire.Finished]


def test_the_time_between_groups_belongs_to_no_task(post: Post) -> None:
    outbox = post.outbox
    outbox.begin(run_of())
    post.now += 5
    outbox.group_began()
    post.now += 2
    outbox.finished.append(1)
    assert outbox.group_ended(1, 90) == pytest.approx(2)
    post.now += 7
    outbox.end(1)
    assert post.seconds() == pytest.approx(2)


def test_in_a_long_task_the_finished_ones_count_as_those_before(post: Post) -> None:
    outbox = post.outbox
    outbox.begin(run_of())
    outbox.group_began()
    outbox.finished += [1, 2]
    post.now += 0.004
    outbox.group_ended(2, 90)
    outbox.group_began()
    outbox.finished += [3, 4, 5]
    post.now += 1.0
    with outbox.lock:
        outbox.flush(post.now)
    assert post.seconds() == pytest.approx(0.004 + 3 * 0.002)
    post.now += 1.0
    outbox.finished.append(6)
    outbox.group_ended(4, 90)
    outbox.end(6)
    assert post.seconds() == pytest.approx(2.004)
    assert post.values() == [1, 2, 3, 4, 5, 6]


steps = st.lists(
    st.tuples(st.sampled_from(["began", "task", "task", "flush", "ended", "end"]), st.floats(0, 0.01), st.booleans()),
    max_size=40,
)


@given(steps)
def test_every_schedule_of_both_threads_tells_each_task_once_and_all_of_the_time(
    schedule: list[tuple[str, float, bool]],
) -> None:
    post = Post()
    outbox = post.outbox
    outbox.begin(run_of(0, 1_000))
    index = begin = ended = 0
    # Tasks of the group that no flush has seen: a helper that comes after the last of them, when the group is not yet
    # closed, leaves their time without tasks. That is a few microseconds wide, and durations are estimates.
    unseen = 0
    in_group = False
    spent = 0.0
    for step, duration, folded in [*schedule, ("began", 0.0, False), ("task", 0.0, False), ("ended", 0.0, False)]:
        if step == "began" and not in_group:
            outbox.group_began()
            in_group, unseen, begin = True, 0, index
        elif step == "task" and in_group:
            post.now += duration
            spent += duration
            if folded:
                with outbox.lock:
                    outbox.fold(index, 1, operator.add)
                    outbox.finished.append(FOLDED)
            else:
                outbox.finished.append(index)
            index += 1
            unseen += 1
        elif step == "flush":
            unseen = 0
            with outbox.lock:
                outbox.flush(post.now)
            assert not outbox.pending
        elif step == "ended" and unseen:
            outbox.group_ended(index - begin, 90)
            in_group, unseen, ended = False, 0, index
        elif step == "end" and not in_group:
            post.now += duration
    outbox.end(ended)
    members = [
        number
        for message in post.done()
        for group in message.groups
        for member in group.members
        for number in range(member.lo, member.hi)
    ]
    assert sorted(members) == list(range(index))
    assert post.seconds() == pytest.approx(spent, abs=1e-9)
    assert all(group.seconds >= 0 for message in post.done() for group in message.groups)
    upto = [message.upto for message in post.done()]
    assert upto == sorted(upto)
    assert all(member.hi <= message.upto for message in post.done() for g in message.groups for member in g.members)
    assert post.messages()[-1] == wire.Finished(1, index)


def test_combined_values_leave_with_the_flush(post: Post) -> None:
    outbox = post.outbox
    outbox.begin(run_of(origin=RunId(9)))
    outbox.group_began()
    for index in range(3):
        with outbox.lock:
            outbox.fold(index, 10, operator.add)
            outbox.finished.append(FOLDED)
    assert outbox.pending
    with outbox.lock:
        outbox.flush(post.now)
    ((group,),) = [message.groups for message in post.done()]
    assert group.kind == COMBINED
    assert post.values() == [30]
    assert not outbox.pending


def test_a_reduce_that_raises_sends_a_failure_for_each_task(post: Post) -> None:
    outbox = post.outbox
    outbox.begin(run_of(origin=RunId(9)))
    outbox.group_began()
    for index, value in enumerate([1, "two"]):
        with outbox.lock:
            outbox.fold(index, value, operator.add)
            outbox.finished.append(FOLDED)
    outbox.end(2)
    (done,) = post.done()
    assert [group.failure is not None for group in done.groups] == [True, True]
    assert [group.members[0].lo for group in done.groups] == [0, 1]


def test_much_data_leaves_in_several_messages(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LINK_BUFFER_HIGH_BYTES", 1_000)
    outbox = post.outbox
    outbox.begin(run_of())
    values = [bytes([number]) * 400 for number in range(6)]
    outbox.finished += values
    outbox.end(6)
    done = post.done()
    assert [len(message.groups) for message in done] == [1, 1, 1]
    # A later message must not be taken for a part of the running task: `upto` rises with the last.
    assert [message.upto for message in done] == [0, 0, 6]
    assert all(group.kind == VALUES for message in done for group in message.groups)
    assert post.values() == values


def test_tickets_follow_each_other(post: Post) -> None:
    for ticket in (1, 2):
        post.outbox.begin(run_of(10 * ticket, 10 * ticket + 5, ticket=ticket))
        post.outbox.finished.append(ticket)
        post.outbox.end(10 * ticket + 1)
    assert [(m.ticket, m.upto) for m in post.done()] == [(1, 11), (2, 21)]
    with pytest.raises(AssertionError, match="one ticket at a time"):
        post.outbox.begin(run_of())
        post.outbox.begin(run_of())
