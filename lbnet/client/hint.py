"""Tells a user who waits for a first result in vain that there is nobody to do the work.

It must not know how messages travel, nor what time it is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from lbnet import limits
from lbnet.types import Address, JobId

_log = logging.getLogger("lbnet.client")


class WorkersHint:
    """One warning a client, at most.

    Args:
        address: of the controller.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._silent: dict[JobId, float] = {}
        self._given = False

    def opened(self, job: JobId, now: float) -> None:
        """A job begins."""
        if not self._given:
            self._silent[job] = now

    def heard(self, job: JobId) -> None:
        """A first result has come, or nobody waits for one."""
        self._silent.pop(job, None)

    def due(self, now: float) -> bool:
        """Whether to ask the controller how many workers there are: a job has waited for long. Each asks once."""
        late = [job for job, since in list(self._silent.items()) if now - since >= limits.WORKERS_HINT_S]
        for job in late:
            self.heard(job)
        return bool(late) and not self._given

    def answered(self, facts: Mapping[str, Any]) -> None:
        """The controller's status has come."""
        if facts["workers"] or self._given:
            return
        self._given = True
        self._silent.clear()
        _log.warning(
            "no worker has joined the controller at %s: nothing can run until one does; start it with: "
            "lbnet worker --connect %s",
            self._address,
            self._address,
        )
