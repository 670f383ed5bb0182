"""What stands in for the link in tests of what uses it, and the messages that a controller would send."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings

from lbnet import pickling
from lbnet.client.standing import Inbox, Lost
from lbnet.errors import ConnectionLostError
from lbnet.protocol import messages
from lbnet.protocol.messages import Message
from lbnet.types import JobId

JOB = JobId(7)

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""How fast examples are made and run on a busy machine says nothing about the client."""


class FakeConnection:
    """Remembers what was sent, and says what the test says."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.inboxes: dict[JobId, Inbox] = {}
        self.forgotten: list[JobId] = []
        self.released: list[JobId] = []
        self.lost = ""
        self._jobs = 0

    def new_job(self, inbox: Inbox, *, takes: bool = True) -> JobId:
        self.check()
        self._jobs += 1
        self.inboxes[JobId(self._jobs)] = inbox
        return JobId(self._jobs)

    def send(self, *messages: Message) -> None:
        self.check()
        self.sent.extend(messages)

    def check(self) -> None:
        if self.lost:
            raise ConnectionLostError(self.lost)

    def forget(self, job: JobId) -> None:
        self.forgotten.append(job)

    def release(self, job: JobId) -> None:
        self.released.append(job)

    def lose(self, reason: str) -> None:
        self.lost = reason
        for inbox in self.inboxes.values():
            inbox(Lost(reason))

    def kinds(self) -> list[str]:
        return [type(message).__name__ for message in self.sent]


def values(lo: int, *each: Any, job: int = JOB, goes_on: bool = False) -> messages.Values:
    return messages.Values(JobId(job), lo, lo + len(each), lo, pickling.dump_values(each).data, goes_on)


def failed(
    index: int, error: BaseException | None = None, *, job: int = JOB, spawned: bool = False, kind: str = "exception"
) -> messages.Failed:
    failure = pickling.dump_exception(error or ValueError("no"), "host h")
    return messages.Failed(
        JobId(job),
        index,
        spawned,
        kind,
        failure.message,
        failure.traceback,
        failure.where,
        failure.data if kind == "exception" else b"",
    )


def part(root: int, value: Any, job: int = JOB) -> messages.Partial:
    return messages.Partial(JobId(job), root, pickling.dump_values([value]).data)


def settled(root: int, job: int = JOB) -> messages.Settled:
    return messages.Settled(JobId(job), root)


def done(job: int = JOB) -> messages.JobDone:
    return messages.JobDone(JobId(job))


def until(condition: Callable[[], object], what: str, timeout_s: float = 10.0) -> None:
    """Wait for a condition that other threads or processes bring about."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"it did not happen in time: {what}"
        time.sleep(0.005)
