"""A process for each adapter, so that peers share neither threads, nor memory, nor an environment.

It must not know what is measured. The parent keeps a connection to ``python -m bench.seats``, which holds one
adapter; a run that is over its limit is ended with every process that it started.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import traceback
import uuid
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import IO, Any

import psutil

from bench.harness import OverLimitError, PeerFailedError, Sample, run_once
from bench.peers.base import Adapter
from bench.workload import Workload

ROOT = Path(__file__).resolve().parent.parent
START_LIMIT_S = 60.0
"""For starting and warming up a peer."""

AFTER_LIMIT_S = 20.0
"""For stopping it, and for its results to come here, beside the limit of the run itself."""

STOP_LIMIT_S = 5.0
MARK = "BENCH_SEAT"
"""Names the seat in the environment of all that runs for it: some peers start processes that nobody is a parent of."""

OUTPUT_CHARS_SHOWN = 600


@dataclass
class ProcessSeat:
    """An adapter in a process of its own, in the environment of ``python``; or the ``reason`` why there is none."""

    adapter: Adapter
    python: str = sys.executable
    reason: str = ""
    after_limit_s: float = AFTER_LIMIT_S
    _mark: str = field(default_factory=lambda: uuid.uuid4().hex, init=False, repr=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _link: Connection | None = field(default=None, init=False, repr=False)
    _output: IO[bytes] | None = field(default=None, init=False, repr=False)

    def unavailable(self) -> str:
        """What the adapter says there."""
        if self.reason:
            return self.reason
        try:
            return str(self._ask(("unavailable", None), [START_LIMIT_S]))
        except (OverLimitError, PeerFailedError) as error:
            return str(error)

    def measure(self, workload: Workload, limit_s: float) -> Sample:
        """Run there."""
        sample = self._ask(("measure", workload), [START_LIMIT_S, limit_s + self.after_limit_s])
        assert isinstance(sample, Sample)
        if sample.seconds > limit_s:
            raise OverLimitError(f"took {sample.seconds:.1f} s, may take {limit_s:g} s")
        return sample

    def close(self) -> None:
        """End the process and all that it started."""
        process, self._process = self._process, None
        if self._link is not None:
            self._link.close()
            self._link = None
        if process is not None:
            # Ours has nothing left to do when its link is closed; what it started may need to be ended.
            family = _family(process.pid, self._mark)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_LIMIT_S)
            _end(family)
            process.wait()
        if self._output is not None:
            self._output.close()
            self._output = None

    def _ask(self, question: tuple[str, Any], limits_s: list[float]) -> Any:
        """The last of as many answers as there are limits; an error is always the last."""
        link = self._link or self._open()
        good, answer = True, None
        try:
            link.send(question)
            for limit_s in limits_s:
                if not link.poll(limit_s):
                    raise OverLimitError(f"no answer within {limit_s:g} s")
                good, answer = link.recv()
                if not good:
                    break
        except (EOFError, OSError) as error:
            said = self._said()
            self._kill()
            raise PeerFailedError(f"its process ended{': ' + said if said else ''}") from error
        except BaseException:
            self._kill()
            raise
        if not good:
            raise PeerFailedError(str(answer))
        return answer

    def _open(self) -> Connection:
        here, there = Pipe()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process that writes it
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        programs = os.pathsep.join([str(Path(self.python).parent), os.environ.get("PATH", "")])
        self._process = subprocess.Popen(
            [self.python, "-m", "bench.seats", str(there.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            pass_fds=[there.fileno()],
            cwd=ROOT,
            # As if its environment were activated: some start programs that are installed beside the interpreter.
            env={**os.environ, "PYTHONPATH": path, "PATH": programs, MARK: self._mark},
            # Ctrl-C goes to the parent alone, which then closes its seats in order.
            start_new_session=True,
        )
        there.close()
        self._link = here
        here.send(self.adapter)
        return here

    def _kill(self) -> None:
        if self._process is not None:
            _end(_family(self._process.pid, self._mark))
        self.close()

    def _said(self) -> str:
        if self._output is None:
            return ""
        self._output.seek(0)
        return self._output.read().decode(errors="replace").strip()[-OUTPUT_CHARS_SHOWN:]


def serve(link: Connection) -> None:
    """Hold one adapter, and answer until the link is closed."""
    with contextlib.suppress(EOFError, OSError):
        adapter: Adapter = link.recv()
        while True:
            question, workload = link.recv()
            answer: Any
            try:
                if question == "unavailable":
                    answer = adapter.unavailable()
                else:
                    answer = run_once(adapter, workload, begin=lambda: link.send((True, "started")))
            except Exception as error:  # noqa: BLE001 - whatever a peer raises belongs into its row
                traceback.print_exc()
                link.send((False, f"{type(error).__name__}: {error}"))
            else:
                link.send((True, answer))


def _family(pid: int, mark: str) -> list[psutil.Process]:
    """A process, all below it, and whoever carries the mark but has lost its parent."""
    found: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        found += [process, *process.children(recursive=True)]
    for process in psutil.process_iter():
        # Of another user, or gone meanwhile.
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and process not in found:
                found.append(process)
    return found


def _end(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, STOP_LIMIT_S)


def main() -> None:
    """Serve the connection whose descriptor is the only argument."""
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    serve(Connection(descriptor))


if __name__ == "__main__":
    main()
