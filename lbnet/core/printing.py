"""A worker's part in showing what tasks print: it says what was kept, and passes on what comes of followed jobs.

It must not know where output is kept, or what it is shown on.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from lbnet.core import effects, events
from lbnet.core.effects import Effect
from lbnet.core.following import fitting
from lbnet.protocol import messages
from lbnet.protocol.credit import Ahead
from lbnet.types import CONTROLLER, ROOT, JobId


class Printing:
    """What the controller wants to hear of the output of this worker's tasks.

    Args:
        name: of this worker.
        do: takes an effect.
    """

    def __init__(self, name: str, do: Callable[[Effect], None]) -> None:
        self._name = name
        self._do = do
        self._followed: dict[JobId, Ahead] = {}

    def follow(self, message: messages.Follow) -> None:
        """FOLLOW: a job is followed, or read on, or no more."""
        ahead = self._followed.get(message.job)
        if not message.follow:
            self._followed.pop(message.job, None)
            self._do(effects.Follow(message.job, False))
        elif ahead is None or not message.heard:
            self._followed[message.job] = Ahead()
            self._do(effects.Follow(message.job, True))
        else:
            ahead.got(message.heard)

    def alone(self) -> None:
        """The controller is gone; when it is back, it says anew what it wants."""
        for job in self._followed:
            self._do(effects.Follow(job, False))
        self._followed.clear()

    def printed(self, output: events.SlotOutput) -> None:
        """A task of a followed job has printed."""
        ahead = self._followed.get(output.job)
        if ahead is None:
            return
        said = messages.Printed(
            output.job, self._name, output.slot, output.origin, output.index, output.text, output.dropped
        )
        printed = fitting(said, ahead)
        if printed is not None:
            self._do(effects.Send(CONTROLLER, printed))

    def enquire(self, message: messages.Enquire) -> None:
        """ENQUIRE: what was printed."""
        self._do(effects.Recall(message.enquiry, message.job, message.index, message.what == "flush"))

    def recalled(self, event: events.Recalled) -> None:
        """What the slots' output was."""
        facts = [
            {
                "slot": int(output.slot),
                "origin": int(output.origin),
                "item": output.index if output.origin == ROOT else None,
                "index": output.index,
                "text": output.text.decode("utf-8", "backslashreplace"),
                "dropped": output.dropped,
            }
            for output in event.outputs
        ]
        answer = messages.Enquired(event.enquiry, json.dumps({"outputs": facts}))
        self._do(effects.Send(CONTROLLER, answer))
