"""A folder with a module of functions, and a cluster for the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import Cluster, cluster

WORK = """
import os
import signal
import time
from pathlib import Path

CONSTANT = 4

class Words(Exception):
    def __str__(self):
        raise RuntimeError("no words")

def double(x):
    return 2 * x

def not_seven(x):
    if x == 7:
        raise ValueError("seven\\nis not welcome")
    return x

def never(x):
    raise ValueError(x)

def wordless(x):
    raise Words

def deadly(x):
    if x == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return x

def busy(path):
    Path(path).touch()
    end = time.monotonic() + 600
    while time.monotonic() < end:
        pass

def talks(path):
    print("hello from", os.path.basename(path))
    while path and not Path(path).exists():
        time.sleep(0.01)
    print("goodbye")

def napping(path):
    Path(path).touch()
    time.sleep(600)

def first_then_napping(path):
    return napping(path) if path else "first"

def same(x):
    return x

def of_kind(x):
    return {"set": {1}, "nan": [float("nan")], "bytes": b"", "key": {(1, 2): 3}, "good": {"a": None}}[x]

def chatty(x):
    print("hello from a task")
    return x
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where commands are run: ``work`` can be imported there."""
    (tmp_path / "work.py").write_text(WORK)
    return tmp_path


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A controller with two workers: ``big-iron`` of two slots, and one whose name looks like markup."""
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "work.py").write_text(WORK)
    with cluster(folder, ("--slots", "2", "--name", "big-iron"), ("--slots", "1", "--name", "[/bold]:cat:")) as made:
        yield made
