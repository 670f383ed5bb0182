"""A tail taken back is what workers say, where it ran what tasks say; a task is trapped only beside an idle slot."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bench import catalog, watched
from bench.experiments import giants
from bench.report import draw
from bench.tails import IDLE_S, Ran, Row, Tail, idle, parts, sat_behind, tails
from bench.tails import giants as giants_of
from bench.watched import Handed, Slot, TakenBack, Watch
from lbnet.core import effects, events
from lbnet.core.worker import Worker
from lbnet.types import ROOT, Batch, JobId, Payload, RunId, SlotId

TINY_S = 0.0001


def in_turn(lane: str, lo: int, hi: int, began_s: float, seconds: float = TINY_S) -> list[Row]:
    """Tasks that ran one after the other."""
    return [
        Row(index, lane, began_s + place * seconds, began_s + (place + 1) * seconds)
        for place, index in enumerate(range(lo, hi))
    ]


GIANT = 3
ROWS = [
    *in_turn("a", 0, 3, 0.0),
    Row(GIANT, "a", 0.0003, 1.0003),
    *in_turn("a", 4, 6, 1.0003),
    *in_turn("b", 6, 8, 0.3),
    *in_turn("b", 8, 10, 0.2),
    Row(10, "b", 0.0, 0.1),
]
"""A giant in lane a, behind which 4 and 5 stayed; 8 and 9, and then 6 and 7, were taken back from it."""

HANDED = [Handed(0.0, "a", 1, 7, 0, 10), Handed(0.0, "b", 1, 7, 10, 11)]
TAKEN = [TakenBack(0.15, "a", 1, 7, 8, 10), TakenBack(0.25, "a", 1, 7, 6, 8)]


def test_stretches_run_in_one_lane_one_after_the_other() -> None:
    assert parts([]) == []
    assert parts(in_turn("a", 4, 7, 1.0, 0.5)) == [Ran("a", 4, 7, 1.0, 2.5)]
    rows = [*in_turn("a", 0, 2, 0.0, 1.0), *in_turn("b", 2, 3, 2.0, 1.0), *in_turn("a", 3, 4, 2.0, 1.0)]
    assert [(part.lane, part.lo, part.hi) for part in parts(rows)] == [("a", 0, 2), ("b", 2, 3), ("a", 3, 4)]
    paused = [*in_turn("a", 0, 2, 0.0, 1.0), *in_turn("a", 2, 4, 2.0 + 2 * IDLE_S, 1.0)]
    assert [(part.lo, part.hi) for part in parts(paused)] == [(0, 2), (2, 4)]
    left_out = [*in_turn("a", 0, 2, 0.0, 1.0), *in_turn("a", 3, 4, 2.0, 1.0)]
    assert [(part.lo, part.hi) for part in parts(left_out)] == [(0, 2), (3, 4)]


def test_a_tail_belongs_to_the_giant_that_ran_and_its_tasks_are_followed() -> None:
    large = giants_of(ROWS, [GIANT])
    assert large == {"a": [ROWS[GIANT]]}
    early = TakenBack(0.0001, "a", 1, 7, 4, 4)
    found = tails([*TAKEN, early], ROWS, large)
    assert [(tail.at_s, tail.lo, tail.hi, tail.giant) for tail in found] == [
        (0.0001, 4, 4, None),
        (0.15, 8, 10, GIANT),
        (0.25, 6, 8, GIANT),
    ]
    assert [tail.moved for tail in found] == [0, 2, 2]
    assert found[1].ran == (Ran("b", 8, 10, 0.2, pytest.approx(0.2002)),)
    stayed = Tail(0.2, "a", 4, 6, GIANT, tuple(parts(ROWS[4:6])))
    assert stayed.moved == 0


def test_a_lane_is_idle_where_it_begins_nothing() -> None:
    assert idle([]) == []
    gaps = idle(ROWS)
    # Lane b between its tasks and at the end; lane a runs the giant.
    expected = [(0.1, 0.2), (0.2002, 0.3), (0.3002, 1.0005)]
    assert gaps == [pytest.approx(gap) for gap in expected]


def test_who_sits_behind_a_giant_is_trapped_while_another_lane_is_idle() -> None:
    sat = {each.index: each for each in sat_behind(HANDED, TAKEN, ROWS, giants_of(ROWS, [GIANT]))}
    assert sorted(sat) == [4, 5, 6, 7, 8, 9]
    assert {each.giant for each in sat.values()} == {GIANT}
    # Lane b was busy until 0.1, and these were taken back at 0.15.
    assert sat[8].trapped_s == pytest.approx(0.05)
    assert sat[8].wait_s == pytest.approx(0.2 - 0.0003)
    # Lane b ran 8 and 9 from 0.2 on: that is no idleness.
    assert sat[6].trapped_s == pytest.approx(0.1 + 0.25 - 0.2002)
    # They stayed until the giant ended.
    assert sat[4].trapped_s == pytest.approx(0.1 + (0.3 - 0.2002) + (1.0003 - 0.3002))
    assert sat[4].wait_s == pytest.approx(1.0)


def test_nobody_is_trapped_while_all_lanes_run_giants() -> None:
    rows = [Row(0, "a", 0.0, 1.0), Row(1, "b", 0.0, 1.0), Row(2, "a", 1.0, 1.0001)]
    handed = [Handed(0.0, "a", 1, 1, 0, 1), Handed(0.0, "a", 1, 2, 2, 3), Handed(0.0, "b", 1, 1, 1, 2)]
    (only,) = sat_behind(handed, [], rows, giants_of(rows, [0, 1]))
    assert (only.index, only.wait_s, only.trapped_s) == (2, 1.0, 0.0)


def test_a_giant_behind_a_giant_sits_there_too() -> None:
    rows = [Row(0, "a", 0.0, 1.0), Row(1, "a", 1.0, 2.0), Row(2, "b", 0.0, 0.5)]
    handed = [Handed(0.0, "a", 1, 1, 0, 2), Handed(0.0, "b", 1, 1, 2, 3)]
    (only,) = sat_behind(handed, [], rows, giants_of(rows, [0, 1]))
    assert (only.index, only.giant, only.trapped_s) == (1, 0, 0.5)


def test_who_was_handed_over_when_the_giant_had_ended_did_not_sit() -> None:
    rows = [Row(0, "a", 0.0, 1.0), Row(1, "a", 1.5, 1.6)]
    handed = [Handed(0.0, "a", 1, 1, 0, 1), Handed(1.2, "a", 1, 2, 1, 2)]
    assert sat_behind(handed, [], rows, giants_of(rows, [0])) == []


# --- what a worker writes down --------------------------------------------------------------------


def run_of(lo: int, hi: int, ticket: int, origin: RunId = ROOT) -> effects.Run:
    payload = Payload(0, 100, b"digest", b"")
    batch = Batch(JobId(5), origin, lo, hi, 0, ROOT, 0, payload)
    return effects.Run(SlotId(0), ticket, batch, RunId(1), b"", 0.0)


def reclaimed(ticket: int, taken_from: int) -> events.Reclaimed:
    return events.Reclaimed(SlotId(0), ticket, taken_from)


def written(log: io.StringIO) -> list[list[object]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_a_worker_notes_what_it_hands_out_and_what_comes_back(tmp_path: Path) -> None:
    log = io.StringIO()
    watch = Watch("one", log)
    watch.see(events.SlotReady(SlotId(0), 99), [run_of(10, 20, 1), run_of(0, 3, 2, RunId(77))], 1.0)
    watch.see(reclaimed(1, 16), [], 2.0)
    watch.see(reclaimed(1, 16), [], 3.0)  # nothing more
    watch.see(reclaimed(1, 20), [], 3.0)
    watch.see(reclaimed(1, 5), [], 4.0)
    watch.see(reclaimed(2, 0), [], 5.0)  # not items of the job
    watch.see(events.SlotFinished(SlotId(0), 1, 16), [run_of(30, 31, 3)], 6.0)
    watch.see(reclaimed(1, 10), [], 7.0)
    path = tmp_path / "notes"
    path.write_text(log.getvalue(), encoding="utf-8")
    assert watched.notes(path) == [
        Slot("one/0", 99),
        Handed(1.0, "one/0", 5, 1, 10, 20),
        TakenBack(2.0, "one/0", 5, 1, 16, 20),
        TakenBack(4.0, "one/0", 5, 1, 10, 16),
        Handed(6.0, "one/0", 5, 3, 30, 31),
    ]


def test_a_watched_worker_decides_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    def handle(worker: Worker, event: events.Event, now: float) -> list[effects.Effect]:
        return [run_of(0, 2, int(now))]

    monkeypatch.setattr(Worker, "handle", handle)
    log = io.StringIO()
    watched.watch(log)
    worker = Worker.__new__(Worker)
    worker.name = "one"
    assert worker.handle(events.Tick(), 3.0) == [run_of(0, 2, 3)]
    assert len(written(log)) == 1


# --- the experiment -------------------------------------------------------------------------------


def run_like(rows: Sequence[Row] = ROWS) -> giants.Watched:
    large = giants_of(rows, [GIANT])
    return giants.Watched(
        "a list", 1, 1.1, 0.55, list(rows), HANDED, tails(TAKEN, rows, large),
        sat_behind(HANDED, TAKEN, rows, large), [rows[GIANT]], 2,
    )  # fmt: skip


def test_a_run_is_told_in_a_line_and_a_sentence() -> None:
    run = run_like()
    line = dict(zip(giants.WATCHED_COLUMNS, run.line(), strict=True))
    assert (line["tails taken back"], line["behind giants"], line["their tasks"], line["of them moved"]) == (2, 2, 4, 4)
    assert line["of ideal"] == pytest.approx(0.5)
    assert line["sat behind a giant"] == 6
    assert line["worst trapped s"] == run.trapped_s == pytest.approx(0.1 + (0.3 - 0.2002) + (1.0003 - 0.3002))
    assert "no task was trapped behind a giant for longer than 0.900 s" in giants.verdict([run], "a list")


def test_the_run_with_the_most_tails_is_shown_and_the_giant_behind_which_they_were() -> None:
    run = run_like()
    none = replace(run, tails=[], run=2)
    other = replace(none, name="another list")
    assert giants.shown([none, run, other]) == [run, other]
    assert giants.around(none) is None
    near = giants.around(run)
    assert near is not None
    assert near[0] < ROWS[GIANT].began_s < ROWS[GIANT].ended_s < near[1]


def test_painting_needs_no_tails(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run = run_like()
    for runs in ([run], [run, replace(run, tails=[], sat=[], name="another list")]):
        path = tmp_path / f"{len(runs)}.png"
        assert draw(path, giants.paint(runs), (8, 6), {}) == ""
        assert path.stat().st_size > 0


def test_tasks_note_where_and_when_they_ran() -> None:
    before = time.monotonic()
    number, pid, began_s, ended_s = catalog.noted_burn((7, 1e-6))
    assert (number, pid) == (7, os.getpid())
    assert before <= began_s <= ended_s <= time.monotonic()


def test_the_late_pair_stands_in_one_batch() -> None:
    workload = catalog.late_pair(1_000, 0.1)
    large = [number for number, seconds in workload.items() if seconds > giants.GIANT_S]
    assert large == [500, 510]
    assert workload.work_s == pytest.approx(0.2, rel=0.01)


def test_a_watched_cluster_tells_of_every_task() -> None:
    workload = catalog.late_pair(20_000, 0.1)
    runs = giants.watched([workload], 1, 2, lambda _: None)
    (run,) = runs
    assert [row.index for row in run.rows] == list(range(20_000))
    assert {row.lane for row in run.rows} <= {"worker 1/0", "worker 2/0"}
    covered = {index for note in run.handed for index in range(note.lo, note.hi)}
    assert covered == set(range(20_000)), "every task was handed to a slot"
    assert all(sat.until_s - sat.since_s >= sat.trapped_s >= 0 for sat in run.sat)
