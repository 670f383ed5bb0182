"""Tells people that a strategy raises: the core goes on without its decisions, and nobody would notice."""

from __future__ import annotations

import logging


class StrategyLog:
    """Logs the first error of a role's strategy.

    Args:
        log: of the role.
    """

    __slots__ = ("_log", "_said")

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._said = False

    def look(self, error: Exception | None) -> None:
        """``error`` is what the strategy raised last, None if nothing."""
        if error is not None and not self._said:
            self._said = True
            self._log.error(
                "the strategy raised, and its decisions of that step are ignored; this is said once", exc_info=error
            )
