"""Files and directories that only their owner may read: made anew, never over a link, refused if others can read."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lbnet.errors import UsageError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_BYTES_MAX = 1 << 20


def make_directory(path: Path) -> None:
    """Make a directory with mode 0700, or see that one that is there is this account's own, and closed to others.

    Raises:
        UsageError: it cannot be made, is a link or no directory, or is another account's; the sentence says which.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise UsageError(f"{path} cannot be made ({error.strerror}): choose another --state-dir") from None
    try:
        found = path.lstat()
    except OSError as error:
        raise UsageError(f"{path} cannot be made ({error.strerror}): choose another --state-dir") from None
    if not stat.S_ISDIR(found.st_mode):
        raise UsageError(f"{path} is a link or no directory: secrets are not kept there; choose another --state-dir")
    if found.st_uid != os.geteuid():
        raise UsageError(f"{path} belongs to another account: secrets are not kept there; choose another --state-dir")
    if found.st_mode & _OTHERS:
        path.chmod(0o700)


def write_new(path: Path, data: bytes) -> None:
    """Make a file with mode 0600 that was not there before, all of it or none.

    Raises:
        FileExistsError: there is one, or a link.
        OSError: it cannot be written.
    """
    with _beside(path, data) as made:
        os.link(made, path, follow_symlinks=False)  # unlike a rename, this never replaces what somebody else put there


def replace(path: Path, data: bytes) -> None:
    """Make a file with mode 0600, in place of one that may be there: a reader finds the old one or the new one.

    Raises:
        OSError: it cannot be written.
    """
    with _beside(path, data) as made:
        made.replace(path)
        _sync(path.parent)


def _sync(directory: Path) -> None:
    """What was changed in it outlives a loss of power."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else changes what this file stands for meanwhile: they wait for it.

    Raises:
        UsageError: it cannot be made.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"{path} cannot be made: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _beside(path: Path, data: bytes) -> Iterator[Path]:
    """A file with this content in the same directory; what is left of it afterwards is removed."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")  # exclusive, mode 0600, follows no link
    made = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield made
    finally:
        made.unlink(missing_ok=True)


def read(path: Path, size_bytes_max: int = _BYTES_MAX) -> bytes:
    """The content of a file that is this account's own, and that nobody else can read.

    Raises:
        FileNotFoundError: there is none.
        UsageError: it is a link, somebody else's, or open to others; the sentence says what to do.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror}): a secret is no link, and this account's own"
        ) from None
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"{path} is no file")
        if found.st_uid != os.geteuid():
            raise UsageError(f"{path} belongs to another account, and is not trusted")
        if found.st_mode & _OTHERS:
            raise UsageError(f"{path} can be read by others: its secret may be known; chmod 600 it, or make a new one")
        content = file.read(size_bytes_max + 1)
        if len(content) > size_bytes_max:
            raise UsageError(f"{path} is longer than {size_bytes_max:,} bytes, and no such file of lbnet's")
        return content
