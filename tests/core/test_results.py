"""RESULTs that a worker keeps until it hears that they are safe."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet import limits
from lbnet.core.results import UnkeptResults, size_of
from lbnet.protocol.messages import Moved, Result
from lbnet.types import ROOT, VALUES, Batch, Group, JobId, Member, Payload, PeerId, RunId


def result(number: int, job: int = 1) -> Result:
    member = Member(ROOT, number, number + 1, number, ROOT, 0, ROOT, ())
    return Result(JobId(job), (Group(VALUES, bytes(100), (member,), 0.0, None),), ())


def kept(*results: Result) -> tuple[UnkeptResults, list[Result]]:
    said: list[Result] = []
    made = UnkeptResults(said.append)
    for one in results:
        made.add(one)
        made.say(0.0)
    return made, said


def moved(number: int, donor: int, batches: int) -> Result:
    return replace(result(number), moved=(Moved(PeerId(donor), batches),))


def test_each_is_said_and_kept() -> None:
    results, said = kept(result(0), result(1))
    assert said == [result(0), result(1)]
    assert results.size_bytes > 200
    assert results.again() == [result(0), result(1)]


def test_the_first_is_said_at_once_and_what_follows_soon_waits_for_company() -> None:
    results, said = kept()
    results.opened(9.0)
    assert results.look(9.0, busy=True) is None
    results.add(result(0))
    assert results.look(9.0, busy=True) is None
    assert said == [result(0)]
    for number in (1, 2):
        results.add(result(number))
        assert results.look(9.0 + number / 1000, busy=True) == pytest.approx(9.0 + 1.5 * limits.RESULT_GAP_S)
    assert said == [result(0)]
    assert results.unkept
    assert results.look(9.0 + limits.RESULT_GAP_S, busy=True) is None
    assert said == [result(0), replace(result(1), groups=result(1).groups + result(2).groups)]
    assert results.again() == said


@pytest.mark.parametrize(
    ("age_s", "gap_s"),
    [(0.0, limits.RESULT_GAP_S), (0.7, 0.07), (60.0, limits.RESULT_GAP_MAX_S)],
    ids=["new", "a while", "long"],
)
def test_the_longer_a_job_is_known_the_rarer_its_results(age_s: float, gap_s: float) -> None:
    results, said = kept()
    results.opened(100.0 - age_s)
    results.add(result(0))
    assert results.look(100.0, busy=True) is None
    results.add(result(1))
    assert results.look(100.0 + 0.9 * gap_s, busy=True) is not None
    assert len(said) == 1
    assert results.look(100.0 + 1.2 * gap_s, busy=True) is None
    assert len(said) == 2


def test_who_runs_dry_or_has_much_says_it_now() -> None:
    results, said = kept(result(0))
    results.add(result(1))
    assert results.look(0.001, busy=False) is None
    assert said[-1] == result(1)
    results.add(replace(result(2), groups=(replace(result(2).groups[0], data=bytes(limits.RESULT_HELD_BYTES)),)))
    assert results.look(0.001, busy=True) is None
    assert len(said) == 3


def test_results_of_different_jobs_stay_apart_and_what_has_moved_is_added_up() -> None:
    results, said = kept()
    for one in (moved(0, 5, 2), result(1, job=2), moved(2, 5, 1), moved(3, 6, 1)):
        results.add(one)
    size = results.size_bytes
    results.say(0.0)
    first, other = said
    assert (first.job, [group.members[0].lo for group in first.groups]) == (1, [0, 2, 3])
    assert first.moved == (Moved(PeerId(5), 3), Moved(PeerId(6), 1))
    assert other == result(1, job=2)
    assert results.size_bytes < size
    results.kept(2)
    assert results.size_bytes == 0


def test_what_is_merged_fits_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LINK_BUFFER_HIGH_BYTES", 1000)
    results, said = kept()
    for number in range(10):
        results.add(result(number))
    results.say(0.0)
    assert [group.members[0].lo for one in said for group in one.groups] == list(range(10))
    assert all(size_of(one) <= 1000 for one in said)


def test_held_results_of_a_job_that_is_over_are_dropped() -> None:
    results, said = kept()
    results.add(result(0))
    results.forget(JobId(1))
    results.say(0.0)
    assert said == []
    assert not results.unkept
    assert results.size_bytes == 0


def test_what_is_safe_is_forgotten_and_counted_from_the_beginning_of_the_link() -> None:
    results, _ = kept(result(0), result(1), result(2))
    results.kept(2)
    results.kept(1)  # a late word changes nothing
    assert results.again() == [result(2)]
    results.add(result(2))
    results.say(0.0)
    results.kept(1)
    assert results.again() == []
    assert results.size_bytes == 0


def test_those_of_a_job_that_is_over_count_and_are_not_said_again() -> None:
    results, _ = kept(result(0), result(1, job=2), result(2))
    results.forget(JobId(2))
    results.kept(2)
    assert results.again() == [result(2)]


def test_the_size_is_that_of_values_and_of_what_was_spawned() -> None:
    plain = result(0)
    child = Batch(JobId(1), RunId(9), 0, 1, 0, ROOT, 0, Payload(0, 1, b"f", bytes(5_000)))
    member = Member(ROOT, 0, 1, 0, ROOT, 0, RunId(9), (child,))
    parent = Result(JobId(1), (Group(VALUES, bytes(100), (member,), 0.0, None),), ())
    assert size_of(parent) - size_of(plain) == 5_000
    assert kept(plain, parent)[0].size_bytes == size_of(plain) + size_of(parent)


def test_more_than_was_said_cannot_be_kept() -> None:
    results, _ = kept(result(0))
    results.kept(99)
    results.add(result(1))
    assert results.again() == [result(1)]


stories = st.lists(
    st.tuples(st.sampled_from(["add", "add", "kept", "forget", "again"]), st.integers(0, 9)), max_size=50
)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(story=stories)
def test_what_is_neither_safe_nor_of_a_job_that_is_over_is_said_again(story: list[tuple[str, int]]) -> None:
    results, said = kept()
    link: list[Result | None] = []
    safe = number = 0
    for kind, value in story:
        if kind == "add":
            results.add(result(number, job=value % 3))
            results.say(0.0)
            link.append(result(number, job=value % 3))
            number += 1
            assert said[-1] == link[-1]
        elif kind == "kept":
            safe = max(safe, min(value, len(link)))
            results.kept(min(value, len(link)))
        elif kind == "forget":
            results.forget(JobId(value % 3))
            link = [None if one is not None and one.job == value % 3 else one for one in link]
        else:
            again = results.again()
            assert again == [one for one in link[safe:] if one is not None]
            assert results.size_bytes == 0
            for one in again:
                results.add(one)
                results.say(0.0)
            link, safe = list(again), 0
        assert results.size_bytes == sum(size_of(one) for one in link[safe:] if one is not None)
