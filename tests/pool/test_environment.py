"""What a process that lbnet starts can import: all that its parent can, and lbnet itself before that."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import lbnet.errors
from lbnet.pool.environment import PATH_VARIABLE, adopt_path, child_environment

HOME = str(Path(lbnet.errors.__file__).parent.parent)


def test_a_child_finds_what_its_parent_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["", "/a", "/b"])
    monkeypatch.delenv("PYTHONPATH", raising=False)
    environment = child_environment({"X": "1"})
    assert environment["X"] == "1"
    assert environment["PYTHONPATH"] == HOME
    assert environment["PATH"] == os.environ["PATH"]
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(sys, "path", ["/usr/lib", "/b"])
    adopt_path()
    assert sys.path == ["/usr/lib", "/b", str(Path.cwd()), "/a"]
    # It is meant for this process, not for those that it starts.
    assert PATH_VARIABLE not in environment


def test_without_a_parent_there_is_nothing_to_adopt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(sys, "path", ["/usr/lib"])
    adopt_path()
    assert sys.path == ["/usr/lib"]


def test_what_stands_in_the_python_path_stays_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/mine")
    assert child_environment({})["PYTHONPATH"] == f"/mine:{HOME}"
    monkeypatch.setenv("PYTHONPATH", f"/mine:{HOME}:/other")
    assert child_environment({})["PYTHONPATH"] == f"/mine:{HOME}:/other"


def test_an_installed_package_is_found_without_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(lbnet.errors, "__file__", "/x/site-packages/lbnet/errors.py")
    assert "PYTHONPATH" not in child_environment({})
