"""Links between processes: a network card that sends one message after the other, and the way to the other side.

It must not know what is sent.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from lbnet.core.events import Event, Left, Received
from lbnet.protocol.messages import Message
from lbnet.sim.costs import Costs
from lbnet.sim.engine import Engine
from lbnet.sim.frames import size_bytes
from lbnet.sim.process import Cores, Item, Process
from lbnet.types import PeerId


class Link:
    """A connection between two processes. A new one between the same two is another link."""

    __slots__ = ("left", "right")

    def __init__(self, left: Node, right: Node) -> None:
        self.left = left
        self.right = right

    def beyond(self, node: Node) -> Node:
        """The other end."""
        return self.right if node is self.left else self.left


class Node(Process):
    """A process with a network card and links.

    Args:
        engine: the clock.
        costs: latency and bandwidth.
        peer: its id.
        event_s: see :class:`~lbnet.sim.process.Process`.
        message_s: see there.
        draw: see there.
        cores: see there.
    """

    def __init__(
        self,
        engine: Engine,
        costs: Costs,
        peer: PeerId,
        *,
        event_s: float,
        message_s: float,
        draw: Callable[[], float],
        cores: Cores | None,
    ) -> None:
        super().__init__(
            engine,
            event_s=event_s,
            message_s=message_s,
            byte_s=costs.byte_s,
            jitter=costs.jitter,
            draw=draw,
            cores=cores,
        )
        self.peer = peer
        self.links: dict[PeerId, Link] = {}
        self.watch: Callable[[PeerId, PeerId, Message, float], None] | None = None
        self._latency_s = costs.latency_s
        self._byte_on_wire_s = 1.0 / costs.bandwidth_bytes_s
        self._card_free_at = 0.0
        self._tick_at = math.inf
        self._wakes_at = math.inf

    def link(self, other: Node) -> Link:
        """Open a link."""
        assert other.peer not in self.links, "one link between two"
        assert self.peer not in other.links, "one link between two"
        link = self.links[other.peer] = other.links[self.peer] = Link(self, other)
        return link

    def send(self, to: PeerId, message: Message, when: float) -> float:
        """Write a message from ``when`` on; what has no link is dropped. Returns when this process is free again."""
        link = self.links.get(to)
        if link is None:
            return when
        if self.watch is not None:
            self.watch(self.peer, to, message, self.engine.now)
        size = size_bytes(message)
        done = when + self.message_s + self.byte_s * size
        self._card_free_at = max(done, self._card_free_at) + size * self._byte_on_wire_s
        other = link.right if self is link.left else link.left
        item = Item(other.event_s + other.message_s + other.byte_s * size, Received(self.peer, message), link)
        self.engine.at(self._card_free_at + self._latency_s, other.post, item)
        return done

    def is_stale(self, item: Item, peer: PeerId, *, closes: bool = False) -> bool:
        """Whether an event comes by a link to ``peer`` that is not open any more. The end of a link ``closes`` it."""
        if self.links.get(peer) is not item.link:
            return True
        if closes:
            del self.links[peer]
        return False

    def set_timer(self, at: float, tick: Event) -> None:
        """Let ``tick`` come at ``at``, and not when it was asked for before."""
        self._tick_at = at = max(at, self.engine.now)
        if at < self._wakes_at:
            self._wakes_at = at
            self.engine.at(at, self._wake, tick)

    def _wake(self, tick: Event) -> None:
        now = self.engine.now
        if now < self._wakes_at:
            return
        self._wakes_at = math.inf
        if now >= self._tick_at:
            self._tick_at = math.inf
            self.post(Item(self.event_s, tick))
        elif self._tick_at < math.inf:
            self._wakes_at = self._tick_at
            self.engine.at(self._tick_at, self._wake, tick)

    def hang_up(self, to: PeerId, reason: str) -> None:
        """Close a link: the other side hears of it later, this one by its next event."""
        link = self.links.get(to)
        if link is None:
            return
        other = link.beyond(self)
        own, far = Left(to, reason), Left(self.peer, reason)
        self.engine.at(self.engine.now, self.post, Item(self.event_s, own, link))
        self.engine.at(self.engine.now + self._latency_s, other.post, Item(other.event_s, far, link))

    def die(self, reason: str) -> None:
        """The process ends: whoever has a link to it hears of that, and of nothing that had not left its card."""
        self.alive = False
        for link in self.links.values():
            other = link.beyond(self)
            left = Item(other.event_s, Left(self.peer, reason), link)
            self.engine.at(self.engine.now + self._latency_s, other.post, left)
        self.links.clear()
