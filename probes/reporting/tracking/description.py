"""What is known of a run before it begins, for whoever logs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunDescription:
    """A run: where it is, what it does and what it is known by."""

    directory: Path
    config: Mapping[str, Any]
    """As it was composed: plain data, ``~`` for the home directory."""
    model: str
    """As headings call it."""
    corpus: str
    corpus_fingerprint: str
    features: tuple[str, ...]
    """What is decoded."""
    methods: tuple[str, ...]
    """``probe``, ``ablation``, ..."""
    probe: str
    """Name of the kind of probe."""
    site: str
    """Where activations are read."""
    objective: str
    """What a search maximises (``objective=``)."""
    identity: str
    """Hash of all that changes the results."""
