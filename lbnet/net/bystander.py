"""What a core cannot see of its links: a peer that lives although no message of it is whole.

A message of a gigabyte takes longer than a link may be silent, and a link that is not read hears nothing at all; only
the bytes show that its peer lives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from lbnet.core.events import Event, Heard
from lbnet.net.link import Link
from lbnet.types import PeerId

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
