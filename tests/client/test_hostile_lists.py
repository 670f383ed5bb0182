"""Lists that ask for trouble, on a real cluster: results are right, nobody waits for a neighbour, memory is bounded.

Other tests have a function or an item that is wrong; here all are right, and only uneven.
"""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from lbnet import Client, LocalCluster, limits

MEGABYTE = 1_000_000
GIVES_UP_S = 60.0
"""After so long a task that waits for its neighbours has failed the test: they wait for it."""


def test_pickles_that_differ_a_million_times_in_size(client: Client) -> None:
    rng = random.Random(7)
    huge = set(rng.sample(range(3_000), 12))
    items = [rng.randbytes(4 * MEGABYTE if number in huge else 1) for number in range(3_000)]
    for ordered in (True, False):
        found = list(client.map(zlib.crc32, items, ordered=ordered))
        expected = [zlib.crc32(item) for item in items]
        assert found == expected if ordered else sorted(found) == sorted(expected)


def waits_at(place: int, go: Path) -> Callable[[int], int]:
    """A function that at one item lasts until all others are done."""

    def wait_there(number: int) -> int:
        if number == place:
            end = time.monotonic() + GIVES_UP_S
            while not go.exists():
                if time.monotonic() > end:
                    return -1
                time.sleep(0.005)
        return number

    return wait_there


@pytest.mark.parametrize("place", [0, 5_000, 9_999])
def test_no_task_waits_for_a_giant_that_waits_for_all_of_them(client: Client, tmp_path: Path, place: int) -> None:
    go = tmp_path / "go"
    results = client.map(waits_at(place, go), range(10_000), ordered=False)
    others = [next(results) for _ in range(9_999)]
    go.touch()
    last = list(results)
    assert sorted(others) == [number for number in range(10_000) if number != place]
    assert last == [place]


def slow_at_first(folder: Path, gives_up_s: float) -> Callable[[int], int]:
    """A function whose first call of all, as if it imported something, lasts until all other items are done."""

    def first_waits(number: int) -> int:
        try:
            (folder / "first").touch(exist_ok=False)
        except FileExistsError:
            return number
        end = time.monotonic() + gives_up_s
        while not (folder / "go").exists():
            if time.monotonic() > end:
                return -1
            time.sleep(0.005)
        return number

    return first_waits


def test_a_slot_that_is_slow_at_its_first_call_holds_nobody_up(client: Client, tmp_path: Path) -> None:
    results = client.map(slow_at_first(tmp_path, GIVES_UP_S), range(5_000), ordered=False)
    found = [next(results) for _ in range(4_999)]
    (tmp_path / "go").touch()
    assert sorted([*found, *results]) == list(range(5_000))


def inflate(number: int) -> bytes:
    return number.to_bytes(100, "little") * (MEGABYTE // 100)


COUNT = 200
BOUND_BYTES = 2.5 * limits.CLIENT_BYTES_WINDOW
"""A window of the client is on its way, and copies of it while it is written and read. It is less than all results."""


@pytest.fixture(scope="module", params=[0.0, 0.01], ids=["taken at once", "taken slowly"])
def grown_bytes(request: pytest.FixtureRequest) -> list[int]:
    """How far the controller and each worker grow, at most, while results of 1 MB come from items of a few bytes."""
    with LocalCluster(workers=2, slots=1) as cluster, cluster.client() as client:
        client.wait_for_workers(2)
        assert sum(map(len, client.map(inflate, range(2)))) == 2 * MEGABYTE
        roles = [psutil.Process(pid) for pid in cluster.pids]
        before = [role.memory_info().rss for role in roles]
        most = list(before)
        count = 0
        for number, result in enumerate(client.map(inflate, range(COUNT))):
            assert result == inflate(number)
            time.sleep(request.param)
            count += 1
            if number % 5 == 0:
                most = [max(seen, role.memory_info().rss) for seen, role in zip(most, roles, strict=True)]
    assert count == COUNT
    assert COUNT * MEGABYTE > BOUND_BYTES, "else the bound would tell nothing"
    return [seen - first for seen, first in zip(most, before, strict=True)]


def test_large_results_are_in_no_workers_memory_at_once(grown_bytes: list[int]) -> None:
    assert max(grown_bytes[1:]) < BOUND_BYTES, (
        f"workers have grown by {[f'{each / 1e6:.0f} MB' for each in grown_bytes]}"
    )


def test_large_results_are_not_in_the_controllers_memory_at_once(grown_bytes: list[int]) -> None:
    assert grown_bytes[0] < BOUND_BYTES, f"the controller has grown by {grown_bytes[0] / 1e6:.0f} MB"
