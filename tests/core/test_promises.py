"""What follows from records is said when they are safe, and not before."""

from __future__ import annotations

from itertools import pairwise

import pytest

from lbnet import limits
from lbnet.core.effects import Effect, Fetch, Persist
from lbnet.core.job import Job
from lbnet.core.promises import Promises
from lbnet.core.results import UnkeptResults
from lbnet.protocol import messages, records
from lbnet.types import ROOT, VALUES, Batch, Group, JobId, JobOptions, Member, Payload, PeerId

CLIENT, WORKER = PeerId(1), PeerId(2)
JOB = JobId(7)


class Desk:
    """Promises, and what they lead to."""

    def __init__(
        self, *, journal: bool, patient: bool = False, detached: bool = False, memory_bytes: int = 1 << 30
    ) -> None:
        self.done: list[Effect] = []
        self.said: list[tuple[PeerId, messages.Message]] = []
        self.promises = Promises(
            self.done.append,
            lambda to, message: self.said.append((to, message)),
            journal=journal,
            patient=lambda _: patient,
            memory_bytes=memory_bytes,
        )
        opened = records.Opened(JOB, CLIENT, 1, JobOptions(detached=detached), 0.0, 1)
        self.job = Job(opened)
        self.job.attached = True
        self.promises.began(self.job, opened)

    def submits(self, lo: int, hi: int) -> None:
        self.promises.happens(
            self.job, messages.Submit(Batch(JOB, ROOT, lo, hi, 0, ROOT, 0, Payload(lo, hi - lo, b"f", bytes(500))))
        )
        self.promises.submitted(self.job)
        self.promises.flush()

    def done_is(self, lo: int, hi: int, data: bytes = b"v") -> None:
        group = group_of(lo, hi, data)
        self.promises.heard(WORKER, messages.Result(JOB, (group,), ()))
        self.promises.happens(self.job, records.Results(JOB, WORKER, "worker", 1, (group,)))
        self.promises.flush()

    def take_said(self) -> list[messages.Message]:
        said, self.said = [message for _, message in self.said], []
        return said

    @property
    def persisted(self) -> int:
        return sum(isinstance(effect, Persist) for effect in self.done)


def group_of(lo: int, hi: int, data: bytes = b"v") -> Group:
    return Group(VALUES, data, (Member(ROOT, lo, hi, lo, ROOT, 0, ROOT, ()),), 0.0, None)


def values(lo: int, hi: int) -> messages.Values:
    return messages.Values(JOB, lo, hi, lo, b"v", open=False)


def test_without_a_journal_nothing_waits() -> None:
    desk = Desk(journal=False)
    desk.submits(0, 4)
    desk.done_is(0, 2)
    assert desk.take_said() == [messages.Submitted(JOB, 4), values(0, 2)]
    assert desk.persisted == 0


@pytest.mark.usefixtures("kept_at_once")
def test_with_one_everything_waits_for_its_records() -> None:
    desk = Desk(journal=True)
    desk.submits(0, 4)
    submitted = desk.persisted
    desk.done_is(0, 2)
    assert desk.take_said() == []
    desk.promises.persisted(submitted)
    assert desk.take_said() == [messages.Submitted(JOB, 4)]
    desk.promises.persisted(desk.persisted)
    assert desk.take_said() == [values(0, 2), messages.Kept(1)]


@pytest.mark.usefixtures("kept_at_once")
def test_what_becomes_safe_together_is_said_together() -> None:
    desk = Desk(journal=True)
    desk.submits(0, 4)
    for index in range(4):
        desk.done_is(index, index + 1)
    desk.promises.persisted(desk.persisted)
    said = desk.take_said()
    assert said == [messages.Submitted(JOB, 4), *(values(index, index + 1) for index in range(4)), messages.Kept(4)]


@pytest.mark.usefixtures("kept_at_once")
def test_a_client_that_is_away_is_told_nothing_and_later_all() -> None:
    desk = Desk(journal=True)
    desk.submits(0, 2)
    desk.job.attached = False
    desk.done_is(0, 1)
    desk.promises.persisted(desk.persisted)
    desk.done_is(1, 2)
    assert desk.take_said() == [messages.Kept(1)]
    assert desk.job.safe_items == 2
    desk.job.attached = True
    desk.promises.tell(desk.job)
    assert desk.take_said() == [values(0, 1)]  # the other one is not safe


