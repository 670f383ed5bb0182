"""Whatever a user's objects do when they are pickled, the outcome is a payload or a typed error, and only for them."""

from __future__ import annotations

import dataclasses
import os
import pickle
import re
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet import errors, limits, pickling
from lbnet.errors import (
    ExceptionSerializeError,
    FunctionSerializeError,
    ItemSerializeError,
    LbnetError,
    ResultSerializeError,
    TaskCrashedError,
    TaskError,
)
from lbnet.pickling import (
    CALL,
    STAR,
    Pickled,
    Refused,
    RemoteTraceback,
    dump_exception,
    dump_function,
    dump_items,
    dump_values,
    format_traceback,
    freeze,
    is_plain,
    load_exception,
    load_function,
    load_items,
    load_values,
)
from lbnet.types import Failure

# --- the bad ones


class RaisesWhenPickled:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> NoReturn:
        raise self.error


def explode(*_: object) -> NoReturn:
    raise RuntimeError("exploded on arrival")


def leave(*_: object) -> NoReturn:
    raise SystemExit(3)


class ExplodesWhenUnpickled:
    def __reduce__(self) -> tuple[Callable[..., NoReturn], tuple[int]]:
        return explode, (1,)


class LeavesWhenUnpickled:
    def __reduce__(self) -> tuple[Callable[..., NoReturn], tuple[()]]:
        return leave, ()


class SilentError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text for you")


