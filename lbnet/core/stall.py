"""When nothing moves although tasks are outstanding: somebody must ask who holds what."""

from __future__ import annotations

from lbnet import limits

_BACK_OFF = 2.0
_PERIOD_MAX_S = 5.0


class StallWatch:
    """Says when to ask: after a quiet time that doubles for as long as asking brings nothing."""

    __slots__ = ("_period_s", "at")

    def __init__(self) -> None:
        self.at: float | None = None
        """When the next question is due, None while things move."""
        self._period_s = limits.STALL_S

    def due(self, still: bool, now: float) -> bool:
        """Whether to ask now. ``still``: everybody is idle, and something is outstanding."""
        if not still:
            self.at = None
            return False
        if self.at is None:
            self.at = now + self._period_s
        if now < self.at:
            return False
        self.at = None
        self._period_s = min(self._period_s * _BACK_OFF, _PERIOD_MAX_S)
        return True

    def moves(self, now: float) -> None:
        """A result came: where workers help themselves, they may be busy although the last word of each was IDLE."""
        if self.at is not None:
            self.at = now + self._period_s

    def moved(self) -> None:
        """A question found lost work: be quick again."""
        self._period_s = limits.STALL_S