@pytest.mark.usefixtures("kept_at_once")
def test_a_worker_that_came_back_is_not_told_of_its_last_link() -> None:
    desk = Desk(journal=True)
    desk.submits(0, 2)
    desk.done_is(0, 1)
    desk.promises.forget_worker(WORKER)
    desk.done_is(1, 2)
    desk.promises.persisted(desk.persisted)
    assert desk.take_said() == [messages.Submitted(JOB, 2), values(0, 1), values(1, 2), messages.Kept(1)]


@pytest.mark.parametrize("journal", [True, False])
def test_workers_hear_now_and_then_that_results_are_kept(journal: bool) -> None:
    desk = Desk(journal=journal)
    desk.submits(0, limits.KEPT_EVERY)
    for index in range(limits.KEPT_EVERY):
        desk.done_is(index, index + 1)
        desk.promises.persisted(desk.persisted)
    assert [message for message in desk.take_said() if isinstance(message, messages.Kept)] == [
        messages.Kept(limits.KEPT_EVERY)
    ]


@pytest.mark.parametrize("journal", [True, False])
def test_a_worker_with_few_large_results_need_not_keep_all_that_it_may(
    journal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would never send the rest of those that it is told of together: past its limit, it computes nothing."""
    monkeypatch.setattr(limits, "UNKEPT_BYTES_MAX", 100_000)
    desk = Desk(journal=journal)
    desk.submits(0, 100)
    worker = UnkeptResults(lambda _: None)
    for index in range(100):
        worker.add(messages.Result(JOB, (group_of(index, index + 1, bytes(9_000)),), ()))
        worker.say(0.0)
        desk.done_is(index, index + 1, bytes(9_000))
        desk.promises.persisted(desk.persisted)
        for message in desk.take_said():
            if isinstance(message, messages.Kept):
                worker.kept(message.results)
        assert worker.size_bytes < limits.UNKEPT_BYTES_MAX / 2


def test_books_replace_records_that_have_become_longer_than_twice_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SNAPSHOT_MIN_BYTES", 2_000)
    desk = Desk(journal=True)
    for lo in range(0, 40, 4):
        desk.submits(lo, lo + 4)
        desk.done_is(lo, lo + 4)
        desk.promises.persisted(desk.persisted)
        desk.promises.happens(desk.job, messages.Taken(JOB, desk.job.outbox.end))
        desk.promises.flush()
    wholes = [effect for effect in desk.done if isinstance(effect, Persist) and effect.whole]
    assert wholes
    assert all(isinstance(effect.records[0], records.Books) for effect in wholes)
    assert len(wholes) < desk.persisted / 2


def test_a_job_of_which_nothing_is_needed_is_forgotten_after_all_of_its_records() -> None:
    desk = Desk(journal=True)
    desk.submits(0, 1)
    desk.done_is(0, 1)
    desk.promises.happens(desk.job, messages.Taken(JOB, 1))
    desk.promises.over(JOB)
    desk.promises.flush()
    assert desk.done[-1] == Persist(JOB, (), whole=True, urgent=False)


def kept_aside(desk: Desk) -> list[tuple[int, int]]:
    """What was to be kept by itself: from which number on, and how many."""
    return [
        (effect.aside_from, len(effect.aside)) for effect in desk.done if isinstance(effect, Persist) and effect.aside
    ]


def filled(desk: Desk, count: int) -> None:
    """Results of 1,000 bytes; the client is away."""
    desk.job.attached = False
    desk.submits(0, count)
    for number in range(count):
        desk.done_is(number, number + 1, bytes(1_000))
    desk.promises.persisted(desk.persisted)


def asked(desk: Desk) -> list[tuple[int, int]]:
    fetches = [(effect.begin, effect.end) for effect in desk.done if isinstance(effect, Fetch)]
    desk.done.clear()
    return fetches


def test_results_that_nobody_takes_are_set_aside_and_memory_holds_so_much() -> None:
    desk = Desk(journal=True, detached=True, memory_bytes=10_000)
    filled(desk, 100)
    outbox = desk.job.outbox
    assert outbox.size_bytes <= 10_000
    assert (outbox.aside, len(outbox)) == (outbox.here, 100)
    ranges = kept_aside(desk)
    assert ranges[0][0] == 0
    assert all(begin + count == then for (begin, count), (then, _) in pairwise(ranges)), "each of them once"
    assert sum(count for _, count in ranges) == outbox.here


def test_those_of_a_job_whose_client_waits_stay() -> None:
    desk = Desk(journal=True, memory_bytes=10_000)
    filled(desk, 100)
    assert (desk.job.outbox.aside, kept_aside(desk)) == (0, [])
    without = Desk(journal=False, detached=True, memory_bytes=10_000)
    filled(without, 100)
    assert without.job.outbox.aside == 0


def test_they_come_back_in_order_and_never_far_ahead_of_their_reader() -> None:
    desk = Desk(journal=True, detached=True, memory_bytes=10_000)
    filled(desk, 100)
    job, here = desk.job, desk.job.outbox.here
    desk.take_said()
    desk.done.clear()
    job.attached = True
    desk.promises.tell(job)
    desk.promises.tell(job)
    assert asked(desk) == [(0, here)]
    desk.promises.fetched(job, 0, [values(number, number + 1) for number in range(30)], "")
    assert [message.lo for message in desk.take_said()] == list(range(30))  # type: ignore[union-attr]
    assert asked(desk) == [(30, here)], "one more may be on its way"
    desk.promises.fetched(job, 30, [values(number, number + 1) for number in range(30, 60)], "")
    assert asked(desk) == [], "its reader has said nothing yet"
    job.read = 30
    desk.promises.tell(job)
    assert asked(desk) == [(60, here)]
    desk.take_said()
    desk.promises.fetched(job, 60, [values(number, number + 1) for number in range(60, here)], "")
    assert [message.lo for message in desk.take_said()] == list(range(60, 100)), "those in memory follow"  # type: ignore[union-attr]


def test_what_comes_back_for_one_who_has_left_is_fetched_again_for_the_next() -> None:
    desk = Desk(journal=True, detached=True, memory_bytes=10_000)
    filled(desk, 100)
    job = desk.job
    job.attached = True
    desk.promises.tell(job)
    job.attached = False
    desk.take_said()
    desk.done.clear()
    desk.promises.fetched(job, 0, [values(0, 1)], "")
    assert (desk.take_said(), asked(desk)) == ([], [])
    job.outbox.rewind(5)
    job.read = job.fetched_from = 5
    job.attached = True
    desk.promises.tell(job)
    assert asked(desk) == [(5, job.outbox.here)]
    desk.promises.fetched(job, 0, [values(0, 1)], "")
    assert desk.take_said() == [], "an answer to somebody else"
    assert asked(desk) == [(5, job.outbox.here)]


def test_what_cannot_be_brought_back_is_said() -> None:
    desk = Desk(journal=True, detached=True, memory_bytes=10_000)
    filled(desk, 100)
    desk.job.attached = True
    desk.promises.tell(desk.job)
    desk.take_said()
    desk.promises.fetched(desk.job, 0, [], "it is damaged")
    assert desk.take_said() == [messages.JobRefused(JOB, "it is damaged")]
    assert not desk.job.attached


def urgency(desk: Desk) -> list[bool]:
    """Of what was to be kept since this was last asked."""
    found = [effect.urgent for effect in desk.done if isinstance(effect, Persist)]
    desk.done.clear()
    return found


def test_what_somebody_waits_for_is_urgent_and_nothing_else() -> None:
    desk = Desk(journal=True)
    desk.submits(0, 4)
    assert urgency(desk) == [False], "its client waits for what will come of it"
    desk.done_is(0, 2)
    assert urgency(desk) == [True]
    desk.promises.happens(desk.job, messages.Taken(JOB, 1))
    desk.promises.flush()
    desk.done_is(0, 2)
    assert urgency(desk) == [False, False], "a receipt, and a result that came twice"


def test_who_leaves_a_job_behind_waits_for_what_was_handed_in() -> None:
    desk = Desk(journal=True, detached=True)
    desk.submits(0, 4)
    assert urgency(desk) == [True]


def test_nothing_is_urgent_to_the_patient_but_the_end_of_what_is_handed_in() -> None:
    desk = Desk(journal=True, patient=True, detached=True)
    desk.submits(0, 4)
    desk.done_is(0, 2)
    assert urgency(desk) == [False, False]
    desk.promises.happens(desk.job, messages.CloseJob(JOB, 4))
    desk.promises.submitted(desk.job)
    desk.promises.flush()
    assert urgency(desk) == [True]
    assert desk.promises.pending == 3
    desk.promises.persisted(3)
    assert desk.take_said()[0] == messages.Submitted(JOB, 4, closed=True)


def test_a_worker_that_leaves_waits_for_every_word() -> None:
    desk = Desk(journal=True, patient=True)
    desk.submits(0, 4)
    desk.promises.hurry(WORKER)
    desk.done_is(0, 2)
    assert urgency(desk) == [False, True]
