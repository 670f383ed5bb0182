"""The decisions of a strategy, one by one. It may be anybody's code: it can make lbnet slow, never wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from lbnet import limits

V_contra = TypeVar("V_contra", contravariant=True)
D = TypeVar("D")
D_co = TypeVar("D_co", covariant=True)


class Half(Protocol[V_contra, D_co]):
    """A strategy's half, at the controller or at a worker."""

    def balance(self, view: V_contra, /) -> Iterable[D_co]:
        """The load-balancing step."""


def carry_out(
    half: Half[V_contra, D], view: V_contra, decide: Callable[[D], None], failed: Callable[[Exception], None]
) -> None:
    """Carry out what ``half`` decides, by ``decide``, until it ends, raises (then ``failed`` is told), or goes on for
    too long.

    Each decision is carried out before the next one is made, and may change the view. Only what the strategy itself
    does is caught: whoever carries out a decision must not rely on it.
    """
    try:
        decisions = iter(half.balance(view))
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
        decide(decision)
