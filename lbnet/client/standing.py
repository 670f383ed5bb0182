"""How one job stands between this client and its controller: what may have to be said again, and what was heard.

Pure: no link, no clock, no threads. It must not know what outcomes mean, nor who reads them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from lbnet.protocol.messages import (
    Attach,
    Attached,
    Cancel,
    Cancelled,
    CloseJob,
    Failed,
    Function,
    JobDone,
    Message,
    OpenJob,
    Partial,
    Settled,
    Submit,
    Submitted,
    Taken,
    Values,
)
from lbnet.types import JobId

EVERYTHING = 1 << 62
"""The end of a CANCEL that drops a whole job."""

TAKEN_EVERY = 64
"""The controller is told after so many outcomes that it may forget them: one small message for many larger ones."""

TAKEN_BYTES = 1 << 20
"""And after so many bytes, so that large results do not wait for their number."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Nothing more will come for a job, because the controller is out of reach, or knows it no more."""

    reason: str


@dataclass(frozen=True, slots=True)
class Safe:
    """The controller keeps the items below ``upto``; ``size_bytes`` of inputs were let go for it.

    ``closed``: and it keeps that there are no more.
    """

    upto: int
    size_bytes: int
    closed: bool = False


Delivery = Message | Lost | Safe
"""What whoever waits for a job is told."""

Inbox = Callable[[Delivery], None]
"""Takes what comes for one job, in the link's thread: it must be quick, and not raise."""


