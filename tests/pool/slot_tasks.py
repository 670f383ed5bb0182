"""Functions that the tests of the pool run in slot processes: slots import this module by its name."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import signal
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import lbnet

GATE_TIMEOUT_S = 60.0


def wait_for(path: Path) -> None:
    """Hold the slot until ``path`` exists."""
    deadline = time.monotonic() + GATE_TIMEOUT_S
    while not path.exists():
        assert time.monotonic() < deadline, f"nobody made {path}"
        time.sleep(0.001)


def gated(item: tuple[str, str] | int) -> int:
    """Say that it runs by making the first file, then wait for the second; a plain number just comes back."""
    if isinstance(item, int):
        return item
    began, gate = map(Path, item)
    began.touch()
    wait_for(gate)
    return -1


def double(item: int) -> int:
    """Two times."""
    return 2 * item


def nap(seconds: float) -> None:
    """Hold the slot for so long."""
    time.sleep(seconds)


def grow(size_bytes: int) -> bytes:
    """So many bytes."""
    return b"x" * size_bytes


def fill(size_bytes: int) -> bytearray:
    """As many bytes, in an object that is not plain."""
    return bytearray(size_bytes)


def length(data: bytes) -> int:
    """Of a large argument."""
    return len(data)


def hungry(_: Any) -> bool:
    """What the task sees."""
    return lbnet.hungry()


def leaf(item: int) -> None:
    """What parents spawn."""


def parent(count: int) -> int:
    """Spawn so many leaves."""
    for number in range(count):
        lbnet.spawn(leaf, number)
    return count


def parent_that_waits(item: tuple[str, str]) -> None:
    """Spawn one leaf, then stay."""
    lbnet.spawn(leaf, 7)
    gated(item)


def variables(names: tuple[str, ...]) -> tuple[str, ...]:
    """Of the environment."""
    return tuple(os.environ.get(name, "") for name in names)


def process_facts(_: Any) -> tuple[int, int, int, str, str]:
    """Its id, its group, its session, its program name, and where it reads from."""
    return os.getpid(), os.getpgrp(), os.getsid(0), sys.argv[0], str(Path("/proc/self/fd/0").readlink())


def can_import(name: str) -> bool:
    """Whether a module is there."""
    try:
        __import__(name)
    except ImportError:
        return False
    return True


def signal_self(number: int) -> int:
    """Be signalled as a member of a group is."""
    os.kill(os.getpid(), number)
    return number


def forked_default_signals(_: Any) -> int:
    """How a forked process ends when it gets SIGTERM."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, b"up")
        time.sleep(GATE_TIMEOUT_S)
        os._exit(1)
    os.read(read, 2)
    os.close(read)
    os.close(write)
    os.kill(pid, signal.SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def fork_spawns(_: Any) -> str:
    """What a forked process gets when it spawns, and how many sockets it has."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            lbnet.spawn(leaf, 1)
        except BaseException as error:
            os.write(write, f"{type(error).__name__} {len(_sockets())}".encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return text


# --- ways to die ------------------------------------------------------------------------------------


class Unpicklable:
    """Its pickling raises."""

    def __reduce__(self) -> NoReturn:
        raise ValueError("no pickles here")


class PickledByLeaving:
    """Its pickling ends the process."""

    def __reduce__(self) -> NoReturn:
        os._exit(9)


class PickledByInterrupt:
    """Its pickling raises KeyboardInterrupt."""

    def __reduce__(self) -> NoReturn:
        raise KeyboardInterrupt


class UnpicklableError(Exception):
    """It cannot be pickled."""

    def __reduce__(self) -> NoReturn:
        raise ValueError("no pickles here")


class OneWayError(Exception):
    """It can be pickled, and not be unpickled."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


class RudeError(Exception):
    """Everything that one can ask it raises."""

    def __str__(self) -> NoReturn:
        raise SystemExit(1)

    __repr__ = __str__


def exit_0() -> None:
    """End at once, as if all were well."""
    os._exit(0)


def exit_3() -> None:
    """End at once."""
    os._exit(3)


def segfault() -> None:
    """Read where nothing is."""
    import faulthandler

    faulthandler.disable()  # its report would fill the log of the tests
    ctypes.string_at(0)


def kill_self() -> None:
    """What the system does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def abort() -> None:
    """As a C library does that lost its mind."""
    import faulthandler

    faulthandler.disable()
    os.abort()


def sys_exit() -> None:
    """As a script ends."""
    sys.exit(4)


def interrupt() -> None:
    """As Ctrl-C does."""
    raise KeyboardInterrupt


def generator_exit() -> None:
    """Raise what is no Exception."""
    raise GeneratorExit


def stop_iteration() -> None:
    """Raise what ends loops."""
    raise StopIteration(5)


def raise_value_error() -> None:
    """Fail as most do."""
    raise ValueError("an ordinary mistake")


def raise_unpicklable() -> None:
    """Fail in a way that cannot travel."""
    raise UnpicklableError("stays here")


def raise_one_way() -> None:
    """Fail in a way that cannot arrive."""
    raise OneWayError("a", "b")


def raise_rude() -> None:
    """Fail in a way that nobody can describe."""
    raise RudeError


def return_unpicklable() -> Any:
    """Return what cannot travel."""
    return Unpicklable()


def return_lambda_with_lock() -> Any:
    """Return a function that captured what cannot travel."""
    import threading

    lock = threading.Lock()
    return lambda: lock


def return_exit_in_pickle() -> Any:
    """Return what ends the process when it is pickled."""
    return PickledByLeaving()


def return_interrupt_in_pickle() -> Any:
    """Return what raises KeyboardInterrupt when it is pickled."""
    return PickledByInterrupt()


def memory_error() -> Any:
    """Ask for more memory than there is."""
    return bytearray(1 << 60)


def recursion() -> int:
    """Call itself for ever."""
    return 1 + recursion()


def return_deep() -> Any:
    """Return what is nested too deep to be pickled."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    return deep


def print_much() -> None:
    """Print a megabyte to either stream."""
    for stream in (sys.stdout, sys.stderr):
        for _ in range(1_000):
            stream.write("#" * 1_023 + "\n")


def swallow_streams() -> None:
    """Replace the standard streams, as capture tools do, and forget to put them back."""
    sys.stdout = sys.stderr = io.StringIO()
    print("nobody reads this")


def close_streams() -> None:
    """Close what daemons close."""
    for fd in (0, 1, 2):
        os.close(fd)


def close_everything() -> None:
    """Close what badly written daemons close, with the pipe to the worker."""
    os.closerange(0, 256)


def _sockets() -> list[int]:
    found = []
    for fd in range(3, 256):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                found.append(fd)
    return found


def write_nonsense() -> None:
    """Write into the pipe to the worker what is no message, then stay."""
    for fd in _sockets():
        os.write(fd, b"\0\0\0\5\xc1junk")
    time.sleep(GATE_TIMEOUT_S)


def fork_that_stays() -> int:
    """Leave a process behind that never ends by itself."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(GATE_TIMEOUT_S)
    return pid


def fork_that_returns() -> str:
    """Return twice: in this process and in a copy of it."""
    return "the copy" if os.fork() == 0 else "the task"


def fork_that_raises() -> str:
    """Fail in the copy of the process only."""
    if os.fork() == 0:
        raise ValueError("in the copy")
    return "the task"


def fork_that_exits() -> str:
    """End the copy of the process as a script ends."""
    if os.fork() == 0:
        sys.exit(3)
    return "the task"


def leave_a_thread() -> None:
    """Leave a thread behind that is no daemon."""
    import threading

    threading.Thread(target=time.sleep, args=(GATE_TIMEOUT_S,)).start()


def call_or_double(item: Any) -> Any:
    """Run one of the functions above by its name; double a number."""
    if isinstance(item, str):
        fn: Callable[[], Any] = globals()[item]
        return fn()
    return 2 * item


def merge(a: Any, b: Any) -> Any:
    """A reduce function."""
    return a + b


def leave_in_pickle(_: int) -> PickledByLeaving:
    """A spawned task whose combined value ends the process."""
    return PickledByLeaving()


def keep_left(a: Any, b: Any) -> Any:
    """A reduce function that forgets."""
    return a


def touch(size_bytes: int) -> None:
    """Use so much memory for a moment."""
    memoryview(bytearray(size_bytes))[::4096].tolist()


def stay_or_double(item: Any) -> Any:
    """Double a number; stay, for a tuple, until ended: with files that say when that began and was left in order."""
    if not isinstance(item, tuple):
        return 2 * item
    began, ignores, left = item
    if ignores:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(began).touch()
    try:
        while True:
            time.sleep(0.001)
    finally:
        Path(left).touch()


def say(item: Any) -> Any:
    """Print, and then do what the item says."""
    print(f"out {item}")
    print(f"err {item}", file=sys.stderr)
    if item == "fail":
        print("the end", end="")
        raise ValueError(item)
    if item == "die":
        os._exit(3)
    return item