class TwoArgumentsError(Exception):
    """The classic: it can be pickled, and unpickling calls ``__init__`` with too few arguments."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")


class ReduceRaisesError(Exception):
    def __reduce__(self) -> NoReturn:
        raise ValueError("not with me")


class ComesBackAsTextError(Exception):
    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, ("text",)


class ClosedError(Exception):
    """Nothing can be set on it, not even by the one who raises it."""

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{name} cannot be set")

    def __reduce__(self) -> tuple[type[ClosedError], tuple[Any, ...]]:
        return type(self), self.args


class Odd(NamedTuple):
    a: int


@dataclasses.dataclass
class Box:
    value: object


BAD_TO_PICKLE = [
    threading.Lock(),
    (number for number in range(3)),
    sys.stdout,
    RaisesWhenPickled(ValueError("no")),
    RaisesWhenPickled(SilentError()),
    RaisesWhenPickled(SystemExit(2)),
    RaisesWhenPickled(GeneratorExit()),
    [1, threading.Lock()],
]

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9) | st.binary()
plain = scalars | st.lists(scalars, max_size=4).map(tuple)
mixed = plain | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=3), scalars, max_size=3) | st.just({1})


def items_of(data: bytes) -> list[Any]:
    reader = load_items(data)
    return [reader.arguments(position) for position in range(len(reader))]


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


# --- items


@settings(derandomize=True, deadline=None, max_examples=200)
@given(items=st.lists(mixed, max_size=8))
def test_items_come_back_as_they_were(items: list[Any]) -> None:
    dumped = dump_items(items)
    assert dumped.bad == ()
    assert items_of(dumped.data) == [((item,), {}) for item in items]
    reader = load_items(dumped.data)
    assert list(map(reader.call(lambda item: item), reader.entries)) == items


@settings(derandomize=True, deadline=None)
@given(items=st.lists(st.lists(mixed, max_size=4).map(tuple), max_size=6))
def test_starred_items_are_the_positional_arguments(items: list[tuple[Any, ...]]) -> None:
    dumped = dump_items(items, STAR)
    assert items_of(dumped.data) == [(item, {}) for item in items]
    reader = load_items(dumped.data)
    assert list(map(reader.call(lambda *args: args), reader.entries)) == items


@settings(derandomize=True, deadline=None)
@given(items=st.lists(st.tuples(st.lists(mixed, max_size=3).map(tuple), st.dictionaries(st.text("ab"), mixed))))
def test_whole_calls_have_positional_and_named_arguments(items: list[tuple[tuple[Any, ...], dict[str, Any]]]) -> None:
    dumped = dump_items(items, CALL)
    assert items_of(dumped.data) == items
    reader = load_items(dumped.data)
    assert list(map(reader.call(lambda *args, **kwargs: (args, kwargs)), reader.entries)) == items


@pytest.mark.parametrize("numbers", [range(0), range(5), range(10**12, 10**12 + 4096), range(9, -9, -3)])
def test_a_range_costs_a_few_bytes(numbers: range) -> None:
    dumped = dump_items(numbers)
    assert len(dumped.data) < 100
    assert load_items(dumped.data).entries == list(numbers)


def test_numbers_cost_a_few_bytes_each() -> None:
    assert len(dump_items(list(range(1_000))).data) < 4_000


@pytest.mark.parametrize(
    ("wrap", "unwrap"),
    [
        (lambda shared: shared, lambda item: item),
        (lambda shared: (shared,), lambda item: item[0]),
        (lambda shared: {"key": shared}, lambda item: item["key"]),
        (Box, lambda item: item.value),
    ],
)
def test_mutable_objects_are_not_shared_between_tasks(wrap: Callable[[Any], Any], unwrap: Callable[[Any], Any]) -> None:
    item = wrap([])
    reader = load_items(dump_items([item, item]).data)
    call = reader.call(unwrap)
    first, second, first_again = (call(reader.entries[position]) for position in (0, 1, 0))
    first.append(1)
    assert (first, second, first_again) == ([1], [], [])
    assert call(reader.entries[0]) == unwrap(item) == []


def test_one_object_within_one_item_stays_one() -> None:
    shared: list[int] = []
    ((args, _),) = items_of(dump_items([(shared, shared)]).data)
    assert args[0][0] is args[0][1]


@pytest.mark.parametrize("bad", BAD_TO_PICKLE, ids=lambda bad: type(bad).__name__)
def test_an_item_that_cannot_be_pickled_spoils_no_other(bad: object) -> None:
    dumped = dump_items([1, bad, [3]])
    ((position, error),) = dumped.bad
    assert position == 1
    assert type(error) is ItemSerializeError
    assert f"an argument of type {type(bad).__name__} cannot be pickled: " in str(error)
    reader = load_items(dumped.data)
    assert (reader.arguments(0), reader.arguments(2)) == (((1,), {}), (([3],), {}))
    with pytest.raises(ItemSerializeError) as caught:
        reader.arguments(1)
    assert str(caught.value) == str(error)
    with pytest.raises(Refused) as refused:
        reader.call(print)(reader.entries[1])
    assert (refused.value.kind, str(refused.value)) == ("ItemSerializeError", str(error))


@pytest.mark.parametrize(
    ("bad", "text"),
    [(ExplodesWhenUnpickled(), "RuntimeError: exploded on arrival"), (LeavesWhenUnpickled(), "SystemExit: 3")],
)
def test_an_item_that_cannot_be_unpickled_spoils_no_other(bad: object, text: str) -> None:
    dumped = dump_items([[1], bad])
    assert dumped.bad == ()
    reader = load_items(dumped.data)
    assert reader.arguments(0) == (([1],), {})
    with pytest.raises(ItemSerializeError, match=f"an argument cannot be unpickled here: {text}"):
        reader.arguments(1)
    with pytest.raises(Refused) as refused:
        reader.call(print)(reader.entries[1])
    assert refused.value.kind == "ItemSerializeError"
    assert text in refused.value.traceback


def test_items_that_were_pickled_before_are_taken_as_they_are() -> None:
    frozen = freeze([1, 2], "an argument", ItemSerializeError)
    assert type(frozen) is Pickled
    assert items_of(dump_items([frozen, 3]).data) == [(([1, 2],), {}), ((3,), {})]


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"\x00garbage", b"\x10" + pickle.dumps(5), b"\x00" + pickle.dumps([1])[:-3]]
)
def test_damaged_payloads(data: bytes) -> None:
    with pytest.raises(ItemSerializeError, match=f"a payload of {len(data)} bytes is damaged"):
        load_items(data)
    with pytest.raises(ResultSerializeError, match=f"results of {len(data)} bytes are damaged"):
        load_values(data)


# --- what is plain


@given(value=plain)
@settings(derandomize=True, deadline=None)
def test_scalars_and_tuples_of_them_are_plain(value: object) -> None:
    assert is_plain(value)
    assert freeze(value, "a result", ResultSerializeError) is value


@pytest.mark.parametrize(
    "value", [[], {}, set(), Odd(1), ((1,),), (1, []), 1j, bytearray(b"x"), range(3), object, Box(1)]
)
def test_nothing_else_is_plain(value: object) -> None:
    assert not is_plain(value)
    assert type(freeze(value, "a result", ResultSerializeError)) is Pickled


def test_what_is_frozen_does_not_change_with_the_original() -> None:
    original = [1]
    frozen = freeze(original, "a result", ResultSerializeError)
    original.append(2)
    assert load_values(dump_values([frozen]).data).get(0) == [1]


def test_subclasses_of_scalars_keep_their_class() -> None:
    class Named(int):
        pass

    assert type(load_values(dump_values([Odd(3)]).data).get(0)) is Odd
    assert type(load_values(dump_values([Named(3)]).data).get(0)).__name__ == "Named"


# --- values


@settings(derandomize=True, deadline=None, max_examples=200)
@given(values=st.lists(mixed, max_size=8))
def test_values_come_back_as_they_were(values: list[Any]) -> None:
    dumped = dump_values(values)
    assert dumped.bad == ()
    reader = load_values(dumped.data)
    assert [reader.get(position) for position in range(len(reader))] == values
    assert reader.plain is None or reader.plain == values
    assert (reader.plain is not None) == all(map(is_plain, values))


def test_every_reader_of_a_value_gets_an_object_of_its_own() -> None:
    reader = load_values(dump_values([[1]]).data)
    assert reader.get(0) == reader.get(0)
    assert reader.get(0) is not reader.get(0)


@pytest.mark.parametrize("bad", BAD_TO_PICKLE, ids=lambda bad: type(bad).__name__)
def test_a_result_that_cannot_be_pickled_spoils_no_other(bad: object) -> None:
    dumped = dump_values([[1], bad, 3])
    ((position, error),) = dumped.bad
    assert (position, type(error)) == (1, ResultSerializeError)
    reader = load_values(dumped.data)
    assert (reader.get(0), reader.get(2)) == ([1], 3)
    with pytest.raises(ResultSerializeError) as caught:
        reader.get(1)
    assert str(caught.value) == str(error)


@pytest.mark.parametrize("bad", [ExplodesWhenUnpickled(), LeavesWhenUnpickled()], ids=lambda bad: type(bad).__name__)
def test_a_result_that_cannot_be_unpickled_spoils_no_other(bad: object) -> None:
    reader = load_values(dump_values([bad, [2]]).data)
    with pytest.raises(ResultSerializeError, match="a result cannot be unpickled here"):
        reader.get(0)
    assert reader.get(1) == [2]


def test_a_class_that_is_not_there_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("module_of_the_user")
    exec("class Thing: pass\ndef fn(x): return x", vars(module))
    with monkeypatch.context() as here:
        here.setitem(sys.modules, module.__name__, module)
        values = dump_values([module.Thing(), [1]]).data
        items = dump_items([module.Thing()]).data
        _, function = dump_function(module.fn)
    reader = load_values(values)
    with pytest.raises(ResultSerializeError, match="No module named 'module_of_the_user'"):
        reader.get(0)
    assert reader.get(1) == [1]
    with pytest.raises(ItemSerializeError, match="No module named 'module_of_the_user'"):
        load_items(items).arguments(0)
    with pytest.raises(FunctionSerializeError, match="'module_of_the_user'; install that module where the workers run"):
        load_function(function)


# --- too long for a frame


@pytest.mark.parametrize(
    "long",
    [b"x" * 2_000, "x" * 2_000, ("x" * 2_000, 1), ["x" * 2_000], 1 << 16_000],
    ids=lambda long: type(long).__name__,
)
def test_a_value_that_is_too_long_for_a_frame_spoils_no_other(long: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickling, "_VALUE_BYTES_MAX", 1_000)
    items, values = dump_items([1, long, 3]), dump_values([1, long, 3])
    for dumped, error in ((items, ItemSerializeError), (values, ResultSerializeError)):
        ((position, refusal),) = dumped.bad
        assert (position, type(refusal)) == (1, error)
        assert "bytes; the limit is 1,000" in str(refusal)
    assert [load_values(values.data).get(position) for position in (0, 2)] == [1, 3]
    with pytest.raises(ResultSerializeError, match=f"a result of type {type(long).__name__} is 2,0.. bytes"):
        load_values(values.data).get(1)


def test_a_function_that_captures_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickling, "_VALUE_BYTES_MAX", 1_000)
    captured = "x" * 2_000
    with pytest.raises(FunctionSerializeError, match=r"the function .*<lambda> captures 2,\d\d\d bytes; the limit is"):
        dump_function(lambda: captured)


def test_the_limit_leaves_room_for_the_message_around_a_value() -> None:
    assert limits.FRAME_BYTES_MAX // 2 < pickling._VALUE_BYTES_MAX < limits.FRAME_BYTES_MAX


# --- functions


def double(x: int) -> int:
    return 2 * x


def test_functions_come_back_callable() -> None:
    offset = 10
    for fn, expected in ((double, 6), (lambda x: x + offset, 13), (abs, 3), (Odd, Odd(3)), (str, "3")):
        digest, data = dump_function(fn)
        assert len(digest) == 16
        assert load_function(data)(3) == expected


def test_a_recursive_closure_travels() -> None:
    def factorial(n: int) -> int:
        return n * factorial(n - 1) if n else 1

    assert load_function(dump_function(factorial)[1])(5) == 120


def test_a_function_that_travels_by_value_keeps_the_name_of_its_file() -> None:
    def outer() -> object:
        return lambda: 0

    for fn in (outer, outer()):
        code = load_function(dump_function(fn)[1]).__code__  # type: ignore[attr-defined,arg-type]
        assert code.co_filename == __file__
        assert code.co_firstlineno == fn.__code__.co_firstlineno  # type: ignore[attr-defined]


def test_different_functions_have_different_digests() -> None:
    digests = {dump_function(fn)[0] for fn in (double, abs, lambda: 1, lambda: 2)}
    assert len(digests) == 4
    assert dump_function(double) == dump_function(double)


@pytest.mark.parametrize("bad", BAD_TO_PICKLE, ids=lambda bad: type(bad).__name__)
def test_a_function_that_cannot_be_pickled(bad: object) -> None:
    with pytest.raises(FunctionSerializeError, match=r"the function .*<lambda> cannot be pickled: .* inside of it"):
        dump_function(lambda: bad)


def test_a_callable_without_a_name_that_cannot_be_pickled() -> None:
    class Callable_:
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def __call__(self) -> None:
            pass

    with pytest.raises(FunctionSerializeError, match="the function Callable_ cannot be pickled"):
        dump_function(Callable_())


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "cannot be unpickled here: EOFError"),
        (b"garbage", "cannot be unpickled here: UnpicklingError"),
        (pickle.dumps(ExplodesWhenUnpickled()), "cannot be unpickled here: RuntimeError: exploded on arrival$"),
        (pickle.dumps(LeavesWhenUnpickled()), "cannot be unpickled here: SystemExit: 3$"),
        (pickle.dumps(5), "what was sent as a function is a int and cannot be called"),
    ],
)
def test_what_is_no_function_here(data: bytes, sentence: str) -> None:
    with pytest.raises(FunctionSerializeError, match=sentence):
        load_function(data)


def test_ctrl_c_is_never_taken_for_a_bad_object() -> None:
    bad = RaisesWhenPickled(KeyboardInterrupt())
    for dump in (lambda: dump_items([bad]), lambda: dump_values([bad]), lambda: dump_function(lambda: bad)):
        with pytest.raises(KeyboardInterrupt):
            dump()


SCRIPT = """
import enum, sys
from dataclasses import dataclass
from lbnet import pickling

