"""What is told to all workers as small deltas: who there is, who is idle. It must not know what is told, nor how."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from lbnet import limits
from lbnet.types import PeerId


@dataclass(frozen=True, slots=True)
class Delta:
    """What one reader has to hear: these came, in order, and these went."""

    reader: PeerId
    came: tuple[PeerId, ...]
    went: tuple[PeerId, ...]


@dataclass(slots=True)
class News:
    """A list of workers that all readers shall know. It is told at intervals that grow with the number of readers."""

    _dirty: bool = False
    _again: set[PeerId] = field(default_factory=set)
    _told: dict[PeerId, None] = field(default_factory=dict)
    _readers: dict[PeerId, None] = field(default_factory=dict)
    _issued_at: float = -math.inf

    def touch(self) -> None:
        """The list has changed, or may have, or there is a new reader."""
        self._dirty = True

    def again(self, peer: PeerId) -> None:
        """This one has come, or come back: to a reader that has struck it off since, that is news in any case."""
        self._dirty = True
        self._again.add(peer)

    def due_at(self, readers: int) -> float | None:
        """When the next issue may leave, None while there is nothing to tell."""
        return self._issued_at + limits.NEWS_PER_WORKER_S * readers if self._dirty else None

    def forget(self, reader: PeerId) -> None:
        """A reader is gone."""
        self._readers.pop(reader, None)

    def issue(self, current: Mapping[PeerId, object], readers: Collection[PeerId], now: float) -> Iterator[Delta]:
        """What each reader has to hear, if an issue is due: the whole list if it is new, else what changed."""
        due_at = self.due_at(len(readers))
        if due_at is None or now < due_at:
            return
        self._dirty, self._issued_at = False, now
        came = tuple(peer for peer in current if peer not in self._told or peer in self._again)
        self._again.clear()
        went = tuple(peer for peer in self._told if peer not in current)
        everything = tuple(current)
        for reader in readers:
            if reader not in self._readers:
                self._readers[reader] = None
                yield Delta(reader, everything, ())
            elif came or went:
                yield Delta(reader, came, went)
        self._told = dict.fromkeys(current)
