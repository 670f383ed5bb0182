"""One sentence, and only when it helps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lbnet.core.advice import Evidence, advice
from lbnet.types import CAUSES, BalanceReport

MANY = Evidence(tasks=1_000, tickets=900, told_s=8.0, serialising_s=0.1, longest_s=0.1, slots=4, unused=0)
SMALL = Evidence(tasks=100_000, tickets=100, told_s=4.0, serialising_s=0.2, longest_s=0.001, slots=4, unused=0)


def report(busy_s: float = 8.0, **causes: float) -> BalanceReport:
    """Of four slots; the names of causes with ``_`` for blanks."""
    named = {cause: causes.get(cause.replace(" ", "_"), 0.0) for cause in CAUSES}
    slot_s = busy_s + sum(named.values())
    return BalanceReport(slot_s / 4, 4.0, slot_s, busy_s, named, ())


def test_who_is_near_the_ideal_needs_none() -> None:
    assert advice(report(tail=0.4), MANY) == ""
    assert advice(report(tail=0.5), MANY) != ""
    assert advice(report(0.0, start=4.0), replace(MANY, tasks=0)) == ""


def test_small_tasks_are_told_what_batching_saved() -> None:
    # A batch cost 2 ms: 100,000 of them would have cost 200 s beside the 4 s of work. It took 4.2 s.
    said = advice(report(4.0, serialising=0.1), SMALL)
    assert said.startswith("Your tasks are 40 µs; batching, 1,000 at a time, saved 98 % of the time that they would ")
    assert SMALL.saved == pytest.approx(1 - 4.2 / 204)
    assert advice(report(4.0, serialising=0.1), replace(SMALL, told_s=400.0)) == ""
    assert advice(report(4.0, serialising=0.1), replace(SMALL, tickets=90_000)) == ""


@pytest.mark.parametrize("changed", [{"tickets": 0}, {"tickets": 100_000}, {"serialising_s": 0.0}])
def test_nothing_is_saved_where_nothing_was_batched(changed: dict[str, Any]) -> None:
    assert replace(SMALL, **changed).saved == 0.0


@pytest.mark.parametrize("cause", ["start", "waiting_for_work", "tail"])
def test_one_giant_is_to_blame_if_it_is_longer_than_the_ideal(cause: str) -> None:
    giant = replace(MANY, longest_s=2.5)
    assert advice(report(**{cause: 4.0}), giant).startswith("One task took 2.5 s, more than the ideal of 2 s for the")
    assert "One task" not in advice(report(**{cause: 4.0}), replace(MANY, longest_s=1.9))
    assert "One task" not in advice(report(failures=4.0), giant)


def test_too_few_tasks_leave_slots_without_any() -> None:
    said = advice(report(start=8.0), replace(MANY, tasks=2, unused=2))
    assert said.startswith("2 of 4 slots never had a task: the job had 2 in all; ")
    assert "never had" not in advice(report(start=8.0), replace(MANY, unused=1))


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        ("start", "kept open"),
        ("serialising", "your tasks take 8 ms, and 100 µs more each; do more in a task"),
        ("network", "nearer"),
        ("waiting_for_work", "input came more slowly"),
        ("tail", "submit long tasks first"),
        ("failures", "lbnet audit"),
        ("other_jobs", "priority"),
    ],
)
def test_the_largest_cause_has_a_remedy(cause: str, words: str) -> None:
    said = advice(report(**{"tail": 1.0, "start": 1.0, cause: 4.0}), MANY)
    name = cause.replace("_", " ")
    assert said.startswith(f"{name[0].upper()}{name[1:]} took 4 s of 1")
    assert words in said
    assert said.count(". ") == 0


def test_serialising_tells_what_batching_saved_all_the_same() -> None:
    assert "although batching saved 98 %; do more" in advice(report(4.0, serialising=1.0), SMALL)


def test_what_is_unknown_has_no_remedy() -> None:
    assert advice(report(unknown=9.0), MANY) == ""
