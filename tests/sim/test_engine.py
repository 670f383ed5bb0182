from __future__ import annotations

import pytest

from lbnet.errors import UsageError
from lbnet.sim.engine import Engine


def test_time_runs_forward_and_equal_times_keep_their_order():
    engine = Engine()
    seen: list[tuple[float, str]] = []
    for when, name in [(2.0, "c"), (1.0, "a"), (2.0, "d"), (1.0, "b")]:
        engine.at(when, lambda name: seen.append((engine.now, name)), name)
    assert engine.run() is False
    assert seen == [(1.0, "a"), (1.0, "b"), (2.0, "c"), (2.0, "d")]
    assert engine.events == 4


def test_a_callback_may_ask_for_more_and_stop_the_run():
    engine = Engine()

    def again(count: int) -> None:
        if count == 3:
            engine.stop()
        engine.at(engine.now + 1.0, again, count + 1)

    engine.at(0.0, again, 0)
    assert engine.run() is True
    assert engine.now == 3.0
    assert engine.run(until=5.5) is False
    assert (engine.now, engine.events) == (5.5, 6)


def test_until_leaves_what_is_due_later():
    engine = Engine()
    seen: list[int] = []
    engine.at(1.0, seen.append, 1)
    engine.at(3.0, seen.append, 3)
    engine.run(until=2.0)
    assert (seen, engine.now) == ([1], 2.0)
    engine.run()
    assert seen == [1, 3]


def test_a_run_without_end_is_given_up():
    def forever(engine: Engine) -> None:
        engine.at(engine.now + 1.0, forever, engine)

    by_events = Engine(events_max=100)
    by_events.at(0.0, forever, by_events)
    with pytest.raises(UsageError, match="not ended after 100 events .*allow more events"):
        by_events.run()
    by_time = Engine(virtual_s_max=50.0)
    by_time.at(0.0, forever, by_time)
    with pytest.raises(UsageError, match="not ended after 50 virtual seconds"):
        by_time.run()
    assert by_time.events == 51
