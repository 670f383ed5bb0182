"""From the user's items to payloads on the link, as fast as the window allows and never before.

The unit of pickling is the payload, and its size adapts: to the size of the items, and to the pace of the
iterable. What a slow or blocked iterable has given already leaves after ``limits.PAYLOAD_FILL_S``, by a second
thread, because only the first may wait for the user's code.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

from lbnet import limits, pickling
from lbnet.client.window import Window
from lbnet.core.batching import payload_tasks
from lbnet.errors import ConnectionLostError
from lbnet.types import ROOT, Batch, JobId, Payload

_FIRST_ITEMS = 16
"""Of the first payload: nobody knows yet how large the items are."""

_GROWTH = 16
_POLL_MAX_S = 0.05
_PAYLOAD_BYTES_MAX = limits.FRAME_BYTES_MAX // 2
_END = object()
_SMALL = frozenset({int, float, bool, type(None)})
_FEW = 16
"""Numbers in a tuple that is small."""


class Feeder:
    """Sends the items of one map.

    Args:
        job: the job.
        function: the digest of the function, which the controller has been told.
        items: the items, or tuples of arguments.
        style: how they are passed, see :mod:`lbnet.pickling`.
        window: holds the feeder back.
        send: takes batches for the controller; may raise when the link is lost.
        close: called once with the number of items sent, when the input has ended.
    """

    def __init__(
        self,
        job: JobId,
        function: bytes,
        items: Iterable[Any],
        style: int,
        window: Window,
        send: Callable[[Batch], None],
        close: Callable[[int], None],
    ) -> None:
        self._job = job
        self._function = function
        self._items = items
        self._style = style
        self._window = window
        self._send = send
        self._close = close
        self.sent = 0
        self._size = _FIRST_ITEMS
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._pending: deque[Any] = deque()
        self._pull = 0
        self._pulling = threading.Condition()
        self._stopped = False
        self._ended = False
        self._given_up: BaseException | None = None
        self.finished = False
        """The input has ended: all of it was sent."""
        self.over = threading.Event()
        """Nothing more will be sent."""
        self.error: BaseException | None = None
        """What the iterable raised, or an item that was pickled; all items before it were sent."""
        self._sliceable = is_sliceable(items)

    def start(self) -> None:
        """Send what fits at once, and the rest from a thread."""
        if self._sliceable and self._window.has_room():
            self._feed_sized(payloads=1)
        if self.finished:
            self.over.set()
        else:
            threading.Thread(target=self._run, name=f"lbnet-feed-{self._job}", daemon=True).start()

    def stop(self) -> None:
        """Send nothing more. An iterable that blocks is left alone."""
        self._stopped = True
        self._window.close()
        with self._pulling:
            self._pulling.notify_all()

    def _run(self) -> None:
        try:
            if self._sliceable:
                self._feed_sized(payloads=None)
            else:
                self._feed_iterable()
        except ConnectionLostError:
            pass  # whoever waits for the results is told
        except BaseException as error:  # noqa: BLE001 - __reduce__ is the user's code, and may raise even KeyboardInterrupt
            self._give_up(error)
        finally:
            self._items = ()  # what a generator holds open is let go here, not when the last result is
            with self._pulling:
                self._stopped = True
                self._pulling.notify_all()
            self.over.set()

    # --- lists ------------------------------------------------------------------------------------

    def _feed_sized(self, payloads: int | None) -> None:
        items = self._items
        assert isinstance(items, Sequence)
        while self.sent < len(items) and payloads != 0 and self._window.wait():
            self._pack(items[self.sent : self.sent + self._size])
            payloads = payloads and payloads - 1
        if self.sent >= len(items):
            self._finish()

    # --- generators -------------------------------------------------------------------------------

    def _feed_iterable(self) -> None:
        threading.Thread(target=self._rescue, name=f"lbnet-rescue-{self._job}", daemon=True).start()
        iterator: Iterator[Any] = chain(self._items, (_END,))
        pull = 1
        while self._window.wait() and not self._stopped:
            begun = time.monotonic()
            try:
                self._pull_some(iterator, pull)
            except BaseException as error:  # noqa: BLE001 - the iterable is the user's code
                self.error = error
            took_s = time.monotonic() - begun
            self._drain()
            if self._given_up is not None:
                raise self._given_up
            if self._ended or self.error is not None:
                self._finish()
                return
            pull = min(4 * pull, self._size) if took_s < limits.PAYLOAD_FILL_S / 4 else max(1, pull // 4)

    def _pull_some(self, iterator: Iterator[Any], count: int) -> None:
        """Take up to ``count`` items; behind the last one stands ``_END``."""
        with self._pulling:
            self._pull += 1
            self._pulling.notify_all()
        try:
            # An item is in the deque as soon as the iterable has given it, for the other thread to take.
            self._pending.extend(islice(iterator, count))
        finally:
            with self._pulling:
                self._pull += 1
                self._pulling.notify_all()

    def _rescue(self) -> None:
        """Send what waits in a pull that takes long."""
        while not self._stopped:
            with self._pulling:
                self._pulling.wait_for(lambda: self._stopped or self._pull % 2 == 1)
                pull = self._pull
            nap_s = limits.PAYLOAD_FILL_S
            while not self._stopped and not self._ended_within(pull, nap_s):
                if self._pending:
                    try:
                        self._drain()
                    except ConnectionLostError:
                        return
                    except BaseException as error:  # noqa: BLE001 - see _run
                        self._given_up = error
                        return
                nap_s = min(2 * nap_s, _POLL_MAX_S)

    def _ended_within(self, pull: int, timeout_s: float) -> bool:
        with self._pulling:
            return self._pulling.wait_for(lambda: self._stopped or self._pull != pull, timeout_s)

    def _drain(self) -> None:
        with self._lock:
            items = [self._pending.popleft() for _ in range(len(self._pending))]
            if items and items[-1] is _END:
                items.pop()
                self._ended = True
            while items and not self._stopped and self._given_up is None:
                count = min(self._size, len(items))
                self._pack(items[:count])
                del items[:count]

    # --- payloads ---------------------------------------------------------------------------------

    def _give_up(self, error: BaseException) -> None:
        """Items from here on cannot be sent: let the job end with those before."""
        self.error = error
        with contextlib.suppress(ConnectionLostError):
            self._finish()

    def _finish(self) -> None:
        self.finished = True
        self._close(self.sent)

    def _pack(self, items: Sequence[Any]) -> None:
        """Send these items, in as many payloads as their size asks for."""
        at = 0
        while at < len(items):
            rest = items[at:] if at else items
            part = rest[: fitting(rest, limits.PAYLOAD_BYTES_SOFT)]
            data = pickling.dump_items(part, self._style).data
            while len(data) > _PAYLOAD_BYTES_MAX and len(part) > 1:
                part = part[: len(part) // 2]
                data = pickling.dump_items(part, self._style).data
            self._post(len(part), data)
            at += len(part)

    def _post(self, count: int, data: bytes) -> None:
        lo = self.sent
        payload = Payload(lo, count, self._function, data)
        self._window.sent(count, len(data))
        self._send(Batch(self._job, ROOT, lo, lo + count, 0, ROOT, 0, payload))
        self.sent = lo + count
        wanted = int(limits.PAYLOAD_BYTES_SOFT * count / len(data))
        most = payload_tasks(self._window.arrivals, time.monotonic() - self._began)
        self._size = max(1, min(wanted, self._size * _GROWTH, most))


class Fed:
    """The input of a job that was fed before, perhaps by another client: there is nothing to do.

    Args:
        count: how many items it had.
    """

    def __init__(self, count: int) -> None:
        self.sent = count
        self.finished = True
        self.error: BaseException | None = None
        self.over = threading.Event()
        self.over.set()

    def stop(self) -> None:
        """Nothing is being sent."""


def is_sliceable(items: object) -> bool:
    """Whether slices of ``items`` are what iterating over it gives: true of a subclass only if it changed nothing."""
    return type(items) in {list, tuple, range}


def fitting(items: Sequence[Any], bytes_soft: int) -> int:
    """How many of the first items have about ``bytes_soft`` bytes together, at least one.

    Only what is large by itself counts: texts, bytes and buffers, also inside of a tuple or a list. What is
    large in other ways shows in the payload before.
    """
    if type(items) is range or _are_small(items):
        return len(items)
    size = 0
    for count, item in enumerate(items):
        size += _weight(item)
        if size > bytes_soft:
            return max(1, count)
    return len(items)


def _are_small(items: Sequence[Any]) -> bool:
    """Whether all are numbers, or exact tuples of numbers: most lists are, and looking at each would cost more than
    pickling it.
    """
    types = set(map(type, items))
    if types <= _SMALL:
        return True
    if not types <= _SMALL | {tuple}:
        return False
    tuples = [item for item in items if type(item) is tuple]
    return max(map(len, tuples)) <= _FEW and _SMALL.issuperset(map(type, chain.from_iterable(tuples)))


def _weight(item: Any) -> int:
    try:
        if isinstance(item, tuple | list):
            return sum(
                _own_weight(part)
                for part in item
                if isinstance(part, str | bytes | bytearray) or hasattr(part, "nbytes")
            )
        return _own_weight(item)
    except Exception:  # noqa: BLE001 - attributes and sizes of user's objects are user's code; this is a guess anyway
        return 0


def _own_weight(item: Any) -> int:
    if isinstance(item, str | bytes | bytearray):
        return len(item)
    nbytes = getattr(item, "nbytes", 0)
    return nbytes if isinstance(nbytes, int) else 0
