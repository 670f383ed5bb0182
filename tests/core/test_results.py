"""RESULTs that a worker keeps until it hears that they are safe."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet.core.results import UnkeptResults, size_of
from lbnet.protocol.messages import Result
from lbnet.types import ROOT, VALUES, Batch, Group, JobId, Member, Payload, RunId


def result(number: int, job: int = 1) -> Result:
    member = Member(ROOT, number, number + 1, number, ROOT, 0, ROOT, ())
    return Result(JobId(job), (Group(VALUES, bytes(100), (member,), 0.0, None),), ())


def kept(*results: Result) -> tuple[UnkeptResults, list[Result]]:
    said: list[Result] = []
    made = UnkeptResults(said.append)
    for one in results:
        made.add(one)
    return made, said


def test_each_is_said_at_once_and_kept() -> None:
    results, said = kept(result(0), result(1))
    assert said == [result(0), result(1)]
    assert results.size_bytes > 200
    assert results.again() == [result(0), result(1)]


def test_what_is_safe_is_forgotten_and_counted_from_the_beginning_of_the_link() -> None:
    results, _ = kept(result(0), result(1), result(2))
    results.kept(2)
    results.kept(1)  # a late word changes nothing
    assert results.again() == [result(2)]
    results.add(result(2))
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
            link, safe = list(again), 0
        assert results.size_bytes == sum(size_of(one) for one in link[safe:] if one is not None)
