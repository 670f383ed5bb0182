"""Processes of the run: started, signalled, watched, and never left behind. It must not know what they are for."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

SLOT_MODULE = "lbnet.pool.child"
"""What the command line of a slot's process names."""


@dataclass
class Role:
    """One role of the cluster, which may live several times, always by the same command.

    Attributes:
        name: for people and files.
        command: of the given life.
        errors: where it writes what it has to say, all lives in one file.
        environment: of the process.
    """

    name: str
    command: Callable[[int], Sequence[str]]
    errors: Path
    environment: Mapping[str, str]
    lives: int = 0
    stopped: list[psutil.Process] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    began_s: float = 0.0

    @property
    def alive(self) -> bool:
        """Whether it runs now, or is stopped."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Begin its next life."""
        assert not self.alive, f"{self.name} runs already"
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                self.command(self.lives),
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                env=dict(self.environment),
                start_new_session=True,
            )
        self.lives += 1
        self.began_s = time.monotonic()

    def family(self) -> list[psutil.Process]:
        """Itself and all that it started."""
        if self.process is None:
            return []
        try:
            me = psutil.Process(self.process.pid)
            return [me, *me.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def slots(self) -> list[psutil.Process]:
        """The slots of a worker."""
        found = []
        for process in self.family()[1:]:
            with contextlib.suppress(psutil.Error):
                if SLOT_MODULE in process.cmdline():
                    found.append(process)
        return sorted(found, key=lambda process: process.pid)

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal to its first process. Returns whether there is one."""
        if not self.alive:
            return False
        assert self.process is not None
        self.process.send_signal(number)
        return True

    def stop(self, processes: Sequence[psutil.Process]) -> bool:
        """SIGSTOP to these. Returns whether any was there."""
        for process in processes:
            if signalled(process, signal.SIGSTOP):
                self.stopped.append(process)
        return bool(self.stopped)

    def resume(self) -> None:
        """SIGCONT to all that were stopped."""
        for process in self.stopped:
            signalled(process, signal.SIGCONT)
        self.stopped.clear()

    def wait(self, timeout_s: float) -> int | None:
        """Its exit code, None if it does not end in time."""
        assert self.process is not None
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None


def signalled(process: psutil.Process, number: signal.Signals) -> bool:
    """Send a signal to this very process, not to another one that got its number. Returns whether it was there."""
    try:
        process.send_signal(number)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False
    return True


def lives(process: psutil.Process) -> bool:
    """Whether it is there, and is not only waiting to be buried."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def environment(root: Path) -> dict[str, str]:
    """As on a fresh machine, with the packages in ``root`` before installed ones."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LBNET", "PYTHON"))}
    return kept | {"PYTHONPATH": str(root)}
