"""A progress bar for people, on standard error."""

from __future__ import annotations

from collections.abc import Callable


def bar(title: str, total: int | None) -> Callable[[int], None]:
    """Show a bar.

    Args:
        title: what is being done.
        total: how much there is to do; None if nobody knows.

    Returns:
        A function that is told how much more is done, and -1 when it is over.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    task = progress.add_task(title, total=total)
    progress.start()

    def advance(more: int) -> None:
        if more < 0:
            progress.stop()
        else:
            progress.advance(task, more)

    return advance


def silent(more: int) -> None:
    """Show nothing."""
