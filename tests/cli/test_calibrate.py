"""The costs of the model are found again in what they make a cluster spend; and the command says what it found."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from lbnet.cli import calibration, calibration_runs, main
from lbnet.cli.calibration import (
    Calibration,
    Readings,
    at_controller,
    at_workers,
    rows_of,
    shares,
    slot_shares,
    worked_out,
)
from lbnet.cli.calibration_runs import Run, median_run
from lbnet.errors import UsageError
from lbnet.sim.costs import Costs
from lbnet.sim.flat import Flat
from lbnet.sim.run import simulate_once

TRUE = Costs(
    latency_s=20e-6,
    bandwidth_bytes_s=2e9,
    connect_s=300e-6,
    handshake_s=700e-6,
    controller_event_s=20e-6,
    controller_message_s=5e-6,
    worker_event_s=12e-6,
    worker_message_s=9e-6,
    client_event_s=10e-6,
    client_message_s=10e-6,
    client_item_s=0.1e-6,
    byte_s=0.7e-9,
    pipe_s=40e-6,
    ticket_s=50e-6,
    wake_s=30e-6,
    task_s=0.06e-6,
    slot_start_s=0.07,
    host_cores=2,
)
NOTHING = Run(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, {}, {})


def single(items: int, jobs: int = 1, *, wakes: int = 2) -> Run:
    """What tasks cost that go one at a time, in so many jobs, and wake their slots so often."""
    opening = {"OpenJob": jobs, "Function": jobs, "Submit": jobs, "CloseJob": jobs}
    got = {"Idle": items, "Ack": items, "Result": items} | opening
    to_workers = {"SendWork": items, "OpenJob": 2 * jobs, "Function": 2 * jobs, "JobEnded": 2 * jobs}
    sent = to_workers | {"Values": items, "JobDone": jobs}
    run = replace(NOTHING, got=got, sent=sent, slots_s=items * (TRUE.ticket_s + wakes * TRUE.wake_s))
    events, messages = at_controller(run)
    controller_s = events * TRUE.controller_event_s + messages * TRUE.controller_message_s
    events, messages = at_workers(run)
    workers_s = events * TRUE.worker_event_s + messages * TRUE.worker_message_s
    client_s = items * (TRUE.client_event_s + TRUE.client_message_s)
    return replace(run, controller_s=controller_s, workers_s=workers_s, client_s=client_s)


def readings() -> Readings:
    trips_s = simulate_once(
        Flat("no-ops", [0.0] * calibration.TRIPS), strategy="pmap", workers=1, costs=TRUE
    ).makespan_s
    blobs = single(calibration.BLOBS)
    blob_bytes = calibration.BLOBS * calibration.BLOB_BYTES
    no_ops_client_s = 100 * 20e-6 + calibration.NO_OPS * TRUE.client_item_s
    return Readings(
        cores=2,
        latency_s=TRUE.latency_s,
        bandwidth_bytes_s=TRUE.bandwidth_bytes_s,
        connect_s=TRUE.connect_s + 2 * TRUE.handshake_s,
        handshake_s=TRUE.handshake_s,
        slot_start_s=TRUE.slot_start_s,
        no_ops=replace(
            NOTHING, busy_s=calibration.NO_OPS * TRUE.task_s, client_s=no_ops_client_s, sent={"Values": 100}
        ),
        naps=replace(NOTHING, busy_s=calibration.NAPS * (calibration.NAP_S + 50e-6)),
        trips=replace(NOTHING, makespan_s=trips_s),
        brief=single(calibration.ITEMS, wakes=1),
        many=single(calibration.ITEMS),
        short=single(2_400, 300),
        blobs=replace(blobs, controller_s=blobs.controller_s + 2 * blob_bytes * TRUE.byte_s),
    )


def test_costs_are_found_again_in_what_they_explain() -> None:
    found = worked_out(readings())
    assert found.nap_s == pytest.approx(50e-6)
    for name, value in TRUE.facts().items():
        # With the pipe, two timers of the strategy end elsewhere.
        assert found.costs.facts()[name] == pytest.approx(value, rel=0.02 if name == "pipe_s" else 1e-6), name


def test_a_time_that_everything_else_explains_leaves_nothing_for_the_pipe() -> None:
    slow = replace(readings(), trips=replace(NOTHING, makespan_s=1e-3))
    assert worked_out(slow).costs.pipe_s == 0.0


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(3, 5, 3 * 2.0 + 5 * 7.0), (1, 4, 1 * 2.0 + 4 * 7.0)], (2.0, 7.0)),
        ([(1, 2, 10.0), (2, 3, 12.0)], None),
        ([(1, 2, 10.0), (2, 4, 20.0)], None),
    ],
)
def test_shares_are_never_negative_and_explain_the_whole_as_well_as_can_be(
    rows: list[tuple[float, float, float]], expected: tuple[float, float] | None
) -> None:
    found = shares(rows)
    assert min(found) >= 0
    if expected is not None:
        assert found == pytest.approx(expected)

    def error(event_s: float, message_s: float) -> float:
        return sum(((events * event_s + messages * message_s) / spent_s - 1) ** 2 for events, messages, spent_s in rows)

    steps = [(event / 10, message / 10) for event in range(120) for message in range(120)]
    assert error(*found) <= min(error(*step) for step in steps) + 1e-9


@pytest.mark.parametrize(
    ("brief_s", "slept_s", "expected"), [(5.0, 8.0, (2.0, 3.0)), (5.0, 4.0, (5.0, 0.0)), (5.0, 11.0, (0.0, 5.0))]
)
def test_a_slot_is_woken_once_more_by_a_task_that_sleeps(
    brief_s: float, slept_s: float, expected: tuple[float, float]
) -> None:
    assert slot_shares(brief_s, slept_s) == expected


def test_workers_are_charged_for_their_slots() -> None:
    run = replace(NOTHING, got={"Result": 10, "Idle": 10, "Ack": 10, "Submit": 7}, sent={"SendWork": 10, "Values": 10})
    # Of each of the ten: SEND_WORK and two words of the slot are heard; RESULT, IDLE, ACK and RUN are said.
    assert at_workers(run) == (30, 70)
    assert at_controller(run) == (37, 57)


def test_the_median_of_runs_is_taken_field_by_field() -> None:
    runs = [
        replace(
            NOTHING, makespan_s=seconds, client_s=-seconds, got={"Idle": count}, sent={"Match": count} if count else {}
        )
        for seconds, count in ((1.0, 5), (3.0, 0), (2.0, 4))
    ]
    middle = median_run(runs)
    assert (middle.makespan_s, middle.client_s) == (2.0, -2.0)
    assert (middle.got, middle.sent) == ({"Idle": 4}, {"Match": 4})


# --- the command --------------------------------------------------------------------------------------------


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """Calibration takes no time, and tells for how many workers it was asked."""
    asked: list[int | None] = []

    def calibrate(workers: int | None, tell: object) -> Calibration:
        asked.append(workers)
        return Calibration(TRUE, rows_of(TRUE, 50e-6), 50e-6)

    monkeypatch.setattr(calibration, "calibrate", calibrate)
    return asked


def test_the_file_is_one_that_the_simulator_reads(told: list[int | None], tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    result = CliRunner().invoke(main.group, ["calibrate", "-o", str(path)])
    assert result.exit_code == 0, result.output
    assert Costs.load(path) == TRUE
    assert told == [None]
    assert f"written: {path}" in result.output


def test_the_table_names_every_cost_its_unit_and_how_it_was_measured(told: list[int | None]) -> None:
    result = CliRunner().invoke(main.group, ["calibrate", "--workers", "32"])
    assert result.exit_code == 0, result.output
    assert told == [32]
    for row in rows_of(TRUE, 50e-6):
        assert row.how
        line = next(line for line in result.output.splitlines() if line.startswith(f"{row.name} "))
        assert row.how in line
    assert "50.00 us" in result.output
    assert "2e+09 bytes/s" in result.output


def test_programs_get_the_costs_and_the_rows(told: list[int | None]) -> None:
    result = CliRunner().invoke(main.group, ["calibrate", "--json"])
    facts = json.loads(result.stdout)
    assert Costs.from_facts(facts["costs"]) == TRUE
    assert [row["name"] for row in facts["rows"]] == [*TRUE.facts(), "(nap)"]


def test_a_folder_that_does_not_exist_is_said_in_a_sentence(told: list[int | None], tmp_path: Path) -> None:
    result = CliRunner().invoke(main.group, ["calibrate", "-o", str(tmp_path / "none" / "costs.json")])
    assert isinstance(result.exception, UsageError)
    assert "costs cannot be written to" in str(result.exception)


def test_a_real_cluster_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration_runs, "REPEATS", 1)
    for name, count in (
        ("ITEMS", 400),
        ("ITEMS_PER_WORKER", 20),
        ("TRIPS", 100),
        ("NO_OPS", 20_000),
        ("BLOBS", 4),
        ("NAPS", 5),
    ):
        monkeypatch.setattr(calibration, name, count)
    steps: list[str] = []
    found = calibration.calibrate(2, steps.append)
    assert len(steps) == 4
    costs = found.costs.facts()
    assert Costs.from_facts(costs) == found.costs
    for name in ("latency_s", "bandwidth_bytes_s", "handshake_s", "slot_start_s", "task_s", "host_cores"):
        value = costs[name]
        assert value is not None
        assert 0 < value < math.inf, name
    assert found.costs.worker_event_s + found.costs.worker_message_s > 0
    assert found.costs.connect_s >= 0
    assert found.nap_s < 0.1
