"""One slot process, seen from its worker: it is started, talked to, watched and ended here.

It must not know of tickets, or of who listens to its messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, cast

from lbnet import limits
from lbnet.errors import LbnetError
from lbnet.pool import wire
from lbnet.pool.claims import Claims
from lbnet.pool.output import OutputReader, Piece
from lbnet.pool.streams import TOKEN_BYTES
from lbnet.protocol.framing import FrameReader, frame

_RSS_UNIT = 1 if sys.platform == "darwin" else 1024
_RECEIVE_BYTES = 1 << 18
_LAST_READS = 16


class SlotProcess(asyncio.Protocol):
    """A fresh interpreter that runs :mod:`lbnet.pool.child`, at the other end of a socket pair.

    Args:
        environment: of the process.
        hungry: the first state of its hungry flag.
        on_message: called with the process and each message of :mod:`lbnet.pool.wire`.
        on_exit: called once, with the process and how it ended, after the last message and output.
        on_output: called with the process and each piece of what it prints.

    Raises:
        OSError: the system cannot start a process, or has no descriptors left.
    """

    def __init__(
        self,
        environment: dict[str, str],
        hungry: bool,
        on_message: Callable[[SlotProcess, Any], None],
        on_exit: Callable[[SlotProcess, str], None],
        on_output: Callable[[SlotProcess, Piece], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_message = on_message
        self._on_exit = on_exit
        self._on_output = on_output
        self._frames = FrameReader()
        self._unsent: list[bytes] = []
        self._flushing = False
        self._transport: asyncio.Transport | None = None
        self._connecting: asyncio.Task[Any] | None = None
        self._end_timer: asyncio.TimerHandle | None = None
        self._kill_timer: asyncio.TimerHandle | None = None
        self._broken = ""
        self._killed = False
        self._over = False
        self._held = False
        token = os.urandom(TOKEN_BYTES)
        self._printed = OutputReader(token)
        self.exited = asyncio.Event()
        self._unlinked = asyncio.Event()
        self.claims = Claims()
        self.claims.set_hungry(hungry)
        with contextlib.ExitStack() as undo:
            undo.callback(self.claims.close)
            link = self._start(environment, undo, token.hex())
            undo.pop_all()
        self._loop.add_reader(self._output, self.read_output)
        self._connecting = self._loop.create_task(self._connect(link))

    def _start(self, environment: dict[str, str], undo: contextlib.ExitStack, token: str) -> socket.socket:
        ours, theirs = socket.socketpair()
        undo.callback(ours.close)
        with theirs, contextlib.ExitStack() as at_end:
            self._output, prints = os.pipe()
            undo.callback(os.close, self._output)
            at_end.callback(os.close, prints)
            os.set_blocking(self._output, False)
            # Reads what is left when the process is gone and its transport, too: a failed write closes a
            # transport at once, with unread results in the pipe.
            self._rest = ours.dup()
            undo.callback(self._rest.close)
            # The peak that the system reports for a new process starts with that of the process it came from.
            self._rss_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.SLOT_SOCKET_BYTES)
            ours.setblocking(False)
            # -P: a select.py or types.py in the current folder must not stand in for Python's own.
            descriptors = (theirs.fileno(), self.claims.fd)
            command = [sys.executable, "-P", "-m", "lbnet.pool.child", *map(str, descriptors), token]
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
                command,
                stdin=subprocess.DEVNULL,
                stdout=prints,
                stderr=prints,
                pass_fds=descriptors,
                env=environment,
                start_new_session=True,
            )
        undo.callback(self._process.wait)
        undo.callback(self._process.kill)
        self.claims.close_file()
        self._waiter = threading.Thread(target=self._wait, name=f"lbnet-wait-{self.pid}", daemon=True)
        try:
            self._waiter.start()
        except RuntimeError as error:
            raise OSError(str(error)) from error
        return ours

    async def _connect(self, link: socket.socket) -> None:
        try:
            await self._loop.create_unix_connection(lambda: self, sock=link)
        except (OSError, asyncio.CancelledError):
            link.close()
            self._unlinked.set()

    @property
    def pid(self) -> int:
        """The process id, which is its process group's and session's id, too."""
        return self._process.pid

    # --- talking -----------------------------------------------------------------------------------

    def send(self, message: Any) -> None:
        """Send a message; those of one turn of the loop leave in one write. Lost if the process is gone."""
        self._unsent.append(frame(wire.CODEC.encode(message)))
        if not self._flushing and self._transport is not None:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        unsent, self._unsent = self._unsent, []
        if unsent and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(unsent))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The event loop has taken the socket."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has the methods and not the class
        if self._over:
            self._transport.abort()
        if self._held:
            self._transport.pause_reading()
        self._flush()

    def hold(self, held: bool) -> None:
        """Read nothing from the slot, which then waits with what it has to say, or read on."""
        if held != self._held:
            self._held = held
            if self._transport is not None and not self._transport.is_closing():
                (self._transport.pause_reading if held else self._transport.resume_reading)()

    def data_received(self, data: bytes) -> None:
        """Bytes from the slot."""
        if self._broken or self._over:
            return
        self._frames.feed(data)
        try:
            while (body := self._frames.next()) is not None:
                self._on_message(self, wire.CODEC.decode(body))
        except LbnetError as error:
            # Something in this process writes to a descriptor that is not its own.
            self._broken = f"wrote nonsense into its worker's pipe ({error}), "
            self.kill()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the exit tells more
        """The slot has closed its end: it is ending, or its user code closed what is not its own."""
        self._unlinked.set()
        if not self._over and self._end_timer is None:
            self._end_timer = self._loop.call_later(limits.SLOT_EOF_GRACE_S, self.kill)

    # --- listening to what it prints ---------------------------------------------------------------

    def read_output(self) -> bool:
        """Take what it has printed and was not read yet, or a good part of it. Whether there was anything."""
        if self._output < 0:
            return False
        try:
            data = os.read(self._output, limits.OUTPUT_READ_BYTES)
        except OSError:
            return False
        if not data:
            # All writing ends are closed: the process has ended, or closed its descriptors.
            self._loop.remove_reader(self._output)
            return False
        for piece in self._printed.feed(data):
            self._on_output(self, piece)
        return True

    def _read_last_output(self) -> None:
        """What it printed before its end counts; what left its group may print for ever, and is not waited for."""
        for _ in range(_LAST_READS):
            if not self.read_output():
                break
        for piece in self._printed.end():
            self._on_output(self, piece)
        self._loop.remove_reader(self._output)
        os.close(self._output)
        self._output = -1

    # --- ending ------------------------------------------------------------------------------------

    def terminate(self) -> None:
        """SIGTERM the process and all that it started in its group; SIGKILL follows after a grace."""
        if not self._over and self._kill_timer is None:
            self._killed = True
            self.claims.set_ending()
            self._kill_timer = self._loop.call_later(limits.TERMINATE_GRACE_S, self.kill)
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL the process and all that it started in its group."""
        if not self._over:
            self._killed = True
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def hang_up(self) -> None:
        """Close our end: the process ends by itself, even in the middle of a task."""
        with contextlib.suppress(OSError):
            self._rest.shutdown(socket.SHUT_RDWR)

    async def closed(self) -> None:
        """Wait until the process is gone and the event loop has let go of its socket."""
        await self.exited.wait()
        await self._unlinked.wait()

    def _wait(self) -> None:
        """In a thread: wait for the end. The process stays a zombie until the loop reaps it, so its id stays ours."""
        outcome = None
        if hasattr(os, "waitid"):
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        else:  # pragma: no cover - macOS before Python 3.13
            outcome = os.wait4(self.pid, 0)
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody wants to know
            self._loop.call_soon_threadsafe(self._ended, outcome)

    def _ended(self, outcome: Any) -> None:
        self._signal(signal.SIGKILL)  # what the process started and left behind
        _, status, usage = outcome or os.wait4(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self._process.returncode = code
        self._read_last_output()
        self._drain()
        self._over = True
        for timer in (self._end_timer, self._kill_timer):
            if timer is not None:
                timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._rest.close()
        self._waiter.join()
        self._on_exit(
            self, f"{self._broken}{_how(code, ours=self._killed)}, pid {self.pid}, {self._memory(usage.ru_maxrss)}"
        )
        self.claims.close()
        self.exited.set()

    def _drain(self) -> None:
        """Take what the process had sent before it ended: that counts."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
        while True:
            try:
                data = self._rest.recv(_RECEIVE_BYTES)
            except OSError:
                return
            if not data:
                return
            self.data_received(data)

    def _memory(self, peak: int) -> str:
        """The peak of resident memory as far as the system tells it: below the worker's own peak it says nothing.

        It is that of the slot process alone, over its whole life.
        """
        if peak > self._rss_before:
            return f"peak memory of the process {peak * _RSS_UNIT / 1e6:,.0f} MB"
        return f"peak memory of the process below {self._rss_before * _RSS_UNIT / 1e6:,.0f} MB"


def _how(code: int, *, ours: bool = False) -> str:
    if code >= 0:
        return f"exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "a signal"
    hint = "; the system does that when memory runs out" if -code == signal.SIGKILL and not ours else ""
    return f"killed by {name} (signal {-code}{hint})"
