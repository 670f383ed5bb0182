"""Runs that are recorded from the command line: the file is there in the end, and tells what ran."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from lbnet.sim.recorded import recorded
from lbnet.trace.reader import read
from tests.cli.running import address_of, lbnet, sentence, start


def test_a_demo_that_is_recorded_can_be_replayed(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    result = lbnet("demo", "--tree", "default", "--trace", path)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert result.stdout.endswith(f"\nrecorded in {path}\n")
    replay = recorded(path)
    assert replay.name == "recorded:UTS default"
    assert (replay.items, replay.reduce) == (1, True)
    (job,) = read(path).jobs.values()
    assert (job.opened.placement, job.ended.state, job.ended.slots) == ("first", "done", 2)


def test_a_demo_records_beside_its_json(tmp_path: Path) -> None:
    result = lbnet("demo", "--tree", "default", "--workers", 1, "--json", "--trace", "run.jsonl", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)["report"]
    (job,) = read(tmp_path / "run.jsonl").jobs.values()
    assert job.opened.job == report["job"]
    assert job.seconds == pytest.approx(report["busy_s"], abs=1e-6)


def test_a_demo_that_is_not_recorded_says_nothing_of_it(tmp_path: Path) -> None:
    result = lbnet("demo", "--tree", "default", cwd=tmp_path)
    assert "recorded" not in result.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_controller_that_is_ended_leaves_a_whole_trace(folder: Path, number: signal.Signals) -> None:
    path = folder / "run.jsonl"
    (folder / "items.jsonl").write_text("\n".join(map(str, range(100))))
    with start("controller", "--port", 0, "--trace", "run.jsonl", folder=folder) as running:
        address = address_of(running)
        with start("worker", "--connect", address, "--slots", 1, folder=folder) as worker:
            worker.line()
            done = lbnet("map", "work:double", "items.jsonl", "--connect", address, cwd=folder)
            assert done.returncode == 0, done.stderr
            assert not path.exists()
            running.process.send_signal(number)
            assert running.ends() == 0
        assert running.said() == ""
    assert recorded(path).expected() == 100
    assert not path.with_name("run.jsonl.part").exists()


@pytest.mark.parametrize("command", [("controller", "--port", "0"), ("demo", "--tree", "default")])
def test_a_file_that_exists_is_kept_and_the_command_refused(tmp_path: Path, command: tuple[str, ...]) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text("mine")
    text = sentence(lbnet(*command, "--trace", path), 2)
    assert text == f"{path} exists already: name another file for the trace, or remove it"
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("command", [("controller", "--port", "0"), ("demo", "--tree", "default")])
def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, command: tuple[str, ...]) -> None:
    path = tmp_path / "none" / "run.jsonl"
    text = sentence(lbnet(*command, "--trace", path), 2)
    assert text == f"cannot write the trace {path}: there is no directory {path.parent}"


def test_two_controllers_do_not_record_to_one_file(folder: Path) -> None:
    path = folder / "run.jsonl"
    with start("controller", "--port", 0, "--trace", path, folder=folder) as running:
        address_of(running)
        text = sentence(lbnet("controller", "--port", 0, "--trace", path), 2)
        assert text == f"another run is being recorded to {path}: name another file for the trace"
        running.process.send_signal(signal.SIGTERM)
        assert running.ends() == 0
    assert read(path).jobs == {}
