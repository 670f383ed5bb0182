"""``lbnet map``: a function over JSON lines, from the shell."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import click

from lbnet.cli import options
from lbnet.errors import UsageError
from lbnet.types import Address

_FAILURES_SHOWN_MAX = 1_000
"""Lines that failed are named on standard error, so many; the count has them all."""


class BadLineError(ValueError):
    """A line of the input is not JSON."""


@click.command("map", short_help="Call a function on every line of a JSON-lines file.")
@click.argument("function", metavar="PACKAGE.MODULE:FUNCTION")
@click.argument("items", metavar="ITEMS.jsonl", type=click.File("rb"))
@click.option(
    "-o",
    "--output",
    type=click.File("w", encoding="utf-8", lazy=False),
    default="-",
    help="Where results go.  [default: -]",
)
@click.option("--numbered", is_flag=True, help='Write {"line": N, "value": ...} instead of the bare value.')
@click.option(
    "--retries", type=click.IntRange(0), default=0, show_default=True, help="Try a failed item again so often."
)
@click.option(
    "--task-timeout", type=click.FloatRange(0), default=0.0, help="Seconds that one item may take.  [default: no limit]"
)
@options.connect("The controller.  [default: the cores of this machine]")
@click.pass_context
def command(
    ctx: click.Context,
    function: str,
    items: IO[bytes],
    output: IO[str],
    numbered: bool,
    retries: int,
    task_timeout: float,
    connect: Address | None,
) -> None:
    r"""Call FUNCTION on every line of ITEMS.jsonl, on a cluster or on the cores of this machine.

    Each line is one JSON value, and so is each line of the result, in the order of the input. "-" stands for the
    standard streams. Modules are found as by `python -c`: in the current folder, too. An item that fails is named
    on standard error by its line number, all others go on, and the exit code is 1.

    \b
        lbnet map statistics:mean numbers.jsonl
        cat items.jsonl | lbnet map mypackage.work:evaluate - -o results.jsonl --connect 10.0.0.5:7077
    """
    from lbnet.client.client import Client

    fn = load_function(function)
    lines = _Lines(items)
    good = failed = 0
    with Client(connect, name="map") as client:
        view = client.with_options(name=function, retries=retries, task_timeout_s=task_timeout)
        results = view.map(fn, lines, progress=sys.stderr.isatty(), return_exceptions=True)
        for line, value in lines.joined(results):
            text = value if isinstance(value, BaseException) else _as_json(value, line if numbered else None)
            if isinstance(text, BaseException):
                failed += 1
                _show_failure(line, text, failed)
            else:
                good += 1
                output.write(text + "\n")
    output.flush()
    if failed:
        click.echo(f"lbnet: {failed:,} of {good + failed:,} lines failed", err=True)
    ctx.exit(1 if failed else 0)


def load_function(name: str) -> Callable[..., Any]:
    """The function that ``package.module:function`` names.

    Raises:
        UsageError: there is no such module, no such name in it, or it cannot be called.
    """
    module_name, colon, path = name.partition(":")
    if not colon or not module_name or not path:
        raise UsageError(
            f"{name!r} does not name a function: write PACKAGE.MODULE:FUNCTION, for example statistics:mean"
        )
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        hint = (
            f"; looked in {Path.cwd()} and the installed packages"
            if error.name and module_name.startswith(error.name)
            else ""
        )
        raise UsageError(f"cannot import {module_name!r}: {error}{hint}") from error
    except Exception as error:  # whatever somebody else's module raises
        raise UsageError(f"cannot import {module_name!r}: it raised {type(error).__name__}: {error}") from error
    for part in path.split("."):
        if not hasattr(found, part):
            public = [each for each in dir(found) if not each.startswith("_") and callable(getattr(found, each))]
            raise UsageError(f"{module_name!r} has no {path!r}; it has: {', '.join(public[:20]) or 'nothing to call'}")
        found = getattr(found, part)
    if not callable(found):
        raise UsageError(f"{name} is a {type(found).__name__} and cannot be called")
    function: Callable[..., Any] = found
    return function


class _Lines:
    """The input: the JSON values of its lines, and what is wrong with the others. Empty lines are left out."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._size = _line_count(file)
        # The line of each item, and of each bad line with its error, in order: written by the reading thread.
        self._places: list[tuple[int, BadLineError | None]] = []

    def __len__(self) -> int:
        if self._size is None:
            raise TypeError("nobody knows how long a stream is")
        return self._size

    def __iter__(self) -> Iterator[Any]:
        for number, line in enumerate(self._file, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                self._places.append((number, BadLineError(f"not JSON: {error}")))
            else:
                self._places.append((number, None))
                yield value

    def joined(self, results: Iterator[Any]) -> Iterator[tuple[int, Any]]:
        """The number of every line with its value or error."""
        at = 0
        for value in results:
            while (bad := self._places[at])[1] is not None:
                yield bad
                at += 1
            yield self._places[at][0], value
            at += 1
        yield from self._places[at:]


def _line_count(file: IO[bytes]) -> int | None:
    try:
        if not os.path.isfile(file.name):  # noqa: PTH113 - the name of a standard stream is a number or <stdin>
            return None
        with Path(file.name).open("rb") as again:
            return sum(1 for line in again if line.strip())
    except (OSError, TypeError):
        return None


def _as_json(value: Any, line: int | None) -> str | ValueError:
    try:
        return json.dumps(value if line is None else {"line": line, "value": value}, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        return ValueError(f"the result, of type {type(value).__name__}, cannot be written as JSON: {error}")


def _show_failure(line: int, error: BaseException, failed: int) -> None:
    if failed <= _FAILURES_SHOWN_MAX:
        notes = "; ".join(note for note in getattr(error, "__notes__", ()) if not note.startswith("item "))
        click.echo(f"line {line}: {type(error).__name__}: {error}{f' ({notes})' if notes else ''}", err=True)
    elif failed == _FAILURES_SHOWN_MAX + 1:
        click.echo("further failures are counted, not shown", err=True)
