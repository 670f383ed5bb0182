"""Runs a controller or a worker as a process of its own: event loop, signals, and the end of it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path

import uvloop

from lbnet import limits
from lbnet.core.controller import Controller
from lbnet.errors import ConnectionLostError
from lbnet.net.controller_server import ControllerServer
from lbnet.net.leaving import undisturbed
from lbnet.net.worker_node import WorkerNode
from lbnet.pool.cores import cores_available
from lbnet.strategies import registry
from lbnet.strategies.base import Strategy
from lbnet.types import Address
from lbnet.version import VERSION

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

    Raises:
        UsageError: the port is taken, the trace cannot be written, or there is no such strategy.
    """
    load = registry.loader({strategy: registry.find(strategy) if given is None else given})

    async def main() -> None:
        server = ControllerServer(
            Controller(
                load,
                strategy=strategy,
                placement=placement,
                version=VERSION,
                no_workers_timeout_s=no_workers_timeout_s,
            ),
            trace,
        )
        try:
            await server.start(host, port, listening)
            on_ready(server.address)
            await asyncio.get_running_loop().create_future()
        finally:
            await server.stop()

    _run(main, stop_on_stdin_eof=stop_on_stdin_eof)


def run_worker(
    *,
    connect: Address,
    slots: int | None,
    name: str,
    on_ready: Callable[[str, int], None],
    stop_on_stdin_eof: bool = False,
    given: Strategy | None = None,
) -> None:
    """Run a worker until SIGINT, SIGTERM, or the end of its controller.

    Args:
        connect: the controller.
        slots: compute processes; the cores that this process may use if None.
        name: for people; chosen if empty.
        on_ready: called with the name and the id once it has joined.
        stop_on_stdin_eof: stop when standard input ends: the process that started this one is gone.
        given: a strategy that its name alone would not find.

    Raises:
        ConnectError: there is no controller at that address, or it refused us.
        ConnectionLostError: the controller is gone.
    """
    load = registry.loader({} if given is None else {given.name: given}, imports=True)

    async def main() -> None:
        node = WorkerNode(slots=slots or cores_available(), name=name, load=load)
        await node.start(connect)
        try:
            on_ready(node.name, node.peer)
            reason = await node.lost
        except BaseException:
            await node.stop()
            raise
        await undisturbed(node.stop())
        raise ConnectionLostError(f"the controller at {connect} is gone: {reason}")

    _run(main, stop_on_stdin_eof=stop_on_stdin_eof)


def _run(main: Callable[[], Coroutine[None, None, None]], *, stop_on_stdin_eof: bool) -> None:
    """Run ``main`` until it ends or is to stop. Then it is cancelled, and cancelled again if it does not hurry."""
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="lbnet %(levelname)s %(asctime)s %(name)s: %(message)s"
    )

    async def with_signals() -> None:
        loop = asyncio.get_running_loop()
        running = asyncio.ensure_future(main())
        stopping = False

        def stop() -> None:
            """The first signal lets it leave in good order, the second one ends it at once."""
            nonlocal stopping
            if not stopping:
                loop.call_later(_STOP_S, running.cancel)
            stopping = True
            running.cancel()

        def hang_up() -> None:
            if not os.read(sys.stdin.fileno(), 4096):
                loop.remove_reader(sys.stdin.fileno())
                stop()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
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

    uvloop.run(with_signals())
