"""What a user may ask of a job, checked where it is asked. It must not know how jobs run."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from lbnet import limits
from lbnet.errors import UsageError
from lbnet.strategies import registry
from lbnet.strategies.base import Strategy
from lbnet.types import JobOptions

PLACEMENTS = ("spread", "first")
"""``spread``: by free slots. ``first``: all initial work to the first worker, the classical experiment."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of :meth:`lbnet.Client.with_options`.

    Attributes:
        name: of the jobs, in status and reports; the function's name if empty.
        placement: where initial work goes, one of :data:`PLACEMENTS`; the controller's own choice if empty.
        strategy: name of the load-balancing strategy, or one that the cluster was started with; the controller's own
            choice if empty.
        retries: how often a task that raised, or was over its time, is tried again.
        task_timeout_s: seconds that one task may take before its process is ended; 0 for no limit.
        crash_limit: a task that has killed its process so often fails.
        detached: the job goes on when its client leaves.
        retry_delay_s: seconds that a task waits before its first retry, twice as long before each further one; it holds
            no slot meanwhile.
        retry_on: exceptions that are worth a retry, with all that derive from them: classes, or names with or without
            their module; all exceptions if there are none. A task over its time raises ``TaskTimeoutError``.
        priority: tasks of jobs with a higher one start first, wherever they wait; those that run are not interrupted.
            As long as there are such tasks, those of lower priority may wait for ever.
        echo: what tasks print is shown on this process's standard error as it comes, with a word on whose it is.

    Raises:
        UsageError: a value is impossible.
    """

    name: str = ""
    placement: str = ""
    strategy: str = ""
    retries: int = 0
    task_timeout_s: float = 0.0
    crash_limit: int = 3
    detached: bool = False
    retry_delay_s: float = 0.0
    retry_on: tuple[str, ...] = ()
    priority: int = 0
    echo: bool = False

    def __post_init__(self) -> None:
        for name, kind in (
            ("name", str),
            ("placement", str),
            ("strategy", str),
            ("retries", int),
            ("crash_limit", int),
            ("priority", int),
        ):
            value = getattr(self, name)
            if not isinstance(value, kind) or isinstance(value, bool):
                raise UsageError(f"{name} must be of type {kind.__name__}; it is {value!r}")
        for name in ("detached", "echo"):
            if not isinstance(getattr(self, name), bool):
                raise UsageError(f"{name} must be True or False; it is {getattr(self, name)!r}")
        if self.placement and self.placement not in PLACEMENTS:
            raise UsageError(f"placement must be one of {', '.join(PLACEMENTS)}; it is {self.placement!r}")
        if not 0 <= self.retries <= limits.TRIES_MAX:
            raise UsageError(f"retries must be 0 to {limits.TRIES_MAX:,}; it is {self.retries}")
        if not 1 <= self.crash_limit <= limits.TRIES_MAX:
            raise UsageError(f"crash_limit must be 1 to {limits.TRIES_MAX:,}; it is {self.crash_limit}")
        if not -limits.PRIORITY_MAX <= self.priority <= limits.PRIORITY_MAX:
            most = limits.PRIORITY_MAX
            raise UsageError(f"priority must be {-most:,} to {most:,}; it is {self.priority}")
        _check_seconds("task_timeout_s", self.task_timeout_s, "0 (no limit)", limits.TASK_TIMEOUT_MAX_S)
        _check_seconds("retry_delay_s", self.retry_delay_s, "0", limits.RETRY_DELAY_MAX_S)
        # Names travel: a slot compares them with what a task raised, which may not exist anywhere else.
        object.__setattr__(self, "retry_on", _names(self.retry_on))

    def changed(self, changes: dict[str, Any]) -> Options:
        """These options with some of them replaced.

        Raises:
            UsageError: there is no such option, or its value is impossible.
        """
        known = [field.name for field in fields(self)]
        unknown = [name for name in changes if name not in known]
        if unknown:
            raise UsageError(f"there is no option {', '.join(unknown)}; there are: {', '.join(known)}")
        strategy = changes.get("strategy", "")
        if isinstance(strategy, Strategy | type):  # the cluster knows it, or refuses the job
            changes = {**changes, "strategy": registry.checked(strategy).name}
        return replace(self, **changes)

    def for_job(self, default_name: str, reduce: bytes = b"") -> JobOptions:
        """The same as a message carries it."""
        return JobOptions(
            name=sendable(self.name or default_name)[: limits.OUTPUT_NAME_CHARS_MAX],
            placement=self.placement,
            strategy=sendable(self.strategy),
            reduce=reduce,
            retries=self.retries,
            task_timeout_s=float(self.task_timeout_s),
            crash_limit=self.crash_limit,
            detached=self.detached,
            retry_delay_s=float(self.retry_delay_s),
            retry_on=self.retry_on,
            priority=self.priority,
        )


def _check_seconds(name: str, seconds: object, least: str, most: float) -> None:
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds <= most:
        raise UsageError(f"{name} must be {least} to {most:g} seconds; it is {seconds!r}")


def _names(exceptions: Any) -> tuple[str, ...]:
    """The names of exceptions that were given as classes or names, one or several."""
    several = exceptions if isinstance(exceptions, tuple | list | set | frozenset) else (exceptions,)
    names = []
    for each in several:
        if isinstance(each, type) and issubclass(each, BaseException):
            names.append(f"{each.__module__}.{each.__qualname__}")
        elif isinstance(each, str) and each:
            names.append(sendable(each))
        else:
            raise UsageError(f"retry_on must be exception classes or their names; it is {exceptions!r}")
    if len(names) > limits.RETRY_ON_MAX:
        raise UsageError(f"retry_on must be {limits.RETRY_ON_MAX} exceptions at most; it is {len(names)}")
    return tuple(sorted(set(names)))


def sendable(text: str) -> str:
    """``text`` without the characters that cannot be sent, such as those of a file name in no known encoding."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
