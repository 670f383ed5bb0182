"""The command line as users meet it: real processes, what they print, and what they leave behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
DEADLINE_S = 10.0
COMMAND = (sys.executable, "-m", "lbnet.cli.main")


def environment(**more: str) -> dict[str, str]:
    """As on a fresh machine: nothing says where a controller is, or how wide the terminal."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LBNET", "COLUMNS", "PYTHON"))}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"} | more


def lbnet(
    *args: object, cwd: Path | None = None, stdin: str | bytes = b"", **env: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    data = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(
        [*COMMAND, *map(str, args)], cwd=cwd, env=environment(**env), input=data, capture_output=True, check=False
    )
    result = subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in result.stderr, result.stderr
    assert "Warning" not in result.stderr, result.stderr
    return result


def sentence(result: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line that a command which failed has said, on standard error."""
    assert result.returncode == code, result
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("lbnet: ")
    return lines[0].removeprefix("lbnet: ")


def until(condition: Callable[[], object], problem: Callable[[], str], deadline_s: float = DEADLINE_S) -> None:
    """Poll until ``condition`` holds."""
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline, problem()
        time.sleep(0.01)


@dataclass
class Running:
    """A command that runs."""

    process: subprocess.Popen[bytes]
    errors: Path
    lines: list[str]

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        assert line, f"it ended: {self.said()}"
        self.lines.append(line.rstrip("\n"))
        return self.lines[-1]

    def said(self) -> str:
        """What it has written to standard error."""
        return self.errors.read_text()

    def family(self) -> list[psutil.Process]:
        """It and all that it started."""
        me = psutil.Process(self.process.pid)
        return [me, *me.children(recursive=True)]

    def ends(self) -> int:
        """Wait for it, and for all processes that it had when this was called. Returns its exit code."""
        return ended(self, self.family())


def ended(running: Running, family: list[psutil.Process]) -> int:
    """Wait until ``running`` and the rest of its ``family`` are gone. Returns the exit code."""
    begun = time.monotonic()
    until(lambda: running.process.poll() is not None, lambda: f"it does not end: {running.said()}")
    until(lambda: not any(map(alive, family)), lambda: f"left behind: {[each for each in family if alive(each)]}")
    print(f"{' '.join(map(str, running.process.args[2:]))} was gone after {time.monotonic() - begun:.2f} s")  # type: ignore[index, union-attr]
    assert "Traceback" not in running.said(), running.said()
    code = running.process.returncode
    assert isinstance(code, int)
    return code


def alive(process: psutil.Process) -> bool:
    """Whether it runs, and is not only waiting to be buried."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def start(*args: object, folder: Path, stdin: int | None = subprocess.DEVNULL, **env: str) -> Iterator[Running]:
    """Run a command beside the test. After it, everything that it started is ended."""
    errors = folder / f"errors-{time.monotonic_ns()}"
    with errors.open("wb") as file:
        process = subprocess.Popen(
            [*COMMAND, *map(str, args)],
            cwd=folder,
            env=environment(**env),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=file,
        )
    running = Running(process, errors, [])
    try:
        yield running
    finally:
        if process.poll() is None:
            family = running.family()
            process.send_signal(signal.SIGTERM)
            try:
                ended(running, family)
            finally:
                for each in filter(alive, family):
                    each.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


@dataclass(frozen=True)
class Cluster:
    """A controller and its workers."""

    address: str
    controller: Running
    workers: tuple[Running, ...]


def address_of(controller: Running) -> str:
    """The address that a controller has printed, in the line that starts a worker."""
    controller.line()
    words = controller.line().split()
    return words[words.index("--connect") + 1]


@contextmanager
def cluster(folder: Path, *workers: tuple[str, ...], **env: str) -> Iterator[Cluster]:
    """A controller, and workers with these arguments, and in this environment, all by the command line."""
    with start("controller", "--port", 0, folder=folder) as controller:
        address = address_of(controller)
        started: list[Running] = []

        def add(rest: tuple[tuple[str, ...], ...]) -> Iterator[Cluster]:
            if not rest:
                for worker in started:
                    worker.line()
                yield Cluster(address, controller, tuple(started))
                return
            with start("worker", "--connect", address, *rest[0], folder=folder, **env) as worker:
                started.append(worker)
                yield from add(rest[1:])

        yield from add(workers)


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
