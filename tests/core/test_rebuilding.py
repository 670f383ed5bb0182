"""Whatever happens, and wherever the journal ends: another controller goes on with what it holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet import limits
from lbnet.core.job import Job
from lbnet.core.outbox import Outbox
from lbnet.core.promises import Promises
from lbnet.core.rebuilding import job_of, rebuilt
from lbnet.errors import JournalError
from lbnet.protocol import messages, records
from lbnet.types import ROOT, VALUES, Batch, Group, JobId, JobOptions, Member, Payload, PeerId
from tests.core.story import LIKELY, PROLOGUE, Step, Story

JOB, OTHER = JobId(7), JobId(8)
CLIENT, WORKER = PeerId(1), PeerId(2)
FN = b"function"

numbers = st.integers(0, 60)
stories = st.lists(st.tuples(st.sampled_from(LIKELY), numbers, numbers), min_size=30, max_size=90)
snapshot_bytes = st.sampled_from([0, 1_000, limits.SNAPSHOT_MIN_BYTES])


def tell(steps: list[Step], crash: int | None = None) -> Story:
    """All of it; then, if there is a ``crash``, the controller dies, and whoever comes after it goes on to the end."""
    story = Story()
    for step in (*PROLOGUE, *steps):
        story.step(*step)
    if crash is not None:
        story.crashes_at(crash)
        story.ends()
    return story


def jobs_of(story: Story) -> list[Job]:
    return rebuilt(story.records(len(story.journal)))


# --- in any story


@settings(derandomize=True, deadline=None, max_examples=40)
@given(steps=stories, crash=numbers, snapshots=snapshot_bytes)
def test_wherever_the_journal_ends_another_controller_goes_on_to_the_same_end(
    steps: list[Step], crash: int, snapshots: int
) -> None:
    """On the way, after every event: the journal gives the jobs as they are, and promises wait for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "SNAPSHOT_MIN_BYTES", snapshots)
        story = tell(steps, crash)
    for number, told in story.jobs.items():
        job = story.core.job(number)
        if job is None or job.state != "done" or job.options.reduce:
            continue
        assert isinstance(told.outcomes[-1], messages.JobDone)
        assert job.total is not None
        assert sorted(items_of(told.outcomes)) == list(range(job.total)), "every item is told once"
        assert sorted(settled_of(told.outcomes)) == sorted(open_of(told.outcomes)), "every family is settled once"


def items_of(told: list[records.Outcome]) -> list[int]:
    items: list[int] = []
    for outcome in told:
        if isinstance(outcome, messages.Values | messages.Cancelled):
            items += range(outcome.lo, outcome.hi)
        elif isinstance(outcome, messages.Failed) and not outcome.spawned:
            items.append(outcome.index)
    return items


def open_of(told: list[records.Outcome]) -> list[int]:
    return [outcome.lo for outcome in told if isinstance(outcome, messages.Values) and outcome.open]


def settled_of(told: list[records.Outcome]) -> list[int]:
    return [
        outcome.index if isinstance(outcome, messages.Failed) else outcome.root
        for outcome in told
        if isinstance(outcome, messages.Settled) or (isinstance(outcome, messages.Failed) and outcome.spawned)
    ]


@settings(derandomize=True, deadline=None, max_examples=40)
@given(steps=stories)
def test_a_snapshot_gives_a_job_with_the_same_snapshot(steps: list[Step]) -> None:
    for job in jobs_of(tell(steps)):
        snapshot = list(job.snapshot())
        (again,) = rebuilt(snapshot)
        assert list(again.snapshot()) == snapshot
        assert again.kept_bytes == job.kept_bytes


@settings(derandomize=True, deadline=None, max_examples=30)
@given(steps=stories, data=st.data())
def test_what_happens_after_a_snapshot_happens_to_the_same_job(steps: list[Step], data: st.DataObject) -> None:
    """Wherever in its records a job is replaced by its books, the rest of them lead to the same end."""
    story = tell([step for step in steps if step[0] != "crashes"])
    for job in jobs_of(story):
        kept = [record for record in story.records(len(story.journal)) if job_of(record) == job.id]
        at = data.draw(st.integers(1, len(kept)))
        (halfway,) = rebuilt(kept[:at])
        (end,) = rebuilt([*halfway.snapshot(), *kept[at:]])
        assert list(end.snapshot()) == list(job.snapshot())


