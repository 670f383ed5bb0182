"""``lbnet simulate``: what can be asked for, that the same question has the same answer, and what is refused."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from lbnet.cli import main, simulate_points
from lbnet.cli.simulate_points import Point, Setting, Source, combinations, run_all
from lbnet.errors import UsageError
from lbnet.sim.costs import Costs
from lbnet.strategies import registry
from lbnet.trace.reader import Trace, read
from lbnet.trace.records import Ended, Finished, Opened, Record, Tasks
from lbnet.trace.writer import TraceWriter
from lbnet.types import VALUES, JobId, PeerId
from tests.cli.running import ended, lbnet, sentence, start, until

FLAT = "flat:lognormal:200:1ms"
OWN = """
from lbnet.strategies.base import Strategy, WorkerStrategy
from lbnet.strategies.sb import SchedulerBased

class Mine(SchedulerBased):
    name = "mine"

class Rude(Strategy):
    name = "rude"
    def worker(self):
        return Half()

class Half(WorkerStrategy):
    def balance(self, view):
        raise ValueError("not today")

class Wrong:
    name = "wrong"
"""


def simulate(*args: object) -> list[dict[str, Any]]:
    """The facts of all points, simulated in this process."""
    result = CliRunner().invoke(main.group, ["simulate", *map(str, args), "--jobs", "1", "--json"])
    assert result.exit_code == 0, (result.output, result.exception)
    facts: list[dict[str, Any]] = json.loads(result.stdout)
    return facts


def refused(*args: object) -> str:
    """Why a command is refused, with exit code 2, and without any output."""
    result = CliRunner().invoke(main.group, ["simulate", *map(str, args)])
    assert result.stdout == ""
    if isinstance(result.exception, UsageError):  # main() prints it, and exits with 2
        return str(result.exception)
    assert result.exit_code == 2, (result.output, result.exception)
    return " ".join(result.stderr.split("Error: ")[1].split())


# --- what is run ----------------------------------------------------------------------------------


def test_all_combinations_are_run_in_order() -> None:
    facts = simulate(
        "--workload", FLAT, "--workload", "divisible:100:1ms", "--strategy", "rp,sb,rp", "--workers", "4,2", "--seed",
        "8,7",
    )  # fmt: skip
    assert [(each["workload"], each["strategy"], each["workers"], each["seed"]) for each in facts] == [
        (workload, strategy, workers, seed)
        for workload in (FLAT, "divisible:100:1ms")
        for strategy in ("rp", "sb")
        for workers in (4, 2)
        for seed in (8, 7)
    ]
    assert len({each["digest"] for each in facts}) == len(facts)
    assert all(each["right"] for each in facts)


def test_defaults_are_those_of_the_function() -> None:
    (facts,) = simulate("--workload", FLAT)
    assert (facts["strategy"], facts["workers"], facts["seed"], facts["slots"]) == (registry.DEFAULT, 64, 0, 1)
    assert facts["placement"] == "spread"
    assert facts["costs"] == Costs().facts()
    assert simulate("--workload", "divisible:100:1ms", "--workers", 2)[0]["placement"] == "first"


def test_a_cluster_is_described_by_options(tmp_path: Path) -> None:
    (tmp_path / "costs.json").write_text('{"latency_s": 0.002, "pipe_s": 0.001}')
    (facts,) = simulate(
        "--workload", "divisible:400:1ms", "--workers", 3, "--slots", 2, "--placement", "spread", "--speeds", "1,0.5",
        "--join", "0.01:2", "--join", "0.02:1", "--leave", "0.03:0", "--costs", tmp_path / "costs.json",
        "--cost", "pipe_s=0.0001", "--cost", "host_cores=2", "--timeline",
    )  # fmt: skip
    assert (facts["slots"], facts["placement"]) == (2, "spread")
    assert facts["speeds"] == [1.0, 0.5]
    assert facts["joins"] == [0.01, 0.01, 0.02]
    assert facts["leaves"] == [[0.03, 0]]
    assert facts["costs"] == Costs(latency_s=0.002, pipe_s=0.0001, host_cores=2).facts()
    assert len(facts["timeline"]) == 6
    assert facts["timeline"][0][-1][1] == "left"


def test_speeds_are_taken_in_turn() -> None:
    def makespan_s(speeds: str) -> float:
        (facts,) = simulate("--workload", "flat:constant:400:1ms", "--workers", 4, "--speeds", speeds)
        found = facts["makespan_s"]
        assert isinstance(found, float)
        return found

    assert makespan_s("1") < makespan_s("1,0.5") < makespan_s("0.5")
    assert makespan_s("1,0.5") == makespan_s("1, 0.5, 1, 0.5")


def test_a_host_without_limit_is_said_as_null() -> None:
    assert simulate("--workload", FLAT, "--workers", 2, "--cost", "host_cores=null")[0]["costs"]["host_cores"] is None


def test_a_wrong_sum_exits_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lbnet.sim.flat.Flat.expected", lambda self: self.items + 1)
    for more in ([], ["--json"]):
        result = CliRunner().invoke(main.group, ["simulate", "--workload", FLAT, "--workers", "2", *more])
        assert result.exit_code == 1, result.output
    assert json.loads(result.stdout)[0]["right"] is False


def test_what_takes_real_time_goes_to_standard_error() -> None:
    result = CliRunner().invoke(main.group, ["simulate", "--workload", FLAT, "--workers", "2", "-v"])
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith(f"sb with 2 workers on {FLAT}, seed 0: ")
    assert result.stderr.endswith(" events/s\n")
    assert "events/s" not in result.stdout


# --- the same answer ------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [[], ["--json", "--timeline"]])
def test_the_same_command_prints_the_same_however_many_processes_do_it(more: list[str], tmp_path: Path) -> None:
    command = ["simulate", "--workload", FLAT, "--strategy", "sb,lifeline", "--workers", "2,4,8", "--seed", "3", *more]
    results = [lbnet(*command, "--jobs", jobs, cwd=tmp_path) for jobs in (1, 2, 2)]
    for result in results:
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
    assert results[0].stdout == results[1].stdout == results[2].stdout
    assert "lifeline" in results[0].stdout
    assert list(tmp_path.iterdir()) == []


def test_an_own_strategy_is_found_in_this_folder_by_every_process(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    command = ["simulate", "--workload", FLAT, "--strategy", "own:Mine,sb", "--workers", "4", "--json"]
    found = []
    for jobs in (1, 2):
        result = lbnet(*command, "--jobs", jobs, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        found.append(json.loads(result.stdout))
    assert found[0] == found[1]
    mine, sb = found[0]
    assert mine["strategy"] == mine["report"]["strategy"] == "own:Mine"
    assert mine["makespan_s"] == sb["makespan_s"]


def test_what_a_strategy_raises_is_said(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    result = lbnet("simulate", "--workload", FLAT, "--strategy", "own:Rude", "--workers", 2, cwd=tmp_path)
    assert "the strategy raised ValueError('not today')" in result.stderr


def test_in_parallel_the_first_point_that_is_impossible_is_named() -> None:
    good, bad = Setting(), Setting(leaves=((0.0, 0), (0.0, 1)))
    points = [Point(Source(FLAT), "sb", 2, 0, good), Point(Source(FLAT), "rp", 2, 1, bad)]
    before = psutil.Process().children()
    for jobs in (1, 2):
        with pytest.raises(UsageError, match=f"rp with 2 workers on {FLAT}, seed 1: all workers leave"):
            run_all(points, jobs)
    assert psutil.Process().children() == before


def test_points_are_there_once() -> None:
    points = combinations([Source(FLAT), Source(FLAT)], ["sb", "sb"], [2, 2, 4], [1], Setting())
    assert [point.workers for point in points] == [2, 4]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_terminal_is_shown_how_far_it_is(
    jobs: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    points = combinations([Source("flat:constant:5:1ms")], ["sb"], [1, 2], [1], Setting())
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert len(run_all(points, jobs)) == 2
    assert "2/2" in capfd.readouterr().err
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    run_all(points, jobs)
    assert capfd.readouterr().err == ""


# --- replays --------------------------------------------------------------------------------------


def trace(path: Path, strategy: str = "rp") -> Path:
    """Two jobs: 40 tasks of 10 ms on two slots, and one short task."""
    long, short, worker = JobId(5), JobId(6), PeerId(2)
    records: list[Record] = [
        Opened(long, "work", strategy, "first", False, 1.0),
        Opened(short, "", strategy, "spread", False, 1.0),
        Finished(long, worker, VALUES, 0.4, (Tasks(0, 40),)),
        Finished(short, worker, VALUES, 0.001, (Tasks(0, 1),)),
        Ended(short, "done", 1, 2, 1.1),
        Ended(long, "done", 40, 2, 1.25),
    ]
    writer = TraceWriter(path)
    writer.write(records)
    writer.finish()
    return path


def test_a_replay_takes_what_was_recorded_unless_told_otherwise(tmp_path: Path) -> None:
    path = trace(tmp_path / "run.trace")
    (facts,) = simulate("--replay", path)
    assert (facts["workload"], facts["workers"], facts["strategy"], facts["placement"]) == (
        "recorded:work",
        2,
        "rp",
        "first",
    )
    assert (facts["total"], facts["right"]) == (40, True)
    assert facts["recorded"] == {
        "trace": str(path), "slots": 2, "strategy": "rp", "placement": "first", "state": "done", "makespan_s": 0.25,
    }  # fmt: skip
    assert simulate("--replay", path, "--slots", 2)[0]["workers"] == 1
    (other,) = simulate(
        "--replay", path, "--job", 6, "--workers", 12, "--strategy", "lifeline", "--placement", "spread"
    )
    assert (other["total"], other["workers"], other["strategy"]) == (1, 12, "lifeline")


def test_a_replay_is_compared_with_its_recording(tmp_path: Path) -> None:
    trace(tmp_path / "run.trace")
    command = ["simulate", "--replay", "run.trace", "--workers", "8,2", "--strategy", "sb", "--jobs", 2]
    result = lbnet(*command, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    *_, fast, slow = result.stdout.splitlines()
    assert fast.startswith("recorded: 2 slots, rp, makespan 0.25 s; simulated with 8 workers and sb: ")
    assert fast.endswith(" times faster)")
    assert "simulated with 2 workers and sb: 0.2" in slow
    assert result.stdout == lbnet(*command, cwd=tmp_path).stdout


def test_a_recorded_strategy_that_is_not_here_must_be_chosen_anew(tmp_path: Path) -> None:
    path = trace(tmp_path / "run.trace", strategy="mine")
    said = refused("--replay", path)
    assert said.startswith("the strategy of the recording is not here: there is no strategy 'mine'; there are: ")
    assert said.endswith("choose one with --strategy")
    assert simulate("--replay", path, "--strategy", "sb")[0]["strategy"] == "sb"
    assert simulate("--replay", trace(tmp_path / "empty.trace", strategy=""))[0]["strategy"] == registry.DEFAULT


def test_a_trace_is_read_once_in_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = trace(tmp_path / "run.trace")
    seen: list[Path] = []

    def counted(path: Path) -> Trace:
        seen.append(path)
        return read(path)

    monkeypatch.setattr(simulate_points, "read", counted)
    simulate("--replay", path, "--workers", "1,2,3", "--strategy", "sb,rp")
    assert seen == [path]


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "name what to run: --workload WORKLOAD or --replay TRACE, and not both"),
        (["--workload", FLAT, "--replay", "x"], "and not both"),
        (["--workload", "oak"], "there is no workload 'oak'; there are: flat:KIND"),
        (["--workload", FLAT, "--workload", "uts:oak"], "there is no tree 'oak'"),
        (["--workload", ""], "there is no workload ''"),
        (["--workload", FLAT, "--strategy", "oak"], "there is no strategy 'oak'; there are: arr, grr, lifeline,"),
        (["--workload", FLAT, "--strategy", "sb,"], "there is no strategy ''"),
        (["--workload", FLAT, "--strategy", "no_such:Mine"], "cannot be imported: ModuleNotFoundError"),
        (["--workload", FLAT, "--strategy", "lbnet.errors:UsageError"], "is an object or a subclass of lbnet.Strategy"),
        (["--workload", FLAT, "--workers", "0"], "'0' is no whole number from 1 to 100,000"),
        (["--workload", FLAT, "--workers", "2,many"], "'many' is no whole number from 1 to 100,000"),
        (["--workload", FLAT, "--workers", "9" * 5_000], "is no whole number"),
        (["--workload", FLAT, "--seed", "-1"], "'-1' is no whole number from 0"),
        (["--workload", FLAT, "--seed", ""], "'' is no whole number"),
        (["--workload", FLAT, "--slots", "0"], "Invalid value for '--slots'"),
        (["--workload", FLAT, "--placement", "last"], "'last' is not one of 'spread', 'first'"),
        (["--workload", FLAT, "--jobs", "0"], "Invalid value for '--jobs'"),
        (["--workload", FLAT, "--speeds", "1,0"], "a speed is a number above 0, 1e9 at most; it is '0'"),
        (["--workload", FLAT, "--speeds", "nan"], "a speed is a number above 0"),
        (["--workload", FLAT, "--speeds", "fast"], "'fast' is no number"),
        (["--workload", FLAT, "--join", "0.1"], "'0.1' is not TIME:COUNT, such as 0.5:3"),
        (["--workload", FLAT, "--join", "soon:1"], "'soon' is no number"),
        (["--workload", FLAT, "--join", "-1:1"], "a time is seconds after the opening of the job"),
        (["--workload", FLAT, "--join", "nan:1"], "a time is seconds after the opening of the job"),
        (["--workload", FLAT, "--join", "0.1:0"], "'0' is no whole number from 1"),
        (["--workload", FLAT, "--join", "0:60000", "--join", "0:60000"], "more than 100,000 workers join"),
        (["--workload", FLAT, "--leave", "0.1"], "'0.1' is not TIME:WORKER"),
        (["--workload", FLAT, "--workers", "9,2", "--leave", "0:2"], "worker 2 cannot leave: there are 2, from 0 on"),
        (["--workload", FLAT, "--workers", "1", "--leave", "0:0"], "all workers leave"),
        (["--workload", FLAT, "--cost", "latency_s"], "'latency_s' is not NAME=VALUE, such as latency_s=0.0002"),
        (["--workload", FLAT, "--cost", "price=1"], "there is no cost price; there are: latency_s,"),
        (["--workload", FLAT, "--cost", "latency_s=-1"], "latency_s must be a number, 0 or more; it is -1.0"),
        (["--workload", FLAT, "--cost", "latency_s=nan"], "latency_s must be a number, 0 or more; it is nan"),
        (["--workload", FLAT, "--cost", "latency_s=much"], "'much' is no number"),
        (["--workload", FLAT, "--cost", "latency_s=null"], "latency_s must be a number"),
        (["--workload", FLAT, "--cost", "host_cores=1.5"], "host_cores must be a whole number of cores"),
        (["--workload", FLAT, "--cost", "host_cores=inf"], "host_cores must be a whole number of cores"),
        (["--workload", FLAT, "--costs", "/no/such/file"], "costs cannot be read from /no/such/file"),
        (["--workload", FLAT, "--job", "1"], "--job names a job of a trace: give --replay TRACE as well"),
        (["--replay", "/no/such/trace"], "cannot read the trace /no/such/trace (No such file or directory)"),
        (["--workload", FLAT, "--timeline"], "a timeline is shown by --plot DIR and --json"),
    ],
)
def test_what_is_impossible_is_said_in_one_sentence(args: list[str], said: str) -> None:
    assert said in refused(*args)


def test_files_that_hold_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for text in ("", "{", "[]", '{"price": 1}', '{"latency_s": "much"}'):
        path.write_text(text)
        assert refused("--workload", FLAT, "--costs", path).startswith(("costs ", "there is no cost ", "latency_s "))
        assert "trace" in refused("--replay", path)
    whole = trace(tmp_path / "whole").read_bytes()
    path.write_bytes(whole[:-30])
    assert "is cut off" in refused("--replay", path)
    path.write_bytes(whole)
    assert (
        refused("--replay", path, "--job", 7) == "the trace has no job 7: name another one; it holds 5 (done), 6 (done)"
    )


def test_a_strategy_of_the_wrong_kind_and_a_folder_that_is_a_file_write_nothing(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    result = lbnet("simulate", "--workload", FLAT, "--strategy", "own:Wrong", "--plot", "new", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "(own:Wrong) cannot be used: a strategy is an object or a subclass of lbnet.Strategy" in result.stderr
    said = sentence(lbnet("simulate", "--workload", FLAT, "--plot", "own.py", cwd=tmp_path), 2)
    assert "own.py is a file" in said or "pip install matplotlib" in said
    assert (tmp_path / "own.py").read_text() == OWN
    assert not (tmp_path / "new").exists()


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_signal_in_the_middle_ends_every_process(
    jobs: int, number: signal.Signals, code: int, tmp_path: Path
) -> None:
    long = ("--workload", "flat:constant:1000000:10ms", "--workers", "50,60", "--strategy", "pmap")
    with start("simulate", *long, "--jobs", jobs, folder=tmp_path) as running:

        def at_work() -> bool:
            # With several jobs, this process only waits; slots are children of workers.
            working = [each for each in running.family()[jobs > 1 :] if each.cpu_times().user > 1]
            return len(working) >= jobs

        until(at_work, lambda: f"nobody computes: {running.said()}", deadline_s=30)
        family = running.family()
        running.process.send_signal(number)
        assert ended(running, family) == code
        assert running.said().strip() == ("lbnet: stopped" if number == signal.SIGINT else "")
