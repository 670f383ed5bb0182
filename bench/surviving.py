"""A cluster of the command line whose processes are killed and started again, and tasks that note when they began.

It must not know what is measured.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.chaos.network import free_port
from bench.chaos.processes import Role, environment

ROOT = Path(__file__).resolve().parents[1]
LBNET = (sys.executable, "-m", "lbnet.cli.main")
POLL_S = 0.001
LIMIT_S = 60.0
"""Whatever is waited for comes before this, or the experiment has failed."""


@dataclass
class Cluster:
    """A controller and workers of one slot each, in a folder of their own.

    Args:
        folder: for all of their files.
        journal: whether the controller keeps one.
        insecure: whether links are not protected.
        watched: whether workers write down what they hand to their slots and take back from them, see
            :mod:`bench.watched`.
    """

    folder: Path
    journal: bool = True
    insecure: bool = False
    watched: bool = False
    port: int = field(default_factory=free_port)
    roles: dict[str, Role] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Of the controller."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """Where tasks write that they began."""
        return self.folder / "begun"

    def controller(self) -> float:
        """Start it, for the first time or again. Returns when that was."""
        state = ("--state-dir", str(self.folder / "state")) if self.journal else ("--no-journal",)
        return self._start("controller", "controller", "--port", str(self.port), *state, *self._how)

    @property
    def _how(self) -> tuple[str, ...]:
        return ("--insecure",) if self.insecure else ()

    def worker(self, name: str) -> float:
        """Start a worker. Returns when that was."""
        arguments = ("worker", "--connect", self.address, "--slots", "1", "--name", name, *self._how)
        program = (sys.executable, "-m", "bench.watched", str(self.notes(name))) if self.watched else LBNET
        return self._start(name, *arguments, program=program)

    def notes(self, name: str) -> Path:
        """Where a worker that is watched writes."""
        return self.folder / f"{name}.notes"

    def map(self, function: str, items: Path) -> float:
        """Start ``lbnet map``. Returns when that was."""
        return self._start("client", "map", function, str(items), "--connect", self.address)

    def has_said(self, name: str, words: str) -> float:
        """Returns when a process has said this."""
        errors = self.roles[name].errors
        return until(lambda: words in errors.read_text(errors="replace"), f"{name} has not said {words!r}")

    def up(self, *workers: str) -> None:
        """Start a controller and these workers, and return when all are there."""
        self.controller()
        self.has_said("controller", "controller at")
        for name in workers:
            self.worker(name)
        for name in workers:
            self.has_said(name, "has joined")

    def kill(self, name: str) -> float:
        """``kill -9``. Returns when that was."""
        return self._signal(name, signal.SIGKILL)

    def tell(self, name: str) -> float:
        """SIGTERM. Returns how long it took to end."""
        told = self._signal(name, signal.SIGTERM, wait=False)
        ended = until(lambda: not self.roles[name].alive, f"{name} does not end")
        return ended - told

    def close(self) -> None:
        """Leave nothing behind."""
        families = [process for role in self.roles.values() for process in role.family()]
        for process in reversed(families):
            if process.is_running():
                process.kill()
        for role in self.roles.values():
            role.wait(LIMIT_S)

    def _start(self, name: str, *arguments: str, program: tuple[str, ...] = LBNET) -> float:
        errors = self.folder / f"{name}.err"
        errors.unlink(missing_ok=True)
        self.roles[name] = Role(name, lambda _: (*program, *arguments), errors, environment(ROOT))
        began = time.monotonic()
        self.roles[name].start()
        return began

    def _signal(self, name: str, number: signal.Signals, *, wait: bool = True) -> float:
        at = time.monotonic()
        if not self.roles[name].signal(number):
            raise TimeoutError(f"{name} is not there any more")
        if wait:
            self.roles[name].wait(LIMIT_S)
        return at


@dataclass(frozen=True, slots=True)
class Begun:
    """That a task began: which one, in which process, and when by the clock of :func:`time.monotonic`."""

    key: str
    pid: int
    at_s: float


def begun(log: Path) -> list[Begun]:
    """All that was written down."""
    if not log.exists():
        return []
    lines = [line.split() for line in log.read_text().splitlines()]
    return [Begun(key, int(pid), float(at_s)) for key, pid, at_s in lines]


def first(log: Path, wanted: Callable[[Begun], bool], what: str) -> Begun:
    """Wait for the first task of this kind to begin."""
    found: list[Begun] = []

    def there() -> bool:
        found[:] = [each for each in begun(log) if wanted(each)]
        return bool(found)

    until(there, what)
    return found[0]


def until(condition: Callable[[], bool], what: str) -> float:
    """Poll until it holds; returns when that was.

    Raises:
        TimeoutError: it does not come.
    """
    end = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} within {LIMIT_S:g} s")
        time.sleep(POLL_S)
    return time.monotonic()


# --- tasks ----------------------------------------------------------------------------------------


def noted_nap(item: Sequence[str | float]) -> str:
    """Write down that it began, and sleep: ``(log, key, seconds)``."""
    log, key, seconds = item
    note(str(log), str(key))
    time.sleep(float(seconds))
    return str(key)


def noted_wait(item: Sequence[str]) -> str:
    """Write down that it began, and wait until a file is there: ``(log, key, file)``."""
    log, key, file = item
    note(log, key)
    while not os.path.exists(file):  # noqa: PTH110 - cheap, and often
        time.sleep(0.005)
    return key


def note(log: str, key: str) -> None:
    """One line of the log."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, f"{key} {os.getpid()} {time.monotonic()!r}\n".encode())
    finally:
        os.close(descriptor)
