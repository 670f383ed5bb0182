"""All jobs that a client and its controller may still have something to say about, over as many links as it takes.

What is said of a job goes through here, and so does what comes. On a new link the controller is asked how each job
stands, and told what it lacks. It must not know sockets, nor when links come and go.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from lbnet import limits
from lbnet.client.standing import OUTCOMES, Inbox, Lost, Standing, job_of
from lbnet.errors import UsageError
from lbnet.protocol.messages import Attached, JobDone, JobRefused, Message, OpenJob, Submitted, Taken
from lbnet.types import Address, JobId, PeerId

_JOB_BITS = limits.JOBS_PER_CLIENT_MAX.bit_length() - 1

_FINISHED_MAX = 64
"""Jobs that ended last: the word that their outcomes were taken may have been lost with the link."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Take up a job that was opened elsewhere, or let go of here. TAKEN is said by whoever reads it."""

    job: JobId
    inbox: Inbox


@dataclass(frozen=True, slots=True)
class Released:
    """Let go of a job that goes on without this client."""

    job: JobId


class OpenJobs:
    """The jobs of one client. :meth:`new` and :meth:`forget` may be called from any thread.

    Args:
        address: of the controller, for error messages.
        say: takes a message for the link that is open.
    """

    def __init__(self, address: Address, say: Callable[[Message], None]) -> None:
        self._address = address
        self._say = say
        self._standings: dict[JobId, Standing] = {}
        self._finished: deque[Standing] = deque(maxlen=_FINISHED_MAX)
        self._numbers = itertools.count(1)
        self._peer = PeerId(0)
        self._asking = 0
        self._there = False
        self.progress = 0
        """Counts what was achieved: outcomes that came, and items that became safe."""

    def __len__(self) -> int:
        return len(self._standings)

    # --- from any thread ----------------------------------------------------------------------------

    def new(self, inbox: Inbox, *, takes: bool = True) -> JobId:
        """An id for a job whose messages go to ``inbox`` until it is done.

        Args:
            inbox: whoever waits for it.
            takes: what has come to this process counts as taken; else TAKEN is said by whoever reads it.
        """
        number = next(self._numbers)
        if number >= limits.JOBS_PER_CLIENT_MAX:
            raise UsageError("this client has started all the jobs that it can: open another one")
        job = JobId((self._peer << _JOB_BITS) + number)
        self._standings[job] = Standing(job, inbox, takes=takes)
        return job

    def forget(self, job: JobId) -> None:
        """What still comes for this job concerns nobody."""
        standing = self._standings.get(job)
        if standing is not None:
            standing.inbox = None

    # --- in the link's thread -----------------------------------------------------------------------

    def attach(self, wanted: Wanted) -> None:
        """Ask for a job: now, or when the controller can hear it."""
        if wanted.job in self._standings:
            wanted.inbox(JobRefused(wanted.job, "it is open in this client; take its values where it was started"))
            return
        standing = self._standings[wanted.job] = Standing(wanted.job, wanted.inbox, takes=False, elsewhere=True)
        if self._there:
            self._ask(standing)

    def note(self, message: Message) -> None:
        """Say something about a job: now, or when the controller can hear it. What is late is dropped."""
        standing = self._standings.get(job_of(message))
        if standing is None:
            return
        if isinstance(message, OpenJob) and standing.job >> _JOB_BITS != self._peer:
            self._lose(standing, self._unknown())
            return
        if standing.note(message) and self._may_say(standing):
            self._say(message)
        if standing.over:
            if standing.dropped and standing.live:
                self._say(Taken(standing.job, standing.seen))
            self._finish(standing)
        elif standing.dropped and not standing.said:
            del self._standings[standing.job]

    def release(self, released: Released) -> None:
        """Let go of a job: nothing of it is taken any more."""
        standing = self._standings.get(released.job)
        if standing is not None:
            standing.released = True
            if not standing.asking:  # whoever wants it next must not take this answer for its own
                del self._standings[released.job]

    def heard(self, message: Message) -> None:
        """Something came about a job."""
        standing = self._standings.get(message.job)  # type: ignore[union-attr]  # all that come here have one
        if standing is None:
            return
        kind = type(message)
        if kind in OUTCOMES:
            if standing.live:  # else it was said to one who has let go of the job since
                self._outcome(standing, message)
        elif isinstance(message, Submitted):
            self.progress += message.upto > standing.safe
            safe = standing.submitted(message)
            if standing.inbox is not None:
                standing.inbox(safe)
        elif isinstance(message, Attached):
            self._attached(standing, message)
        elif isinstance(message, JobRefused):
            self._refused(standing, message)

    def broke(self) -> None:
        """The link is gone; perhaps another one will come."""
        self._there = False
        self._asking = 0
        for standing in list(self._standings.values()):
            standing.live = standing.asking = False
            if standing.released:
                del self._standings[standing.job]

    def back(self, peer: PeerId, *, same: bool) -> None:
        """A link is there. ``same``: the controller knows this client, as ``peer``, and is asked about its jobs."""
        if not same:
            self._finished.clear()
            for standing in list(self._standings.values()):
                if standing.said or not standing.elsewhere:
                    self._lose(standing, self._unknown())
        self._peer, self._there = peer, True
        for standing in self._finished:
            self._standings.setdefault(standing.job, standing)
        self._finished.clear()
        for standing in list(self._standings.values()):
            if standing.said or standing.elsewhere:
                self._ask(standing)
            elif standing.opened:
                self._open(standing)

    @property
    def settled(self) -> bool:
        """Whether there is a link, and all is said that had to be said again."""
        return self._there and not self._asking

    def lose_all(self, reason: str) -> None:
        """Nothing more will come for any job."""
        self._finished.clear()
        for standing in list(self._standings.values()):
            self._lose(standing, reason)

    # --- one job ------------------------------------------------------------------------------------

    def _may_say(self, standing: Standing) -> bool:
        if not standing.live and self._there and not standing.said and standing.opened:
            standing.said = standing.live = True
        return standing.live

    def _open(self, standing: Standing) -> None:
        standing.said = standing.live = True
        for message in standing.anew():
            self._say(message)

    def _ask(self, standing: Standing) -> None:
        standing.asking = True
        self._asking += 1
        self._say(standing.attach())

    def _answered(self, standing: Standing) -> None:
        standing.asking = False
        self._asking -= 1

    def _outcome(self, standing: Standing, message: Message) -> None:
        self.progress += 1
        taken = standing.heard(message)
        inbox = standing.inbox
        if taken is not None:
            self._say(taken)
        if isinstance(message, JobDone) and standing.over:
            self._finish(standing)
        if inbox is not None:
            inbox(message)

    def _attached(self, standing: Standing, message: Attached) -> None:
        if not standing.asking:
            return
        self._answered(standing)
        if standing.released:
            del self._standings[standing.job]
            return
        first = not standing.said
        try:
            again = standing.resume(message)
        except ValueError as error:
            self._lose(
                standing,
                f"the controller at {self._address} remembers job {standing.job} otherwise than this client: {error}; "
                "the client was away for too long, or another one has taken what came of the job",
            )
            return
        standing.live = True
        for each in again:
            self._say(each)
        if standing.over:
            self._finish(standing)
        if first and standing.inbox is not None:
            standing.inbox(message)

    def _refused(self, standing: Standing, message: JobRefused) -> None:
        inbox, asked = standing.inbox, standing.asking
        if asked:
            self._answered(standing)
            if standing.opened and not standing.dropped and not standing.safe and not standing.seen:
                self._open(standing)
                return
        self._standings.pop(standing.job, None)
        if inbox is None or standing.ended:
            return
        if asked and standing.said:
            inbox(Lost(f"the controller at {self._address} came back without job {standing.job}: {message.reason}"))
        else:
            inbox(message)

    def _finish(self, standing: Standing) -> None:
        """Nothing more will come, and it was taken."""
        self._standings.pop(standing.job, None)
        standing.inbox = None
        self._finished.append(standing)

    def _lose(self, standing: Standing, reason: str) -> None:
        if standing.asking:
            self._answered(standing)
        self._standings.pop(standing.job, None)
        inbox, standing.inbox = standing.inbox, None
        if inbox is not None and not standing.ended:
            inbox(Lost(reason))

    def _unknown(self) -> str:
        return (
            f"the controller at {self._address} does not know this client any more, as when it was started anew: "
            "its jobs are lost; run `lbnet controller` with a state directory, so that jobs outlive it"
        )
