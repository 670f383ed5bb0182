"""A client says what it follows, on every link, and how much of it was read."""

from __future__ import annotations

import pytest

from lbnet import limits
from lbnet.client.followed import Followed
from lbnet.errors import UsageError
from lbnet.protocol.messages import Follow, Printed
from lbnet.types import ROOT, JobId

JOB, OTHER = JobId(7), JobId(8)
QUARTER = limits.FOLLOW_AHEAD_BYTES // 4


def test_what_comes_goes_to_the_reader_of_its_job() -> None:
    followed, came = Followed(), list[Printed]()
    assert followed.begin(JOB, came.append) == Follow(JOB, True, 0)
    message = Printed(JOB, "w", 0, ROOT, 1, b"x", 0)
    followed.heard(message)
    followed.heard(Printed(OTHER, "w", 0, ROOT, 1, b"x", 0))
    assert came == [message]
    assert followed.end(JOB) == Follow(JOB, False, 0)
    followed.heard(message)
    assert came == [message]


def test_what_was_read_is_said_now_and_then() -> None:
    followed = Followed()
    followed.begin(JOB, print)
    assert followed.read(JOB, QUARTER - 1) is None
    assert followed.read(JOB, 1) == Follow(JOB, True, QUARTER)
    assert followed.read(JOB, 1) is None
    assert followed.read(OTHER, QUARTER) is None


def test_a_new_link_begins_anew() -> None:
    followed = Followed()
    followed.begin(JOB, print)
    followed.read(JOB, QUARTER)
    assert followed.anew() == [Follow(JOB, True, 0)]
    assert followed.read(JOB, QUARTER) == Follow(JOB, True, QUARTER)


def test_one_job_has_one_reader() -> None:
    followed = Followed()
    followed.begin(JOB, print)
    with pytest.raises(UsageError, match="followed already"):
        followed.begin(JOB, print)
