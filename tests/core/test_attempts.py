"""Which failures are tried again, how long that takes, and that nothing that waits for it is lost."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet import limits
from lbnet.core.attempts import Resting, delay_s, is_worth_a_retry
from lbnet.errors import TaskTimeoutError
from lbnet.types import ROOT, Batch, JobId, Payload, RunId, Span


def task(index: int, job: int = 1) -> Batch:
    return Batch(JobId(job), ROOT, index, index + 1, 0, ROOT, 0, Payload(index, 1, b"f", b""))


class Outer:
    class InnerError(ConnectionError):
        pass


@pytest.mark.parametrize(
    ("kind", "names", "worth"),
    [
        (ValueError, (), True),
        (ValueError, ("ValueError",), True),
        (ValueError, ("builtins.ValueError",), True),
        (ValueError, ("other.ValueError",), False),
        (ValueError, ("KeyError", "OSError"), False),
        (ConnectionResetError, ("KeyError", "OSError"), True),
        (OSError, ("ConnectionResetError",), False),
        (Outer.InnerError, ("InnerError",), True),
        (Outer.InnerError, ("Outer.InnerError",), True),
        (Outer.InnerError, (f"{__name__}.Outer.InnerError",), True),
        (Outer.InnerError, (f"{__name__}.InnerError",), False),
        (TaskTimeoutError, ("TimeoutError",), True),
        (SystemExit, ("Exception",), False),
    ],
)
def test_an_exception_goes_by_its_name_and_those_of_its_bases(
    kind: type[BaseException], names: tuple[str, ...], worth: bool
) -> None:
    assert is_worth_a_retry(kind, names) is worth


def test_each_wait_is_twice_the_last_up_to_a_limit() -> None:
    assert [delay_s(0.5, failures) for failures in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, 4.0]
    assert delay_s(0.5, 10**9) == delay_s(1e9, 1) == limits.RETRY_DELAY_MAX_S
    assert delay_s(0.0, 7) == delay_s(-1.0, 7) == 0.0


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 10), st.booleans()), max_size=30))
def test_every_task_is_held_until_it_is_woken_in_its_time(steps: list[tuple[float, bool]]) -> None:
    resting, waiting, now = Resting(), dict[int, float](), 0.0
    for index, (at, add) in enumerate(steps):
        if add:
            resting.add(task(index), at)
            waiting[index] = at
        else:
            now = max(now, at)
            due = sorted((until, number) for number, until in waiting.items() if until <= now)
            assert [batch.lo for batch in resting.wake(now)] == [number for _, number in due]
            for _, number in due:
                del waiting[number]
        assert resting.until == min(waiting.values(), default=None)
        assert sorted(span.lo for span in resting.spans()) == sorted(waiting)


def test_what_nobody_wants_is_forgotten() -> None:
    resting = Resting()
    for index in range(6):
        resting.add(task(index, job=index % 2), 10.0 - index)
    resting.drop(lambda batch: batch.job == 1)
    assert resting.spans() == [Span(JobId(0), RunId(0), index, index + 1) for index in (4, 2, 0)]
    assert resting.until == 6.0
    assert [batch.lo for batch in resting.wake(8.0)] == [4, 2]