@settings(derandomize=True, deadline=None, max_examples=30)
@given(steps=stories)
def test_jobs_are_rebuilt_whatever_happens_to_others_in_between(steps: list[Step]) -> None:
    """Records of one job keep their order, and that is all that matters."""
    story = tell(steps)
    kept = story.records(len(story.journal))
    one_by_one = sorted(kept, key=job_of)
    assert [list(job.snapshot()) for job in rebuilt(one_by_one)] == [list(job.snapshot()) for job in rebuilt(kept)]


def test_stories_reach_the_places_where_it_can_go_wrong() -> None:
    reached = {"spawned": 0, "duplicates": 0, "orphans": 0, "cancelled": 0, "failed": 0, "done": 0}
    crashes = whole = early = 0

    @settings(derandomize=True, deadline=None, max_examples=80, database=None)
    @given(steps=stories)
    def look(steps: list[Step]) -> None:
        nonlocal crashes, whole, early
        story = tell(steps)
        crashes += story.crashes
        whole += sum(effect.whole for effect in story.journal)
        for job in story.core.jobs():
            early += len(job.ledger.books().early)
            for what in reached:
                reached[what] += getattr(job.ledger, what)

    look()
    assert all(reached.values()), reached
    assert min(crashes, whole, early) > 0


# --- teeth: stories catch what is planted


def promises_before_the_records_are_safe(patch: pytest.MonkeyPatch) -> None:
    flush = Promises.flush

    def hasty(promises: Promises) -> None:
        flush(promises)
        promises.persisted(promises._issued)

    patch.setattr(Promises, "flush", hasty)


def a_record_that_is_not_kept(patch: pytest.MonkeyPatch) -> None:
    happens = Promises.happens

    def forgetful(promises: Promises, job: Job, record: records.Record) -> None:
        if isinstance(record, records.Dropped):
            job.apply(record)
        else:
            happens(promises, job, record)

    patch.setattr(Promises, "happens", forgetful)


def outcomes_are_counted_from_the_snapshot_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(limits, "SNAPSHOT_MIN_BYTES", 0)
    make = Job.of

    def anew(books: records.Books) -> Job:
        return make(replace(books, taken=0))

    patch.setattr(Job, "of", staticmethod(anew))


def whoever_comes_back_hears_nothing_again(patch: pytest.MonkeyPatch) -> None:
    def far(outbox: Outbox, seen: int) -> None:  # noqa: ARG001
        outbox.told = outbox.end

    patch.setattr(Outbox, "rewind", far)


def what_is_safe_in_part_is_safe(patch: pytest.MonkeyPatch) -> None:
    def wrong(promises: Promises, count: int) -> None:
        promises._safe = promises._issued if count else 0
        promises._keep()

    patch.setattr(Promises, "persisted", wrong)


PLANTED: list[Callable[[pytest.MonkeyPatch], None]] = [
    promises_before_the_records_are_safe,
    a_record_that_is_not_kept,
    outcomes_are_counted_from_the_snapshot_on,
    whoever_comes_back_hears_nothing_again,
    what_is_safe_in_part_is_safe,
]


