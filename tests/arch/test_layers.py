"""The folder listing is the architecture: who imports whom, and who meets a socket, a clock or a pickle.

The rules are read from the syntax of every file, imports inside functions included.
"""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "lbnet"

# --- the rules

PLAIN = frozenset({"errors", "limits", "types"})
"""What every layer shares."""

MAY_IMPORT: dict[str, frozenset[str]] = {
    # The names that users import load their homes lazily.
    "lbnet": frozenset({"errors", "version"}),
    "errors": frozenset(),
    "limits": frozenset(),
    "types": frozenset(),
    "version": frozenset(),
    "address": PLAIN,
    "work": PLAIN,
    # What names a function is a part of the protocol.
    "pickling": PLAIN | {"protocol"},
    "trace": PLAIN | {"version"},
    "protocol": PLAIN,
    "strategies.base": PLAIN,
    "strategies": PLAIN | {"strategies.base"},
    # Arithmetic that whoever makes batches shares.
    "core.batching": PLAIN,
    # The core knows no strategy by name.
    "core": PLAIN | {"protocol", "strategies.base", "core.batching"},
    "journal": PLAIN | {"protocol"},
    "security": PLAIN,
    # What is known of the machine, without a process or a socket.
    "pool.cores": PLAIN,
    "pool.environment": PLAIN | {"pool.cores"},
    "pool.memory": PLAIN,
    "pool": PLAIN | {"protocol", "core", "pickling", "work", "pool.cores", "pool.environment"} | {"pool.memory"},
    "net": PLAIN
    | {"address", "version", "trace", "protocol", "core", "strategies", "strategies.base", "journal"}
    | {"pool", "pool.cores", "pool.environment", "pool.memory", "security"},
    # The strategy that an embedded cluster was given comes from the process that started it, as a pickle.
    "net.serve": PLAIN | {"net", "pickling", "pool.environment", "security", "strategies.base"},
    "workloads": PLAIN | {"work"},
    "sim": PLAIN
    | {
        "version",
        "trace",
        "protocol",
        "core",
        "core.batching",
        "strategies",
        "strategies.base",
        "journal",
        "workloads",
        "work",
    },
    "client": PLAIN
    | {"address", "version", "pickling", "work", "trace", "protocol", "net", "strategies", "strategies.base"}
    | {"core.batching", "security", "pool.cores", "pool.environment", "pool.memory"},
    "web": PLAIN | {"address", "version", "protocol", "net", "client"},
}
MAY_IMPORT["cli"] = frozenset(MAY_IMPORT)

PURE = frozenset({"protocol", "core", "core.batching", "strategies", "strategies.base", "types", "errors", "limits"})
IMPURE_MODULES = frozenset({
    "asyncio", "socket", "time", "random", "pickle", "cloudpickle", "os", "subprocess", "threading", "logging",
    "datetime", "secrets", "select", "selectors", "ssl", "multiprocessing", "concurrent", "signal", "uvloop",
    # They read source files.
    "linecache", "traceback",
})  # fmt: skip
PICKLES = frozenset({"pickle", "cloudpickle", "_pickle", "marshal", "shelve", "dill"})
PICKLE_HOME = "lbnet.pickling"
NEVER_IMPORTED = frozenset({"bench", "tests", "scripts"})

# --- the checker


@dataclass(frozen=True)
class Module:
    """A file, as the name it is imported by and its text."""

    name: str
    source: str
    is_package: bool = False


