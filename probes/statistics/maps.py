"""Evidence of one map: for every unit a sum over the rows of each group, and who it belongs to.

A map is all units of one feature, site and probe (or method). Symbols: ``H`` units, ``G`` groups,
``n`` rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probes.statistics.group_sums import GroupSums, share_sums
from probes.statistics.groups import Array

Unit = tuple[str, int, int]
"""Stream, layer and head (0 for whole-layer sites)."""
Layer = tuple[str, int]
"""Stream, and index of the layer in it."""
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RightRows:
    """Which rows every unit got right, one bit for each unit and row.

    >>> right = RightRows.of(np.array([[True, False, True]]), rows=np.array([4, 7, 9]))
    >>> right.bits.shape, right.unpacked().tolist()
    ((1, 1), [[True, False, True]])
    """

    bits: npt.NDArray[np.uint8]
    """(H, ceil(n / 8)) as ``numpy.packbits`` along the rows; what fills the last byte is 0."""
    rows: IntArray
    """(n,) the rows of the activation cache that the bits are about."""

    @classmethod
    def of(cls, right: npt.NDArray[np.bool_], *, rows: IntArray) -> RightRows:
        """Pack (H, n); ``rows`` (n,) as in the attribute."""
        if right.shape[1] != len(rows):
            raise ValueError(f"{right.shape[1]} columns for {len(rows)} rows")
        return cls(np.packbits(right, axis=1), rows.astype(np.int64))

    def unpacked(self) -> npt.NDArray[np.bool_]:
        """(H, n) whether each unit got each row right."""
        return np.unpackbits(self.bits, axis=1, count=len(self.rows)).astype(np.bool_)


@dataclass(frozen=True)
class MapEvidence:
    """The sums of every unit of one map over the reported rows of each group."""

    feature: str
    site: str
    probe: str
    """The kind of probe or a comparator's name; of another method, its variant."""
    units: npt.NDArray[np.int32]
    """(H, 2) layer and head."""
    streams: tuple[str, ...]
    """(H,)"""
    groups: IntArray
    """(G,) codes of the groups, ascending; the same for all features of a corpus."""
    rows: IntArray
    """(G,) reported rows of each group."""
    totals: npt.NDArray[np.int64 | np.float64]
    """(H, G) rows predicted right (int64), or the sum of an effect over the rows (float64)."""
    validation: Array
    """(H,) the mean on validation rows, by which units are ranked; NaN without such rows."""
    method: str = "probe"
    metric: str = "accuracy"
    """What the mean over rows is called in the results."""
    effect: str = ""
    """``total`` or ``direct``, of methods that tell them apart."""
    positions: str = ""
    """Which positions were edited, of methods that edit."""
    reference: Array | None = None
    """(G,) what the totals are divided by in place of the rows: the sum of a reference over each
    group's rows, for effects that are normalised by a ratio of means."""
    validation_rows: int = 0
    """Rows behind ``validation``; 0 where the number is not kept (schema 1)."""
    weights: Array | None = None
    """(H,) how many units of the model each of a sample stands for: the inverse of the probability
    with which it was drawn; ``None``: the map has all units."""
    right: RightRows | None = None
    """Which rows each unit got right, where that is kept."""

    @property
    def key(self) -> tuple[str, ...]:
        """What names the map among those of a run."""
        names = (self.feature, self.site, self.probe)
        return (*names, self.method, self.metric, self.effect, self.positions)

    @property
    def keys(self) -> list[Unit]:
        """(H,) stream, layer and head of each unit."""
        return [
            (stream, int(layer), int(head))
            for stream, (layer, head) in zip(self.streams, self.units, strict=True)
        ]

    def sums(self, groups: IntArray | None = None) -> GroupSums:
        """The metric as sums over the given groups (default: all of them).

        groups: codes, each of which must be among the map's ``groups``.
        """
        kept = slice(None) if groups is None else np.searchsorted(self.groups, groups)
        denominator = self.rows if self.reference is None else self.reference
        return share_sums(self.metric, self.totals[:, kept], denominator[kept])