@dataclass
class Point:
    x: int
    def doubled(self):
        return Point(2 * self.x)

class Colour(enum.Enum):
    RED = 1

class HomeError(Exception):
    pass

def fn(point):
    return point.doubled()

try:
    raise HomeError("from home")
except HomeError as error:
    failure = pickling.dump_exception(error)
parts = [
    pickling.dump_function(fn)[1],
    pickling.dump_items([Point(3), [Point(4)]]).data,
    pickling.dump_values([Point(5), Colour.RED, Point, "__main__"]).data,
    failure.data,
]
sys.stdout.write("\\n".join(part.hex() for part in parts))
"""


def test_classes_and_functions_of_main_travel_by_value(tmp_path: Path) -> None:
    script = tmp_path / "script_of_the_user.py"
    script.write_text(SCRIPT)
    home = {**os.environ, "PYTHONPATH": str(Path(pickling.__file__).parents[1])}
    done = subprocess.run([sys.executable, script], env=home, capture_output=True, text=True, check=True, timeout=60)
    function, items, values, error = map(bytes.fromhex, done.stdout.split("\n"))
    reader = load_items(items)
    call = reader.call(load_function(function))
    assert call(reader.entries[0]).x == 6
    ((point,),) = reader.arguments(1)[0]
    assert point.doubled().x == 8
    read = load_values(values)
    assert (read.get(0).x, read.get(1).name, read.get(2)(7).x, read.get(3)) == (5, "RED", 7, "__main__")
    raised = load_exception("exception", "HomeError: from home", "", "", error)
    assert (type(raised).__name__, str(raised)) == ("HomeError", "from home")


def test_modules_that_are_registered_to_travel_by_value_do(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("module_under_work")
    exec("class Thing:\n    size = 3", vars(module))
    with monkeypatch.context() as here:
        here.setitem(sys.modules, module.__name__, module)
        pickling.cloudpickle.register_pickle_by_value(module)
        try:
            data = dump_values([module.Thing()]).data
        finally:
            pickling.cloudpickle.unregister_pickle_by_value(module)
    assert load_values(data).get(0).size == 3


# --- exceptions


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def travel(error: BaseException, where: str = "worker a") -> BaseException:
    failure = dump_exception(raised(error), where)
    return load_exception(failure.kind, failure.message, failure.traceback, failure.where, failure.data)


def test_an_exception_comes_back_as_it_was_with_the_traceback_as_its_cause() -> None:
    error = travel(ZeroDivisionError("by nothing"))
    assert (type(error), str(error)) == (ZeroDivisionError, "by nothing")
    assert type(error.__cause__) is RemoteTraceback
    assert "in raised" in str(error.__cause__)
    assert "ZeroDivisionError: by nothing" in str(error.__cause__)
    assert error.__notes__ == ["raised on worker a"]


def test_notes_and_attributes_of_the_user_travel() -> None:
    error = ValueError("x")
    error.add_note("mine")
    error.code = 7  # type: ignore[attr-defined]
    back = travel(error)
    assert back.__notes__ == ["mine", "raised on worker a"]
    assert back.code == 7  # type: ignore[attr-defined]


def test_the_data_of_a_failure_can_be_shown_without_unpickling() -> None:
    failure = dump_exception(raised(ValueError("x")), "worker a")
    assert (failure.kind, failure.message, failure.where) == ("exception", "ValueError: x", "worker a")
    assert failure.traceback.startswith("Traceback (most recent call last):\n")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (TwoArgumentsError(1, "two"), "TwoArgumentsError: 1: two"),
        (ReduceRaisesError("gone"), "ReduceRaisesError: gone"),
        (ComesBackAsTextError("gone"), "ComesBackAsTextError: gone"),
        (ValueError(threading.Lock()), "ValueError: <unlocked _thread.lock"),
    ],
    ids=lambda part: type(part).__name__,
)
def test_an_exception_that_cannot_travel_leaves_its_text(error: Exception, text: str) -> None:
    failure = dump_exception(raised(error))
    assert failure.data == b""
    assert failure.message.startswith(text)
    back = travel(error)
    assert type(back) is ExceptionSerializeError
    assert f"the task raised {text}" in str(back)
    assert "(the exception itself could not be pickled)" in str(back)
    assert text in str(back.__cause__)


def test_an_exception_whose_text_cannot_be_had() -> None:
    failure = dump_exception(raised(SilentError()))
    assert failure.message == "SilentError: <its str() failed>"
    assert "SilentError" in failure.traceback
    assert type(travel(SilentError())) is SilentError


def test_an_exception_that_is_not_known_on_arrival(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("module_of_the_user")
    exec("class HomeError(Exception): pass", vars(module))
    with monkeypatch.context() as here:
        here.setitem(sys.modules, module.__name__, module)
        failure = dump_exception(raised(module.HomeError("x")))
    back = load_exception(failure.kind, failure.message, failure.traceback, failure.where, failure.data)
    assert type(back) is ExceptionSerializeError
    assert "the task raised HomeError: x (the exception itself cannot be unpickled here: " in str(back)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"garbage", "cannot be unpickled here: UnpicklingError"),
        (pickle.dumps(LeavesWhenUnpickled()), "cannot be unpickled here: SystemExit: 3"),
        (pickle.dumps([1]), "what came in its place is a list"),
    ],
)
def test_what_is_no_exception_on_arrival(data: bytes, sentence: str) -> None:
    back = load_exception("exception", "ValueError: x", "", "", data)
    assert type(back) is ExceptionSerializeError
    assert sentence in str(back)
    assert back.__cause__ is None


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=lambda e: type(e).__name__)
def test_what_would_end_the_caller_comes_as_a_cause(error: BaseException) -> None:
    back = travel(error)
    assert type(back) is TaskError
    assert f"the task raised {type(error).__name__}" in str(back)
    assert [type(one) for one in chain_of(back)] == [TaskError, type(error), RemoteTraceback]


def test_an_exception_on_which_nothing_can_be_set_comes_back_too() -> None:
    back = travel(ClosedError("closed"))
    assert (type(back), back.args) == (ClosedError, ("closed",))
    assert type(back.__cause__) is RemoteTraceback


def test_a_group_of_exceptions_comes_back() -> None:
    back = travel(ExceptionGroup("several", [ValueError("one"), KeyError("two")]))
    assert isinstance(back, ExceptionGroup)
    assert [type(one) for one in back.exceptions] == [ValueError, KeyError]


@pytest.mark.parametrize("kind", [name for name, cls in vars(errors).items() if isinstance(cls, type)])
def test_failures_of_lbnets_own_come_back_as_their_class(kind: str) -> None:
    back = load_exception(kind, "a sentence", "", "worker a", b"never unpickled")
    assert type(back).__name__ == kind
    assert isinstance(back, LbnetError)
    assert str(back) == "a sentence"
    assert back.__notes__ == ["raised on worker a"]


@pytest.mark.parametrize("kind", ["", "NoSuchError", "annotations", "__doc__", "ValueError", "exec"])
def test_a_kind_that_nobody_knows_is_a_task_error(kind: str) -> None:
    back = load_exception(kind, "a sentence", "", "", b"never unpickled")
    assert (type(back), str(back)) == (TaskError, f"{kind}: a sentence")


def test_a_refusal_becomes_the_failure_that_it_describes() -> None:
    assert dump_exception(Refused("TaskCrashedError", "it died", "trace"), "worker a") == Failure(
        "TaskCrashedError", "it died", "trace", "worker a", b""
    )
    back = load_exception("TaskCrashedError", "it died", "trace", "worker a", b"")
    assert type(back) is TaskCrashedError
    assert str(back.__cause__) == '\n"""\ntrace\n"""'


# --- tracebacks


def deep(levels: int) -> NoReturn:
    if levels:
        deep(levels - 1)
    raise ValueError("at the bottom")


def ping(levels: int) -> NoReturn:
    if levels:
        pong(levels - 1)
    raise ValueError("x" * 100_000 + " the very end")


def pong(levels: int) -> NoReturn:
    ping(levels)


def text_of(fn: Callable[[], object]) -> str:
    try:
        fn()
    except BaseException as error:
        return format_traceback(error)
    raise AssertionError("it did not raise")


def test_a_huge_traceback_keeps_its_two_ends() -> None:
    text = text_of(lambda: ping(150))
    assert 15_000 < len(text) <= limits.TRACEBACK_CHARS_MAX
    assert text.startswith("Traceback (most recent call last)")
    assert text.rstrip().endswith("the very end")
    assert "characters left out" in text


def test_a_huge_message_is_cut_as_well() -> None:
    message = dump_exception(raised(ValueError("x" * 10**6))).message
    assert len(message) <= limits.TRACEBACK_CHARS_MAX
    assert message.startswith("ValueError: xxx")
    left_out = re.search(r"\n  \.\.\. ([\d,]+) characters left out \.\.\.\n", message)
    assert left_out is not None
    kept = len(message) - len(left_out[0])
    assert kept + int(left_out[1].replace(",", "")) == len("ValueError: ") + 10**6


def test_a_message_at_the_limit_is_whole() -> None:
    text = "x" * (limits.TRACEBACK_CHARS_MAX - len("ValueError: "))
    assert dump_exception(ValueError(text)).message == f"ValueError: {text}"


def test_the_cause_of_an_exception_travels_on() -> None:
    again = pickle.loads(pickle.dumps(RemoteTraceback("trace")))
    assert (again.text, str(again)) == ("trace", str(RemoteTraceback("trace")))


def test_a_stack_that_ran_over_is_told() -> None:
    text = text_of(lambda: deep(100_000))
    assert "RecursionError" in text
    assert len(text) <= limits.TRACEBACK_CHARS_MAX


def test_text_that_cannot_be_encoded_is_sent_as_escapes() -> None:
    failure = dump_exception(raised(ValueError("\udcff")))
    assert failure.message == "ValueError: \\udcff"
    assert failure.traceback.encode()


def test_frames_of_our_own_are_left_out_at_the_top() -> None:
    reader = load_items(dump_items([[1]]).data)
    call = reader.call(explode)
    try:
        call(reader.entries[0])
    except RuntimeError as error:
        from_here = format_traceback(error)
        # As in a slot, where the frame of this test would be one of the pool's.
        from_the_slot = format_traceback(error.with_traceback(error.__traceback__ and error.__traceback__.tb_next))
    assert "lbnet/pickling.py" in from_here
    assert "lbnet/pickling.py" not in from_the_slot
    assert from_the_slot.count("in explode") == 1


def test_causes_are_told() -> None:
    def chained() -> None:
        try:
            explode()
        except RuntimeError as error:
            raise KeyError("outer") from error

    text = text_of(chained)
    assert text.index("exploded on arrival") < text.index("direct cause") < text.index("KeyError: 'outer'")


def test_a_traceback_that_cannot_be_formatted() -> None:
    class NotesRaiseError(Exception):
        @property
        def __notes__(self) -> NoReturn:
            raise SystemExit("never")

    assert format_traceback(NotesRaiseError("x")) == "NotesRaiseError: x (its traceback could not be formatted)"
