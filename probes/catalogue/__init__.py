"""What attention heads are known to do: the entries of ``heads.yaml``."""

from __future__ import annotations

from probes.catalogue.entry import STAGES, Entry, Paper
from probes.catalogue.load import load_catalogue

__all__ = ["STAGES", "Entry", "Paper", "load_catalogue"]
