"""Options that several commands share, and how they are checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from lbnet.address import VARIABLE, parse_address
from lbnet.errors import UsageError
from lbnet.types import Address

F = TypeVar("F", bound=Callable[..., Any])


class AddressType(click.ParamType[Address]):
    """``HOST:PORT``."""

    name = "HOST:PORT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        """Parse it."""
        if isinstance(value, Address):
            return value
        try:
            return parse_address(str(value))
        except UsageError as error:
            self.fail(str(error), param, ctx)


def connect(text: str, **more: Any) -> Callable[[F], F]:
    """The option ``--connect``."""
    return click.option("--connect", type=AddressType(), envvar=VARIABLE, show_envvar=True, help=text, **more)


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
