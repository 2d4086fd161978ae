"""Two maps' difference, and its own map, which is drawn like every other.

Differences are first minus second: of probes in points (hundredths) of test accuracy, of other
methods in the units of what their effects are measured on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from probes.reporting.difference_unit import IN_POINTS, DifferenceUnit
from probes.reporting.head_map import HeadMap, Panel
from probes.results.record import RunRecord
from probes.results.subject import Subject
from probes.results.table import layers_by_heads, pick
from probes.results.vocabulary import probe_label
from probes.results.vocabulary.methods import PROBE
from probes.statistics.compare import Comparison, DepthProfile


@dataclass(frozen=True)
class ComparedRun:
    """One of the two maps."""

    run: Path
    """Its run directory, as it was given."""
    record: RunRecord
    probe: str


@dataclass(frozen=True)
class Difference:
    """A comparison of two maps and what they are maps of."""

    feature: str
    site: str
    first: ComparedRun
    second: ComparedRun
    confidence: float
    comparison: Comparison
    unit: DifferenceUnit = IN_POINTS
    subject: Subject | None = None
    """Of the first map, where it is none of probes' accuracy."""

    @property
    def method(self) -> str:
        """That of both maps."""
        return PROBE if self.subject is None else self.subject.method

    @property
    def names(self) -> tuple[str, str]:
        """What tells the two apart: model, probe, else the run directory."""
        first, second = self.first, self.second
        models = [_short(first, second), _short(second, first)]
        kinds = [probe_label(side.probe, self.method) for side in (first, second)]
        names = [
            ", ".join(own for own, other in zip(mine, others, strict=True) if own != other)
            for mine, others in (
                ((models[0], kinds[0]), (models[1], kinds[1])),
                ((models[1], kinds[1]), (models[0], kinds[0])),
            )
        ]
        return names[0] or str(first.run), names[1] or str(second.run)

    @property
    def differing(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """(U,) whether the interval of a unit leaves 0 out."""
        return (self.comparison.interval.low > 0) | (self.comparison.interval.high < 0)


def _short(side: ComparedRun, other: ComparedRun) -> str:
    """The last part of the model's name if that tells it from the other."""
    short, beside = (s.record.model.name.rstrip("/").rpartition("/")[2] for s in (side, other))
    return side.record.model.name if short == beside else short


def difference_map(shown: Difference) -> HeadMap:
    """The map: units whose interval includes 0 are faded, the profile is the mean by layer.

    Only for models of the same shape; others have no units in common.
    """
    comparison = shown.comparison
    heads = shown.site == "heads"
    rows = pd.DataFrame(
        [(s, layer, head if heads else None) for s, layer, head in comparison.units],
        columns=["stream", "layer", "head"],
    ).assign(
        site=shown.site,
        value=shown.unit.factor * comparison.difference,
        strong=shown.differing.astype(float),
    )
    panels = []
    for stream, profile in comparison.profiles.items():
        cells = pick(rows, stream=stream)
        values = layers_by_heads(cells)
        table = profile_table(shown, profile, "mean" if heads else shown.site)
        panels.append(
            Panel(
                stream,
                values,
                layers_by_heads(cells, "strong") == 1.0,
                table.set_index(values.index),
            )
        )
    return HeadMap(
        feature=shown.feature,
        quantity=shown.unit.quantity,
        panels=panels,
        ranks={},
        evidence="interval",
        level=1 - shown.confidence,
        tested=len(comparison.units),
        passed=int(shown.differing.sum()),
        site=shown.site,
        probe=shown.first.probe,
        method=shown.method,
    )


def profile_table(shown: Difference, profile: DepthProfile, name: str) -> pd.DataFrame:
    """By depth the difference under this name and its interval, as they are shown."""
    factor = shown.unit.factor
    columns = {
        name: factor * profile.difference,
        f"{name}_low": factor * profile.interval.low,
        f"{name}_high": factor * profile.interval.high,
    }
    return pd.DataFrame(columns, index=pd.Index(profile.depth, name="depth"))
