"""The other end of a link is told of each job and function once, before the work that needs it."""

from __future__ import annotations

import pytest

from lbnet.core.introductions import Introductions
from lbnet.protocol.messages import Function, OpenJob
from lbnet.types import ROOT, Batch, JobId, JobOptions, Payload

FUNCTIONS = {b"f": b"code of f", b"g": b"code of g", b"r": b"code of r"}
PLAIN, REDUCING = JobOptions(), JobOptions(reduce=b"r")


def batch(function: bytes = b"f", job: int = 1) -> Batch:
    return Batch(JobId(job), ROOT, 0, 1, 0, ROOT, 0, Payload(0, 1, function, b""))


def test_the_first_batch_is_preceded_by_its_job_and_function() -> None:
    told = Introductions()
    assert not told.knows(JobId(1))
    assert told.before(batch(), PLAIN, FUNCTIONS) == [
        OpenJob(JobId(1), PLAIN),
        Function(JobId(1), b"f", b"code of f"),
    ]
    assert told.knows(JobId(1))


def test_nothing_is_told_twice() -> None:
    told = Introductions()
    told.before(batch(), PLAIN, FUNCTIONS)
    assert told.before(batch(), PLAIN, FUNCTIONS) == []
    assert told.before(batch(b"g"), PLAIN, FUNCTIONS) == [Function(JobId(1), b"g", b"code of g")]
    assert told.before(batch(b"g"), PLAIN, FUNCTIONS) == []


def test_the_combining_function_is_told_too() -> None:
    told = Introductions()
    assert told.before(batch(), REDUCING, FUNCTIONS)[1:] == [
        Function(JobId(1), b"f", b"code of f"),
        Function(JobId(1), b"r", b"code of r"),
    ]


def test_a_function_that_also_combines_is_told_once() -> None:
    assert len(Introductions().before(batch(b"r"), REDUCING, FUNCTIONS)) == 2


def test_every_job_is_told_by_itself() -> None:
    told = Introductions()
    told.before(batch(), PLAIN, FUNCTIONS)
    assert told.before(batch(job=2), PLAIN, FUNCTIONS) == [
        OpenJob(JobId(2), PLAIN),
        Function(JobId(2), b"f", b"code of f"),
    ]


def test_a_job_that_ended_is_forgotten_and_no_other() -> None:
    told = Introductions()
    told.before(batch(job=1), PLAIN, FUNCTIONS)
    told.before(batch(job=2), PLAIN, FUNCTIONS)
    told.forget(JobId(1))
    told.forget(JobId(7))
    assert not told.knows(JobId(1))
    assert told.before(batch(job=2), PLAIN, FUNCTIONS) == []
    assert len(told.before(batch(job=1), PLAIN, FUNCTIONS)) == 2


def test_links_are_told_apart() -> None:
    first, second = Introductions(), Introductions()
    first.before(batch(), PLAIN, FUNCTIONS)
    assert not second.knows(JobId(1))


def test_work_whose_function_is_not_here_is_our_own_bug() -> None:
    with pytest.raises(KeyError):
        Introductions().before(batch(b"unknown"), PLAIN, FUNCTIONS)
