"""How long a message is on the wire, without encoding it: what it carries, and an estimate for the rest.

It goes by the names of a message's fields, so that it need not know the kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any

from lbnet.types import Batch, Group

FRAME_BYTES = 6
"""Length, array and kind."""

FIELD_BYTES = 5
"""A number of usual size, with its tag."""

SPAN_BYTES = 24
BATCH_BYTES = 60
MEMBER_BYTES = 40
GROUP_BYTES = 20
OPTIONS_BYTES = 60


def batch_bytes(batch: Batch) -> int:
    """A batch with its whole payload, however small a part of it the batch is."""
    return BATCH_BYTES + len(batch.payload.data)


def groups_bytes(groups: Iterable[Group]) -> int:
    """Results, with the batches that their tasks spawned."""
    size = 0
    for group in groups:
        size += GROUP_BYTES + len(group.data)
        for member in group.members:
            size += MEMBER_BYTES
            for child in member.children:
                size += batch_bytes(child)
    return size


_BY_FIELD: dict[str, Callable[[Any], int]] = {
    "batch": batch_bytes,
    "batches": lambda batches: sum([batch_bytes(batch) for batch in batches]),
    "groups": groups_bytes,
    "data": len,
    "facts": len,
    "reason": len,
    "traceback": len,
    "spans": lambda spans: SPAN_BYTES * len(spans),
    "joined": lambda joined: SPAN_BYTES * len(joined),
    "left": lambda left: FIELD_BYTES * len(left),
    "idle": lambda idle: FIELD_BYTES * (1 if isinstance(idle, int) else len(idle)),
    "busy": lambda busy: FIELD_BYTES * len(busy),
    "moved": lambda moved: 2 * FIELD_BYTES * len(moved),
    "options": lambda _: OPTIONS_BYTES,
}

_Parts = tuple[int, tuple[tuple[str, Callable[[Any], int]], ...]]
_PARTS: dict[type, _Parts] = {}


def _learn(kind: type) -> _Parts:
    names = [field.name for field in fields(kind)]
    special = tuple((name, _BY_FIELD[name]) for name in names if name in _BY_FIELD)
    parts = _PARTS[kind] = (FRAME_BYTES + FIELD_BYTES * (len(names) - len(special)), special)
    return parts


def size_bytes(message: Any) -> int:
    """About so many bytes: of a message, or of an event of a slot, which crosses a pipe much the same."""
    kind = type(message)
    size, special = _PARTS.get(kind) or _learn(kind)
    for name, measure in special:
        size += measure(getattr(message, name))
    return size
