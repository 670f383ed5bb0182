"""Who watches over the link of a process that has no core, such as a client's."""

from __future__ import annotations

import asyncio

from lbnet.core.liveness import Liveness
from lbnet.net.link import Link
from lbnet.protocol.messages import Beat
from lbnet.types import CONTROLLER


class Vigil:
    """Watches over the one link of a process that has no core: says BEAT on it, and closes it when it is dead.

    Args:
        link: it has just been opened.
        deadline_s: how long it may be silent; 0: for ever.
    """

    def __init__(self, link: Link, deadline_s: float) -> None:
        self._link = link
        self._liveness = Liveness(deadline_s)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._liveness.opened(CONTROLLER, self._loop.time())
        self._wait()

    def heard(self) -> None:
        """A message came."""
        self._liveness.heard(CONTROLLER, self._loop.time())

    def end(self) -> None:
        """The link is gone."""
        self._liveness.closed(CONTROLLER)
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        if self._liveness.deadline_s:
            self._timer = self._loop.call_at(self._liveness.look_at, self._look)

    def _look(self) -> None:
        now, liveness = self._loop.time(), self._liveness
        if now >= liveness.look_at:  # a timer may be early by less than a clock's step
            if self._link.stirs():
                self.heard()
            beat, dead = liveness.look(now)
            if dead:
                self._link.abort(liveness.silence())
                return
            if beat:
                self._link.send(Beat())
        self._wait()
