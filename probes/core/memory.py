"""Memory: sizes as users write them, and the peak of this process."""

from __future__ import annotations

import re
import resource
import sys

from probes.core.errors import UserError

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
"""Factor of each unit; ``KiB``, ``MiB``, ... are powers of 1024."""


def parse_size(text: str | int, *, key: str) -> int:
    """Bytes of a size such as ``2GB``, ``512 MiB`` or ``1000000``.

    Raises:
        UserError: not a size; ``key`` names the override in the message.

    >>> parse_size("1.5GB", key="memory_budget"), parse_size("1MiB", key="memory_budget")
    (1500000000, 1048576)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", str(text), re.IGNORECASE)
    if not match:
        raise UserError(f"{key}={text} is not a size", allowed="like 500MB, 2GB", fix=f"{key}=1GB")
    number, unit, binary = match.groups()
    value = float(number) * UNITS[unit.upper()]
    if binary:
        value = float(number) * 2 ** (10 * list(UNITS).index(unit.upper()))
    if value < 1:
        raise UserError(f"{key}={text} leaves no memory", fix=f"{key}=1GB")
    return int(value)


def peak_memory_bytes() -> int:
    """Largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
