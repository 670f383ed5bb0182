"""``HOST:PORT`` as users write it."""

from __future__ import annotations

import os

from lbnet.errors import UsageError
from lbnet.types import Address

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 7077
VARIABLE = "LBNET_ADDRESS"


def parse_address(text: str) -> Address:
    """``HOST:PORT`` or ``[IPV6]:PORT``; the port may be left out.

    Raises:
        UsageError: it is neither.
    """
    host, colon, port = text.strip().rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        host, port = text.strip(), str(DEFAULT_PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise UsageError(f"{text!r} is not an address: write HOST:PORT, for example {DEFAULT_HOST}:{DEFAULT_PORT}")
    return Address(host, int(port))


def from_environment() -> Address | None:
    """The address in ``LBNET_ADDRESS``, if it is set."""
    text = os.environ.get(VARIABLE, "")
    return parse_address(text) if text else None