def modules() -> list[Module]:
    """Every module of lbnet."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        found.append(Module(".".join(parts[:-1] if is_package else parts), path.read_text(), is_package))
    return found


def layer_of(name: str) -> str:
    """The layer of a dotted name below ``lbnet``; a name that ``lbnet`` itself offers belongs to ``lbnet``."""
    parts = name.split(".")[1:]
    if not parts:
        return "lbnet"
    if ".".join(parts[:2]) in MAY_IMPORT:
        return ".".join(parts[:2])
    return parts[0] if parts[0][:1].islower() else "lbnet"


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker reads."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and _is_type_checking(child.test):
            for other in child.orelse:
                yield other
                yield from _nodes(other)
        else:
            yield child
            yield from _nodes(child)


def _dynamic(node: ast.Call) -> str | None:
    """The name in ``importlib.import_module("name")`` and ``__import__("name")``."""
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if called in {"import_module", "__import__"} and node.args and isinstance(node.args[0], ast.Constant):
        return str(node.args[0].value)
    return None


def imports_of(module: Module) -> Iterator[tuple[int, str]]:
    """Lines and dotted names; ``from a import b`` is the name ``a.b``, which may be a module or a part of one."""
    for node in _nodes(ast.parse(module.source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            home = module.name.split(".")
            above = home[: len(home) - node.level + module.is_package] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and (name := _dynamic(node)) is not None:
            yield node.lineno, name


def violations(module: Module) -> list[str]:
    """Sentences about the imports that break a rule."""
    layer, found = layer_of(module.name), []
    if layer not in MAY_IMPORT:
        return [f"{module.name}: say in MAY_IMPORT what the layer {layer!r} may import"]
    for line, name in imports_of(module):
        top, where = name.split(".", maxsplit=1)[0], f"{module.name}:{line}"
        if top == "lbnet":
            other = layer_of(name)
            if other != layer and other not in MAY_IMPORT[layer]:
                found.append(f"{where}: {layer} may not import {other}")
        elif layer in PURE and top in IMPURE_MODULES:
            found.append(f"{where}: {layer} is pure, and may not import {top}")
        elif top in PICKLES and module.name != PICKLE_HOME:
            found.append(f"{where}: only {PICKLE_HOME} may import {top}")
        elif top in NEVER_IMPORTED:
            found.append(f"{where}: {top} is never imported by the package")
    return found


def undocumented(module: Module) -> list[str]:
    """Names of public things without a docstring."""
    missing: list[str] = []

    def look(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> None:
        if not ast.get_docstring(node):
            missing.append(name)
        if isinstance(node, ast.Module | ast.ClassDef):
            for child in node.body:
                if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and child.name[0] != "_":
                    look(child, f"{name}.{child.name}")

    look(ast.parse(module.source), module.name)
    return missing


# --- the package

MODULES = modules()
each_module = pytest.mark.parametrize("module", MODULES, ids=[module.name for module in MODULES])


def test_the_package_is_there() -> None:
    assert {layer_of(module.name) for module in MODULES} >= {"core", "protocol", "strategies", "pool", "net", "client"}


@each_module
def test_imports_run_downward_only(module: Module) -> None:
    assert violations(module) == []


@each_module
def test_everything_public_has_a_docstring(module: Module) -> None:
    assert undocumented(module) == []


def test_the_layers_have_a_bottom_and_no_circles() -> None:
    below = {layer: names - {layer} for layer, names in MAY_IMPORT.items()}
    order = list(graphlib.TopologicalSorter(below).static_order())
    assert set(order) == set(MAY_IMPORT)
    assert order[-1] == "cli"


def test_the_two_drivers_never_meet() -> None:
    def reachable(layer: str) -> set[str]:
        return {layer}.union(*(reachable(name) for name in MAY_IMPORT[layer] - {layer}))

    assert "net" not in reachable("sim")
    assert "sim" not in reachable("net")
    assert reachable("core") & {"strategies", "net", "sim", "pool", "pickling", "client"} == set()
    assert reachable("pool") & {"strategies", "net", "sim", "client"} == set()


# --- the checker itself, on small sources


@pytest.mark.parametrize(
    ("name", "source", "sentence"),
    [
        ("lbnet.core.ledger", "import asyncio", "core is pure, and may not import asyncio"),
        ("lbnet.core.ledger", "from time import monotonic", "core is pure, and may not import time"),
        ("lbnet.core.ledger", "import os.path as p", "core is pure, and may not import os"),
        ("lbnet.core.ledger", "def f():\n    import random", "core is pure, and may not import random"),
        ("lbnet.core.ledger", "class A:\n    async def f(self):\n        import socket", "may not import socket"),
        ("lbnet.core.ledger", "try:\n    import logging\nexcept ImportError:\n    pass", "may not import logging"),
        ("lbnet.core.ledger", "__import__('time')", "may not import time"),
        ("lbnet.core.ledger", "import importlib\nimportlib.import_module('lbnet.net.link')", "core may not import net"),
        ("lbnet.core.ledger", "from lbnet.strategies.sb import SchedulerBased", "core may not import strategies"),
        ("lbnet.core.ledger", "from lbnet.strategies import sb", "core may not import strategies"),
        ("lbnet.core.ledger", "from lbnet import strategies", "core may not import strategies"),
        ("lbnet.core.ledger", "from lbnet import limits, pickling", "core may not import pickling"),
        ("lbnet.core.ledger", "from ..net import link", "core may not import net"),
        ("lbnet.core.ledger", "from .. import pool", "core may not import pool"),
        ("lbnet.core", "from ..net.link import Link", "core may not import net"),
        ("lbnet.core.ledger", "if not TYPE_CHECKING:\n    import socket", "may not import socket"),
        ("lbnet.core.ledger", "if TYPE_CHECKING:\n    pass\nelse:\n    import socket", "may not import socket"),
        ("lbnet.protocol.codec", "import pickle", "protocol is pure, and may not import pickle"),
        ("lbnet.protocol.codec", "from lbnet.core import job", "protocol may not import core"),
        ("lbnet.strategies.sb", "import random", "strategies is pure, and may not import random"),
        ("lbnet.strategies.base", "from lbnet.strategies import registry", "strategies.base may not import strategies"),
        ("lbnet.sim.engine", "from lbnet.net import link", "sim may not import net"),
        ("lbnet.net.link", "import lbnet.sim.engine", "net may not import sim"),
        ("lbnet.net.link", "import cloudpickle", "only lbnet.pickling may import cloudpickle"),
        ("lbnet.pool.child", "from pickle import loads", "only lbnet.pickling may import pickle"),
        ("lbnet.pool.parent", "from lbnet.net import link", "pool may not import net"),
        ("lbnet.client.client", "from lbnet.pool.parent import Pool", "client may not import pool"),
        ("lbnet.client.client", "from lbnet.core import job", "client may not import core"),
        ("lbnet.workloads.uts", "import lbnet\nfrom lbnet import Client", "workloads may not import lbnet"),
        ("lbnet.cli.main", "import bench.harness", "bench is never imported by the package"),
        ("lbnet.cli.main", "from tests.core import test_ledger", "tests is never imported by the package"),
        ("lbnet.types", "from lbnet import limits", "types may not import limits"),
        ("lbnet.telepathy.waves", "", "say in MAY_IMPORT what the layer 'telepathy' may import"),
        ("lbnet.core.ledger", "from lbnet.telepathy import waves", "core may not import telepathy"),
    ],
)
def test_a_planted_violation_is_found(name: str, source: str, sentence: str) -> None:
    found = violations(Module(name, source, is_package=name.count(".") == 1 and name != "lbnet.types"))
    assert found
    assert sentence in found[-1]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("lbnet.core.ledger", "from lbnet.strategies.base import Pair\nfrom lbnet.strategies import base"),
        ("lbnet.core.ledger", "from lbnet import limits\nfrom lbnet.core import ranges\nfrom . import ranges"),
        ("lbnet.core.ledger", "if TYPE_CHECKING:\n    import socket\n    from lbnet.net.link import Link"),
        ("lbnet.core.ledger", "if typing.TYPE_CHECKING:\n    import asyncio"),
        ("lbnet.core.ledger", "import timeit\nimport randomness\n'import socket'\n# import os"),
        ("lbnet.pickling", "import pickle\nimport cloudpickle"),
        ("lbnet.net.link", "import asyncio, socket\nfrom lbnet.pool.parent import Pool"),
        ("lbnet.cli.main", "from lbnet import Client\nfrom lbnet.sim import engine\nfrom lbnet.core import job"),
    ],
)
def test_what_is_allowed_is_not_reported(name: str, source: str) -> None:
    assert violations(Module(name, source)) == []


def test_missing_docstrings_are_found() -> None:
    source = '''
class Public:
    def method(self): pass
    def _private(self): pass
    def __len__(self): return 0
    class Inner: pass
class _Private:
    def method(self): pass
async def function():
    """It has one."""
    def inner(): pass
def other(): pass
'''
    assert undocumented(Module("m", source)) == ["m", "m.Public", "m.Public.method", "m.Public.Inner", "m.other"]
    assert undocumented(Module("m", f'"""What it is for."""\n{source}'))[0] == "m.Public"
    assert undocumented(Module("m", '"""What it is for."""')) == []
