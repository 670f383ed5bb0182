"""The search finds the work that it should, fits recover laws, and what was simulated once is not simulated again."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bench.experiments import isoefficiency
from bench.iso import fit, tables
from bench.iso.driver import Driver
from bench.iso.search import Search, State, extrapolated
from bench.iso.store import Store, version
from bench.iso.study import TARGET, Point, Study, holding, on_tree, seeds_for, sizes
from bench.iso.trial import Outcome, Trial, simulate, work_of
from lbnet.errors import UsageError
from lbnet.sim.costs import Costs
from lbnet.sim.workloads import workload
from lbnet.strategies import registry

SMALL = Trial("rp", 8, "divisible:1000:1ms", 1)


def searched(efficiency: Callable[[float], float], guess_s: float, work_max_s: float = 1e9) -> Search:
    search = Search(guess_s, TARGET, work_max_s)
    while search.state is State.OPEN:
        search.tell(efficiency(search.work_s))
    return search


def overhead(seconds: float, power: float = 0.0) -> Callable[[float], float]:
    return lambda work_s: work_s / (work_s + seconds * work_s**power)


class TestSearch:
    @pytest.mark.parametrize(("tolerance", "state"), [(0.005, State.OPEN), (0.015, State.FOUND)])
    def test_who_is_content_with_less_ends_sooner(self, tolerance: float, state: State) -> None:
        search = Search(1.0, TARGET, 1e9, tolerance)
        search.tell(TARGET + 0.01)
        assert search.state is state

    @pytest.mark.parametrize("guess_s", [0.01, 1.0, 39.0, 41.0, 300.0, 1e4])
    @pytest.mark.parametrize("power", [0.0, 0.3, 0.6])
    def test_finds_the_work_in_few_tries_from_wherever_it_begins(self, guess_s: float, power: float) -> None:
        answer = 40.0 ** (1 / (1 - power))
        search = searched(overhead(10.0, power), guess_s * answer / 40.0)
        assert search.state in (State.FOUND, State.ROUGH)
        assert abs(search.best.efficiency - TARGET) <= 0.005
        assert search.best.work_s == pytest.approx(answer, rel=0.04 / (1 - power))
        assert len(search.tries) <= (4 if 1 / 40 <= guess_s / 40 <= 10 else 9)

    def test_a_good_guess_is_one_try(self) -> None:
        assert len(searched(overhead(10.0), 40.5).tries) == 1

    def test_a_step_of_the_curve_ends_in_a_narrow_bracket_or_says_that_it_is_rough(self) -> None:
        search = searched(lambda work_s: 0.7 if work_s < 40 else 0.9, 38.0)
        low, high = search.bracket()
        assert low is not None
        assert high is not None
        assert low.work_s < 40 <= high.work_s
        assert search.state in (State.FOUND, State.ROUGH)

    def test_noise_against_the_grain_does_not_lead_astray(self) -> None:
        noise = iter([0.02, -0.02, 0.015, -0.015, 0.01, -0.01])
        search = searched(lambda work_s: overhead(10.0)(work_s) + next(noise), 60.0)
        assert search.state in (State.FOUND, State.ROUGH)
        assert 30 < search.work_s < 55

    def test_what_is_never_reached_is_said_to_be(self) -> None:
        search = searched(lambda _: 0.5, 1.0, work_max_s=100.0)
        assert search.state is State.UNREACHABLE
        assert max(one.work_s for one in search.tries) <= 100.0

    def test_gives_up_at_the_most_work(self) -> None:
        search = searched(lambda _: 0.5, 90.0, work_max_s=100.0)
        assert [one.work_s for one in search.tries] == [90.0, 100.0]

    def test_begins_where_fewer_workers_point_to(self) -> None:
        assert extrapolated([], 8, 0.5) == 4.0
        assert extrapolated([(8, 1.0)], 16, 0.5) == pytest.approx(2**1.4)
        assert extrapolated([(8, 1.0), (16, 4.0)], 32, 0.5) == pytest.approx(16.0)
        assert extrapolated([(8, 1.0), (16, 100.0)], 32, 0.5) == pytest.approx(100 * 2**2.5)
        assert extrapolated([(8, 1.0), (16, 0.5)], 32, 0.5) == pytest.approx(1.0)


class TestFit:
    def test_a_power_law_is_recovered(self) -> None:
        line = fit.power_law([(p, 0.02 * p**1.7) for p in (8, 16, 32, 64)])
        assert line is not None
        assert (line.c, line.a, line.worst) == pytest.approx((0.02, 1.7, 1.0))

    def test_the_worst_point_is_told(self) -> None:
        line = fit.power_law([(1, 1.0), (2, 4.0), (4, 4.0)])
        assert line is not None
        assert line.a == pytest.approx(1.0)
        assert line.worst == pytest.approx(math.exp(math.log(2) * 2 / 3))

    @pytest.mark.parametrize("points", [[], [(8, 1.0)], [(8, 1.0), (8, 2.0)]])
    def test_one_number_of_workers_is_no_line(self, points: list[fit.Point]) -> None:
        assert fit.power_law(points) is None
        assert fit.flatness(points, "p") is None

    @pytest.mark.parametrize("law", list(fit.LAWS))
    def test_each_law_is_flat_over_itself_alone(self, law: str) -> None:
        points = [(p, 3 * fit.LAWS[law](p)) for p in (8, 64, 512)]
        slopes = {other: fit.flatness(points, other) for other in fit.LAWS}
        for other, flat in slopes.items():
            assert flat is not None
            assert (abs(flat.slope) < 1e-9) == (other == law)
            assert (flat.spread < 1 + 1e-9) == (other == law)

    def test_the_upper_half_has_the_middle(self) -> None:
        assert [p for p, _ in fit.upper_half([(8, 1.0), (16, 1.0), (32, 1.0)])] == [16, 32]

    def test_where_a_share_passes_a_level(self) -> None:
        assert fit.crossing([(8, 0.1), (16, 0.2), (64, 1.0)], 0.6) == pytest.approx(32)
        assert fit.crossing([(8, 0.95), (16, 1.0)], 0.9) == 8
        assert fit.crossing([(8, 0.1), (16, 0.2)], 0.9) is None


class TestTrial:
    def test_the_work_is_pieces_or_longer_items_of_a_list(self) -> None:
        assert work_of("sb", 8, 1.5) == "divisible:1500:1ms"
        assert work_of("pmap", 8, 1.6) == "flat:constant:160:10000us"
        for name in registry.BUILT_IN:
            assert workload(work_of(name, 8, 1e-9), seed=0).items >= 1

    def test_what_was_simulated_is_what_was_asked(self) -> None:
        outcome = simulate(SMALL, Costs(), 10_000_000)
        assert outcome.reason == ""
        assert outcome.work_s == pytest.approx(1.0, rel=0.01)
        assert outcome.efficiency == pytest.approx(outcome.work_s / (8 * outcome.makespan_s))
        assert outcome.tasks > 1
        assert 0 < outcome.transfers <= outcome.questions
        assert 0 < outcome.controller_busy < 1
        assert replace(outcome, cpu_s=0.0) == replace(simulate(SMALL, Costs(), 10_000_000), cpu_s=0.0)

    def test_a_list_moves_nothing_between_workers(self) -> None:
        outcome = simulate(Trial("pmap", 8, work_of("pmap", 8, 1.6), 1), Costs(), 10_000_000)
        assert (outcome.tasks, outcome.transfers) == (160, 0)
        assert outcome.work_s == pytest.approx(1.6, rel=0.01)

    def test_a_run_without_an_end_has_a_reason(self) -> None:
        outcome = simulate(SMALL, Costs(), 1_000)
        assert "1,000 events" in outcome.reason
        assert outcome.events == 1_000


class TestStore:
    def test_what_was_added_is_there_again(self, tmp_path: Path) -> None:
        outcome = simulate(SMALL, Costs(), 10_000_000)
        path = tmp_path / "deep" / "simulations.csv"
        Store(path, "v1", 10).add(outcome)
        assert Store(path, "v1", 10).get(SMALL) == outcome
        assert Store(path, "v2", 10).get(SMALL) is None
        assert Store(path, "v1", 10, fresh=True).get(SMALL) is None
        assert Store(path, "v1", 10).get(replace(SMALL, seed=2)) is None

    def test_a_run_that_was_given_up_counts_for_as_many_events(self, tmp_path: Path) -> None:
        path = tmp_path / "simulations.csv"
        Store(path, "v", 1_000).add(simulate(SMALL, Costs(), 1_000))
        assert Store(path, "v", 1_000).get(SMALL) is not None
        assert Store(path, "v", 2_000).get(SMALL) is None

    def test_half_a_line_is_left_out_and_the_next_one_stands_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "simulations.csv"
        first, second = Outcome(SMALL, work_s=1.0), Outcome(replace(SMALL, seed=2), work_s=2.0)
        Store(path, "v", 10).add(first)
        with path.open("a") as file:
            file.write("v,rp,8,divis")
        Store(path, "v", 10).add(second)
        assert Store(path, "v", 10).outcomes() == [first, second]

    def test_a_file_of_something_else_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "simulations.csv"
        path.write_text("a,b\n1,2\n")
        with pytest.raises(UsageError, match="holds no simulations"):
            Store(path, "v", 10)
        assert path.read_text() == "a,b\n1,2\n"

    def test_the_version_is_that_of_code_and_costs(self, tmp_path: Path) -> None:
        for name in ("core", "protocol", "sim", "strategies", "workloads"):
            (tmp_path / "lbnet" / name).mkdir(parents=True)
        for name in ("limits.py", "types.py", "work.py", "sim/engine.py"):
            (tmp_path / "lbnet" / name).write_text("x = 1\n")
        before = version(Costs(), tmp_path)
        assert version(Costs(), tmp_path) == before
        assert version(Costs(latency_s=1e-3), tmp_path) != before
        (tmp_path / "lbnet" / "sim" / "engine.py").write_text("x = 2\n")
        assert version(Costs(), tmp_path) != before


def answered(study: Study, efficiency: Callable[[Trial], Outcome]) -> list[Trial]:
    """Run a study against a formula. Returns all that it wanted."""
    wanted = next(study, None)
    trials: list[Trial] = []
    while wanted is not None:
        trials += wanted
        try:
            wanted = study.send([efficiency(trial) for trial in wanted])
        except StopIteration:
            wanted = None
    return trials


def by_formula(law: Callable[[float], float], scale_s: float = 0.01) -> Callable[[Trial], Outcome]:
    def outcome(trial: Trial) -> Outcome:
        work_s = workload(trial.workload, seed=1).expected()
        assert work_s is not None
        work = work_s * 0.001
        lost = scale_s * law(trial.workers)
        share = work / (work + lost)
        return Outcome(
            trial,
            work_s=work,
            makespan_s=(work + lost) / trial.workers,
            efficiency=share,
            controller_busy=trial.workers / 100,
            controller_messages=100,
            tasks=10,
        )

    return outcome


class TestStudy:
    def test_sizes_are_doubled(self) -> None:
        assert sizes(8) == [8]
        assert sizes(100) == [8, 16, 32, 64]
        assert sizes(4096)[-1] == 4096

    def test_few_workers_are_simulated_with_more_seeds(self) -> None:
        assert seeds_for(8, 3) == list(range(3, 12))
        assert seeds_for(4096, 3) == [3]

    @pytest.mark.parametrize("law", list(fit.LAWS))
    def test_the_law_of_the_overhead_is_the_law_of_the_work(self, law: str) -> None:
        points: list[Point] = []
        answered(holding("rp", sizes(512), 1, points), by_formula(fit.LAWS[law]))
        assert [point.workers for point in points] == sizes(512)
        for point in points:
            assert point.work_s == pytest.approx(4 * 0.01 * fit.LAWS[law](point.workers), rel=0.05)
        line = fit.flatness(tables.curve(points, "rp"), law)
        assert line is not None
        assert abs(line.slope) < 0.03

    def test_it_ends_where_the_efficiency_is_not_reached_and_says_so(self) -> None:
        points: list[Point] = []
        hopeless = by_formula(lambda p: p if p < 32 else 1e9)
        answered(holding("rp", sizes(4096), 1, points), hopeless)
        assert [point.workers for point in points] == [8, 16, 32]
        assert [point.found for point in points] == [True, True, False]
        assert any("32 workers: unreachable: efficiency 0.0" in line for line in tables.unreached(points))
        assert tables.curve(points, "rp") == [(point.workers, point.work_s) for point in points[:2]]

    def test_a_run_that_was_given_up_ends_it_with_the_reason(self) -> None:
        points: list[Point] = []
        trials = answered(holding("rp", [8, 16], 1, points), lambda trial: Outcome(trial, reason="no end in sight"))
        assert [(point.state, point.reason) for point in points] == [("given up", "no end in sight")]
        assert {trial.workers for trial in trials} == {8}

    def test_a_tree_is_run_at_each_number_of_cores(self) -> None:
        outcomes: list[Outcome] = []
        trials = answered(on_tree("sb", "uts:T1L", [36, 144], 7, outcomes), Outcome)
        assert trials == [Trial("sb", 36, "uts:T1L", 7), Trial("sb", 144, "uts:T1L", 7)]
        assert [outcome.trial for outcome in outcomes] == trials


class TestTables:
    def test_the_controllers_limit_is_read_off_the_points(self) -> None:
        points: list[Point] = []
        answered(holding("sb", sizes(128), 1, points), by_formula(lambda p: p * p))
        [row] = tables.limit_rows(points)
        workers = row["workers_at_limit"]
        assert isinstance(workers, str)
        assert 64 < int(workers) < 100
        [row] = tables.limit_rows(points[:2])
        assert row["workers_at_limit"] == "more than 16"

    def test_the_laws_grow_faster_than_their_powers(self) -> None:
        rows = {str(row["law"]): row["a"] for row in tables.law_rows(sizes(4096))}
        assert rows["p"] == pytest.approx(1.0)
        assert rows["p log2^2 p"] == pytest.approx(1.4, abs=0.1)
        assert rows["p^2 log2 p"] == pytest.approx(2.2, abs=0.1)

    def test_trees_stand_beside_what_was_published(self) -> None:
        runs = [
            Outcome(Trial("sb", 36, "uts:T1L", 1), efficiency=0.9),
            Outcome(Trial("rp", 36, "uts:T1L", 1), reason="given up"),
            Outcome(Trial("sb", 7, "uts:T1L", 1), efficiency=0.95),
        ]
        seven, known = tables.tree_rows(runs)
        assert seven == {"tree": "T1L", "cores": 7, "sb": 0.95}
        assert (known["sb"], known["rp"], known["SAWS"]) == (0.9, "given up", 0.982)


def run(out: Path, *arguments: str) -> int:
    return isoefficiency.main(["--workers-max", "8", "--strategy", "rp,pmap", "--out", str(out), *arguments])


class TestExperiment:
    def test_points_files_and_a_second_run_that_simulates_nothing(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert run(tmp_path, "--jobs", "1", "--no-trees") == 0
        first = capsys.readouterr()
        assert "Work W for efficiency 0.8" in first.out
        with (tmp_path / "points.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [(row["strategy"], row["workers"]) for row in rows] == [("rp", "8"), ("pmap", "8")]
        for row in rows:
            assert float(row["efficiency"]) == pytest.approx(TARGET, abs=0.05)
        facts = json.loads((tmp_path / "isoefficiency.json").read_text())
        assert facts["costs"] == Costs().facts()
        assert len(facts["rows"]) == 2

        def forbidden(*_: object) -> Outcome:
            raise AssertionError("it was simulated before")

        monkeypatch.setattr("bench.iso.driver.simulate", forbidden)
        assert run(tmp_path, "--jobs", "1", "--no-trees") == 0
        assert capsys.readouterr().out.split("measured:")[0] == first.out.split("measured:")[0]

    def test_processes_find_the_same(self, tmp_path: Path) -> None:
        wanted = [Trial("rp", 8, "divisible:500:1ms", seed) for seed in (1, 2)]
        found: list[list[Outcome]] = []
        for jobs in (1, 2):
            outcomes: list[Outcome] = []
            store = Store(tmp_path / f"{jobs}.csv", "v", 10)
            studies = [asks_twice(wanted, outcomes), on_tree("rp", "divisible:300:1ms", [8, 9], 1, outcomes)]
            Driver(store, Costs(), 10_000_000, jobs, lambda _: None).run(studies)
            found.append(sorted((replace(one, cpu_s=0.0) for one in outcomes), key=by_trial))
        assert found[0] == found[1]
        assert len(found[0]) == 6

    def test_trees_are_in_the_table(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        small = {"uts:default": (8, 16)}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(isoefficiency, "TREES", small)
            assert run(tmp_path, "--jobs", "1") == 0
        lines = [line.split("|")[1:4] for line in capsys.readouterr().out.splitlines() if line.startswith("| default")]
        [line] = lines  # with up to 8 workers
        assert line[1].strip() == "8"
        assert 0 < float(line[2]) < 1

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["--strategy", "nobody"], "no strategy nobody"),
            (["--workers-max", "7"], "must be 8 or more"),
            (["--jobs", "0"], "must be 1 or more"),
        ],
    )
    def test_what_cannot_be_asked(
        self, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as caught:
            isoefficiency.main(arguments)
        assert caught.value.code == 2
        assert sentence in capsys.readouterr().err

    def test_costs_that_cannot_be_read(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(tmp_path, "--costs", str(tmp_path / "none.json")) == 2
        assert "costs cannot be read" in capsys.readouterr().err


def asks_twice(trials: Sequence[Trial], outcomes: list[Outcome]) -> Study:
    for _ in range(2):
        found = yield list(trials)
        outcomes += found


def by_trial(outcome: Outcome) -> tuple[str, int, str, int]:
    trial = outcome.trial
    return trial.strategy, trial.workers, trial.workload, trial.seed
