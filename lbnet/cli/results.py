"""``lbnet results``: what came of a job that was handed in, as JSON lines."""

from __future__ import annotations

import sys

import click

from lbnet.address import DEFAULT_HOST, DEFAULT_PORT
from lbnet.cli import options, teach
from lbnet.cli.files import writing
from lbnet.cli.lines import as_json, words
from lbnet.types import Address


@click.command(
    "results",
    cls=teach.Command,
    short_help="Fetch the results of a job that was handed in.",
    examples=("lbnet results 16777217", "lbnet results 16777217 -o results.jsonl --connect 10.0.0.5:7077"),
)
@click.argument("job", type=int)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(),
    default="-",
    help="Where results are added.  [default: standard output]",
)
@options.connect("The controller.", default=f"{DEFAULT_HOST}:{DEFAULT_PORT}", show_default=True)
@click.pass_context
def command(ctx: click.Context, job: int, output: str, connect: Address) -> None:
    """Write the results of JOB, a JSON line each, in the order of its items, and wait for those that are not there yet.

    It is for jobs that go on without their client: client.submit_job(..., detached=True). The controller forgets a
    result when it has been written. When this command is stopped or its pipe breaks, the rest is there for the next
    one, which may write the last few again. The job itself goes on.

    An item that failed is named on standard error and has no line; all others go on, and the exit code is 1.
    """
    failed = good = 0
    with writing(output) as out, options.client(connect, "results") as client:
        progress = sys.stderr.isatty() and not out.isatty()
        for value in client.attach(job, return_exceptions=True, progress=progress):
            try:
                text = value if isinstance(value, BaseException) else as_json(value, None)
            except ValueError as error:
                text = error
            if isinstance(text, BaseException):
                failed += 1
                click.echo(words(text), err=True)
            else:
                good += 1
                out.write(text + "\n")
    if failed:
        click.echo(f"lbnet: {failed:,} of {good + failed:,} items failed", err=True)
    ctx.exit(1 if failed else 0)
