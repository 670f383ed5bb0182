"""Queues, links and timers against times that were worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from lbnet.core.events import Left, Received, Tick
from lbnet.protocol.messages import Ack, Idle, SendWork
from lbnet.sim.costs import Costs
from lbnet.sim.engine import Engine
from lbnet.sim.frames import size_bytes
from lbnet.sim.links import Node
from lbnet.sim.process import Cores, Item
from lbnet.types import ROOT, Batch, JobId, Payload, PeerId

COSTS = Costs(latency_s=0.5, bandwidth_bytes_s=1000.0, byte_s=0.0)


class Talker(Node):
    """Notes when it handles what; says what it was told to say to whatever comes."""

    def __init__(self, engine: Engine, peer: int, cores: Cores | None = None, jitter: float = 0.0) -> None:
        costs = Costs(**{**COSTS.facts(), "jitter": jitter})  # type: ignore[arg-type]
        super().__init__(engine, costs, PeerId(peer), event_s=2.0, message_s=1.0, draw=lambda: 0.5, cores=cores)
        self.heard: list[tuple[float, Any]] = []
        self.says: list[tuple[int, Any]] = []

    def take(self, item: Item) -> float:
        when = self.engine.now
        closes = isinstance(item.event, Left)
        if not isinstance(item.event, Tick) and self.is_stale(item, item.event.peer, closes=closes):
            return when
        self.heard.append((when, item.event))
        says, self.says = self.says, []
        for to, message in says:
            when = self.send(PeerId(to), message, when)
        return when


def _work(size: int) -> SendWork:
    empty = size_bytes(SendWork(1, PeerId(1), (Batch(JobId(1), ROOT, 0, 1, 0, ROOT, 0, Payload(0, 1, b"f", b"")),)))
    return SendWork(1, PeerId(1), (Batch(JobId(1), ROOT, 0, 1, 0, ROOT, 0, Payload(0, 1, b"f", bytes(size - empty))),))


def _pair(engine: Engine) -> tuple[Talker, Talker]:
    one, two = Talker(engine, 1), Talker(engine, 2)
    one.link(two)
    return one, two


def _times(talker: Talker) -> list[float]:
    return [when for when, _ in talker.heard]


def test_a_process_handles_one_event_after_the_other():
    engine = Engine()
    talker = Talker(engine, 1)
    for when in (0.0, 1.0, 20.0):
        engine.at(when, talker.post, Item(3.0, Tick()))
    engine.run()
    assert _times(talker) == [3.0, 6.0, 23.0]
    assert talker.busy_s == 9.0


def test_a_message_costs_its_sender_its_card_the_way_and_its_receiver():
    engine = Engine()
    one, two = _pair(engine)
    one.says = [(2, _work(4000)), (2, _work(2000))]
    one.post(Item(0.0, Tick()))
    engine.run()
    # Written at 1 and 2; on the wire until 1 + 4 and then until 5 + 2; 0.5 on its way; 2 + 1 at the receiver, where the
    # second one, there at 7.5, finds it busy until 8.5.
    assert _times(two) == pytest.approx([1 + 4 + 0.5 + 3, 8.5 + 3])


def test_bytes_cost_both_processes():
    engine = Engine()
    one, two = _pair(engine)
    one.byte_s = two.byte_s = 0.01
    one.says = [(2, _work(100))]
    one.post(Item(0.0, Tick()))
    engine.run()
    assert _times(two) == pytest.approx([1 + 1 + 0.1 + 0.5 + 3 + 1])
    assert one.busy_s == pytest.approx(2.0)


def test_the_sender_is_busy_while_it_writes():
    engine = Engine()
    one, _ = _pair(engine)
    one.says = [(2, Ack(1)), (2, Ack(2)), (3, Ack(3))]  # nobody is 3: nothing is written
    one.post(Item(1.0, Tick()))
    one.post(Item(1.0, Tick()))
    engine.run()
    assert _times(one) == [1.0, 4.0]


def test_shared_cores_are_given_in_the_order_of_the_line():
    engine = Engine()
    cores = Cores(engine, 2)
    talkers = [Talker(engine, peer, cores) for peer in (1, 2, 3)]
    for talker in talkers:
        talker.post(Item(5.0, Tick()))
    talkers[0].post(Item(1.0, Tick()))
    engine.run()
    assert [_times(talker) for talker in talkers] == [[5.0, 6.0], [5.0], [10.0]]


def test_jitter_makes_work_longer():
    engine = Engine()
    talker = Talker(engine, 1, jitter=0.2)
    talker.post(Item(10.0, Tick()))
    engine.run()
    assert _times(talker) == [11.0]


def test_what_comes_after_the_end_of_a_link_is_not_heard():
    engine = Engine()
    one, two = _pair(engine)
    one.says = [(2, Ack(1)), (2, _work(60_000))]
    one.post(Item(0.0, Tick()))
    engine.at(2.5, lambda _: one.die("killed"), None)
    engine.run()
    kinds = [type(event.message) if isinstance(event, Received) else type(event) for _, event in two.heard]
    assert kinds == [Ack, Left]
    assert two.links == {}


def test_both_sides_hear_that_one_hung_up_and_may_link_anew():
    engine = Engine()
    one, two = _pair(engine)
    one.hang_up(PeerId(2), "enough")
    one.hang_up(PeerId(9), "nobody")
    engine.run()
    assert [event for _, event in (*one.heard, *two.heard)] == [Left(PeerId(2), "enough"), Left(PeerId(1), "enough")]
    one.link(two)
    one.says = [(2, Idle(0.0))]
    one.post(Item(0.0, Tick()))
    engine.run()
    assert two.heard[-1][1] == Received(PeerId(1), Idle(0.0))


def test_a_timer_replaces_the_one_before():
    engine = Engine()
    talker = Talker(engine, 1)
    talker.set_timer(5.0, Tick())
    talker.set_timer(9.0, Tick())
    engine.at(6.0, lambda _: talker.set_timer(7.0, Tick()), None)
    engine.run()
    assert _times(talker) == [9.0]  # asked for at 7, and 2 to handle it
    talker.set_timer(0.0, Tick())  # has passed: at once
    engine.run()
    assert _times(talker) == [9.0, 11.0]
