"""What a task may call, without any slot: the errors outside of a task, and the way divisible work is given away."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lbnet
from lbnet import work
from lbnet.errors import UsageError
from lbnet.work import UNIT_BUDGET_S, WorkUnit, hungry, install_context, remove_context, run_unit, spawn


class Slot:
    """What a slot process would install."""

    def __init__(self) -> None:
        self.flag = memoryview(bytearray(8)).cast("q")
        self.spawned: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        install_context(self.flag, lambda fn, args: self.spawned.append((fn, args)))


@pytest.fixture
def slot() -> Iterator[Slot]:
    yield Slot()
    remove_context()


class Range(WorkUnit):
    """Sums the numbers from lo to hi, one a step."""

    def __init__(self, lo: int, hi: int) -> None:
        self.lo, self.hi = lo, hi
        self.total = 0
        self.budgets: set[float] = set()

    def run(self, budget_s: float) -> bool:
        self.budgets.add(budget_s)
        if self.lo < self.hi:
            self.total += self.lo
            self.lo += 1
        return self.lo == self.hi

    def split(self, fraction: float) -> Range | None:
        cut = self.hi - int((self.hi - self.lo) * fraction)
        if cut in {self.lo, self.hi}:
            return None
        part, self.hi = Range(cut, self.hi), cut
        return part

    def result(self) -> int:
        return self.total


# --- outside of a task ------------------------------------------------------------------------------


def test_spawn_outside_of_a_task_says_what_to_do_instead() -> None:
    with pytest.raises(UsageError, match=r"only inside a task.*map\(\) or submit\(\)"):
        spawn(print, 1)


def test_nobody_is_hungry_outside_of_a_task() -> None:
    assert hungry() is False


def test_a_unit_runs_to_its_end_outside_of_a_task() -> None:
    assert run_unit(Range(0, 100)) == sum(range(100))


def test_the_names_of_the_package_are_these() -> None:
    assert (lbnet.spawn, lbnet.hungry, lbnet.run_unit, lbnet.WorkUnit) == (spawn, hungry, run_unit, WorkUnit)


def test_importing_it_loads_nothing_but_the_errors() -> None:
    program = (
        "import sys; before = set(sys.modules); import lbnet.work;"
        "print(sorted(name for name in set(sys.modules) - before if name.startswith('lbnet')))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "['lbnet', 'lbnet.errors', 'lbnet.work']"


# --- inside ------------------------------------------------------------------------------------------


def test_spawn_hands_on_the_call_as_it_is(slot: Slot) -> None:
    assert spawn(max, 1, [2]) is None  # type: ignore[func-returns-value]
    spawn(min)
    assert slot.spawned == [(max, (1, [2])), (min, ())]


def test_hungry_reads_the_flag_every_time(slot: Slot) -> None:
    assert hungry() is False
    for word in (1, -1, 2**40):
        slot.flag[0] = word
        assert hungry() is True
    slot.flag[0] = 0
    assert hungry() is False


def test_without_its_context_a_process_is_no_slot(slot: Slot) -> None:
    slot.flag[0] = 1
    remove_context()
    assert hungry() is False
    with pytest.raises(UsageError):
        spawn(print)
    assert slot.spawned == []


# --- divisible work ------------------------------------------------------------------------------------


def test_while_nobody_is_hungry_nothing_is_split(slot: Slot) -> None:
    unit = Range(0, 50)
    assert run_unit(unit) == sum(range(50))
    assert slot.spawned == []
    assert unit.budgets == {UNIT_BUDGET_S}


def test_a_unit_gives_half_of_what_is_left(slot: Slot) -> None:
    slot.flag[0] = 1
    unit = Range(0, 9)
    assert run_unit(unit) == 0 + 1 + 2 + 3
    parts = [args[0] for _, args in slot.spawned]
    assert [(part.lo, part.hi) for part in parts] == [(5, 9), (4, 5)] or [(part.lo, part.hi) for part in parts] == [
        (5, 9),
        (3, 5),
    ]
    assert all(fn is run_unit for fn, _ in slot.spawned)


@given(size=st.integers(1, 60), flags=st.lists(st.booleans(), max_size=60))
def test_parts_and_whole_add_up(size: int, flags: list[bool]) -> None:
    slot = Slot()
    coming = iter(flags)

    class Watched(Range):
        def run(self, budget_s: float) -> bool:
            slot.flag[0] = next(coming, False)
            return super().run(budget_s)

    try:
        total = run_unit(Watched(0, size))
        while slot.spawned:
            fn, (part,) = slot.spawned.pop()
            total += fn(part)
        assert total == sum(range(size))
    finally:
        remove_context()


def test_a_unit_that_cannot_be_split_goes_on(slot: Slot) -> None:
    class Whole(Range):
        def split(self, fraction: float) -> None:
            return None

    slot.flag[0] = 1
    assert run_unit(Whole(0, 10)) == sum(range(10))
    assert slot.spawned == []


@pytest.mark.parametrize("missing", ["run", "split", "result"])
def test_a_unit_needs_all_three_methods(missing: str) -> None:
    methods = {name: vars(Range)[name] for name in ("run", "split", "result") if name != missing}
    incomplete = type("Incomplete", (WorkUnit,), methods)
    with pytest.raises(TypeError, match=missing):
        incomplete()


def test_the_example_in_the_documentation_works(slot: Slot) -> None:
    text = (work.WorkUnit.__doc__ or "").split("Example::")[1]
    names: dict[str, Any] = {"WorkUnit": WorkUnit}
    exec(textwrap.dedent(text), names)
    slot.flag[0] = 1
    total = run_unit(names["Sum"](0, 100_000))
    while slot.spawned:
        fn, (part,) = slot.spawned.pop()
        total += fn(part)
    assert total == sum(range(100_000))
