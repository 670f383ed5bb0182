"""What a worker has on offer, as itself and the controller count it. It must not know who takes it."""

from __future__ import annotations

from dataclasses import dataclass

from lbnet import limits


@dataclass(frozen=True, slots=True)
class StandingOffer:
    """A surplus that was said with NONIDLE, and has not been matched yet.

    Attributes:
        seconds: how much it is.
        tasks: of how many tasks. One task cannot be given twice, however long it may be.
    """

    seconds: float
    tasks: int

    def after_match(self) -> StandingOffer | None:
        """What is left: a donor gives half of its surplus, and one task at least. None if that is not worth it."""
        rest = StandingOffer(self.seconds / 2, self.tasks // 2)
        return rest if rest.tasks and rest.seconds >= limits.SURPLUS_MIN_S else None
