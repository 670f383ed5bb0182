"""Tickets from RUN to FINISHED, in this process: what each task leaves, who is to blame, what is taken back."""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet import limits, pickling
from lbnet.pool import runner as runner_module
from lbnet.pool import wire
from lbnet.pool.claims import Claims
from lbnet.pool.helper import Helper
from lbnet.pool.outbox import Outbox
from lbnet.pool.runner import Runner
from lbnet.protocol.framing import FrameReader
from lbnet.types import COMBINED, FAILED, ROOT, SILENT, VALUES, Batch, Failure, Group, JobId, Payload, RunId
from tests.pool import slot_tasks

JOB = JobId(1)
ENTRY = 1
FIRST_RUN = 700


class Slot:
    """A runner with its surroundings, and what it sent."""

    def __init__(self) -> None:
        self.claims = Claims()
        self.sent = b""
        self.at_send: list[tuple[int, float]] = []
        self.outbox = Outbox(self._send, time.perf_counter, "here")
        self.helper = Helper(self.outbox, self.claims, time.perf_counter)
        self.runner = Runner(self.outbox, self.claims, self.helper, "here")
        self.tickets = 0

    def _send(self, data: bytes) -> None:
        self.sent += data
        self.at_send.append(self.claims.running(ENTRY))

    def close(self) -> None:
        for view in (*self.runner._currents, *self.runner._starteds, self.runner.spawner._flag):
            view.release()
        self.claims.close()

    def teach(self, fn: Callable[..., Any]) -> bytes:
        digest, data = pickling.dump_function(fn)
        self.runner.teach(wire.Teach(JOB, digest, data))
        return digest

    def run(
        self,
        fn: Callable[..., Any] | bytes,
        items: Sequence[Any],
        *,
        lo: int = 0,
        hi: int | None = None,
        base: int | None = None,
        style: int = pickling.ONE,
        origin: RunId = ROOT,
        reduce: Callable[..., Any] | bytes = b"",
        timed: bool = False,
        data: bytes | None = None,
        retry_on: tuple[str, ...] = (),
    ) -> int:
        """Run a ticket; how far it ran."""
        self.tickets += 1
        self.sent = b""
        self.at_send.clear()
        base = lo if base is None else base
        hi = base + len(items) if hi is None else hi
        digest = fn if isinstance(fn, bytes) else self.teach(fn)
        reduce = reduce if isinstance(reduce, bytes) else self.teach(reduce)
        data = pickling.dump_items(items, style).data if data is None else data
        batch = Batch(JOB, origin, lo, hi, 3, ROOT, 9, Payload(base, len(items), digest, data))
        self.claims.issue(ENTRY, lo, hi)
        self.runner.run(wire.Run(self.tickets, ENTRY, batch, RunId(FIRST_RUN), reduce, timed, retry_on))
        assert self.claims.running(ENTRY)[0] == -1
        finished = self.messages()[-1]
        assert isinstance(finished, wire.Finished)
        assert finished.ticket == self.tickets
        return finished.ran_to

    def messages(self) -> list[Any]:
        frames = FrameReader()
        frames.feed(self.sent)
        found = []
        while (body := frames.next()) is not None:
            found.append(wire.CODEC.decode(body))
        return found

    def groups(self) -> list[Group]:
        return [group for message in self.messages() if isinstance(message, wire.Done) for group in message.groups]

    def values(self) -> dict[int, Any]:
        found: dict[int, Any] = {}
        for group in self.groups():
            if group.kind in {VALUES, COMBINED}:
                reader = pickling.load_values(group.data)
                for place in range(len(reader)):
                    assert group.members[0].lo + place not in found
                    found[group.members[0].lo + place] = reader.get(place)
        return found

    def failures(self) -> dict[int, Failure]:
        return {group.members[0].lo: group.failure for group in self.groups() if group.failure is not None}

    def indices(self) -> list[int]:
        return [i for group in self.groups() for member in group.members for i in range(member.lo, member.hi)]


@pytest.fixture
def slot() -> Iterator[Slot]:
    made = Slot()
    yield made
    made.close()


# --- results ------------------------------------------------------------------------------------------


