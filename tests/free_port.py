"""A TCP port that nobody listens on."""

from __future__ import annotations

import socket


def free_port() -> int:
    """One that the system has just given out and taken back."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
