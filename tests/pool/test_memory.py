"""Memory limits: how they are said, and what there is to share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest

from lbnet.errors import UsageError
from lbnet.pool.memory import limit_of, memory_available


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("", 0),
        ("0", 0),
        ("2GB", 2 * 10**9),
        ("2gb", 2 * 10**9),
        ("1.5 G", 1_500_000_000),
        ("512MiB", 512 << 20),
        ("1T", 10**12),
        ("99999999K", 99_999_999_000),
        ("100000000", 10**8),
        ("100000000B", 10**8),
    ],
)
def test_a_size_is_said_as_people_say_it(text: str, size: int) -> None:
    assert limit_of(text, 3) == size


@pytest.mark.parametrize("text", ["2 apples", "GB", "-1GB", "1iB", "1e9", "2GBs", "٢GB", "AUTO", " ", 5, None, b"2GB"])
def test_what_is_no_size_is_refused(text: Any) -> None:
    with pytest.raises(UsageError, match='a memory limit is a size such as 2GB or 512MiB, or "auto"; it is '):
        limit_of(text, 1)


def test_a_limit_that_no_slot_could_keep_is_refused() -> None:
    with pytest.raises(UsageError, match="a slot needs 64 MB to run anything; the memory limit '10MB' allows 10 MB"):
        limit_of("10MB", 1)
    with pytest.raises(UsageError, match="the memory limit 'auto' allows"):
        limit_of("auto", 10**9)


def test_auto_is_an_equal_share() -> None:
    assert limit_of("auto", 2) == memory_available() // 2 <= psutil.virtual_memory().total // 2


def host(root: Path, cgroup: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": cgroup, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        ("0::/a/b\n", {"sys/fs/cgroup/a/b/memory.max": "200000000\n"}, 200_000_000),
        ("0::/a/b\n", {"sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/memory.max": "3000000\n"}, 3_000_000),
        ("0::/\n", {"sys/fs/cgroup/memory.max": "4000000\n"}, 4_000_000),
        ("5:memory:/x\n4:cpu:/y\n", {"sys/fs/cgroup/memory/x/memory.limit_in_bytes": "5000000\n"}, 5_000_000),
        ("4:cpu:/y\n", {"sys/fs/cgroup/memory/y/memory.limit_in_bytes": "5000000\n"}, None),
        ("0::/a\n", {}, None),
    ],
)
def test_a_cgroup_may_allow_less_than_there_is(
    tmp_path: Path, cgroup: str, files: dict[str, str], expected: int | None
) -> None:
    total = psutil.virtual_memory().total
    assert memory_available(host(tmp_path, cgroup, files)) == (total if expected is None else expected)


def test_without_cgroups_there_is_what_the_machine_has(tmp_path: Path) -> None:
    assert memory_available(tmp_path) == psutil.virtual_memory().total
