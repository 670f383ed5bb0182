"""A strategy that raises is heard of, once."""

from __future__ import annotations

import logging

import pytest

from lbnet.core import events
from lbnet.core.controller import Controller
from lbnet.net.controller_server import ControllerServer
from lbnet.net.strategy_log import StrategyLog
from lbnet.strategies.base import ControllerDecision, ControllerStrategy, ControllerView, Strategy
from lbnet.types import Address, PeerId


class BrokenHalf(ControllerStrategy):
    def balance(self, view: ControllerView) -> list[ControllerDecision]:
        raise ZeroDivisionError("somebody's mistake")


class Broken(Strategy):
    name = "broken"

    def controller(self) -> ControllerStrategy:
        return BrokenHalf()


def test_nothing_is_said_of_a_strategy_that_works(caplog: pytest.LogCaptureFixture) -> None:
    StrategyLog(logging.getLogger("lbnet.test")).look(None)
    assert caplog.records == []


def test_the_first_error_is_said_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    log = StrategyLog(logging.getLogger("lbnet.test"))
    first = ValueError("one")
    for error in (None, first, first, ValueError("two")):
        log.look(error)
    (said,) = caplog.records
    assert said.exc_info is not None
    assert said.exc_info[1] is first


async def test_a_controller_whose_strategy_raises_says_so_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    server = ControllerServer(Controller(lambda _: Broken(), strategy="broken", placement="spread"))
    for number in range(1, 3):
        server._handle(events.Joined(PeerId(number), "worker", "w", "host", 1, 1, Address("host", 1)))
    assert "somebody's mistake" in caplog.text
    assert len(caplog.records) == 1
