"""The processes of an embedded cluster: ``python -m lbnet.net.serve '{"report": FD, "roles": [...]}'``.

One process loads what all of them need, and is copied for each before it has any thread or event loop. Whoever started
it holds the other end of their standard input; when that ends, they end.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from base64 import b64decode
from pathlib import Path
from typing import Any, NoReturn

from lbnet import limits
from lbnet.errors import LbnetError
from lbnet.net.member import Member
from lbnet.net.run import run_controller, run_worker
from lbnet.pool.environment import adopt_path
from lbnet.security import private, token
from lbnet.security.authority import utc_now
from lbnet.security.place import Place
from lbnet.strategies.base import Strategy
from lbnet.types import Address

_Config = dict[str, Any]

PATIENCE_S = 2 * limits.STOP_TIMEOUT_S
"""For the workers to end by themselves, and then for the controller."""

NAMES = {"controller": "lbnet-control", "worker": "lbnet-worker"}
"""What ``top`` calls them: 14 letters at most. Their command lines are the same."""


def main() -> int:
    """Start what the only argument describes, and stay until all of it has ended. Returns the exit code.

    ``report`` is a descriptor that is told the process ids, and the exit code of the first one when it has ended.
    """
    adopt_path()
    config = json.loads(sys.argv[1])
    report, roles = config["report"], config["roles"]
    # What takes long at a start is to load all this, which is done. No loop and no thread was ever started here.
    assert threading.active_count() == 1, "only a process with one thread is copied"
    children: list[int] = []
    for role in roles:
        pid = os.fork()
        if pid == 0:
            os.close(report)
            _become(role)
        children.append(pid)
        if "fd" in role:
            os.close(role["fd"])  # if the controller dies, its port must be closed
    _tell(report, json.dumps(children))
    _watch(children, report)
    return 0


def _become(role: _Config) -> NoReturn:
    """This copy is one of the cluster's processes, in a session of its own."""
    code = 1
    try:
        os.setsid()
        with contextlib.suppress(OSError):  # where the system shows such names
            Path("/proc/self/comm").write_text(NAMES[role["role"]])
        code = run(role)
    except BaseException:  # noqa: BLE001 - the copy must not go on as its original does
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _tell(report: int, line: str) -> None:
    with contextlib.suppress(OSError):  # whoever asked is gone, as its pipe to us will be
        os.write(report, f"{line}\n".encode())


def _watch(children: list[int], report: int) -> None:
    """Wait for all of them; once standard input has ended, not for long."""
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    waited, left, end_at = [0, woken], list(children), math.inf
    while True:
        for pid in list(left):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                left.remove(pid)
                if pid == children[0]:
                    _tell(report, str(os.waitstatus_to_exitcode(status)))
        if not left:
            return
        now = time.monotonic()
        if now >= end_at:
            # The first one, a controller, hears how the others end, and may have something to write.
            late = [pid for pid in left if pid != children[0]] or left
            for pid in late:
                os.kill(pid, signal.SIGKILL)
            end_at = now + PATIENCE_S if late != left else math.inf
        ready, _, _ = select.select(waited, [], [], None if end_at == math.inf else end_at - now)
        if woken in ready:
            os.read(woken, 4096)
        if 0 in ready and not os.read(0, 4096):
            waited.remove(0)
            end_at = now + PATIENCE_S


def run(config: _Config) -> int:
    """Run one role. Returns the exit code."""
    try:
        given = _given(config["given"])
        if config["role"] == "controller":
            run_controller(
                host="",
                port=0,
                placement=config["placement"],
                strategy=config["strategy"],
                on_ready=lambda address: None,  # noqa: ARG005
                listening=socket.socket(fileno=config["fd"]),
                stop_on_stdin_eof=True,
                no_workers_timeout_s=config["no_workers_timeout_s"],
                trace=Path(config["trace"]) if config.get("trace") else None,
                given=given,
                place=Place(Path(config["secrets"]), utc_now()) if config.get("secrets") else None,
            )
        else:
            run_worker(
                member=_member(config.get("token", "")),
                connect=Address(config["host"], config["port"]),
                slots=config["slots"],
                name=config["name"],
                given=given,
                memory_limit=config.get("memory_limit", ""),
                on_ready=lambda name, peer: None,  # noqa: ARG005
                stop_on_stdin_eof=True,
            )
    except LbnetError as error:
        if _is_abandoned():
            return 0
        print(f"lbnet: {error}", file=sys.stderr)
        return 1
    return 0


def _member(path: str) -> Member | None:
    """Who this worker is, by the token in a file; without one, links are not protected."""
    return Member("worker", token.parse(private.read(Path(path)).decode())) if path else None


def _given(text: str) -> Strategy | None:
    """A strategy that was passed as an object: by the program that started this one, which has the same rights."""
    if not text:
        return None
    from lbnet import pickling  # only here: a controller unpickles nothing that comes over a network

    strategy: Strategy = pickling.load_function(b64decode(text))()
    return strategy


def _is_abandoned() -> bool:
    """Whether the cluster is being closed: its parts end in any order, and then a lost link is no news."""
    readable, _, _ = select.select([sys.stdin], [], [], limits.STOP_TIMEOUT_S)
    return bool(readable) and not os.read(sys.stdin.fileno(), 1)


if __name__ == "__main__":
    sys.exit(main())
