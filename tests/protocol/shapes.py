"""Messages and records built from their annotations, and checked against them, sharing nothing with the codec."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from typing import Any

from hypothesis import strategies as st

SCALARS: dict[type, st.SearchStrategy[Any]] = {
    int: st.integers(-(2**63), 2**64 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    bytes: st.binary(max_size=20),
    bool: st.booleans(),
}


def inner_of_optional(hint: Any) -> Any:
    if typing.get_origin(hint) in {typing.Union, types.UnionType}:
        (inner,) = [part for part in typing.get_args(hint) if part is not type(None)]
        return inner
    return None


@functools.cache
def values_of(hint: Any) -> st.SearchStrategy[Any]:
    if typing.get_origin(hint) is tuple:
        return st.lists(values_of(typing.get_args(hint)[0]), max_size=3).map(tuple)
    if (inner := inner_of_optional(hint)) is not None:
        return st.none() | values_of(inner)
    plain = getattr(hint, "__supertype__", hint)
    return records_of(plain) if dataclasses.is_dataclass(plain) else SCALARS[plain]


@functools.cache
def records_of(cls: Any) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(cls)
    fields = {field.name: values_of(hints[field.name]) for field in dataclasses.fields(cls)}
    if {"lo", "hi"} <= fields.keys():
        bounds = st.lists(st.integers(0, 2**63), min_size=2, max_size=2, unique=True).map(sorted)
        rest = {name: fields[name] for name in fields if name not in {"lo", "hi"}}
        return st.builds(lambda both, kept: cls(lo=both[0], hi=both[1], **kept), bounds, st.fixed_dictionaries(rest))
    return st.builds(cls, **fields)


def has_shape(value: Any, hint: Any) -> bool:
    if typing.get_origin(hint) is tuple:
        element = typing.get_args(hint)[0]
        return type(value) is tuple and all(has_shape(item, element) for item in value)
    if (inner := inner_of_optional(hint)) is not None:
        return value is None or has_shape(value, inner)
    plain = getattr(hint, "__supertype__", hint)
    if not dataclasses.is_dataclass(plain):
        return type(value) is plain and not (plain is float and not math.isfinite(value))
    hints = typing.get_type_hints(plain)
    names = [field.name for field in dataclasses.fields(plain)]
    in_range = not {"lo", "hi"} <= set(names) or 0 <= value.lo < value.hi
    return type(value) is plain and in_range and all(has_shape(getattr(value, name), hints[name]) for name in names)
