"""``HOST:PORT`` as users write it."""

from __future__ import annotations

import ipaddress
import os

from lbnet.errors import UsageError
from lbnet.types import Address

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 7077
VARIABLE = "LBNET_ADDRESS"
TOKEN_VARIABLE = "LBNET_TOKEN"  # noqa: S105 - its name

_NOT_IN_NAMES = frozenset("[]/ \t\r\n")


def parse_address(text: str) -> Address:
    """``HOST:PORT`` or ``[IPV6]:PORT``; the port may be left out, and then the brackets too.

    Raises:
        UsageError: it is neither.
    """
    whole = text.strip()
    host, colon, port = whole.rpartition(":")
    if not colon or whole.endswith("]") or (":" in host and not host.endswith("]")):
        host, port = whole, str(DEFAULT_PORT)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not _is_host(host) or not port.isdecimal() or len(port) > 5 or not 0 < int(port) < 1 << 16:
        raise UsageError(f"{text!r} is not an address: write HOST:PORT, for example {DEFAULT_HOST}:{DEFAULT_PORT}")
    return Address(host, int(port))


def _is_host(text: str) -> bool:
    if ":" not in text:
        return bool(text) and not _NOT_IN_NAMES.intersection(text)
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def from_environment() -> Address | None:
    """The address in ``LBNET_ADDRESS``, if it is set."""
    text = os.environ.get(VARIABLE, "")
    return parse_address(text) if text else None
