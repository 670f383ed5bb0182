"""The names of the package, and what importing it costs."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import lbnet

HEAVY = ["asyncio", "uvloop", "msgpack", "cloudpickle", "click", "rich", "psutil", "lbnet.client", "lbnet.net"]


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter holds after ``code``."""
    script = (
        f"import sys, json\nbefore = set(sys.modules)\n{code}\nprint(json.dumps(sorted(set(sys.modules) - before)))"
    )
    return set(json.loads(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True).stdout))


@pytest.mark.parametrize(
    "code", ["import lbnet", "import lbnet; dir(lbnet); lbnet.__version__", "import lbnet; lbnet.spawn; lbnet.hungry"]
)
def test_importing_the_package_is_light(code: str) -> None:
    loaded = loaded_by(code)
    assert "lbnet" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_a_name_loads_what_it_needs() -> None:
    assert {"lbnet.client.client", "uvloop", "msgpack"} <= loaded_by("from lbnet import Client")


def test_all_names_are_there_and_are_what_their_homes_hold() -> None:
    assert lbnet.__all__ == sorted(lbnet.__all__, key=lambda name: (name.lstrip("_")[0].islower(), name))
    for name in lbnet.__all__:
        assert getattr(lbnet, name) is not None
    for name, home in lbnet._HOMES.items():
        assert getattr(lbnet, name) is getattr(importlib.import_module(home), name)
        assert name in lbnet.__all__
    assert lbnet.errors is importlib.import_module("lbnet.errors")
    assert lbnet.__version__ == importlib.import_module("lbnet.version").VERSION


def test_names_are_listed_before_they_are_used() -> None:
    listed = subprocess.run([sys.executable, "-c", "import lbnet; print(*dir(lbnet))"], check=True, capture_output=True)
    assert set(lbnet.__all__) <= set(listed.stdout.decode().split())
    assert set(lbnet.__all__) <= set(dir(lbnet))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'lbnet' has no attribute 'Cluster'"):
        lbnet.Cluster  # noqa: B018
    with pytest.raises(ImportError):
        exec("from lbnet import Cluster")


def test_a_star_import_brings_the_names() -> None:
    names: dict[str, object] = {}
    exec("from lbnet import *", names)
    assert set(lbnet.__all__) <= names.keys()


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(lbnet.__file__).parent / "py.typed").exists()
