"""How far a sender may be ahead of its reader, in bytes: both ends of it.

A reader says now and then how much it has got. What would be too far ahead is left out, and counted. It must not know
what is sent.
"""

from __future__ import annotations

from dataclasses import dataclass

from lbnet import limits


@dataclass(slots=True)
class Ahead:
    """The sender's end. ``dropped`` bytes were left out since something was said."""

    said: int = 0
    heard: int = 0
    dropped: int = 0

    def say(self, size: int, dropped: int = 0) -> int | None:
        """So much is to be said, before which ``dropped`` bytes are missing already.

        Returns:
            How many bytes are missing before it in all, if it may be said; None if it is left out, too.
        """
        if self.said + size - self.heard > limits.FOLLOW_AHEAD_BYTES:
            self.dropped += size + dropped
            return None
        self.said += size
        dropped, self.dropped = dropped + self.dropped, 0
        return dropped

    def got(self, heard: int) -> None:
        """The reader has so many bytes. It cannot have more than was said."""
        self.heard = max(self.heard, min(heard, self.said))


@dataclass(slots=True)
class Reading:
    """The reader's end. ``told`` bytes of the ``got`` were acknowledged."""

    got: int = 0
    told: int = 0

    def read(self, size: int) -> int | None:
        """So many bytes were read. Returns what to acknowledge, None while it is not worth a message."""
        self.got += size
        if self.got - self.told < limits.FOLLOW_AHEAD_BYTES // 4:
            return None
        self.told = self.got
        return self.got
