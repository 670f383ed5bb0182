"""What becomes of the output of a pool's tasks: it is kept, shown, and told to whom it concerns.

It must not know why somebody wants it.
"""

from __future__ import annotations

from collections.abc import Callable

from lbnet import limits
from lbnet.core.events import SlotOutput
from lbnet.pool.echo import Echo
from lbnet.pool.logs import Logs
from lbnet.pool.output import Piece
from lbnet.pool.slot import Slot
from lbnet.types import JobId

_MORE = b"\nlbnet: the rest of what this task prints is not shown here\n"


class Printed:
    """The output of all slots of one worker.

    Args:
        tell: takes the events of jobs that are followed.
    """

    def __init__(self, tell: Callable[[SlotOutput], None]) -> None:
        self._tell = tell
        self._logs = Logs()
        self._echo = Echo()
        self._followed: set[JobId] = set()

    def follow(self, job: JobId, follow: bool) -> None:
        """Tell everything that tasks of this job print, or no more."""
        if follow:
            self._followed.add(job)
        else:
            self._followed.discard(job)

    def follows(self, job: JobId) -> bool:
        """Whether everything is told that tasks of this job print."""
        return job in self._followed

    def take(self, slot: Slot, piece: Piece) -> None:
        """Something was printed in this slot."""
        number, index, data = piece
        if number is None:
            number, index, _ = slot.running()
        ticket = slot.find(number)
        if ticket is None:
            # Of no task: of the interpreter as it starts, or of a thread that outlived its task.
            room = limits.OUTPUT_HEAD_BYTES - slot.stray_bytes
            slot.stray_bytes += len(data)
            if room > 0:
                self._echo.show(data[:room])
            return
        shown = self._logs.add(slot.id, number, ticket.job, ticket.origin, index, data)
        if shown:
            self._echo.show(data[:shown] + (_MORE if shown < len(data) else b""))
        if ticket.job in self._followed:
            self._tell(SlotOutput(slot.id, ticket.job, ticket.origin, index, data, 0, live=True))

    def of_execution(self, slot: Slot, number: int, index: int) -> SlotOutput | None:
        """What this execution of a task has printed, None if nothing."""
        ticket = slot.find(number)
        return None if ticket is None else self._logs.of_execution(slot.id, number, ticket.job, index)

    def of_job(self, job: JobId, index: int | None) -> list[SlotOutput]:
        """See :meth:`lbnet.pool.parent.Pool.logs`."""
        return self._logs.of_job(job, index)

    def stop(self) -> None:
        """Nothing more will come."""
        self._echo.stop(limits.STOP_TIMEOUT_S / 10)
