"""Which workloads there are, and how ``--workload`` names them. It must not know how they run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, get_args

from lbnet.errors import UsageError
from lbnet.sim.divisible import Divisible
from lbnet.sim.flat import TASKS_MAX, Flat
from lbnet.sim.sampled_tree import SampledTree
from lbnet.sim.tree import NODE_S, VISITED_NODES_MAX, VisitedTree
from lbnet.sim.work import Workload
from lbnet.workloads.synthetic import DurationKind, durations
from lbnet.workloads.uts_trees import NAMED_TREES

PIECES_MAX: Final = 10**15
"""More pieces than anybody has the time for: counts stay exact as floats, and times finite."""

SECONDS_MAX: Final = 1e9
"""The longest task, 32 years: sums of many stay finite."""

_UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}
_SECONDS = re.compile(r"([0-9]+|[0-9]*\.[0-9]+)(us|ms|s|min)")
_COUNT = re.compile(r"[0-9]+(?:_[0-9]+)*")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of workload.

    Attributes:
        usage: how it is written.
        example: one that works.
        make: takes the whole text, what stands in it behind the kind and its colon, and the seed. A
            :class:`lbnet.errors.UsageError` that it raises need not repeat the text.
    """

    usage: str
    example: str
    make: Callable[[str, str, int], Workload]


def workload(text: str, *, seed: int) -> Workload:
    """The workload of this name, such as ``flat:lognormal:100000:1ms``.

    Args:
        text: its kind, and what the kind needs to know, between colons; it is the workload's name in reports.
        seed: of all that is drawn in it.

    Raises:
        UsageError: there is no such workload; the sentence says which there are, or what is wrong with this one.
    """
    name, _, rest = text.partition(":")
    kind = KINDS.get(name)
    if kind is None:
        known = ", ".join(kind.usage for kind in KINDS.values())
        raise UsageError(f"there is no workload {text!r}; there are: {known}")
    try:
        return kind.make(text, rest, seed)
    except UsageError as error:
        raise UsageError(f"workload {text!r}: {error}; write {kind.usage}, such as {kind.example}") from None


def seconds(text: str) -> float:
    """Seconds from a number with a unit: ``10us``, ``1.5ms``, ``2s``, ``1min``.

    Raises:
        UsageError: it is no such thing, or not above 0, or above :data:`SECONDS_MAX`.
    """
    match = _SECONDS.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no duration, as 10us, 1.5ms, 2s or 1min are")
    value = float(match[1]) * _UNITS[match[2]]
    if not 0 < value <= SECONDS_MAX:
        raise UsageError(f"the duration {text!r} must be above 0, and {SECONDS_MAX:.0e} seconds at most")
    return value


def _count(what: str, text: str, most: int) -> int:
    # The length first: Python refuses to read numbers of thousands of digits.
    if not _COUNT.fullmatch(text) or len(text) > 40 or not 1 <= int(text) <= most:
        raise UsageError(f"the number of {what} must be from 1 to {most:,}, in digits; it is {text!r}")
    return int(text)


def _parts(rest: str, least: int, most: int) -> list[str]:
    parts = rest.split(":")
    if not least <= len(parts) <= most or not all(parts):
        raise UsageError("a part of it is missing, or there is one too many")
    return parts


def _flat(text: str, rest: str, seed: int) -> Workload:
    kind, count, mean = _parts(rest, 3, 3)
    kinds: Mapping[str, DurationKind] = {known: known for known in get_args(DurationKind)}
    if kind not in kinds:
        raise UsageError(f"there are no {kind!r} durations; there are: {', '.join(kinds)}")
    return Flat(text, durations(kinds[kind], _count("tasks", count, TASKS_MAX), seconds(mean), seed))


def _divisible(text: str, rest: str, seed: int) -> Workload:
    count, piece = _parts(rest, 2, 2)
    return Divisible(text, _count("pieces", count, PIECES_MAX), seconds(piece), seed)


def _uts(text: str, rest: str, seed: int) -> Workload:
    name, *more = _parts(rest, 1, 2)
    tree = NAMED_TREES.get(name)
    if tree is None:
        raise UsageError(f"there is no tree {name!r}; there are: {', '.join(NAMED_TREES)}")
    node_s = seconds(more[0]) if more else NODE_S
    if tree.expected is not None and tree.expected.nodes <= VISITED_NODES_MAX:
        return VisitedTree(text, tree.parameters, tree.expected.nodes, node_s)
    return SampledTree(text, tree.parameters, node_s, seed)


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "flat": Kind(
            f"flat:KIND:COUNT:MEAN (KIND: {', '.join(get_args(DurationKind))})", "flat:lognormal:100000:1ms", _flat
        ),
        "divisible": Kind("divisible:COUNT:PIECE", "divisible:1000000:1ms", _divisible),
        "uts": Kind(f"uts:TREE[:NODE_SECONDS] (TREE: {', '.join(NAMED_TREES)})", "uts:T1 or uts:T1:10us", _uts),
    }
)
"""The kinds of workloads by the word before the first colon."""
