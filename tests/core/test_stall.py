"""When to ask who holds what: after a quiet time that grows while asking brings nothing."""

from __future__ import annotations

from lbnet import limits
from lbnet.core.stall import _PERIOD_MAX_S, StallWatch

T = limits.STALL_S


def questions(watch: StallWatch, begin: float, count: int) -> list[float]:
    """The virtual times of the next questions while nothing moves, asked for exactly when they are due."""
    asked: list[float] = []
    now = begin
    while len(asked) < count:
        if watch.due(still=True, now=now):
            asked.append(now)
        else:
            assert watch.at is not None
            assert watch.at > now
            now = watch.at
    return asked


def test_nothing_is_asked_while_things_move() -> None:
    watch = StallWatch()
    for now in range(100):
        assert not watch.due(still=False, now=float(now))
        assert watch.at is None


def test_the_first_question_comes_after_the_quiet_time() -> None:
    watch = StallWatch()
    assert not watch.due(still=True, now=10.0)
    assert watch.at == 10.0 + T
    assert not watch.due(still=True, now=10.0 + 0.9 * T)
    assert watch.at == 10.0 + T
    assert watch.due(still=True, now=10.0 + T)
    assert watch.at is None


def test_movement_in_between_starts_the_quiet_time_again() -> None:
    watch = StallWatch()
    assert not watch.due(still=True, now=0.0)
    assert not watch.due(still=False, now=0.5 * T)
    assert not watch.due(still=True, now=0.9 * T)
    assert not watch.due(still=True, now=1.5 * T)
    assert watch.due(still=True, now=0.9 * T + T)


def test_a_result_puts_the_question_off() -> None:
    watch = StallWatch()
    watch.moves(now=0.0)
    assert watch.at is None
    assert not watch.due(still=True, now=0.0)
    watch.moves(now=0.9 * T)
    assert watch.at == 1.9 * T
    assert not watch.due(still=True, now=1.8 * T)
    assert watch.due(still=True, now=1.9 * T)


def test_results_do_not_put_it_off_for_ever_once_they_end() -> None:
    watch = StallWatch()
    (first,) = questions(watch, 0.0, 1)
    assert not watch.due(still=True, now=first)
    watch.moves(now=first + T)
    (again,) = questions(watch, first + T, 1)
    assert abs(again - first - 3 * T) < 1e-9  # a quiet time of 2 T, as the first question brought nothing


def test_the_quiet_time_doubles_up_to_a_bound() -> None:
    watch = StallWatch()
    asked = questions(watch, 0.0, 12)
    gaps = [after - before for before, after in zip([0.0, *asked], asked, strict=False)]
    expected = [min(T * 2**number, _PERIOD_MAX_S) for number in range(12)]
    assert all(abs(gap - wanted) < 1e-9 for gap, wanted in zip(gaps, expected, strict=True))
    assert expected[-1] == expected[-2] == _PERIOD_MAX_S


def test_a_question_that_found_something_makes_it_quick_again() -> None:
    watch = StallWatch()
    last = questions(watch, 0.0, 8)[-1]
    watch.moved()
    (again,) = questions(watch, last, 1)
    assert abs(again - last - T) < 1e-9
