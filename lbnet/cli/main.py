"""The command ``lbnet``: its commands, and what happens to errors and signals."""

from __future__ import annotations

import contextlib
import importlib
import io
import signal
import sys
from types import FrameType
from typing import NoReturn

import click

from lbnet.cli import teach
from lbnet.errors import LbnetError, UsageError
from lbnet.version import VERSION

_COMMANDS = {
    "controller": "lbnet.cli.controller",
    "worker": "lbnet.cli.worker",
    "status": "lbnet.cli.status",
    "jobs": "lbnet.cli.jobs",
    "results": "lbnet.cli.results",
    "logs": "lbnet.cli.logs",
    "explain": "lbnet.cli.explain",
    "audit": "lbnet.cli.audit",
    "cancel": "lbnet.cli.cancel",
    "drain": "lbnet.cli.drain",
    "token": "lbnet.cli.token",
    "map": "lbnet.cli.map",
    "demo": "lbnet.cli.demo",
    "simulate": "lbnet.cli.simulate",
    "calibrate": "lbnet.cli.calibrate",
}
"""Where each command is: a module is imported when its command is used."""


class _LazyGroup(teach.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = importlib.import_module(module).command
        return command


_EXAMPLES = (
    "# see it work on this machine",
    "lbnet demo",
    "# try it on more workers than you have",
    "lbnet simulate --workload uts:T1 --strategy sb,rp --workers 16,64",
    "# with what messages cost on this machine",
    "lbnet calibrate -o costs.json",
    "# use all cores of this machine, from the shell",
    "lbnet map package.module:function items.jsonl -o results.jsonl",
    "# a cluster: each line in a terminal of its own, workers on any machine that reaches the first",
    "lbnet controller --host 0.0.0.0 --port 7077",
    "lbnet worker --connect HOST:7077 --token-file TOKEN",
    "# or with the line that the controller prints; on its own account nobody needs a token",
    "lbnet status --connect HOST:7077",
    "# a job that was handed in: which one, and what has come of it",
    "lbnet jobs --connect HOST:7077",
    "lbnet results JOB -o results.jsonl --connect HOST:7077",
    "# what its tasks print, and why one of them does not run yet",
    "lbnet logs JOB --follow --connect HOST:7077",
    "lbnet explain JOB/ITEM --connect HOST:7077",
    "# enough of a job, of whoever it is",
    "lbnet cancel JOB --connect HOST:7077",
    "# who may come in",
    "lbnet token create --role worker --ttl 24h",
    "# take a machine out, while its tasks finish",
    "lbnet drain WORKER --connect HOST:7077",
    "# after a disaster: is every task accounted for?",
    "lbnet audit --connect HOST:7077",
    "# use it",
    "lbnet map package.module:function items.jsonl --connect HOST:7077",
    "python -c 'import lbnet; print(list(lbnet.Client(\"HOST:7077\").map(abs, range(-5, 5))))'",
)


@click.group(
    cls=_LazyGroup,
    examples=_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(VERSION, message="lbnet %(version)s")
def group() -> None:
    """Keep every core of a few, or a few thousand, machines busy on Python work of unpredictable cost.

    A controller knows who is idle, workers hand each other work, and your script submits it. `lbnet COMMAND -h`
    explains a command.

    LBNET_ADDRESS=HOST:PORT stands for --connect everywhere, and LBNET_TOKEN for --token. Without an address, `map` and
    lbnet.Client() use the cores of this machine; `worker` and `status` look for a controller at 127.0.0.1:7077.

    Exit codes: 0 fine, 1 something failed, 2 the command line asks for something impossible, 130 interrupted by
    Ctrl-C, 143 by SIGTERM. A controller or worker runs until a signal, and that is fine: 0.
    """


def main() -> NoReturn:
    """Run the command line, and exit with one of the codes that its help explains."""
    signal.signal(signal.SIGTERM, _terminate)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a name that the terminal has no letters for is no reason to fail
    try:
        code = group.main(prog_name="lbnet", standalone_mode=False)
    except click.exceptions.Abort:  # Ctrl-C
        _end("stopped", 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except UsageError as error:
        _end(str(error), 2)
    except (LbnetError, OSError) as error:  # also a full disk, or a cluster that did not start in time
        _end(str(error), 1)
    except RuntimeError as error:  # Python 3.11 raises one for whatever a signal raises while a class is being made
        if isinstance(error.__cause__, KeyboardInterrupt):
            _end("stopped", 130)
        if isinstance(error.__cause__, SystemExit):
            raise error.__cause__ from None
        raise
    sys.exit(code if isinstance(code, int) else 0)


def _end(sentence: str, code: int) -> NoReturn:
    with contextlib.suppress(OSError):  # nobody reads it
        click.echo(f"lbnet: {sentence}", err=True)
    sys.exit(code)


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - the signature of a handler
    """SIGTERM ends a command as Ctrl-C does: what it started is ended, too."""
    sys.exit(128 + signum)


if __name__ == "__main__":
    main()
