"""The workloads of the experiments. It must not know who runs them.

All busy loops are on thread CPU time: on the wall clock, a loop that is preempted would seem to have worked.
"""

from __future__ import annotations

import functools
import hashlib
import operator
import os
import random
import time
from collections.abc import Sequence
from typing import Any

from bench.workload import Figure, Kind, Workload
from lbnet.work import run_unit
from lbnet.workloads import stdlib_files, synthetic, uts

SEED = 20_060_501
MEGABYTE = 1_000_000

TIMED_TASK = tuple[int, float]
"""The number of a task, and the CPU seconds that it burns. The number comes back, so that a lost or swapped
result is seen."""


def identity(item: Any) -> Any:
    """The cheapest task there is."""
    return item


def burn(task: TIMED_TASK) -> int:
    """A task of known CPU time."""
    number, seconds = task
    synthetic.burn(seconds)
    return number


def noted_burn(task: TIMED_TASK) -> tuple[int, int, float, float]:
    """The same, which says in which process it ran, and from when to when by the clock of :func:`time.monotonic`."""
    number, seconds = task
    began_s = time.monotonic()
    synthetic.burn(seconds)
    return number, os.getpid(), began_s, time.monotonic()


def flip(data: bytes) -> bytes:
    """A megabyte in, another megabyte out: no peer may send back what it still has."""
    return data[::-1]


def _numbers(count: int) -> Sequence[int]:
    return range(count)


WARM_UP = Workload("warm-up", identity, _numbers, 64)
"""What every peer runs before each measured run: it imports this module in the slots, and opens the links."""


def noop(count: int = 1_000_000) -> Workload:
    """What does a task cost that costs nothing?"""
    return Workload("no-op", identity, _numbers, count, figure=Figure.RATE, sizable=True)


def submit(count: int = 300) -> Workload:
    """How long does one call take when nothing else is going on?"""
    return Workload("one submit", identity, _numbers, count, kind=Kind.CALLS, figure=Figure.LATENCY)


def _blobs(count: int) -> Sequence[bytes]:
    rng = random.Random(SEED)
    return [rng.randbytes(MEGABYTE) for _ in range(count)]


def megabytes(count: int = 200) -> Workload:
    """How fast do a megabyte in and a megabyte out pass?"""
    return Workload("1 MB in + out", flip, _blobs, count, figure=Figure.BANDWIDTH, item_bytes=2 * MEGABYTE)


def _timed(kind: synthetic.DurationKind, mean_s: float, count: int) -> Sequence[TIMED_TASK]:
    return list(enumerate(synthetic.durations(kind, count, mean_s, SEED)))


def durations(kind: synthetic.DurationKind, work_s: float, mean_s: float) -> Workload:
    """A list with durations of one distribution, ``work_s`` CPU seconds in all."""
    make = functools.partial(_timed, kind, mean_s)
    count = max(1, round(work_s / mean_s))
    exact_s = sum(seconds for _, seconds in make(count))
    return Workload(f"{kind}, mean {mean_s * 1e3:g} ms", burn, make, count, work_s=exact_s)


