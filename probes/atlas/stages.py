"""One stage's map: the strongest significant feature of each head, ready to draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from probes.atlas.features import FeatureLine
from probes.atlas.heads import of_stage, strongest
from probes.catalogue import STAGES
from probes.results.feature_table import UNIT, sort_streams

COLOURS = (
    "#1f77b4", "#e08214", "#2a9d62", "#c43c39", "#7b5ea7", "#8c6d31", "#d45fa5", "#5f6b7a",
    "#17a2b8", "#b0b02c", "#6baed6", "#f4a259", "#74c476", "#ef8a85", "#b39ddb", "#c8a96a",
    "#f3b0d3", "#a0a8b3", "#6fd3e0", "#d9d96a",
)  # fmt: skip
"""By rank of a feature in its stage; with more features colours repeat, and numbers differ."""


@dataclass(frozen=True)
class StageCell:
    """A head on the map."""

    stream: str
    layer: int
    head: int
    number: int
    """Of its feature in ``StageMap.features``, from 1; 0 where it carries none of the stage."""
    score: float


@dataclass(frozen=True)
class StageFeature:
    """An entry of the legend."""

    number: int
    label: str
    colour: str
    heads: int
    """Those whose strongest feature of the stage it is."""


@dataclass(frozen=True)
class StageMap:
    """All heads of a model for one stage."""

    stage: str
    name: str
    cells: list[StageCell]
    features: list[StageFeature]

    @property
    def streams(self) -> list[str]:
        """In the order in which they are drawn."""
        return sort_streams(cell.stream for cell in self.cells)

    @property
    def carrying(self) -> int:
        """Heads with a significant feature of the stage."""
        return sum(cell.number > 0 for cell in self.cells)


def stage_maps(table: pd.DataFrame, lines: Sequence[FeatureLine]) -> list[StageMap]:
    """A map for each stage that was probed; features are numbered by how many heads they lead.

    table: of ``head_table``.
    """
    labels = {(line.job, line.feature): line.label for line in lines}
    maps = []
    for stage, name in STAGES.items():
        rows = of_stage(table, stage)
        if rows.empty:
            continue
        best = strongest(table, stage)
        keys = list(zip(best["job"], best["feature"], strict=True))
        counts = pd.Series(keys, dtype=object).value_counts(sort=True)
        number = {key: rank for rank, key in enumerate(counts.index, start=1)}
        strongest_of = {
            unit: (number[key], float(value))
            for unit, key, value in zip(best.index, keys, best["score"], strict=True)
        }
        heads = rows[UNIT].drop_duplicates()
        cells = []
        for stream, layer, head in heads.itertuples(index=False):
            which, value = strongest_of.get((stream, layer, head), (0, 0.0))
            cells.append(StageCell(str(stream), int(layer), int(head), which, value))
        features = [
            StageFeature(rank, labels[key], COLOURS[(rank - 1) % len(COLOURS)], int(counts[key]))
            for key, rank in number.items()
        ]
        maps.append(StageMap(stage, name, cells, features))
    return maps


def paled(colour: str, score: float) -> str:
    """A feature's colour, the paler the lower the score.

    >>> paled("#000000", 1.0), paled("#000000", 0.0)
    ('#000000', '#a6a6a6')
    """
    strength = 0.35 + 0.65 * min(1.0, max(0.0, score)) ** 0.5
    parts = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(255 - strength * (255 - part)):02x}" for part in parts)
