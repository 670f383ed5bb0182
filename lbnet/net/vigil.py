"""Who watches over links on a real network: what the core cannot see of them, and a link that has no core.

A message is whole before anybody hears of it. One of a gigabyte takes longer than a link may be silent, and a link
that is not read hears nothing at all; its peer lives for all that, and only the bytes show it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from lbnet.core.events import Event, Heard
from lbnet.core.liveness import Liveness
from lbnet.net.link import Link
from lbnet.protocol.messages import Beat
from lbnet.types import CONTROLLER, PeerId

_STIRS_LOOKS = 4
"""Looks for bytes in a deadline."""


class Bystander:
    """Tells a core, by ``Heard``, of peers that live although no message of theirs is whole.

    Args:
        links: of all peers; they may change.
        tell: hands an event to the core.
    """

    def __init__(self, links: Mapping[Link, PeerId], tell: Callable[[Event], None]) -> None:
        self._links = links
        self._tell = tell
        self._timer: asyncio.TimerHandle | None = None

    def start(self, deadline_s: float) -> None:
        """Begin, or begin anew with another deadline; 0: nobody wants to know."""
        self.stop()
        if deadline_s:
            self._timer = asyncio.get_running_loop().call_later(deadline_s / _STIRS_LOOKS, self._look, deadline_s)

    def stop(self) -> None:
        """Tell nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, deadline_s: float) -> None:
        self.start(deadline_s)
        for peer in [peer for link, peer in self._links.items() if link.stirs()]:
            self._tell(Heard(peer))


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
