"""Whether those at the other ends of links still live: BEAT keeps a silent link alive, and one without it is dead.

A peer whose machine is gone, or whose process was stopped, says nothing, and no system call tells. Everybody
therefore says something on every link, BEAT if there is nothing else, and gives up a link on which nothing comes.

Pure: whoever owns the links says what was heard and said, and when. This must not know what messages mean, or how a
link is closed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from lbnet.types import PeerId

_LOOKS = 12
"""Looks in a deadline, at most. A look goes over all links, and must not come anew for each of them."""


class Liveness:
    """The links of one process.

    BEAT is due on a link after a third of the deadline without another word, and comes a twelfth late at most, because
    a look goes over all links. A peer is dead when nothing came from it for the deadline.

    A process that was stopped, or kept from its links by anything else, has heard nothing in that time, which says
    nothing about its peers. It knows by a look that comes late, by a third of the deadline: what others said until
    five twelfths before that may still wait to be read. It gives everybody a new deadline then.

    Args:
        agreed_s: the deadline in seconds that the cluster has agreed on; 0: no link is watched.
        deadline_s: after how much silence this process gives a peer up, if that is longer.

    Attributes:
        look_at: when :meth:`look` is due next; infinite when there is nothing to look at.
    """

    def __init__(self, agreed_s: float, deadline_s: float = 0.0) -> None:
        assert agreed_s >= 0, "silence is not negative"
        self.look_at = math.inf
        self.agreed_s = agreed_s
        self.deadline_s = 0.0
        self._own_s = deadline_s
        self._beat_s = self._pause_s = 0.0
        self._heard: dict[PeerId, float] = {}
        self._said: dict[PeerId, float] = {}
        self.agree(agreed_s)

    def agree(self, agreed_s: float) -> None:
        """Another deadline is agreed on, for links that are opened from now on; 0 for none."""
        self.agreed_s = agreed_s
        self.deadline_s = max(agreed_s, self._own_s) if agreed_s else 0.0
        self._beat_s = agreed_s / 3
        self._pause_s = agreed_s / _LOOKS
        if not agreed_s:
            self._heard.clear()
            self._said.clear()
            self.look_at = math.inf

    def opened(self, peer: PeerId, now: float) -> None:
        """There is a link to ``peer``, which was just heard and spoken to."""
        if self.agreed_s:
            self._heard[peer] = self._said[peer] = now
            self.look_at = min(self.look_at, now + self._beat_s)

    def closed(self, peer: PeerId) -> None:
        """The link is gone. It need not have been there."""
        if self._heard.pop(peer, None) is not None:
            del self._said[peer]
            if not self._heard:
                self.look_at = math.inf

    def heard(self, peer: PeerId, now: float) -> None:
        """Something came from ``peer``."""
        if peer in self._heard:
            self._heard[peer] = now

    def said(self, peers: Iterable[PeerId], now: float) -> None:
        """Something is about to be said to each of these."""
        said = self._said
        for peer in peers:
            if peer in said:
                said[peer] = now

    def look(self, now: float) -> tuple[list[PeerId], list[PeerId]]:
        """Look at all links, and forget those that are dead.

        Returns:
            Whom to say BEAT, which counts as said; and who is dead. Both in the order in which links were opened.
        """
        assert now >= self.look_at, "it is not time to look"
        if now - self.look_at > self._beat_s:
            for peer in self._heard:
                self._heard[peer] = now
        dead = [peer for peer, at in self._heard.items() if now - at >= self.deadline_s]
        for peer in dead:
            del self._heard[peer], self._said[peer]
        beat = [peer for peer, at in self._said.items() if now - at >= self._beat_s]
        for peer in beat:
            self._said[peer] = now
        self.look_at = max(self._next_at(), now + self._pause_s)
        return beat, dead

    def silence(self) -> str:
        """Why a peer is given up, for people."""
        return f"nothing came from it for {self.deadline_s:g} s"

    def _next_at(self) -> float:
        said = min(self._said.values(), default=math.inf) + self._beat_s
        heard = min(self._heard.values(), default=math.inf) + self.deadline_s
        return min(said, heard)
