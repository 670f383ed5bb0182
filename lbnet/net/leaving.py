"""How a role that ends by itself is not disturbed by the signal to end that comes a moment later."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def undisturbed(leaving: Coroutine[Any, Any, None]) -> None:
    """Run ``leaving`` to its end, although this task is cancelled meanwhile. Cancelled twice, it cancels ``leaving``.

    Raises:
        asyncio.CancelledError: the task was cancelled; ``leaving`` is over all the same.
    """
    task = asyncio.ensure_future(leaving)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
