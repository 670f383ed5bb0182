"""The command ``lbnet``: its groups of commands, and what happens to errors."""

from __future__ import annotations

import importlib
import signal
import sys
from types import FrameType
from typing import NoReturn

import click

from lbnet.errors import LbnetError, UsageError
from lbnet.version import VERSION

_COMMANDS = {
    "controller": "lbnet.cli.controller",
    "worker": "lbnet.cli.worker",
    "status": "lbnet.cli.status",
    "map": "lbnet.cli.map",
    "demo": "lbnet.cli.demo",
}
"""Where each command is: a module is imported when its command is used."""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = importlib.import_module(module).command
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, message="lbnet %(version)s")
def group() -> None:
    r"""Keep every core of a few, or a few thousand, machines busy on Python work of unpredictable cost.

    A controller knows who is idle, workers hand each other work, and your script submits it.

    \b
    See it work on this machine:
        lbnet demo
    A cluster, by hand (each line in a terminal of its own, workers on any machine that reaches the first):
        lbnet controller --port 7077
        lbnet worker --connect HOST:7077
        lbnet status --connect HOST:7077
    Use it, from Python or from the shell:
        with lbnet.Client("HOST:7077") as client: print(list(client.map(f, items)))
        lbnet map package.module:function ITEMS.jsonl -o RESULTS.jsonl --connect HOST:7077

    LBNET_ADDRESS=HOST:7077 stands for --connect everywhere. Without either, `map` and lbnet.Client() use
    the cores of this machine.
    """


def main() -> NoReturn:
    """Run the command line. Exit codes: 0 fine, 1 something failed, 2 it was asked for something impossible."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = group.main(prog_name="lbnet", standalone_mode=False)
    except click.exceptions.Abort:  # Ctrl-C
        click.echo("lbnet: stopped", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except LbnetError as error:
        click.echo(f"lbnet: {error}", err=True)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    sys.exit(code if isinstance(code, int) else 0)


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - the signature of a handler
    """SIGTERM ends a command as Ctrl-C does: what it started is ended, too."""
    sys.exit(128 + signum)


if __name__ == "__main__":
    main()
