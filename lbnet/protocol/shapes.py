"""Small classes to bytes and back: one msgpack array ``[kind, field, ...]``, checked field by field.

The shape of each is derived from the annotations of its class, once, at import. Decoding is total: whatever the bytes
are, the outcome is an object of the declared shape or :class:`~lbnet.errors.RemoteProtocolError`. It must not know any
vocabulary: slots have one of their own, and need not load that of the cluster.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any

import msgpack

from lbnet import limits
from lbnet.errors import RemoteProtocolError

_Converter = Callable[[Any], Any]
"""Takes what msgpack decoded, and returns the field's value or raises :class:`_ShapeError`."""


class _ShapeError(Exception):
    """A field has not the declared shape."""


class Codec:
    """One vocabulary: the classes that may be said, in the order of their kinds."""

    __slots__ = ("_converters", "_kinds", "_packers")

    def __init__(self, kinds: Sequence[type]) -> None:
        self._kinds = tuple(kinds)
        self._converters = [_record(cls) for cls in kinds]
        self._packers = {cls: (kind, _packer(cls)) for kind, cls in enumerate(kinds)}

    def encode(self, message: Any) -> bytes:
        """The body of the frame that carries ``message``."""
        kind, pack = self._packers[type(message)]
        return msgpack.packb([kind, *pack(message)], use_bin_type=True)  # type: ignore[no-any-return]

    def decode(self, body: bytes) -> Any:
        """The message in the body of a frame.

        Raises:
            RemoteProtocolError: the bytes are not a message; the sentence says what was wrong.
        """
        try:
            fields = msgpack.unpackb(
                body,
                raw=False,
                use_list=True,
                # An array is allocated when its header is read: no header may promise more than the frame can hold.
                max_array_len=min(limits.LIST_ITEMS_MAX, len(body)),
                max_map_len=0,
                max_ext_len=0,
            )
        except (ValueError, msgpack.UnpackException, RecursionError) as error:
            raise RemoteProtocolError(f"a frame of {len(body):,} bytes is not msgpack: {error}") from None
        if type(fields) is not list or not fields or type(fields[0]) is not int:
            raise RemoteProtocolError("a frame is not an array that starts with the kind of its message")
        kind = fields[0]
        if not 0 <= kind < len(self._kinds):
            raise RemoteProtocolError(f"message kind {kind} is unknown; the peer may run a newer version")
        try:
            return self._converters[kind](fields[1:])
        except _ShapeError as error:
            raise RemoteProtocolError(f"malformed {self._kinds[kind].__name__}: {error}") from None


# --- one converter for each type that a field may have --------------------------------------------


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise _ShapeError(f"an integer is needed, not {type(value).__name__}")
    return value


def _real(value: Any) -> float:
    if type(value) is int:
        value = float(value)
    if type(value) is not float:
        raise _ShapeError(f"a number is needed, not {type(value).__name__}")
    if not math.isfinite(value):
        raise _ShapeError(f"a finite number is needed, not {value}")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise _ShapeError(f"a text is needed, not {type(value).__name__}")
    if len(value) > limits.TEXT_CHARS_MAX:
        raise _ShapeError(f"a text of {len(value):,} characters is over the limit")
    return value


def _binary(value: Any) -> bytes:
    if type(value) is not bytes:
        raise _ShapeError(f"bytes are needed, not {type(value).__name__}")
    return value


def _truth(value: Any) -> bool:
    if type(value) is not bool:
        raise _ShapeError(f"true or false is needed, not {type(value).__name__}")
    return value


_SCALARS: dict[type, _Converter] = {int: _integer, float: _real, str: _text, bytes: _binary, bool: _truth}


def _sequence(element: _Converter) -> _Converter:
    def convert(value: Any) -> tuple[Any, ...]:
        if type(value) is not list:
            raise _ShapeError(f"an array is needed, not {type(value).__name__}")
        return tuple([element(item) for item in value])

    return convert


def _optional(some: _Converter) -> _Converter:
    return lambda value: None if value is None else some(value)


@functools.cache
def _record(cls: type) -> _Converter:
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]
    converters = [_converter(hints[name]) for name in names]
    count = len(names)
    indices = "lo" in names and "hi" in names

    def convert(value: Any) -> Any:
        if type(value) is not list or len(value) != count:
            raise _ShapeError(f"{cls.__name__} has {count} fields")
        made = cls(*[converter(field) for converter, field in zip(converters, value, strict=True)])
        if indices and not 0 <= made.lo < made.hi:
            raise _ShapeError(f"{cls.__name__} has an empty or negative range [{made.lo}, {made.hi})")
        return made

    return convert


def _converter(hint: Any) -> _Converter:
    origin = typing.get_origin(hint)
    if origin is tuple:
        element, ellipsis = typing.get_args(hint)
        assert ellipsis is Ellipsis, hint
        return _sequence(_converter(element))
    if origin in {typing.Union, types.UnionType}:
        some, none = typing.get_args(hint)
        assert none is type(None), hint
        return _optional(_converter(some))
    plain = getattr(hint, "__supertype__", hint)
    if dataclasses.is_dataclass(plain):
        return _record(typing.cast("type", plain))
    return _SCALARS[plain]


@functools.cache
def _packer(cls: type) -> Callable[[Any], list[Any]]:
    """A function that flattens an instance to nested lists, leaving scalars as they are."""
    hints = typing.get_type_hints(cls)
    plans = [(field.name, _flattener(hints[field.name])) for field in dataclasses.fields(cls)]

    def pack(value: Any) -> list[Any]:
        return [getattr(value, name) if flatten is None else flatten(getattr(value, name)) for name, flatten in plans]

    return pack


def _flattener(hint: Any) -> Callable[[Any], Any] | None:
    origin = typing.get_origin(hint)
    if origin is tuple:
        element = _flattener(typing.get_args(hint)[0])
        return list if element is None else lambda value: [element(item) for item in value]
    if origin in {typing.Union, types.UnionType}:
        some = _flattener(typing.get_args(hint)[0])
        return None if some is None else lambda value: None if value is None else some(value)
    plain = getattr(hint, "__supertype__", hint)
    return _packer(typing.cast("type", plain)) if dataclasses.is_dataclass(plain) else None
