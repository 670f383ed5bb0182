"""lbnet keeps every core of a few, or a few thousand, machines busy on Python work whose cost nobody can predict.

Importing it is light: what a name needs is loaded when the name is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lbnet.client.attach import attach as attach
    from lbnet.client.client import Client as Client
    from lbnet.client.local_cluster import LocalCluster as LocalCluster
    from lbnet.sim.api import simulate as simulate
    from lbnet.strategies.base import Strategy as Strategy
    from lbnet.work import WorkUnit as WorkUnit
    from lbnet.work import hungry as hungry
    from lbnet.work import run_unit as run_unit
    from lbnet.work import spawn as spawn

_HOMES = {
    "Client": "lbnet.client.client",
    "LocalCluster": "lbnet.client.local_cluster",
    "Strategy": "lbnet.strategies.base",
    "WorkUnit": "lbnet.work",
    "attach": "lbnet.client.attach",
    "hungry": "lbnet.work",
    "run_unit": "lbnet.work",
    "simulate": "lbnet.sim.api",
    "spawn": "lbnet.work",
}

__all__ = [
    "Client",
    "LocalCluster",
    "Strategy",
    "WorkUnit",
    "__version__",
    "attach",
    "errors",
    "hungry",
    "run_unit",
    "simulate",
    "spawn",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name == "errors":
        value = importlib.import_module("lbnet.errors")
    elif name == "__version__":
        value = importlib.import_module("lbnet.version").VERSION
    else:
        raise AttributeError(f"module 'lbnet' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
