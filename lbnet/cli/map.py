"""``lbnet map``: a function over JSON lines, from the shell."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click

from lbnet.cli import options, teach
from lbnet.cli.files import reading, writing
from lbnet.cli.function import load_function
from lbnet.cli.lines import CountedLines, Lines, as_json, words
from lbnet.errors import UsageError
from lbnet.types import Address

_FAILURES_SHOWN_MAX = 1_000
"""Lines that failed are named on standard error, so many; the count has them all."""


@click.command(
    "map",
    cls=teach.Command,
    short_help="Call a function on every line of a JSON-lines file.",
    examples=(
        "lbnet map math:factorial numbers.jsonl",
        "lbnet map mypackage.work:evaluate items.jsonl -o results.jsonl --connect 10.0.0.5:7077",
        "cat items.jsonl | lbnet map mypackage.work:evaluate - --numbered > results.jsonl",
    ),
)
@click.argument("function", metavar="PACKAGE.MODULE:FUNCTION")
@click.argument("items", metavar="ITEMS.jsonl", type=click.Path())
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(),
    default="-",
    help="Where results go.  [default: standard output]",
)
@click.option("--numbered", is_flag=True, help='Write {"line": N, "value": ...} instead of the bare value.')
@click.option(
    "--retries", type=click.IntRange(0), default=0, show_default=True, help="Try a failed item again so often."
)
@click.option(
    "--task-timeout", type=click.FloatRange(0), default=0.0, help="Seconds that one item may take.  [default: no limit]"
)
@click.option("--balance", is_flag=True, help="At the end, show on standard error where the time of all slots went.")
@options.connect("The controller.  [default: the cores of this machine]")
@click.pass_context
def command(
    ctx: click.Context,
    function: str,
    items: str,
    output: str,
    numbered: bool,
    retries: int,
    task_timeout: float,
    balance: bool,
    connect: Address | None,
) -> None:
    """Call FUNCTION on every line of ITEMS.jsonl, on a cluster or on the cores of this machine.

    Each line is one JSON value, the argument of one call. Each line of the output is the result of one, in the order
    of the input, as soon as it is known. "-" stands for standard input or output. Empty lines are skipped.

    The function's module is found in the current folder or among the installed packages, and must be found there by the
    workers, too. What it prints goes to standard error, or, on a cluster, to the output of the worker.

    A line fails if it is not JSON, if the function raises, or if its result is not JSON (NaN is not). It is then named
    on standard error by its number and has no line in the output; all others go on, and the exit code is 1. Use
    --numbered to know which result is whose.
    """
    fn = load_function(function)
    failures = _Failures()
    good = 0
    with reading(items) as source, _writing(output, source) as out, options.client(connect, "map") as client:
        _empty(out, output)
        progress = sys.stderr.isatty() and not out.isatty()
        lines = _lines(source, failures, counted=progress)
        view = client.with_options(name=function, retries=retries, task_timeout_s=task_timeout)
        results = view.map(fn, lines, progress=progress, return_exceptions=True)
        for line, value in lines.numbered(results):
            try:
                text = value if isinstance(value, BaseException) else as_json(value, line if numbered else None)
            except ValueError as error:
                text = error
            if isinstance(text, BaseException):
                failures.add(line, words(text))
            else:
                good += 1
                out.write(text + "\n")
        report = client.report(results, balance=True).balance if balance else None
    if report is not None:
        from lbnet.cli import show_balance

        show_balance.balance(report, err=True)
    if failures.count:
        click.echo(f"lbnet: {failures.count:,} of {good + failures.count:,} lines failed", err=True)
    ctx.exit(1 if failures.count else 0)


class _Failures:
    """Names lines that failed, for the thread that reads and the one that takes results."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def add(self, line: int, reason: str) -> None:
        with self._lock:
            self.count += 1
            if self.count <= _FAILURES_SHOWN_MAX:
                click.echo(f"line {line}: {reason}", err=True)
            elif self.count == _FAILURES_SHOWN_MAX + 1:
                click.echo("further failures are counted, not shown", err=True)


def _lines(source: IO[bytes], failures: _Failures, *, counted: bool) -> Lines:
    if not (counted and source.seekable()):
        return Lines(source, failures.add)
    begin = source.tell()
    count = sum(1 for line in source if line.strip())
    source.seek(begin)
    return CountedLines(source, failures.add, count)


# --- files ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _writing(name: str, source: IO[bytes]) -> Iterator[IO[str]]:
    """What the file holds stays until the work begins. It must not be the input."""
    if Path(name).is_file() and os.path.samestat(os.fstat(source.fileno()), Path(name).stat()):
        raise UsageError(f"{name} is the input as well: write the results to another file")
    with writing(name) as file:
        yield file


def _empty(file: IO[str], name: str) -> None:
    """Begin it anew, if it is a file of ours."""
    if name != "-" and stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.truncate(0)
