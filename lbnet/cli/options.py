"""Options that several commands share, and how they are checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from lbnet.address import VARIABLE, parse_address
from lbnet.errors import UsageError
from lbnet.types import Address

F = TypeVar("F", bound=Callable[..., Any])


def connect(text: str, **more: Any) -> Callable[[F], F]:
    """The option ``--connect``: the command gets an :class:`Address`, or None."""
    return click.option(
        "--connect", metavar="HOST:PORT", callback=_address, envvar=VARIABLE, show_envvar=True, help=text, **more
    )


def _address(ctx: click.Context, param: click.Parameter, value: str | None) -> Address | None:
    if value is None:
        return None
    try:
        return parse_address(value)
    except UsageError as error:
        by_variable = ctx.get_parameter_source(param.name or "") is ParameterSource.ENVIRONMENT
        raise click.BadParameter(str(error), ctx, param, VARIABLE if by_variable else None) from None


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
