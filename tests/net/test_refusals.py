"""Lines about those who are not let in: one each, and not more of them than somebody could read."""

from __future__ import annotations

import logging

import pytest

from lbnet import limits
from lbnet.net.refusals import Refusals


def test_so_many_at_once_then_one_a_second_and_the_others_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    refusals = Refusals(logging.getLogger("lbnet.test"), lambda: now)
    for number in range(limits.REFUSALS_LOGGED + 30):
        refusals.tell(f"10.0.0.{number}", "no")
    assert len(caplog.records) == limits.REFUSALS_LOGGED
    now += 1.0
    for _ in range(5):
        refusals.tell("10.0.1.1", "no")
    assert len(caplog.records) == limits.REFUSALS_LOGGED + 1
    assert caplog.records[-1].getMessage() == "10.0.1.1 did not join: no (30 others before it are not listed)"
    now += 3_600.0
    for _ in range(limits.REFUSALS_LOGGED + 1):
        refusals.tell("10.0.1.2", "no")
    assert len(caplog.records) == 2 * limits.REFUSALS_LOGGED + 1  # it does not save up more than that
