"""The conversation about all jobs of a client, over one link and the next; the controller is the test."""

from __future__ import annotations

import pytest

from lbnet import limits
from lbnet.client.open_jobs import OpenJobs, Released, Wanted
from lbnet.client.standing import EVERYTHING, Delivery, Lost, Safe
from lbnet.errors import UsageError
from lbnet.protocol.messages import (
    Attach,
    Attached,
    Cancel,
    CloseJob,
    Function,
    JobRefused,
    Message,
    OpenJob,
    Submit,
    Submitted,
    Taken,
)
from lbnet.types import ROOT, Address, Batch, JobId, JobOptions, Payload, PeerId
from tests.client.scripted import done, values

ME = PeerId(3)
GONE = "the controller knows no such job"


class Talk:
    """A client's jobs, and what was said on the link."""

    def __init__(self) -> None:
        self.said: list[Message] = []
        self.jobs = OpenJobs(Address("host", 7), self.said.append)
        self.told: dict[JobId, list[Delivery]] = {}
        self.jobs.back(ME, same=True)

    def begin(self, *, takes: bool = True, opens: bool = True) -> JobId:
        told: list[Delivery] = []
        job = self.jobs.new(told.append, takes=takes)
        self.told[job] = told
        for message in (OpenJob(job, JobOptions()), Function(job, b"f", b"code"), self.submit(job)) if opens else ():
            self.jobs.note(message)
        return job

    def attach(self, job: JobId) -> None:
        self.told[job] = []
        self.jobs.attach(Wanted(job, self.told[job].append))

    def submit(self, job: JobId, lo: int = 0) -> Submit:
        return Submit(Batch(job, ROOT, lo, lo + 1, 0, ROOT, 0, Payload(lo, 1, b"f", b"x")))

    def hear(self, *messages: Message) -> list[Message]:
        """What is said to these."""
        self.said.clear()
        for message in messages:
            self.jobs.heard(message)
        return list(self.said)

    def again(self, peer: PeerId = ME, *, same: bool = True) -> list[Message]:
        """What is said first on another link."""
        self.jobs.broke()
        self.said.clear()
        self.jobs.back(peer, same=same)
        return list(self.said)


@pytest.fixture
def talk() -> Talk:
    return Talk()


# --- one link


def test_what_is_noted_is_said_at_once_while_there_is_a_link(talk: Talk) -> None:
    job = talk.begin()
    assert talk.said == [OpenJob(job, JobOptions()), Function(job, b"f", b"code"), talk.submit(job)]
    assert talk.jobs.settled


def test_whoever_waits_for_a_job_gets_what_comes_and_learns_what_is_safe(talk: Talk) -> None:
    job, other = talk.begin(), talk.begin()
    talk.hear(values(0, "a", job=job), Submitted(job, 1), values(1, "b", job=JobId(99)))
    assert talk.told[job] == [values(0, "a", job=job), Safe(1, 1)]
    assert talk.told[other] == []


def test_what_is_said_of_a_job_that_has_ended_is_dropped(talk: Talk) -> None:
    job = talk.begin()
    assert talk.hear(values(0, "a", job=job), done(job)) == [Taken(job, 2)]
    assert len(talk.jobs) == 0
    talk.said.clear()
    talk.jobs.note(talk.submit(job, 1))
    assert talk.said == []


def test_outcomes_of_a_forgotten_job_are_taken_all_the_same(talk: Talk) -> None:
    job = talk.begin()
    talk.jobs.forget(job)
    talk.jobs.note(Cancel(job, 0, EVERYTHING))
    assert talk.hear(values(0, "a", job=job), done(job)) == [Taken(job, 2)]
    assert talk.told[job] == []
    assert len(talk.jobs) == 0


def test_a_refused_job_is_told_and_over(talk: Talk) -> None:
    job = talk.begin()
    assert talk.hear(JobRefused(job, "no")) == []
    assert talk.told[job] == [JobRefused(job, "no")]
    assert len(talk.jobs) == 0


