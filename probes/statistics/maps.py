"""Evidence of one map: right answers of every unit by group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probes.statistics.group_sums import GroupSums, share_sums
from probes.statistics.groups import Array

Unit = tuple[str, int, int]
"""Stream, layer and head (0 for whole-layer sites)."""


@dataclass(frozen=True)
class MapEvidence:
    """How many rows of each test group every unit of one map got right."""

    feature: str
    site: str
    probe: str
    units: npt.NDArray[np.int32]
    """(H, 2) layer and head."""
    streams: tuple[str, ...]
    """(H,)"""
    groups: npt.NDArray[np.int64]
    """(G,) codes of the groups, the same for all features of a corpus."""
    rows: npt.NDArray[np.int64]
    """(G,) reported rows of each group."""
    correct: npt.NDArray[np.int64]
    """(H, G) rows predicted right."""
    validation: Array
    """(H,) accuracy on validation rows, by which heads are ranked."""

    @property
    def keys(self) -> list[Unit]:
        """(H,) stream, layer and head of each unit."""
        return [
            (stream, int(layer), int(head))
            for stream, (layer, head) in zip(self.streams, self.units, strict=True)
        ]

    def sums(self, groups: npt.NDArray[np.int64] | None = None) -> GroupSums:
        """Test accuracy as sums over the given groups (default: all of them)."""
        kept = np.arange(len(self.groups))
        if groups is not None:
            kept = np.searchsorted(self.groups, groups)
        return share_sums("accuracy", self.correct[:, kept], self.rows[kept])
