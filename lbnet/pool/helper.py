"""The second thread of a slot process: it acts when the thread that runs tasks sits in a long one.

Then results of finished tasks and spawned tasks leave all the same, and tasks that were claimed
together with the long one are let go, so that the worker can take them back. It sleeps while nothing
can become due: there is no polling. It must not run any task, and unpickles nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from lbnet import limits
from lbnet.pool.claims import Claims
from lbnet.pool.hand import Hand
from lbnet.pool.outbox import Outbox
from lbnet.pool.spawning import Spawner

_NEVER = float("inf")


class Helper:
    """Looks after an outbox. All attributes are guarded by the outbox's lock.

    Args:
        outbox: whose results are flushed.
        claims: where the rest of a group is let go.
        clock: seconds, monotonic.
    """

    def __init__(self, outbox: Outbox, claims: Claims, clock: Callable[[], float]) -> None:
        self._outbox = outbox
        self._claims = claims
        self._clock = clock
        self._wake = threading.Event()
        self._due = _NEVER
        self._spawner: Spawner | None = None
        self._hand: Hand | None = None
        self._entry = 0
        self._hand_since = 0.0

    def start(self, spawner: Spawner) -> None:
        """Begin to look after this spawner, too, in a thread that ends with the process."""
        self._spawner = spawner
        threading.Thread(target=self._work, name="lbnet-helper", daemon=True).start()

    def wake_at(self, when: float) -> None:
        """Something may be due at ``when``. The lock is held."""
        if when < self._due:
            self._due = when
            self._wake.set()

    def watch(self, hand: Hand | None, entry: int, now: float) -> None:
        """The running thread has this group in its hand now, or none. The lock is held."""
        self._hand = hand
        self._entry = entry
        self._hand_since = now
        if hand is not None and (len(hand) > 1 or self._outbox.pending):
            self.wake_at(now + limits.RESULT_FLUSH_S)

    def look(self, now: float) -> float:
        """Do what is due; returns when to look again. The lock is held."""
        outbox, spawner = self._outbox, self._spawner
        due = _NEVER
        if spawner is not None and spawner.due is not None:
            if now >= spawner.due:
                spawner.pack()
                spawner.send()
            else:
                due = spawner.due
        if self._hand is not None and len(self._hand) > 1:
            if now >= self._hand_since + limits.RESULT_FLUSH_S:
                self._let_go(self._hand)
            else:
                due = min(due, self._hand_since + limits.RESULT_FLUSH_S)
        if outbox.pending:
            # The running thread flushes by itself at the end of a group, and is not disturbed before one lasts.
            flush_at = max(outbox.flushed_at, self._hand_since) + limits.RESULT_FLUSH_S
            if now >= flush_at:
                outbox.flush(now)
            else:
                due = min(due, flush_at)
        self._due = due
        return due

    def _let_go(self, hand: Hand) -> None:
        upto = hand.drop_rest()
        if upto is not None:
            self._claims.announce(self._entry, upto)
        self._hand = None

    def _work(self) -> None:
        while True:
            with self._outbox.lock:
                now = self._clock()
                due = self.look(now)
            self._wake.wait(None if due == _NEVER else max(due - now, 0.0))
            self._wake.clear()
