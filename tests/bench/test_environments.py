"""An environment is made once, and made anew when it must be; what cannot be installed is a reason, and no error."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import environments
from bench.environments import STAMP, Environment, environment
from bench.experiments import peers
from bench.peers.sequential import Sequential
from bench.seats import ProcessSeat


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What would be installed."""
    said: list[tuple[str, ...]] = []

    def create(home: Path, *, symlinks: bool, with_pip: bool) -> None:
        assert symlinks
        assert with_pip
        (home / "bin").mkdir(parents=True)
        (home / "bin" / "python").touch()

    monkeypatch.setattr(environments.venv, "create", create)
    monkeypatch.setattr(environments, "_pip", lambda _, *arguments: said.append(arguments))
    return said


def test_it_is_made_once_with_lbnet_and_what_is_needed(commands: list[tuple[str, ...]], tmp_path: Path) -> None:
    told: list[str] = []
    first = environment("Some Peer", ("peer>=1", "more"), told.append, tmp_path)
    assert first == Environment(str(tmp_path / "some-peer" / "bin" / "python"))
    assert commands == [("--editable", str(environments.ROOT), "peer>=1", "more")]
    assert environment("Some Peer", ("peer>=1", "more"), told.append, tmp_path) == first
    assert told == ["installing peer>=1, more"]


def test_other_requirements_make_it_anew(commands: list[tuple[str, ...]], tmp_path: Path) -> None:
    environment("peer", ("peer>=1",), folder=tmp_path)
    (tmp_path / "peer" / "old").touch()
    environment("peer", ("peer>=2",), folder=tmp_path)
    assert len(commands) == 2
    assert not (tmp_path / "peer" / "old").exists()


@pytest.mark.parametrize("changed", ["_interpreter", "_needs_of_lbnet"])
def test_another_interpreter_or_other_requirements_of_lbnet_make_it_anew(
    commands: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    environment("peer", ("peer>=1",), folder=tmp_path)
    monkeypatch.setattr(environments, changed, lambda: "different")
    for _ in range(2):
        environment("peer", ("peer>=1",), folder=tmp_path)
    assert len(commands) == 2


def test_the_stamp_names_the_interpreter_and_what_lbnet_needs(commands: list[tuple[str, ...]], tmp_path: Path) -> None:
    environment("peer", ("peer>=1",), folder=tmp_path)
    said = (tmp_path / "peer" / STAMP).read_text().splitlines()
    assert platform.python_version() in said[0]
    assert any(line.startswith("cloudpickle") for line in said)
    assert said[-1] == "peer>=1"


def test_versions_are_those_of_the_environment(commands: list[tuple[str, ...]], tmp_path: Path) -> None:
    made = environment("peer", ("some.peer>=1", "other[extra]<9", "absent"), folder=tmp_path)
    site = tmp_path / "peer" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    for name, version in (("some.peer", "1.5"), ("other", "8")):
        folder = site / f"{name}-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    needs = ("some.peer>=1", "other[extra]<9", "absent")
    assert environments.versions(made, needs) == {"some.peer": "1.5", "other": "8"}
    assert environments.versions(Environment(made.python, "it could not be installed"), needs) == {}


def test_what_cannot_be_installed_is_a_reason_and_is_tried_again(
    commands: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise subprocess.CalledProcessError(1, "pip", stderr="ERROR: no such version\n")

    monkeypatch.setattr(environments, "_pip", fails)
    for _ in range(2):
        made = environment("peer", ("peer>=99",), folder=tmp_path)
        assert made == Environment(sys.executable, "peer>=99 could not be installed: ERROR: no such version")
        assert not (tmp_path / "peer" / STAMP).exists()
    assert commands == []


def test_a_seat_without_an_environment_is_not_available_for_that_reason() -> None:
    seat = ProcessSeat(Sequential(), reason="it could not be installed")
    assert seat.unavailable() == "it could not be installed"


def test_every_peer_that_needs_something_has_an_adapter_and_they_have_names_and_settings_of_their_own() -> None:
    adapters = peers.adapters(2)
    titles = [(adapter.name, adapter.setting) for adapter in adapters]
    assert len(set(titles)) == len(titles)
    assert set(peers.NEEDS) < {name for name, _ in titles}
    assert [adapter.slots for adapter in adapters if adapter.name != "sequential"] == [2] * (len(adapters) - 1)


def test_a_peer_that_nobody_knows_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        peers.main(["--peer", "abacus"])
    assert caught.value.code == 2
    assert "'abacus' (choose from " in capsys.readouterr().err
