"""What a job's client is told, counted from the beginning of the job, for as long as the client has not taken it.

It must not know when it may be told, nor whether anybody listens.
"""

from __future__ import annotations

from collections.abc import Iterable

from lbnet.protocol.records import Outcome


class Outbox:
    """Outcomes in an order that never changes: those below :attr:`taken` are forgotten.

    Args:
        taken: how many were taken before.
        outcomes: those that follow.
    """

    __slots__ = ("_outcomes", "promised", "safe", "size_bytes", "taken", "told")

    def __init__(self, taken: int = 0, outcomes: Iterable[Outcome] = ()) -> None:
        self.taken = taken
        self.safe = taken
        """So many may be said: what they follow from will outlive a crash."""
        self.told = taken
        """So many were said to the client that listens now."""
        self.promised = taken
        """So many are being kept, to be said when that is done."""
        self._outcomes: dict[int, Outcome] = dict(enumerate(outcomes, taken))
        self.size_bytes = sum(map(_bytes, self._outcomes.values()))
        """Bytes of what is kept, about."""

    def __len__(self) -> int:
        return len(self._outcomes)

    @property
    def end(self) -> int:
        """How many outcomes there have been."""
        return self.taken + len(self._outcomes)

    def append(self, outcome: Outcome) -> None:
        """One more."""
        self._outcomes[self.end] = outcome
        self.size_bytes += _bytes(outcome)

    def take(self, upto: int) -> None:
        """The first ``upto`` need not be kept."""
        while self._outcomes and self.taken < upto:
            self.size_bytes -= _bytes(self._outcomes.pop(self.taken))
            self.taken += 1
        self.told = max(self.told, self.taken)
        self.safe = max(self.safe, self.taken)

    def rewind(self, seen: int) -> None:
        """Somebody else listens, or the same one again, who has ``seen`` so many."""
        self.told = min(max(seen, self.taken), self.end)

    def tell(self, upto: int) -> list[Outcome]:
        """What is to be said now, up to number ``upto``. It counts as said."""
        begin, self.told = self.told, max(self.told, upto)
        return [self._outcomes[number] for number in range(begin, self.told)]

    def kept(self) -> list[Outcome]:
        """All that was not taken."""
        return list(self._outcomes.values())


def _bytes(outcome: Outcome) -> int:
    return _OUTCOME_BYTES + len(getattr(outcome, "data", b""))


_OUTCOME_BYTES = 64
