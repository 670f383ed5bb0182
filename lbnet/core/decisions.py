"""The decisions of a strategy, one by one. It may be anybody's code: it can make lbnet slow, never wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from lbnet import limits

D = TypeVar("D")


def decisions_of(step: Callable[[], Iterable[D]], failed: Callable[[Exception], None]) -> Iterator[D]:
    """What ``step`` yields, until it ends, raises (then ``failed`` is told), or goes on for too long.

    Only what the strategy itself does is caught: whoever carries out a decision must not rely on it.
    """
    try:
        decisions = iter(step())
    except Exception as error:  # noqa: BLE001 - whatever it raises
        failed(error)
        return
    for _ in range(limits.DECISIONS_MAX):
        try:
            decision = next(decisions)
        except StopIteration:
            return
        except Exception as error:  # noqa: BLE001 - whatever it raises
            failed(error)
            return
        yield decision
