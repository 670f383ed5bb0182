"""Numbers of things, in words."""

from __future__ import annotations


def count(number: int, thing: str, things: str = "") -> str:
    """``1 worker``, ``1,000 workers``."""
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"
