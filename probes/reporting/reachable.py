"""Whether a server answers, asked within a time: machines without a network must not wait."""

from __future__ import annotations

import socket
import threading
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

TIMEOUT = 5.0
"""Seconds; a server that takes longer to accept a connection would make every upload hang."""


def reachable(url: str, *, timeout: float = TIMEOUT) -> bool:
    """Whether the host of ``url``, or the proxy on the way to it, accepts a connection in time.

    Looking up the name counts too: a resolver without a network may take a minute by itself.
    """
    try:
        address = _address(url)
    except ValueError:  # none of a server: no number for a port, half a bracket
        return False
    answers: list[bool] = []

    def connect() -> None:
        try:
            socket.create_connection(address, timeout=timeout).close()
        except (OSError, ValueError):  # ValueError: a name that no host can have
            return
        answers.append(True)

    # A thread, as the look-up of a name has no limit of its own.
    attempt = threading.Thread(target=connect, daemon=True)
    attempt.start()
    attempt.join(timeout)
    return bool(answers)


def _address(url: str) -> tuple[str, int]:
    """Host and port of a server, or of the proxy that leads to it. Raises ``ValueError``."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(parts.hostname or ""):
        parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    return parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)
