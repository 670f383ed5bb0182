"""The only module that pickles. Clients and slot processes use it; workers and controllers never do.

Its unit is the batch: plain scalars are pickled together, once; everything else is pickled value by
value inside the same payload, because tasks must not share mutable objects and a bad value must not
spoil its neighbours. Unpickling runs code of the user's, so whatever it raises becomes a typed error.
It must not know how payloads travel.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import pickle
import traceback as traceback_module
from collections import ChainMap
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any, ClassVar, NamedTuple

import cloudpickle

from lbnet import errors, limits
from lbnet.errors import (
    ExceptionSerializeError,
    FunctionSerializeError,
    ItemSerializeError,
    LbnetError,
    ResultSerializeError,
    TaskError,
)
from lbnet.protocol.digest import digest_of
from lbnet.types import Failure

ONE, STAR, CALL = range(3)
"""How an item is passed: ``fn(item)``, ``fn(*item)``, or ``fn(*item[0], **item[1])``."""

SCALARS = frozenset({int, float, str, bytes, bool, type(None)})
"""Exact types that are immutable and safe to pickle together."""

_TOGETHER, _EACH = 0, 16
_PROTOCOL = 5
_VALUE_BYTES_MAX = limits.FRAME_BYTES_MAX - (1 << 20)
_OWN_FILES = tuple(str(Path(__file__).parent / name) for name in ("pool/", "pickling.py", "work.py"))


class Refused(Exception):  # noqa: N818 - no error that anybody sees
    """lbnet fails the running task by itself, with the error class ``kind``: not the user's exception."""

    def __init__(self, kind: str, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.traceback = traceback


class Pickled:
    """A value that is pickled already."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class Dumped(NamedTuple):
    """A payload, and the positions in it that could not be pickled: reading those raises their error again."""

    data: bytes
    bad: tuple[tuple[int, LbnetError], ...]


# --- code -----------------------------------------------------------------------------------------

_reduce_code = cloudpickle.Pickler.dispatch_table[CodeType]


def _reduce_code_with_its_file(code: CodeType) -> tuple[Any, ...]:
    """The name of the file is left out by cloudpickle, but a traceback must say where the user's line is."""
    make, parts = _reduce_code(code)
    return make, tuple(code.co_filename if isinstance(part, str) and part == _NO_FILE else part for part in parts)


_NO_FILE = "<dynamic-code>"


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    dispatch_table: ClassVar[Any] = ChainMap({CodeType: _reduce_code_with_its_file}, cloudpickle.Pickler.dispatch_table)


def _dump_by_value(value: Any) -> bytes:
    file = io.BytesIO()
    _Pickler(file, _PROTOCOL).dump(value)
    return file.getvalue()


# --- one object -----------------------------------------------------------------------------------


def _dump(value: Any) -> bytes:
    """The pickle of ``value``; classes and functions of ``__main__`` travel by value.

    Plain pickle is several times faster, and wrong only when it refers to ``__main__``, whose name
    then stands in its output.
    """
    if not cloudpickle.list_registry_pickle_by_value():
        try:
            data = pickle.dumps(value, _PROTOCOL)
        except Exception:  # noqa: BLE001, S110 - cloudpickle may do better, and says why if not
            pass
        else:
            if b"__main__" not in data:
                return data
    return _dump_by_value(value)


def _describe(error: BaseException) -> str:
    """``TypeName: text`` in characters that can be sent, whatever the error's own methods do."""
    name = type(error).__name__
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - __str__ is the user's code
        text = "<its str() failed>"
    return _sendable(f"{name}: {text}" if text else name)


def _sendable(text: str) -> str:
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if len(text) <= limits.TRACEBACK_CHARS_MAX:
        return text
    half = (limits.TRACEBACK_CHARS_MAX - 60) // 2
    return f"{text[:half]}\n  ... {len(text) - 2 * half:,} characters left out ...\n{text[-half:]}"


def is_plain(value: Any) -> bool:
    """Whether ``value`` is a scalar, or an exact tuple of scalars."""
    return type(value) in SCALARS or (type(value) is tuple and SCALARS.issuperset(map(type, value)))


def _all_plain(values: Sequence[Any]) -> bool:
    types = set(map(type, values))
    if types <= SCALARS:
        return True
    types.discard(tuple)
    if not types <= SCALARS:
        return False
    tuples = (value for value in values if type(value) is tuple)
    return SCALARS.issuperset(map(type, itertools.chain.from_iterable(tuples)))


def freeze(value: Any, what: str, error: type[LbnetError]) -> Any:
    """``value`` itself when nothing can change it and it is plain, else its :class:`Pickled` copy.

    Args:
        value: anything.
        what: names it in the error's sentence.
        error: the class to raise.

    Raises:
        LbnetError: of the class ``error``: it cannot be pickled, or is too long for a frame.
    """
    return value if is_plain(value) else Pickled(_dump_bounded(value, what, error))


def _dump_bounded(value: Any, what: str, error: type[LbnetError]) -> bytes:
    try:
        data = _dump(value)
    except BaseException as cause:
        if isinstance(cause, KeyboardInterrupt):
            raise
        raise error(f"{what} of type {type(value).__name__} cannot be pickled: {_describe(cause)}") from cause
    if len(data) > _VALUE_BYTES_MAX:
        raise error(f"{what} of type {type(value).__name__} is {len(data):,} bytes; the limit is {_VALUE_BYTES_MAX:,}")
    return data


# --- functions ------------------------------------------------------------------------------------


def dump_function(fn: Callable[..., Any]) -> tuple[bytes, bytes]:
    """The 16-byte digest of a function, and the function as bytes.

    Functions of importable modules travel by name, all others by value.

    Raises:
        FunctionSerializeError: it cannot be pickled.
    """
    try:
        data = _dump_by_value(fn)
    except BaseException as cause:
        if isinstance(cause, KeyboardInterrupt):
            raise
        raise FunctionSerializeError(
            f"the function {_name(fn)} cannot be pickled: {_describe(cause)}; "
            "open files, sockets and locks that it captures must be made inside of it"
        ) from cause
    if len(data) > _VALUE_BYTES_MAX:
        raise FunctionSerializeError(
            f"the function {_name(fn)} captures {len(data):,} bytes; the limit is {_VALUE_BYTES_MAX:,}"
        )
    return digest_of(data), data


def load_function(data: bytes) -> Callable[..., Any]:
    """The function that :func:`dump_function` made into ``data``.

    Raises:
        FunctionSerializeError: it cannot be unpickled here.
    """
    try:
        fn = pickle.loads(data)  # noqa: S301 - clients are authenticated
    except BaseException as cause:
        if isinstance(cause, KeyboardInterrupt):
            raise
        hint = "; install that module where the workers run" if isinstance(cause, ModuleNotFoundError) else ""
        raise FunctionSerializeError(f"the function cannot be unpickled here: {_describe(cause)}{hint}") from cause
    if not callable(fn):
        raise FunctionSerializeError(f"what was sent as a function is a {type(fn).__name__} and cannot be called")
    return fn  # type: ignore[no-any-return]


def _name(fn: Any) -> str:
    name = getattr(fn, "__qualname__", None)
    return name if isinstance(name, str) else type(fn).__name__


# --- items ----------------------------------------------------------------------------------------


def dump_items(items: Sequence[Any], style: int = ONE) -> Dumped:
    """The payload of several items.

    An item that cannot be pickled does not spoil the others: it is listed in ``bad``, and the task that
    reads its place in the payload fails with the same :class:`ItemSerializeError`. So a caller may
    send the payload as it is.

    Args:
        items: at most ``limits.PAYLOAD_ITEMS_MAX``; an element may be :class:`Pickled` already.
        style: ``ONE``, ``STAR`` (each item is a tuple of arguments) or ``CALL`` (args and kwargs).
    """
    if type(items) is range or _all_plain(items):
        data = pickle.dumps(items if type(items) is range else list(items), _PROTOCOL)
        if len(data) <= _VALUE_BYTES_MAX:
            return Dumped(bytes([style | _TOGETHER]) + data, ())
    return _dump_each(items, style, "an argument", ItemSerializeError)


def _dump_each(values: Sequence[Any], flags: int, what: str, error: type[LbnetError]) -> Dumped:
    entries: list[bytes | str] = []
    bad: list[tuple[int, LbnetError]] = []
    for position, value in enumerate(values):
        if type(value) is Pickled:
            entries.append(value.data)
            continue
        try:
            entries.append(_dump_bounded(value, what, error))
        except LbnetError as refusal:
            bad.append((position, refusal))
            entries.append(_sendable(str(refusal)))
    return Dumped(bytes([flags | _EACH]) + pickle.dumps(entries, _PROTOCOL), tuple(bad))


class ItemsReader:
    """The items of one payload, by position.

    ``entries`` are opaque; ``call(fn)(entries[k])`` calls ``fn`` on item ``k``. Items that are not
    plain are unpickled at that moment, each for itself.
    """

    __slots__ = ("_each", "_style", "entries")

    def __init__(self, entries: list[Any], style: int, *, each: bool) -> None:
        self.entries = entries
        self._style = style
        self._each = each

    def __len__(self) -> int:
        return len(self.entries)

    def call(self, fn: Callable[..., Any]) -> Callable[[Any], Any]:
        """A function of one entry that calls ``fn`` the way the payload says.

        It raises :class:`Refused` with the kind ``ItemSerializeError`` when the item cannot be unpickled.
        """
        if not self._each:
            return fn if self._style == ONE else lambda item: fn(*item)
        if self._style == ONE:
            return lambda entry: fn(_load_item(entry))
        if self._style == STAR:
            return lambda entry: fn(*_load_item(entry))

        def call(entry: Any) -> Any:
            args, kwargs = _load_item(entry)
            return fn(*args, **kwargs)

        return call

    def arguments(self, position: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The positional and keyword arguments of one call.

        Raises:
            ItemSerializeError: this item cannot be unpickled.
        """
        entry = self.entries[position]
        try:
            item = _load_item(entry) if self._each else entry
        except Refused as refusal:
            raise ItemSerializeError(str(refusal)) from refusal
        if self._style == CALL:
            return tuple(item[0]), dict(item[1])
        return (item,) if self._style == ONE else tuple(item), {}


def _load_item(entry: bytes | str) -> Any:
    if type(entry) is str:
        raise Refused("ItemSerializeError", entry)
    try:
        return pickle.loads(entry)  # type: ignore[arg-type]  # noqa: S301 - clients are authenticated
    except BaseException as cause:  # noqa: BLE001 - unpickling is the user's code
        raise Refused(
            "ItemSerializeError",
            f"an argument cannot be unpickled here: {_describe(cause)}",
            format_traceback(cause),
        ) from None


def load_items(data: bytes) -> ItemsReader:
    """A reader of what :func:`dump_items` made.

    Raises:
        ItemSerializeError: the payload as a whole is damaged.
    """
    try:
        entries = list(pickle.loads(memoryview(data)[1:]))  # noqa: S301 - holds plain scalars only
        return ItemsReader(entries, data[0] & 15, each=bool(data[0] & _EACH))
    except BaseException as cause:
        if isinstance(cause, KeyboardInterrupt):
            raise
        raise ItemSerializeError(f"a payload of {len(data):,} bytes is damaged: {_describe(cause)}") from cause


# --- values ---------------------------------------------------------------------------------------


def dump_values(values: Sequence[Any]) -> Dumped:
    """The payload of several results.

    A value that cannot be pickled is listed in ``bad``; reading its place raises the same
    :class:`ResultSerializeError`. An element may be :class:`Pickled` already.
    """
    if _all_plain(values):
        data = pickle.dumps(list(values), _PROTOCOL)
        if len(data) <= _VALUE_BYTES_MAX:
            return Dumped(bytes([_TOGETHER]) + data, ())
    return _dump_each(values, 0, "a result", ResultSerializeError)


class ValuesReader:
    """The values of one payload, by position; those that are not plain are unpickled when they are read.

    ``plain`` is the whole list when nothing in it needs unpickling one by one, else None.
    """

    __slots__ = ("_entries", "plain")

    def __init__(self, entries: list[Any], *, each: bool) -> None:
        self._entries = entries
        self.plain = None if each else entries

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, position: int) -> Any:
        """One value: a new object at every call.

        Raises:
            ResultSerializeError: this value could not be pickled there, or not be unpickled here.
        """
        entry = self._entries[position]
        if self.plain is not None:
            return entry
        if type(entry) is str:
            raise ResultSerializeError(entry)
        try:
            return pickle.loads(entry)  # noqa: S301 - came over an authenticated link
        except BaseException as cause:
            if isinstance(cause, KeyboardInterrupt):
                raise
            raise ResultSerializeError(f"a result cannot be unpickled here: {_describe(cause)}") from cause


def load_values(data: bytes) -> ValuesReader:
    """A reader of what :func:`dump_values` made.

    Raises:
        ResultSerializeError: the payload as a whole is damaged.
    """
    try:
        return ValuesReader(list(pickle.loads(memoryview(data)[1:])), each=bool(data[0] & _EACH))  # noqa: S301
    except BaseException as cause:
        if isinstance(cause, KeyboardInterrupt):
            raise
        raise ResultSerializeError(f"results of {len(data):,} bytes are damaged: {_describe(cause)}") from cause


# --- exceptions -----------------------------------------------------------------------------------


class RemoteTraceback(Exception):  # noqa: N818 - no error by itself
    """The cause of an exception that came from a task: its text is the traceback there."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text.rstrip()}\n"""'


def format_traceback(error: BaseException) -> str:
    """The traceback of ``error`` and its chain of causes, from the user's own frame on.

    At most about ``limits.TRACEBACK_CHARS_MAX`` characters: the two ends are kept.
    """
    try:
        lines = traceback_module.TracebackException(type(error), error, _own_frames_cut(error.__traceback__)).format()
        return _sendable("".join(lines))
    except BaseException:  # noqa: BLE001 - __str__, __cause__ and __notes__ are the user's code
        return f"{_describe(error)} (its traceback could not be formatted)"


def _own_frames_cut(frames: TracebackType | None) -> TracebackType | None:
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OWN_FILES):
        frames = frames.tb_next
    return frames


def dump_exception(error: BaseException, where: str = "") -> Failure:
    """What a task raised, as data that needs no unpickling to be shown.

    ``data`` is the pickled exception, or empty when it does not survive a round trip right here.
    :class:`Refused` becomes the failure it describes.
    """
    if type(error) is Refused:
        return Failure(error.kind, _sendable(str(error)), error.traceback, where, b"")
    message, traceback = _describe(error), format_traceback(error)
    try:
        data = _dump(error)
        if type(pickle.loads(data)) is not type(error) or len(data) > _VALUE_BYTES_MAX:  # noqa: S301 - our own
            data = b""
    except BaseException:  # noqa: BLE001 - __reduce__ and __init__ are the user's code
        data = b""
    return Failure("exception", message, traceback, where, data)


def load_exception(kind: str, message: str, traceback: str, where: str, data: bytes) -> BaseException:
    """The exception to raise for a failure: never raises by itself.

    A task's own exception comes back as it was, with the remote traceback as its ``__cause__`` and a
    note that says where it ran. When it cannot be rebuilt, :class:`ExceptionSerializeError` carries its text.
    SystemExit, KeyboardInterrupt and GeneratorExit would end the caller instead of telling it
    something: they come as the ``__cause__`` of a :class:`TaskError`.
    """
    cause = RemoteTraceback(traceback) if traceback else None
    error = _rebuild(kind, message, data)
    with contextlib.suppress(Exception):  # the user's class may forbid it
        BaseException.__setattr__(error, "__cause__", cause)
    if not isinstance(error, Exception):
        outer = TaskError(f"the task raised {message}")
        outer.__cause__ = error
        error = outer
    if where:
        with contextlib.suppress(Exception):  # __notes__ is the user's; the note is a courtesy
            error.add_note(f"raised on {where}")
    return error


def _rebuild(kind: str, message: str, data: bytes) -> BaseException:
    if kind != "exception":
        cls = getattr(errors, kind, None)
        if isinstance(cls, type) and issubclass(cls, LbnetError):
            return cls(message)
        return TaskError(f"{kind}: {message}")
    if not data:
        return ExceptionSerializeError(f"the task raised {message} (the exception itself could not be pickled)")
    try:
        error = pickle.loads(data)  # noqa: S301 - came over an authenticated link
    except BaseException as problem:  # noqa: BLE001 - unpickling is the user's code
        return ExceptionSerializeError(
            f"the task raised {message} (the exception itself cannot be unpickled here: {_describe(problem)})"
        )
    if isinstance(error, BaseException):
        return error
    return ExceptionSerializeError(f"the task raised {message} (what came in its place is a {type(error).__name__})")
