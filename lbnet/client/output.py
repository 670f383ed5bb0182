"""What tasks print, where their user sees it: as it comes, a line at a time with a word on whose it is.

It must not know how it gets here.
"""

from __future__ import annotations

import codecs
import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Any

from lbnet import limits
from lbnet.client.connection import Connection
from lbnet.client.options import Options
from lbnet.errors import ConnectionLostError, LbnetError
from lbnet.protocol.messages import Printed
from lbnet.types import ROOT, JobId, TaskOutput


def output_of(printed: Printed, text: str) -> TaskOutput:
    """What came, for people."""
    item = printed.index if printed.origin == ROOT else None
    return TaskOutput(printed.job, item, printed.worker, printed.slot, text, printed.dropped)


def outputs_of(facts: dict[str, Any]) -> list[TaskOutput]:
    """Those of an answer to ``logs``. What a worker says that is none is left out."""
    found = []
    for worker in facts["workers"]:
        for output in worker.get("outputs", ()):
            with contextlib.suppress(KeyError, TypeError):
                found.append(
                    TaskOutput(
                        JobId(facts["job"]),
                        output["item"],
                        str(worker["worker"]),
                        output["slot"],
                        output["text"],
                        output["dropped"],
                    )
                )
    return found


def prefix_of(output: TaskOutput, name: str = "") -> str:
    """Whose output it is, in front of each of its lines."""
    item = "spawned" if output.item is None else str(output.item)
    return f"[{name or output.job}/{item} {output.worker}] "


_Task = tuple[int, str, int, int, int]
"""An execution of a task, as far as one can tell from its output."""


class Lines:
    """Whole lines of many tasks out of pieces that come mixed. A line that is too long is cut."""

    def __init__(self) -> None:
        self._rest: dict[_Task, tuple[codecs.IncrementalDecoder, str, Printed]] = {}

    def feed(self, printed: Printed) -> Iterator[TaskOutput]:
        """The lines, without their ends, that are whole now."""
        key = (printed.job, printed.worker, printed.slot, printed.origin, printed.index)
        decoder, rest, _ = self._rest.pop(key, (_decoder(), "", printed))
        if printed.dropped:
            yield output_of(printed, f"{rest}... {printed.dropped:,} bytes left out ...")
            decoder, rest = _decoder(), ""
        *lines, rest = (rest + decoder.decode(printed.text)).split("\n")
        for line in lines:
            yield output_of(printed, line)
        if len(rest) > limits.OUTPUT_LINE_CHARS_MAX:
            yield output_of(printed, rest)
            rest = ""
        if rest or decoder.getstate()[0]:
            self._rest[key] = decoder, rest, printed
        while len(self._rest) > limits.OUTPUT_LINES_OPEN_MAX:
            yield self._close(next(iter(self._rest)))

    def end(self) -> Iterator[TaskOutput]:
        """Lines that were not ended."""
        while self._rest:
            yield self._close(next(iter(self._rest)))

    def _close(self, key: _Task) -> TaskOutput:
        decoder, rest, printed = self._rest.pop(key)
        return output_of(printed, rest + decoder.decode(b"", final=True))


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")("backslashreplace")


def follow(connection: Connection, job: JobId, running: Callable[[], bool]) -> Iterator[TaskOutput]:
    """The lines that tasks of a job print from now on, until it has ended.

    Args:
        connection: the link.
        job: its number.
        running: whether it has not ended, as the controller says.

    Raises:
        UsageError: this client follows it already.
        ConnectionLostError: the link is gone for good.
    """
    came: SimpleQueue[Printed] = SimpleQueue()
    connection.follow(job, came.put)
    return _followed(connection, job, running, came)


def _followed(
    connection: Connection, job: JobId, running: Callable[[], bool], came: SimpleQueue[Printed]
) -> Iterator[TaskOutput]:
    lines = Lines()
    ended = False
    try:
        while True:
            try:
                printed = came.get(timeout=0.0 if ended else limits.FOLLOW_LOOK_S)
            except Empty:
                if ended:
                    break
                ended = not running()
                if ended:
                    connection.ask("flush", job)  # what was printed before is here when this is answered
                continue
            yield from lines.feed(printed)
            connection.has_read(job, len(printed.text))
        yield from lines.end()
    finally:
        connection.unfollow(job)


class Echo:
    """Shows what the tasks of some jobs print on this process's standard error, in a thread of its own.

    Args:
        connection: the link.
        on: else it shows nothing.
    """

    def __init__(self, connection: Connection, *, on: bool = True) -> None:
        self._connection = connection
        self._on = on
        self._came: SimpleQueue[Printed | None] = SimpleQueue()
        self._names: dict[JobId, str] = {}
        self._lines = Lines()
        self._thread: threading.Thread | None = None

    def opened(self, job: JobId, options: Options, name: str) -> None:
        """A job was opened: show the output of its tasks, if its options want that. ``name`` is for those without."""
        if not self._on or not options.echo:
            return
        self._names[job] = options.name or name
        if len(self._names) > limits.ECHO_JOBS_MAX:
            oldest = next(iter(self._names))
            del self._names[oldest]
            self._connection.unfollow(oldest)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="lbnet-output", daemon=True)
            self._thread.start()
        self._connection.follow(job, self._came.put)

    def finish(self) -> None:
        """Show what was printed before, if the controller can still be asked for it, and end."""
        if self._thread is None:
            return
        with contextlib.suppress(LbnetError):
            self._connection.ask(
                "flush", next(iter(self._names)), timeout_s=limits.STOP_TIMEOUT_S, waits_for_link=False
            )
        self._came.put(None)
        self._thread.join(limits.STOP_TIMEOUT_S)
        self._thread = None

    def _work(self) -> None:
        while (printed := self._came.get()) is not None:
            for output in self._lines.feed(printed):
                self._write(output)
            with contextlib.suppress(ConnectionLostError):
                self._connection.has_read(printed.job, len(printed.text))
        for output in self._lines.end():
            self._write(output)

    def _write(self, output: TaskOutput) -> None:
        stream = sys.stderr
        with contextlib.suppress(OSError, ValueError):  # closed: nobody looks
            text = prefix_of(output, self._names.get(output.job, "")) + output.text + "\n"
            encoding = getattr(stream, "encoding", None) or "utf-8"
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            stream.flush()
