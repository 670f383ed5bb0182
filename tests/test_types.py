"""The records that every layer shares."""

from __future__ import annotations

import dataclasses
import inspect

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet import types
from lbnet.types import ROOT, Address, Batch, JobId, JobOptions, JobReport, Payload, RunId, WorkerReport

RECORDS = [cls for _, cls in inspect.getmembers(types, inspect.isclass) if dataclasses.is_dataclass(cls)]


def batch(lo: int, hi: int) -> Batch:
    return Batch(JobId(1), RunId(7), lo, hi, 3, ROOT, 3, Payload(0, 100, b"f", b"data"))


def report(**changes: object) -> JobReport:
    made = JobReport(
        job=JobId(1), name="", state="done", strategy="sb", placement="spread", submitted=10, spawned=5, done=12,
        failed=2, cancelled=1, outstanding=0, duplicates=0, orphans=0, requeued=0, slots=4, makespan_s=2.0, busy_s=6.0,
        workers=(WorkerReport("a", 4, 15, 6.0, 0, 0),),
    )  # fmt: skip
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("cls", RECORDS, ids=lambda cls: cls.__name__)
def test_records_are_frozen_slotted_and_documented(cls: type) -> None:
    assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "__slots__" in vars(cls)
    assert not (cls.__doc__ or "").startswith(f"{cls.__name__}(")


@settings(derandomize=True, deadline=None)
@given(lo=st.integers(0, 50), size=st.integers(1, 50), cuts=st.lists(st.integers(0, 100), max_size=5))
def test_the_parts_of_a_batch_change_its_range_only(lo: int, size: int, cuts: list[int]) -> None:
    whole = batch(lo, lo + size)
    assert len(whole) == size
    edges = sorted({lo, lo + size, *(cut for cut in cuts if lo < cut < lo + size)})
    parts = [whole.part(left, right) for left, right in zip(edges, edges[1:], strict=False)]
    assert sum(map(len, parts)) == size
    assert [part.lo for part in parts] + [parts[-1].hi] == edges
    assert {dataclasses.replace(part, lo=0, hi=1) for part in parts} == {dataclasses.replace(whole, lo=0, hi=1)}
    assert all(part.payload is whole.payload for part in parts)


@pytest.mark.parametrize(("lo", "hi"), [(3, 9), (5, 11), (6, 6), (8, 7), (0, 20)])
def test_a_part_lies_within_its_batch_and_is_not_empty(lo: int, hi: int) -> None:
    with pytest.raises(AssertionError):
        batch(5, 10).part(lo, hi)


def test_the_kinds_of_a_group_have_numbers_of_their_own() -> None:
    assert (types.VALUES, types.COMBINED, types.SILENT, types.FAILED) == (0, 1, 2, 3)


def test_items_have_an_origin_that_no_run_has() -> None:
    assert ROOT == types.CONTROLLER == 0


def test_job_options_have_defaults() -> None:
    options = JobOptions()
    assert (options.retries, options.task_timeout_s, options.reduce) == (0, 0.0, b"")
    assert options.crash_limit > 1


@pytest.mark.parametrize(("host", "text"), [("node", "node:80"), ("10.0.0.1", "10.0.0.1:80"), ("::1", "[::1]:80")])
def test_an_address_prints_as_users_write_it(host: str, text: str) -> None:
    assert str(Address(host, 80)) == text


def test_the_balance_of_a_job_in_the_terms_of_kumar_grama_and_vempaty() -> None:
    done = report()
    assert done.speedup == 3.0
    assert done.efficiency == 0.75
    assert done.overhead_s == 2.0
    assert done.efficiency == pytest.approx(1 / (1 + done.overhead_s / done.busy_s))


def test_a_job_that_took_no_time_or_had_no_slots_has_no_speedup() -> None:
    assert report(makespan_s=0.0).speedup == report(makespan_s=0.0).efficiency == 0.0
    assert report(slots=0).efficiency == 0.0


@pytest.mark.parametrize("counter", ["submitted", "spawned", "done", "failed", "cancelled", "outstanding"])
def test_a_job_is_balanced_when_every_task_is_accounted_for_once(counter: str) -> None:
    assert report().balanced
    assert not report(**{counter: getattr(report(), counter) + 1}).balanced


@pytest.mark.parametrize("counter", ["duplicates", "orphans", "requeued"])
def test_what_ran_twice_is_not_part_of_the_balance(counter: str) -> None:
    assert report(**{counter: 5}).balanced
