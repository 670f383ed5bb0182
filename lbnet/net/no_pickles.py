"""A controller unpickles nothing: whoever makes it try finds the door shut by the interpreter itself."""

from __future__ import annotations

import sys
from typing import Any

from lbnet.errors import LocalProtocolError


def forbid_pickles() -> None:
    """Let every look-up of a class or function for a pickle fail in this process, from now on, whoever asks for it.

    There is no way back: an audit hook cannot be removed.
    """
    sys.addaudithook(_hook)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if event == "pickle.find_class":
        raise LocalProtocolError(f"a pickle asked the controller for {args[0]}.{args[1]}: it unpickles nothing")
