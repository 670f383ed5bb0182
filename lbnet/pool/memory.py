"""How much memory a slot may use: what a user says, and what there is. :mod:`.memory_watch` sees to it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from lbnet import limits
from lbnet.errors import UsageError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SIZE = re.compile(r"\s*(\d{1,15}(?:\.\d{1,15})?)\s*(?:([KMGT])(I)?)?B?\s*", re.ASCII)
_BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def limit_of(text: str, slots: int, root: Path = Path("/")) -> int:
    """The bytes that each of ``slots`` slots may use; 0 for no limit.

    Args:
        text: ``""`` or ``"0"`` for no limit, a size such as ``"2GB"``, ``"512MiB"`` or ``"1.5G"``, or ``"auto"``: an
            equal share of the memory of this machine, or of its cgroup if that has less.
        slots: of the worker, at least 1.
        root: where ``proc`` and ``sys`` are; for tests.

    Raises:
        UsageError: the text is none of these.
    """
    if text == "":
        return 0
    if text == "auto":
        size = memory_available(root) // slots
    else:
        match = _SIZE.fullmatch(text.upper()) if isinstance(text, str) else None
        if match is None:
            raise UsageError(f'a memory limit is a size such as 2GB or 512MiB, or "auto"; it is {text!r}')
        size = int(float(match[1]) * (_BINARY[match[2]] if match[3] else _UNITS[match[2] or ""]))
    if 0 < size < limits.MEMORY_LIMIT_MIN_BYTES:
        raise UsageError(
            f"a slot needs {limits.MEMORY_LIMIT_MIN_BYTES / 1e6:g} MB to run anything; "
            f"the memory limit {text!r} allows {size / 1e6:.3g} MB"
        )
    return size


def memory_available(root: Path = Path("/")) -> int:
    """Bytes of memory of this machine, or of this process's cgroup if that may use less."""
    import psutil  # few ask, and every client's start would wait for it

    return min([psutil.virtual_memory().total, *_cgroup_limits(root)])


def _cgroup_limits(root: Path) -> Iterator[int]:
    """The limits of this process's cgroup and all that are above it."""
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            number, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if number == "0" and not controllers:
                mount, name = root / "sys/fs/cgroup", "memory.max"
            elif "memory" in controllers.split(","):
                mount, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
            else:
                continue
            folder = mount / path.strip("/")
            for place in (folder, *folder.parents):
                if place.is_relative_to(mount):
                    with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
                        yield int((place / name).read_text())
