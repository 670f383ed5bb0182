"""Lists that ask for trouble: uneven in size, in duration or in what comes back. It must not know who runs them."""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lbnet.workloads import synthetic

SEED = 20_060_501
MEGABYTE = 1_000_000
FIRST_CALL_S = 1.0
_called: list[float] = []


@dataclass(frozen=True, slots=True)
class Hostile:
    """A list and what must come of it.

    Args:
        name: what tables call it.
        fn: of one item.
        items: the list, the same one at each call.
        expected: the result for an item. It costs little: each result is checked as it comes.
        slot_s: seconds that every slot must spend in any case.
        work_s: seconds of work that the slots can share.
        pause_s: how long the consumer takes over each result.
        passed_bytes: of all arguments and results.
    """

    name: str
    fn: Callable[[Any], Any]
    items: Callable[[], Sequence[Any]]
    expected: Callable[[Any], Any]
    slot_s: float = 0.0
    work_s: float = 0.0
    pause_s: float = 0.0
    passed_bytes: int = 0

    def ideal_s(self, slots: int, work_s: float | None = None) -> float | None:
        """What nobody can beat, with ``work_s`` as it was measured; None where the work is nothing but bytes."""
        shared_s = self.work_s if work_s is None else work_s
        least_s = max(self.slot_s + shared_s / slots, self.pause_s * len(self.items()))
        return least_s or None


# --- tasks ----------------------------------------------------------------------------------------


def digest(data: bytes) -> tuple[int, int]:
    """Length and checksum of an item."""
    return len(data), zlib.crc32(data)


def burn(task: tuple[int, float]) -> int:
    """A task of known CPU time; its number comes back."""
    number, seconds = task
    synthetic.burn(seconds)
    return number


def slow_at_first(task: tuple[int, float]) -> int:
    """The same; the first call in a process takes a second longer, as one that imports a large library does."""
    if not _called:
        time.sleep(FIRST_CALL_S)
        _called.append(time.monotonic())
    return burn(task)


def inflate(seed: bytes) -> bytes:
    """A hundred bytes in, a megabyte out."""
    return seed * (MEGABYTE // len(seed))


# --- lists ----------------------------------------------------------------------------------------


def uneven_sizes(tiny: int = 5_000, huge: int = 20) -> Hostile:
    """Items of one byte, and at random places some of a megabyte."""

    def items() -> list[bytes]:
        rng = random.Random(SEED)
        places = set(rng.sample(range(tiny + huge), huge))
        return [rng.randbytes(MEGABYTE if number in places else 1) for number in range(tiny + huge)]

    return Hostile("items of 1 B and of 1 MB", digest, items, digest, passed_bytes=tiny + huge * MEGABYTE)


def _number(task: tuple[int, float]) -> int:
    return task[0]


def _timed(name: str, seconds: Sequence[float]) -> Hostile:
    return Hostile(name, burn, lambda: list(enumerate(seconds)), _number, work_s=sum(seconds))


def short_then_long(short: int = 100_000, long: int = 200) -> Hostile:
    """Durations grow ten thousand times, midway."""
    return _timed("1 us, then 10 ms", [1e-6] * short + [0.01] * long)


def long_then_short(short: int = 100_000, long: int = 200) -> Hostile:
    """Durations shrink ten thousand times, midway."""
    return _timed("10 ms, then 1 us", [0.01] * long + [1e-6] * short)


def slow_first_call(tasks: int = 2_000, seconds: float = 0.001) -> Hostile:
    """The first task of each slot says nothing about the others."""
    return Hostile(
        "first call takes 1 s",
        slow_at_first,
        lambda: [(number, seconds) for number in range(tasks)],
        _number,
        slot_s=FIRST_CALL_S,
        work_s=tasks * seconds,
    )


def large_results(tasks: int = 300, pause_s: float = 0.0) -> Hostile:
    """What comes back is ten thousand times what went there, and may be taken slowly."""

    def items() -> list[bytes]:
        rng = random.Random(SEED)
        return [rng.randbytes(100) for _ in range(tasks)]

    name = f"100 B in, 1 MB out{f', taken one in {pause_s * 1e3:g} ms' if pause_s else ''}"
    return Hostile(name, inflate, items, inflate, pause_s=pause_s, passed_bytes=tasks * (100 + MEGABYTE))


def lists(quick: bool) -> list[Hostile]:
    """All of them."""
    few = 10 if quick else 1
    return [
        uneven_sizes(5_000 // few),
        short_then_long(100_000 // few, 200 // few),
        long_then_short(100_000 // few, 200 // few),
        slow_first_call(2_000 // few),
        large_results(300 // few),
        large_results(300 // few, 0.02),
    ]


def alone_s(hostile: Hostile) -> float | None:
    """Seconds of the work in a loop in this process, without what every slot spends; None if there is no work."""
    if not hostile.work_s:
        return None
    items = hostile.items()
    hostile.fn(items[0])  # whatever is slow at first is so now
    began_s = time.perf_counter()
    for item in items:
        hostile.fn(item)
    return time.perf_counter() - began_s


def problem(hostile: Hostile, items: Sequence[Any], results: Iterator[Any]) -> str:
    """Take every result, at the consumer's pace, and keep none. What is wrong with them, or empty."""
    count = 0
    for result in results:
        if count >= len(items):
            return f"more than {len(items):,} results"
        if result != hostile.expected(items[count]):
            return f"result {count} is wrong"
        count += 1
        if hostile.pause_s:
            time.sleep(hostile.pause_s)
    return "" if count == len(items) else f"{count:,} results instead of {len(items):,}"
