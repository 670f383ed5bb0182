"""One run: faults by the plan, a look at everything now and then, healing, and the last judgement."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from bench.chaos.checker import Repeats, ViolationError
from bench.chaos.cluster import Cluster, Member
from bench.chaos.faults import Fault, FaultKind, Victim
from bench.chaos.watch import LEAVE_LIMIT_S, Watch

LOOK_S = 0.5
"""Between two looks at what was written."""

ASK_S = 1.5
"""Between two questions for the status."""

_TICK_S = 0.01
_LATER_S = 0.05


@dataclass
class Tally:
    """What happened.

    Attributes:
        faults: that hit, by what and whom.
        missed: faults that found nobody.
        seconds: from the first process to the last judgement.
        settle_s: from the end of all faults to the end of the last client.
        violation: the first violated rule; empty if there was none.
        repeats: executions, and how many of them were repeated; None if nobody came to count them.
        status: the controller's last words about its jobs.
    """

    faults: Counter[str] = field(default_factory=Counter)
    missed: int = 0
    seconds: float = 0.0
    settle_s: float = 0.0
    violation: str = ""
    repeats: Repeats | None = None
    status: dict[str, Any] = field(default_factory=dict)


@dataclass
class Run:
    """Executes a plan.

    Args:
        cluster: not started yet.
        watch: of that cluster.
        settle_limit_s: after healing, everything must be settled within this.
        on_event: told what happens, for people.
    """

    cluster: Cluster
    watch: Watch
    settle_limit_s: float
    on_event: Callable[[str], None]
    tally: Tally = field(default_factory=Tally)
    _undo: list[tuple[float, int, Fault]] = field(default_factory=list)
    _order: Iterator[int] = field(default_factory=itertools.count)
    _began_s: float = 0.0
    _next_look_s: float = 0.0
    _next_ask_s: float = 0.0

    def run(self) -> Tally:
        """All of it. Whatever happens, no process is left."""
        begun = time.monotonic()
        try:
            self.cluster.start()
            self._began_s = time.monotonic()
            self._hurt()
            self._heal()
            self.tally.status, self.tally.repeats = self.watch.settle()
            self._leave()
        except ViolationError as error:
            self.tally.violation = str(error)
            with contextlib.suppress(ViolationError, OSError):
                self.tally.status = self.watch.status()
        except TimeoutError as error:
            self.tally.violation = f"no start: {error}"
        finally:
            self.watch.close()
            self.cluster.close()
        self.tally.seconds = time.monotonic() - begun
        return self.tally

    def _hurt(self) -> None:
        faults = list(self.cluster.plan.faults)
        faults.reverse()
        end_s = self.cluster.plan.setting.seconds
        while (now_s := time.monotonic() - self._began_s) < end_s:
            while faults and faults[-1].at_s <= now_s:
                self._apply(faults.pop())
            self._undo_due(now_s)
            self._watch()
            time.sleep(_TICK_S)

    def _apply(self, fault: Fault) -> None:
        if not self.cluster.apply(fault):
            self.tally.missed += 1
            self.on_event(f"{fault} - missed")
            return
        self.on_event(str(fault))
        self.tally.faults[fault.name] += 1
        if fault.victim is Victim.CLIENT and fault.kind is FaultKind.KILL:
            member = self.cluster.member(fault)
            self.watch.checker.abandon(self.cluster.prefix(fault.index, member.role.lives - 1))
        due_s = time.monotonic() - self._began_s + fault.for_s
        heapq.heappush(self._undo, (due_s, next(self._order), fault))

    def _undo_due(self, now_s: float) -> None:
        while self._undo and self._undo[0][0] <= now_s:
            _, order, fault = heapq.heappop(self._undo)
            if not self.cluster.undo(fault):
                heapq.heappush(self._undo, (now_s + _LATER_S, order, fault))

    def _watch(self) -> None:
        now = time.monotonic()
        if now >= self._next_look_s:
            self.watch.look()
            self._next_look_s = now + LOOK_S
        if now >= self._next_ask_s:
            self.watch.ask()
            self._next_ask_s = now + ASK_S

    def _heal(self) -> None:
        """Undo everything, let clients finish their jobs, and wait for that."""
        healed = time.monotonic()
        self.on_event("healing")
        self._undo = [(0.0, order, fault) for _, order, fault in sorted(self._undo)]
        while self._undo:
            self._undo_due(time.monotonic() - self._began_s)
            self._watch()
            time.sleep(_TICK_S)
        end = healed + self.settle_limit_s
        told: list[Member] = []
        while len(told) < len(self.cluster.clients) or any(member.role.alive for member in told):
            for client, member in enumerate(self.cluster.clients):
                # Its history is there when it can listen to signals.
                if member not in told and self.cluster.history(client, member.role.lives - 1).exists():
                    self.cluster.leave(member)
                    told.append(member)
            self._watch()
            if time.monotonic() > end:
                raise ViolationError(
                    f"not settled within {self.settle_limit_s:g} s after healing: "
                    + ("; ".join(self.watch.checker.unfinished()) or "a client does not end")
                )
            time.sleep(_TICK_S)
        self.watch.look()
        for member in told:
            assert member.role.process is not None
            if member.role.process.returncode != 0:
                code = member.role.process.returncode
                raise ViolationError(f"bad end: {member.role.name} ended with {code}: {self.cluster.told(member)}")
        self.tally.settle_s = time.monotonic() - healed
        self.on_event("settled")

    def _leave(self) -> None:
        """Workers first, then the controller; each within the limit, and nothing of them is left."""
        for group in ([member for member in self.cluster.workers if member.role.alive], [self.cluster.controller]):
            for member in group:
                self.cluster.leave(member)
            end = time.monotonic() + 2 * LEAVE_LIMIT_S  # look() is stricter
            while any(member.role.alive for member in group) and time.monotonic() < end:
                self.watch.look()
                time.sleep(_TICK_S)
            self.watch.look()
