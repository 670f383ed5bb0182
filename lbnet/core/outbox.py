"""What a job's client is told, counted from the beginning of the job, for as long as the client has not taken it.

Those that nobody has asked for yet may be *set aside*: the journal has them, and memory has not. It must not know when
they may be told, nor whether anybody listens.
"""

from __future__ import annotations

from collections.abc import Iterable

from lbnet import limits
from lbnet.protocol.messages import Partial
from lbnet.protocol.records import Outcome


class Outbox:
    """Outcomes in an order that never changes: those below :attr:`taken` are forgotten.

    Args:
        taken: how many were taken before.
        outcomes: those that follow.
        aside: so many of those that were not taken are in the journal only, before ``outcomes``.
    """

    __slots__ = ("_idle_bytes", "_outcomes", "awaited", "here", "promised", "safe", "size_bytes", "taken", "told")

    def __init__(self, taken: int = 0, outcomes: Iterable[Outcome] = (), *, aside: int = 0) -> None:
        self.taken = taken
        self.here = taken + aside
        """Those from this one on are in memory."""
        self.safe = self.here
        """So many may be said: what they follow from will outlive a crash."""
        self.told = taken
        """So many were said to the client that listens now."""
        self.promised = self.here
        """So many are being kept, to be said when that is done."""
        self.awaited = self.here
        """Those below it bring the client on, or are many: what follows is parts of values that are not complete, which
        may wait for more of them."""
        self._idle_bytes = 0
        self._outcomes: dict[int, Outcome] = {}
        for outcome in outcomes:
            self._add(outcome)
        self.size_bytes = sum(map(_bytes, self._outcomes.values()))
        """Bytes of what is in memory, about."""

    def __len__(self) -> int:
        """How many were not taken."""
        return self.end - self.taken

    @property
    def end(self) -> int:
        """How many outcomes there have been."""
        return self.here + len(self._outcomes)

    @property
    def aside(self) -> int:
        """How many are in the journal only."""
        return self.here - self.taken

    def append(self, outcome: Outcome) -> None:
        """One more."""
        self._add(outcome)
        self.size_bytes += _bytes(outcome)

    def _add(self, outcome: Outcome) -> None:
        self._outcomes[self.end] = outcome
        self._idle_bytes += _bytes(outcome)
        if type(outcome) is not Partial or self._idle_bytes >= limits.PARTIAL_BYTES:
            self.awaited = self.end
            self._idle_bytes = 0

    def take(self, upto: int) -> None:
        """The first ``upto`` need not be kept."""
        upto = min(upto, self.end)
        self._let_go(upto)
        self.taken = max(self.taken, upto)
        self.told = max(self.told, self.taken)
        self.safe = max(self.safe, self.taken)

    def set_aside(self, upto: int) -> None:
        """The journal has those below ``upto``: they need not be here."""
        self._let_go(min(upto, self.end))
        self.safe = max(self.safe, self.here)

    def _let_go(self, upto: int) -> None:
        while self.here < upto:
            outcome = self._outcomes.pop(self.here, None)
            self.here += 1
            if outcome is not None:
                self.size_bytes -= _bytes(outcome)

    def oldest(self, size_bytes: int) -> list[Outcome]:
        """The first of those in memory, of about so many bytes in all."""
        found, size = [], 0
        for outcome in self._outcomes.values():
            if size >= size_bytes:
                break
            found.append(outcome)
            size += _bytes(outcome)
        return found

    def rewind(self, seen: int) -> None:
        """Somebody else listens, or the same one again, who has ``seen`` so many."""
        self.told = min(max(seen, self.taken), self.end)

    def tell(self, upto: int) -> list[Outcome]:
        """What is to be said now, up to number ``upto``; all of it is in memory. It counts as said."""
        assert self.told >= self.here, "those that were set aside are fetched"
        begin, self.told = self.told, max(self.told, upto)
        return [self._outcomes[number] for number in range(begin, self.told)]

    def kept(self) -> list[Outcome]:
        """All that is in memory."""
        return list(self._outcomes.values())


def _bytes(outcome: Outcome) -> int:
    return _OUTCOME_BYTES + len(getattr(outcome, "data", b""))


_OUTCOME_BYTES = 64
