"""How long, and in which steps, a client tries to get its link back. It must not know what a link is, nor the time."""

from __future__ import annotations

PAUSE_FIRST_S = 0.05
"""Before the first try: a controller that was started again at once needs about as long."""

PAUSE_MAX_S = 1.0
"""The longest pause, and how long a link must last to count as one, if nothing was achieved over it."""


class Patience:
    """Pauses that double, up to a deadline. A link that breaks again at once, for nothing, does not renew it.

    Args:
        timeout_s: how long to try; 0 for never.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._broke_at: float | None = None
        self._opened_at = 0.0
        self._pause_s = PAUSE_FIRST_S

    def opened(self, now: float) -> float:
        """A link is there. Returns how long there was none, in seconds."""
        self._opened_at = now
        return 0.0 if self._broke_at is None else now - self._broke_at

    def broke(self, now: float, *, achieved: bool) -> None:
        """It is gone; ``achieved`` is whether it was of use."""
        if achieved or self._broke_at is None or now - self._opened_at >= PAUSE_MAX_S:
            self._broke_at, self._pause_s = now, PAUSE_FIRST_S

    def pause_s(self, now: float) -> float | None:
        """Seconds to wait before the next try; None if there shall be no more."""
        assert self._broke_at is not None, "who has a link does not wait for one"
        left_s = self._broke_at + self.timeout_s - now
        if left_s <= 0:
            return None
        pause_s, self._pause_s = min(self._pause_s, left_s), min(2 * self._pause_s, PAUSE_MAX_S)
        return pause_s
