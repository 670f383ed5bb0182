"""Looks at everything that a run leaves, while it goes on and at its end, and raises at the first violated rule."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.chaos.checker import Checker, Repeats, ViolationError
from bench.chaos.cluster import LBNET, ROOT, Cluster, Member
from bench.chaos.history import Reader
from bench.chaos.processes import environment, lives

LEAVE_LIMIT_S = 5.0
"""Who is told to end is gone after this: twice what lbnet promises, for a machine that is busy."""

ORPHAN_LIMIT_S = 5.0
"""Slots of a worker that has died are gone after this."""

STATUS_LIMIT_S = 30.0
"""What ``lbnet status`` may take."""

_TRACE = "Traceback (most recent call last)"
_SHOWN = 3_000


@dataclass
class Errors:
    """Reads what a role has written to standard error since the last time."""

    path: Path
    offset: int = 0

    def new(self) -> str:
        """It; empty if nothing."""
        if not self.path.exists() or os.path.getsize(self.path) == self.offset:  # noqa: PTH202 - cheap, and often
            return ""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read()
        self.offset += len(data)
        return data.decode(errors="replace")


@dataclass
class Watch:
    """The judge of a run.

    Args:
        cluster: what is watched.
    """

    cluster: Cluster
    checker: Checker = field(default_factory=Checker)
    own_ends: Counter[str] = field(default_factory=Counter)
    """Processes that have ended by themselves when they were allowed to, by what they are."""
    warnings: int = 0
    statuses: int = 0
    leave_max_s: float = 0.0
    _readers: dict[Path, Reader] = field(default_factory=dict)
    _errors: dict[Path, Errors] = field(default_factory=dict)
    _asked: subprocess.Popen[str] | None = None

    def look(self) -> None:
        """At histories, at what processes have said, and at who is there.

        Raises:
            ViolationError: a rule was violated.
        """
        # Who has ended is looked at first: what it wrote before is then read after.
        ended = [member for member in self.cluster.members if member.up and not member.role.alive]
        self.read_histories()
        self._read_errors()
        for member in ended:
            self._ended(member)
        self._check_leaving()
        self._check_orphans()

    def read_histories(self) -> None:
        """Take what clients have written."""
        for client, member in enumerate(self.cluster.clients):
            for life in range(member.role.lives):
                path = self.cluster.history(client, life)
                reader = self._readers.setdefault(path, Reader(path))
                for entry in reader.entries():
                    self.checker.take(entry)

    def _read_errors(self) -> None:
        for member in self.cluster.members:
            path = member.role.errors
            text = self._errors.setdefault(path, Errors(path)).new()
            if _TRACE in text:
                raise ViolationError(f"traceback: {member.role.name} has written\n{text[-_SHOWN:]}")
            self.warnings += text.count("lbnet WARNING")

    def _ended(self, member: Member) -> None:
        """A process is gone to which nothing was done that ends it."""
        role = member.role
        if member in self.cluster.workers and time.monotonic() < member.excused_s:
            self.own_ends[role.name.rstrip("0123456789")] += 1
            self.cluster.restart(member)
            return
        assert role.process is not None
        raise ViolationError(
            f"ended by itself: {role.name}, with code {role.process.returncode}; its last words: "
            f"{self.cluster.told(member)}"
        )

    def _check_leaving(self) -> None:
        now = time.monotonic()
        for member in self.cluster.members:
            if member.leaving_s is None or member in self.cluster.clients:
                continue
            took_s = now - member.leaving_s
            if member.role.alive:
                # Who was stopped when it was told to end cannot be in time.
                if took_s > LEAVE_LIMIT_S and not member.role.stopped:
                    raise ViolationError(f"hangs: {member.role.name} was told to end {took_s:.1f} s ago, and has not")
                continue
            member.leaving_s = None
            assert member.role.process is not None
            code = member.role.process.returncode
            if code != 0 and now > member.excused_s and not _was_starting(member):
                raise ViolationError(
                    f"bad end: {member.role.name} was told to end, and did so with code {code}; its last words: "
                    f"{self.cluster.told(member)}"
                )
            self.leave_max_s = max(self.leave_max_s, took_s)

    def _check_orphans(self) -> None:
        now = time.monotonic()
        late = [(since, family) for since, family in self.cluster.dead if now - since > ORPHAN_LIMIT_S]
        for _, family in late:
            left = [process.pid for process in family if lives(process)]
            if left:
                raise ViolationError(f"left behind: processes {left}, {ORPHAN_LIMIT_S:g} s after their worker has gone")
        self.cluster.dead = [(since, family) for since, family in self.cluster.dead if now - since <= ORPHAN_LIMIT_S]

    # --- the controller's own books -------------------------------------------------------------------

    def ask(self) -> None:
        """Begin to ask for the status, or take the answer to what was asked before; a dead controller gives none."""
        if self._asked is None:
            self._asked = subprocess.Popen(
                self._status_command(),
                env=environment(ROOT),
                stdout=(self.cluster.folder / "status.json").open("wb"),
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                text=True,
            )
            return
        if self._asked.poll() is None:
            return
        if self._asked.returncode == 0:
            status = json.loads((self.cluster.folder / "status.json").read_text())
            self.checker.check_status(status, settled=False)
            self.statuses += 1
        self._asked = None

    def status(self) -> dict[str, Any]:
        """The status now.

        Raises:
            ViolationError: there is none.
        """
        try:
            done = subprocess.run(
                self._status_command(),
                env=environment(ROOT),
                capture_output=True,
                text=True,
                timeout=STATUS_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ViolationError(f"no status: lbnet status has not answered within {STATUS_LIMIT_S:g} s") from None
        if done.returncode:
            raise ViolationError(f"no status: lbnet status says {done.stderr.strip()}")
        facts: dict[str, Any] = json.loads(done.stdout)
        return facts

    def settle(self) -> tuple[dict[str, Any], Repeats]:
        """After the end of all clients: everything that is known must agree. Returns the status and what was repeated.

        Raises:
            ViolationError: it does not.
        """
        self.look()
        self.checker.finish()
        status = self.status()
        self.checker.check_status(status, settled=True)
        self.statuses += 1
        log = self.cluster.log
        return status, self.checker.check_executions(log.read_text().splitlines() if log.exists() else ())

    def close(self) -> None:
        """End what still asks."""
        if self._asked is not None:
            self._asked.kill()
            self._asked.wait()

    def _status_command(self) -> list[str]:
        command = [*LBNET, "status", "--connect", self.cluster.address, "--json"]
        return self.cluster.network.inside("controller", command)


def _was_starting(member: Member) -> bool:
    """Whether it was told to end before it could listen to that."""
    code = member.role.process.returncode if member.role.process is not None else 0
    return code in {-15, 143}
