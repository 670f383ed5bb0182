"""From ``package.module:function`` to the function, or to a sentence that says what is wrong with the name."""

from __future__ import annotations

import difflib
import importlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lbnet.errors import UsageError

_NAMES_SHOWN_MAX = 20


def load_function(name: str) -> Callable[..., Any]:
    """The function that ``package.module:function`` names. The current folder is searched, too.

    Raises:
        UsageError: there is no such module, it cannot be imported, it has no such name, or that cannot be called.
    """
    module_name, _, path = name.partition(":")
    if not all(part.isidentifier() for part in path.split(".")) or not module_name:
        raise UsageError(
            f"{name!r} does not name a function: write PACKAGE.MODULE:FUNCTION, for example statistics:mean"
        )
    if not all(part.isidentifier() for part in module_name.split(".")) or module_name.endswith(".py"):
        raise UsageError(
            f"{module_name!r} is not the name of a module: write it as in an import statement, "
            f"{_as_imported(module_name)}:{path}"
        )
    found: Any = _import(module_name)
    for part in path.split("."):
        if not hasattr(found, part):
            raise UsageError(f"{module_name!r} has no {path!r}; {_what_there_is(found, part)}")
        found = getattr(found, part)
    if not callable(found):
        raise UsageError(f"{name} is of type {type(found).__name__} and cannot be called")
    function: Callable[..., Any] = found
    return function


def _as_imported(file_name: str) -> str:
    parts = [part for part in Path(file_name.removesuffix(".py")).parts if part.isidentifier()]
    return ".".join(parts) or "MODULE"


def _import(name: str) -> Any:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Either there is no such module, or it is there and itself imports what is not.
        sought = error.name is not None and f"{name}.".startswith(f"{error.name}.")
        hint = f"; looked in {folder} and among the installed packages" if sought else _place(error)
        raise UsageError(f"cannot import {name!r}: {error}{hint}") from error
    except (Exception, SystemExit) as error:  # whatever somebody else's module raises
        raise UsageError(f"cannot import {name!r}: it raised {type(error).__name__}: {error}{_place(error)}") from error


def _place(error: BaseException) -> str:
    """Where it was raised, unless that is in the import system: its errors say by themselves what they are about."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen ")]
    if not frames or frames[-1].filename in {__file__, importlib.__file__}:
        return ""
    return f" ({frames[-1].filename}, line {frames[-1].lineno})"


def _what_there_is(found: Any, wanted: str) -> str:
    """The names that were perhaps meant: those made in the module come before those that it imports."""
    public = [each for each in dir(found) if not each.startswith("_") and callable(getattr(found, each, None))]
    own = [each for each in public if getattr(getattr(found, each), "__module__", None) == found.__name__]
    names = own or public
    close = difflib.get_close_matches(wanted, names, n=1)
    listed = ", ".join(names[:_NAMES_SHOWN_MAX]) + (", ..." if len(names) > _NAMES_SHOWN_MAX else "")
    return f"{f'did you mean {close[0]!r}? ' if close else ''}it has: {listed or 'nothing to call'}"
