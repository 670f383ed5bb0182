"""Runs of one kind each, by name. What breaks in them is all that breaks."""

from __future__ import annotations

from dataclasses import replace

from bench.faults.plan import Plan

CALM = {
    "a flat list, all to the first": Plan(splits=False, reduce=False, items=20, units=2),
    "a flat list, spread": Plan(placement="spread", splits=False, reduce=False, items=20, units=2),
    "small tasks": Plan(placement="spread", splits=False, reduce=False, items=60, units=1, unit_s=1e-4, slots=2),
    "trees": Plan(reduce=False, items=3, units=20),
    "trees, spread": Plan(placement="spread", reduce=False, items=6, units=10, slots=2),
    "combined trees": Plan(items=3, units=20),
    "combined trees, spread": Plan(placement="spread", items=6, units=10, slots=2),
    "one worker": Plan(items=3, units=10, workers=1, slots=3),
    "no direct links": Plan(items=3, units=20, refused=1.0),
    "little room": Plan(reduce=False, items=4, units=20, slots=2, crowded=True),
    "little room, combined": Plan(placement="spread", items=6, units=10, crowded=True),
    "workers come later": Plan(items=4, units=16, workers=1, joins=3, placement="spread"),
}
ROUGH = {
    "links break": Plan(reduce=False, items=3, units=30, link_cuts=6, refused=0.2),
    "links break, combined": Plan(items=3, units=30, link_cuts=6, refused=0.2),
    "slots crash": Plan(reduce=False, items=3, units=20, slots=2, slot_crashes=4, failures=2, link_cuts=2),
    "slots crash, combined": Plan(items=3, units=20, slots=2, slot_crashes=4, failures=2),
    "workers crash, flat": Plan(placement="spread", splits=False, reduce=False, items=20, units=2, worker_crashes=3),
    "workers crash": Plan(reduce=False, items=3, units=20, worker_crashes=3),
    "workers crash, combined": Plan(items=3, units=20, worker_crashes=3),
    "the last worker crashes": Plan(items=2, units=20, workers=1, slots=2, worker_crashes=2, slot_crashes=2),
    "everything": Plan(
        placement="spread",
        items=4,
        units=16,
        workers=4,
        slots=2,
        joins=1,
        worker_crashes=3,
        slot_crashes=3,
        link_cuts=4,
        failures=2,
        refused=0.2,
    ),
    "everything, small tasks": Plan(
        items=30, units=3, unit_s=1e-4, slots=2, worker_crashes=2, slot_crashes=2, link_cuts=3, failures=2, refused=0.2
    ),
    "cancelled": Plan(
        items=4, units=16, slots=2, worker_crashes=1, slot_crashes=2, link_cuts=3, refused=0.2, cancels=True
    ),
    "a senseless strategy": Plan(items=4, units=10, strategy="nonsense"),
    "a senseless strategy, spread": Plan(
        placement="spread",
        items=6,
        units=10,
        strategy="nonsense",
        worker_crashes=2,
        slot_crashes=2,
        link_cuts=3,
        refused=0.2,
    ),
}


DEATHS = {
    "the controller dies, flat": Plan(
        placement="spread", splits=False, reduce=False, items=20, units=2, journal=True, controller_crashes=2
    ),
    "the controller dies": Plan(reduce=False, items=3, units=20, journal=True, controller_crashes=3),
    "the controller dies, combined": Plan(items=3, units=20, journal=True, controller_crashes=3),
    "links to the controller break": Plan(
        reduce=False, placement="spread", items=8, units=8, uplink_cuts=5, link_cuts=3, refused=0.3
    ),
    "links to the controller break, combined": Plan(items=3, units=20, uplink_cuts=5),
    "results are set aside": Plan(
        reduce=False,
        placement="spread",
        items=24,
        units=2,
        journal=True,
        detached=True,
        aside=True,
        controller_crashes=2,
        uplink_cuts=10,
        client_crashes=1,
    ),
    "all die": replace(ROUGH["everything"], journal=True, controller_crashes=3, uplink_cuts=4),
    "all die, small tasks": replace(
        ROUGH["everything, small tasks"], reduce=False, journal=True, controller_crashes=3, uplink_cuts=4
    ),
    "all die, cancelled": replace(ROUGH["cancelled"], journal=True, controller_crashes=2, uplink_cuts=2),
}


LEAVING = {
    "workers leave": Plan(placement="spread", items=6, units=10, slots=2, leaves=3, grace_s=0.0),
    "items are cancelled": Plan(placement="spread", items=6, units=20, slots=2, withdrawals=6),
}
