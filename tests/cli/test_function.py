"""The names of functions, and all that can be wrong with them."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbnet.cli.function import load_function
from lbnet.errors import UsageError

MODULES = {
    "good": "from json import dumps\n\ndef evaluate(x): return x\n\nclass Model:\n    def run(x): return x\n\nN = 4\n",
    "raises": "import os\n\n1 / 0\n",
    "leaves": "import sys\nsys.exit('no')\n",
    "broken": "x = (\n",
    "needs": "import os\nimport does_not_exist_at_all\n",
    "empty": "",
    "many": "\n".join(f"def f{number:02}(x): return x" for number in range(30)),
}


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Modules in the current folder, under names that nobody else uses; after the test nothing knows them."""
    for name, text in MODULES.items():
        (tmp_path / f"tried_{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    for name in MODULES:
        sys.modules.pop(f"tried_{name}", None)


def refusal(name: str) -> str:
    with pytest.raises(UsageError) as caught:
        load_function(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_functions_methods_and_classes_are_found(modules: Path) -> None:
    assert load_function("statistics:mean") is statistics.mean
    assert load_function("json.decoder:JSONDecoder") is json.decoder.JSONDecoder
    assert load_function("builtins:abs") is abs
    assert load_function("tried_good:evaluate")(3) == 3
    assert load_function("tried_good:Model.run")(4) == 4


@pytest.mark.parametrize(
    "name", ["", ":", "work", "work:", ":double", "work.double", "work:a b", "work:f()", "w:a..b", "a:b:c"]
)
def test_what_has_another_form_is_answered_with_the_form(name: str) -> None:
    assert refusal(name) == (
        f"{name!r} does not name a function: write PACKAGE.MODULE:FUNCTION, for example statistics:mean"
    )


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("work.py:f", "work:f"),
        ("./work.py:f", "work:f"),
        ("package/work.py:f", "package.work:f"),
        ("/home/me/work.py:f", "home.me.work:f"),
        (".work:f", "MODULE:f"),
        ("my-work:f", "MODULE:f"),
        ("..:f", "MODULE:f"),
    ],
)
def test_the_name_of_a_file_is_answered_with_that_of_the_module(name: str, better: str) -> None:
    text = refusal(name)
    assert "is not the name of a module" in text
    assert text.endswith(f"as in an import statement, {better}")


@pytest.mark.parametrize("module", ["tried_nothing", "tried_good.nothing", "json.nothing.deeper"])
def test_a_module_that_does_not_exist_is_sought_in_this_folder_too(module: str, modules: Path) -> None:
    text = refusal(f"{module}:f")
    assert text.startswith(f"cannot import {module!r}: No module named ")
    assert text.endswith(f"looked in {modules} and among the installed packages")


def test_a_module_that_lacks_another_one_says_where_it_asked_for_it(modules: Path) -> None:
    file = modules / "tried_needs.py"
    assert refusal("tried_needs:f") == (
        f"cannot import 'tried_needs': No module named 'does_not_exist_at_all' ({file}, line 2)"
    )


def test_a_module_that_raises_says_what_and_where(modules: Path) -> None:
    file = modules / "tried_raises.py"
    assert refusal("tried_raises:f") == (
        f"cannot import 'tried_raises': it raised ZeroDivisionError: division by zero ({file}, line 3)"
    )
    assert "'tried_leaves': it raised SystemExit: no (" in refusal("tried_leaves:f")
    assert "'tried_broken': it raised SyntaxError: '(' was never closed (tried_broken.py, line 1)" in refusal(
        "tried_broken:f"
    )


def test_a_wrong_function_is_answered_with_those_of_the_module(modules: Path) -> None:
    assert refusal("tried_good:nothing") == "'tried_good' has no 'nothing'; it has: Model, evaluate"
    assert refusal("tried_good:evalute") == (
        "'tried_good' has no 'evalute'; did you mean 'evaluate'? it has: Model, evaluate"
    )
    assert refusal("tried_good:Model.walk") == "'tried_good' has no 'Model.walk'; it has: run"
    assert refusal("tried_empty:f") == "'tried_empty' has no 'f'; it has: nothing to call"
    assert refusal("tried_many:g").endswith("f18, f19, ...")


def test_what_cannot_be_called_is_refused(modules: Path) -> None:
    assert refusal("tried_good:N") == "tried_good:N is of type int and cannot be called"
    assert refusal("tried_good:N.real") == "tried_good:N.real is of type int and cannot be called"


@given(name=st.text(max_size=20))
def test_any_text_is_a_function_or_a_sentence(name: str) -> None:
    try:
        found = load_function(f"statistics:{name}")
    except UsageError as error:
        found = error.__repr__
    assert callable(found)
