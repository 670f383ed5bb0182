"""What the other end of a link must be told before it can take work: jobs and their functions, once each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lbnet.protocol.messages import Function, Message, OpenJob
from lbnet.types import Batch, JobId, JobOptions


@dataclass(slots=True)
class Introductions:
    """What one peer has been told over one link."""

    _jobs: set[JobId] = field(default_factory=set)
    _functions: set[tuple[JobId, bytes]] = field(default_factory=set)

    def before(self, batch: Batch, options: JobOptions, functions: Mapping[bytes, bytes]) -> list[Message]:
        """The messages that must precede this batch."""
        news: list[Message] = []
        if batch.job not in self._jobs:
            self._jobs.add(batch.job)
            news.append(OpenJob(batch.job, options))
        for digest in (batch.payload.function, options.reduce):
            if digest and (batch.job, digest) not in self._functions:
                self._functions.add((batch.job, digest))
                news.append(Function(batch.job, digest, functions[digest]))
        return news

    def knows(self, job: JobId) -> bool:
        """Whether the peer was told of the job."""
        return job in self._jobs

    def forget(self, job: JobId) -> None:
        """The job has ended."""
        self._jobs.discard(job)
        self._functions = {known for known in self._functions if known[0] != job}
