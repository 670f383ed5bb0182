"""What the polling strategies share: an idle worker asks one donor after the other, ever more slowly.

It must not know whom to ask: that is what the strategies differ in.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator

from lbnet import limits
from lbnet.strategies.base import LookAgain, TellIdle, WorkerDecision, WorkerStrategy, WorkerView


class PollingWorker(WorkerStrategy):
    """Asks while it wants work and there is some in the cluster; after a refusal it waits, twice as long each time.

    The controller hears of it too, as it may have new work to place: ahead of time where it placed the last.
    """

    def __init__(self) -> None:
        self._refusals = 0
        self._not_before = 0.0

    @abstractmethod
    def ask(self, view: WorkerView) -> Iterable[WorkerDecision]:
        """Whom to ask now."""

    def balance(self, view: WorkerView) -> Iterator[WorkerDecision]:
        """Ask, or wait until it is time to."""
        if view.idle_is_news and (view.placed or view.free_slots > 0):
            yield TellIdle()
        if view.refusals != self._refusals:
            self._refusals = view.refusals
            self._not_before = view.now + backoff_s(view.refusals)
        if not view.wants_work or not view.work_exists or view.asking:
            return
        if view.now < self._not_before:
            yield LookAgain(self._not_before - view.now)
        else:
            yield from self.ask(view)


def backoff_s(refusals: int) -> float:
    """How long to wait after so many refusals in a row, in seconds; 0 after none."""
    if refusals <= 0:
        return 0.0
    return float(min(limits.POLL_BACKOFF_FIRST_S * 2 ** min(refusals - 1, 32), limits.POLL_BACKOFF_MAX_S))
