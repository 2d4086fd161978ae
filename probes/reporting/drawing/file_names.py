"""Names of files for names of features, which may be anything."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

LONGEST = 120
"""Bytes of a file's name before its ending; most file systems have 255."""


def file_name(name: str, others: Iterable[str] = ()) -> str:
    """A feature's name as the name of a file: anything unusual becomes an underscore.

    A name that is too long, or that one of the others would share, ends in a digest of itself.

    >>> file_name("Number[psor]"), file_name("../etc")
    ('Number_psor_', '_etc')
    >>> file_name("a/b", ["a:b", "a/b"]) == file_name("a:b", ["a:b", "a/b"])
    False
    """
    plain = _plain(name)
    shared = any(_plain(other).lower() == plain.lower() for other in others if other != name)
    if not shared and len(plain.encode()) <= LONGEST:
        return plain
    short = plain.encode()[: LONGEST - 10].decode(errors="ignore")
    return f"{short}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name).lstrip(".") or "_"
