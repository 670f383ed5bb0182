"""``lbnet controller``: the process that knows who is idle."""

from __future__ import annotations

import contextlib
import json
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lbnet import limits
from lbnet.address import DEFAULT_HOST, DEFAULT_PORT
from lbnet.cli import options, teach
from lbnet.cli.count import count
from lbnet.client.options import PLACEMENTS
from lbnet.errors import JournalError, UsageError
from lbnet.strategies import registry
from lbnet.types import Address

if TYPE_CHECKING:
    from lbnet.net.restored import Restored
    from lbnet.security.place import Place

_PORTS_TRIED = 50
"""Free ports that may have a journal of an earlier controller before it is too much."""

_ALL_INTERFACES = {
    "0.0.0.0": (socket.AF_INET, "192.0.2.1"),  # noqa: S104 - it is looked up, not listened on
    "::": (socket.AF_INET6, "2001:db8::1"),
}
"""What stands for all interfaces, with an address of documentation: no machine has it."""


@click.command(
    "controller",
    cls=teach.Command,
    short_help="Start a controller: the place where workers and clients meet.",
    examples=("lbnet controller", "lbnet controller --host 0.0.0.0 --port 7077", "lbnet controller --port 0 --json"),
)
@click.option(
    "--host",
    default=DEFAULT_HOST,
    show_default=True,
    help="Interface to listen on. 0.0.0.0 is all of them. Only who has a token is let in.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="0 for any free port."
)
@click.option(
    "--placement",
    type=click.Choice(PLACEMENTS),
    default=PLACEMENTS[0],
    show_default=True,
    help="Where a job's initial work goes: to free slots, or all to the first worker.",
)
@options.strategy(
    f"Who asks whom for work, and when, for jobs that do not say: one of {', '.join(registry.BUILT_IN)}, of an "
    "installed package, or your own as MODULE:CLASS.",
    default=registry.DEFAULT,
    show_default=True,
)
@click.option(
    "--trace",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Record which tasks run and for how long, for the simulator to replay. FILE is new, and there at the end.",
)
@click.option(
    "--state-dir",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the journal of all jobs is. Started again with the same one, a controller goes on where it ended, "
    "however it ended.  [default: HOST-PORT in $XDG_STATE_HOME/lbnet or ~/.local/state/lbnet]",
)
@click.option("--no-journal", is_flag=True, help="Keep no journal: all jobs end with this process.")
@options.deadline(
    "Who says nothing for so long, not even that it lives, is taken for dead. It holds for all links of the cluster.",
    default=limits.LINK_DEADLINE_S,
    show_default=True,
)
@click.option("--insecure", is_flag=True, help="Let in anybody on this machine, and protect no link. For tests.")
@options.as_json
@click.pass_context
def command(
    ctx: click.Context,
    host: str,
    port: int,
    placement: str,
    strategy: str,
    trace: Path | None,
    state_dir: Path | None,
    no_journal: bool,
    deadline: float,
    insecure: bool,
    as_json: bool,
) -> None:
    """Start a controller, and run it until Ctrl-C or SIGTERM.

    It prints its address and the line that starts a worker on another machine: with its token, whoever has it is let
    in. On this account nobody needs one. It runs no tasks itself, and never looks into them.
    """
    from lbnet.client.access import check_insecure
    from lbnet.net.run import run_controller
    from lbnet.security.authority import utc_now
    from lbnet.security.place import Place

    found: list[Restored] = []
    if not host:  # perhaps a variable of a script that nobody has set: not a reason to listen to all the world
        raise UsageError("--host is empty: name an interface, or 0.0.0.0 for all of them")
    if insecure:
        check_insecure(host)
    listening = None
    if state_dir is not None:
        state_dir = state_dir.absolute()  # it is shown elsewhere, too
    elif no_journal and not port:
        state_dir = Path(ctx.with_resource(tempfile.TemporaryDirectory(prefix="lbnet-")))  # nobody will come back to it
    elif port:
        state_dir = _state_dir(host, port)
    else:
        listening, state_dir = _new_place(host)
    place = None if insecure else Place(state_dir, utc_now())

    def on_ready(listening_at: Address) -> None:
        address = _as_seen_by_others(listening_at)
        if as_json:
            facts = {"address": str(address), "placement": placement, "strategy": strategy}
            secrets = {"secrets": None if place is None else str(place.directory)}
            click.echo(json.dumps(facts | _journal_facts(found) | secrets))
            return
        click.echo(f"controller at {address}; Ctrl-C ends it. Start workers with\n  {_worker_line(place, address)}")
        click.echo(_about_journal(found, 0 if port else listening_at.port))

    with listening or contextlib.nullcontext():
        try:
            run_controller(
                host=host,
                port=port,
                placement=placement,
                strategy=strategy,
                on_ready=on_ready,
                listening=listening,
                trace=trace,
                state_dir=None if no_journal else state_dir,
                place=place,
                on_restored=found.append,
                deadline_s=deadline,
            )
        except JournalError as error:  # it is the directory that has to be another one, or what is in it
            raise UsageError(str(error)) from None


def _worker_line(place: Place | None, address: Address) -> str:
    """What to paste on another machine. On this account, what stands before --token is enough."""
    from lbnet.security.authority import utc_now

    if place is None:
        return f"lbnet worker --connect {address} --insecure"
    return f"lbnet worker --connect {address} --token {place.account_token('worker', utc_now())}"


def _journal_facts(found: list[Restored]) -> dict[str, object]:
    """What programs are told of the journal: nothing is found without one."""
    if not found:
        return {"state_dir": None, "restored": None}
    (restored,) = found
    counts = {"jobs": restored.jobs, "outstanding": restored.outstanding, "untaken": restored.untaken}
    return {"state_dir": str(restored.directory), "restored": counts}


def _about_journal(found: list[Restored], chosen: int) -> str:
    """What people are told of it: where it is, what was in it, and, if the port was chosen, how to go on from it."""
    if not found:
        return "no journal is kept: all jobs end with this process"
    (restored,) = found
    text = f"journal in {restored.directory}"
    if restored.jobs:
        text += (
            f": going on with {count(restored.jobs, 'job')}, {count(restored.outstanding, 'task')} outstanding, "
            f"{count(restored.untaken, 'result message')} not taken"
        )
    return f"{text}; to go on from it, start the same command with --port {chosen}" if chosen else text


def _new_place(host: str) -> tuple[socket.socket, Path]:
    """A port that nobody has, now or in a journal that is left, and where its journal is to be."""
    from lbnet.net.controller_server import bound

    with contextlib.ExitStack() as others:  # they stay open, so that the system chooses another one
        for _ in range(_PORTS_TRIED):
            sock = bound(host)
            directory = _state_dir(host, sock.getsockname()[1])
            if not directory.exists():
                return sock, directory
            others.enter_context(sock)
    raise UsageError(
        f"{directory.parent} has journals for all of {_PORTS_TRIED} free ports: remove old ones, or name a --state-dir"
    )


def _state_dir(host: str, port: int) -> Path:
    """Where the journal is if nobody says: each address has its own, so that the same command goes on with it."""
    from lbnet.security.nearby import default_state_dir

    return default_state_dir(host, port)


def _as_seen_by_others(listening: Address) -> Address:
    """An address to connect to: all interfaces together are none."""
    if listening.host not in _ALL_INTERFACES:
        return listening
    family, elsewhere = _ALL_INTERFACES[listening.host]
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((elsewhere, 9))  # sends nothing: it only asks which interface leads out of here
        return Address(str(probe.getsockname()[0]), listening.port)
    return Address(socket.gethostname(), listening.port)