class Standing:
    """One job.

    Args:
        job: its id.
        inbox: whoever waits for it.
        takes: what has come here counts as taken; else its reader says what was taken.
        elsewhere: it was opened by another client, or let go of by this one.
    """

    __slots__ = (
        "_cancels",
        "_close",
        "_kept",
        "_opened",
        "_taken",
        "_takes",
        "_untold",
        "_untold_bytes",
        "asking",
        "dropped",
        "elsewhere",
        "ended",
        "inbox",
        "job",
        "live",
        "released",
        "safe",
        "said",
        "seen",
    )

    def __init__(self, job: JobId, inbox: Inbox | None, *, takes: bool = True, elsewhere: bool = False) -> None:
        self.job = job
        self.elsewhere = elsewhere
        self.inbox = inbox
        self.said = False
        """The controller may have heard of it."""
        self.live = False
        """What there is to say may be said on the link that is open now."""
        self.asking = False
        """ATTACH was said on the link that is open now, and not answered."""
        self.seen = 0
        """So many outcomes have come."""
        self.safe = 0
        """The controller keeps the items below this."""
        self.dropped = False
        """Nobody wants it any more."""
        self.released = False
        """Nobody here wants it any more."""
        self.ended = False
        """JOB_DONE has come."""
        self._takes = takes
        self._taken = 0
        self._untold = 0
        self._untold_bytes = 0
        self._opened: OpenJob | None = None
        self._kept: deque[Function | Submit] = deque()
        self._close: CloseJob | None = None
        self._cancels: dict[int, Cancel] = {}

    @property
    def opened(self) -> bool:
        """Whether OPEN_JOB was noted."""
        return self._opened is not None

    @property
    def over(self) -> bool:
        """Whether all outcomes came and were taken."""
        return self.ended and (self._takes or self._taken >= self.seen)

    # --- what we say --------------------------------------------------------------------------------

    def note(self, message: Message) -> bool:
        """Remember a message for the controller for as long as it may be needed. Returns whether it need be said."""
        kind = type(message)
        if self.dropped:
            return False
        if kind is Submit or kind is Function:
            self._kept.append(message)  # type: ignore[arg-type]  # this is what it is
        elif isinstance(message, Taken):
            self._taken = max(self._taken, message.upto)
        elif isinstance(message, Cancel):
            if message.lo <= 0 and message.hi >= EVERYTHING:
                self.drop()
            else:
                self._cancels[message.lo] = message
        elif isinstance(message, CloseJob):
            self._close = message
        elif isinstance(message, OpenJob):
            self._opened = message
        return True

    def drop(self) -> None:
        """Nobody wants it: what still comes is taken at once, and nothing is said again but that it be cancelled."""
        self.dropped = self._takes = True
        self._kept.clear()
        self._cancels.clear()

    def attach(self) -> Attach:
        """What to say on a new link."""
        return Attach(self.job, self.seen)

    def anew(self) -> list[Message]:
        """All of it, to a controller that has never heard of it."""
        assert self._opened is not None, "only the client that opened a job can open it again"
        return [self._opened, *self._rest(0, closed=False)]

    def resume(self, attached: Attached) -> list[Message]:
        """The answer to ATTACH has come: what the controller has not heard, or has forgotten.

        Raises:
            ValueError: the controller remembers another course of the job than was seen here.
        """
        if not self.said:
            self.said = True
            self.seen = attached.taken
            self.safe = attached.submitted
            return []
        if attached.taken != self.seen:
            raise ValueError(f"outcomes from {self.seen} on are wanted, and those from {attached.taken} on are there")
        if not self.dropped and self.opened and attached.submitted < self.safe:
            raise ValueError(f"{self.safe} items were safe, and {attached.submitted} are there")
        again = self._rest(attached.submitted, closed=attached.closed)
        taken = self.seen if self._takes else self._taken
        return [*again, Taken(self.job, taken)] if taken else again

    def _rest(self, submitted: int, *, closed: bool) -> list[Message]:
        if self.dropped:
            return [] if self.ended else [Cancel(self.job, 0, EVERYTHING)]
        rest: list[Message] = [
            message for message in self._kept if isinstance(message, Function) or message.batch.lo >= submitted
        ]
        rest += self._cancels.values()
        if self._close is not None and not closed:
            rest.append(self._close)
        return rest

    # --- what we hear -------------------------------------------------------------------------------

    def submitted(self, message: Submitted) -> Safe:
        """Items are safe: let go of them, and of the functions that came before them."""
        self.safe = max(self.safe, message.upto)
        kept, size_bytes = self._kept, 0
        last = 0
        for number, each in enumerate(kept, 1):
            if isinstance(each, Submit):
                if each.batch.hi > self.safe:
                    break
                last = number
        for _ in range(last):
            each = kept.popleft()
            if isinstance(each, Submit):
                size_bytes += len(each.batch.payload.data)
        return Safe(self.safe, size_bytes, message.closed)

    def heard(self, message: Message) -> Taken | None:
        """Count an outcome. Returns what there is to say to it."""
        self.seen += 1
        if self._cancels:
            self._answered(message)
        if isinstance(message, JobDone):
            self.ended = True
            self._kept.clear()
        if not self._takes:
            return None
        self._untold += 1
        if isinstance(message, Values | Partial | Failed):
            self._untold_bytes += len(message.data)
        if self._untold < TAKEN_EVERY and self._untold_bytes < TAKEN_BYTES and not self.ended:
            return None
        self._untold = self._untold_bytes = 0
        return Taken(self.job, self.seen)

    def _answered(self, message: Message) -> None:
        """An item that is settled need not be cancelled again."""
        if isinstance(message, Cancelled | Values):
            for index in range(message.lo, message.hi):
                self._cancels.pop(index, None)
        elif isinstance(message, Failed):
            self._cancels.pop(message.index, None)
        elif isinstance(message, Settled):
            self._cancels.pop(message.root, None)


OUTCOMES = frozenset({Cancelled, Values, Partial, Failed, Settled, JobDone})
"""What is counted, from the beginning of a job."""

OF_JOBS = frozenset({OpenJob, Function, Submit, CloseJob, Cancel, Taken})
"""What a client says of a job that it has."""


def job_of(message: Message) -> JobId:
    """The job that a message of :data:`OF_JOBS` is about."""
    return message.batch.job if isinstance(message, Submit) else message.job  # type: ignore[union-attr]
