"""Connection files: how who runs under the same account finds the token of a controller, with nothing to configure.

A controller writes one for its address when it starts, readable by its account only, and removes it when it ends. It
must not know what a token lets somebody do.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from lbnet.errors import UsageError
from lbnet.security import private, token
from lbnet.security.token import Token
from lbnet.types import Address

_FOLDER: Final = "connections"
_ALL: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - what somebody may have said


@dataclass(frozen=True, slots=True)
class Nearby:
    """What such a file says: where a controller listens, on which machine, and the tokens for each role."""

    host: str
    port: int
    machine: str
    worker: str = field(repr=False)
    client: str = field(repr=False)


def state_home() -> Path:
    """Where lbnet keeps what outlives its processes."""
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if base else Path.home() / ".local" / "state") / "lbnet"


def default_state_dir(host: str, port: int) -> Path:
    """Where a controller keeps its journal and secrets if nobody says: each address has its own."""
    return state_home() / f"{_name(host)}-{port}"


@contextlib.contextmanager
def announced(nearby: Nearby) -> Iterator[Path]:
    """Write the file, and remove it at the end if it is still ours.

    Raises:
        UsageError: it cannot be written.
    """
    folder = state_home() / _FOLDER
    private.make_directory(folder)
    path = folder / f"{_name(nearby.host)}-{nearby.port}.json"
    content = json.dumps(asdict(nearby), indent=1).encode()
    try:
        private.replace(path, content)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    try:
        yield path
    finally:
        with contextlib.suppress(OSError, UsageError):
            if private.read(path) == content:
                path.unlink()


def token_for(address: Address, role: str) -> Token | None:
    """The token for a controller of this account, None if there is no file for this address.

    Args:
        address: as the user wrote it.
        role: ``worker`` or ``client``.

    Raises:
        UsageError: a file is damaged, or open to others.
    """
    files = sorted((state_home() / _FOLDER).glob(f"*-{address.port}.json"), key=lambda path: -path.stat().st_mtime)
    found = [_read(path) for path in files]
    for fits in (_is_there, _may_be_there):
        for nearby in found:
            if nearby is not None and fits(nearby, address):
                return token.parse(nearby.worker if role == "worker" else nearby.client)
    return None


def _is_there(nearby: Nearby, address: Address) -> bool:
    return nearby.host == address.host


def _may_be_there(nearby: Nearby, address: Address) -> bool:
    """One name of a machine is as good as another; and one that listens on its loopback is on the same machine."""
    here = nearby.machine == socket.gethostname()
    return here if is_loopback(address.host) else nearby.host in _ALL or not is_loopback(nearby.host)


def is_loopback(host: str) -> bool:
    """Whether this host is the machine itself, and nobody else can be on the way to it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    return host.replace(":", "_").replace("/", "_")


def _read(path: Path) -> Nearby | None:
    try:
        content = private.read(path)
    except FileNotFoundError:
        return None
    try:
        found = Nearby(**json.loads(content))
        token.parse(found.worker)
        token.parse(found.client)
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is damaged ({error}): remove it, and start the controller again") from None
    return found
