"""Options that several commands share, and how they are checked."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from lbnet import limits
from lbnet.address import VARIABLE, parse_address
from lbnet.errors import UsageError
from lbnet.strategies import registry
from lbnet.strategies.base import Strategy
from lbnet.types import Address

F = TypeVar("F", bound=Callable[..., Any])


def connect(text: str, **more: Any) -> Callable[[F], F]:
    """The option ``--connect``: the command gets an :class:`Address`, or None."""
    return click.option(
        "--connect", metavar="HOST:PORT", callback=_address, envvar=VARIABLE, show_envvar=True, help=text, **more
    )


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


def _address(ctx: click.Context, param: click.Parameter, value: str | None) -> Address | None:
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


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
