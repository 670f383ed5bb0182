"""The processes of an embedded cluster: ``python -m lbnet.net.serve '{"role": ...}'``.

The process that started them holds the other end of their standard input; when that ends, they end.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
from base64 import b64decode
from pathlib import Path

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


def main() -> int:
    """Run the role that the only argument describes. Returns the exit code."""
    adopt_path()
    config = json.loads(sys.argv[1])
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
