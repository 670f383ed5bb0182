"""What tasks print, on its way to clients that follow a job: never more ahead of a reader than it keeps up with.

A reader says how many bytes it has got. What would be too far ahead of that is left out, and counted. It must not know
who reads, nor what is printed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from lbnet.protocol import messages
from lbnet.protocol.credit import Ahead, Reading
from lbnet.types import JobId, PeerId


def fitting(printed: messages.Printed, ahead: Ahead) -> messages.Printed | None:
    """What may be said of this to a reader, None if nothing."""
    dropped = ahead.say(len(printed.text), printed.dropped)
    return None if dropped is None else replace(printed, dropped=dropped)


class Following:
    """The controller's part: which clients follow which jobs.

    Args:
        send: takes a message for a peer.
        workers: who there is.
    """

    def __init__(
        self, send: Callable[[PeerId, messages.Message], None], workers: Callable[[], Collection[PeerId]]
    ) -> None:
        self._send = send
        self._workers = workers
        self._readers: dict[JobId, dict[PeerId, Ahead]] = {}
        self._from: dict[tuple[JobId, PeerId], Reading] = {}

    def follows(self, client: PeerId, message: messages.Follow) -> None:
        """A client begins to follow a job, goes on, or stops."""
        readers = self._readers.setdefault(message.job, {})
        if message.follow and client in readers:
            readers[client].got(message.heard)
        elif message.follow:
            readers[client] = Ahead()
            if len(readers) == 1:
                self._tell((message.job,), self._workers(), follow=True)
        else:
            readers.pop(client, None)
        self._forget_if_unread(message.job)

    def joined(self, worker: PeerId) -> None:
        """A worker is there, or back."""
        self._tell(self._readers, (worker,), follow=True)

    def left(self, peer: PeerId) -> None:
        """A client or a worker is gone."""
        for job in list(self._readers):
            self._readers[job].pop(peer, None)
            self._from.pop((job, peer), None)
            self._forget_if_unread(job)

    def printed(self, worker: PeerId, name: str, message: messages.Printed) -> None:
        """A task of some job has printed."""
        readers = self._readers.get(message.job)
        if readers is None:
            return
        for client, ahead in readers.items():
            fit = fitting(replace(message, worker=name), ahead)
            if fit is not None:
                self._send(client, fit)
        heard = self._from.setdefault((message.job, worker), Reading()).read(len(message.text))
        if heard is not None:
            self._send(worker, messages.Follow(message.job, True, heard))

    def _tell(self, jobs: Iterable[JobId], workers: Iterable[PeerId], *, follow: bool) -> None:
        for job in jobs:
            for worker in workers:
                self._from.pop((job, worker), None)
                self._send(worker, messages.Follow(job, follow, 0))

    def _forget_if_unread(self, job: JobId) -> None:
        if not self._readers[job]:
            del self._readers[job]
            self._tell((job,), self._workers(), follow=False)
