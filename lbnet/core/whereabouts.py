"""Where one item of a job is among a worker's slots, as plain facts. Pure. It must not know who asks, or why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lbnet.core.slots import Slot
from lbnet.types import JobId


def in_slots(slots: Sequence[Slot], job: JobId, index: int, now: float) -> dict[str, Any]:
    """What is known of an item.

    Returns:
        ``running``: in which slot it runs, and for how many seconds, about. ``in_slot``: in which slot it waits, behind
        how many tasks, and for how long the first of them has run. None where it does not. And how many slots are
        ready, and how many of those have nothing to do.
    """
    facts: dict[str, Any] = {
        "running": None,
        "in_slot": None,
        "ready_slots": sum(slot.ready for slot in slots),
        "free_slots": sum(slot.ready and slot.free for slot in slots),
    }
    for slot in slots:
        tasks = _before(slot, job, index)
        if tasks is not None:
            here = {"slot": int(slot.id), "for_s": now - slot.moved_at}
            facts |= {"in_slot": {**here, "tasks": tasks}} if tasks else {"running": here}
    return facts


def _before(slot: Slot, job: JobId, index: int) -> int | None:
    """How many tasks of a slot come before an item, the running one with them; None if it is not there."""
    before = 0
    for ticket in slot.tickets:
        if ticket.batch.has_item(job, index) and index in ticket.unreported and index < ticket.end:
            return before + max(index - ticket.upto, 0)
        before += ticket.left
    return None
