"""The environment of the processes that lbnet starts: what their parent can import, they can, too."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import lbnet.errors

PATH_VARIABLE = "LBNET_IMPORT_PATH"
"""The environment variable with the parent's ``sys.path``."""


def child_environment(additions: dict[str, str]) -> dict[str, str]:
    """This process's environment, with ``additions``, and with a way to find modules.

    ``sys.path`` is handed on, for :func:`adopt_path`. ``lbnet`` itself must be found before that, so the folder
    it is in ends ``PYTHONPATH`` unless it is an installed package.
    """
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    environment = {**os.environ, **additions, PATH_VARIABLE: path}
    home = str(Path(lbnet.errors.__file__).parent.parent)
    if Path(home).name not in {"site-packages", "dist-packages"}:
        known = environment.get("PYTHONPATH", "")
        if home not in known.split(os.pathsep):
            environment["PYTHONPATH"] = f"{known}{os.pathsep}{home}" if known else home
    return environment


def adopt_path() -> None:
    """Add what the parent could import from to this process's ``sys.path``."""
    for entry in os.environ.pop(PATH_VARIABLE, "").split(os.pathsep):
        if entry and entry not in sys.path:
            sys.path.append(entry)