def test_each_item_has_its_value(slot: Slot) -> None:
    assert slot.run(slot_tasks.double, range(100), lo=40) == 140
    assert slot.values() == {index: 2 * (index - 40) for index in range(40, 140)}


def test_a_part_of_a_payload_runs_as_that_part(slot: Slot) -> None:
    assert slot.run(slot_tasks.double, range(100), base=40, lo=60, hi=63) == 63
    assert slot.values() == {60: 40, 61: 42, 62: 44}


def sum_of(*args: int, **kwargs: int) -> int:
    """Of whatever way the arguments come."""
    return sum(args) + 10 * sum(kwargs.values())


@pytest.mark.parametrize(
    ("style", "items", "values"),
    [
        (pickling.ONE, [1, 2], [1, 2]),
        (pickling.STAR, [(1, 2), (3,), ()], [3, 3, 0]),
        (pickling.CALL, [((1,), {"a": 2}), ((), {})], [21, 0]),
    ],
)
def test_arguments_come_as_the_payload_says(slot: Slot, style: int, items: list[Any], values: list[int]) -> None:
    slot.run(sum_of, items, style=style)
    assert list(slot.values().values()) == values


@settings(deadline=None)
@given(
    outcomes=st.lists(st.sampled_from(["plain", "object", "raises", "spawns", "bad"]), min_size=1, max_size=25),
    lo=st.integers(0, 1_000),
)
def test_every_task_leaves_one_outcome(outcomes: list[str], lo: int) -> None:
    slot = Slot()

    def task(outcome: str) -> Any:
        if outcome == "spawns":
            slot.runner.spawner.spawn(slot_tasks.leaf, (1,))
        if outcome == "raises":
            raise ValueError(outcome)
        return {"object": [outcome], "bad": slot_tasks.Unpicklable()}.get(outcome, outcome)

    # By reference: what is taught is this very function.
    slot.runner._functions[JOB] = {}
    digest = slot.teach(slot_tasks.double)
    slot.runner._functions[JOB][digest].fn = task
    assert slot.run(digest, outcomes, lo=lo) == lo + len(outcomes)
    assert slot.indices() == list(range(lo, lo + len(outcomes)))
    kinds = {"object": "value", "plain": "value", "spawns": "parent", "raises": "exception", "bad": "serialize"}
    found = {}
    for group in slot.groups():
        for member in group.members:
            for index in range(member.lo, member.hi):
                failure = group.failure
                if failure is not None:
                    found[index] = "exception" if failure.kind == "exception" else "serialize"
                else:
                    found[index] = "parent" if member.run == FIRST_RUN + index - lo else "value"
    assert found == {index: kinds[outcome] for index, outcome in enumerate(outcomes, lo)}
    spawned = [message.batch for message in slot.messages() if isinstance(message, wire.Spawned)]
    assert [batch.parent_index for batch in spawned] == [i for i, one in enumerate(outcomes, lo) if one == "spawns"]
    slot.close()


def test_a_failure_names_the_place_and_the_users_line(slot: Slot) -> None:
    slot.run(slot_tasks.call_or_double, ["raise_value_error", 1])
    failure = slot.failures()[0]
    assert failure.where == "here"
    assert failure.message == "ValueError: an ordinary mistake"
    assert "raise_value_error" in failure.traceback
    assert "runner.py" not in failure.traceback


def test_mutable_results_are_those_of_their_moment(slot: Slot) -> None:
    slot.run(grow_shared_list, range(3))
    assert slot.values() == {0: [0], 1: [0, 1], 2: [0, 1, 2]}


_shared: list[int] = []


def grow_shared_list(item: int) -> list[int]:
    """Return the same object every time."""
    _shared.append(item)
    return _shared


# --- what cannot be run -------------------------------------------------------------------------------


def test_a_function_that_never_came_fails_every_task(slot: Slot) -> None:
    assert slot.run(b"\1\2", [1, 2]) == 2
    assert {failure.kind for failure in slot.failures().values()} == {"FunctionSerializeError"}
    assert "function 0102 has not come to this slot" in slot.failures()[1].message


