"""What a run leaves behind: its digest, counts of messages, and when they came. It decides nothing."""

from __future__ import annotations

import hashlib
import sys
from array import array

from lbnet.core import events
from lbnet.core.events import Event, Received
from lbnet.protocol.messages import KINDS, Message
from lbnet.sim.timeline import Timeline
from lbnet.types import PeerId

_OTHER_EVENTS: tuple[type, ...] = (
    events.Joined, events.Left, events.Unreachable, events.Tick,
    events.SlotReady, events.SlotDone, events.SlotSpawned, events.SlotTaught,
    events.SlotFinished, events.Reclaimed, events.SlotDied,
)  # fmt: skip
_NUMBERS: dict[type, int] = {
    **{kind: number for number, kind in enumerate(KINDS)},
    **{kind: 1000 + number for number, kind in enumerate(_OTHER_EVENTS)},
}
_EFFECTS_MAX = (1 << 24) - 1
_LINES = 1 << 13
"""So many events are noted before the digest takes them in."""


class Record:
    """Kept while a run goes on.

    Args:
        timeline: of the workers' states; None if nobody wants it.
    """

    def __init__(self, timeline: Timeline | None) -> None:
        self.timeline = timeline
        self.counts: dict[str, dict[type[Message], int]] = {
            "client to controller": {},
            "worker to controller": {},
            "controller to client": {},
            "controller to worker": {},
            "worker to worker": {},
        }
        self.controller_times = array("d")
        self._digest = hashlib.blake2b(digest_size=16)
        self._taken_in = 0
        self._times = array("d")
        self._lines = array("Q")

    def start(self) -> None:
        """The job is opened: messages are counted from now on."""
        for counts in self.counts.values():
            counts.clear()
        del self.controller_times[:]

    def note(self, now: float, who: PeerId, event: Event, effects: int) -> None:
        """An event was handled, and so many effects followed."""
        kind: type = type(event)
        if kind is Received:
            kind = type(event.message)  # type: ignore[union-attr]
        times = self._times
        times.append(now)
        self._lines.append(who << 40 | _NUMBERS[kind] << 24 | min(effects, _EFFECTS_MAX))
        if len(times) >= _LINES:
            self._take_in()

    @property
    def handled(self) -> int:
        """Events that were noted."""
        return self._taken_in + len(self._times)

    def digest(self) -> str:
        """Of everything that was noted: two runs are the same if and only if theirs are."""
        self._take_in()
        return self._digest.copy().hexdigest()

    def _take_in(self) -> None:
        self._taken_in += len(self._times)
        for column in (self._times, self._lines):
            if sys.byteorder == "big":
                column.byteswap()
            self._digest.update(column.tobytes())
            del column[:]

    def messages(self) -> dict[str, dict[str, int]]:
        """Messages that were handled, by direction and kind, the most frequent first."""
        return {
            direction: {
                kind.__name__: count
                for kind, count in sorted(counts.items(), key=lambda item: (-item[1], _NUMBERS[item[0]]))
            }
            for direction, counts in self.counts.items()
        }
