"""Who was in the cluster when."""

from __future__ import annotations

import math

import pytest

from lbnet import limits
from lbnet.core.presence import Presence
from lbnet.types import PeerId

ONE, TWO = PeerId(1), PeerId(2)


def during(presence: Presence, begin: float, end: float) -> dict[int, float]:
    return {peer: seconds for peer, _, seconds in presence.during(begin, end)}


def test_a_worker_counts_for_the_part_of_a_time_that_it_was_here() -> None:
    presence = Presence()
    presence.joined(ONE, "one", 2, 5.0, back=False)
    presence.joined(TWO, "two", 4, 8.0, back=False)
    presence.left(ONE, 9.0)
    presence.left(PeerId(3), 9.0)
    assert during(presence, 0.0, 10.0) == {ONE: 4.0, TWO: 2.0}
    assert during(presence, 6.0, 7.0) == {ONE: 1.0}
    assert during(presence, 9.0, 10.0) == {TWO: 1.0}
    assert during(presence, 0.0, 5.0) == {}
    ((_, stay, _), _) = presence.during(0.0, 10.0)
    assert (stay.name, stay.slots, stay.left_at) == ("one", 2, 9.0)


def test_one_that_comes_back_was_never_away_and_one_that_nobody_remembers_was_always_here() -> None:
    presence = Presence()
    presence.joined(ONE, "one", 1, 5.0, back=False)
    presence.left(ONE, 6.0)
    presence.joined(ONE, "one", 1, 9.0, back=True)
    presence.joined(TWO, "two", 1, 9.0, back=True)
    assert during(presence, 1.0, 10.0) == {ONE: 5.0, TWO: 9.0}


def test_a_new_worker_under_an_id_that_was_used_begins_anew() -> None:
    presence = Presence()
    presence.joined(ONE, "one", 1, 5.0, back=False)
    presence.left(ONE, 6.0)
    presence.joined(ONE, "one", 1, 9.0, back=False)
    assert during(presence, 0.0, 10.0) == {ONE: 1.0}


@pytest.mark.parametrize("extra", [0, 3])
def test_of_those_that_have_left_the_latest_are_remembered(extra: int) -> None:
    presence = Presence()
    presence.joined(ONE, "stays", 1, 0.0, back=False)
    for number in range(limits.STAYS_KEPT + extra):
        presence.joined(PeerId(10 + number), "goes", 1, 1.0, back=False)
        presence.left(PeerId(10 + number), 2.0)
    here = during(presence, -math.inf, 3.0)
    assert len(here) == limits.STAYS_KEPT + 1
    assert ONE in here
    assert (PeerId(10) in here) == (extra == 0)
