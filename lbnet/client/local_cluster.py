"""A cluster on this machine: real processes that talk over TCP, and end with the one that started them."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import weakref
from base64 import b64encode
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from lbnet import limits, pickling
from lbnet.address import DEFAULT_HOST
from lbnet.client.launched import Launched
from lbnet.client.options import PLACEMENTS
from lbnet.errors import ConnectError, UsageError
from lbnet.net.member import Member
from lbnet.pool.cores import cores_available
from lbnet.pool.memory import limit_of
from lbnet.security.authority import utc_now
from lbnet.security.place import Place
from lbnet.strategies import registry
from lbnet.strategies.base import Strategy
from lbnet.types import Address

if TYPE_CHECKING:
    from lbnet.client.client import Client


class LocalCluster:
    """A controller and workers on this machine. It starts at once, and is a context manager.

    Args:
        workers: worker processes.
        slots: compute processes of each worker; the cores that this process may use, shared among the workers, if None.
        placement: where the initial work of a job goes, ``"spread"`` or ``"first"``.
        strategy: the load-balancing strategy: its name, ``"module:Class"``, or an :class:`lbnet.Strategy` of your own.
        memory_limit: of each slot, with all that its tasks start: a size such as ``"2GB"``, or ``"auto"`` for an equal
            share of this machine's. A slot over it is ended, and its task is tried again or fails. No limit if empty.
        trace: where the run is recorded, for the simulator to replay; the file is there when the cluster is closed.

    Raises:
        UsageError: a number below 1, a name that does not exist, or a trace that exists already or cannot be written.

    Example::

        with lbnet.LocalCluster(workers=2, slots=1) as cluster, cluster.client() as client:
            print(sum(client.map(abs, range(-5, 5))))
    """

    def __init__(
        self,
        workers: int = 1,
        slots: int | None = None,
        *,
        placement: str = "spread",
        strategy: str | Strategy | type[Strategy] = registry.DEFAULT,
        memory_limit: str = "",
        trace: str | os.PathLike[str] | None = None,
    ) -> None:
        if not all(type(number) is int for number in (workers, 1 if slots is None else slots)):
            raise UsageError(f"workers and slots are whole numbers, not {workers!r} and {slots!r}")
        if workers < 1 or (slots is not None and not 1 <= slots <= limits.SLOTS_MAX):
            raise UsageError(
                f"a cluster has 1 or more workers with 1 to {limits.SLOTS_MAX} slots, not {workers} with {slots}"
            )
        if placement not in PLACEMENTS:
            raise UsageError(f"placement must be one of {', '.join(PLACEMENTS)}; it is {placement!r}")
        name, given = _chosen(strategy)
        traced = None if trace is None else _new_trace(trace)
        each = slots or max(1, cores_available() // workers)
        memory_limit_bytes = limit_of(memory_limit, workers * each)
        self.workers = workers
        self.slots = each
        secrets = Path(tempfile.mkdtemp(prefix="lbnet-"))  # of mode 0700, and gone with the cluster
        removal = weakref.finalize(self, shutil.rmtree, secrets, ignore_errors=True)
        place = Place(secrets, utc_now())
        self._tokens = {role: place.account_token(role, utc_now()) for role in ("worker", "client")}
        self.token_file = secrets / "client.token"
        # The controller gets a socket that listens already, so that nobody has to wait until it does.
        with socket.create_server((DEFAULT_HOST, 0)) as listening:
            self.where = Address(*listening.getsockname()[:2])
            controller = {
                "role": "controller",
                "fd": listening.fileno(),
                "placement": placement,
                "strategy": name,
                "given": given,
                "no_workers_timeout_s": limits.NO_WORKERS_TIMEOUT_S,
                "trace": None if traced is None else str(traced),
                "secrets": str(secrets),
            }
            worker = {
                "role": "worker",
                "host": self.where.host,
                "port": self.where.port,
                "slots": each,
                "memory_limit": str(memory_limit_bytes),
                "given": given,
                "token": str(secrets / "worker.token"),
            }
            self._launched = Launched(
                [controller, *({**worker, "name": f"local-{number}"} for number in range(workers))], listening.fileno()
            )
        removal.detach()
        self._finalizer = weakref.finalize(self, _end, self._launched, secrets)

    @property
    def address(self) -> str:
        """``HOST:PORT`` of the controller."""
        return str(self.where)

    @property
    def pids(self) -> list[int]:
        """The process ids: the controller's first, then the workers'."""
        return self._launched.pids

    def member(self, role: str) -> Member:
        """Who somebody is in this cluster that speaks to it without a :class:`Client`: a ``client`` or a ``worker``."""
        return Member(role, self._tokens[role])

    def client(self) -> Client:
        """A client of this cluster, which lives at least as long as its clients unless it is closed.

        Raises:
            ConnectError: the controller has died; the sentence says how.
        """
        from lbnet.client.client import Client

        try:
            return Client(self, timeout_s=limits.CLUSTER_START_TIMEOUT_S)
        except ConnectError as error:
            code = self._launched.first_code()
            if code is None:
                raise
            raise ConnectError(
                f"the controller of the local cluster ended with code {code}; its output says why"
            ) from error

    def close(self) -> None:
        """End all processes."""
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _chosen(strategy: object) -> tuple[str, str]:
    """The name of a strategy, and where that is not enough for other processes to find it, the strategy as text."""
    if isinstance(strategy, str):
        registry.find(strategy)
        return strategy, ""
    made = registry.checked(strategy)
    _, data = pickling.dump_function(lambda: made)
    return made.name, b64encode(data).decode()


def _new_trace(trace: str | os.PathLike[str]) -> Path:
    """Where the controller is to record, wherever it runs; a path that will not do is refused here and now."""
    from lbnet.trace.writer import check_new

    try:
        path = Path(trace).absolute()
    except TypeError:
        raise UsageError(f"trace is the path of a new file; it is {trace!r}") from None
    check_new(path)
    return path


def _end(launched: Launched, secrets: Path) -> None:
    """End the processes. Nobody needs the secrets any more."""
    launched.end()
    shutil.rmtree(secrets, ignore_errors=True)
