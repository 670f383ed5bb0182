"""Facts about files, the broken ones above all."""

from __future__ import annotations

import os
import threading
import warnings
from pathlib import Path

import pytest

from lbnet.workloads.stdlib_files import FileFacts, files, measure


def facts_of(tmp_path: Path, source: bytes) -> FileFacts:
    path = tmp_path / "file.py"
    path.write_bytes(source)
    return measure(str(path))


def test_an_empty_file(tmp_path: Path) -> None:
    assert facts_of(tmp_path, b"") == FileFacts(size_bytes=0, lines=0, nodes=1, depth=1)


def test_a_file_is_counted(tmp_path: Path) -> None:
    source = b"""\
class A:
    def f(self): pass
    async def g(self): pass
def h():
    class B: pass
    return lambda: 0"""
    facts = facts_of(tmp_path, source)
    assert (facts.size_bytes, facts.lines, facts.functions, facts.classes) == (len(source), 6, 3, 2)
    # Module, A, f, arguments, arg, Pass, g, arguments, arg, Pass, h, arguments, B, Pass, Return, Lambda, arguments, 0
    assert facts.nodes == 18
    assert facts.depth == 5
    assert facts.ok


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (b"def f(:\n", "SyntaxError"),
        (b"if 1:\nx\n", "IndentationError"),
        (b"if 1:\n\tx\n        y\n", "TabError"),
        (b"x = '\xff'\n", "SyntaxError"),
        (b"# coding: no-such-code\n", "SyntaxError"),
        (b"\xef\xbb\xbf# coding: latin-1\n", "SyntaxError"),
        (b"print 'two'\n", "SyntaxError"),
        (b"x = " + b"(" * 300 + b")" * 300, "SyntaxError"),
        (b"x = " + b"9" * 5_000, "SyntaxError"),
    ],
)
def test_the_facts_name_the_error(tmp_path: Path, source: bytes, error: str) -> None:
    facts = facts_of(tmp_path, source)
    assert facts == FileFacts(len(source), facts.lines, error=error)
    assert not facts.ok
    assert facts.lines == len(source.splitlines())


def test_null_bytes(tmp_path: Path) -> None:
    # By the version of Python one or the other, so only that it is one of them.
    assert facts_of(tmp_path, b"x = 1\0\n").error in {"SyntaxError", "ValueError"}


@pytest.mark.parametrize("source", [b"x = " + b"-" * 50_000 + b"1", b"x = 1" + b" + 1" * 20_000])
def test_code_too_deep_for_the_parser(tmp_path: Path, source: bytes) -> None:
    assert facts_of(tmp_path, source).error in {"MemoryError", "RecursionError"}


def test_deep_code_that_still_parses(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, b"x = " + b"-" * 500 + b"1")
    assert facts.ok
    assert facts.depth == 503


def test_another_encoding(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, "# -*- coding: latin-1 -*-\nx = 'é'\n".encode("latin-1"))
    assert facts.ok
    assert facts.lines == 2


def test_the_parsers_warnings_do_not_escape(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert facts_of(tmp_path, b"x = '\\d'\nassert (1, 'always')\n1 is 1\n").ok


def test_a_missing_file_is_the_callers_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        measure(str(tmp_path / "nothing.py"))


def test_files_are_those_of_the_standard_library() -> None:
    found = files()
    assert found == sorted(set(found))
    assert os.__file__ in found
    assert len(found) > 500
    parts = {part for path in found for part in Path(path).parts}
    assert not parts & {"__pycache__", "site-packages"}
    assert all(path.endswith(".py") and Path(path).is_absolute() for path in found)


def test_the_same_facts_elsewhere() -> None:
    some = files()[::50]
    here = [measure(path) for path in some]
    there: list[FileFacts] = []
    # A thread starts with an empty Python stack: the facts do not depend on how deep the caller is.
    thread = threading.Thread(target=lambda: there.extend(map(measure, some)))
    thread.start()
    thread.join()
    assert here == there
    assert any(facts.ok and facts.functions and facts.classes for facts in here)
    assert max(facts.depth for facts in here) < 100
