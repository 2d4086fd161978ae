"""Overrides as a user types them: quoted where a shell or Hydra would read the value otherwise."""

from __future__ import annotations

import re
import shlex

PLAIN = re.compile(r"[A-Za-z0-9_/.@%+-][A-Za-z0-9_/.:@%+-]*|\[[A-Za-z0-9_.,-]*\]")
"""Values that stand for themselves in both, and lists of such."""


def override(key: str, value: str) -> str:
    """``KEY=VALUE`` for a shell, in quotes where the value needs them.

    >>> print(override("corpus.path", "my data (1)/a.csv"))
    'corpus.path="my data (1)/a.csv"'
    >>> print(override("seed", "3"))
    seed=3
    """
    if not value or PLAIN.fullmatch(value):
        return f"{key}={value}"
    return shlex.quote(f"{key}={quoted(value)}")


def quoted(value: str) -> str:
    r"""The value in quotes within which Hydra changes nothing.

    >>> print(quoted("my data"), quoted('5" disk'))
    "my data" '5" disk'
    """
    mark = "'" if '"' in value and "'" not in value else '"'
    # Backslashes count only before a quote, so only there (and at the end) they are doubled.
    escaped = re.sub(rf"(\\*)({mark}|$)", lambda m: m[1] * 2 + (f"\\{mark}" if m[2] else ""), value)
    return f"{mark}{escaped}{mark}"
