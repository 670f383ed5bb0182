"""The processes of a local cluster, started by one process that has loaded what they need, and ended here.

It must not know what they are for.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from lbnet import limits
from lbnet.pool.environment import child_environment


class Launched:
    """The processes of :mod:`lbnet.net.serve`.

    They end when their standard input does, also when this process is killed.

    Args:
        configs: what each of them is; see there.
        listening: the descriptor of a socket that the first of them takes over.
    """

    def __init__(self, configs: Sequence[Mapping[str, Any]], listening: int) -> None:
        reading, writing = os.pipe()
        self._report = os.fdopen(reading)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
                [sys.executable, "-m", "lbnet.net.serve", json.dumps({"report": writing, "roles": list(configs)})],
                stdin=subprocess.PIPE,
                # What tasks print must not mix with what this program prints for other programs.
                stdout=_standard_error(),
                stderr=_standard_error(),
                pass_fds=(listening, writing),
                env=child_environment({}),
                # Ctrl-C goes to this process alone, which then ends the others.
                start_new_session=True,
            )
        finally:
            os.close(writing)
        self._lines: list[str] = []

    @property
    def pids(self) -> list[int]:
        """The process ids, in the order of their configs; waits until they have been started. Empty once they ended."""
        return [] if self._report.closed else json.loads(self._line(0) or "[]")

    def first_code(self) -> int | None:
        """How the first of them has ended, negative for a signal; None while it runs, as far as is known."""
        if self._report.closed:
            return None
        self._line(0)
        os.set_blocking(self._report.fileno(), False)
        try:
            line = self._line(1)
        finally:
            os.set_blocking(self._report.fileno(), True)
        return int(line) if line else self._process.poll()

    def end(self) -> None:
        """Close their standard input, wait for them, and kill what does not end."""
        if self._report.closed:
            return
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(5 * limits.STOP_TIMEOUT_S)  # it kills what has not ended before
        except subprocess.TimeoutExpired:
            for pid in self.pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
        self._report.close()

    def _line(self, number: int) -> str:
        """A line of the report, empty if there is none."""
        while len(self._lines) <= number:
            line = self._report.readline()
            if not line:
                return ""
            self._lines.append(line)
        return self._lines[number]


def _standard_error() -> int:
    """The descriptor of standard error, wherever :data:`sys.stderr` leads now."""
    try:
        os.fstat(2)
    except OSError:
        return subprocess.DEVNULL
    return 2
