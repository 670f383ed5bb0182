"""``lbnet worker`` that also writes down what its slots were handed, and which tails it took back from them.

Run ``python -m bench.watched LOG worker ...``. It stands before the worker's decisions as a recorder does: it takes the
same events, hands on the same effects, and changes neither. It must not know what is measured.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from lbnet.core import effects, events
from lbnet.core.effects import Effect
from lbnet.core.events import Event
from lbnet.core.worker import Worker
from lbnet.types import ROOT, Batch


@dataclass(frozen=True, slots=True)
class Slot:
    """A process that computes: ``lane`` is its worker's name and its number there."""

    lane: str
    pid: int


@dataclass(frozen=True, slots=True)
class _Items:
    """Items ``[lo, hi)`` of a ticket, and when something happened to them, by :func:`time.monotonic`."""

    at_s: float
    lane: str
    job: int
    ticket: int
    lo: int
    hi: int


class Handed(_Items):
    """They were handed to a slot, as one ticket."""

    __slots__ = ()


class TakenBack(_Items):
    """The tail of a ticket, they will not run in this slot: the slot has let go of them."""

    __slots__ = ()


Note = Slot | Handed | TakenBack
_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (Slot, Handed, TakenBack)}


class Watch:
    """Notes from the events and effects of one worker.

    Args:
        name: of the worker.
        log: takes a line a note.
    """

    def __init__(self, name: str, log: IO[str]) -> None:
        self._name = name
        self._log = log
        self._out: dict[int, tuple[Batch, int]] = {}

    def see(self, event: Event, done: Iterable[Effect], now: float) -> None:
        """An event was handled, and these are its effects."""
        match event:
            case events.SlotReady():
                self._note(Slot(self._lane(event.slot), event.pid))
            case events.Reclaimed():
                self._let_go(event.slot, event.ticket, event.taken_from, now)
            case events.SlotFinished():
                self._out.pop(event.ticket, None)
        for effect in done:
            if isinstance(effect, effects.Run) and effect.batch.origin == ROOT:
                batch = effect.batch
                self._out[effect.ticket] = (batch, batch.hi)
                self._note(Handed(now, self._lane(effect.slot), batch.job, effect.ticket, batch.lo, batch.hi))

    def _let_go(self, slot: int, ticket: int, taken_from: int, now: float) -> None:
        batch, end = self._out.get(ticket, (None, 0))
        if batch is None or taken_from >= end:
            return  # it had begun all of them
        taken_from = max(taken_from, batch.lo)
        self._out[ticket] = (batch, taken_from)
        self._note(TakenBack(now, self._lane(slot), batch.job, ticket, taken_from, end))

    def _lane(self, slot: int) -> str:
        return f"{self._name}/{slot}"

    def _note(self, note: Note) -> None:
        self._log.write(json.dumps([type(note).__name__, asdict(note)]) + "\n")


def notes(log: Path) -> list[Note]:
    """What a worker has written down."""
    lines = (json.loads(line) for line in log.read_text(encoding="utf-8").splitlines())
    return [_KINDS[kind](**facts) for kind, facts in lines]


def watch(log: IO[str]) -> None:
    """Every worker of this process writes its notes there from now on."""
    handle = Worker.handle
    watches: dict[Worker, Watch] = {}

    def watched(worker: Worker, event: Event, now: float) -> list[Effect]:
        done = handle(worker, event, now)
        seen = watches.get(worker)
        if seen is None:
            seen = watches[worker] = Watch(worker.name, log)
        seen.see(event, done, time.monotonic())
        return done

    Worker.handle = watched  # type: ignore[method-assign, assignment]


def main() -> None:
    """Watch, and do what the command says."""
    from lbnet.cli.main import main as lbnet

    path = Path(sys.argv[1])
    # Line by line: a worker that is killed has written all that it has seen.
    watch(path.open("w", encoding="utf-8", buffering=1))
    sys.argv[0:2] = ["lbnet"]
    sys.exit(lbnet())


if __name__ == "__main__":
    main()
