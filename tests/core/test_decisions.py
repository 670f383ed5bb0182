"""A strategy's decisions are carried out one by one, whatever the strategy does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from lbnet import limits
from lbnet.core.decisions import carry_out


class _Half:
    def __init__(self, decisions: Iterable[int]) -> None:
        self.decisions = decisions

    def balance(self, view: object, /) -> Iterable[int]:  # noqa: ARG002
        return self.decisions


def _run(half: _Half) -> tuple[list[int], list[Exception]]:
    done: list[int] = []
    errors: list[Exception] = []
    carry_out(half, None, done.append, errors.append)
    return done, errors


def test_all_that_it_decides_is_carried_out_in_order() -> None:
    assert _run(_Half((3, 1, 2))) == ([3, 1, 2], [])


def test_what_was_decided_before_it_raises_counts() -> None:
    def decisions() -> Iterator[int]:
        yield 1
        raise ValueError("lost")

    done, errors = _run(_Half(decisions()))
    assert done == [1]
    assert [str(error) for error in errors] == ["lost"]


def test_one_that_decides_nothing_iterable_has_failed() -> None:
    done, errors = _run(_Half(7))  # type: ignore[arg-type]
    assert done == []
    assert [type(error) for error in errors] == [TypeError]


def test_one_that_never_ends_is_cut_off() -> None:
    def decisions() -> Iterator[int]:
        while True:
            yield 0

    done, errors = _run(_Half(decisions()))
    assert (len(done), errors) == (limits.DECISIONS_MAX, [])


def test_each_decision_is_carried_out_before_the_next_is_made() -> None:
    seen: list[int] = []

    def decisions() -> Iterator[int]:
        yield 0
        yield len(seen)

    carry_out(_Half(decisions()), None, seen.append, lambda _: None)
    assert seen == [0, 1]


def test_what_carrying_out_raises_is_not_the_strategys_fault() -> None:
    errors: list[Exception] = []

    def decide(_: int) -> None:
        raise RuntimeError("a bug of ours")

    with pytest.raises(RuntimeError, match="a bug of ours"):
        carry_out(_Half((1,)), None, decide, errors.append)
    assert not errors
