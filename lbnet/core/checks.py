"""What a peer may claim: work and results are looked at before anything believes them.

Pure: each function returns the sentence that says what is wrong, or None. It must not know who
claims it, nor what follows. That ranges are not empty is known already: no other leaves the codec.
"""

from __future__ import annotations

import math
from collections.abc import Container

from lbnet.types import COMBINED, FAILED, ROOT, SILENT, VALUES, Batch, Group, JobId, Member

_KINDS = frozenset({VALUES, COMBINED, SILENT, FAILED})


def problem_of_batch(batch: Batch, functions: Container[bytes]) -> str | None:
    """``functions`` are the digests that are known of its job."""
    payload = batch.payload
    if not payload.function or payload.function not in functions:
        return "work came without its function"
    if not payload.base <= batch.lo < batch.hi <= payload.base + payload.count:
        return "work lies outside of its payload"
    if batch.failures < 0 or batch.crashes < 0 or (len(batch) > 1 and (batch.failures or batch.crashes)):
        return "work is said to have been tried, and is not one task, or was tried less than never"
    return None


def is_without_function(group: Group, functions: Container[bytes]) -> bool:
    """Whether it spawned what nobody here could run."""
    for member in group.members:
        if member.children and any(child.payload.function not in functions for child in member.children):
            return True
    return False


def problem_of_group(group: Group, job: JobId, reduce: bytes, functions: Container[bytes]) -> str | None:
    """``reduce`` is the digest of the job's combining function, or empty."""
    if group.kind not in _KINDS:
        return f"a result is of the unknown kind {group.kind}"
    if not group.members:
        return "a result stands for no task"
    if group.kind == COMBINED and not reduce:
        return "a result is combined, and its job combines nothing"
    if group.kind != COMBINED and len(group.members) != 1:
        return "a result that is not combined stands for exactly one range"
    if group.kind == FAILED and (group.failure is None or not _is_single(group.members[0])):
        return "a failure is that of one task, and says why"
    for member in group.members:
        problem = _problem_of_children(member, job, functions)
        if problem is not None:
            return problem
    return None


def _problem_of_children(member: Member, job: JobId, functions: Container[bytes]) -> str | None:
    """One run spawns tasks that are counted from 0 on; anything else would spoil the books."""
    if member.children and (member.run == ROOT or not _is_single(member)):
        return "only one run of one task can spawn"
    expected = 0
    for child in member.children:
        if child.job != job or child.origin != member.run or child.lo != expected:
            return "what a task spawned is not numbered as its own"
        problem = problem_of_batch(child, functions)
        if problem is not None:
            return problem
        expected = child.hi
    return None


def _is_single(member: Member) -> bool:
    return member.hi - member.lo == 1


def plausible_s(seconds: float) -> float:
    """``seconds`` if they can be a duration, else 0."""
    return seconds if 0.0 <= seconds < math.inf else 0.0
