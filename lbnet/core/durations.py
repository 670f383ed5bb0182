"""How long the tasks of a function take, and how large their results are, learnt from what slots report."""

from __future__ import annotations

from collections import OrderedDict, deque

from lbnet import limits


class Durations:
    """Mean and typical seconds of a task for each function, the recent past weighing most.

    The mean says how much work there is, and the typical one how many tasks should travel together: giants among tiny
    tasks are most of the work, and if batches were as small as their mean asks for, most would be as good as empty. A
    giant that hides in a large batch traps nothing, since the rest is taken back.

    One observation is what a slot reports at once: many tiny tasks, or one long one. Each new one
    takes :data:`_FORGET` of the weight of all before it, so that an abrupt change is believed after
    some ten reports, and one giant among thousands is not.
    """

    __slots__ = ("_lasting", "_means", "_recent", "_sizes", "_sums")

    def __init__(self) -> None:
        self._lasting: dict[bytes, float] = {}
        self._means: dict[bytes, float] = {}
        self._recent: dict[bytes, deque[float]] = {}
        self._sizes: dict[bytes, float] = {}
        self._sums: OrderedDict[bytes, tuple[float, float, int]] = OrderedDict()

    def observe(self, function: bytes, tasks: int, seconds: float) -> None:
        """``tasks`` tasks of ``function`` took ``seconds`` in all."""
        if tasks <= 0 or seconds < 0:
            return
        sums = self._sums
        old_tasks, old_seconds, finished = sums.get(function, _NOTHING)
        sums[function] = (old_tasks * _FORGET + tasks, old_seconds * _FORGET + seconds, finished + tasks)
        if len(sums) > 1:
            sums.move_to_end(function)
            if len(sums) > limits.DURATION_FUNCTIONS_MAX:
                forgotten, _ = sums.popitem(last=False)
                self._means.pop(forgotten, None)
                self._recent.pop(forgotten, None)
                self._sizes.pop(forgotten, None)
        recent = self._recent.get(function)
        if recent is None:
            recent = self._recent[function] = deque(maxlen=_RECENT)
        recent.append(seconds / tasks)
        self._estimate(function)

    def observe_size(self, function: bytes, tasks: int, size_bytes: int) -> None:
        """The results of ``tasks`` tasks of ``function``, at least one, have so many bytes in all."""
        mean_bytes = size_bytes / tasks
        self._sizes[function] = (self._sizes.get(function, mean_bytes) + mean_bytes) / 2

    def result_bytes(self, function: bytes) -> float:
        """Mean bytes of one result, the last reports weighing most; 0 while nothing is known."""
        return self._sizes.get(function, 0.0)

    def lasting(self, seconds: dict[bytes, float]) -> None:
        """Tasks that run now have lasted so long, by function: that counts although nobody knows how long they will.

        With a task cut off at ``s`` seconds, the mean of an exponential distribution is best guessed as the sum of all
        times, with ``s``, over the number of finished tasks (Epstein and Sobel 1953). So a function whose last few
        tasks were tiny is not believed to be tiny while one of its tasks runs and runs.
        """
        if seconds or self._lasting:
            changed = self._lasting.keys() | seconds.keys()
            self._lasting = seconds
            for function in changed & self._sums.keys():
                self._estimate(function)

    def _estimate(self, function: bytes) -> None:
        sums = self._sums[function]
        mean_s = (sums[1] + self._lasting.get(function, 0.0)) / sums[0]
        self._means[function] = max(_MEAN_MIN_S, mean_s)

    def finished(self, function: bytes) -> int:
        """How many tasks of ``function`` have been observed in all."""
        sums = self._sums.get(function)
        return 0 if sums is None else sums[2]

    def mean_s(self, function: bytes) -> float | None:
        """Mean seconds of one task, never below a nanosecond; None while nothing is known."""
        return self._means.get(function)

    def typical_s(self, function: bytes) -> float | None:
        """Seconds of one task as the middle one of the last reports has it, never below a nanosecond, nor above the
        mean; None while nothing is known.
        """
        mean_s = self._means.get(function)
        if mean_s is None:
            return None
        recent = sorted(self._recent[function])
        return min(mean_s, max(_MEAN_MIN_S, recent[len(recent) // 2]))

    def guess_s(self, function: bytes) -> float:
        """Like :meth:`mean_s`; what nobody has measured counts as long, so that it is not hoarded."""
        return self._means.get(function, limits.UNKNOWN_TASK_S)


_FORGET = 0.9
_RECENT = 9
"""Reports of which the middle one is typical."""

_NOTHING = (0.0, 0.0, 0)
_MEAN_MIN_S = 1e-9
