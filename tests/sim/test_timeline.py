from __future__ import annotations

from lbnet.protocol.messages import Match, NoWork, SendWork
from lbnet.sim.timeline import Timeline
from lbnet.types import CONTROLLER, PeerId

ONE, TWO = PeerId(1), PeerId(2)


def test_a_worker_is_busy_while_a_slot_runs_and_waits_while_work_comes():
    timeline = Timeline()
    timeline.joined(ONE, 0.0)
    timeline.joined(TWO, 0.5)
    timeline.said(CONTROLLER, ONE, SendWork(1, CONTROLLER, ()), 1.0)
    timeline.heard(ONE, SendWork(1, CONTROLLER, ()), 1.5)
    timeline.slots(ONE, 1.5, held=1)
    timeline.slots(ONE, 2.0, running=1)
    timeline.slots(ONE, 2.5, held=1)
    timeline.slots(ONE, 3.0, held=-1, running=-1)
    timeline.slots(ONE, 3.0, running=1)
    timeline.slots(ONE, 4.0, held=-1, running=-1)
    timeline.said(CONTROLLER, ONE, Match(TWO, "host", 1), 4.5)
    timeline.heard(TWO, NoWork(ONE, TWO), 5.0)
    timeline.left(ONE, 6.0)
    timeline.slots(ONE, 7.0, held=-1)
    one, two = timeline.changes(0.0)
    assert one[0] == (0.0, "idle")
    assert (1.0, "transfer") in one
    assert (2.0, "busy") in one
    assert one[-2:] == ((4.0, "idle"), (6.0, "left"))
    assert two == ((0.5, "idle"), (4.5, "transfer"), (5.0, "idle"))


def test_times_begin_with_the_job():
    timeline = Timeline()
    timeline.joined(ONE, 0.0)
    timeline.slots(ONE, 1.0, held=1, running=1)
    timeline.slots(ONE, 3.0, held=-1, running=-1)
    assert timeline.changes(2.0) == (((0.0, "busy"), (1.0, "idle")),)
