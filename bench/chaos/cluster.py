"""The cluster under test: its processes, and what is done to them. It must not judge what comes of it."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.chaos.disk import SmallDisk
from bench.chaos.faults import NETWORK, SILENCING, Fault, FaultKind, Victim
from bench.chaos.network import Network, free_port
from bench.chaos.plan import Plan
from bench.chaos.processes import Role, environment, lives, signalled

ROOT = Path(__file__).resolve().parents[2]
LBNET = (sys.executable, "-m", "lbnet.cli.main")

START_LIMIT_S = 30.0
"""What a controller may take to listen, on a machine that is busy."""

EXCUSE_S = 15.0
"""So long after it was taken for dead, or after its controller was, a worker may end by itself."""

_POLL_S = 0.02


@dataclass(eq=False)
class Member:
    """A role, and what is expected of it.

    Attributes:
        role: its processes.
        node: where it lives in the network.
        up: it should run: it was started, and nothing was done that ends it.
        leaving_s: it was told to end at this time.
        excused_s: until then it may end by itself.
    """

    role: Role
    node: str
    up: bool = False
    leaving_s: float | None = None
    excused_s: float = 0.0


@dataclass
class Cluster:
    """A controller, workers and clients.

    Args:
        plan: what they are started with.
        folder: for all files of the run.
        network: where they live.
        disk: where the controller keeps its state; in ``folder`` if None.
        journal: whether the controller keeps one.
    """

    plan: Plan
    folder: Path
    network: Network
    disk: SmallDisk | None
    journal: bool
    controller: Member = field(init=False)
    workers: list[Member] = field(init=False)
    clients: list[Member] = field(init=False)
    dead: list[tuple[float, list[psutil.Process]]] = field(default_factory=list)
    """Processes that must be gone soon after that time, because the one that they belong to has died."""

    def __post_init__(self) -> None:
        self.port = free_port()
        self.controller = self._member("controller", lambda _: self._controller_command())
        self.workers = [self._worker(index) for index in range(len(self.plan.slots))]
        self.clients = [self._client(index) for index in range(self.plan.setting.clients)]

    # --- commands ---------------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """Of the controller."""
        return f"{self.network.host('controller')}:{self.port}"

    @property
    def log(self) -> Path:
        """Where tasks write that they were run."""
        return self.folder / "executions"

    def history(self, client: int, life: int) -> Path:
        """Where one life of a client writes what it got."""
        return self.folder / f"history-{client}-{life}.jsonl"

    @staticmethod
    def prefix(client: int, life: int) -> str:
        """What the names of the jobs of one life of a client begin with."""
        return f"c{client}.{life}:"

    @property
    def members(self) -> list[Member]:
        """All of them."""
        return [self.controller, *self.workers, *self.clients]

    def _controller_command(self) -> list[str]:
        plan = self.plan
        command = [*LBNET, "controller", "--host", self.network.host("controller"), "--port", str(self.port)]
        command += ["--strategy", plan.strategy, "--placement", plan.placement, *self._deadline()]
        where = self.folder / "state" if self.disk is None else self.disk.where
        command += ["--state-dir", str(where)] if self.journal else ["--no-journal"]
        return self.network.inside("controller", command)

    def _worker(self, index: int) -> Member:
        node = f"worker{index}"
        command = [*LBNET, "worker", "--connect", self.address, "--name", node]
        command += ["--slots", str(self.plan.slots[index]), *self._deadline()]
        return self._member(node, lambda _: self.network.inside(node, command))

    def _client(self, index: int) -> Member:
        node = f"client{index}"
        fixed = [sys.executable, "-m", "bench.chaos.client", "--connect", self.address, "--log", str(self.log)]
        fixed += ["--seed", str(self.plan.setting.seed), "--kinds", ",".join(self.plan.jobs)]

        def command(life: int) -> Sequence[str]:
            own = ["--history", str(self.history(index, life)), "--name", self.prefix(index, life)]
            earlier = [str(self.history(index, number)) for number in range(life)]
            return self.network.inside(node, [*fixed, *own, "--earlier", *earlier])

        return self._member(node, command)

    def _deadline(self) -> list[str]:
        return ["--deadline", str(self.plan.setting.deadline_s)]

    def _member(self, node: str, command: Callable[[int], Sequence[str]]) -> Member:
        return Member(Role(node, command, self.folder / f"{node}.err", environment(ROOT)), node)

    # --- life -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the controller, all workers but the guests, and the clients.

        Raises:
            TimeoutError: the controller does not listen.
        """
        self._begin(self.controller)
        end = time.monotonic() + START_LIMIT_S
        while "controller at" not in self.controller.role.errors.read_text(errors="replace"):
            if time.monotonic() > end or not self.controller.role.alive:
                raise TimeoutError(f"the controller does not listen: {self.controller.role.errors.read_text()}")
            time.sleep(_POLL_S)
        for member in [*self.workers[: self.plan.setting.workers], *self.clients]:
            self._begin(member)

    def _begin(self, member: Member) -> None:
        member.role.start()
        member.up, member.leaving_s = True, None

    def restart(self, member: Member) -> None:
        """Let a process that has ended by itself live again."""
        self._begin(member)

    def leave(self, member: Member) -> bool:
        """Tell it to end. Returns whether it was there."""
        now = time.monotonic()
        family = member.role.family()
        if not member.role.signal(signal.SIGTERM):
            return False
        member.up, member.leaving_s = False, now
        self.dead.append((now, family[1:]))
        return True

    def close(self) -> None:
        """Leave no process behind, whatever state it is in."""
        everybody = [process for member in self.members for process in member.role.family()]
        everybody += [process for _, family in self.dead for process in family]
        for process in everybody:
            signalled(process, signal.SIGKILL)
        for member in self.members:
            if member.role.process is not None:
                member.role.wait(START_LIMIT_S)
        end = time.monotonic() + START_LIMIT_S
        while any(map(lives, everybody)) and time.monotonic() < end:
            time.sleep(_POLL_S)

    # --- faults -----------------------------------------------------------------------------------------

    def member(self, fault: Fault) -> Member:
        """Whom it hits."""
        match fault.victim:
            case Victim.CONTROLLER:
                return self.controller
            case Victim.CLIENT:
                return self.clients[fault.index]
        return self.workers[fault.index]

    def apply(self, fault: Fault) -> bool:
        """Do it. Returns whether it has hit anybody."""
        member = self.member(fault)
        self._excuse(fault, member)
        if fault.victim is Victim.SLOT:
            slots = member.role.slots()
            if not slots:
                return False
            slot = slots[int(len(slots) * fault.share)]
            return self._stop(member, [slot]) if fault.kind is FaultKind.STOP else signalled(slot, signal.SIGKILL)
        match fault.kind:
            case FaultKind.KILL:
                return self._kill(member)
            case FaultKind.TERM:
                return self.leave(member)
            case FaultKind.STOP | FaultKind.STOP_LONG:
                family = member.role.family()
                return self._stop(member, family if fault.family else family[:1])
            case FaultKind.JOIN:
                if member.role.alive:
                    return False
                self._begin(member)
            case FaultKind.DISK:
                assert self.disk is not None, "planned only where there is one"
                self.disk.fill()
            case _:
                assert fault.kind in NETWORK
                self.network.harm(member.node, fault.kind, fault.share)
        return True

    def undo(self, fault: Fault) -> bool:
        """Undo it. Returns False if it is too early, because somebody who was told to end has not ended yet."""
        member = self.member(fault)
        self._excuse(fault, member)
        match fault.kind:
            case FaultKind.KILL | FaultKind.TERM if fault.victim is not Victim.SLOT:
                if member.up:  # it was not there to be hit, and has been started since
                    return True
                if member.role.alive:
                    return False
                self._begin(member)
            case FaultKind.STOP | FaultKind.STOP_LONG:
                member.role.resume()
            case FaultKind.JOIN:
                self.leave(member)
            case FaultKind.DISK if self.disk is not None:
                self.disk.clear()
            case kind if kind in NETWORK:
                self.network.heal(member.node)
        return True

    def _kill(self, member: Member) -> bool:
        family = member.role.family()
        if not member.role.signal(signal.SIGKILL):
            return False
        member.up = False
        member.role.wait(START_LIMIT_S)
        self.dead.append((time.monotonic(), family[1:]))
        return True

    def _stop(self, member: Member, processes: Sequence[psutil.Process]) -> bool:
        return member.role.stop(processes)

    def _excuse(self, fault: Fault, member: Member) -> None:
        """Who may have been taken for dead, or has lost its controller, may give up."""
        until = time.monotonic() + EXCUSE_S
        if fault.kind in SILENCING:
            member.excused_s = until
        if fault.victim is Victim.CONTROLLER:
            for each in self.workers:
                each.excused_s = until

    def told(self, member: Member) -> str:
        """The end of what it has written."""
        with contextlib.suppress(OSError):
            return member.role.errors.read_text(errors="replace")[-2_000:].strip()
        return ""
