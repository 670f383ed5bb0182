"""Taking up a job in one line, for a script that wants nothing else of its cluster."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from lbnet.address import VARIABLE, from_environment
from lbnet.client.client import Client
from lbnet.client.results import Results
from lbnet.errors import UsageError
from lbnet.types import Address


def attach(
    job: int,
    address: str | Address | None = None,
    *,
    timeout: float | None = None,
    ordered: bool = True,
    progress: bool = False,
    reduce: Callable[[Any, Any], Any] | None = None,
    return_exceptions: bool = False,
    token: str = "",
    token_file: str | os.PathLike[str] | None = None,
    insecure: bool = False,
) -> Results[Any]:
    """Iterate over the values of a job that was handed in: :meth:`lbnet.Client.attach`, with a client of its own.

    That is closed when the last value was taken, or the iterator is forgotten.

    Args:
        job: its id, from :meth:`lbnet.Client.submit_job`.
        address: ``HOST:PORT`` of the controller; ``LBNET_ADDRESS`` says it if this does not.
        timeout: as of :meth:`lbnet.Client.map`.
        ordered: as of :meth:`lbnet.Client.map`.
        progress: as of :meth:`lbnet.Client.map`.
        reduce: the function that the job was started with, if it was.
        return_exceptions: as of :meth:`lbnet.Client.map`.
        token: as of :class:`lbnet.Client`.
        token_file: as of :class:`lbnet.Client`.
        insecure: as of :class:`lbnet.Client`.

    Raises:
        UsageError: nobody says where the controller is, or it does not know the job, or the job is another client's.
        ConnectError: no controller could be reached there.

    Example::

        values = list(lbnet.attach(16777217, "HOST:7077"))
    """
    where = from_environment() if address is None else address
    if where is None:
        raise UsageError(f"attach() needs the controller's address, or {VARIABLE}: a new cluster has no such job")
    # The iterator keeps what it needs of the client, and lets go of it at its end.
    return Client(where, name="attach", token=token, token_file=token_file, insecure=insecure).attach(
        job,
        timeout=timeout,
        ordered=ordered,
        progress=progress,
        reduce=reduce,
        return_exceptions=return_exceptions,
    )
