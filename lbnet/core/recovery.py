"""When the living are asked who holds what: a worker was lost, nothing moves any more, or the controller began again.

It must not know why a worker was lost.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from lbnet import limits
from lbnet.core.inventory import InventoryRound
from lbnet.core.jobs import Jobs
from lbnet.core.stall import StallWatch
from lbnet.protocol import messages
from lbnet.types import Batch, PeerId


class Recovery:
    """Rounds of inventory, one at a time: a new one replaces the one before.

    Args:
        jobs: what nobody holds goes back to their backlogs.
        send: takes a message for a peer.
    """

    def __init__(self, jobs: Jobs, send: Callable[[PeerId, messages.Message], None]) -> None:
        self._jobs = jobs
        self._send = send
        self._round: InventoryRound | None = None
        self._rounds = 0
        self._stall = StallWatch()
        self._rejoined_at: float | None = None
        self._expected: set[PeerId] | None = None

    @property
    def asking(self) -> bool:
        """Whether a round is under way."""
        return self._round is not None

    @property
    def at(self) -> float | None:
        """When :meth:`look` has something to do."""
        rejoined_at, stall_at = self._rejoined_at, self._stall.at
        if rejoined_at is None or (stall_at is not None and stall_at < rejoined_at):
            return stall_at
        return rejoined_at

    def begin_again(self, now: float, workers: Collection[PeerId] | None) -> None:
        """The controller was started again: workers get some time to come back before anything is missed.

        Args:
            now: the time.
            workers: who was there, and for whom to wait; None if nobody knows: then all of the time is waited.
        """
        self._expected = None if workers is None else set(workers)
        self._rejoined_at = now if self._expected == set() else now + limits.REJOIN_GRACE_S

    def joined(self, worker: PeerId, now: float) -> None:
        """A worker is there. After the last one that is expected nobody is waited for any more."""
        if self._rejoined_at is not None and self._expected:
            self._expected.discard(worker)
            if not self._expected:
                self._rejoined_at = now

    def ask(self, workers: Collection[PeerId], cause: str) -> None:
        """Begin a round with all workers; ``cause`` is for people."""
        if not self._jobs.running or self._rejoined_at is not None:
            return
        self._rounds += 1
        self._round = InventoryRound(self._rounds, set(workers), cause)
        for peer in workers:
            self._send(peer, messages.AskInventory(self._rounds))

    def nobody_left(self) -> None:
        """The last worker is gone: what it held is missed when another one is there to get it."""
        self._round = None

    def answered(self, worker: PeerId, message: messages.Inventory) -> None:
        """A worker listed what it holds."""
        if self._round is not None and self._round.number == message.round:
            self._round.answered(worker, message.spans)

    def placed(self, batches: Iterable[Batch]) -> None:
        """Work left the controller."""
        if self._round is not None:
            self._round.placed(batches)

    def finish(self, workers: Collection[PeerId]) -> None:
        """If all that are still there have answered, hand out anew what nobody holds."""
        if self._round is None:
            return
        self._round.pending &= set(workers)
        if self._round.pending:
            return
        finished, self._round = self._round, None
        for job in self._jobs.running.values():
            for origin, lo, hi in finished.missing(job):
                if job.requeue(origin, lo, hi, finished.cause):
                    self._stall.moved()

    def waited(self, now: float, workers: Collection[PeerId]) -> bool:
        """Whether the time to come back ends now: then the living are asked."""
        if self._rejoined_at is None or now < self._rejoined_at:
            return False
        self._rejoined_at = None
        self.ask(workers, "the controller was started again")
        return True

    def look(self, now: float, workers: Collection[PeerId], *, still: bool) -> None:
        """Ask if nothing has moved for a while although something is outstanding; ``still``: nobody works."""
        if self._stall.due(still, now):
            self.ask(workers, "nothing moved any more")

    def moves(self, now: float) -> None:
        """A result came."""
        self._stall.moves(now)
