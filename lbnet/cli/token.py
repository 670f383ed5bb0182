"""``lbnet token``: who may come into a cluster."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lbnet.address import DEFAULT_HOST, DEFAULT_PORT
from lbnet.cli import options, teach
from lbnet.types import Address

if TYPE_CHECKING:
    from lbnet.security.place import Place

F = TypeVar("F", bound=Callable[..., Any])


def _where(command: F) -> F:
    """The options that say which controller's secrets are meant."""
    for option in (
        click.option(
            "--at",
            metavar="HOST:PORT",
            default=f"{DEFAULT_HOST}:{DEFAULT_PORT}",
            show_default=True,
            callback=options.address,
            help="Where the controller was told to listen, if it has no --state-dir of its own.",
        ),
        click.option(
            "--state-dir",
            metavar="FOLDER",
            type=click.Path(path_type=Path, file_okay=False),
            help="That of the controller.",
        ),
    ):
        command = option(command)
    return command


@click.group(
    "token",
    cls=teach.Group,
    short_help="Make, list and revoke tokens: who may come into a cluster.",
    examples=(
        "lbnet token create --role worker --ttl 24h",
        "lbnet token create --role client --state-dir /srv/lbnet > client.token",
        "lbnet token list",
        "lbnet token revoke 3f2a9c01",
    ),
)
def command() -> None:
    """Make, list and revoke the tokens of a cluster, on the account that runs its controller.

    A token lets somebody in as a worker or as a client, and as nothing else. It holds the digest of the cluster's
    authority, so that whoever has it can see whether it talks to the right controller, and a secret. A controller that
    runs sees a change at once.
    """


@command.command(
    "create", cls=teach.Command, short_help="Make a token.", examples=("lbnet token create --role worker",)
)
@click.option("--role", type=click.Choice(("worker", "client")), required=True, help="What it lets somebody in as.")
@options.duration("--ttl", "How long somebody may come in with it, such as 24h; who is in stays.  [default: for ever]")
@_where
@options.as_json
def create(role: str, ttl: float | None, at: Address, state_dir: Path | None, as_json: bool) -> None:
    """Make a token, and print it. It is not kept, and cannot be shown again."""
    from lbnet.security.authority import utc_now

    place = _place(at, state_dir)
    lifetime = None if ttl is None else dt.timedelta(seconds=ttl)
    grant, made = place.tokens.create(place.authority.der, role, utc_now(), lifetime)
    if as_json:
        click.echo(json.dumps({"id": grant.id, "role": role, "expires_at": grant.expires_at, "token": str(made)}))
        return
    click.echo(str(made))
    until = f"until {grant.expires_at}" if grant.expires_at else "until it is revoked"
    click.echo(f"with token {grant.id} a {role} may come in, {until}", err=True)


@command.command("list", cls=teach.Command, short_help="List the tokens.", examples=("lbnet token list --json",))
@_where
@options.as_json
def list_(at: Address, state_dir: Path | None, as_json: bool) -> None:
    """List all tokens that were made, without their secrets, which are not kept."""
    from lbnet.security.authority import utc_now

    grants = _place(at, state_dir).tokens.all()
    now = utc_now()
    if as_json:
        kept = [{**asdict(grant), "state": grant.state(now)} for grant in grants]
        click.echo(json.dumps([{name: fact for name, fact in facts.items() if name != "hash"} for facts in kept]))
        return
    for row in (_HEAD, *((each.id, each.role, each.state(now), each.made_at, each.expires_at) for each in grants)):
        click.echo("{:9} {:7} {:8} {:26} {}".format(*row).rstrip())


@command.command("revoke", cls=teach.Command, short_help="Revoke a token.", examples=("lbnet token revoke 3f2a9c01",))
@click.argument("token")
@_where
def revoke(token: str, at: Address, state_dir: Path | None) -> None:
    """Let nobody in with TOKEN, its id, any more, and close the links of all who came in with it."""
    grant = _place(at, state_dir).tokens.revoke(token)
    click.echo(f"token {grant.id} is revoked: no {grant.role} comes in with it, and those who did are sent away")


_HEAD = ("token", "role", "state", "made", "expires")


def _place(at: Address, state_dir: Path | None) -> Place:
    from lbnet.security.authority import utc_now
    from lbnet.security.nearby import default_state_dir
    from lbnet.security.place import Place

    return Place.existing(state_dir or default_state_dir(at.host, at.port), utc_now())
