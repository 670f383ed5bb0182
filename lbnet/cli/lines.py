"""JSON lines in, JSON lines out: where each value stood, and what is wrong with the others."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from typing import IO, Any


class Lines:
    """The JSON values of the lines of a file, for :meth:`lbnet.Client.map` to read in a thread of its own.

    Empty lines are left out. A line is remembered until its result has been taken, so the file may be endless.

    Args:
        file: the lines.
        on_bad: called, in the thread that reads, with the number of a line that is not JSON and the reason.
    """

    def __init__(self, file: IO[bytes], on_bad: Callable[[int, str], None]) -> None:
        self._file = file
        self._on_bad = on_bad
        self._numbers: deque[int] = deque()

    def __iter__(self) -> Iterator[Any]:
        for number, line in enumerate(self._file, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                self._on_bad(number, f"not JSON: {error}")
            else:
                self._numbers.append(number)
                yield value

    def numbered(self, results: Iterator[Any]) -> Iterator[tuple[int, Any]]:
        """Each result, in the order of the values, with the number of the line that it is for.

        Raises:
            OSError: the file could not be read to its end.
        """
        for result in results:
            if not self._numbers:  # the error of the input itself, which comes after all results
                raise result.__cause__ if isinstance(result.__cause__, OSError) else result
            yield self._numbers.popleft(), result


class CountedLines(Lines):
    """The same, of a file that somebody has looked through before.

    Args:
        count: how many lines are not empty.
    """

    def __init__(self, file: IO[bytes], on_bad: Callable[[int, str], None], count: int) -> None:
        super().__init__(file, on_bad)
        self._count = count

    def __len__(self) -> int:
        return self._count


def as_json(value: Any, line: int | None) -> str:
    """One line of the output, with the number of its line in the input unless that is None.

    Raises:
        ValueError: it cannot be written as JSON.
    """
    try:
        return json.dumps(value if line is None else {"line": line, "value": value}, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the result, of type {type(value).__name__}, cannot be written as JSON: {error}") from None


def words(error: BaseException) -> str:
    """An error and its notes in one paragraph; further lines are indented, so that a new one begins at the margin."""
    try:
        text = f"{type(error).__name__}: {error}".removesuffix(": ")
    except Exception:  # noqa: BLE001 - its class is the user's
        text = f"{type(error).__name__} (whose text cannot be made)"
    notes = "; ".join(str(note) for note in getattr(error, "__notes__", ()) if not str(note).startswith("item "))
    return "\n    ".join((f"{text} ({notes})" if notes else text).splitlines())
