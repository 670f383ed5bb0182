"""What is compared is the same job on both sides, and the verdict counts what it says."""

from __future__ import annotations

import csv
import json
import operator
from functools import reduce
from pathlib import Path

import pytest

from bench.experiments import fidelity
from bench.experiments.fidelity import PIECE_S, PLANS, Job, Lateness, Outcome, medians, row_of, simulated, verdict
from bench.sleeping import Sleeping, SleepingUnit, Splitting
from lbnet import pickling
from lbnet.sim.costs import Costs
from lbnet.sim.divisible import DivisibleUnit

EXACT = Lateness(0.0, 0.0, 1e-6)


def flat(name: str) -> Job:
    return PLANS[name].make(3, 0.5, EXACT)


@pytest.mark.parametrize("name", ["constant", "lognormal", "giants"])
def test_the_model_has_the_tasks_of_the_cluster(name: str) -> None:
    job = flat(name)
    assert [job.model.task(number) for number, _ in job.items] == [seconds for _, seconds in job.items]
    assert sum(seconds for _, seconds in job.items) == pytest.approx(3 * 0.5)
    assert list(job.expected) == [number for number, _ in job.items]


def test_a_sleeping_unit_splits_as_the_model_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    real = [SleepingUnit(1000, PIECE_S, 7)]
    model = [DivisibleUnit(1000, round(PIECE_S * 1e9), 7)]
    for place in (0, 0, 1, 2, 0, 3, 4):
        part, modelled = real[place].split(0.5), model[place].split()
        assert part is not None
        assert modelled is not None
        real.append(part)
        model.append(modelled)
    for one, other in zip(real, model, strict=True):
        while not one.run(0.0):
            pass
        other.run(1e9)
        assert one.result() == other.result()
    assert reduce(operator.add, (unit.result() for unit in real)) == 1000
    assert SleepingUnit(1, PIECE_S, 7).split(0.5) is None


def test_each_run_is_a_function_that_nobody_knows() -> None:
    for kind in (Sleeping, Splitting):
        first, second, again = (pickling.dump_function(kind(run))[0] for run in (1, 2, 1))
        assert first != second
        assert first == again


def test_lateness_goes_from_that_of_short_naps_to_that_of_long_ones() -> None:
    late = Lateness(10e-6, 50e-6, 0.0)
    for seconds, expected in ((1e-5, 10e-6), (1e-3, 10e-6), (10**-2.5, 30e-6), (1e-2, 50e-6), (5.0, 50e-6)):
        assert late.slept_s(seconds) - seconds == pytest.approx(expected)


def test_a_simulated_job_costs_what_it_must_and_the_seed_decides() -> None:
    found = [simulated(flat("lognormal"), "rp", 3, Costs(), seed) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert found[0].tasks == len(flat("lognormal").items)
    assert found[0].makespan_s > 0.5
    assert found[0].messages > 0
    assert found[0].asks > 0


def outcome(makespan_s: float) -> Outcome:
    return Outcome(makespan_s, 100 * makespan_s, 3, 4, 5)


def test_rows_have_medians_and_the_verdict_names_what_is_off() -> None:
    assert medians([outcome(1.0), outcome(9.0), outcome(2.0)]) == outcome(2.0)
    good = row_of(flat("constant"), "sb", 3, [outcome(2.0), outcome(1.0), outcome(3.0)], [outcome(1.9)])
    assert (good["real"], good["simulated"], good["ratio"]) == (2.0, 1.9, pytest.approx(0.95))
    assert (good["spread"], good["spread_simulated"]) == (1.0, 0.0)
    assert (good["messages_real"], good["messages_simulated"]) == (200, 190)
    assert set(good) == set(fidelity.MEASURED_COLUMNS)
    off = row_of(flat("giants"), "rp", 3, [outcome(2.0)], [outcome(1.7)])
    assert verdict([good]) == "1 of 1 simulated makespans are within 10% of the real ones"
    assert verdict([good, off]).startswith("1 of 2 simulated")
    assert verdict([good, off]).endswith("; not: giants, mean 5 ms with rp on 3 workers (0.85)")


def test_real_and_simulated_runs_end_in_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fidelity, "_NAPPING_S", 0.02)
    costs = tmp_path / "costs.json"
    Costs(host_cores=2).save(costs)
    arguments = ["--strategy", "pmap", "--workers", "2", "--workload", "constant,unit", "--seconds", "0.05"]
    assert fidelity.main([*arguments, "--repeat", "1", "--costs", str(costs), "--out", str(tmp_path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    constant, unit = facts["rows"]
    assert constant["tasks"] == 10
    assert constant["moved_real"] == constant["moved_simulated"] == 0
    # OPEN_JOB and its like, and for each task IDLE, SEND_WORK, ACK, RESULT and VALUES.
    assert constant["messages_real"] >= 50
    assert unit["real"] > 0.1  # one slot sleeps through all pieces
    assert unit["simulated"] > 0.1
    assert facts["costs"]["2"]["host_cores"] == 2
    assert "of 2 simulated makespans" in facts["verdict"]
    with (tmp_path / "fidelity.csv").open(encoding="utf-8") as file:
        assert [row["strategy"] for row in csv.DictReader(file)] == ["pmap", "pmap"]


def test_what_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--strategy", "xx"], ["--workload", "xx"], ["--workers", "0"]):
        with pytest.raises(SystemExit):
            fidelity.main(arguments)
    assert "no strategy xx; there are: sb" in capsys.readouterr().err
