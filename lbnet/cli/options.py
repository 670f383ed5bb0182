"""Options that several commands share, and how they are checked."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from lbnet import limits
from lbnet.address import TOKEN_VARIABLE, VARIABLE, parse_address
from lbnet.errors import UsageError
from lbnet.strategies import registry
from lbnet.strategies.base import Strategy
from lbnet.types import Address

if TYPE_CHECKING:
    from lbnet.client.client import Client
    from lbnet.net.member import Member

F = TypeVar("F", bound=Callable[..., Any])


def connect(text: str, **more: Any) -> Callable[[F], F]:
    """The option ``--connect``: the command gets an :class:`Address`, or None.

    And those that say how to be let in there, which :func:`client` and :func:`member` look at.
    """

    def decorate(command: F) -> F:
        for option in (_insecure, _token_file, _token):
            command = option(command)
        return click.option(
            "--connect", metavar="HOST:PORT", callback=address, envvar=VARIABLE, show_envvar=True, help=text, **more
        )(command)

    return decorate


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    ctx.meta[f"lbnet.{param.name}"] = value
    return value


_token = click.option(
    "--token",
    metavar="TOKEN",
    default="",
    expose_value=False,
    callback=_remember,
    help="What lets you in, as the controller printed it. All on this machine can read a command line: rather use "
    f"--token-file or {TOKEN_VARIABLE}. On the controller's own account, none is needed.",
)
_token_file = click.option(
    "--token-file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    expose_value=False,
    callback=_remember,
    help="A file of mode 600 that holds the token.",
)
_insecure = click.option(
    "--insecure",
    is_flag=True,
    expose_value=False,
    callback=_remember,
    help="Protect no link: for a controller on this machine that was started with --insecure.",
)


def client(address: Address | None, name: str) -> Client:
    """A client for a command, which has the option ``--connect``; with a cluster of its own if there is no address."""
    from lbnet.client.client import Client

    if address is None:
        return Client(name=name)
    file, insecure = _meta("token_file"), _meta("insecure")
    return Client(address, name=name, token=_given(address, "client"), token_file=file, insecure=insecure)


def member(address: Address, role: str) -> Member | None:
    """Who a command is in the cluster at an address; None if its links are not to be protected."""
    from lbnet.client.access import member_for

    given = _given(address, role)
    return member_for(address, role, given=given, file=_meta("token_file"), insecure=_meta("insecure"))


def _given(address: Address, role: str) -> str:
    """The token on the command line; where there is none anywhere, people are asked for it."""
    from lbnet.client.access import find_token

    given: str = _meta("token")
    if given or _meta("token_file") or _meta("insecure") or not sys.stdin.isatty():
        return given
    if find_token(address, role) is not None:
        return ""
    return str(click.prompt(f"Token of the cluster at {address}", hide_input=True, err=True))


def _meta(name: str) -> Any:
    return click.get_current_context().meta[f"lbnet.{name}"]


def strategy(text: str, **more: Any) -> Callable[[F], F]:
    """The option ``--strategy``: the command gets a name that exists, or ``module:Class`` that can be imported."""
    return click.option("--strategy", metavar="NAME", callback=_strategy, help=text, **more)


def _strategy(ctx: click.Context, param: click.Parameter, value: str) -> str:
    try:
        find_strategy(value)
    except UsageError as error:
        raise click.BadParameter(str(error), ctx, param) from None
    return value


def find_strategy(text: str) -> Strategy:
    """A strategy by its name or ``module:Class``. The current folder is searched, too.

    Raises:
        UsageError: there is none, or it cannot be imported.
    """
    if ":" in text and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    return registry.find(text)


def address(ctx: click.Context, param: click.Parameter, value: str | None) -> Address | None:
    """What an option says, as an address."""
    if value is None:
        return None
    try:
        return parse_address(value)
    except UsageError as error:
        by_variable = ctx.get_parameter_source(param.name or "") is ParameterSource.ENVIRONMENT
        raise click.BadParameter(str(error), ctx, param, VARIABLE if by_variable else None) from None


def deadline(text: str, **more: Any) -> Callable[[F], F]:
    """The option ``--deadline``: the command gets seconds."""
    return click.option(
        "--deadline", metavar="SECONDS", type=click.FloatRange(min=limits.LINK_DEADLINE_MIN_S), help=text, **more
    )


def duration(name: str, text: str, **more: Any) -> Callable[[F], F]:
    """An option that takes a time such as ``90``, ``30s``, ``10m``, ``2h`` or ``1d``: the command gets seconds."""
    return click.option(name, metavar="TIME", callback=_duration, help=text, **more)


def _duration(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    found = _DURATION.fullmatch(value.strip())
    seconds = float(found[1]) * _UNITS_S[found[2]] if found else 0.0
    if not 0.0 < seconds <= limits.LEAVE_GRACE_MAX_S:
        sentence = f"{value!r} is no time: say a number above 0 and s, m, h or d, such as 90s or 2h"
        raise click.BadParameter(sentence, ctx, param)
    return seconds


_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")

_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
