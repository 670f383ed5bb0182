"""The slot process: ``python -m lbnet.pool.child SOCKET_FD CLAIMS_FD TOKEN``. It runs the user's functions.

One thread takes messages and runs tasks; one sends what waits while a long task runs; one ends the
process when the worker is gone, whatever the others do. It must not know of the network.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import select
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from lbnet import limits, work
from lbnet.pool import wire
from lbnet.pool.claims import Claims
from lbnet.pool.environment import adopt_path
from lbnet.pool.helper import Helper
from lbnet.pool.outbox import Outbox
from lbnet.pool.runner import Runner
from lbnet.pool.streams import Streams
from lbnet.protocol.framing import FrameReader, frame

_RECEIVE_BYTES = 1 << 18
_PR_SET_PDEATHSIG = 1


def serve(link: socket.socket, claims: Claims, token: bytes) -> None:
    """Take messages until the worker goes: then the process ends. Never returns."""

    def send(data: bytes) -> None:
        try:
            link.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            _leave()
        except OSError as error:
            _leave(f"a task has closed the pipe of its slot: {error}")

    where = f"host {socket.gethostname()}, pid {os.getpid()}"
    outbox = Outbox(send, time.perf_counter, where)
    helper = Helper(outbox, claims, time.perf_counter)
    runner = Runner(outbox, claims, helper, where)
    runner.flush_output = Streams(token, runner.running).flush
    helper.start(runner.spawner)
    work.install_context(claims.flag(), runner.spawner.spawn)
    os.register_at_fork(after_in_child=lambda: _no_slot(link, runner))
    send(frame(wire.CODEC.encode(wire.Ready(os.getpid()))))
    frames = FrameReader()
    while True:
        message = _receive(link, frames)
        if isinstance(message, wire.Run):
            runner.run(message)
        elif isinstance(message, wire.Teach):
            runner.teach(message)
        elif isinstance(message, wire.Forget):
            runner.forget(message.job)


def _receive(link: socket.socket, frames: FrameReader) -> Any:
    while True:
        body = frames.next()
        if body is not None:
            return wire.CODEC.decode(body)
        try:
            data = link.recv(_RECEIVE_BYTES)
        except ConnectionResetError:
            data = b""
        except OSError as error:
            _leave(f"a task has closed the pipe of its slot: {error}")
        if not data:
            _leave()
        frames.feed(data)


def _leave(complaint: str = "") -> NoReturn:
    """End at once: nobody is left to take results, and a running task must not go on without its worker."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.write(f"lbnet: {complaint}\n" if complaint else "")
        sys.stderr.flush()
    os._exit(1 if complaint else 0)


def _watch(link: socket.socket) -> None:
    """Wait until the worker's end of the pipe is closed, without reading what came before."""
    poll = select.poll()
    poll.register(link, 0)
    while not poll.poll(None if sys.platform == "linux" else 1000):
        pass  # other systems may not report a hang-up that nobody asked for: look again
    os._exit(0)


def _ignore(signum: int, frame: FrameType | None) -> None:
    """Ctrl-C and service managers signal whole groups of processes: the worker decides when a slot ends."""


def _leave_task(claims: Claims) -> None:
    """At SIGTERM. If the worker means it, the task may still leave its files in order: its ``finally`` blocks run."""
    if claims.ending:
        raise SystemExit(128 + signal.SIGTERM)


def _end_as_told() -> NoReturn:
    """The worker has ended this slot by SIGTERM: let it look like that."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
    os._exit(1)


def _no_slot(link: socket.socket, runner: Runner) -> None:
    """What a task forks is no slot: it must not use the pipe, and :mod:`multiprocessing` ends it by SIGTERM."""
    link.close()
    runner.disown()
    work.remove_context()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end_with_worker() -> None:
    """Let the system end this process when its worker dies: a task that never lets another thread run, such as one
    endless call into C, cannot hinder it as it hinders :func:`_watch`.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _spare_worker() -> None:
    """When memory runs out, the system shall end slots before their worker."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, ValueError):
            file = Path("/proc/self/oom_score_adj")
            file.write_text(str(min(int(file.read_text()) + limits.SLOT_OOM_SCORE, 1000)))


def _settle_in() -> None:
    """Make the process what user code expects of an interpreter."""
    signal.signal(signal.SIGINT, _ignore)
    signal.signal(signal.SIGTERM, _ignore)
    with contextlib.suppress(Exception):
        faulthandler.enable()  # a segmentation fault says where, in the worker's log
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)  # a slot is ended without notice: prints must not be lost
    _end_with_worker()
    _spare_worker()
    adopt_path()
    with contextlib.suppress(OSError):
        sys.path.append(str(Path.cwd()))  # behind all others: the user's modules are often there


def main() -> None:
    """Run as a slot process, on the inherited descriptors that the command line names."""
    link_fd, claims_fd, token = int(sys.argv[1]), int(sys.argv[2]), bytes.fromhex(sys.argv[3])
    sys.argv = ["lbnet-slot"]
    _settle_in()
    link = socket.socket(fileno=link_fd)
    link.set_inheritable(False)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.SLOT_SOCKET_BYTES)
    claims = Claims(claims_fd)
    claims.close_file()
    signal.signal(signal.SIGTERM, lambda *_: _leave_task(claims))
    threading.Thread(target=_watch, args=(link,), name="lbnet-watch", daemon=True).start()
    try:
        serve(link, claims, token)
    finally:
        if claims.ending:
            _end_as_told()


if __name__ == "__main__":
    main()
