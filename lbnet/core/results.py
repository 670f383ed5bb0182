"""RESULTs that a worker has said, or would have: it keeps them until the controller says that they are safe.

It must not know what they hold.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from lbnet.protocol.messages import Result
from lbnet.types import JobId


class UnkeptResults:
    """In the order in which they were said on the link that is open now.

    Args:
        say: sends one to the controller, if it is there.
    """

    __slots__ = ("_results", "_safe", "_say", "size_bytes")

    def __init__(self, say: Callable[[Result], None]) -> None:
        self._say = say
        self._results: deque[tuple[Result | None, int]] = deque()
        self._safe = 0
        self.size_bytes = 0
        """Bytes of what is kept, about."""

    def add(self, result: Result) -> None:
        """A new one."""
        size = size_of(result)
        self._results.append((result, size))
        self.size_bytes += size
        self._say(result)

    def kept(self, upto: int) -> None:
        """The first ``upto`` of this link are safe."""
        while self._results and self._safe < upto:
            self.size_bytes -= self._results.popleft()[1]
            self._safe += 1

    @property
    def unkept(self) -> bool:
        """Whether any is kept that somebody wants."""
        return any(result is not None for result, _ in self._results)

    def forget(self, job: JobId) -> None:
        """Nobody wants those of this job any more; they count as said."""
        for place, (result, size) in enumerate(self._results):
            if result is not None and result.job == job:
                self.size_bytes -= size
                self._results[place] = (None, 0)

    def again(self) -> list[Result]:
        """The link is a new one: what is kept, which is to be said on it with :meth:`add` after its functions."""
        results = [result for result, _ in self._results if result is not None]
        self._results.clear()
        self._safe = 0
        self.size_bytes = 0
        return results


def size_of(result: Result) -> int:
    """Bytes that it takes to keep it, about."""
    size = _RESULT_BYTES
    for group in result.groups:
        size += _RESULT_BYTES + group.size_bytes
    return size


_RESULT_BYTES = 100
