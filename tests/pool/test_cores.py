"""Cores that a process may use: by affinity and by both generations of control groups, in made-up trees."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbnet.pool import cores
from lbnet.pool.cores import THREAD_VARIABLES, cores_available, thread_variables


@pytest.fixture(autouse=True)
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_cores_by_affinity", lambda: 16)


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V2 = "proc/self/cgroup"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 16),
        ({V2: ""}, 16),
        ({V2: "0::/\n"}, 16),
        ({V2: "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 16),
        ({V2: "0::/\n", "sys/fs/cgroup/cpu.max": "400000 100000\n"}, 4),
        ({V2: "0::/\n", "sys/fs/cgroup/cpu.max": "250000 100000\n"}, 3),
        ({V2: "0::/\n", "sys/fs/cgroup/cpu.max": "1000 100000\n"}, 1),
        ({V2: "0::/\n", "sys/fs/cgroup/cpu.max": "6400000 100000\n"}, 16),
        ({V2: "0::/\n", "sys/fs/cgroup/cpu.max": "0 100000\n"}, 16),
        ({V2: "0::/\n", "sys/fs/cgroup/cpu.max": "100000 0\n"}, 16),
        ({V2: "0::/\n", "sys/fs/cgroup/cpu.max": "rubbish\n"}, 16),
        ({V2: "rubbish\n::\n0:\n"}, 16),
        # The narrowest of all groups above this process counts, wherever it is.
        (
            {
                V2: "0::/a/b/c\n",
                "sys/fs/cgroup/a/b/c/cpu.max": "max 100000",
                "sys/fs/cgroup/a/b/cpu.max": "500000 100000",
                "sys/fs/cgroup/a/cpu.max": "200000 100000",
            },
            2,
        ),
        ({V2: "0::/a\n", "sys/fs/cgroup/a/cpu.max": "500000 100000", "sys/fs/cgroup/b/cpu.max": "100000 100000"}, 5),
        # A group of another namespace is shown with dots; the files in sight count all the same.
        ({V2: "0::/../../x\n", "sys/fs/cgroup/cpu.max": "300000 100000"}, 3),
        # The first generation: one hierarchy for each controller, two files for a quota.
        (
            {
                V2: "4:memory:/m\n3:cpu,cpuacct:/a\n1:name=systemd:/\n",
                "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "700000\n",
                "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
            },
            7,
        ),
        (
            {
                V2: "3:cpu,cpuacct:/a\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000\n",
            },
            2,
        ),
        ({V2: "3:cpu:/a\n", "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "100000\n"}, 16),
        ({V2: "3:cpuset:/a\n", "sys/fs/cgroup/cpuset/a/cpu.cfs_quota_us": "100000\n"}, 16),
        # Both at once, as on systems that changed over halfway.
        (
            {
                V2: "3:cpu:/a\n0::/u\n",
                "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "900000",
                "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000",
                "sys/fs/cgroup/u/cpu.max": "800000 100000",
            },
            8,
        ),
    ],
)
def test_the_narrowest_quota_counts(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    assert cores_available(tree(tmp_path, files)) == expected


def test_a_quota_does_not_widen_the_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_cores_by_affinity", lambda: 2)
    root = tree(tmp_path, {V2: "0::/\n", "sys/fs/cgroup/cpu.max": "800000 100000"})
    assert cores_available(root) == 2


@given(st.text(max_size=60))
def test_whatever_the_system_says_there_is_a_core(text: str) -> None:
    for line in text.splitlines():
        list(cores._ratio(line, "100000"))
        list(cores._ratio("100000", line))
    assert list(cores._ratio(text, text)) in ([], [1.0])


def test_the_affinity_of_this_process_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert cores._cores_by_affinity() == 1
        assert cores_available() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert cores._cores_by_affinity() == len(allowed)


@pytest.mark.parametrize(("slots", "share"), [(1, "16"), (3, "5"), (16, "1"), (40, "1"), (0, "16")])
def test_slots_share_the_cores(slots: int, share: str) -> None:
    assert thread_variables(slots, {}) == dict.fromkeys(THREAD_VARIABLES, share)


def test_what_the_user_set_stays() -> None:
    added = thread_variables(4, {"OMP_NUM_THREADS": "9", "NUMBA_NUM_THREADS": "", "PATH": "/bin"})
    assert set(added) == set(THREAD_VARIABLES) - {"OMP_NUM_THREADS", "NUMBA_NUM_THREADS"}
    assert set(added.values()) == {"4"}
