"""One line in the log for everybody who is not let in, and not more of them than somebody could read."""

from __future__ import annotations

import logging
from collections.abc import Callable

from lbnet import limits


class Refusals:
    """Lines about peers that were not let in: a number of them at once, then one a second; the rest is counted.

    Args:
        log: where to.
        now: seconds, monotonic.
    """

    def __init__(self, log: logging.Logger, now: Callable[[], float]) -> None:
        self._log = log
        self._now = now
        self._left = float(limits.REFUSALS_LOGGED)
        self._at = now()
        self._untold = 0

    def tell(self, address: object, reason: str) -> None:
        """Somebody at ``address`` did not come in."""
        now = self._now()
        self._left = min(self._left + now - self._at, float(limits.REFUSALS_LOGGED))
        self._at = now
        if self._left < 1:
            self._untold += 1
            return
        self._left -= 1
        others = f" ({self._untold:,} others before it are not listed)" if self._untold else ""
        self._untold = 0
        self._log.warning("%s did not join: %s%s", address, reason, others)