def test_ids_belong_to_the_client_and_end_somewhere(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert talk.begin() >> 24 == ME
    monkeypatch.setattr(limits, "JOBS_PER_CLIENT_MAX", 2)
    with pytest.raises(UsageError, match="open another one"):
        talk.begin()


# --- another link


def test_on_a_new_link_each_job_is_asked_for_and_nothing_else_said_of_it(talk: Talk) -> None:
    job, other = talk.begin(), talk.begin()
    talk.hear(values(0, "a", job=job))
    assert talk.again() == [Attach(job, 1), Attach(other, 0)]
    talk.said.clear()
    talk.jobs.note(talk.submit(job, 1))
    assert talk.said == []
    assert talk.hear(Attached(job, 1, False, 1)) == [
        Function(job, b"f", b"code"),
        talk.submit(job, 1),
        Taken(job, 1),
    ]
    assert not talk.jobs.settled
    talk.jobs.note(talk.submit(job, 2))
    assert talk.said[-1] == talk.submit(job, 2)
    assert talk.hear(Attached(other, 1, False, 0)) == [Function(other, b"f", b"code")]
    assert talk.jobs.settled


def test_a_job_that_was_opened_while_there_was_no_link_is_opened_on_the_next(talk: Talk) -> None:
    talk.jobs.broke()
    talk.said.clear()
    job, given_up = talk.begin(), talk.begin()
    talk.jobs.note(Cancel(given_up, 0, EVERYTHING))
    assert talk.said == []
    talk.jobs.back(ME, same=True)
    assert talk.said == [OpenJob(job, JobOptions()), Function(job, b"f", b"code"), talk.submit(job)]
    assert talk.jobs.settled


def test_a_job_that_has_an_id_and_was_not_opened_yet_is_opened_as_ever(talk: Talk) -> None:
    job = talk.begin(opens=False)
    assert talk.again() == []
    talk.jobs.note(OpenJob(job, JobOptions()))
    assert talk.said == [OpenJob(job, JobOptions())]


def test_a_job_that_the_controller_never_heard_of_is_opened_again(talk: Talk) -> None:
    job = talk.begin()
    talk.jobs.note(CloseJob(job, 1))
    talk.again()
    assert talk.hear(JobRefused(job, GONE)) == [
        OpenJob(job, JobOptions()),
        Function(job, b"f", b"code"),
        talk.submit(job),
        CloseJob(job, 1),
    ]
    assert talk.told[job] == []


@pytest.mark.parametrize("promise", [lambda job: Submitted(job, 1), lambda job: values(0, "a", job=job)])
def test_a_job_that_the_controller_has_lost_although_it_knew_it_fails(talk: Talk, promise: object) -> None:
    job, other = talk.begin(), talk.begin()
    talk.hear(promise(job))  # type: ignore[operator]
    talk.again()
    assert talk.hear(JobRefused(job, GONE)) == []
    assert talk.told[job][1:] == [Lost(f"the controller at host:7 came back without job {job}: {GONE}")]
    assert talk.told[other] == []


def test_a_job_that_the_controller_remembers_otherwise_fails(talk: Talk) -> None:
    job = talk.begin()
    talk.again()
    talk.hear(Attached(job, 1, True, 5))
    (lost,) = talk.told[job]
    assert isinstance(lost, Lost)
    assert "away for too long, or another one has taken" in lost.reason
    assert talk.jobs.settled


def test_a_controller_that_does_not_know_us_has_lost_all_jobs_and_takes_new_ones(talk: Talk) -> None:
    job = talk.begin()
    assert talk.again(PeerId(8), same=False) == []
    (lost,) = talk.told[job]
    assert isinstance(lost, Lost)
    assert "does not know this client any more" in lost.reason
    assert "run `lbnet controller` with a state directory" in lost.reason
    assert talk.jobs.settled
    assert talk.begin() >> 24 == 8
    assert len(talk.said) == 3


def test_a_job_whose_id_is_of_another_time_is_not_opened(talk: Talk) -> None:
    told: list[Delivery] = []
    late: list[JobId] = []
    talk.jobs.broke()
    late.append(talk.jobs.new(told.append))
    talk.said.clear()
    talk.jobs._peer = PeerId(8)
    talk.jobs.note(OpenJob(late[0], JobOptions()))
    assert isinstance(told[0], Lost)
    assert len(talk.jobs) == 0


def test_a_cancellation_is_said_to_the_controller_that_comes_back(talk: Talk) -> None:
    job = talk.begin()
    talk.hear(Submitted(job, 1))
    talk.jobs.broke()
    talk.jobs.forget(job)
    talk.jobs.note(Cancel(job, 0, EVERYTHING))
    assert talk.again() == [Attach(job, 0)]
    assert talk.hear(Attached(job, 1, False, 0)) == [Cancel(job, 0, EVERYTHING)]
    assert talk.hear(done(job)) == [Taken(job, 1)]


def test_a_forgotten_job_that_the_controller_has_lost_is_nobodys_loss(talk: Talk) -> None:
    job = talk.begin()
    talk.jobs.forget(job)
    talk.jobs.note(Cancel(job, 0, EVERYTHING))
    talk.again()
    assert talk.hear(JobRefused(job, GONE)) == []
    assert len(talk.jobs) == 0


def test_that_a_job_was_taken_is_said_again_because_it_may_have_been_lost(talk: Talk) -> None:
    job = talk.begin()
    assert talk.hear(values(0, "a", job=job), done(job)) == [Taken(job, 2)]
    for _ in range(2):
        assert talk.again() == [Attach(job, 2)]
        assert talk.hear(Attached(job, 1, True, 2)) == [Taken(job, 2)]
        assert len(talk.jobs) == 0
    talk.again()
    assert talk.hear(JobRefused(job, GONE)) == []
    assert talk.again() == []
    assert len(talk.told[job]) == 2


def test_finished_jobs_are_not_remembered_without_end(talk: Talk) -> None:
    for _ in range(200):
        job = talk.begin()
        talk.hear(done(job))
    assert len(talk.again()) < 100


# --- jobs that outlive their client


def test_a_job_from_elsewhere_is_asked_for(talk: Talk) -> None:
    job = JobId(77)
    talk.attach(job)
    assert talk.said == [Attach(job, 0)]
    assert talk.hear(Attached(job, 5, True, 2), values(3, "d", job=job)) == []
    assert talk.told[job] == [Attached(job, 5, True, 2), values(3, "d", job=job)]
    talk.jobs.note(Taken(job, 3))
    assert talk.said == [Taken(job, 3)]
    assert talk.again() == [Attach(job, 3)]
    assert talk.hear(Attached(job, 5, True, 3)) == [Taken(job, 3)]
    assert len(talk.told[job]) == 2, "only the first answer is told"


def test_a_job_from_elsewhere_that_nobody_knows_is_refused(talk: Talk) -> None:
    talk.attach(JobId(77))
    talk.hear(JobRefused(JobId(77), GONE))
    assert talk.told[JobId(77)] == [JobRefused(JobId(77), GONE)]


def test_a_job_from_elsewhere_is_asked_for_once_a_link_is_there(talk: Talk) -> None:
    job = JobId(77)
    talk.jobs.broke()
    talk.attach(job)
    talk.said.clear()
    talk.jobs.back(PeerId(8), same=False)
    assert talk.said == [Attach(job, 0)], "although the controller does not know us"
    assert talk.told[job] == []


def test_a_job_that_is_open_here_is_not_taken_up_here(talk: Talk) -> None:
    job = talk.begin()
    talk.attach(job)
    (refused,) = talk.told[job]
    assert isinstance(refused, JobRefused)
    assert "open in this client" in refused.reason


def test_a_job_that_was_let_go_is_not_asked_for_and_not_taken(talk: Talk) -> None:
    job = talk.begin(takes=False)
    talk.jobs.release(Released(job))
    assert talk.hear(values(0, "a", job=job), done(job)) == []
    assert talk.again() == []
    talk.attach(job)
    assert talk.said == [Attach(job, 0)]


def test_a_job_that_its_reader_has_taken_is_over_only_then(talk: Talk) -> None:
    job = talk.begin(takes=False)
    assert talk.hear(values(0, "a", job=job), done(job)) == []
    assert len(talk.jobs) == 1
    talk.jobs.note(Taken(job, 2))
    assert talk.said == [Taken(job, 2)]
    assert len(talk.jobs) == 0


def test_a_job_that_has_ended_and_is_given_up_is_taken_whole(talk: Talk) -> None:
    job = talk.begin(takes=False)
    talk.hear(values(0, "a", job=job), done(job))
    talk.jobs.forget(job)
    talk.jobs.note(Cancel(job, 0, EVERYTHING))
    assert talk.said[-1] == Taken(job, 2)
    assert len(talk.jobs) == 0
