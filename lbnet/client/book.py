"""What the controller's messages mean for the items of one job. Pure: no threads, no pickles.

A value may come long before its item is settled, because the task spawned others; it is held here until
then, so that whoever asks sees each item once: with its values, or with its failure.
"""

from __future__ import annotations

from dataclasses import dataclass

from lbnet.protocol import messages


@dataclass(frozen=True, slots=True)
class Ready:
    """Items ``[lo, hi)`` are settled; ``data`` holds a value for each from ``base`` on."""

    lo: int
    hi: int
    base: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Part:
    """A combined value that belongs to item ``root``, which is not settled yet."""

    root: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Settled:
    """Item ``root`` is settled, with the parts that came before, or with nothing."""

    root: int


@dataclass(frozen=True, slots=True)
class Broken:
    """Item ``index`` has failed, as the message says; ``dropped_bytes`` of a value that it had are of no use."""

    index: int
    message: messages.Failed
    dropped_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Dropped:
    """Items ``[lo, hi)`` were cancelled."""

    lo: int
    hi: int


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more will come. ``reason`` says why the job could not be run, empty if it was."""

    reason: str = ""


Outcome = Ready | Part | Settled | Broken | Dropped | Ended


class ItemBook:
    """The books of one job's items."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: dict[int, messages.Values] = {}

    def take(self, message: messages.Message) -> Outcome | None:
        """What a message settles; None while it settles nothing."""
        match message:
            case messages.Values():
                if not message.open:
                    return Ready(message.lo, message.hi, message.base, message.data)
                self._open[message.lo] = message
                return None
            case messages.Settled():
                own = self._open.pop(message.root, None)
                if own is None:
                    return Settled(message.root)
                return Ready(own.lo, own.hi, own.base, own.data)
            case messages.Failed():
                own = self._open.pop(message.index, None)
                return Broken(message.index, message, 0 if own is None else len(own.data))
            case messages.Partial():
                return Part(message.root, message.data)
            case messages.Cancelled():
                for index in [index for index in self._open if message.lo <= index < message.hi]:
                    del self._open[index]
                return Dropped(message.lo, message.hi)
            case messages.JobDone():
                return Ended()
            case messages.JobRefused():
                return Ended(message.reason)
        return None
