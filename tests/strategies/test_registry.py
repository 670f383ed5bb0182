"""Strategies by name, ours and those of other packages."""

from __future__ import annotations

import sys
import types
from importlib import metadata
from typing import Any

import pytest

from lbnet.errors import UsageError
from lbnet.strategies import registry
from lbnet.strategies.base import ControllerStrategy, Strategy, WorkerStrategy
from lbnet.strategies.sb import SchedulerBased


class Mine(SchedulerBased):
    name = "mine"


class Broken(Mine):
    def __init__(self) -> None:
        raise ZeroDivisionError("a bug")


class NeedsMore(Mine):
    def __init__(self, more: int) -> None:
        self.more = more


class Nameless(Strategy):
    pass


@pytest.fixture
def entry_points(monkeypatch: pytest.MonkeyPatch) -> list[metadata.EntryPoint]:
    """The entry points that other packages have installed."""
    installed: list[metadata.EntryPoint] = []

    def find(group: str, name: str | None = None) -> list[metadata.EntryPoint]:
        return [entry for entry in installed if entry.group == group and name in {None, entry.name}]

    monkeypatch.setattr(metadata, "entry_points", find)
    return installed


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = types.ModuleType("package_of_the_user")
    module.Mine = Mine
    module.made = Mine()
    module.Broken = Broken
    monkeypatch.setitem(sys.modules, module.__name__, module)


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
    ],
)
def test_a_strategy_that_cannot_be_imported(value: str, reason: str, entry_points: list[metadata.EntryPoint]) -> None:
    entry_points.append(entry("mine", value))
    with pytest.raises(UsageError, match=rf"strategy 'mine' \({value}\) cannot be imported: {reason}"):
        registry.load("mine")
    with pytest.raises(UsageError, match=rf"strategy '{value}' \({value}\) cannot be imported: {reason}"):
        registry.find(value)


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("package_of_the_user:Broken", "cannot be made without arguments: ZeroDivisionError"),
        ("package_of_the_user", "a strategy is an object or a subclass of lbnet.Strategy, not <module"),
        ("os:getpid", "a strategy is an object or a subclass of lbnet.Strategy, not <built-in"),
        ("lbnet.strategies.base:Strategy", "has no name"),
    ],
)
def test_what_is_found_and_is_no_strategy(value: str, reason: str, entry_points: list[metadata.EntryPoint]) -> None:
    entry_points.append(entry("mine", value))
    with pytest.raises(UsageError, match=rf"strategy 'mine' \({value}\) cannot be used: .*{reason}"):
        registry.load("mine")


# --- by module:Class, and as objects


@pytest.mark.usefixtures("package")
def test_a_strategy_is_found_by_its_module_and_class_or_by_its_name() -> None:
    assert isinstance(registry.find("package_of_the_user:Mine"), Mine)
    assert registry.find("package_of_the_user:Mine") is not registry.find("package_of_the_user:Mine")
    assert isinstance(registry.find("package_of_the_user:made"), Mine)
    assert type(registry.find("sb")) is SchedulerBased


def test_only_who_may_import_finds_by_module_and_class() -> None:
    with pytest.raises(UsageError, match=r"there is no strategy 'lbnet.strategies.rp:RandomPolling'; there are: "):
        registry.load("lbnet.strategies.rp:RandomPolling")
    assert registry.find("lbnet.strategies.rp:RandomPolling").name == "rp"


@pytest.mark.parametrize("text", ["", ":", "a:", ":a", "a b:c", ".x:y", "os:", "no.such.module:Mine", "sb "])
def test_what_cannot_be_found_is_said_in_a_sentence(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        registry.find(text)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_object_or_its_class_will_do() -> None:
    made = Mine()
    assert registry.checked(made) is made
    assert isinstance(registry.checked(Mine), Mine)


@pytest.mark.parametrize(
    ("strategy", "reason"),
    [
        (NeedsMore, "cannot be made without arguments: TypeError"),
        (Broken, "cannot be made without arguments: ZeroDivisionError"),
        (Nameless, 'has no name: give its class one, name = "..."'),
        (Nameless(), "has no name"),
        (type("Numbered", (Strategy,), {"name": 7}), "has no name"),
        (None, "a strategy is an object or a subclass of lbnet.Strategy, not None"),
        (17, "a strategy is an object or a subclass of lbnet.Strategy, not 17"),
        (dict, "a strategy is an object or a subclass of lbnet.Strategy, not <class 'dict'>"),
        (SchedulerBased().worker(), "a strategy is an object or a subclass of lbnet.Strategy, not <lbnet"),
    ],
)
def test_what_is_no_strategy_is_refused_with_a_reason(strategy: object, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        registry.checked(strategy)


def test_what_a_process_was_given_comes_first() -> None:
    given = Mine()
    load = registry.loader({"mine": given, "sb": given})
    assert load("mine") is load("sb") is given
    assert load("rp").name == "rp"
    with pytest.raises(UsageError, match="there is no strategy 'other'"):
        load("other")


def test_what_it_was_not_given_is_looked_for_as_it_may_be() -> None:
    assert registry.loader({}, imports=True)("lbnet.strategies.rp:RandomPolling").name == "rp"
    with pytest.raises(UsageError, match="there is no strategy"):
        registry.loader({})("lbnet.strategies.rp:RandomPolling")


# --- the built-in ones


def test_there_are_seven_and_the_default_is_the_first() -> None:
    assert registry.BUILT_IN[0] == registry.DEFAULT
    assert sorted(registry.BUILT_IN) == ["arr", "grr", "lifeline", "pmap", "rp", "sb", "shared"]
    assert {*registry.BUILT_IN} <= {*registry.names()}


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_every_strategy_makes_new_halves_and_says_what_it_costs(name: str) -> None:
    strategy = registry.load(name)
    assert strategy.worker() is not strategy.worker()
    assert isinstance(strategy.controller(), ControllerStrategy)
    assert isinstance(strategy.worker(), WorkerStrategy)
    words = sys.modules[type(strategy).__module__].__doc__ or ""
    assert words.startswith(f"``{name}``")
    assert "\nSource: " in words
    assert "\nMessages per " in words


def test_what_workers_are_told_is_what_their_strategy_needs() -> None:
    flags = {
        name: (strategy.polls, strategy.knows_peers, strategy.shares_idle)
        for name, strategy in ((name, registry.load(name)) for name in registry.BUILT_IN)
    }
    assert flags == {
        "sb": (False, False, False),
        "rp": (True, True, False),
        "arr": (True, True, False),
        "grr": (True, False, False),
        "shared": (False, True, True),
        "lifeline": (True, True, False),
        "pmap": (False, False, False),
    }