@pytest.mark.parametrize("plant", PLANTED, ids=[plant.__name__ for plant in PLANTED])
def test_planted_bugs_are_caught(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[Step] = [
        (kind, one, other)
        for one in range(12)
        for other, kind in enumerate(["reports", "cancels", "persists", "takes", "leaves", "returns", "submits"])
    ]
    tell(steps, crash=1)
    plant(monkeypatch)
    with pytest.raises((AssertionError, KeyError, IndexError)):
        tell(steps, crash=1)


# --- records by hand


def opened(job: JobId = JOB, number: int = 1) -> records.Opened:
    return records.Opened(job, CLIENT, number, JobOptions(), 1.0, 2)


def items(lo: int, hi: int, job: JobId = JOB) -> messages.Submit:
    return messages.Submit(Batch(job, ROOT, lo, hi, 0, ROOT, 0, Payload(lo, hi - lo, FN, b"items")))


def done(lo: int, hi: int) -> records.Results:
    group = Group(VALUES, b"v", (Member(ROOT, lo, hi, lo, ROOT, 0, ROOT, ()),), 0.5, None)
    return records.Results(JOB, WORKER, "w", 3, (group,))


def test_nothing_makes_no_job() -> None:
    assert rebuilt([]) == []


def test_a_job_is_what_happened_to_it() -> None:
    (job,) = rebuilt([opened(), messages.Function(JOB, FN, b"f"), items(0, 4), done(0, 2), messages.CloseJob(JOB, 4)])
    assert (job.id, job.client, job.number, job.total, job.state) == (JOB, CLIENT, 1, 4, "running")
    assert job.functions == {FN: b"f"}
    assert job.ledger.outstanding_ranges() == [(ROOT, 2, 4)]
    assert job.outbox.kept() == [messages.Values(JOB, 0, 2, 0, b"v", open=False)]
    assert (job.tallies[WORKER].tasks, job.tallies[WORKER].busy_s) == (2, 0.5)
    assert not job.attached


def test_nothing_of_a_job_waits_to_be_placed_since_nobody_knows_who_holds_it() -> None:
    (job,) = rebuilt([opened(), messages.Function(JOB, FN, b"f"), items(0, 4), done(0, 2)])
    assert (list(job.backlog), job.backlog_tasks) == ([], 0)
    assert job.requeue(ROOT, 2, 4, "why") == 2


def test_what_was_taken_is_not_there_and_the_rest_keeps_its_number() -> None:
    (job,) = rebuilt([opened(), items(0, 4), done(0, 1), done(1, 2), messages.Taken(JOB, 1), done(2, 3)])
    assert (job.outbox.taken, job.outbox.end) == (1, 3)
    assert [outcome.lo for outcome in job.outbox.kept() if isinstance(outcome, messages.Values)] == [1, 2]


@pytest.mark.parametrize(
    ("state", "told"),
    [("done", []), ("cancelled", [messages.Cancelled]), ("failed", [messages.Failed])],
)
def test_a_job_that_has_ended_tells_so_last(state: str, told: list[type]) -> None:
    rest = 1 if state == "done" else 2
    ended = records.Ended(JOB, state, "why", 9.0)
    (job,) = rebuilt([opened(), messages.Function(JOB, FN, b"f"), items(0, rest), done(0, 1), ended])
    assert [type(outcome) for outcome in job.outbox.kept()] == [messages.Values, *told, messages.JobDone]
    assert (job.state, job.ended_at, job.ledger.empty) == (state, 9.0, True)
    assert (job.functions, job.store.size_bytes) == ({}, 0)


def test_jobs_come_in_the_order_in_which_they_were_opened() -> None:
    kept: list[records.Record] = [opened(OTHER, 1), opened(JOB, 2), items(0, 1)]
    assert [job.id for job in rebuilt(kept)] == [OTHER, JOB]
    snapshot = list(rebuilt(kept)[0].snapshot())
    assert [job.id for job in rebuilt([*kept[1:], *snapshot])] == [OTHER, JOB]


def test_a_job_is_another_clients_from_a_moment_on() -> None:
    (job,) = rebuilt([opened(), records.Owned(JOB, PeerId(5))])
    assert job.client == PeerId(5)


@pytest.mark.parametrize(
    "record",
    [
        items(0, 1),
        done(0, 1),
        messages.Function(JOB, FN, b"f"),
        messages.CloseJob(JOB, 1),
        messages.Taken(JOB, 1),
        records.Owned(JOB, CLIENT),
        records.Dropped(JOB, 0, 1),
        records.Ended(JOB, "done", "", 1.0),
        records.Stored(items(0, 1).batch, 1),
        messages.JobDone(JOB),
    ],
)
def test_a_journal_without_the_beginning_of_a_job_is_refused_in_a_clear_sentence(record: records.Record) -> None:
    with pytest.raises(JournalError) as caught:
        rebuilt([opened(OTHER), record])
    assert f"{type(record).__name__} of job {JOB}" in str(caught.value)
    assert job_of(record) == JOB


def test_books_belong_to_their_job() -> None:
    books = next(Job(opened()).snapshot())
    assert (job_of(opened()), job_of(books)) == (JOB, JOB)


def test_what_is_no_record_is_our_own_bug() -> None:
    record: Any = messages.JobEnded(JOB)
    with pytest.raises(KeyError):
        rebuilt([opened(), record])
