"""What is told of a task that was with its slot when that died: the words of its failure. It must not know who asks."""

from __future__ import annotations

from lbnet import limits
from lbnet.core.events import SlotDied, SlotOutput
from lbnet.types import FAILED, ROOT, Batch, Failure, Group, Member


def last_failure(tried: Batch, event: SlotDied, output: SlotOutput | None, worker: str) -> Group:
    """The result of a task that has killed its slot, or was over its time, for the last time.

    Args:
        tried: the one task, with how often it has done the same, this time included.
        event: the death.
        output: what was last printed in that slot, by whatever task.
        worker: the name of the last one.
    """
    attempts = tried.failures if event.timed_out else tried.crashes
    kind = "TaskTimeoutError" if event.timed_out else "TaskCrashedError"
    text = f"{event.description}; attempt {attempts} of {attempts}"
    if output is not None and (output.job, output.origin, output.index) == (tried.job, tried.origin, tried.lo):
        text += _last_lines(output.text)
    where = f"worker {worker}, {event.where}" if event.where else f"worker {worker}"
    member = Member(tried.origin, tried.lo, tried.hi, tried.root, tried.parent_origin, tried.parent_index, ROOT, ())
    return Group(FAILED, b"", (member,), 0.0, Failure(kind, text, "", where, b""))


def _last_lines(text: bytes) -> str:
    lines = text.decode("utf-8", "backslashreplace").rstrip().splitlines()[-limits.OUTPUT_LAST_LINES :]
    last = "\n".join(lines)[-limits.OUTPUT_LAST_CHARS :]
    return f"; the last that it printed:\n{last}" if last else ""