def test_a_function_that_cannot_be_unpickled_is_tried_once(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    slot.runner.teach(wire.Teach(JOB, b"bad", b"no pickle"))
    loads = []
    original = pickling.load_function
    monkeypatch.setattr(pickling, "load_function", lambda data: (loads.append(data), original(data))[1])
    for _ in range(2):
        assert slot.run(b"bad", [1, 2]) == 2
        (first, second) = slot.failures().values()
        assert first.kind == second.kind == "FunctionSerializeError"
        assert "cannot be unpickled here" in first.message
    assert len(loads) == 1
    # Taught again, it gets another chance.
    slot.runner.teach(wire.Teach(JOB, b"bad", pickling.dump_function(slot_tasks.double)[1]))
    slot.run(b"bad", [1])
    assert slot.values() == {0: 2}


@pytest.mark.parametrize("data", [b"", b"\0", b"\0junk", pickling.dump_items([1, 2, 3]).data])
def test_a_payload_that_is_not_what_it_says_fails_every_task(slot: Slot, data: bytes) -> None:
    assert slot.run(slot_tasks.double, [1, 2], lo=5, data=data) == 7
    assert {index: failure.kind for index, failure in slot.failures().items()} == dict.fromkeys(
        (5, 6), "ItemSerializeError"
    )


def test_an_argument_that_could_not_be_pickled_fails_its_task_alone(slot: Slot) -> None:
    slot.run(slot_tasks.call_or_double, [1, slot_tasks.Unpicklable(), 3])
    assert slot.values() == {0: 2, 2: 6}
    (failure,) = slot.failures().values()
    assert failure.kind == "ItemSerializeError"


def test_when_a_job_is_forgotten_so_are_its_functions(slot: Slot) -> None:
    digest = slot.teach(slot_tasks.double)
    slot.runner.forget(JOB)
    slot.runner.forget(JobId(99))
    slot.run(digest, [1])
    assert slot.failures()[0].kind == "FunctionSerializeError"


def test_parts_of_one_payload_are_unpickled_once(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []
    original = pickling.load_items
    monkeypatch.setattr(pickling, "load_items", lambda data: (loads.append(data), original(data))[1])
    for lo in (0, 4):
        slot.run(slot_tasks.double, range(8), base=0, lo=lo, hi=lo + 4)
    assert len(loads) == 1
    slot.run(slot_tasks.double, range(9))
    assert len(loads) == 2


# --- taking back ----------------------------------------------------------------------------------------


@given(count=st.integers(1, 40), place=st.integers(0, 39), limit=st.integers(0, 40))
def test_what_is_taken_back_in_the_middle_of_a_task_is_not_run(count: int, place: int, limit: int) -> None:
    slot = Slot()
    taken: list[int] = []

    def task(item: int) -> int:
        if item == place:
            slot.claims.revoke(ENTRY, limit)
            taken.append(slot.claims.taken_from(ENTRY))
        return item

    digest = slot.teach(slot_tasks.double)
    slot.runner._functions[JOB][digest].fn = task
    ran_to = slot.run(digest, range(count))
    assert slot.values() == {index: index for index in range(ran_to)}
    if place < count:
        assert place < ran_to <= taken[0]
    else:
        assert ran_to == count
    slot.close()


def test_a_ticket_that_was_taken_back_as_a_whole_runs_nothing(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    issue = slot.claims.issue

    def issue_and_revoke(entry: int, lo: int, hi: int) -> None:
        issue(entry, lo, hi)
        slot.claims.revoke(entry, lo)

    monkeypatch.setattr(Claims, "issue", staticmethod(issue_and_revoke))
    assert slot.run(slot_tasks.double, range(5), lo=20) == 20
    assert slot.groups() == []


def test_a_helper_that_comes_before_the_first_step_costs_no_task(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    # The other thread may run between the claim and the loop, and find the group old already.
    watch = slot.helper.watch

    def watch_and_let_go(hand: Any, entry: int, now: float) -> None:
        watch(hand, entry, now)
        if hand is not None:
            slot.helper._let_go(hand)

    monkeypatch.setattr(slot.helper, "watch", watch_and_let_go)
    assert slot.run(slot_tasks.double, range(50)) == 50
    assert slot.values() == {index: 2 * index for index in range(50)}


def test_groups_grow_while_tasks_are_short(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    claim = slot.claims.claim

    def recorded(entry: int, begin: int, end: int) -> int:
        sizes.append(end - begin)
        return claim(entry, begin, end)

    monkeypatch.setattr(Claims, "claim", staticmethod(recorded))
    slot.run(slot_tasks.double, range(2_000))
    assert sizes[0] == 1
    assert max(sizes) > 1
    assert all(after <= before * limits.SLOT_GROUP_GROWTH for before, after in zip(sizes, sizes[1:], strict=False))
    assert sum(sizes) == 2_000


# --- who is to blame --------------------------------------------------------------------------------------


def test_the_claims_name_the_task_that_runs(slot: Slot) -> None:
    seen = []

    def task(item: int) -> None:
        seen.append((item, slot.claims.running(ENTRY)))

    digest = slot.teach(slot_tasks.double)
    slot.runner._functions[JOB][digest].fn = task
    slot.run(digest, range(20, 24), lo=20)
    assert [(item, index) for item, (index, _) in seen] == [(index, index) for index in range(20, 24)]


def test_a_timed_ticket_tells_when_each_task_began(slot: Slot) -> None:
    seen: list[tuple[float, float, float]] = []
    before = [time.monotonic()]

    def task(item: int) -> None:
        now = time.monotonic()
        seen.append((before[0], slot.claims.running(ENTRY)[1], now))
        before[0] = now

    digest = slot.teach(slot_tasks.double)
    slot.runner._functions[JOB][digest].fn = task
    slot.run(digest, range(5), timed=True)
    assert all(earlier <= started <= later for earlier, started, later in seen)
    assert len(seen) == 5


def test_until_everything_was_pickled_and_sent_the_last_task_can_be_blamed(slot: Slot) -> None:
    # Combined values are pickled when they leave, and that may end the process.
    slot.outbox.flushed_at = time.perf_counter() + 1e6
    slot.run(slot_tasks.call_or_double, range(3), origin=RunId(5), reduce=operator.add)
    assert slot.at_send == [(2, slot.at_send[0][1])]


# --- spawned tasks, and values that are combined --------------------------------------------------------


def spawn_in(slot: Slot, value: Any) -> bytes:
    def task(_: int) -> Any:
        slot.runner.spawner.spawn(slot_tasks.leaf, (1,))
        return value

    digest = slot.teach(slot_tasks.parent)
    slot.runner._functions[JOB][digest].fn = task
    return digest


@pytest.mark.parametrize(
    ("origin", "reduce", "value", "kind"),
    [
        (ROOT, False, 5, VALUES),
        (ROOT, False, None, VALUES),
        (ROOT, False, [5], VALUES),
        (ROOT, True, 5, COMBINED),
        (ROOT, True, [5], COMBINED),
        (ROOT, True, None, SILENT),
        (RunId(44), False, None, SILENT),
        (RunId(44), True, 5, COMBINED),
        (RunId(44), True, None, SILENT),
        (RunId(44), False, 5, FAILED),
    ],
)
def test_a_task_that_spawned_stands_alone_and_names_its_run(
    slot: Slot, origin: RunId, reduce: bool, value: Any, kind: int
) -> None:
    digest = spawn_in(slot, value)
    slot.run(digest, [0, 0], lo=30, origin=origin, reduce=operator.add if reduce else b"")
    groups = slot.groups()
    assert [group.kind for group in groups] == [kind, kind]
    runs = [group.members[0].run for group in groups]
    assert runs == ([ROOT, ROOT] if kind == FAILED else [FIRST_RUN, FIRST_RUN + 1])
    if kind in {VALUES, COMBINED}:
        assert slot.values() == {30: value, 31: value}
    spawned = [m.batch for m in slot.messages() if isinstance(m, wire.Spawned)]
    assert [batch.origin for batch in spawned] == [run for run in runs if run != ROOT]
    # Children leave before the result that names them.
    order = [type(m).__name__ for m in slot.messages()]
    if spawned:
        assert order.index("Spawned") < order.index("Done")


def test_spawned_tasks_that_return_nothing_share_a_group(slot: Slot) -> None:
    slot.outbox.flushed_at = time.perf_counter() + 1e6
    slot.run(slot_tasks.leaf, range(9), lo=4, origin=RunId(44))
    (group,) = slot.groups()
    assert (group.kind, group.members[0].lo, group.members[0].hi) == (SILENT, 4, 13)


def test_a_spawned_task_must_not_return_a_value_without_a_reduce(slot: Slot) -> None:
    slot.run(slot_tasks.double, [1, 2], origin=RunId(44))
    assert {failure.kind for failure in slot.failures().values()} == {"SpawnedValueError"}
    assert "returned a value of type int" in slot.failures()[0].message


def test_values_of_spawned_tasks_are_combined(slot: Slot) -> None:
    slot.outbox.flushed_at = time.perf_counter() + 1e6
    slot.run(slot_tasks.double, [1, 2, 3], lo=4, origin=RunId(44), reduce=operator.add)
    (group,) = slot.groups()
    assert group.kind == COMBINED
    assert [(member.lo, member.hi) for member in group.members] == [(4, 7)]
    assert slot.values() == {4: 12}


def test_values_of_items_are_not_combined(slot: Slot) -> None:
    slot.run(slot_tasks.double, [1, 2, 3], reduce=operator.add)
    assert slot.values() == {0: 2, 1: 4, 2: 6}


def test_a_reduce_that_never_came_fails_the_tasks_that_need_it(slot: Slot) -> None:
    slot.outbox.flushed_at = time.perf_counter() + 1e6
    slot.run(slot_tasks.double, [1, 2], origin=RunId(44), reduce=b"\7")
    assert {index: failure.kind for index, failure in slot.failures().items()} == dict.fromkeys(
        (0, 1), "FunctionSerializeError"
    )


# --- copies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "error"),
    [
        (slot_tasks.double, SystemExit),
        (slot_tasks.length, TypeError),
    ],
)
def test_in_a_copy_that_a_task_forked_nothing_runs_behind_it(
    task: Callable[..., Any], error: type[BaseException]
) -> None:
    slot = Slot()
    ran = []

    def fork(item: int) -> Any:
        ran.append(item)
        slot.runner.disown()
        return task(item)

    digest = slot.teach(slot_tasks.double)
    slot.runner._functions[JOB][digest].fn = fork
    with pytest.raises(error):
        slot.run(digest, [1, 2, 3])
    assert ran == [1]
    assert slot.sent == b""


# --- failures that are final, and output


@pytest.mark.parametrize(
    ("names", "final"),
    [((), False), (("ValueError",), False), (("Exception",), False), (("KeyError", "OSError"), True)],
)
def test_a_failure_that_its_job_does_not_name_is_final(slot: Slot, names: tuple[str, ...], final: bool) -> None:
    slot.run(slot_tasks.call_or_double, [1, "raise_value_error"], retry_on=names)
    (failure,) = [group.failure for group in slot.groups() if group.failure is not None]
    assert failure.final is final


def test_it_says_which_task_runs(slot: Slot) -> None:
    seen: list[tuple[int, int]] = []
    slot.runner._functions[JOB] = {b"f": runner_module._Function(b"", lambda item: seen.append(slot.runner.running()))}
    assert slot.runner.running() == (-1, -1)
    slot.run(b"f", range(3), lo=5)
    assert seen == [(1, 5), (1, 6), (1, 7)]
    assert slot.runner.running() == (-1, -1)


def test_what_a_task_has_printed_leaves_before_its_results(slot: Slot) -> None:
    happened: list[str] = []
    slot.runner.flush_output = lambda: happened.append("output")
    slot.outbox._send = lambda data: happened.append("results")
    digest = slot.teach(slot_tasks.call_or_double)
    batch = Batch(JOB, ROOT, 0, 1, 0, ROOT, 0, Payload(0, 1, digest, pickling.dump_items(["raise_value_error"]).data))
    slot.claims.issue(ENTRY, 0, 1)
    slot.runner.run(wire.Run(1, ENTRY, batch, RunId(FIRST_RUN), b"", False))
    assert happened[0] == "output"
    assert "results" in happened


def test_a_task_that_the_worker_ends_is_no_failure(slot: Slot) -> None:
    slot.claims.set_ending()
    with pytest.raises(ValueError, match="an ordinary mistake"):
        slot.run(slot_tasks.call_or_double, [1, "raise_value_error", 3])
    assert slot.values().items() <= {0: 2}.items()
    assert FAILED not in {group.kind for group in slot.groups()}
