"""One core, two worlds: both drivers run literally the same objects, and those meet nothing of any world."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from types import ModuleType

import lbnet.core
import lbnet.net
import lbnet.protocol
import lbnet.sim
import lbnet.strategies
from lbnet.core.controller import Controller
from lbnet.core.ledger import Ledger
from lbnet.core.worker import Worker
from lbnet.strategies import registry

SHARED = ("lbnet.core.", "lbnet.protocol.", "lbnet.strategies.")


def modules_of(package: ModuleType) -> list[ModuleType]:
    """Every module of a package."""
    return [
        importlib.import_module(f"{package.__name__}.{found.name}") for found in pkgutil.iter_modules(package.__path__)
    ]


def shared_by(package: ModuleType) -> dict[str, object]:
    """What the modules of a driver have of the core, the protocol and the strategies, by full name: modules, too."""
    found: dict[str, object] = {}
    for module in modules_of(package):
        for value in vars(module).values():
            if isinstance(value, ModuleType) and value.__name__.startswith(SHARED):
                found[value.__name__] = value
            elif getattr(value, "__module__", "").startswith(SHARED) and hasattr(value, "__qualname__"):
                found[f"{value.__module__}.{value.__qualname__}"] = value
    return found


def test_both_drivers_run_literally_the_same_objects() -> None:
    real, simulated = shared_by(lbnet.net), shared_by(lbnet.sim)
    both = real.keys() & simulated.keys()
    assert both >= {
        "lbnet.core.controller.Controller",
        "lbnet.core.worker.Worker",
        "lbnet.core.effects",
        "lbnet.protocol.messages",
        "lbnet.strategies.registry",
        "lbnet.strategies.base.Strategy",
    }
    assert all(real[name] is simulated[name] for name in both)


def test_neither_driver_has_a_controller_worker_or_ledger_of_its_own() -> None:
    for package in (lbnet.net, lbnet.sim):
        for module in modules_of(package):
            for value in vars(module).values():
                if isinstance(value, type) and issubclass(value, Controller | Worker | Ledger):
                    assert value in {Controller, Worker, Ledger}, (module.__name__, value)


def test_both_drivers_make_strategies_in_one_place() -> None:
    for name in registry.BUILT_IN:
        assert type(registry.loader({})(name)) is type(registry.load(name)) is type(registry.find(name))


def test_the_core_the_protocol_and_the_strategies_load_nothing_of_the_world() -> None:
    modules = [
        module.__name__
        for package in (lbnet.core, lbnet.protocol, lbnet.strategies)
        for module in modules_of(package)
        if module is not registry  # it finds what other packages offer
    ]
    worldly = ("asyncio", "socket", "random", "pickle", "cloudpickle", "subprocess", "ssl", "select", "logging")
    code = (
        f"import sys, importlib\nbefore = set(sys.modules)\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"print(*({{name.partition('.')[0] for name in sys.modules}} - before & set({worldly!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.split() == []
