"""What the other end of a link must be told before it can take work: jobs and their functions, once each."""

from __future__ import annotations

from collections.abc import Mapping

from lbnet.protocol.messages import Function, Message, OpenJob
from lbnet.types import Batch, JobId, JobOptions


class Introductions:
    """What one peer has been told over one link. Most links of a large cluster carry no work: those take no room."""

    __slots__ = ("_told",)

    def __init__(self) -> None:
        self._told: dict[JobId, set[bytes]] | None = None

    def before(self, batch: Batch, options: JobOptions, functions: Mapping[bytes, bytes]) -> list[Message]:
        """The messages that must precede this batch."""
        if self._told is None:
            self._told = {}
        news: list[Message] = []
        told = self._told.get(batch.job)
        if told is None:
            told = self._told[batch.job] = set()
            news.append(OpenJob(batch.job, options))
        for digest in (batch.payload.function, options.reduce):
            if digest and digest not in told:
                told.add(digest)
                news.append(Function(batch.job, digest, functions[digest]))
        return news

    def knows(self, job: JobId) -> bool:
        """Whether the peer was told of the job."""
        return self._told is not None and job in self._told

    def forget(self, job: JobId) -> None:
        """The job has ended."""
        if self._told is not None:
            self._told.pop(job, None)
