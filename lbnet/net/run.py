"""Runs a controller or a worker as a process of its own: event loop, signals, and the end of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop

from lbnet import limits
from lbnet.address import TOKEN_VARIABLE
from lbnet.core.controller import Controller
from lbnet.errors import ConnectionLostError
from lbnet.journal.journal import Journal
from lbnet.net.controller_server import ControllerServer
from lbnet.net.gate import Gate
from lbnet.net.leaving import undisturbed
from lbnet.net.member import Member
from lbnet.net.no_pickles import forbid_pickles
from lbnet.net.restored import Restored, restore
from lbnet.net.worker_node import WorkerNode
from lbnet.pool.cores import cores_available
from lbnet.pool.memory import limit_of
from lbnet.security import private
from lbnet.security.authority import utc_now
from lbnet.security.nearby import Nearby, announced
from lbnet.security.place import Place
from lbnet.strategies import registry
from lbnet.strategies.base import Strategy
from lbnet.types import Address
from lbnet.version import VERSION

_log = logging.getLogger("lbnet.worker")

_STOP_S = 2 * limits.STOP_TIMEOUT_S - 0.2
"""A process that was told to stop is gone within twice the time that its parts get for it."""


def run_controller(
    *,
    host: str,
    port: int,
    placement: str,
    strategy: str,
    on_ready: Callable[[Address], None],
    listening: socket.socket | None = None,
    stop_on_stdin_eof: bool = False,
    no_workers_timeout_s: float = limits.NO_WORKERS_TIMEOUT_S,
    trace: Path | None = None,
    given: Strategy | None = None,
    state_dir: Path | None = None,
    on_restored: Callable[[Restored], None] = lambda _: None,
    deadline_s: float = limits.LINK_DEADLINE_S,
    place: Place | None = None,
) -> None:
    """Run a controller until SIGINT or SIGTERM.

    Args:
        host: the interface to listen on.
        port: the port, 0 for any free one.
        placement: where the initial work of a job goes, ``first`` or ``spread``.
        strategy: name of the load-balancing strategy, or ``module:Class``.
        on_ready: called with the address once it listens.
        listening: a socket that is bound already, instead of ``host`` and ``port``.
        stop_on_stdin_eof: stop when standard input ends: the process that started this one is gone.
        no_workers_timeout_s: how long jobs wait for a worker after the last one was lost.
        trace: where the run is recorded; it is not if None.
        given: the strategy itself, where its name alone would not find it.
        state_dir: where its journal is, or will be; without one, jobs end with the controller.
        on_restored: called with what the journal held, before ``on_ready``.
        deadline_s: how long links may be silent.
        place: of the cluster's secrets; None: links are not protected, and anybody is let in.

    Raises:
        JournalError: the journal cannot be used.
        UsageError: the port is taken, the trace cannot be written, or there is no such strategy.
    """
    load = registry.loader({strategy: registry.find(strategy) if given is None else given})
    forbid_pickles()
    if state_dir is not None:
        private.make_directory(state_dir)  # what tasks are given, and return, is nobody else's business
    journal = None if state_dir is None else Journal(state_dir)

    async def main(_: _Signal) -> None:
        controller = Controller(
            load,
            strategy=strategy,
            placement=placement,
            version=VERSION,
            no_workers_timeout_s=no_workers_timeout_s,
            journal=journal is not None,
            deadline_s=deadline_s,
        )
        if journal is not None:
            on_restored(restore(controller, journal, asyncio.get_running_loop().time()))
        server = ControllerServer(controller, trace, journal, None if place is None else Gate(place))
        with contextlib.ExitStack() as stack:

            def announce(address: Address) -> None:
                """Before anybody is let in, or who is quick would find no token, or that of an earlier controller."""
                if place is not None:
                    stack.enter_context(announced(_nearby(place, address)))

            try:
                await server.start(host, port, listening, announce)
                on_ready(server.address)
                await asyncio.get_running_loop().create_future()
            finally:
                await server.stop()

    try:
        _run(main, stop_on_stdin_eof=stop_on_stdin_eof)
    finally:
        if journal is not None:
            journal.close(0.0)  # for the next one, if it could not be restored


def run_worker(
    *,
    connect: Address,
    slots: int | None,
    name: str,
    on_ready: Callable[[str, int], None],
    stop_on_stdin_eof: bool = False,
    given: Strategy | None = None,
    memory_limit: str = "",
    rejoin_timeout_s: float = 0.0,
    deadline_s: float = 0.0,
    time_s: float = math.inf,
    member: Member | None = None,
) -> None:
    """Run a worker until SIGINT, SIGTERM, somebody lets it leave, or the end of its controller or of its time.

    It takes leave: what waits here goes to others, and so does what still runs after a while. Nothing is done twice.

    Args:
        connect: the controller.
        slots: compute processes; the cores that this process may use if None.
        name: for people; chosen if empty.
        on_ready: called with the name and the id once it has joined.
        stop_on_stdin_eof: stop when standard input ends: the process that started this one is gone.
        given: a strategy that its name alone would not find.
        rejoin_timeout_s: how long it goes on without its controller, and looks for it; 0 for not at all.
        deadline_s: how long its links may be silent, if that is longer than what the controller says.
        time_s: how long it may stay: it begins to leave early enough to be gone by then.
        member: who it is in its cluster; None: links are not protected.
        memory_limit: of each slot: a size such as ``2GB``, ``auto`` for an equal share of what there is, or nothing.

    Raises:
        UsageError: the memory limit is none of these.
        ConnectError: there is no controller at that address, or it refused us.
        ConnectionLostError: the controller is gone.
    """
    os.environ.pop(TOKEN_VARIABLE, None)  # it was read; who runs tasks needs no secret
    load = registry.loader({} if given is None else {given.name: given}, imports=True)
    slots = slots or cores_available()
    memory_limit_bytes = limit_of(memory_limit, slots)

    async def main(signal_: _Signal) -> None:
        node = WorkerNode(
            slots=slots,
            name=name,
            load=load,
            memory_limit_bytes=memory_limit_bytes,
            rejoin_timeout_s=rejoin_timeout_s,
            deadline_s=deadline_s,
            member=member,
        )
        await node.start(connect)
        try:
            on_ready(node.name, node.peer)
            if time_s < math.inf:
                _leave_in_time(node, time_s)
            told = signal_.hear()
            await _first_of(node.lost, node.departed, told)
            if told.done():
                node.leave(limits.LEAVE_GRACE_S)
                patience_s = limits.LEAVE_GRACE_S + limits.LEAVE_TALK_S
                await _first_of(node.lost, node.departed, timeout_s=patience_s)
        except BaseException:
            await node.stop()
            raise
        await undisturbed(node.stop())
        if node.lost.done() and not told.done():
            raise ConnectionLostError(f"the controller at {connect} is gone: {node.lost.result()}")

    _run(main, stop_on_stdin_eof=stop_on_stdin_eof)


def _nearby(place: Place, address: Address) -> Nearby:
    now = utc_now()
    tokens = {role: str(place.account_token(role, now)) for role in ("worker", "client")}
    return Nearby(address.host, address.port, socket.gethostname(), **tokens)


def _leave_in_time(node: WorkerNode, time_s: float) -> None:
    early_s = min(limits.LEAVE_EARLY_S, time_s / 5)
    grace_s = early_s - min(limits.LEAVE_SPARE_S, early_s / 12)
    _log.info("this worker begins to leave in %g s", time_s - early_s)
    asyncio.get_running_loop().call_later(time_s - early_s, node.leave, grace_s)


async def _first_of(*futures: asyncio.Future[Any], timeout_s: float | None = None) -> None:
    """Wait for one of them, or for the time."""
    await asyncio.wait(futures, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)


class _Signal:
    """The first SIGINT or SIGTERM, for a role that wants to hear of it instead of being cancelled."""

    def __init__(self) -> None:
        self._told: asyncio.Future[None] | None = None

    def hear(self) -> asyncio.Future[None]:
        """Done when the signal has come."""
        self._told = asyncio.get_running_loop().create_future()
        return self._told

    def came(self) -> bool:
        """A signal came. Whether somebody hears of it for the first time."""
        if self._told is None or self._told.done():
            return False
        self._told.set_result(None)
        return True


def _run(main: Callable[[_Signal], Coroutine[None, None, None]], *, stop_on_stdin_eof: bool) -> None:
    """Run ``main`` until it ends or is to stop. Then it is cancelled, and cancelled again if it does not hurry."""
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="lbnet %(levelname)s %(asctime)s %(name)s: %(message)s"
    )

    async def with_signals() -> None:
        loop = asyncio.get_running_loop()
        heard = _Signal()
        running = asyncio.ensure_future(main(heard))
        stopping = False

        def stop() -> None:
            """The first signal lets it leave in good order, the second one ends it at once."""
            nonlocal stopping
            if not stopping:
                loop.call_later(_STOP_S, running.cancel)
            stopping = True
            running.cancel()

        def on_signal() -> None:
            if heard.came():
                loop.call_later(_STOP_S, stop)
            else:
                stop()

        def hang_up() -> None:
            if not os.read(sys.stdin.fileno(), 4096):
                loop.remove_reader(sys.stdin.fileno())
                stop()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, on_signal)
        if stop_on_stdin_eof:
            loop.add_reader(sys.stdin.fileno(), hang_up)
        try:
            await running
        except asyncio.CancelledError:
            if not stopping:
                raise
        finally:
            if stop_on_stdin_eof:
                loop.remove_reader(sys.stdin.fileno())
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_IGN)  # it ends: one more signal must not make that look like a failure

    uvloop.run(with_signals())
