"""Which token lets somebody into the cluster at an address: the one that was given, or the one that lies nearby."""

from __future__ import annotations

import os
from pathlib import Path

from lbnet.address import TOKEN_VARIABLE as VARIABLE
from lbnet.errors import UsageError
from lbnet.net.member import Member
from lbnet.security import nearby, private, token
from lbnet.security.token import Token
from lbnet.types import Address


def member_for(
    address: Address,
    role: str,
    *,
    given: str = "",
    file: str | os.PathLike[str] | None = None,
    insecure: bool = False,
) -> Member | None:
    """Who we are in the cluster whose controller is at ``address``; None if links are not to be protected.

    Args:
        address: of the controller.
        role: ``worker`` or ``client``.
        given: a token, if the user has said one; the others come after it, in this order.
        file: of a token.
        insecure: protect nothing.

    Raises:
        UsageError: a token is none, or links to another machine are not to be protected.
    """
    if insecure:
        check_insecure(address.host)
        if given or file is not None:
            raise UsageError("a token is for protected links: leave out the token, or insecure")
        return None
    found = find_token(address, role, given=given, file=file)
    # A controller that is not there yet will tell its account when it is.
    return Member(role, found or (lambda: nearby.token_for(address, role)))


def find_token(
    address: Address, role: str, *, given: str = "", file: str | os.PathLike[str] | None = None
) -> Token | None:
    """The token, None if there is none.

    Raises:
        UsageError: what was given, or is in the file, is none.
    """
    if given:
        return token.parse(given)
    if file is not None:
        return _from_file(Path(file))
    if os.environ.get(VARIABLE):
        try:
            return token.parse(os.environ[VARIABLE])
        except UsageError as error:
            raise UsageError(f"{VARIABLE}: {error}") from None
    return nearby.token_for(address, role)


def check_insecure(host: str) -> None:
    """Raise ``UsageError`` unless nobody but this machine can be reached at ``host``."""
    if not nearby.is_loopback(host):
        raise UsageError(
            f"links to {host or 'all interfaces'} leave this machine, and are always protected: whoever could reach an "
            "open port could run code here. Use 127.0.0.1, or leave out insecure"
        )


def _from_file(path: Path) -> Token:
    try:
        content = private.read(path)
    except FileNotFoundError:
        raise UsageError(f"{path} is not there: it should hold the token that the controller printed") from None
    try:
        return token.parse(content.decode("utf-8", "replace"))
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
