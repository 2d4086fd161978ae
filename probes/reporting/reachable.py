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
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(host):
        parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
        host = parts.hostname or ""
    port = parts.port or (80 if parts.scheme == "http" else 443)
    answers: list[bool] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=timeout).close()
        except OSError:
            return
        answers.append(True)

    # A thread, as the look-up of a name has no limit of its own.
    attempt = threading.Thread(target=connect, daemon=True)
    attempt.start()
    attempt.join(timeout)
    return bool(answers)
