"""What connects the processes: the loopback interface, or a network namespace for each with a link of its own.

All namespaces of a run have names that begin with the same few letters and the number of this process. No other is
touched, and all of them are removed at the end.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from typing import Protocol

from bench.chaos.faults import NETWORK, FaultKind
from lbnet.errors import UsageError

_SWITCH = "sw"
_NET = "10.213.0"
_LIMIT_S = 20.0


class Network(Protocol):
    """Where processes live."""

    kinds: frozenset[FaultKind]
    """Network faults that are possible."""

    def host(self, node: str) -> str:
        """The address of a node."""

    def inside(self, node: str, command: Sequence[str]) -> list[str]:
        """The command that runs ``command`` there."""

    def harm(self, node: str, kind: FaultKind, share: float) -> None:
        """Make its link bad; ``share`` says how bad."""

    def heal(self, node: str) -> None:
        """Make it good again."""

    def close(self) -> None:
        """Remove what was made."""


class Loopback:
    """All nodes on one interface, which has no faults."""

    kinds: frozenset[FaultKind] = frozenset()

    def host(self, node: str) -> str:  # noqa: ARG002 - as of all networks
        """The loopback address."""
        return "127.0.0.1"

    def inside(self, node: str, command: Sequence[str]) -> list[str]:  # noqa: ARG002
        """As it is."""
        return list(command)

    def harm(self, node: str, kind: FaultKind, share: float) -> None:
        """Never asked for: there are no kinds."""
        raise AssertionError(f"{kind} of {node} ({share}) needs namespaces")

    def heal(self, node: str) -> None:
        """Never harmed."""

    def close(self) -> None:
        """Nothing was made."""


class Namespaces:
    """A namespace for each node, joined by a bridge in one more.

    Args:
        nodes: their names.

    Raises:
        UsageError: this needs root, and ``ip`` and ``tc``.
    """

    def __init__(self, nodes: Sequence[str]) -> None:
        if os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("tc")):
            raise UsageError("they need root, and the commands ip and tc")
        self._prefix = f"lbc{os.getpid()}-"
        self._nodes = {node: number for number, node in enumerate(nodes, 1)}
        self._made: list[str] = []
        try:
            self._build()
            self.kinds = NETWORK if self._has_netem() else frozenset({FaultKind.CUT, FaultKind.SLOW})
        except BaseException:
            self.close()
            raise

    def host(self, node: str) -> str:
        """In a network that only these namespaces have."""
        return f"{_NET}.{self._nodes[node]}"

    def inside(self, node: str, command: Sequence[str]) -> list[str]:
        """In its namespace."""
        return ["ip", "netns", "exec", self._prefix + node, *command]

    def harm(self, node: str, kind: FaultKind, share: float) -> None:
        """Cut it silently, or put a queue before it, that is slow, late or loses packets."""
        match kind:
            case FaultKind.CUT:
                _run("ip", "-n", self._prefix + _SWITCH, "link", "set", self._port(node), "down")
            case FaultKind.SLOW:
                rate = int(1_000 * 64**share)  # kbit/s: from 1 to 64 Mbit/s
                self._queue(node, "tbf", "rate", f"{rate}kbit", "burst", "64kb", "latency", "500ms")
            case FaultKind.DELAY:
                late_ms = int(5 * 60**share)
                self._queue(node, "netem", "delay", f"{late_ms}ms", f"{late_ms // 2}ms")
            case FaultKind.LOSS:
                self._queue(node, "netem", "loss", f"{1 + 19 * share:.1f}%")
            case _:
                raise AssertionError(f"{kind} is no fault of a network")

    def heal(self, node: str) -> None:
        """Whatever was done to it."""
        _run("ip", "-n", self._prefix + _SWITCH, "link", "set", self._port(node), "up")
        with contextlib.suppress(OSError):  # most have no queue of ours
            _run("ip", "netns", "exec", self._prefix + _SWITCH, "tc", "qdisc", "del", "dev", self._port(node), "root")

    def close(self) -> None:
        """Remove the namespaces; links go with them."""
        while self._made:
            with contextlib.suppress(OSError):
                _run("ip", "netns", "del", self._made.pop())

    def _build(self) -> None:
        switch = self._add(_SWITCH)
        _run("ip", "-n", switch, "link", "add", "br0", "type", "bridge")
        _run("ip", "-n", switch, "link", "set", "br0", "up")
        for node in self._nodes:
            space = self._add(node)
            port = self._port(node)
            _run("ip", "-n", switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space)
            _run("ip", "-n", switch, "link", "set", port, "master", "br0", "up")
            _run("ip", "-n", space, "addr", "add", f"{self.host(node)}/24", "dev", "eth0")
            _run("ip", "-n", space, "link", "set", "eth0", "up")
            _run("ip", "-n", space, "link", "set", "lo", "up")

    def _add(self, name: str) -> str:
        space = self._prefix + name
        _run("ip", "netns", "add", space)
        self._made.append(space)
        return space

    def _port(self, node: str) -> str:
        return f"p{self._nodes[node]}"

    def _queue(self, node: str, *queue: str) -> None:
        # At the bridge's side: what the node is sent waits there.
        space = self._prefix + _SWITCH
        _run("ip", "netns", "exec", space, "tc", "qdisc", "replace", "dev", self._port(node), "root", *queue)

    def _has_netem(self) -> bool:
        """Not every kernel has it."""
        node = next(iter(self._nodes))
        try:
            self._queue(node, "netem", "delay", "1ms")
        except OSError:
            return False
        self.heal(node)
        return True


def namespaces(nodes: Sequence[str]) -> tuple[Network, str]:
    """Namespaces, or the loopback interface and why there are none."""
    try:
        return Namespaces(nodes), ""
    except (UsageError, OSError) as error:
        return Loopback(), str(error)


def _run(*command: str) -> None:
    """Raises OSError with what it has said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


def free_port() -> int:
    """One that the system has just given out and taken back."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
