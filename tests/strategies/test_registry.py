"""Strategies by name, ours and those of other packages."""

from __future__ import annotations

import sys
import types
from importlib import metadata
from typing import Any

import pytest

from lbnet.errors import UsageError
from lbnet.strategies import registry
from lbnet.strategies.sb import SchedulerBased


class Mine(SchedulerBased):
    name = "mine"


@pytest.fixture
def entry_points(monkeypatch: pytest.MonkeyPatch) -> list[metadata.EntryPoint]:
    """The entry points that other packages have installed."""
    installed: list[metadata.EntryPoint] = []

    def find(group: str, name: str | None = None) -> list[metadata.EntryPoint]:
        return [entry for entry in installed if entry.group == group and name in {None, entry.name}]

    monkeypatch.setattr(metadata, "entry_points", find)
    return installed


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module: Any = types.ModuleType("package_of_the_user")
    module.Mine = Mine
    module.broken = lambda: 1 / 0
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def entry(name: str, value: str, group: str = registry.GROUP) -> metadata.EntryPoint:
    return metadata.EntryPoint(name, value, group)


def test_the_default_is_built_in() -> None:
    assert registry.DEFAULT == "sb"
    assert registry.DEFAULT in registry.names()
    assert isinstance(registry.load(registry.DEFAULT), SchedulerBased)


def test_every_name_can_be_loaded_and_is_listed_once() -> None:
    names = registry.names()
    assert names == sorted(set(names))
    for name in names:
        assert registry.load(name).name == name


def test_the_built_in_ones_need_no_entry_point(entry_points: list[metadata.EntryPoint]) -> None:
    assert "sb" in registry.names()
    assert isinstance(registry.load("sb"), SchedulerBased)


@pytest.mark.usefixtures("package")
def test_a_strategy_of_another_package(entry_points: list[metadata.EntryPoint]) -> None:
    entry_points += [entry("mine", "package_of_the_user:Mine"), entry("other", "x:y", group="somebody.else")]
    assert "mine" in registry.names()
    assert "other" not in registry.names()
    assert isinstance(registry.load("mine"), Mine)
    assert registry.load("mine") is not registry.load("mine")


@pytest.mark.usefixtures("package")
def test_nobody_replaces_a_built_in_strategy(entry_points: list[metadata.EntryPoint]) -> None:
    entry_points.append(entry("sb", "package_of_the_user:Mine"))
    assert type(registry.load("sb")) is SchedulerBased
    assert registry.names().count("sb") == 1


def test_an_unknown_name_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match=r"there is no strategy 'bs'; there are: .*\bsb\b"):
        registry.load("bs")


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("no_such_package:Mine", "ModuleNotFoundError"),
        ("package_of_the_user:Yours", "AttributeError"),
        ("package_of_the_user:broken", "ZeroDivisionError"),
        ("package_of_the_user", "TypeError"),
    ],
)
def test_a_strategy_that_cannot_be_imported(value: str, reason: str, entry_points: list[metadata.EntryPoint]) -> None:
    entry_points.append(entry("mine", value))
    with pytest.raises(UsageError, match=rf"strategy 'mine' \({value}\) cannot be imported: {reason}"):
        registry.load("mine")