def _skewed(giant_s: float, count: int) -> Sequence[TIMED_TASK]:
    """One in a hundred is a giant; the others, lognormal, last half of the time together."""
    seconds = synthetic.durations("lognormal", count, giant_s / 100, SEED)
    for place in random.Random(SEED).sample(range(count), max(1, count // 100)):
        seconds[place] = giant_s
    return list(enumerate(seconds))


def skewed(work_s: float, giant_s: float = 0.5) -> Workload:
    """A lognormal list with one per cent of giants at random places, of about ``work_s`` CPU seconds in all."""
    count = max(2, round(work_s / giant_s * 50))
    make = functools.partial(_skewed, giant_s)
    return Workload("lognormal, 1 % giants", burn, make, count, work_s=sum(seconds for _, seconds in make(count)))


def _hidden(giants: int, giant_s: float, count: int) -> Sequence[TIMED_TASK]:
    places = set(random.Random(SEED).sample(range(count), giants))
    return [(number, giant_s if number in places else 1e-6) for number in range(count)]


def hidden_giants(count: int = 200_000, giants: int = 20, giant_s: float = 0.5) -> Workload:
    """A few long tasks at random places in a long list of tiny ones: where every fixed chunk fails."""
    work_s = giants * giant_s + (count - giants) * 1e-6
    make = functools.partial(_hidden, giants, giant_s)
    return Workload(f"{giants} giants in {count:,}", burn, make, count, work_s=work_s)


def _late_pair(giant_s: float, count: int) -> Sequence[TIMED_TASK]:
    places = {count - 500, count - 490}
    return [(number, giant_s if number in places else 1e-6) for number in range(count)]


def late_pair(count: int = 200_000, giant_s: float = 0.5) -> Workload:
    """Two long tasks in one batch, near the end of a list of tiny ones: one must not wait for the other."""
    work_s = 2 * giant_s + (count - 2) * 1e-6
    make = functools.partial(_late_pair, giant_s)
    return Workload(f"2 giants, 10 apart, near the end of {count:,}", burn, make, count, work_s=work_s)


def _tree_root(name: str, count: int) -> Sequence[Any]:
    assert count == 1
    return [uts.root(uts.NAMED_TREES[name].parameters)]


def _tree_plain(name: str, items: Sequence[Any]) -> list[Any]:
    assert len(items) == 1
    return [uts.count_sequential(uts.NAMED_TREES[name].parameters)]


def tree(name: str) -> Workload:
    """An unbalanced tree from one root, whose count was published: the work is where nobody expects it."""
    published = uts.NAMED_TREES[name].expected
    return Workload(
        f"UTS {name}",
        run_unit,
        functools.partial(_tree_root, name),
        1,
        kind=Kind.SPLITS,
        reduce=uts.combine,
        plain=functools.partial(_tree_plain, name),
        expected=None if published is None else [published],
    )


def _unit(units: int, unit_s: float, count: int) -> Sequence[Any]:
    return [synthetic.SyntheticUnit(units, unit_s, SEED) for _ in range(count)]


def work_unit(work_s: float, unit_s: float = 0.001) -> Workload:
    """Divisible work of known size in one unit."""
    units = max(1, round(work_s / unit_s))
    make = functools.partial(_unit, units, unit_s)
    return Workload(
        f"work unit, {unit_s * 1e3:g} ms", run_unit, make, 1, kind=Kind.SPLITS, reduce=operator.add, work_s=work_s
    )


def _files(count: int) -> Sequence[Any]:
    files = stdlib_files.files()
    # Evenly picked, for neighbours in a folder are alike.
    return [files[number * len(files) // count] for number in range(count)]


def stdlib(share: float = 1.0) -> Workload:
    """Parse files of the standard library: real work, from empty files to several hundred kB."""
    count = max(1, int(len(stdlib_files.files()) * share))
    return Workload("stdlib files", stdlib_files.measure, _files, count)


SUBTREE_NODES = 500
SUBTREE_EXTRA_HASHES = 50
SUBTREE_ROOT_CHILDREN = 1_600
SUBTREE_CHILDREN = 4
SUBTREE_LIMIT = int(0.249 * 2**31)


def count_some(stack: list[bytes]) -> tuple[int, list[list[bytes]]]:
    """Visit up to 500 nodes of a binomial tree; the rest of the stack comes back in two halves.

    Each node costs 50 further hashes, about 12 microseconds in all.
    """
    sha1 = hashlib.sha1
    nodes = 0
    while stack and nodes < SUBTREE_NODES:
        state = stack.pop()
        nodes += 1
        for _ in range(SUBTREE_EXTRA_HASHES):
            sha1(state).digest()
        if int.from_bytes(state[16:], "big") & 0x7FFFFFFF < SUBTREE_LIMIT:
            stack += [sha1(state + number.to_bytes(4, "big")).digest() for number in range(SUBTREE_CHILDREN)]
    half = len(stack) // 2
    return nodes, [part for part in (stack[:half], stack[half:]) if part]


def _subtree_roots(children: int, count: int) -> Sequence[list[bytes]]:
    assert count == 1
    root = hashlib.sha1(SEED.to_bytes(20, "big")).digest()
    return [[hashlib.sha1(root + number.to_bytes(4, "big")).digest() for number in range(children)]]


def subtrees(root_children: int = SUBTREE_ROOT_CHILDREN) -> Workload:
    """Tasks that make tasks: one task a subtree of 500 nodes, the next ones known only when it is done."""
    make = functools.partial(_subtree_roots, root_children)
    return Workload("spawned subtrees", count_some, make, 1, kind=Kind.GROWS, reduce=operator.add)
