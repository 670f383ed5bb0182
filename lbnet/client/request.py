"""A list of tasks as a user asks for it: checked where it is asked for, then told to the controller."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass
from typing import Any

from lbnet import pickling
from lbnet.client.connection import Connection
from lbnet.client.feeder import Feeder, is_sliceable
from lbnet.client.options import Options
from lbnet.client.standing import Inbox
from lbnet.client.window import Window
from lbnet.errors import UsageError
from lbnet.protocol.messages import CloseJob, Function, OpenJob, Submit
from lbnet.types import Batch, JobId


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be done.

    Attributes:
        functions: the pickled function, and the one that combines if there is one, with their digests.
        items: the items, or tuples of arguments.
        style: how they are passed, see :mod:`lbnet.pickling`.
        title: the function's name.
        total: how many items there are; None if nobody knows.
        ends: whether the input is known to end.
    """

    functions: tuple[tuple[bytes, bytes], ...]
    items: Iterable[Any]
    style: int
    title: str
    total: int | None
    ends: bool

    @classmethod
    def of(
        cls,
        method: str,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        reduce: Callable[[Any, Any], Any] | None,
    ) -> Request:
        """Check it.

        Args:
            method: that the user called.
            fn: the function.
            iterables: of its arguments.
            reduce: combines values; None if nothing does.

        Raises:
            UsageError: something has the wrong type.
            FunctionSerializeError: a function cannot be pickled.
        """
        if not callable(fn):
            raise UsageError(f"{method}() needs a function, not a {type(fn).__name__}")
        if not iterables:
            raise UsageError(f"{method}() needs at least one iterable of items")
        if reduce is not None and not callable(reduce):
            raise UsageError(f"reduce must be a function, not a {type(reduce).__name__}")
        functions = [pickling.dump_function(fn)] + ([] if reduce is None else [pickling.dump_function(reduce)])
        lengths = [len(iterable) for iterable in iterables if isinstance(iterable, Sized)]
        sources = [_source(method, number, iterable) for number, iterable in enumerate(iterables, 1)]
        return cls(
            tuple(functions),
            sources[0] if len(sources) == 1 else zip(*sources, strict=False),
            pickling.ONE if len(sources) == 1 else pickling.STAR,
            _title(fn),
            min(lengths) if len(lengths) == len(iterables) else None,
            bool(lengths),
        )

    def open(
        self, connection: Connection, options: Options, window: Window, inbox: Inbox, *, takes: bool
    ) -> tuple[JobId, Feeder]:
        """Open a job for it. Its feeder must then be started.

        Args:
            connection: the link.
            options: of the job.
            window: holds the feeder back.
            inbox: told what comes.
            takes: what has come to this process counts as taken.

        Raises:
            ConnectionLostError: the link is gone for good.
        """
        job = connection.new_job(inbox, takes=takes)

        def send(batch: Batch) -> None:
            window.held(len(batch.payload.data))
            connection.send(Submit(batch))

        def close(count: int) -> None:
            connection.send(CloseJob(job, count))

        reduce = self.functions[1][0] if len(self.functions) > 1 else b""
        opening = OpenJob(job, options.for_job(options.name or self.title, reduce))
        connection.send(opening, *(Function(job, *function) for function in self.functions))
        return job, Feeder(job, self.functions[0][0], self.items, self.style, window, send, close)


def _source(method: str, number: int, iterable: Iterable[Any]) -> Iterable[Any]:
    """What is asked for items: what is not iterable is an error here, not in a thread."""
    if is_sliceable(iterable):
        return iterable
    try:
        return iter(iterable)
    except TypeError as error:
        raise UsageError(
            f"iterable {number} of {method}() is a {type(iterable).__name__} and cannot be iterated over: {error}"
        ) from error


def _title(fn: Callable[..., Any]) -> str:
    name = getattr(fn, "__name__", None)
    return name if isinstance(name, str) else type(fn).__name__
