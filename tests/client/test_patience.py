"""When to try again, and when no more."""

from __future__ import annotations

from lbnet.client.patience import PAUSE_FIRST_S, PAUSE_MAX_S, Patience


def pauses(patience: Patience, now: float) -> list[float]:
    """All pauses until it gives up, with tries that take no time."""
    made = []
    while (pause_s := patience.pause_s(now)) is not None:
        made.append(pause_s)
        now += pause_s
        assert len(made) < 1_000
    return made


def test_pauses_double_up_to_a_second_and_end_at_the_deadline() -> None:
    patience = Patience(10.0)
    patience.opened(100.0)
    patience.broke(200.0, achieved=False)
    made = pauses(patience, 200.0)
    assert made[:6] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0]
    assert max(made) == PAUSE_MAX_S
    assert abs(sum(made) - 10.0) < 1e-9


def test_no_time_is_no_try() -> None:
    patience = Patience(0.0)
    patience.opened(0.0)
    patience.broke(5.0, achieved=True)
    assert patience.pause_s(5.0) is None


def test_a_link_that_is_there_again_says_how_long_there_was_none() -> None:
    patience = Patience(10.0)
    assert patience.opened(0.0) == 0.0
    patience.broke(5.0, achieved=True)
    assert patience.opened(7.5) == 2.5


def test_a_link_that_breaks_at_once_for_nothing_does_not_renew_the_deadline() -> None:
    patience = Patience(10.0)
    patience.opened(0.0)
    patience.broke(5.0, achieved=True)
    now = 5.0
    while (pause_s := patience.pause_s(now)) is not None:
        now += pause_s
        patience.opened(now)
        patience.broke(now, achieved=False)
        assert now < 16.0


def test_a_link_that_was_of_use_or_lasted_begins_anew() -> None:
    for lasts_s, achieved in ((0.001, True), (2 * PAUSE_MAX_S, False)):
        patience = Patience(10.0)
        patience.opened(0.0)
        patience.broke(5.0, achieved=True)
        pauses(patience, 5.0)
        patience.opened(20.0)
        patience.broke(20.0 + lasts_s, achieved=achieved)
        assert patience.pause_s(20.0 + lasts_s) == PAUSE_FIRST_S
