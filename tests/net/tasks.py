"""What slots run in these tests: light, because every slot imports it."""

from __future__ import annotations

import os
import time
from pathlib import Path


def nap(seconds: float) -> float:
    """A task that takes its time and does nothing."""
    time.sleep(seconds)
    return seconds


def spin(path: str) -> None:
    """A task that never ends, and writes down in which process."""
    _say_where(path)
    while True:
        pass


def hog(path: str) -> None:
    """A task that never ends and lets no other thread of its process run."""
    _say_where(path)
    sum(range(10**15))


def after(path: str) -> list[int]:
    """A task that ends when there is a file; the processes that have begun it, in order."""
    with Path(f"{path}.begun").open("a") as begun:
        begun.write(f"{os.getpid()}\n")
    while not Path(path).exists():
        time.sleep(0.005)
    runs = [int(line) for line in Path(f"{path}.begun").read_text().split()]
    Path(f"{path}.done").touch()
    return runs


def _say_where(path: str) -> None:
    part = Path(f"{path}.part")
    part.write_text(str(os.getpid()))
    part.rename(path)


def where(number: int) -> tuple[int, int]:
    """Which process ran the item, after a while."""
    time.sleep(0.01)
    return number, os.getpid()
